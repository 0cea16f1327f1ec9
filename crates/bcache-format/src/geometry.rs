//! What the numbers of a cache's superblock come down to: sizes of buckets, nodes, entries.

use crate::error::FormatError;
use crate::key::Key;
use crate::limits::{JOURNAL_ENTRY_BYTES, META_BUCKET_BYTES, NODE_BYTES};
use crate::prio;
use crate::terms::BucketNo;
use crate::uuids;

/// The shape of a cache whose superblock was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Sectors of a bucket.
    pub bucket_sectors: u64,
    /// Sectors of a block: what extents are multiples of, and where sets of keys and journal entries begin.
    pub block_sectors: u64,
    /// The first bucket behind the superblock; the journal's come first.
    pub first_bucket: u64,
    /// Buckets of the device, those before the first counted.
    pub buckets: u64,
    /// Buckets of the journal.
    pub journal_buckets: u64,
    /// What the magic numbers of this set's forms come from.
    pub set_magic: u64,
}

impl Geometry {
    /// The sector at which a bucket begins.
    pub fn sector(&self, bucket: BucketNo) -> u64 {
        bucket.0 * self.bucket_sectors
    }

    /// The bucket of the journal's place `index`.
    pub fn journal_bucket(&self, index: u64) -> BucketNo {
        BucketNo(self.first_bucket + index)
    }

    /// The first bucket that can hold anything but a superblock or the journal.
    pub fn first_free(&self) -> BucketNo {
        BucketNo(self.first_bucket + self.journal_buckets)
    }

    /// Whether a bucket can hold anything but a superblock or the journal.
    pub fn is_pool(&self, bucket: BucketNo) -> bool {
        (self.first_free().0..self.buckets).contains(&bucket.0)
    }

    /// Bytes of a bucket that priorities and uuids use.
    pub fn meta_bucket_bytes(&self) -> usize {
        (self.bucket_sectors * 512).min(META_BUCKET_BYTES) as usize
    }

    /// Sectors of a node that is made here.
    pub fn node_sectors(&self) -> u64 {
        let bytes = self.meta_bucket_bytes() as u64;
        let bytes = if bytes > NODE_BYTES { (bytes / 4).max(NODE_BYTES) } else { bytes };
        bytes / 512
    }

    /// Bytes of the longest journal entry.
    pub fn journal_entry_bytes(&self) -> usize {
        JOURNAL_ENTRY_BYTES.min(self.bucket_sectors as usize * 512)
    }

    /// Priorities that one bucket has room for.
    pub fn prios_per_bucket(&self) -> u64 {
        prio::capacity(self.meta_bucket_bytes()) as u64
    }

    /// Buckets that the priorities of all take.
    pub fn prio_buckets(&self) -> u64 {
        self.buckets.div_ceil(self.prios_per_bucket())
    }

    /// Uuids that their bucket has room for.
    pub fn uuids(&self) -> usize {
        self.meta_bucket_bytes() / uuids::ENTRY_BYTES
    }

    /// Bytes, rounded up to whole blocks.
    pub fn whole_blocks(&self, bytes: usize) -> usize {
        bytes.next_multiple_of(self.block_sectors as usize * 512)
    }

    /// Whether the kernel would accept this key in a leaf.
    pub fn check_extent(&self, key: &Key) -> Result<(), FormatError> {
        match key.sectors() > key.end().offset {
            true => Err(FormatError::KeySize { found: *key }),
            false => self.check_place(key),
        }
    }

    /// Whether the kernel would accept this key in a node that has nodes below it.
    pub fn check_node(&self, key: &Key) -> Result<(), FormatError> {
        let is_of_a_size = (1..=self.node_sectors()).contains(&key.sectors());
        match key.pointer().is_none() || !is_of_a_size || key.is_dirty() {
            true => Err(FormatError::KeyOfNode { found: *key }),
            false => self.check_place(key),
        }
    }

    /// Whether what the key points to, if it does, lies within one bucket.
    pub fn check_place(&self, key: &Key) -> Result<(), FormatError> {
        let Some(pointer) = key.pointer() else { return Ok(()) };
        let bucket = pointer.bucket(self.bucket_sectors).0;
        let within = pointer.sector() % self.bucket_sectors;
        let lies_within = within + key.sectors() <= self.bucket_sectors;
        match (self.first_bucket..self.buckets).contains(&bucket) && lies_within {
            true => Ok(()),
            false => Err(FormatError::KeyPointer { found: *key }),
        }
    }
}
