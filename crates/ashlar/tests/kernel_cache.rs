//! Caches and backing devices that `ashlar` made are what make-bcache makes, and a real kernel uses them; what it wrote, stopped
//! or lost the power over, `ashlar` reads and finds nothing wrong with.

mod proof;

use std::path::{Path, PathBuf};

use oracle::{DiskOpts, Kernel, Run, left_out, required};
use proof::{Bench, hash};

const CACHE_KIB: u64 = 9000;
const BACKING_KIB: u64 = 6000;

/// One way of making a cache and a backing device: ours, and make-bcache's words for the same.
struct Way {
    ours: &'static [&'static str],
    theirs: &'static str,
}

const WAYS: [Way; 4] = [
    Way { ours: &["--bucket", "8K"], theirs: "--bucket 8k" },
    Way {
        ours: &["--bucket", "4K", "--block", "512", "--mode", "writeback", "--data-offset", "64K"],
        theirs: "--bucket 4k --block 512 --writeback --data-offset 128",
    },
    Way {
        ours: &["--bucket", "16K", "--block", "4K", "--replacement", "fifo"],
        theirs: "--bucket 16k --block 4k --cache_replacement_policy=fifo",
    },
    Way {
        ours: &["--bucket", "8K", "--mode", "writeback", "--replacement", "random"],
        theirs: "--bucket 8k --writeback --cache_replacement_policy=random",
    },
];

/// A cache and a backing device that `ashlar` makes.
fn made(bench: &Bench, name: &str, way: &Way) -> [PathBuf; 2] {
    let cache = bench.members(&format!("{name}-cache"), &[CACHE_KIB]).remove(0);
    let backing = bench.members(&format!("{name}-backing"), &[BACKING_KIB]).remove(0);
    let words = ["cache", "create"].iter().chain(way.ours).map(PathBuf::from);
    let disks = ["--cache".into(), cache.clone(), "--backing".into(), backing.clone()];
    bench.succeeds(words.chain(disks));
    [cache, backing]
}

/// The superblock of a disk without what is drawn anew each time, and its checksum, which covers that.
fn superblock(disk: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(disk).unwrap()[..8192].to_vec();
    for place in [4096..4104, 4136..4168] {
        bytes[place].fill(0);
    }
    bytes
}

fn size(kib: u64) -> DiskOpts {
    DiskOpts::default().size_bytes(kib << 10)
}

#[test]
fn superblocks_are_those_of_make_bcache() {
    let Some(boot) = required(Kernel::Uml) else { return };
    let bench = Bench::new();
    let (mut run, mut script) = (Run::new(boot.kernel), String::new());
    let mut pairs = Vec::new();
    for (number, way) in WAYS.iter().enumerate() {
        let theirs = ["cache", "backing"].map(|what| bench.path(&format!("theirs{number}-{what}")));
        run = run.disk(&theirs[0], size(CACHE_KIB)).disk(&theirs[1], size(BACKING_KIB));
        let (cache, backing) = (2 * number, 2 * number + 1);
        script += &format!("make-bcache {} -C /dev/d{cache} -B /dev/d{backing} || exit 1\n", way.theirs);
        pairs.push((made(&bench, &format!("ours{number}"), way), theirs));
    }
    run.script(script).run().unwrap().success().unwrap();
    for ((ours, theirs), way) in pairs.iter().zip(&WAYS) {
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!(superblock(ours) == superblock(theirs), "{}: {}", way.theirs, ours.display());
        }
    }
}

/// What the kernel does with a volume, of which it prints the content.
const USE: &str = "echo 0 > /sys/block/bcache0/bcache/sequential_cutoff
echo 0 > /sys/block/bcache0/bcache/writeback_running
pattern fill /dev/bcache0 100k 700k 5 && pattern fill /dev/bcache0 2m 333k 6 || exit 3
pattern check /dev/bcache0 100k 700k 5 || exit 4
content /dev/bcache0\n";

#[test]
fn the_kernel_uses_what_was_made_and_it_is_read_afterwards() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    for (number, way) in WAYS.iter().enumerate() {
        for ending in ["bcache_stop", "oracle-kill 0"] {
            let bench = Bench::new();
            let [cache, backing] = made(&bench, "disk", way);
            let script = format!("bcache_register /dev/d0 /dev/d1 || exit 1\n{USE}{ending}\n");
            let disks = [&cache, &backing];
            let run = Run::new(boot.kernel).disks(disks, &DiskOpts::default()).script(script);
            let said = run.run().unwrap().success().unwrap().stdout;
            let told = said.lines().find_map(|line| line.split_once("  /dev/bcache0")).unwrap().0;
            let read = hash(&bench.cat(&[backing.clone(), cache.clone()]));
            assert_eq!(read, told, "{number} {ending}");
            bench.succeeds([PathBuf::from("cache"), "check".into(), cache]); // or it says what is wrong
            if number > 0 {
                break; // each way once, and one of them cut off too
            }
        }
    }
}

/// What the kernel finds in a volume that we wrote, and does with it.
const TAKE_OVER: &str = "content /dev/bcache0
echo 0 > /sys/block/bcache0/bcache/sequential_cutoff
echo 0 > /sys/block/bcache0/bcache/writeback_running
pattern fill /dev/bcache0 300k 500k 7 || exit 3
content /dev/bcache0\n";

/// Bytes of which no two sectors are alike.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let words = (seed << 32..).map(|word| (word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes());
    words.flatten().take(length).collect()
}

#[test]
fn we_and_the_kernel_take_turns_whoever_is_cut_off() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    for (number, way) in WAYS.iter().enumerate() {
        for (is_killed, ending) in [(false, "bcache_stop"), (true, "oracle-kill 0")] {
            if is_killed == (number % 2 == 0) && !left_out::has_time() {
                let why = "they take a minute; `cargo xtask oracle test` takes all";
                left_out::note("one ending of each way that a cache is made", &why);
                continue;
            }
            let bench = Bench::new();
            let disks = made(&bench, "disk", way);
            let running = bench.run("ours", &[], &disks);
            let mut client = running.connect();
            client.write(4096, &noise(1, 900 << 10)).unwrap();
            client.write(2 << 20, &noise(2, 300 << 10)).unwrap();
            client.write(512 << 10, &noise(3, 64 << 10)).unwrap();
            client.flush().unwrap();
            let ours = hash(&client.content());
            drop(client);
            if is_killed {
                running.kill()
            } else {
                running.stop()
            }

            let script = format!("bcache_register /dev/d0 /dev/d1 || exit 1\n{TAKE_OVER}{ending}\n");
            let run =
                Run::new(boot.kernel).disks([&disks[0], &disks[1]], &DiskOpts::default()).script(script);
            let said = run.run().unwrap().success().unwrap().stdout;
            let told: Vec<&str> =
                said.lines().filter_map(|line| line.split_once("  /dev/bcache0")).map(|it| it.0).collect();
            assert_eq!(told[0], ours, "{number} {ending}: what the kernel read of ours");

            let running = bench.run("ours", &[], &disks);
            let mut client = running.connect();
            assert_eq!(hash(&client.content()), told[1], "{number} {ending}: what we read of the kernel's");
            client.write(1 << 20, &noise(4, 200 << 10)).unwrap();
            client.flush().unwrap();
            let ours = hash(&client.content());
            drop(client);
            running.stop();
            assert_eq!(hash(&bench.cat(&[disks[1].clone(), disks[0].clone()])), ours, "{number} {ending}");
            bench.succeeds([PathBuf::from("cache"), "check".into(), disks[0].clone()]);
        }
    }
}

#[test]
fn the_kernel_never_reads_what_a_cache_had_that_failed_under_us() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let cache = bench.members("cache", &[CACHE_KIB]).remove(0);
    let backing = bench.members("backing", &[BACKING_KIB]).remove(0);
    // Behind a mirror, whose superblock lies at the end, it can be taken away.
    let words = ["--level", "1", "--metadata", "1.0", "--assume-clean", "--homehost", "none"];
    bench.create("fast", &words, &[cache.clone(), "missing".into()]);
    let below = bench.run("fast", &["--degraded", "--arrays"], &[&cache]);
    let url = PathBuf::from(format!("nbd+unix:///fast?socket={}", bench.path("fast.sock").display()));
    let words = ["cache", "create", "--bucket", "8K"].map(PathBuf::from);
    let disks = ["--cache".into(), url.clone(), "--backing".into(), backing.clone()];
    bench.succeeds(words.into_iter().chain(disks));
    let running = bench.run("ours", &[], &[&url, &backing]);
    let mut client = running.connect();
    client.write(0, &noise(1, 900 << 10)).unwrap();
    client.flush().unwrap();
    below.kill();
    client.write(4096, &noise(2, 300 << 10)).unwrap();
    client.flush().unwrap();
    let ours = hash(&client.content());
    drop(client);
    running.stop();

    let script = "bcache_register /dev/d0 /dev/d1 || exit 1
content /dev/bcache0
echo $(basename /sys/fs/bcache/*-*-*) > /sys/block/bcache0/bcache/attach || exit 2
[ $(cat /sys/block/bcache0/bcache/state) = clean ] || exit 3
content /dev/bcache0
bcache_stop\n";
    let run = Run::new(boot.kernel).disks([&cache, &backing], &DiskOpts::default()).script(script.to_owned());
    let said = run.run().unwrap().success().unwrap().stdout;
    let told: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("  /dev/bcache0")).map(|it| it.0).collect();
    assert_eq!(told, [&ours, &ours], "without the cache, and with it again");
}

/// What a kernel says of volumes that lie in a cache alone: one of 2048 sectors and none of 4096; it is made larger, and one that it
/// made itself is deleted.
const GROW_AND_DELETE: &str = "bcache_register /dev/d0 /dev/d1 || exit 1
of_size() { for it in /sys/block/bcache*; do [ $(cat $it/size) != $1 ] || basename $it; done; }
[ -z \"$(of_size 4096)\" ] || exit 2
kept=$(of_size 2048) && content /dev/$kept || exit 3
echo 2M > /sys/block/$kept/bcache/size || exit 4
[ $(of_size 4096) = $kept ] || exit 5
set=$(echo /sys/fs/bcache/*-*-*)
echo 3M > $set/flash_vol_create || exit 6
gone=$(of_size 6144) && pattern fill /dev/$gone 100k 700k 5 || exit 7
echo 1 > /sys/block/$gone/bcache/unregister || exit 8
while [ -n \"$(of_size 6144)\" ]; do sleep 0.1; done
pattern fill /dev/$kept 1100k 300k 6 || exit 9
content /dev/$kept
bcache_stop\n";

/// Bytes that only the cache has.
fn dirty_bytes(bench: &Bench) -> u64 {
    let status: serde_json::Value =
        serde_json::from_slice(&bench.manage(&["status", "ours", "--json"])).unwrap();
    status["caches"][0]["dirty_bytes"].as_u64().unwrap()
}

#[test]
fn we_and_the_kernel_find_what_the_other_deleted_and_made_larger() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let disks = made(&bench, "disk", &WAYS[0]);
    let running = bench.run("ours", &[], &disks);
    bench.manage(&["cache", "volume", "ours", "--size", "2M", "--label", "gone"]);
    bench.manage(&["cache", "volume", "ours", "--size", "512K", "--label", "kept"]);
    for (name, seed) in [("gone", 8), ("kept", 9)] {
        let mut client = running.connect_to(name);
        client.write(0, &noise(seed, 400 << 10)).unwrap();
        client.flush().unwrap();
    }
    bench.manage(&["cache", "grow", "ours", "--volume", "kept", "--size", "1M"]);
    bench.manage(&["cache", "delete", "ours", "--volume", "gone"]);
    let kept = hash(&running.connect_to("kept").content());
    running.stop();

    let script = GROW_AND_DELETE.to_owned();
    let run = Run::new(boot.kernel).disks([&disks[0], &disks[1]], &DiskOpts::default()).script(script);
    let said = run.run().unwrap().success().unwrap().stdout;
    let told: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("  /dev/bcache")).map(|it| it.0).collect();
    assert_eq!(told[0], kept, "what the kernel read of ours");

    let listed = bench.succeeds(["cat", "--list"].map(PathBuf::from).into_iter().chain(disks.clone()));
    assert_eq!(
        String::from_utf8_lossy(&listed).lines().count(),
        2,
        "the volume of the disk, and the one that was kept"
    );
    // A kernel leaves in the cache what a deleted volume had, dirty for ever.
    let running = bench.run("ours", &[], &disks);
    let start = std::time::Instant::now();
    while dirty_bytes(&bench) > (400 + 300) << 10 {
        assert!(start.elapsed().as_secs() < 30, "{} bytes are left dirty", dirty_bytes(&bench));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    running.stop();
    let words = ["cat", "--volume", "kept"].map(PathBuf::from);
    let read = bench.succeeds(words.into_iter().chain(disks.clone()));
    assert_eq!((read.len(), hash(&read).as_str()), (2 << 20, told[1]), "what we read of the kernel's");
    bench.succeeds([PathBuf::from("cache"), "check".into(), disks[0].clone()]);
}

#[test]
fn the_kernel_uses_a_volume_that_we_made_in_a_cache_alone() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let disks = made(&bench, "disk", &WAYS[0]);
    let running = bench.run("ours", &[], &disks);
    bench.manage(&["cache", "volume", "ours", "--size", "1M", "--label", "scratch"]);
    running.stop();

    let script = "bcache_register /dev/d0 /dev/d1 || exit 1
for it in /sys/block/bcache*; do [ $(cat $it/size) = 2048 ] && flash=$(basename $it); done
pattern fill /dev/$flash 100k 700k 5 || exit 3
content /dev/$flash
bcache_stop\n";
    let run =
        Run::new(boot.kernel).disks([&disks[0], &disks[1]], &DiskOpts::default()).script(script.to_owned());
    let said = run.run().unwrap().success().unwrap().stdout;
    let told = said.lines().find_map(|line| line.split_once("  /dev/bcache")).unwrap().0;
    let words = ["cat", "--volume", "scratch"].map(PathBuf::from);
    let read = bench.succeeds(words.into_iter().chain(disks.clone()));
    assert_eq!(hash(&read), told);
    bench.succeeds([PathBuf::from("cache"), "check".into(), disks[0].clone()]);
}
