//! What can go wrong with a place to mount at, and its text for people.

use std::io;
use std::path::PathBuf;

use block::{Cause, Failed};
use rustix::io::Errno;
use thiserror::Error;

/// Why nothing can be mounted.
#[derive(Error, Debug)]
pub enum Error {
    /// The kernel has no FUSE, or this place is not given its device.
    #[error(
        "/dev/fuse cannot be opened: {0}; FUSE needs the kernel's module (modprobe fuse), and in a container that device"
    )]
    NoDevice(io::Error),
    /// Who is not root mounts by a helper, and it is missing.
    #[error("fusermount3 cannot be run: {0}; who is not root needs it to mount (Debian: apt install fuse3)")]
    NoHelper(io::Error),
    /// The process that was to mount is gone.
    #[error("{}: the process that mounts has ended, or cannot be spoken with: {error}", path.display())]
    Holder {
        /// Where.
        path: PathBuf,
        /// What came of it.
        error: io::Error,
    },
    /// The process that was to mount says why it cannot.
    #[error("{0}")]
    Said(String),
    /// The helper refuses.
    #[error("{}: fusermount3 refuses to mount: {text}", path.display())]
    Refused {
        /// Where.
        path: PathBuf,
        /// Its words.
        text: String,
    },
    /// The system refuses.
    #[error("{}: {what}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What came of it.
        error: io::Error,
    },
    /// Nothing is mounted over this.
    #[error("{}: {found}; expected a name that is free, an empty file or an empty folder", path.display())]
    Place {
        /// Where.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A file is one volume.
    #[error("{}: is a file, and the members make {volumes} volumes; name a folder", path.display())]
    NeedsFolder {
        /// Where.
        path: PathBuf,
        /// How many.
        volumes: usize,
    },
    /// Two volumes would have one name.
    #[error("two volumes would be files of the name {0}")]
    SameName(String),
    /// A mount without a process that is not ours to take away.
    #[error("{}: a dead mount of another program ({kind}) is there; fusermount3 -u -z takes it away", path.display())]
    DeadMount {
        /// Where.
        path: PathBuf,
        /// Its type, as mounts say it.
        kind: String,
    },
}

/// The number by which a client learns of a failed request.
pub(crate) fn errno_of(failed: Failed) -> Errno {
    match failed.cause {
        Cause::NoSpace => Errno::NOSPC,
        Cause::Refused => Errno::INVAL,
        Cause::Unsupported => Errno::OPNOTSUPP,
        Cause::Medium | Cause::Transport | Cause::Timeout | Cause::Gone | Cause::Stale | Cause::Degraded => {
            Errno::IO
        }
    }
}
