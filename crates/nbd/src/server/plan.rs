//! What becomes of a request: the pure part. Everything a client can get wrong in one is found here.

use export::Span;

use super::style::{Asked, Style};
use crate::limits::{REQUEST_BYTES, SINGLE_CHUNK_BYTES};
use crate::wire::{command, command_flag as flag, errno};

/// What a connection's requests are judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Bytes in the export.
    pub(super) size: u64,
    pub(super) read_only: bool,
    pub(super) style: Style,
    /// `base:allocation` was agreed on.
    pub(super) status: bool,
    /// The server is going down.
    pub(super) stopping: bool,
}

/// A request that makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Read { span: Span },
    Write { span: Span, fua: bool },
    Zero { span: Span, fua: bool, may_unmap: bool, fast_only: bool },
    Trim { span: Span, fua: bool },
    Cache { span: Span },
    Status { span: Span, one: bool },
    Flush,
    Disconnect,
}

/// A request that is answered with an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) errno: u32,
    pub(super) text: &'static str,
}

/// What `request` asks for, or why it is refused.
pub(super) fn plan(asked: &Asked, terms: &Terms) -> Result<Command, Refusal> {
    let (code, flags) = (asked.command, asked.flags);
    let known = known_flags(code, terms).ok_or(refusal(errno::EINVAL, "unknown command"))?;
    if flags & !known != 0 {
        return Err(refusal(errno::EINVAL, "flag does not fit the command"));
    }
    if code == command::WRITE && asked.payload != asked.length {
        return Err(refusal(errno::EINVAL, "a write without payload"));
    }
    if code == command::DISC {
        return Ok(Command::Disconnect);
    }
    if terms.stopping {
        return Err(refusal(errno::ESHUTDOWN, "server is going down"));
    }
    if code == command::FLUSH {
        return Ok(Command::Flush); // offset and length are reserved, and not zero from every client
    }
    let writes = matches!(code, command::WRITE | command::WRITE_ZEROES | command::TRIM);
    if writes && terms.read_only {
        return Err(refusal(errno::EPERM, "export is read-only"));
    }
    let length = asked.length;
    if matches!(code, command::READ | command::WRITE | command::CACHE) && length > REQUEST_BYTES.into() {
        return Err(refusal(errno::EINVAL, "longer than 32 MiB"));
    }
    let beyond = if writes { errno::ENOSPC } else { errno::EINVAL };
    let span = Span::within(asked.offset, length, terms.size);
    let span = span.ok_or(refusal(beyond, "beyond the end"))?;
    let has = |bit| flags & bit != 0;
    Ok(match code {
        command::READ if has(flag::DF) && span.len > SINGLE_CHUNK_BYTES => {
            return Err(refusal(errno::EOVERFLOW, "too long for one chunk"));
        }
        command::READ => Command::Read { span },
        command::WRITE => Command::Write { span, fua: has(flag::FUA) },
        command::TRIM => Command::Trim { span, fua: has(flag::FUA) },
        command::CACHE => Command::Cache { span },
        command::WRITE_ZEROES => Command::Zero {
            span,
            fua: has(flag::FUA),
            may_unmap: !has(flag::NO_HOLE),
            fast_only: has(flag::FAST_ZERO),
        },
        command::BLOCK_STATUS if !terms.status => {
            return Err(refusal(errno::EINVAL, "no metadata context was agreed on"));
        }
        command::BLOCK_STATUS if span.len == 0 => return Err(refusal(errno::EINVAL, "status of nothing")),
        command::BLOCK_STATUS => Command::Status { span, one: has(flag::REQ_ONE) },
        _ => unreachable!("`known_flags` knows the commands"),
    })
}

/// The flags that fit a command; `None` for commands that do not exist.
fn known_flags(code: u16, terms: &Terms) -> Option<u16> {
    Some(
        flag::FUA
            | match code {
                command::READ if terms.style.has_chunks() => flag::DF,
                command::WRITE if terms.style == Style::Extended => flag::PAYLOAD_LEN,
                command::READ | command::WRITE | command::TRIM | command::CACHE => 0,
                command::FLUSH | command::DISC => 0,
                command::WRITE_ZEROES => flag::NO_HOLE | flag::FAST_ZERO,
                command::BLOCK_STATUS => flag::REQ_ONE,
                _ => return None,
            },
    )
}

fn refusal(errno: u32, text: &'static str) -> Refusal {
    Refusal { errno, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms =
        Terms { size: 1 << 30, read_only: false, style: Style::Structured, status: true, stopping: false };

    fn request(command: u16, flags: u16, offset: u64, length: u64) -> Asked {
        let payload = if command == command::WRITE { length } else { 0 };
        Asked { flags, command, cookie: 7, offset, length, payload }
    }

    fn errno_of(request: Asked, terms: Terms) -> Option<u32> {
        plan(&request, &terms).err().map(|refusal| refusal.errno)
    }

    #[test]
    fn beyond_the_end_is_einval_for_reads_and_enospc_for_writes() {
        for (code, errno) in [
            (command::READ, errno::EINVAL),
            (command::BLOCK_STATUS, errno::EINVAL),
            (command::CACHE, errno::EINVAL),
            (command::WRITE, errno::ENOSPC),
            (command::TRIM, errno::ENOSPC),
            (command::WRITE_ZEROES, errno::ENOSPC),
        ] {
            assert_eq!(errno_of(request(code, 0, (1 << 30) - 1, 2), TERMS), Some(errno), "command {code}");
            assert_eq!(errno_of(request(code, 0, u64::MAX, 1), TERMS), Some(errno), "command {code}");
            assert_eq!(errno_of(request(code, 0, (1 << 30) - 1, 1), TERMS), None, "command {code}");
        }
    }

    #[test]
    fn a_read_only_export_refuses_whatever_writes() {
        let terms = Terms { read_only: true, ..TERMS };
        for code in [command::WRITE, command::TRIM, command::WRITE_ZEROES] {
            assert_eq!(errno_of(request(code, 0, 0, 512), terms), Some(errno::EPERM));
        }
        assert_eq!(errno_of(request(command::READ, 0, 0, 512), terms), None);
        assert_eq!(errno_of(request(command::FLUSH, 0, 0, 0), terms), None);
    }

    #[test]
    fn flags_that_do_not_fit_and_unknown_commands_are_einval() {
        for (code, flags) in [
            (command::WRITE, flag::DF),
            (command::READ, flag::FAST_ZERO),
            (command::TRIM, flag::NO_HOLE),
            (command::READ, 1 << 15),
            (8, 0),
            (u16::MAX, 0),
        ] {
            assert_eq!(errno_of(request(code, flags, 0, 512), TERMS), Some(errno::EINVAL));
        }
        let simple = Terms { style: Style::Simple, ..TERMS };
        assert_eq!(errno_of(request(command::READ, flag::DF, 0, 512), simple), Some(errno::EINVAL));
        assert_eq!(errno_of(request(command::READ, flag::FUA, 0, 512), TERMS), None);
    }

    #[test]
    fn with_extended_headers_a_write_says_that_it_has_a_payload_and_nothing_else_has_one() {
        let terms = Terms { style: Style::Extended, size: 1 << 50, ..TERMS };
        let write = request(command::WRITE, flag::PAYLOAD_LEN | flag::FUA, 0, 512);
        assert_eq!(errno_of(write, terms), None);
        let qemus = request(command::WRITE, flag::FUA, 0, 512);
        assert_eq!(errno_of(qemus, terms), None, "qemu leaves the flag out, and sends the data");
        for code in [command::READ, command::TRIM, command::BLOCK_STATUS, command::FLUSH] {
            let odd = Asked { payload: 512, ..request(code, flag::PAYLOAD_LEN, 0, 512) };
            assert_eq!(errno_of(odd, terms), Some(errno::EINVAL), "command {code}");
        }
        assert_eq!(errno_of(write, TERMS), Some(errno::EINVAL), "compact headers have no such flag");
        assert_eq!(errno_of(request(command::TRIM, 0, 0, 1 << 49), terms), None);
        assert_eq!(errno_of(request(command::TRIM, 0, 1, 1 << 50), terms), Some(errno::ENOSPC));
        assert_eq!(errno_of(request(command::READ, 0, 0, 1 << 40), terms), Some(errno::EINVAL));
    }

    #[test]
    fn the_longest_request_is_32_mib_where_data_moves() {
        for code in [command::READ, command::WRITE] {
            assert_eq!(errno_of(request(code, 0, 0, 32 << 20), TERMS), None);
            assert_eq!(errno_of(request(code, 0, 0, (32 << 20) + 1), TERMS), Some(errno::EINVAL));
        }
        assert_eq!(errno_of(request(command::WRITE_ZEROES, 0, 0, 1 << 30), TERMS), None);
        assert_eq!(errno_of(request(command::READ, flag::DF, 0, 2 << 20), TERMS), Some(errno::EOVERFLOW));
    }
}
