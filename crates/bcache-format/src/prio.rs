//! Priorities and generations of all buckets. `struct prio_set` of bcache's bcache_ondisk.h.
//!
//! ```text
//!  0  checksum     magic       | 16  seq     version (4)   padding (4)   | 32  next bucket
//! 40  priority (2), generation (1), for one bucket after the other, as many as the bucket has room for
//! ```
//!
//! They take as many buckets as they need, each naming the next one; the journal names the first. The checksum covers
//! everything behind itself, up to the end of the part of the bucket that is used.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{SEED, checksum};
use crate::error::FormatError;

/// Bytes before the first priority.
pub const HEADER_BYTES: usize = 40;
/// The priority of what is not data.
pub const METADATA: u16 = u16::MAX;
/// The priority of data that was just used.
pub const INITIAL: u16 = 32768;

const FORM: &str = "set of priorities";
const MAGIC: u64 = 0x6750_e15f_8733_7f91;
const ENTRY_BYTES: usize = 3;

/// What stands before the priorities.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the ruler shows them")]
pub struct PrioSet {
    pub checksum: U64,
    pub magic: U64,
    pub seq: U64,
    pub version: U32,
    pub pad: U32,
    pub next_bucket: U64,
}

assert_layout!(PrioSet, 40, { checksum: 0, magic: 8, seq: 16, version: 24, pad: 28, next_bucket: 32 });

/// What is said of one bucket.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Prio {
    /// How lately it was used; [`METADATA`] if it holds no data.
    pub priority: U16,
    /// The generation that pointers into it have to have.
    pub generation: u8,
}

assert_layout!(Prio, 3, { priority: 0, generation: 2 });

/// Priorities that so many bytes have room for.
pub const fn capacity(bytes: usize) -> usize {
    bytes.saturating_sub(HEADER_BYTES) / ENTRY_BYTES
}

/// The magic number of the priorities of a cache set.
pub fn magic(set_magic: u64) -> u64 {
    MAGIC ^ set_magic
}

impl PrioSet {
    /// Whether these bytes, all of the used part of a bucket, are priorities of this set; they, and the next bucket.
    pub fn check(bytes: &[u8], set_magic: u64) -> Result<(&[Prio], u64), FormatError> {
        let found = bytes.len();
        let (set, rest) = PrioSet::ref_from_prefix(bytes).map_err(|_| too_short(found))?;
        let (found, expected) = (set.magic.get(), magic(set_magic));
        if found != expected {
            return Err(FormatError::Magic { form: FORM, found, expected });
        }
        let (found, expected) = (set.checksum.get(), checksum(SEED, &bytes[8..]));
        if found != expected {
            return Err(FormatError::Checksum { form: FORM, found, expected });
        }
        let (prios, _) = <[Prio]>::ref_from_prefix_with_elems(rest, capacity(bytes.len()))
            .map_err(|_| too_short(bytes.len()))?;
        Ok((prios, set.next_bucket.get()))
    }

    /// Makes these bytes, all of the used part of a bucket, priorities of this set, all of them zero; what comes back is
    /// filled in, then [`PrioSet::seal`] it.
    pub fn create(
        bytes: &mut [u8],
        set_magic: u64,
        seq: u64,
        next_bucket: u64,
    ) -> Result<&mut [Prio], FormatError> {
        let length = bytes.len();
        bytes.fill(0);
        let (set, rest) = PrioSet::mut_from_prefix(bytes).map_err(|_| too_short(length))?;
        set.magic = magic(set_magic).into();
        set.seq = seq.into();
        set.next_bucket = next_bucket.into();
        let (prios, _) =
            <[Prio]>::mut_from_prefix_with_elems(rest, capacity(length)).map_err(|_| too_short(length))?;
        Ok(prios)
    }

    /// Makes the checksum true.
    pub fn seal(bytes: &mut [u8]) {
        let sum = checksum(SEED, &bytes[8..]);
        bytes[..8].copy_from_slice(&sum.to_le_bytes());
    }
}

fn too_short(found: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected: HEADER_BYTES }
}
