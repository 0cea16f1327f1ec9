//! What bcache-tools' `make-bcache` writes, and what the kernel makes of it at first use.

use core::fmt;

use zerocopy::FromBytes;

use super::{MAGIC, Superblock, flag, version};
use crate::limits::{
    DEFAULT_DATA_OFFSET, LEAST_BUCKETS, LEAST_JOURNAL_BUCKETS, MOST_BUCKETS, MOST_JOURNAL_BUCKETS,
    PAGE_BYTES, SUPERBLOCK_SECTOR,
};
use crate::superblock::feature;
use crate::terms::{CacheMode, Label, Replacement};

/// Sectors that boot loaders and the superblock may take: buckets begin behind them.
const RESERVED_SECTORS: u64 = 23;

/// A cache that is to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CachePlan {
    /// Of the device.
    pub uuid: [u8; 16],
    /// Of the set.
    pub set_uuid: [u8; 16],
    /// Sectors of the device.
    pub device_sectors: u64,
    /// Sectors of a block.
    pub block_sectors: u16,
    /// Sectors of a bucket.
    pub bucket_sectors: u64,
    /// Which bucket is given up first.
    pub replacement: Replacement,
}

/// A backing device that is to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackingPlan {
    /// Of the device.
    pub uuid: [u8; 16],
    /// Sectors of a block.
    pub block_sectors: u16,
    /// The set that it is to be attached to when both are first used together; make-bcache draws one anyway.
    pub set_uuid: [u8; 16],
    /// Sectors of a bucket of its cache: nobody reads it there, and make-bcache writes it.
    pub bucket_sectors: u16,
    /// The sector at which its data begins.
    pub data_offset: u64,
    /// How it is to be cached.
    pub mode: CacheMode,
    /// What people are to call it.
    pub label: Label,
}

/// Why something cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateError {
    /// The block is not one the kernel takes.
    Block {
        /// In sectors.
        found: u16,
    },
    /// The bucket is not one the kernel takes.
    Bucket {
        /// In sectors.
        found: u64,
    },
    /// The device has too few or too many buckets of this size.
    Buckets {
        /// How many.
        found: u64,
    },
    /// The data would begin in the superblock.
    DataOffset {
        /// In sectors.
        found: u64,
    },
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Block { found } => {
                write!(f, "the block size is {found} sectors, expected a power of two from 1 to 8")
            }
            CreateError::Bucket { found } => {
                write!(
                    f,
                    "the bucket size is {found} sectors, expected a power of two, no smaller than 8 and the block"
                )
            }
            CreateError::Buckets { found } => write!(
                f,
                "the device has {found} buckets, expected {LEAST_BUCKETS} to {MOST_BUCKETS}; choose another bucket size"
            ),
            CreateError::DataOffset { found } => {
                write!(f, "the data offset is {found} sectors, expected at least {DEFAULT_DATA_OFFSET}")
            }
        }
    }
}

impl core::error::Error for CreateError {}

/// Whether buckets of so many sectors are possible with such blocks.
fn bucket_allowed(bucket_sectors: u64, block_sectors: u16) -> bool {
    let least = (PAGE_BYTES / 512).max(block_sectors.into());
    bucket_sectors.is_power_of_two() && (least..=1 << 30).contains(&bucket_sectors)
}

fn block_allowed(block_sectors: u16) -> Result<(), CreateError> {
    match block_sectors.is_power_of_two() && u64::from(block_sectors) * 512 <= PAGE_BYTES {
        true => Ok(()),
        false => Err(CreateError::Block { found: block_sectors }),
    }
}

impl Superblock {
    /// Makes these bytes the superblock of a cache that was never used.
    pub fn create_cache(bytes: &mut [u8], plan: &CachePlan) -> Result<(), CreateError> {
        block_allowed(plan.block_sectors)?;
        if !bucket_allowed(plan.bucket_sectors, plan.block_sectors) {
            return Err(CreateError::Bucket { found: plan.bucket_sectors });
        }
        let buckets = plan.device_sectors / plan.bucket_sectors;
        if !(LEAST_BUCKETS..=MOST_BUCKETS).contains(&buckets) {
            return Err(CreateError::Buckets { found: buckets });
        }
        let superblock = fresh(bytes, plan.uuid, plan.block_sectors);
        superblock.set_uuid = plan.set_uuid;
        superblock.extent = buckets.into();
        superblock.first_bucket = ((RESERVED_SECTORS / plan.bucket_sectors + 1) as u16).into();
        superblock.nr_in_set = 1.into();
        superblock.flags = (plan.replacement.number() << flag::REPLACEMENT_AT).into();
        match u16::try_from(plan.bucket_sectors) {
            Ok(sectors) => superblock.bucket_size = sectors.into(),
            Err(_) => {
                superblock.version = version::CACHE_WITH_FEATURES.into();
                superblock.feature_incompat = feature::BUCKET_SIZE_LOG.into();
                superblock.bucket_size = (plan.bucket_sectors.ilog2() as u16).into();
            }
        }
        superblock.seal();
        Ok(())
    }

    /// Makes these bytes the superblock of a backing device that has no cache yet.
    pub fn create_backing(bytes: &mut [u8], plan: &BackingPlan) -> Result<(), CreateError> {
        block_allowed(plan.block_sectors)?;
        if plan.data_offset < DEFAULT_DATA_OFFSET {
            return Err(CreateError::DataOffset { found: plan.data_offset });
        }
        let superblock = fresh(bytes, plan.uuid, plan.block_sectors);
        superblock.version = version::BACKING.into();
        if plan.data_offset != DEFAULT_DATA_OFFSET {
            superblock.version = version::BACKING_WITH_OFFSET.into();
            superblock.extent = plan.data_offset.into();
        }
        superblock.set_uuid = plan.set_uuid;
        superblock.bucket_size = plan.bucket_sectors.into();
        superblock.label = plan.label.0;
        superblock.set_mode(plan.mode);
        superblock.seal();
        Ok(())
    }
}

/// How many journal buckets a cache of so many buckets gets when it is first used.
pub fn journal_buckets(buckets: u64) -> u16 {
    (buckets >> 7).clamp(LEAST_JOURNAL_BUCKETS, MOST_JOURNAL_BUCKETS as u64) as u16
}

fn fresh(bytes: &mut [u8], uuid: [u8; 16], block_sectors: u16) -> &mut Superblock {
    bytes.fill(0);
    let (superblock, _) = Superblock::mut_from_prefix(bytes).expect("4 KiB");
    superblock.offset = SUPERBLOCK_SECTOR.into();
    superblock.magic = MAGIC;
    superblock.uuid = uuid;
    superblock.block_size = block_sectors.into();
    superblock
}
