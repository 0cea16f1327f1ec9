//! What the kernel made, wrote, stopped or lost the power over, `ashlar` reads and writes; and the kernel reads it back.

mod proof;

use std::path::PathBuf;

use oracle::{DiskOpts, Kernel, Run, required};
use proof::{Bench, Running, hash};

/// How the kernel makes an array, and of how many disks.
type Made = (&'static str, usize);

const ARRAYS: [Made; 6] = [
    ("--metadata 0.90 --level 1 --raid-devices 2", 2),
    ("--metadata 1.0 --level 1 --raid-devices 2 --bitmap none", 2),
    ("--metadata 1.1 --level 1 --raid-devices 2", 2),
    ("--metadata 1.2 --level 1 --raid-devices 3", 3),
    ("--metadata 1.2 --level 0 --chunk 16 --raid-devices 2", 2),
    ("--metadata 1.0 --level 0 --chunk 64 --raid-devices 3", 3),
];

const STRIPED_MIRRORS: [Made; 4] = [
    ("--metadata 1.2 --level 10 --layout n2 --chunk 64 --raid-devices 4", 4),
    ("--metadata 1.1 --level 10 --layout f2 --chunk 32 --raid-devices 3", 3),
    ("--metadata 0.90 --level 10 --layout o2 --chunk 16 --raid-devices 4", 4),
    ("--metadata 1.0 --level 10 --layout n2 --chunk 128 --raid-devices 3", 3),
];

const BITMAPS: [Made; 4] = [
    ("--metadata 0.90 --level 1 --raid-devices 2 --bitmap internal --bitmap-chunk 64K", 2),
    ("--metadata 1.0 --level 1 --raid-devices 3 --bitmap internal --bitmap-chunk 16K", 3),
    ("--metadata 1.2 --level 1 --raid-devices 2 --bitmap internal --bitmap-chunk 64K", 2),
    (
        "--metadata 1.1 --level 10 --layout n2 --chunk 64 --raid-devices 3 --bitmap internal --bitmap-chunk 128K",
        3,
    ),
];

/// Sizes of the disks of an array, in turn.
const SIZES_KIB: [u64; 4] = [6144, 7000, 5500, 6400];

/// The hashes that `content` has printed.
fn hashes(said: &str) -> Vec<String> {
    said.lines().filter_map(|line| line.split_once("  /dev/md")).map(|at| at.0.to_owned()).collect()
}

/// Has the kernel make and fill all arrays; members and content of each.
fn made_by_the_kernel(
    kernel: Kernel,
    bench: &Bench,
    made: &[Made],
    ending: &str,
) -> Vec<(Vec<PathBuf>, String)> {
    let (mut run, mut script, mut arrays, mut disk) = (Run::new(kernel), "fast\n".to_owned(), Vec::new(), 0);
    for (number, (options, count)) in made.iter().enumerate() {
        let members = bench.members(&format!("m{number}"), &SIZES_KIB[..*count]);
        let disks: Vec<String> = (disk..disk + count).map(|number| format!("/dev/d{number}")).collect();
        script += &format!(
            "mdadm --create /dev/md{number} --run {options} {} || exit 1\n\
             pattern fill /dev/md{number} 0 0 {number} || exit 1\ncontent /dev/md{number}\n",
            disks.join(" ")
        );
        run = run.disks(&members, &DiskOpts::default());
        arrays.push(members);
        disk += count;
    }
    let said = run.script(script + ending).run().unwrap().success().unwrap().stdout;
    let hashes = hashes(&said);
    assert_eq!(hashes.len(), arrays.len(), "{said}");
    arrays.into_iter().zip(hashes).collect()
}

/// The kernel reads all arrays, with nothing missing and after whatever resync is due.
fn read_by_the_kernel(kernel: Kernel, arrays: &[(Vec<PathBuf>, String)]) -> Vec<String> {
    let (mut run, mut script, mut disk) = (Run::new(kernel), "fast\n".to_owned(), 0);
    for (number, (members, _)) in arrays.iter().enumerate() {
        let disks: Vec<String> =
            (disk..disk + members.len()).rev().map(|number| format!("/dev/d{number}")).collect();
        script += &format!(
            "mdadm -A /dev/md{number} {} || exit 1\n\
             if [ -e /sys/block/md{number}/md/sync_action ]; then\n\
             wait_idle; echo check > /sys/block/md{number}/md/sync_action; wait_idle\n\
             [ $(cat /sys/block/md{number}/md/mismatch_cnt) = 0 ] || exit 3\n\
             [ $(cat /sys/block/md{number}/md/degraded) = 0 ] || exit 4; fi\n\
             content /dev/md{number}\n",
            disks.join(" ")
        );
        run = run.disks(members, &DiskOpts::default());
        disk += members.len();
    }
    hashes(&run.script(script).run().unwrap().success().unwrap().stdout)
}

fn write_something(running: &Running) -> String {
    let mut client = running.connect();
    client.fill(77 * 512, 300_032, 90);
    client.fill((3 << 20) + 512, 1 << 20, 91);
    client.flush().unwrap();
    hash(&client.content())
}

fn both_ways(made: &[Made], ending: &str) {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let arrays = made_by_the_kernel(boot.kernel, &bench, made, ending);
    let mut written = Vec::new();
    for (number, (members, content)) in arrays.iter().enumerate() {
        let before: Vec<Vec<u8>> = members.iter().map(|member| std::fs::read(member).unwrap()).collect();
        assert_eq!(hash(&bench.cat(members)), *content, "array {number}");
        let after: Vec<Vec<u8>> = members.iter().map(|member| std::fs::read(member).unwrap()).collect();
        assert!(before == after, "array {number}: reading has written");
        let running = bench.run(&format!("m{number}"), &[], members);
        assert_eq!(hash(&running.connect().content()), *content, "array {number}");
        written.push(write_something(&running));
        running.stop();
    }
    assert_eq!(read_by_the_kernel(boot.kernel, &arrays), written);
}

#[test]
fn what_the_kernel_stopped_is_read_and_written_and_the_kernel_reads_it_back() {
    both_ways(&ARRAYS, "wait_idle; mdadm --stop --scan\n");
    both_ways(&STRIPED_MIRRORS, "wait_idle; mdadm --stop --scan\n");
    both_ways(&BITMAPS, "wait_idle; mdadm --stop --scan\n");
}

#[test]
fn what_the_kernel_lost_the_power_over_is_read_and_written_and_the_kernel_reads_it_back() {
    both_ways(&ARRAYS, "pattern fill /dev/md0 1m 64k 0; pattern fill /dev/md3 1m 64k 3; oracle-kill 0\n");
    for arrays in [&STRIPED_MIRRORS, &BITMAPS] {
        both_ways(arrays, "for md in 0 1 2 3; do pattern fill /dev/md$md 1m 192k $md; done; oracle-kill 0\n");
    }
}

/// A member that we failed is stale for both: also when the kernel has written between our crash and our next start.
#[test]
fn a_failed_member_stays_out_whoever_writes_next_the_kernel_or_we() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let members = bench.members("m", &[6144, 6144]);
    bench.create("m", &["-l", "raid1", "--assume-clean"], &members);
    let running = bench.run("m", &[], &members);
    let mut client = running.connect();
    client.fill(0, 1 << 20, 1);
    bench.fail("m", &members[0]);
    client.fill(1 << 20, 1 << 20, 2);
    running.kill();

    let script = "mdadm -A /dev/md0 --run /dev/d0 /dev/d1 && pattern check /dev/md0 0 1m 1 &&
        pattern check /dev/md0 1m 1m 2 && pattern fill /dev/md0 2m 1m 3 && oracle-kill 0";
    let run = Run::new(boot.kernel).disks(&members, &DiskOpts::default()).script(script);
    run.run().unwrap().success().unwrap();

    let running = bench.run("m", &["--degraded"], &members);
    assert!(running.said().contains("m.0 is left out"), "{}", running.said());
    let mut client = running.connect();
    let check = |client: &mut proof::nbd::Nbd, mib: u64| {
        let bytes = client.read(mib << 20, 1 << 20).unwrap();
        assert_eq!(oracle::pattern::check(&bytes, mib << 11, mib + 1), Ok(()));
    };
    (0..3).for_each(|mib| check(&mut client, mib));
    client.fill(3 << 20, 1 << 20, 4);
    running.kill();

    let script = "mdadm -A /dev/md0 --run /dev/d1 /dev/d0 && for mib in 0 1 2 3; do
        pattern check /dev/md0 ${mib}m 1m $((mib + 1)) || exit 1; done
        grep '\\[2/1\\]' /proc/mdstat";
    let run = Run::new(boot.kernel).disks(&members, &DiskOpts::default()).script(script);
    run.run().unwrap().success().unwrap();
}
