//! Options and their replies: the language of the handshake.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Header, OPTION_MAGIC, OPTION_REPLY_MAGIC};
use crate::limits::NAME_BYTES;

/// What a client can ask for in the handshake.
pub mod option {
    /// Ends the handshake with an export; cannot be answered with an error.
    pub const EXPORT_NAME: u32 = 1;
    /// The client leaves.
    pub const ABORT: u32 = 2;
    /// The names of all exports.
    pub const LIST: u32 = 3;
    /// Encryption.
    pub const STARTTLS: u32 = 5;
    /// Facts about an export.
    pub const INFO: u32 = 6;
    /// The same, and the handshake ends.
    pub const GO: u32 = 7;
    /// Replies in chunks from now on.
    pub const STRUCTURED_REPLY: u32 = 8;
    /// Which metadata contexts there are.
    pub const LIST_META_CONTEXT: u32 = 9;
    /// Which metadata contexts the client will ask about.
    pub const SET_META_CONTEXT: u32 = 10;
    /// Longer headers from now on, with lengths of 64 bits; replies come in chunks then too.
    pub const EXTENDED_HEADERS: u32 = 11;
}

/// What a server can answer.
pub mod reply {
    /// Done.
    pub const ACK: u32 = 1;
    /// An export's name.
    pub const SERVER: u32 = 2;
    /// A fact about an export: see [`info`](super::info).
    pub const INFO: u32 = 3;
    /// A metadata context.
    pub const META_CONTEXT: u32 = 4;
    /// Set in every error.
    pub const ERROR_BIT: u32 = 1 << 31;
    /// The server does not know the option.
    pub const ERR_UNSUP: u32 = ERROR_BIT | 1;
    /// The option makes no sense.
    pub const ERR_INVALID: u32 = ERROR_BIT | 3;
    /// No such export.
    pub const ERR_UNKNOWN: u32 = ERROR_BIT | 6;
    /// The server is going down.
    pub const ERR_SHUTDOWN: u32 = ERROR_BIT | 7;
    /// The option carries more than the server takes.
    pub const ERR_TOO_BIG: u32 = ERROR_BIT | 9;
    /// Only extended headers go with this, or after this.
    pub const ERR_EXT_HEADER_REQD: u32 = ERROR_BIT | 10;
}

/// Facts about an export.
pub mod info {
    /// Size and flags.
    pub const EXPORT: u16 = 0;
    /// The name by which the server knows it.
    pub const NAME: u16 = 1;
    /// A text for people.
    pub const DESCRIPTION: u16 = 2;
    /// Block sizes.
    pub const BLOCK_SIZE: u16 = 3;
}

/// An option: 16 bytes, then its data.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct OptionHeader {
    /// [`OPTION_MAGIC`].
    pub magic: U64,
    /// An [`option`].
    pub option: U32,
    /// Bytes of data that follow.
    pub length: U32,
}
const _: () = assert!(size_of::<OptionHeader>() == 16);

impl OptionHeader {
    /// The header of `option` with `length` bytes of data.
    pub fn new(option: u32, length: usize) -> OptionHeader {
        OptionHeader { magic: OPTION_MAGIC.into(), option: option.into(), length: short(length) }
    }
}

/// A reply to an option: 20 bytes, then its data.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct OptionReply {
    /// [`OPTION_REPLY_MAGIC`].
    pub magic: U64,
    /// The option that is answered.
    pub option: U32,
    /// A [`reply`].
    pub reply: U32,
    /// Bytes of data that follow.
    pub length: U32,
}
const _: () = assert!(size_of::<OptionReply>() == 20);

impl OptionReply {
    /// The header of a `reply` to `option` with `length` bytes of data.
    pub fn new(option: u32, reply: u32, length: usize) -> OptionReply {
        let magic = OPTION_REPLY_MAGIC.into();
        OptionReply { magic, option: option.into(), reply: reply.into(), length: short(length) }
    }
}

/// The answer to `EXPORT_NAME`: 10 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExportFacts {
    /// Bytes in the export.
    pub size: U64,
    /// What it offers: [`export_flag`](super::export_flag)s.
    pub flags: U16,
}
const _: () = assert!(size_of::<ExportFacts>() == 10);

/// The data of the fact `BLOCK_SIZE` behind its number: 12 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockSizes {
    /// Requests are multiples of this many bytes.
    pub minimum: U32,
    /// Requests of a multiple of this many bytes are efficient.
    pub preferred: U32,
    /// The longest request.
    pub maximum: U32,
}
const _: () = assert!(size_of::<BlockSizes>() == 12);

/// The data of `INFO` and `GO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The export's name; empty for the default one.
    pub name: &'a [u8],
    facts: &'a [u8],
}

impl<'a> Wanted<'a> {
    /// Takes the data apart; `None` when its lengths contradict each other.
    pub fn parse(data: &'a [u8]) -> Option<Wanted<'a>> {
        let (name, rest) = split_string(data)?;
        let (count, facts) = U16::read_from_prefix(rest).ok()?;
        (facts.len() == 2 * usize::from(count.get())).then_some(Wanted { name, facts })
    }

    /// Whether the client asked for this fact.
    pub fn asks_for(&self, fact: u16) -> bool {
        self.facts.chunks_exact(2).any(|asked| asked == fact.to_be_bytes())
    }
}

/// The data of `LIST_META_CONTEXT` and `SET_META_CONTEXT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contexts<'a> {
    /// The export's name.
    pub name: &'a [u8],
    /// How many queries there are.
    pub count: u32,
    queries: &'a [u8],
}

impl<'a> Contexts<'a> {
    /// Takes the data apart; `None` when its lengths contradict each other.
    pub fn parse(data: &'a [u8]) -> Option<Contexts<'a>> {
        let (name, rest) = split_string(data)?;
        let (count, queries) = U32::read_from_prefix(rest).ok()?;
        let mut rest = queries;
        for _ in 0..count.get() {
            (_, rest) = split_string(rest)?;
        }
        rest.is_empty().then_some(Contexts { name, count: count.get(), queries })
    }

    /// The queries, in order.
    pub fn queries(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.queries;
        std::iter::from_fn(move || {
            let (query, behind) = split_string(rest)?;
            rest = behind;
            Some(query)
        })
    }
}

/// A string with its length in front, and what lies behind it.
pub fn split_string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = U32::read_from_prefix(data).ok()?;
    let length = usize::try_from(length.get()).ok()?;
    if length > NAME_BYTES {
        return None;
    }
    rest.split_at_checked(length)
}

/// Appends a header.
pub fn put(bytes: &mut Vec<u8>, header: &impl Header) {
    bytes.extend_from_slice(header.as_bytes());
}

/// Appends a string with its length in front.
pub fn put_string(bytes: &mut Vec<u8>, string: &[u8]) {
    put(bytes, &short(string.len()));
    bytes.extend_from_slice(string);
}

/// A length of our own making, as it travels.
fn short(length: usize) -> U32 {
    U32::new(u32::try_from(length).expect("what we send in the handshake is short"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::Random;

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let mut go = Vec::new();
        put_string(&mut go, b"disk");
        go.extend([0, 2, 0, 0, 0, 3]);
        let wanted = Wanted::parse(&go).unwrap();
        assert_eq!(wanted.name, b"disk");
        assert!(wanted.asks_for(info::EXPORT) && wanted.asks_for(info::BLOCK_SIZE));
        assert!(!wanted.asks_for(info::NAME));
        for short in 0..go.len() {
            assert_eq!(Wanted::parse(&go[..short]), None, "{short} of {} bytes", go.len());
        }
        go.push(0);
        assert_eq!(Wanted::parse(&go), None);
    }

    #[test]
    fn a_count_of_queries_beyond_the_data_is_refused() {
        let mut data = Vec::new();
        put_string(&mut data, b"");
        data.extend(2u32.to_be_bytes());
        put_string(&mut data, b"base:");
        assert_eq!(Contexts::parse(&data), None);
        put_string(&mut data, b"x-a:b");
        let contexts = Contexts::parse(&data).unwrap();
        assert!(contexts.queries().eq([b"base:".as_slice(), b"x-a:b"]));
        data[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Contexts::parse(&data), None);
    }

    #[test]
    fn what_is_parsed_is_what_was_sent_and_anything_else_is_refused() {
        let mut parsed = 0;
        for seed in 0..50_000 {
            let mut random = Random::new(seed);
            let mut data: Vec<u8> = (0..random.below(40)).map(|_| random.below(5) as u8).collect();
            data.iter_mut().take(3).for_each(|byte| *byte = 0); // or hardly any length would be short enough
            if let Some(wanted) = Wanted::parse(&data) {
                let mut again = Vec::new();
                put_string(&mut again, wanted.name);
                put(&mut again, &U16::new((wanted.facts.len() / 2) as u16));
                again.extend(wanted.facts);
                assert_eq!(again, data, "seed {seed}");
                parsed += 1;
            }
            if let Some(contexts) = Contexts::parse(&data) {
                let mut again = Vec::new();
                put_string(&mut again, contexts.name);
                put(&mut again, &U32::new(contexts.count));
                contexts.queries().for_each(|query| put_string(&mut again, query));
                assert_eq!(again, data, "seed {seed}");
                parsed += 1;
            }
        }
        assert!(parsed > 100, "only {parsed} made sense");
    }

    #[test]
    fn a_name_longer_than_the_protocol_allows_is_refused() {
        let mut data = Vec::new();
        put_string(&mut data, &[b'x'; NAME_BYTES + 1]);
        assert_eq!(split_string(&data), None);
    }
}
