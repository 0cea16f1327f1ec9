//! What can go wrong with a peer or an address, and its text for people.

use std::fmt;
use std::io;

use block::Failed;

use crate::limits::{FRAGMENTS, PATIENCE_MS};
use crate::wire::errno;

/// A connection that could not be made, or had to be given up; or an address that is none.
#[derive(Debug)]
pub enum Error {
    /// The stream failed.
    Io(io::Error),
    /// The peer closed the connection in the middle of something.
    Ended {
        /// What was awaited.
        awaited: &'static str,
    },
    /// Something did not come in time.
    Late {
        /// What was awaited.
        awaited: &'static str,
        /// How long.
        waited_ms: u64,
    },
    /// A request was not answered before its deadline.
    Overdue,
    /// The peer sent a number that has no place there.
    Unexpected {
        /// What the number is.
        what: &'static str,
        /// The number.
        found: u64,
        /// What was allowed.
        expected: u64,
    },
    /// The server answered a request that is not in flight.
    Stray {
        /// The request's cookie, as the server gave it.
        cookie: u64,
    },
    /// The server sent a part of a read twice.
    Twice {
        /// Where, in bytes from the start of the read.
        at: u64,
    },
    /// The server sends a read in more runs than are kept apart.
    Scattered,
    /// The server answered an option with an error.
    Refused {
        /// The option's number.
        option: u32,
        /// The error's number.
        reply: u32,
        /// The server's text, or none.
        text: String,
    },
    /// The server has no such export.
    NoExport {
        /// The name that was asked for.
        name: String,
    },
    /// The export's smallest block is larger than any disk's.
    Block {
        /// The export's smallest block, in bytes.
        found: u32,
        /// The largest that can be served.
        largest: u32,
    },
    /// The server is going down.
    ShutDown,
    /// An address cannot be understood.
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

impl Error {
    /// The handshake has taken too long.
    pub(crate) fn late_handshake() -> Error {
        Error::Late { awaited: "the end of the handshake", waited_ms: PATIENCE_MS }
    }
}

/// `found` must be `expected`.
pub(crate) fn expect(
    what: &'static str,
    found: impl Into<u64>,
    expected: impl Into<u64>,
) -> Result<(), Error> {
    let (found, expected) = (found.into(), expected.into());
    if found == expected { Ok(()) } else { Err(Error::Unexpected { what, found, expected }) }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => write!(f, "connection failed: {error}"),
            Error::Ended { awaited } => write!(f, "the peer closed the connection before {awaited}"),
            Error::Late { awaited, waited_ms } => write!(f, "waited {waited_ms} ms in vain for {awaited}"),
            Error::Overdue => f.write_str("the server has not answered a request before its deadline"),
            Error::Unexpected { what, found, expected } => {
                write!(f, "the peer sent {found:#x} as {what}, expected {expected:#x}")
            }
            Error::Stray { cookie } => {
                write!(f, "the server answers request {cookie:#x}, which is not in flight")
            }
            Error::Twice { at } => write!(f, "the server sends byte {at} of a read twice"),
            Error::Scattered => {
                write!(f, "the server sends a read in more than {FRAGMENTS} runs with gaps between them")
            }
            Error::Refused { option, reply, text } => {
                write!(f, "the server refuses option {option} (reply {reply:#x})")?;
                if text.is_empty() { Ok(()) } else { write!(f, ": {text}") }
            }
            Error::NoExport { name } if name.is_empty() => f.write_str("the server has no default export"),
            Error::NoExport { name } => write!(f, "the server has no export {name:?}"),
            Error::Block { found, largest } => {
                write!(f, "the export's smallest block is {found} bytes, at most {largest} can be used")
            }
            Error::ShutDown => f.write_str("the server is going down"),
            Error::Address { url, reason } => write!(f, "{url:?} is no NBD address: {reason}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// The number by which a client learns of a failed request, and a word on it.
pub(crate) fn errno_of(failed: Failed) -> (u32, &'static str) {
    use block::Cause::*;
    match failed.cause {
        Medium => (errno::EIO, "medium error"),
        Transport => (errno::EIO, "transport error"),
        Timeout => (errno::EIO, "no answer in time"),
        Stale => (errno::EIO, "stale device"),
        Degraded => (errno::EIO, "too few members left"),
        Gone => (errno::ESHUTDOWN, "device gone"),
        NoSpace => (errno::ENOSPC, "no space left"),
        Refused => (errno::EINVAL, "request refused"),
        Unsupported => (errno::ENOTSUP, "not supported"),
    }
}

/// The failure that a server's number stands for.
pub(crate) fn failed_of(number: u32) -> Failed {
    use block::Cause::*;
    let cause = match number {
        errno::EPERM | errno::EINVAL | errno::EOVERFLOW => Refused,
        errno::ENOSPC => NoSpace,
        errno::ENOTSUP => Unsupported,
        errno::ESHUTDOWN => Gone,
        errno::ENOMEM => Transport, // the server's trouble, not its disk's
        _ => Medium,
    };
    Failed { cause, errno: i32::try_from(number).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::Cause;

    #[test]
    fn a_failure_keeps_what_the_protocol_can_say_of_it() {
        for cause in [Cause::Medium, Cause::Gone, Cause::NoSpace, Cause::Refused, Cause::Unsupported] {
            assert_eq!(failed_of(errno_of(Failed::new(cause)).0).cause, cause);
        }
    }
}
