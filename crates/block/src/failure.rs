//! Why a request failed: small, copyable, and precise enough to decide what happens to the device.

use std::fmt;

/// What a started request comes to.
pub type Outcome = Result<(), Failed>;

/// A failed request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failed {
    /// What kind of failure it was: this decides, e.g., between repairing a block and failing a member.
    pub cause: Cause,
    /// The operating system's error number behind it, where there is one (0 otherwise).
    pub errno: i32,
}

/// Kinds of failure. They call for different answers, so they are never folded into one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The medium could not give or take these sectors; others may be fine. A copy elsewhere can repair it.
    Medium,
    /// The way to the device failed with the request in flight: it may or may not have been carried out.
    Transport,
    /// No answer before the deadline: it may still be carried out later.
    Timeout,
    /// The device is not there any more, or was fenced off.
    Gone,
    /// The device no longer holds what it should (an epoch passed, a stale member answered).
    Stale,
    /// No room: an overlay is full, a file system has no space.
    NoSpace,
    /// The request itself is at fault: out of range, not aligned, writing to what is read-only.
    Refused,
    /// The device cannot do this operation at all (discard, write-zeroes).
    Unsupported,
    /// Too few members are left to answer, or what could be answered may be inconsistent.
    Degraded,
}

impl Failed {
    /// A failure of this kind without an error number.
    pub const fn new(cause: Cause) -> Failed {
        Failed { cause, errno: 0 }
    }

    /// The failure that an error number of a disk request stands for.
    pub const fn from_errno(errno: i32) -> Failed {
        // Linux numbers, spelled out: this crate depends on nothing.
        let cause = match errno {
            6 | 19 => Cause::Gone,                   // ENXIO, ENODEV
            9 | 22 | 27 | 30 => Cause::Refused,      // EBADF, EINVAL, EFBIG, EROFS
            28 | 122 => Cause::NoSpace,              // ENOSPC, EDQUOT
            95 => Cause::Unsupported,                // EOPNOTSUPP
            110 => Cause::Timeout,                   // ETIMEDOUT
            32 | 67 | 104 | 121 => Cause::Transport, // EPIPE, ENOLINK, ECONNRESET, EREMOTEIO
            _ => Cause::Medium,                      // EIO, EILSEQ, ENODATA and what else disks say
        };
        Failed { cause, errno }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.cause {
            Cause::Medium => "medium error",
            Cause::Transport => "transport error",
            Cause::Timeout => "no answer in time",
            Cause::Gone => "device gone",
            Cause::Stale => "stale device",
            Cause::NoSpace => "no space left",
            Cause::Refused => "request refused",
            Cause::Unsupported => "operation not supported",
            Cause::Degraded => "too few members left",
        };
        match self.errno {
            0 => f.write_str(what),
            errno => write!(f, "{what} (errno {errno})"),
        }
    }
}

impl std::error::Error for Failed {}
