//! Locks: a member belongs to one program at a time.
//!
//! Files take an OFD lock over the whole file, shared for reading and exclusive for writing, and are refused when a
//! loop device has them. Block devices are opened O_EXCL, which the kernel's own users (md, mounts, swap) take too, and
//! their node is flocked, exclusively for writing, which is how udev is told to leave a whole disk alone. The disk under a
//! partition is flocked shared, because other partitions of it may be members too: that stops programs which want the
//! whole disk for themselves, not udev.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, major, minor};
use rustix::io::Errno;

use super::open::OpenMode;

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
        /// Its number, where the system says.
        pid: Option<i32>,
        /// Whether we wanted to write.
        writing: bool,
    },
    /// The kernel, or a process with O_EXCL, has the block device.
    Kernel {
        /// What holds it, where the system says (md127, dm-0, ...).
        holders: Vec<String>,
    },
    /// Another process has flocked the disk's node.
    Flock {
        /// The node.
        node: PathBuf,
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
            LockError::Kernel { holders } => holders.is_empty(),
            LockError::Loop { .. } | LockError::System { .. } => false,
        }
    }

    /// Looks up who holds a block device.
    pub(super) fn held_by_kernel(number: u64) -> LockError {
        let holders = format!("/sys/dev/block/{}:{}/holders", major(number), minor(number));
        let names = fs::read_dir(holders).map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        });
        LockError::Kernel { holders: names.unwrap_or_default() }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Loop { device } => {
                write!(f, "in use by {device}; detach it first (losetup -d {device})")
            }
            LockError::Process { pid, writing } => {
                match pid {
                    Some(pid) => write!(f, "in use by process {pid}")?,
                    None => write!(f, "in use by another process")?,
                }
                let hint = if *writing {
                    "stop it first"
                } else {
                    "stop it first, or read all the same with --live"
                };
                write!(f, "; {hint}")
            }
            LockError::Kernel { holders } if holders.is_empty() => {
                write!(f, "in use (mounted, part of an array, or opened exclusively); free it first")
            }
            LockError::Kernel { holders } => write!(f, "in use by {}; stop that first", holders.join(", ")),
            LockError::Flock { node } => {
                write!(f, "another process has locked {}; stop it first", node.display())
            }
            LockError::System { errno } => write!(f, "cannot be locked: {}", std::io::Error::from(*errno)),
        }
    }
}

/// Locks a file that was just opened. The lock ends when the file is closed.
pub(super) fn lock_file(
    file: &OwnedFd,
    metadata: &fs::Metadata,
    mode: OpenMode,
) -> Result<Vec<OwnedFd>, LockError> {
    if let Some(device) = loop_device_of(metadata) {
        return Err(LockError::Loop { device });
    }
    let writing = mode == OpenMode::Write;
    let kind = if writing { libc::F_WRLCK } else { libc::F_RDLCK };
    let mut lock = whole_file(kind);
    match ofd_lock(file.as_fd(), libc::F_OFD_SETLK, &mut lock) {
        Ok(()) => Ok(Vec::new()),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            let mut other = whole_file(kind);
            let asked = ofd_lock(file.as_fd(), libc::F_OFD_GETLK, &mut other);
            let pid = (asked.is_ok() && other.l_pid > 0).then_some(other.l_pid);
            Err(LockError::Process { pid, writing })
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
/// a partition.
pub(super) fn lock_disk(
    file: &OwnedFd,
    path: &Path,
    number: u64,
    mode: OpenMode,
) -> Result<Vec<OwnedFd>, LockError> {
    let how = match mode {
        OpenMode::Write => FlockOperation::NonBlockingLockExclusive,
        _ => FlockOperation::NonBlockingLockShared,
    };
    let refused = |node: &Path| {
        let node = node.to_owned();
        move |errno| match errno {
            Errno::AGAIN => LockError::Flock { node },
            errno => LockError::System { errno },
        }
    };
    flock(file, how).map_err(refused(path))?;
    let Some(whole) = whole_disk_of(number) else { return Ok(Vec::new()) };
    let node = rustix::fs::open(&whole, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| LockError::System { errno })?;
    // Several partitions of one disk may be members: they share the whole disk's node.
    flock(&node, FlockOperation::NonBlockingLockShared).map_err(refused(&whole))?;
    Ok(vec![node])
}

/// The node of the disk that a partition is on; `None` for a whole disk.
fn whole_disk_of(number: u64) -> Option<PathBuf> {
    let own = format!("/sys/dev/block/{}:{}", major(number), minor(number));
    if !Path::new(&own).join("partition").exists() {
        return None;
    }
    let parent = fs::canonicalize(own).ok()?.parent()?.file_name()?.to_owned();
    Some(Path::new("/dev").join(parent))
}
