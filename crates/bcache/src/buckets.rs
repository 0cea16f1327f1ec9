//! What is known of each bucket: its generation, what refers to it, whether it can be given up. Pure.
//!
//! Counts are exact at any time: every key that comes into the tree, is cut, or goes is counted. So it is always known
//! which buckets nothing refers to, without looking through the tree.

use std::collections::VecDeque;

use bcache_format::limits::{MOST_STALE, STALE_LIMIT};
use bcache_format::{BucketNo, Geometry, Key, Pointer};

/// What a bucket is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Use {
    /// Nothing, or data that keys refer to.
    #[default]
    Data,
    /// A node, priorities, uuids; the superblock and the journal.
    Metadata,
    /// Data is being written to it.
    Open,
    /// It waits to be used, its generation durable.
    Free,
}

/// One bucket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// What pointers into it have to have.
    pub generation: u8,
    /// No pointer into it, stale or not, is older than this.
    pub oldest: u8,
    /// How lately it was used, as the kernel counts.
    pub priority: u16,
    /// What it is used for.
    pub usage: Use,
    /// Sectors that keys refer to.
    pub live: u32,
    /// Those of them that only the cache has.
    pub dirty: u32,
}

/// Whom a bucket is for. Later ones leave some to those before them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Purpose {
    /// Priorities and uuids: without them no bucket ever becomes free.
    Prios,
    /// Nodes of the tree.
    Nodes,
    /// Data that is moved to make room.
    Moving,
    /// Data.
    Data,
}

/// All buckets.
pub struct Buckets {
    table: Box<[Bucket]>,
    free: VecDeque<BucketNo>,
    /// What each purpose leaves to those before it.
    kept: [usize; 4],
    bucket_sectors: u64,
    dirty_buckets: u64,
    metadata_buckets: u64,
}

/// How far `generation` is ahead of `other`; nothing if it is behind.
pub fn ahead(generation: u8, other: u8) -> u8 {
    match generation.wrapping_sub(other) {
        distance if distance > MOST_STALE => 0,
        distance => distance,
    }
}

impl Buckets {
    /// All buckets of a cache, none of which anything is known of; those of the superblock and the journal are metadata.
    pub fn new(geometry: &Geometry, kept: [usize; 4]) -> Buckets {
        let mut table = vec![Bucket::default(); geometry.buckets as usize].into_boxed_slice();
        let own = geometry.first_free().0;
        table[..own as usize].iter_mut().for_each(|bucket| bucket.usage = Use::Metadata);
        Buckets {
            table,
            free: VecDeque::with_capacity(geometry.buckets as usize),
            kept,
            bucket_sectors: geometry.bucket_sectors,
            dirty_buckets: 0,
            metadata_buckets: own,
        }
    }

    /// One bucket.
    pub fn get(&self, bucket: BucketNo) -> &Bucket {
        &self.table[bucket.0 as usize]
    }

    /// All of them, from the first on.
    pub fn all(&self) -> &[Bucket] {
        &self.table
    }

    fn of(&mut self, pointer: Pointer) -> &mut Bucket {
        &mut self.table[pointer.bucket(self.bucket_sectors).0 as usize]
    }

    /// Whether what the pointer named is still there.
    pub fn is_fresh(&self, pointer: Pointer) -> bool {
        self.get(pointer.bucket(self.bucket_sectors)).generation == pointer.generation()
    }

    /// Remembers what was read of a bucket.
    pub fn load(&mut self, bucket: BucketNo, priority: u16, generation: u8) {
        let bucket = &mut self.table[bucket.0 as usize];
        bucket.priority = priority;
        (bucket.generation, bucket.oldest) = (generation, generation);
    }

    /// A pointer was found when the set was opened. One that is newer than what is known of its bucket is right: then
    /// everything that was counted before was stale.
    pub fn learn(&mut self, pointer: Pointer) {
        let generation = pointer.generation();
        let at = pointer.bucket(self.bucket_sectors).0 as usize;
        let was_dirty = self.table[at].dirty > 0;
        let bucket = &mut self.table[at];
        if ahead(generation, bucket.generation) > 0 {
            bucket.generation = generation;
            (bucket.live, bucket.dirty) = (0, 0);
            self.dirty_buckets -= u64::from(was_dirty);
        }
        let bucket = &mut self.table[at];
        if ahead(bucket.generation, generation) > ahead(bucket.generation, bucket.oldest) {
            bucket.oldest = generation;
        }
    }

    /// A key came into the tree.
    pub fn count(&mut self, key: &Key) {
        self.change(key, |count, sectors| *count += sectors);
    }

    /// A key, or a piece of one, is not in the tree any more.
    pub fn forget(&mut self, key: &Key) {
        self.change(key, |count, sectors| *count -= sectors);
    }

    fn change(&mut self, key: &Key, change: impl Fn(&mut u32, u32)) {
        let Some(pointer) = key.pointer() else { return };
        if !self.is_fresh(pointer) {
            return;
        }
        let bucket = self.of(pointer);
        let was_dirty = bucket.dirty > 0;
        let sectors = key.sectors() as u32;
        change(&mut bucket.live, sectors);
        if key.is_dirty() {
            change(&mut bucket.dirty, sectors);
        }
        let is_dirty = bucket.dirty > 0;
        self.dirty_buckets = self.dirty_buckets + u64::from(is_dirty) - u64::from(was_dirty);
    }

    /// Says what a bucket is used for.
    pub fn set_use(&mut self, bucket: BucketNo, usage: Use) {
        let bucket = &mut self.table[bucket.0 as usize];
        let (was, is) = (bucket.usage == Use::Metadata, usage == Use::Metadata);
        bucket.usage = usage;
        self.metadata_buckets = self.metadata_buckets + u64::from(is) - u64::from(was);
    }

    /// Says how lately a bucket was used.
    pub fn set_priority(&mut self, bucket: BucketNo, priority: u16) {
        self.table[bucket.0 as usize].priority = priority;
    }

    /// Whether a bucket can be given up: nothing but clean data in it, and its next generation can be told from all that
    /// pointers have.
    pub fn can_be_given_up(&self, bucket: BucketNo) -> bool {
        let bucket = self.get(bucket);
        let distance = ahead(bucket.generation, bucket.oldest);
        bucket.usage == Use::Data && bucket.dirty == 0 && distance < STALE_LIMIT
    }

    /// Whether nothing refers to a bucket that could be given up.
    pub fn is_unreferenced(&self, bucket: BucketNo) -> bool {
        self.can_be_given_up(bucket) && self.get(bucket).live == 0
    }

    /// Makes all pointers into a bucket stale. The new generation has to be durable before it is used again.
    pub fn give_up(&mut self, bucket: BucketNo) {
        debug_assert!(self.can_be_given_up(bucket));
        self.next_life(bucket);
    }

    /// The bucket's next life: what it was, nothing refers to any more.
    pub fn next_life(&mut self, bucket: BucketNo) {
        let bucket = &mut self.table[bucket.0 as usize];
        debug_assert_eq!(bucket.dirty, 0);
        bucket.generation = bucket.generation.wrapping_add(1);
        bucket.live = 0;
    }

    /// A pass over all keys has seen no older pointers than these.
    pub fn set_oldest(&mut self, bucket: BucketNo, oldest: u8) {
        self.table[bucket.0 as usize].oldest = oldest;
    }

    /// Puts a bucket among those that wait to be used: its generation is durable.
    pub fn put_free(&mut self, bucket: BucketNo) {
        self.set_use(bucket, Use::Free);
        self.free.push_back(bucket);
    }

    /// How many can be taken for a purpose.
    pub fn available(&self, purpose: Purpose) -> usize {
        self.free.len().saturating_sub(self.kept[purpose as usize])
    }

    /// A bucket for a purpose.
    pub fn take(&mut self, purpose: Purpose) -> Option<BucketNo> {
        if self.available(purpose) == 0 {
            return None;
        }
        let bucket = self.free.pop_front()?;
        let usage = if purpose <= Purpose::Nodes { Use::Metadata } else { Use::Open };
        self.set_use(bucket, usage);
        Some(bucket)
    }

    /// Buckets that wait to be used.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// What part of all buckets cannot be given up, of a hundred.
    pub fn in_use_percent(&self) -> u64 {
        (self.dirty_buckets + self.metadata_buckets) * 100 / self.table.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use bcache_format::Position;

    use super::*;

    fn buckets() -> Buckets {
        let geometry = Geometry {
            bucket_sectors: 16,
            block_sectors: 1,
            first_bucket: 2,
            buckets: 600,
            journal_buckets: 4,
            set_magic: 0,
        };
        Buckets::new(&geometry, [0, 2, 4, 6])
    }

    fn key(sector: u64, generation: u8, is_dirty: bool) -> Key {
        Key::extent(Position::new(0, 100), 8, Pointer::new(sector, generation), is_dirty)
    }

    #[test]
    fn what_is_counted_twice_is_forgotten_twice() {
        let mut buckets = buckets();
        let at = BucketNo(10);
        buckets.count(&key(160, 0, true));
        buckets.count(&key(168, 0, false));
        assert_eq!((buckets.get(at).live, buckets.get(at).dirty), (16, 8));
        assert!(!buckets.can_be_given_up(at));
        buckets.forget(&key(160, 0, true));
        assert!(buckets.can_be_given_up(at) && !buckets.is_unreferenced(at));
        buckets.give_up(at);
        assert!(!buckets.is_fresh(Pointer::new(168, 0)));
        buckets.forget(&key(168, 0, false)); // stale: nothing to count
        assert_eq!(buckets.get(at).live, 0);
    }

    #[test]
    fn a_newer_pointer_makes_what_was_counted_stale() {
        let mut buckets = buckets();
        for found in [key(160, 3, true), key(168, 4, false)] {
            buckets.learn(found.pointer().unwrap());
            buckets.count(&found);
        }
        let bucket = buckets.get(BucketNo(10));
        assert_eq!((bucket.generation, bucket.oldest, bucket.live, bucket.dirty), (4, 0, 8, 0));
        buckets.learn(Pointer::new(160, 250)); // 250 is behind 4 by ten
        assert_eq!(buckets.get(BucketNo(10)).oldest, 250);
    }

    #[test]
    fn a_bucket_whose_pointers_are_too_old_is_not_given_up() {
        let mut buckets = buckets();
        for _ in 0..STALE_LIMIT {
            buckets.give_up(BucketNo(20));
        }
        assert!(!buckets.can_be_given_up(BucketNo(20)));
        let generation = buckets.get(BucketNo(20)).generation;
        buckets.set_oldest(BucketNo(20), generation);
        assert!(buckets.can_be_given_up(BucketNo(20)));
    }

    #[test]
    fn each_purpose_leaves_some_to_those_before_it() {
        let mut buckets = buckets();
        (100..107).for_each(|at| buckets.put_free(BucketNo(at)));
        assert_eq!(buckets.take(Purpose::Data), Some(BucketNo(100)));
        assert_eq!(buckets.take(Purpose::Data), None);
        for purpose in [Purpose::Moving, Purpose::Moving, Purpose::Nodes, Purpose::Nodes] {
            assert!(buckets.take(purpose).is_some());
        }
        assert_eq!(buckets.take(Purpose::Nodes), None);
        assert!(buckets.take(Purpose::Prios).is_some());
    }
}
