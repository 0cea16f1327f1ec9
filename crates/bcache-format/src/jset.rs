//! An entry of the journal: keys that are durable before the nodes they belong to are, and where everything else is found.
//! `struct jset` of bcache's bcache_ondisk.h.
//!
//! ```text
//!   0  checksum     magic       | 16  seq     version (4)   keys (4: 64-bit words)   | 32  last_seq
//!  40  the key of the uuids' bucket (64 bytes)     | 104  the key of the root (64 bytes)
//! 168  level of the root (2), padding (6)          | 176  the first bucket of priorities, 8 bytes for each of 8 devices
//! 240  keys
//! ```
//!
//! The journal's buckets are filled in turn, each from its start, entries at whole blocks and never across a bucket's end.
//! An entry says how far back entries are needed (`last_seq`); all of them have to be there. Behind the first words of the
//! two keys' places the kernel leaves whatever was in its memory.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{SEED, checksum};
use crate::error::FormatError;
use crate::key::{Key, Keys, read_slot};
use crate::limits::MOST_DEVICES;

/// Bytes before the keys.
pub const HEADER_BYTES: usize = 240;

const FORM: &str = "journal entry";
const MAGIC: u64 = 0x2452_35c1_a362_5032;
const VERSION: u32 = 1;

/// What stands before the keys.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the ruler shows them")]
pub struct Jset {
    pub checksum: U64,
    pub magic: U64,
    pub seq: U64,
    pub version: U32,
    pub keys: U32,
    pub last_seq: U64,
    pub uuid_bucket: [u8; 64],
    pub btree_root: [u8; 64],
    pub btree_level: U16,
    pub pad: [u8; 6],
    pub prio_bucket: [U64; MOST_DEVICES as usize],
}

assert_layout!(Jset, 240, {
    checksum: 0, magic: 8, seq: 16, version: 24, keys: 28, last_seq: 32, uuid_bucket: 40, btree_root: 104,
    btree_level: 168, pad: 170, prio_bucket: 176,
});

/// Where everything but the keys of the journal is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roots {
    /// The bucket of the uuids.
    pub uuids: Key,
    /// The root of the tree.
    pub root: Key,
    /// Its level: 0 of a leaf.
    pub level: u16,
    /// The first bucket of the priorities.
    pub prios: u64,
}

/// The magic number of the journal entries of a cache set.
pub fn magic(set_magic: u64) -> u64 {
    MAGIC ^ set_magic
}

impl Jset {
    /// Reads these bytes as an entry: the magic number is right, nothing else is known. Where it is not, the journal's
    /// bucket has no more entries.
    pub fn view(bytes: &[u8], set_magic: u64) -> Result<&Jset, FormatError> {
        let found = bytes.len();
        let (jset, _) = Jset::ref_from_prefix(bytes).map_err(|_| too_short(found, HEADER_BYTES))?;
        let (found, expected) = (jset.magic.get(), magic(set_magic));
        if found != expected {
            return Err(FormatError::Magic { form: FORM, found, expected });
        }
        Ok(jset)
    }

    /// Bytes up to the last key.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + 8 * self.keys.get() as usize
    }

    /// Whether the entry at the start of `bytes` is whole and one of this set's; its keys.
    pub fn check(bytes: &[u8], set_magic: u64) -> Result<Keys<'_>, FormatError> {
        let jset = Jset::view(bytes, set_magic)?;
        let whole = bytes.get(..jset.bytes()).ok_or_else(|| too_short(bytes.len(), jset.bytes()))?;
        let (found, expected) = (jset.checksum.get(), checksum(SEED, &whole[8..]));
        if found != expected {
            return Err(FormatError::Checksum { form: FORM, found, expected });
        }
        let (seq, last_seq) = (jset.seq.get(), jset.last_seq.get());
        if last_seq > seq {
            return Err(FormatError::Range { field: "last_seq", found: last_seq, least: 0, most: seq });
        }
        let version = jset.version.get();
        if version > VERSION {
            return Err(FormatError::Version { form: FORM, found: version.into(), expected: "0 or 1" });
        }
        Ok(Keys::new(&whole[HEADER_BYTES..]))
    }

    /// Where everything else is found.
    pub fn roots(&self) -> Result<Roots, FormatError> {
        Ok(Roots {
            uuids: read_slot(&self.uuid_bucket)?,
            root: read_slot(&self.btree_root)?,
            level: self.btree_level.get(),
            prios: self.prio_bucket[0].get(),
        })
    }

    /// Makes the start of `bytes` an entry without keys; keys are put behind it, then [`Jset::seal`] it.
    pub fn create(bytes: &mut [u8], set_magic: u64) -> Result<(), FormatError> {
        let found = bytes.len();
        let (jset, _) = Jset::mut_from_prefix(bytes).map_err(|_| too_short(found, HEADER_BYTES))?;
        jset.as_mut_bytes().fill(0);
        jset.magic = magic(set_magic).into();
        jset.version = VERSION.into();
        Ok(())
    }

    /// Says what is known when the entry is written, that so many words of keys follow, and makes the checksum true.
    pub fn seal(
        bytes: &mut [u8],
        seq: u64,
        last_seq: u64,
        roots: &Roots,
        words: usize,
    ) -> Result<(), FormatError> {
        let (found, end) = (bytes.len(), HEADER_BYTES + 8 * words);
        let whole = bytes.get_mut(..end).ok_or_else(|| too_short(found, end))?;
        let (jset, _) = Jset::mut_from_prefix(&mut *whole).map_err(|_| too_short(found, end))?;
        (jset.seq, jset.last_seq) = (seq.into(), last_seq.into());
        jset.keys = (words as u32).into();
        roots.uuids.write(&mut jset.uuid_bucket);
        roots.root.write(&mut jset.btree_root);
        jset.btree_level = roots.level.into();
        jset.prio_bucket[0] = roots.prios.into();
        let sum = checksum(SEED, &whole[8..]);
        whole[..8].copy_from_slice(&sum.to_le_bytes());
        Ok(())
    }
}

fn too_short(found: usize, expected: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected }
}
