//! Locks: a member belongs to one program at a time.
//!
//! Files take an OFD lock over the whole file, shared for reading and exclusive for writing, and are refused when a
//! loop device has them. Block devices are opened O_EXCL, which the kernel's own users (md, mounts, swap) take too, and
//! their node is flocked, exclusively for writing, which is how udev is told to leave a whole disk alone. What is done about
//! the whole disk under a partition stands in `whole_disk`, and how a lock's holder is found in `holder`.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, major, minor};
use rustix::io::Errno;

use super::holder::Holder;
use super::open::OpenMode;
use super::whole_disk;

/// Who else has a member.
#[derive(Debug)]
pub enum LockError {
    /// A loop device has the file.
    Loop {
        /// Its name.
        device: String,
    },
    /// Another process has a lock on the file that excludes ours.
    Process {
        /// Which, where the system says.
        holder: Option<Holder>,
        /// Whether we wanted to write.
        writing: bool,
    },
    /// The kernel, or a process with O_EXCL, has the block device.
    Kernel {
        /// What holds it, where the system says (md127, dm-0, ...).
        holders: Vec<String>,
        /// A process that has locked its node, where the system says.
        holder: Option<Holder>,
    },
    /// Another process has flocked the disk's node.
    Flock {
        /// The node.
        node: PathBuf,
        /// Which, where the system says.
        holder: Option<Holder>,
    },
    /// The lock could not be asked for.
    System {
        /// What the system says.
        errno: Errno,
    },
}

impl LockError {
    /// Whether it may be what is left of a process that has ended: the kernel lets go of what an io_uring had open only
    /// some time after its process is gone, when nothing of it is in flight any more.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            LockError::Process { .. } | LockError::Flock { .. } => true,
            LockError::Kernel { holders, .. } => holders.is_empty(),
            LockError::Loop { .. } | LockError::System { .. } => false,
        }
    }

    /// Looks up who holds a block device.
    pub(super) fn held_by_kernel(number: u64) -> LockError {
        let holders = format!("/sys/dev/block/{}:{}/holders", major(number), minor(number));
        let names = fs::read_dir(holders).map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        });
        LockError::Kernel { holders: names.unwrap_or_default(), holder: None }
    }

    /// Looks up which process has locked the member at `path`. That takes a look at every process, so it is done once,
    /// when nobody tries again.
    pub(super) fn with_holder(self, path: &Path) -> LockError {
        let find = |path: &Path, kinds| Holder::find(&fs::metadata(path).ok()?, kinds);
        match self {
            LockError::Process { holder: None, writing } => {
                LockError::Process { holder: find(path, &["OFDLCK", "POSIX"]), writing }
            }
            LockError::Kernel { holders, .. } if holders.is_empty() => {
                LockError::Kernel { holders, holder: find(path, &["FLOCK"]) }
            }
            LockError::Flock { node, .. } => LockError::Flock { holder: find(&node, &["FLOCK"]), node },
            other => other,
        }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Loop { device } => {
                write!(f, "in use by {device}; detach it first (losetup -d {device})")
            }
            LockError::Process { holder, writing } => {
                match holder {
                    Some(holder) => write!(f, "in use by {holder}")?,
                    None => write!(f, "in use by another process")?,
                }
                let hint = if *writing {
                    "stop it first"
                } else {
                    "stop it first, or read all the same with --live"
                };
                write!(f, "; {hint}")
            }
            LockError::Kernel { holders, holder: Some(holder) } if holders.is_empty() => {
                write!(f, "in use by {holder}; stop it first")
            }
            LockError::Kernel { holders, .. } if holders.is_empty() => {
                write!(f, "in use (mounted, part of an array, or opened exclusively); free it first")
            }
            LockError::Kernel { holders, .. } => {
                write!(f, "in use by {}; stop that first", holders.join(", "))
            }
            LockError::Flock { node, holder: Some(holder) } => {
                write!(f, "{holder} has locked {}; stop it first", node.display())
            }
            LockError::Flock { node, holder: None } => {
                write!(f, "another process has locked {}; stop it first", node.display())
            }
            LockError::System { errno } => write!(f, "cannot be locked: {}", std::io::Error::from(*errno)),
        }
    }
}

/// Locks a file that was just opened. The lock ends when the file is closed.
pub(super) fn lock_file(file: &OwnedFd, metadata: &fs::Metadata, mode: OpenMode) -> Result<(), LockError> {
    if let Some(device) = loop_device_of(metadata) {
        return Err(LockError::Loop { device });
    }
    let writing = mode == OpenMode::Write;
    let kind = if writing { libc::F_WRLCK } else { libc::F_RDLCK };
    let mut lock = whole_file(kind);
    match ofd_lock(file.as_fd(), libc::F_OFD_SETLK, &mut lock) {
        Ok(()) => Ok(()),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            let mut other = whole_file(kind);
            let asked = ofd_lock(file.as_fd(), libc::F_OFD_GETLK, &mut other);
            // Locks of open files belong to no process, and the kernel says -1.
            let pid = u32::try_from(other.l_pid).ok().filter(|pid| asked.is_ok() && *pid > 0);
            Err(LockError::Process { holder: pid.map(Holder::of_pid), writing })
        }
        Err(errno) => Err(LockError::System { errno }),
    }
}

/// Gives up the lock of [`lock_file`], whoever else still has the file open through us.
pub(super) fn unlock_file(file: &OwnedFd) {
    let _ = ofd_lock(file.as_fd(), libc::F_OFD_SETLK, &mut whole_file(libc::F_UNLCK));
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn ofd_lock(file: BorrowedFd<'_>, command: libc::c_int, lock: &mut libc::flock) -> Result<(), Errno> {
    // SAFETY: both commands take a pointer to a flock, which lives for the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, lock as *mut libc::flock) } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        _ => Ok(()),
    }
}

/// The loop device that has this file, if any.
fn loop_device_of(metadata: &fs::Metadata) -> Option<String> {
    for entry in fs::read_dir("/sys/block").ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("loop") {
            continue;
        }
        let Ok(backing) = fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
        let Ok(other) = fs::metadata(backing.trim_end_matches('\n')) else { continue };
        if (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()) {
            return Some(format!("/dev/{name}"));
        }
    }
    None
}

/// Locks a block device that was just opened with O_EXCL: flocks its node, and the node of the whole disk if this is
/// a partition. The locks are the file's own, and the disk's.
pub(super) fn lock_disk(
    file: &OwnedFd,
    path: &Path,
    number: u64,
    mode: OpenMode,
) -> Result<Option<whole_disk::Taken>, LockError> {
    let writing = mode == OpenMode::Write;
    let how = match writing {
        true => FlockOperation::NonBlockingLockExclusive,
        false => FlockOperation::NonBlockingLockShared,
    };
    flock(file, how).map_err(|errno| match errno {
        Errno::AGAIN => LockError::Flock { node: path.to_owned(), holder: None },
        errno => LockError::System { errno },
    })?;
    whole_disk::under(number).map(|disk| whole_disk::take(&disk, writing)).transpose()
}
