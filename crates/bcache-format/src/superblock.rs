//! The superblock of a cache or a backing device: `struct cache_sb_disk` of bcache's bcache_ondisk.h.
//!
//! ```text
//!   0  checksum   offset (8)   version   | 24  magic (16)     uuid (16)      set_uuid (16)
//!  72  label (32)                        | 104 flags          seq
//! 120  feature_compat   feature_incompat   feature_ro_compat  | 144 padding (40)
//! 184  buckets of a cache; of a backing device where its data begins
//! 192  block_size (2)   bucket_size (2)   nr_in_set (2)   nr_this_dev (2)   | 200 last_mount (4)   first_bucket (2)
//! 206  keys (2): how many buckets the journal has          | 208 the journal's buckets, 8 bytes each, 256 places
//! 2256 bucket_size_hi (2, of a form that was given up)     | 2264 padding, up to 4 KiB
//! ```
//!
//! The checksum covers everything behind itself up to the last bucket of the journal.
//!
//! `flags` of a cache: bit 0 a set is on it, 1 discard, 2 to 4 replacement policy. Of a backing device: bits 0 to 3 cache
//! mode, 61 and 62 state.

mod create;
mod summary;

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use create::{BackingPlan, CachePlan, CreateError, journal_buckets};
pub use summary::{Backing, Cache, Kind, Summary};

use crate::checksum::{SEED, checksum};
use crate::error::FormatError;
use crate::limits::{MOST_JOURNAL_BUCKETS, SUPERBLOCK_BYTES, SUPERBLOCK_SECTOR};
use crate::terms::{CacheMode, Label, Replacement, State};

/// What marks a superblock of bcache.
pub const MAGIC: [u8; 16] =
    [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81];

const FORM: &str = "bcache superblock";

/// Versions: which device it is, and which fields count.
pub mod version {
    /// A cache as it is made, before it was ever used.
    pub const CACHE: u64 = 0;
    /// A backing device.
    pub const BACKING: u64 = 1;
    /// A cache that was used.
    pub const CACHE_WITH_UUID: u64 = 3;
    /// A backing device that says where its data begins.
    pub const BACKING_WITH_OFFSET: u64 = 4;
    /// A cache with features.
    pub const CACHE_WITH_FEATURES: u64 = 5;
    /// A backing device with features, which says where its data begins.
    pub const BACKING_WITH_FEATURES: u64 = 6;
}

/// Bits of `feature_incompat`.
pub mod feature {
    /// The upper half of the bucket size stands at the end: given up, such a cache is only read.
    pub const BUCKET_SIZE_HIGH: u64 = 1;
    /// `bucket_size` is the power of two.
    pub const BUCKET_SIZE_LOG: u64 = 2;
}

pub(crate) mod flag {
    pub const SYNC: u64 = 1;
    pub const DISCARD: u64 = 2;
    pub const REPLACEMENT_AT: u32 = 2;
    pub const REPLACEMENT: u64 = 7 << REPLACEMENT_AT;
    pub const MODE: u64 = 15;
    pub const STATE_AT: u32 = 61;
    pub const STATE: u64 = 3 << STATE_AT;
}

/// A superblock over the 4 KiB that hold it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
#[expect(missing_docs, reason = "the ruler shows them")]
pub struct Superblock {
    pub checksum: U64,
    pub offset: U64,
    pub version: U64,
    pub magic: [u8; 16],
    pub uuid: [u8; 16],
    pub set_uuid: [u8; 16],
    pub label: [u8; 32],
    pub flags: U64,
    pub seq: U64,
    pub feature_compat: U64,
    pub feature_incompat: U64,
    pub feature_ro_compat: U64,
    pub pad: [u8; 40],
    /// Buckets of a cache; where the data of a backing device begins.
    pub extent: U64,
    pub block_size: U16,
    pub bucket_size: U16,
    pub nr_in_set: U16,
    pub nr_this_dev: U16,
    pub last_mount: U32,
    pub first_bucket: U16,
    pub keys: U16,
    pub journal_buckets: [U64; MOST_JOURNAL_BUCKETS],
    pub bucket_size_hi: U16,
    pub rest: [u8; SUPERBLOCK_BYTES - 2258],
}

assert_layout!(Superblock, 4096, {
    checksum: 0, offset: 8, version: 16, magic: 24, uuid: 40, set_uuid: 56, label: 72, flags: 104, seq: 112,
    feature_compat: 120, feature_incompat: 128, feature_ro_compat: 136, pad: 144, extent: 184, block_size: 192,
    bucket_size: 194, nr_in_set: 196, nr_this_dev: 198, last_mount: 200, first_bucket: 204, keys: 206,
    journal_buckets: 208, bucket_size_hi: 2256, rest: 2258,
});

impl Superblock {
    /// Reads these bytes as a superblock: the magic number is right, nothing else is known.
    pub fn view(bytes: &[u8]) -> Result<&Superblock, FormatError> {
        let found = bytes.len();
        let (superblock, _) = Superblock::ref_from_prefix(bytes).map_err(|_| too_short(found))?;
        match superblock.magic == MAGIC {
            true => Ok(superblock),
            false => Err(FormatError::NoSuperblock),
        }
    }

    /// The same, to change it in place; [`Superblock::seal`] it afterwards.
    pub fn edit(bytes: &mut [u8]) -> Result<&mut Superblock, FormatError> {
        Superblock::view(bytes)?;
        let found = bytes.len();
        Superblock::mut_from_prefix(bytes).map(|(superblock, _)| superblock).map_err(|_| too_short(found))
    }

    /// Whether the kernel would take it, read from [`SUPERBLOCK_SECTOR`] of a device of so many sectors whose blocks have
    /// so many bytes; what it says.
    pub fn check(&self, device_sectors: u64, logical_block: u32) -> Result<Summary, FormatError> {
        let (found, expected) = (self.offset.get(), SUPERBLOCK_SECTOR);
        if found != expected {
            return Err(FormatError::SuperOffset { found, expected });
        }
        let (found, most) = (u64::from(self.keys.get()), MOST_JOURNAL_BUCKETS as u64);
        if found > most {
            return Err(FormatError::Range { field: "journal buckets", found, least: 0, most });
        }
        let (found, expected) = (self.checksum.get(), self.checksum_expected());
        if found != expected {
            return Err(FormatError::Checksum { form: FORM, found, expected });
        }
        summary::summary(self, device_sectors, logical_block)
    }

    /// The checksum that these bytes should carry. More journal buckets than there is room for count as those.
    pub fn checksum_expected(&self) -> u64 {
        let keys = usize::from(self.keys.get()).min(MOST_JOURNAL_BUCKETS);
        checksum(SEED, &self.as_bytes()[8..208 + 8 * keys])
    }

    /// Makes the checksum true.
    pub fn seal(&mut self) {
        self.checksum = self.checksum_expected().into();
    }

    /// Says which state a backing device is in, and whose it is.
    pub fn set_state(&mut self, state: State, set_uuid: [u8; 16]) {
        self.flags = (self.flags.get() & !flag::STATE | state.number() << flag::STATE_AT).into();
        self.set_uuid = set_uuid;
    }

    /// Says how a backing device is cached.
    pub fn set_mode(&mut self, mode: CacheMode) {
        self.flags = (self.flags.get() & !flag::MODE | mode.number()).into();
    }

    /// Says which bucket of a cache is given up first.
    pub fn set_replacement(&mut self, replacement: Replacement) {
        let others = self.flags.get() & !flag::REPLACEMENT;
        self.flags = (others | replacement.number() << flag::REPLACEMENT_AT).into();
    }

    /// Labels a backing device.
    pub fn set_label(&mut self, label: Label) {
        self.label = label.0;
    }

    /// Says that a set lies on this cache, whose journal takes so many buckets from the first one on.
    pub fn set_used(&mut self, journal_buckets: u16) {
        self.flags = (self.flags.get() | flag::SYNC).into();
        self.version = self.version.get().max(version::CACHE_WITH_UUID).into();
        self.keys = journal_buckets.into();
        let first = u64::from(self.first_bucket.get());
        let places = self.journal_buckets.iter_mut().take(journal_buckets.into());
        places.zip(first..).for_each(|(place, bucket)| *place = bucket.into());
    }
}

fn too_short(found: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected: SUPERBLOCK_BYTES }
}

#[cfg(test)]
mod tests;
