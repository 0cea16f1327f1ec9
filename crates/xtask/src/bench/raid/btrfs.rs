//! btrfs over loop devices on files beside our members, and a file in it that fio works on.

use std::path::PathBuf;

use super::super::fio::{self, Subject};
use super::super::ground::{Ground, fill};
use super::super::job::Job;
use super::Level;
use crate::shell;

/// What part of its data space the file takes: copies on write need room.
const SHARE: u64 = 4;

/// A file system that is mounted until this is dropped.
pub struct Btrfs<'a> {
    ground: &'a Ground,
    mount: PathBuf,
    options: &'static str,
    is_in_place: bool,
    loops: Vec<Loop>,
    file_bytes: u64,
}

/// Why there is no btrfs here; nothing if there is.
pub fn missing(ground: &Ground) -> Vec<String> {
    let mut missing = Vec::new();
    if !ground.can_mount() {
        missing.push("btrfs: only root can mount it".to_owned());
    }
    for program in ["mkfs.btrfs", "losetup", "nsenter", "fio"] {
        if let Err(error) = shell::output(shell::command(program).arg("--version")) {
            missing.push(format!("btrfs: {error:#}"));
        }
    }
    if !std::fs::read_to_string("/proc/filesystems").is_ok_and(|known| known.contains("btrfs")) {
        let loaded = shell::output(shell::command("modprobe").arg("btrfs"));
        missing.extend(loaded.err().map(|_| "btrfs: this kernel has none".to_owned()));
    }
    missing
}

impl Btrfs<'_> {
    /// Makes it with a level's profile. In place means without copy on write and without checksums.
    pub fn new(ground: &Ground, level: Level, bytes: u64, is_in_place: bool) -> anyhow::Result<Btrfs<'_>> {
        let name = if is_in_place { "in-place" } else { "btrfs" };
        let mount = ground.path(&format!("{name}.mount"));
        let options = if is_in_place { "noatime,nodatacow" } else { "noatime" };
        let file_bytes = level.data as u64 * bytes / SHARE;
        let mut btrfs = Btrfs { ground, mount, options, is_in_place, loops: Vec::new(), file_bytes };
        for number in 0..level.members {
            btrfs.loops.push(Loop::new(ground.path(&format!("{name}{number}.img")), bytes)?);
        }
        let mut make = shell::command("mkfs.btrfs");
        make.args(["--quiet", "--force", "--data", level.name, "--metadata", "raid1"]);
        shell::output(make.args(btrfs.loops.iter().map(|device| &device.name)))?;
        std::fs::create_dir_all(&btrfs.mount)?;
        btrfs.mount()?;
        fill(&btrfs.file(), file_bytes)?;
        Ok(btrfs)
    }

    /// Whether it is without copy on write.
    pub fn is_in_place(&self) -> bool {
        self.is_in_place
    }

    /// Lets fio do a job; bytes a second.
    pub fn measure(&self, job: Job, milliseconds: u32) -> anyhow::Result<f64> {
        let rate = fio::run(job, &Subject::Direct(&self.file()), milliseconds, self.file_bytes)?;
        Ok(rate * f64::from(job.shape().kib) * 1024.0)
    }

    /// Takes its second device away.
    pub fn lose_one(&mut self) -> anyhow::Result<()> {
        self.unmount()?;
        drop(self.loops.remove(1));
        self.options = if self.is_in_place { "noatime,nodatacow,degraded" } else { "noatime,degraded" };
        self.mount()
    }

    fn file(&self) -> PathBuf {
        self.ground.seen_from_outside(&self.mount.join("file"))
    }

    fn mount(&self) -> anyhow::Result<()> {
        let devices: String = self.loops.iter().map(|device| format!(",device={}", device.name)).collect();
        let mut mount = self.ground.command("mount");
        mount.arg("-t").arg("btrfs").arg("-o").arg(format!("{}{devices}", self.options));
        shell::output(mount.arg(&self.loops[0].name).arg(&self.mount)).map(drop)
    }

    /// And lets the kernel forget which devices belonged together.
    fn unmount(&self) -> anyhow::Result<()> {
        shell::output(self.ground.command("umount").arg(&self.mount))?;
        let mut forget = shell::command("btrfs");
        forget.args(["device", "scan", "--forget"]).args(self.loops.iter().map(|device| &device.name));
        shell::output(&mut forget).map(drop)
    }
}

impl Drop for Btrfs<'_> {
    fn drop(&mut self) {
        let _ = self.unmount(); // what was never mounted cannot be; all else is the ground's to clear
    }
}

/// A loop device, past the page cache; gone with its file when it is dropped.
struct Loop {
    name: String,
    file: PathBuf,
}

impl Loop {
    fn new(file: PathBuf, bytes: u64) -> anyhow::Result<Loop> {
        std::fs::File::create(&file)?.set_len(bytes)?;
        let mut attach = shell::command("losetup");
        let name = shell::output(attach.args(["--find", "--show", "--direct-io=on"]).arg(&file))?;
        Ok(Loop { name: name.trim().to_owned(), file })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = shell::output(shell::command("losetup").arg("--detach").arg(&self.name));
        let _ = std::fs::remove_file(&self.file);
    }
}
