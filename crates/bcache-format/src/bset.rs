//! A set of keys: what a node of the btree is a log of. `struct bset` of bcache's bset.h.
//!
//! ```text
//!  0  checksum     magic        | 16  seq (the same in a node's life)   version (4)   keys (4: 64-bit words)
//! 32  keys, in the order in which they begin
//! ```
//!
//! A node begins with one at the start of its bucket; each other one begins at the next block behind the one before it. A
//! later set overrides earlier ones. The log ends at the first block that does not begin with the node's `seq`. The
//! checksum covers everything behind itself up to the last key, its register started from the pointer of the key that
//! names the node, so that a node of another place or life is not taken for this one.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{SEED, checksum};
use crate::error::FormatError;
use crate::key::{Keys, Pointer};

/// Bytes before the keys.
pub const HEADER_BYTES: usize = 32;

const FORM: &str = "set of keys";
const MAGIC: u64 = 0x9013_5c78_b99e_07f5;
/// The checksum starts from the node's pointer.
const VERSION: u32 = 1;

/// What stands before the keys.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the ruler shows them")]
pub struct Bset {
    pub checksum: U64,
    pub magic: U64,
    pub seq: U64,
    pub version: U32,
    pub keys: U32,
}

assert_layout!(Bset, 32, { checksum: 0, magic: 8, seq: 16, version: 24, keys: 28 });

/// The magic number of the sets of keys of a cache set.
pub fn magic(set_magic: u64) -> u64 {
    MAGIC ^ set_magic
}

/// What the kernel knows a node by: the keys' area is judged against it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Of the cache set: see [`crate::Geometry::set_magic`].
    pub set_magic: u64,
    /// Of the key that names the node.
    pub pointer: Pointer,
}

impl Bset {
    /// Reads these bytes as a set of keys. Nothing is known of them yet.
    pub fn view(bytes: &[u8]) -> Result<&Bset, FormatError> {
        let found = bytes.len();
        let (bset, _) = Bset::ref_from_prefix(bytes).map_err(|_| too_short(found, HEADER_BYTES))?;
        Ok(bset)
    }

    /// Bytes up to the last key.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + 8 * self.keys.get() as usize
    }

    /// Whether the set of keys at the start of `bytes`, which end where the node does, is one of this owner's; its keys.
    pub fn check(bytes: &[u8], owner: Owner) -> Result<Keys<'_>, FormatError> {
        let bset = Bset::view(bytes)?;
        let (found, expected) = (bset.magic.get(), magic(owner.set_magic));
        if found != expected {
            return Err(FormatError::Magic { form: FORM, found, expected });
        }
        let version = bset.version.get();
        if version > VERSION {
            return Err(FormatError::Version { form: FORM, found: version.into(), expected: "0 or 1" });
        }
        let whole = bytes.get(..bset.bytes()).ok_or_else(|| too_short(bytes.len(), bset.bytes()))?;
        let (found, expected) = (bset.checksum.get(), sum(whole, version, owner.pointer));
        if found != expected {
            return Err(FormatError::Checksum { form: FORM, found, expected });
        }
        Ok(Keys::new(&whole[HEADER_BYTES..]))
    }

    /// Makes the start of `bytes` an empty set of keys; keys are put behind it, then [`Bset::seal`] it.
    pub fn create(bytes: &mut [u8], set_magic: u64, seq: u64) -> Result<(), FormatError> {
        let found = bytes.len();
        let (bset, _) = Bset::mut_from_prefix(bytes).map_err(|_| too_short(found, HEADER_BYTES))?;
        *bset = Bset {
            checksum: 0.into(),
            magic: magic(set_magic).into(),
            seq: seq.into(),
            version: VERSION.into(),
            keys: 0.into(),
        };
        Ok(())
    }

    /// Says that so many words of keys follow, and makes the checksum true.
    pub fn seal(bytes: &mut [u8], words: usize, pointer: Pointer) -> Result<(), FormatError> {
        let (found, end) = (bytes.len(), HEADER_BYTES + 8 * words);
        let whole = bytes.get_mut(..end).ok_or_else(|| too_short(found, end))?;
        let (bset, _) = Bset::mut_from_prefix(&mut *whole).map_err(|_| too_short(found, end))?;
        bset.keys = (words as u32).into();
        let version = bset.version.get();
        let sum = sum(whole, version, pointer);
        whole[..8].copy_from_slice(&sum.to_le_bytes());
        Ok(())
    }
}

fn sum(whole: &[u8], version: u32, pointer: Pointer) -> u64 {
    checksum(if version == 0 { SEED } else { pointer.0 }, &whole[8..])
}

fn too_short(found: usize, expected: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected }
}
