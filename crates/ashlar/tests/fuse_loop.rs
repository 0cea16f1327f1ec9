//! A loop device on a volume's file: ext4 and xfs live there, fio finds what it wrote, also after the program was killed.

mod proof;

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use proof::loops::{Loop, Mounted, is_everything_there, must, text};
use proof::mounted::Spot;
use proof::{Bench, Running};

/// Five members of 128 MiB with two parities, as a file.
struct Stage {
    bench: Bench,
    members: Vec<PathBuf>,
    spot: Spot,
}

impl Stage {
    fn new() -> Stage {
        let bench = Bench::new();
        let members = bench.members("m", &[128 << 10; 5]);
        bench.create(
            "m",
            &["-l", "raid6", "--chunk", "64K", "--bitmap", "internal", "--assume-clean"],
            &members,
        );
        let spot = Spot(bench.path("file"));
        Stage { bench, members, spot }
    }

    fn run(&self) -> Running {
        self.bench.run("m", &self.spot.words(), &self.members)
    }
}

fn fill(folder: &Path) {
    for number in 0..200_usize {
        let bytes = vec![number as u8; 1 + number * 997];
        fs::write(folder.join(format!("file-{number}")), bytes).unwrap();
    }
    let all = fs::File::open(folder).unwrap();
    rustix::fs::syncfs(all.as_fd()).unwrap();
}

fn check(folder: &Path) {
    for number in 0..200_usize {
        let bytes = fs::read(folder.join(format!("file-{number}"))).unwrap();
        assert!(bytes == vec![number as u8; 1 + number * 997], "file-{number}");
    }
}

/// What makes it, what checks it.
type FileSystem = (&'static [&'static str], &'static [&'static str]);

const EXT4: FileSystem = (&["mkfs.ext4", "-q", "-F"], &["fsck.ext4", "-f", "-n"]);
const XFS: FileSystem = (&["mkfs.xfs", "-q", "-f"], &["xfs_repair", "-n"]);

fn lives((make, check_it): FileSystem, direct: bool) {
    let stage = Stage::new();
    let running = stage.run();
    let device = Loop::new(&stage.spot.0, direct).unwrap();
    must(&[make, &[device.0.as_str()]].concat());
    let mounted = Mounted::new(&device, stage.bench.path("mnt"));
    fill(&mounted.0);
    must(&["fstrim", text(&mounted.0)]);
    check(&mounted.0);
    drop(mounted);
    let mounted = Mounted::new(&device, stage.bench.path("mnt"));
    check(&mounted.0);
    drop(mounted);
    must(&[check_it, &[device.0.as_str()]].concat());
    drop(device);
    running.stop();

    // With the members that carry parity alone: what is there is there twice.
    let running =
        stage.bench.run("m", &[&stage.spot.words()[..], &["--degraded"]].concat(), &stage.members[2..]);
    let device = Loop::new(&stage.spot.0, direct).unwrap();
    let mounted = Mounted::new(&device, stage.bench.path("mnt"));
    check(&mounted.0);
    drop(mounted);
    drop(device);
    running.stop();
}

#[test]
fn ext4_lives_on_a_loop_device_on_the_file() {
    let programs = [("losetup", "mount"), ("mkfs.ext4", "e2fsprogs"), ("fstrim", "util-linux")];
    if is_everything_there("ext4 on a loop device on a volume's file", &programs) {
        lives(EXT4, true);
        lives(EXT4, false);
    }
}

#[test]
fn xfs_lives_on_a_loop_device_on_the_file() {
    let programs = [("losetup", "mount"), ("mkfs.xfs", "xfsprogs"), ("fstrim", "util-linux")];
    if is_everything_there("xfs on a loop device on a volume's file", &programs) {
        lives(XFS, true);
    }
}

#[test]
fn what_a_file_system_has_synced_outlives_a_kill() {
    let programs = [("losetup", "mount"), ("mkfs.ext4", "e2fsprogs")];
    if !is_everything_there("ext4 on a volume's file through a kill", &programs) {
        return;
    }
    let stage = Stage::new();
    let running = stage.run();
    let device = Loop::new(&stage.spot.0, true).unwrap();
    must(&["mkfs.ext4", "-q", "-F", &device.0]);
    let mounted = Mounted::new(&device, stage.bench.path("mnt"));
    fill(&mounted.0);
    running.kill();
    drop(mounted);
    drop(device);

    let running = stage.run();
    let device = Loop::new(&stage.spot.0, true).unwrap();
    let mounted = Mounted::new(&device, stage.bench.path("mnt"));
    check(&mounted.0);
    drop(mounted);
    must(&["fsck.ext4", "-f", "-n", &device.0]);
    drop(device);
    running.stop();
}

#[test]
fn fio_finds_what_it_wrote_to_the_file_and_to_a_loop_device() {
    let programs = [("losetup", "mount"), ("fio", "fio")];
    if !is_everything_there("fio's verification of a volume's file", &programs) {
        return;
    }
    let stage = Stage::new();
    let running = stage.run();
    let device = Loop::new(&stage.spot.0, true).unwrap();
    // Blocks of one size each: where they overlap, fio does not know which write came last.
    for (target, engine, block) in [
        (text(&stage.spot.0), "io_uring", "512"),
        (text(&stage.spot.0), "psync", "12k"),
        (&device.0, "libaio", "4k"),
        (&device.0, "io_uring", "256k"),
    ] {
        let options = "fio --name=verify --verify_state_save=0 --allow_file_create=0 --direct=1 --rw=randrw --size=48m \
                       --io_size=24m --verify=crc32c --verify_fatal=1 --do_verify=1 --iodepth=16 --fsync=50";
        let own = [format!("--filename={target}"), format!("--ioengine={engine}"), format!("--bs={block}")];
        let words: Vec<&str> = options.split_whitespace().chain(own.iter().map(String::as_str)).collect();
        must(&words);
    }
    drop(device);
    running.stop();
}
