//! What a message asks for: the pure part. Nothing is believed that does not lie within the message.

use rustix::io::Errno;
use zerocopy::FromBytes;

use crate::wire::{
    FallocateIn, InHeader, InitIn, OpenIn, ReadIn, SetAttrIn, WRITE_HEAD, WriteIn, falloc, o, opcode, set,
};

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command<'a> {
    /// The greeting: the version that is spoken, and what can be agreed on.
    Greet {
        major: u32,
        minor: u32,
        max_readahead: u32,
        flags: u32,
    },
    /// A name in a folder.
    Find {
        name: &'a [u8],
    },
    /// What the node is.
    Look,
    /// Change what it is: its size, or what cannot be changed.
    Change {
        size: Option<u64>,
        rights: bool,
    },
    Open {
        write: bool,
    },
    OpenFolder,
    ReadFolder {
        from: u64,
        most: usize,
    },
    /// How large the file system is.
    Space,
    Read {
        offset: u64,
        bytes: u32,
    },
    /// The payload stands behind the first [`WRITE_HEAD`] bytes.
    Write {
        offset: u64,
        bytes: u32,
        fua: bool,
    },
    Zero {
        offset: u64,
        bytes: u64,
        hole: bool,
    },
    Flush,
    /// Nothing is to be done, and that is the answer.
    Nod {
        closes: bool,
    },
    /// Nothing is to be done or said.
    Silence,
}

/// What the message asks for that is `len` bytes long and begins with `bytes`; or the number with which it is refused.
pub(super) fn plan<'a>(header: &InHeader, len: usize, bytes: &'a [u8]) -> Result<Command<'a>, Errno> {
    let rest = &bytes[size_of::<InHeader>().min(bytes.len())..];
    Ok(match header.opcode {
        opcode::INIT => {
            let InitIn { major, minor, max_readahead, flags } = take(rest)?;
            Command::Greet { major, minor, max_readahead, flags }
        }
        opcode::LOOKUP => {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(Errno::NAMETOOLONG)?;
            Command::Find { name: &rest[..end] }
        }
        opcode::GETATTR => Command::Look,
        opcode::SETATTR => {
            let SetAttrIn { valid, size, .. } = take(rest)?;
            Command::Change {
                size: (valid & set::SIZE != 0).then_some(size),
                rights: valid & (set::MODE | set::UID | set::GID) != 0,
            }
        }
        opcode::OPEN => Command::Open { write: take::<OpenIn>(rest)?.flags & o::ACCMODE != o::RDONLY },
        opcode::OPENDIR => Command::OpenFolder,
        opcode::READDIR => {
            let ReadIn { offset, size, .. } = take(rest)?;
            Command::ReadFolder { from: offset, most: size as usize }
        }
        opcode::STATFS => Command::Space,
        opcode::READ => {
            let ReadIn { offset, size, .. } = take(rest)?;
            Command::Read { offset, bytes: size }
        }
        opcode::WRITE => {
            let WriteIn { offset, size, flags, .. } = take(rest)?;
            if len.checked_sub(WRITE_HEAD) != Some(size as usize) {
                return Err(Errno::INVAL);
            }
            Command::Write { offset, bytes: size, fua: flags & o::DSYNC != 0 }
        }
        opcode::FALLOCATE => {
            let FallocateIn { offset, length, mode, .. } = take(rest)?;
            let hole = match mode & !falloc::KEEP_SIZE {
                falloc::PUNCH_HOLE => true,
                falloc::ZERO_RANGE => false,
                _ => return Err(Errno::OPNOTSUPP),
            };
            Command::Zero { offset, bytes: length, hole }
        }
        opcode::FSYNC => Command::Flush,
        opcode::RELEASE => Command::Nod { closes: true },
        opcode::RELEASEDIR | opcode::FSYNCDIR | opcode::DESTROY => Command::Nod { closes: false },
        opcode::FORGET | opcode::BATCH_FORGET => Command::Silence,
        // Closing a descriptor makes nothing durable, and nothing is held back that could fail then. The kernel keeps this
        // answer and asks no more; the same holds for interrupts and whatever else it may know.
        opcode::FLUSH => return Err(Errno::NOSYS),
        _ => return Err(Errno::NOSYS),
    })
}

fn take<T: FromBytes>(bytes: &[u8]) -> Result<T, Errno> {
    T::read_from_prefix(bytes).map(|(found, _)| found).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::Random;
    use zerocopy::IntoBytes;

    fn message(code: u32, body: &[u8]) -> Vec<u8> {
        let len = (size_of::<InHeader>() + body.len()) as u32;
        let mut bytes =
            InHeader { len, opcode: code, unique: 7, nodeid: 1, ..InHeader::default() }.as_bytes().to_vec();
        bytes.extend(body);
        bytes
    }

    fn planned(bytes: &[u8]) -> Result<Command<'_>, Errno> {
        plan(&InHeader::read_from_prefix(bytes).unwrap().0, bytes.len(), bytes)
    }

    #[test]
    fn a_write_is_durable_at_once_if_its_descriptor_says_so() {
        for (flags, durable) in [(0o2, false), (0o10002, true), (0o4010002, true), (0o40001, false)] {
            let mut bytes = message(
                opcode::WRITE,
                WriteIn { offset: 512, size: 3, flags, ..WriteIn::default() }.as_bytes(),
            );
            bytes.extend(b"abc");
            assert_eq!(
                planned(&bytes),
                Ok(Command::Write { offset: 512, bytes: 3, fua: durable }),
                "flags {flags:o}"
            );
        }
    }

    #[test]
    fn a_write_has_the_payload_that_it_speaks_of() {
        for size in [0, 2, 4, u32::MAX] {
            let mut bytes = message(opcode::WRITE, WriteIn { size, ..WriteIn::default() }.as_bytes());
            bytes.extend(b"abc");
            assert_eq!(planned(&bytes), Err(Errno::INVAL), "{size} bytes");
        }
    }

    #[test]
    fn holes_and_zeroes_are_made_and_nothing_else_is_allocated() {
        let zero = |hole| Ok(Command::Zero { offset: 1, bytes: 2, hole });
        for (mode, expected) in [
            (falloc::PUNCH_HOLE | falloc::KEEP_SIZE, zero(true)),
            (falloc::ZERO_RANGE, zero(false)),
            (falloc::ZERO_RANGE | falloc::KEEP_SIZE, zero(false)),
            (0, Err(Errno::OPNOTSUPP)),
            (falloc::KEEP_SIZE, Err(Errno::OPNOTSUPP)),
            (falloc::PUNCH_HOLE | falloc::ZERO_RANGE, Err(Errno::OPNOTSUPP)),
            (8, Err(Errno::OPNOTSUPP)),
        ] {
            let body = FallocateIn { offset: 1, length: 2, mode, ..FallocateIn::default() };
            assert_eq!(planned(&message(opcode::FALLOCATE, body.as_bytes())), expected, "mode {mode}");
        }
    }

    #[test]
    fn a_name_without_an_end_is_refused() {
        assert_eq!(planned(&message(opcode::LOOKUP, b"data\0")), Ok(Command::Find { name: b"data" }));
        assert_eq!(planned(&message(opcode::LOOKUP, &[b'x'; 300])), Err(Errno::NAMETOOLONG));
    }

    #[test]
    fn whatever_comes_is_answered_or_refused() {
        for seed in 0..20_000 {
            let mut random = Random::new(seed);
            let body: Vec<u8> = (0..random.below(100)).map(|_| random.below(256) as u8).collect();
            let _ = planned(&message(random.below(60) as u32, &body)); // no panic
        }
    }
}
