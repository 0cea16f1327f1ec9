//! What travels over an NBD connection: magic numbers, flags and headers, all big-endian.
//!
//! No I/O happens here and nothing is allocated. Headers are views of bytes whose sizes are asserted beside them; what
//! a peer says is checked by whoever reads it, with the words of [`crate::Error`]. Source: the protocol document of the
//! reference implementation (NetworkBlockDevice/nbd, `doc/proto.md`), whose constants keep their names without the
//! `NBD_` in front.

pub mod options;

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A header that can be made from any bytes of its size and turned back into them.
pub trait Header: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned {}
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned> Header for T {}

/// First word of a server: `NBDMAGIC`.
pub const SERVER_MAGIC: u64 = u64::from_be_bytes(*b"NBDMAGIC");
/// Second word of a newstyle server, and first of every option: `IHAVEOPT`.
pub const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
/// First word of every reply to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// First word of a request.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// First word of a request where extended headers were agreed on.
pub const EXTENDED_REQUEST_MAGIC: u32 = 0x21e4_1c71;
/// First word of a chunk where extended headers were agreed on.
pub const EXTENDED_CHUNK_MAGIC: u32 = 0x6e8a_278c;
/// First word of a simple reply.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// First word of a chunk of a structured reply.
pub const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// Zeroes behind the answer to `EXPORT_NAME`, for clients that do not do without.
pub const EXPORT_NAME_ZEROES: usize = 124;

/// The server's first words: 18 bytes.
///
/// ```text
/// 0        8        16   18
/// NBDMAGIC IHAVEOPT flags
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Greeting {
    /// [`SERVER_MAGIC`].
    pub magic: U64,
    /// [`OPTION_MAGIC`]; an oldstyle server has another word here.
    pub style: U64,
    /// [`handshake`] flags.
    pub flags: U16,
}
const _: () = assert!(size_of::<Greeting>() == 18);

/// What a server and a client say of themselves before the first option.
pub mod handshake {
    /// Options other than `EXPORT_NAME` can be sent, and are answered.
    pub const FIXED_NEWSTYLE: u16 = 1 << 0;
    /// No zeroes behind the answer to `EXPORT_NAME`.
    pub const NO_ZEROES: u16 = 1 << 1;
}

/// What an export offers, told at the end of the handshake.
pub mod export_flag {
    /// The other flags mean something.
    pub const HAS_FLAGS: u16 = 1 << 0;
    /// Writes are refused.
    pub const READ_ONLY: u16 = 1 << 1;
    /// The command `FLUSH`.
    pub const SEND_FLUSH: u16 = 1 << 2;
    /// The flag `FUA`.
    pub const SEND_FUA: u16 = 1 << 3;
    /// The command `TRIM`.
    pub const SEND_TRIM: u16 = 1 << 5;
    /// The command `WRITE_ZEROES` and the flag `NO_HOLE`.
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    /// The flag `DF`.
    pub const SEND_DF: u16 = 1 << 7;
    /// A flush on one connection covers what was answered on every other.
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    /// The command `CACHE`.
    pub const SEND_CACHE: u16 = 1 << 10;
    /// The flag `FAST_ZERO`.
    pub const SEND_FAST_ZERO: u16 = 1 << 11;
}

/// What a request asks for.
pub mod command {
    /// Bytes from the export.
    pub const READ: u16 = 0;
    /// Bytes to the export; they follow the request.
    pub const WRITE: u16 = 1;
    /// The client leaves.
    pub const DISC: u16 = 2;
    /// What was answered is to survive a power cut.
    pub const FLUSH: u16 = 3;
    /// Bytes that are not needed any more.
    pub const TRIM: u16 = 4;
    /// Bytes that will be read soon.
    pub const CACHE: u16 = 5;
    /// Bytes that are to read as zero.
    pub const WRITE_ZEROES: u16 = 6;
    /// What is allocated.
    pub const BLOCK_STATUS: u16 = 7;
}

/// How a request is to be carried out.
pub mod command_flag {
    /// It is answered when it would survive a power cut.
    pub const FUA: u16 = 1 << 0;
    /// `WRITE_ZEROES` keeps the space allocated.
    pub const NO_HOLE: u16 = 1 << 1;
    /// `READ` is answered with one chunk of data at most.
    pub const DF: u16 = 1 << 2;
    /// `BLOCK_STATUS` is answered with one extent.
    pub const REQ_ONE: u16 = 1 << 3;
    /// `WRITE_ZEROES` fails at once where it would be no faster than writing.
    pub const FAST_ZERO: u16 = 1 << 4;
    /// The length is that of a payload behind the header. With extended headers only, where each `WRITE` has it.
    pub const PAYLOAD_LEN: u16 = 1 << 5;
}

/// A request: 28 bytes, then the payload of a `WRITE`.
///
/// ```text
/// 0     4     6       8      16     24     28
/// magic flags command cookie offset length
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Request {
    /// [`REQUEST_MAGIC`].
    pub magic: U32,
    /// [`command_flag`]s.
    pub flags: U16,
    /// A [`command`].
    pub command: U16,
    /// The client's name for the request, repeated in each reply to it.
    pub cookie: U64,
    /// Where, in bytes.
    pub offset: U64,
    /// How many bytes.
    pub length: U32,
}
const _: () = assert!(size_of::<Request>() == 28);

/// A request where extended headers were agreed on: 32 bytes, then a payload if the flag `PAYLOAD_LEN` is set.
///
/// ```text
/// 0     4     6       8      16     24     32
/// magic flags command cookie offset length
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtendedRequest {
    /// [`EXTENDED_REQUEST_MAGIC`].
    pub magic: U32,
    /// [`command_flag`]s.
    pub flags: U16,
    /// A [`command`].
    pub command: U16,
    /// The client's name for the request, repeated in each chunk of its reply.
    pub cookie: U64,
    /// Where, in bytes; repeated in each chunk too.
    pub offset: U64,
    /// How many bytes: of the payload that follows, or of the export.
    pub length: U64,
}
const _: () = assert!(size_of::<ExtendedRequest>() == 32);

/// A simple reply: 16 bytes, then the data of a successful `READ`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SimpleReply {
    /// [`SIMPLE_REPLY_MAGIC`].
    pub magic: U32,
    /// 0, or an [`errno`].
    pub error: U32,
    /// Which request this answers.
    pub cookie: U64,
}
const _: () = assert!(size_of::<SimpleReply>() == 16);

/// A chunk of a structured reply: 20 bytes, then `length` bytes whose meaning depends on its kind.
///
/// ```text
/// 0     4     6    8      16     20
/// magic flags kind cookie length
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Chunk {
    /// [`CHUNK_MAGIC`].
    pub magic: U32,
    /// [`chunk::DONE`] on the last of a reply.
    pub flags: U16,
    /// What the chunk is: see [`chunk`].
    pub kind: U16,
    /// Which request this answers.
    pub cookie: U64,
    /// Bytes that follow.
    pub length: U32,
}
const _: () = assert!(size_of::<Chunk>() == 20);

/// A chunk where extended headers were agreed on: 32 bytes, then `length` bytes.
///
/// ```text
/// 0     4     6    8      16     24     32
/// magic flags kind cookie offset length
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtendedChunk {
    /// [`EXTENDED_CHUNK_MAGIC`].
    pub magic: U32,
    /// [`chunk::DONE`] on the last of a reply.
    pub flags: U16,
    /// What the chunk is: see [`chunk`].
    pub kind: U16,
    /// Which request this answers.
    pub cookie: U64,
    /// The request's offset, whatever the chunk speaks of.
    pub offset: U64,
    /// Bytes that follow.
    pub length: U64,
}
const _: () = assert!(size_of::<ExtendedChunk>() == 32);

/// Flags and kinds of chunks.
pub mod chunk {
    /// Flag: the reply ends here.
    pub const DONE: u16 = 1 << 0;

    /// Nothing but the end.
    pub const NONE: u16 = 0;
    /// An offset (64 bits) and the bytes there.
    pub const OFFSET_DATA: u16 = 1;
    /// An offset (64 bits) and a length (32 bits) that reads as zeroes.
    pub const OFFSET_HOLE: u16 = 2;
    /// A context's number (32 bits) and extents.
    pub const BLOCK_STATUS: u16 = 5;
    /// A context's number (32 bits), how many extents follow (32 bits), and these, of the extended kind.
    pub const BLOCK_STATUS_EXT: u16 = 6;
    /// An error (32 bits), the length of a text (16 bits), the text.
    pub const ERROR: u16 = ERROR_BIT | 1;
    /// The same, and an offset (64 bits) behind it.
    pub const ERROR_OFFSET: u16 = ERROR_BIT | 2;
    /// Set in every kind of error.
    pub const ERROR_BIT: u16 = 1 << 15;
}

/// An extent of a block status reply: 8 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extent {
    /// How many bytes, never 0.
    pub length: U32,
    /// [`allocation`] flags.
    pub flags: U32,
}
const _: () = assert!(size_of::<Extent>() == 8);

/// An extent of a block status reply where extended headers were agreed on: 16 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtendedExtent {
    /// How many bytes, never 0.
    pub length: U64,
    /// [`allocation`] flags.
    pub flags: U64,
}
const _: () = assert!(size_of::<ExtendedExtent>() == 16);

/// The metadata context that tells what is allocated.
pub mod allocation {
    /// Its name.
    pub const CONTEXT: &str = "base:allocation";
    /// Nothing is allocated here.
    pub const HOLE: u32 = 1 << 0;
    /// Everything here reads as zero.
    pub const ZERO: u32 = 1 << 1;
}

/// Errors of requests: numbers of Linux, on every system.
pub mod errno {
    /// Not permitted: the export is read-only.
    pub const EPERM: u32 = 1;
    /// An I/O error.
    pub const EIO: u32 = 5;
    /// No memory.
    pub const ENOMEM: u32 = 12;
    /// The request makes no sense.
    pub const EINVAL: u32 = 22;
    /// No space, or beyond the end.
    pub const ENOSPC: u32 = 28;
    /// Too long to be answered in one piece.
    pub const EOVERFLOW: u32 = 75;
    /// Not supported, or not fast.
    pub const ENOTSUP: u32 = 95;
    /// The server is going down.
    pub const ESHUTDOWN: u32 = 108;
}
