//! No memory left: who writes to a file system on a volume is in a memory cgroup at its limit. The kernel frees memory there
//! by writing dirty pages, and those go through the program.

mod proof;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use proof::loops::{Loop, Mounted, is_everything_there, must, text};
use proof::mounted::Spot;
use proof::versions::Random;
use proof::{Bench, Running};
use rustix::fs::{FallocateFlags, fallocate};

/// A good deal less than what is written.
const LIMIT: &str = "64M";

/// A healthy machine needs a few seconds.
const PATIENCE: Duration = Duration::from_secs(180);

// What this program does when it is started in a group, where, and where it tells how far it came.
const WORK: &str = "ASHLAR_TEST_WORK";
const FOLDER: &str = "ASHLAR_TEST_FOLDER";
const LOG: &str = "ASHLAR_TEST_LOG";

/// Bytes of the file that is used at random.
const MODEL_BYTES: usize = 6 << 20;

/// A memory cgroup with a limit; removed when dropped.
struct Group {
    path: PathBuf,
    second_version: bool,
}

impl Group {
    fn new(name: &str) -> io::Result<Group> {
        let second_version = fs::exists("/sys/fs/cgroup/cgroup.controllers")?;
        let all = fs::read_to_string("/proc/self/cgroup")?;
        let own = all.lines().find_map(|line| line.split_once(":memory:").map(|(_, own)| own.to_owned()));
        let parent = match (second_version, own) {
            (false, Some(own)) => Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/')),
            (true, _) => PathBuf::from("/sys/fs/cgroup"),
            (false, None) => return Err(io::Error::other("there is no memory cgroup")),
        };
        let group =
            Group { path: parent.join(format!("ashlar-{name}-{}", std::process::id())), second_version };
        fs::create_dir(&group.path)?;
        let limit = if second_version { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(group.path.join(limit), LIMIT)?;
        Ok(group)
    }

    /// How often the limit was reached.
    fn hits(&self) -> u64 {
        match self.second_version {
            true => {
                let events = fs::read_to_string(self.path.join("memory.events")).unwrap();
                let line = events.lines().find_map(|line| line.strip_prefix("max ")).unwrap();
                line.parse().unwrap()
            }
            false => fs::read_to_string(self.path.join("memory.failcnt")).unwrap().trim().parse().unwrap(),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path); // not while somebody is in it
    }
}

/// Five members with two parities, as a file; and a group for whoever writes to it.
struct Stage {
    group: Group,
    bench: Bench,
    members: Vec<PathBuf>,
    spot: Spot,
}

impl Stage {
    /// `None`: there are no such groups here, and the test is written down as left out.
    fn new(name: &str) -> Option<Stage> {
        let missing = |error| oracle::left_out::record("writers at their limit of memory", &error);
        let group = Group::new(name).map_err(missing).ok()?;
        let bench = Bench::new();
        let members = bench.members("m", &[192 << 10; 5]);
        let options = ["-l", "raid6", "--chunk", "64K", "--bitmap", "internal", "--assume-clean"];
        bench.create("m", &options, &members);
        let spot = Spot(bench.path("file"));
        Some(Stage { group, bench, members, spot })
    }

    fn run(&self) -> Running {
        self.bench.run("m", &self.spot.words(), &self.members)
    }

    /// This test's own program, in the group, doing `work` in a folder.
    fn in_group(&self, work: &str, folder: &Path) -> Child {
        let mut child = Command::new("sh");
        child.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.group.path.join("cgroup.procs"));
        child.arg(std::env::current_exe().unwrap()).args(["--exact", "works_in_a_group", "--nocapture"]);
        child.env(WORK, work).env(FOLDER, folder).env(LOG, self.bench.path("log"));
        child.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    }
}

/// Waits for the end of somebody who writes.
fn in_time(writer: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        match writer.try_wait().unwrap() {
            Some(ended) => return ended,
            None => assert!(start.elapsed() < PATIENCE, "no end comes: memory is waited for in a circle"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn writers_go_on(make: &[&str]) {
    let Some(stage) = Stage::new(make[0]) else { return };
    let running = stage.run();
    let device = Loop::new(&stage.spot.0, true).unwrap();
    must(&[make, &[device.0.as_str()]].concat());
    let mounted = Mounted::new(&device, stage.bench.path("mnt"));
    let group = &stage.group;

    // A shell joins the group, and becomes fio: so all of its memory counts.
    let options = "--name=writer --verify_state_save=0 --size=80m --numjobs=3 --rw=randwrite --bs=16k --ioengine=psync \
                   --fallocate=none --end_fsync=1 --verify=crc32c --do_verify=1 --verify_fatal=1";
    let mut fio = Command::new("sh");
    fio.args(["-c", "echo $$ > \"$0\" && exec fio \"$@\""]).arg(group.path.join("cgroup.procs"));
    fio.arg(format!("--directory={}", text(&mounted.0))).args(options.split_whitespace());
    fio.stdin(Stdio::null()).stdout(Stdio::null());
    let ended = in_time(&mut fio.spawn().unwrap());
    assert!(ended.success(), "fio: {ended}");
    assert!(group.hits() > 1000, "the limit was reached {} times: this proves nothing", group.hits());
    drop(mounted);
    drop(device);
    running.stop();
}

#[test]
fn writers_to_ext4_at_their_limit_of_memory_go_on() {
    let programs = [("losetup", "mount"), ("mkfs.ext4", "e2fsprogs"), ("fio", "fio")];
    if is_everything_there("ext4 where memory is short", &programs) {
        writers_go_on(&["mkfs.ext4", "-q", "-F"]);
    }
}

#[test]
fn writers_to_xfs_at_their_limit_of_memory_go_on() {
    let programs = [("losetup", "mount"), ("mkfs.xfs", "xfsprogs"), ("fio", "fio")];
    if is_everything_there("xfs where memory is short", &programs) {
        writers_go_on(&["mkfs.xfs", "-q", "-f"]);
    }
}

/// Not a test of its own: what is done in a group, by a process of its own.
#[test]
fn works_in_a_group() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let ballast = folder.join("ballast");
    let filling = std::thread::spawn(move || -> io::Result<()> {
        loop {
            let mut file = File::create(&ballast)?;
            for number in 0..1200_u32 {
                file.write_all(&vec![number as u8; 64 << 10])?;
                if number % 128 == 127 {
                    file.sync_data()?; // or the kernel may end who writes faster than it can write back
                }
            }
        }
    });
    match std::env::var(WORK).unwrap().as_str() {
        "use" => use_at_random(&folder.join("model")).unwrap(),
        _ => {
            let failed = keep(&folder).unwrap_err();
            eprintln!("as it should be: {failed}");
            assert!(filling.join().unwrap().is_err(), "the volume is gone");
        }
    }
}

/// Whatever is done to a file, it holds what a plain run of bytes would: the way of fsx.
fn use_at_random(path: &Path) -> io::Result<()> {
    let (mut random, mut model) = (Random(41), Vec::new());
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    for turn in 0..700_u32 {
        let (at, longest) = (random.below(MODEL_BYTES), [600, 9000, 400_000][random.below(3)]);
        let len = 1 + random.below(longest);
        let end = (at + len).min(MODEL_BYTES);
        match random.below(12) {
            0..4 => {
                if model.len() < end {
                    model.resize(end, 0);
                }
                model[at..end]
                    .iter_mut()
                    .enumerate()
                    .for_each(|(place, byte)| *byte = (place as u32 ^ turn) as u8);
                file.write_all_at(&model[at..end], at as u64)?;
            }
            4..8 => {
                let mut bytes = vec![0; end - at];
                let own = &model[at.min(model.len())..end.min(model.len())];
                file.read_exact_at(&mut bytes[..own.len()], at as u64)?;
                assert!(bytes[..own.len()] == *own, "turn {turn}: {} at {at}", own.len());
            }
            8 => {
                model.resize(at, 0);
                file.set_len(at as u64)?;
            }
            9 => {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&file, hole, at as u64, len as u64)?;
                let known = model.len();
                model[at.min(known)..(at + len).min(known)].fill(0);
            }
            10 => file.sync_all()?,
            _ => file = File::options().read(true).write(true).open(path)?,
        }
    }
    assert!(fs::read(path)? == model, "at the end");
    Ok(())
}

fn content(number: u32) -> Vec<u8> {
    (0..1 + number % 50 * 4099).map(|place| (place ^ number) as u8).collect()
}

/// Makes files that are on disk, one after the other, and says so of each, until something fails.
fn keep(folder: &Path) -> io::Result<()> {
    let mut log = File::create(std::env::var_os(LOG).unwrap())?;
    for number in 0.. {
        let mut file = File::create(folder.join(format!("kept-{number}")))?;
        file.write_all(&content(number))?;
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        writeln!(log, "{number}")?;
    }
    Ok(())
}

fn is_used_and_outlives_a_kill(make: &[&str], check: &[&str]) {
    let Some(stage) = Stage::new(&format!("use-{}", make[0])) else { return };
    let running = stage.run();
    let device = Loop::new(&stage.spot.0, true).unwrap();
    must(&[make, &[device.0.as_str()]].concat());
    let mounted = Mounted::new(&device, stage.bench.path("mnt"));
    let ended = in_time(&mut stage.in_group("use", &mounted.0));
    assert!(ended.success(), "{ended}");
    assert!(
        stage.group.hits() > 100,
        "the limit was reached {} times: this proves nothing",
        stage.group.hits()
    );

    let kept = || fs::read_to_string(stage.bench.path("log")).unwrap_or_default().lines().count() as u32;
    let mut keeper = stage.in_group("keep", &mounted.0);
    let start = Instant::now();
    while kept() < 60 {
        assert!(
            start.elapsed() < PATIENCE && keeper.try_wait().unwrap().is_none(),
            "{} files are kept",
            kept()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    running.kill();
    assert!(in_time(&mut keeper).success());
    let known = kept();
    drop(mounted);
    drop(device);

    let running = stage.run();
    let device = Loop::new(&stage.spot.0, true).unwrap();
    let mounted = Mounted::new(&device, stage.bench.path("mnt"));
    for number in 0..known {
        let found = fs::read(mounted.0.join(format!("kept-{number}"))).unwrap();
        assert!(found == content(number), "file {number} of {known}");
    }
    drop(mounted);
    must(&[check, &[device.0.as_str()]].concat());
    drop(device);
    running.stop();
}

#[test]
fn ext4_at_its_limit_of_memory_is_used_at_random_and_outlives_a_kill() {
    let programs = [("losetup", "mount"), ("mkfs.ext4", "e2fsprogs")];
    if is_everything_there("ext4 used where memory is short", &programs) {
        is_used_and_outlives_a_kill(&["mkfs.ext4", "-q", "-F"], &["fsck.ext4", "-f", "-n"]);
    }
}

#[test]
fn xfs_at_its_limit_of_memory_is_used_at_random_and_outlives_a_kill() {
    let programs = [("losetup", "mount"), ("mkfs.xfs", "xfsprogs")];
    if is_everything_there("xfs used where memory is short", &programs) {
        is_used_and_outlives_a_kill(&["mkfs.xfs", "-q", "-f"], &["xfs_repair", "-n"]);
    }
}
