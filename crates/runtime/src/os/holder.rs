//! Who holds a lock: the process that has the file open with a lock on it. The kernel tells this of no lock that belongs to
//! an open file, so the open files of all processes are looked at. Best effort: other users' are not shown to everybody.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process that holds a lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// What it is called; empty where the system does not say.
    pub name: String,
}

impl Holder {
    /// The process of that number.
    pub(super) fn of_pid(pid: u32) -> Holder {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Holder { pid, name: name.trim_end().to_owned() }
    }

    /// The first process that has this very file open with a lock of one of these `kinds`, in the words of
    /// `/proc/PID/fdinfo`.
    pub(super) fn find(file: &Metadata, kinds: &[&str]) -> Option<Holder> {
        let numbers = fs::read_dir("/proc").ok()?.flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.into_iter().find(|pid| has_lock(*pid, file, kinds)).map(Holder::of_pid)
    }

    /// Whether it is another process of the program that this one runs, as far as its name tells.
    pub(super) fn is_one_of_us(&self) -> bool {
        let own = Holder::of_pid(std::process::id());
        self.pid != own.pid && !self.name.is_empty() && self.name == own.name
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "process {}", self.pid),
            name => write!(f, "process {} ({name})", self.pid),
        }
    }
}

fn has_lock(pid: u32, file: &Metadata, kinds: &[&str]) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let Ok(open) = fs::read_dir(process.join("fd")) else { return false };
    open.flatten().any(|entry| {
        let same = fs::metadata(entry.path())
            .is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()));
        same && fs::read_to_string(process.join("fdinfo").join(entry.file_name()))
            .is_ok_and(|text| text.lines().any(|line| is_lock(line, kinds)))
    })
}

/// `lock: 1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF`
fn is_lock(line: &str, kinds: &[&str]) -> bool {
    let Some(lock) = line.strip_prefix("lock:") else { return false };
    lock.split_whitespace().nth(1).is_some_and(|kind| kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_told_from_the_other_lines() {
        assert!(is_lock("lock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF", &["FLOCK"]));
        assert!(is_lock("lock:\t2: OFDLCK ADVISORY  READ -1 00:13:11691 0 EOF", &["OFDLCK", "POSIX"]));
        assert!(!is_lock("lock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF", &["OFDLCK"]));
        assert!(!is_lock("flags:\t0100002", &["0100002"]));
    }
}
