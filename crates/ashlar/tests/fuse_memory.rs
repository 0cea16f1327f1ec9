//! No memory left: who writes to a file system on a volume is in a memory cgroup at its limit. The kernel frees memory there
//! by writing dirty pages, and those go through the program.

mod proof;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proof::Bench;
use proof::loops::{Loop, Mounted, is_everything_there, must, text};
use proof::mounted::Spot;

/// A good deal less than what is written.
const LIMIT: &str = "64M";

/// A healthy machine needs a few seconds.
const PATIENCE: Duration = Duration::from_secs(180);

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

fn writers_go_on(make: &[&str]) {
    let group = match Group::new(make[0]) {
        Ok(group) => group,
        Err(error) => return oracle::left_out::record("writers at their limit of memory", &error),
    };
    let bench = Bench::new();
    let members = bench.members("m", &[192 << 10; 5]);
    let options = ["-l", "raid6", "--chunk", "64K", "--bitmap", "internal", "--assume-clean"];
    bench.create("m", &options, &members);
    let spot = Spot(bench.path("file"));
    let running = bench.run("m", &spot.words(), &members);
    let device = Loop::new(&spot.0, true).unwrap();
    must(&[make, &[device.0.as_str()]].concat());
    let mounted = Mounted::new(&device, bench.path("mnt"));

    // A shell joins the group, and becomes fio: so all of its memory counts.
    let options = "--name=writer --verify_state_save=0 --size=80m --numjobs=3 --rw=randwrite --bs=16k --ioengine=psync \
                   --fallocate=none --end_fsync=1 --verify=crc32c --do_verify=1 --verify_fatal=1";
    let mut fio = Command::new("sh");
    fio.args(["-c", "echo $$ > \"$0\" && exec fio \"$@\""]).arg(group.path.join("cgroup.procs"));
    fio.arg(format!("--directory={}", text(&mounted.0))).args(options.split_whitespace());
    fio.stdin(Stdio::null()).stdout(Stdio::null());
    let (mut writers, start) = (fio.spawn().unwrap(), Instant::now());
    let ended = loop {
        match writers.try_wait().unwrap() {
            Some(ended) => break ended,
            None => assert!(
                start.elapsed() < PATIENCE,
                "the writers have come to no end: memory is waited for in a circle"
            ),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
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
