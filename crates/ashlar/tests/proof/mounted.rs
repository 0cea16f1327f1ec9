//! Volumes as files: where FUSE can be had here, and a mount that a test leaves is taken away.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether something can be mounted here; if not, the calling test is written down as left out.
pub fn is_possible(what: &str) -> bool {
    let device = fs::File::options().read(true).write(true).open("/dev/fuse");
    let missing = match device {
        Err(error) => Some(format!("/dev/fuse cannot be opened: {error}")),
        Ok(_) if rustix::process::geteuid().is_root() => None,
        Ok(_) => oracle::installed("fusermount3", "fuse3").err().map(|missing| missing.to_string()),
    };
    if let Some(missing) = &missing {
        oracle::left_out::record(what, missing);
    }
    missing.is_none()
}

/// A place where something may be mounted; nothing is any more when this is dropped.
pub struct Spot(pub PathBuf);

impl Spot {
    /// The words with which the program mounts there.
    pub fn words(&self) -> [&str; 2] {
        ["--fuse", self.0.to_str().expect("a path of the test's own")]
    }

    pub fn open(&self) -> File {
        File::open(&self.0)
    }

    pub fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let own = self.0.to_str().expect("a path of the test's own").replace(' ', "\\040"); // as they stand there
        mounts.lines().any(|line| line.split(' ').nth(1) == Some(&own))
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        while self.is_mounted() {
            let root = rustix::process::geteuid().is_root();
            let words: &[&str] = if root { &["umount", "-l"] } else { &["fusermount3", "-u", "-z"] };
            let ended = Command::new(words[0]).args(&words[1..]).arg(&self.0).stderr(Stdio::null()).status();
            if !ended.is_ok_and(|status| status.success()) {
                return;
            }
        }
    }
}

/// A volume's file, opened twice: writes of one descriptor are durable when they are answered.
pub struct File {
    pub plain: fs::File,
    pub durable: fs::File,
}

impl File {
    pub fn open(path: &Path) -> File {
        let mut options = fs::File::options();
        options.read(true).write(true);
        let open = |options: &fs::OpenOptions| {
            options.open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
        };
        let plain = open(&options);
        const O_DSYNC: i32 = 0o10000;
        File { plain, durable: open(options.custom_flags(O_DSYNC)) }
    }
}
