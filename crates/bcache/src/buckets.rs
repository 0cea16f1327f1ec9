//! What is known of each bucket: its generation, what refers to it, whether it can be given up. Pure.
//!
//! Counts are exact at any time: every key that comes into the tree, is cut, or goes is counted. So it is always known
//! which buckets nothing refers to, and which hold nothing but clean data, without looking through the tree or the table:
//! both kinds wait in lists of their own, in the order in which they are given up (C4, and no scan of all buckets).

mod lists;

use std::collections::VecDeque;

use bcache_format::limits::{MOST_STALE, STALE_LIMIT};
use bcache_format::prio::{INITIAL, METADATA};
use bcache_format::{BucketNo, Geometry, Key, Pointer, Replacement};

use crate::plant::{self, Plant};
use lists::{Class, Lists};

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
    /// It was given up: its next generation is not durable yet.
    GivenUp,
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
    /// What it is used for.
    pub usage: Use,
    /// Sectors that keys refer to.
    pub live: u32,
    /// Those of them that only the cache has.
    pub dirty: u32,
    /// Writes of data into it that no key tells of yet.
    writing: u32,
    /// When it was last used, in steps of [`Buckets::heat`].
    used_at: u32,
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
    lists: Lists,
    given_up: VecDeque<BucketNo>,
    free: VecDeque<BucketNo>,
    /// What each purpose leaves to those before it.
    kept: [usize; 4],
    policy: Replacement,
    bucket_sectors: u64,
    dirty_buckets: u64,
    metadata_buckets: u64,
    /// See [`Buckets::take_miscounted`].
    is_miscounted: bool,
    /// Steps of use: one for each thousandth of the cache that was read or written.
    heat: u32,
    heat_sectors: u64,
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
    pub fn new(geometry: &Geometry) -> Buckets {
        let mut table = vec![Bucket::default(); geometry.buckets as usize].into_boxed_slice();
        let own = geometry.first_free().0.min(geometry.buckets);
        table[..own as usize].iter_mut().for_each(|bucket| bucket.usage = Use::Metadata);
        Buckets {
            table,
            lists: Lists::default(),
            given_up: VecDeque::new(),
            free: VecDeque::new(),
            kept: [0; 4],
            policy: Replacement::Lru,
            bucket_sectors: geometry.bucket_sectors,
            dirty_buckets: 0,
            metadata_buckets: own,
            is_miscounted: false,
            heat: INITIAL.into(),
            heat_sectors: 0,
        }
    }

    /// One bucket.
    pub fn get(&self, bucket: BucketNo) -> &Bucket {
        &self.table[bucket.0 as usize]
    }

    fn bucket_of(&self, pointer: Pointer) -> BucketNo {
        pointer.bucket(self.bucket_sectors)
    }

    /// Whether what the pointer named is still there.
    pub fn is_fresh(&self, pointer: Pointer) -> bool {
        self.get(self.bucket_of(pointer)).generation == pointer.generation()
    }

    /// Whether what the pointer named is not there, and will not be after a power cut either: a generation that is not durable
    /// yet does not count.
    pub fn is_gone(&self, pointer: Pointer) -> bool {
        let bucket = self.get(self.bucket_of(pointer));
        let undone =
            bucket.usage == Use::GivenUp && bucket.generation.wrapping_sub(1) == pointer.generation();
        bucket.generation != pointer.generation() && !undone
    }

    /// Remembers what was read of a bucket.
    pub fn load(&mut self, bucket: BucketNo, priority: u16, generation: u8) {
        let heat = self.heat;
        let bucket = &mut self.table[bucket.0 as usize];
        bucket.used_at = heat - u32::from(INITIAL) + u32::from(priority.min(INITIAL));
        (bucket.generation, bucket.oldest) = (generation, generation);
    }

    /// A pointer was found on disk. One that is newer than what is known of its bucket is right: then everything that was
    /// counted before was stale.
    pub fn learn(&mut self, pointer: Pointer) {
        let at = self.bucket_of(pointer);
        if ahead(pointer.generation(), self.get(at).generation) > 0 {
            self.is_miscounted |= self.get(at).live > 0;
            self.change(at, |bucket| {
                bucket.generation = pointer.generation();
                (bucket.live, bucket.dirty) = (0, 0);
            });
        }
    }

    /// Whether something was counted since this was last asked that was stale, as a newer pointer showed then.
    pub fn take_miscounted(&mut self) -> bool {
        std::mem::take(&mut self.is_miscounted)
    }

    /// A pointer, stale or not, is in the tree.
    pub fn see(&mut self, pointer: Pointer) {
        let (at, generation) = (self.bucket_of(pointer), pointer.generation());
        let bucket = self.get(at);
        if ahead(bucket.generation, generation) > ahead(bucket.generation, bucket.oldest) {
            self.set_oldest(at, generation);
        }
    }

    /// Forgets what was counted, not the generations.
    pub fn recount_all(&mut self) {
        for bucket in &mut self.table {
            (bucket.live, bucket.dirty) = (0, 0);
        }
        self.dirty_buckets = 0;
    }

    /// A key came into the tree. Whether what it names is there.
    pub fn count(&mut self, key: &Key) -> bool {
        self.recount(key, |count, sectors| *count = count.saturating_add(sectors))
    }

    /// A key, or a piece of one, is not in the tree any more. Whether what it named was there.
    pub fn forget(&mut self, key: &Key) -> bool {
        self.recount(key, |count, sectors| *count = count.saturating_sub(sectors))
    }

    fn recount(&mut self, key: &Key, change: impl Fn(&mut u32, u32)) -> bool {
        let Some(pointer) = key.pointer().filter(|pointer| self.is_fresh(*pointer)) else { return false };
        let (sectors, is_dirty) = (key.sectors() as u32, key.is_dirty());
        self.change(self.bucket_of(pointer), |bucket| {
            change(&mut bucket.live, sectors);
            if is_dirty {
                change(&mut bucket.dirty, sectors);
            }
        });
        true
    }

    /// Changes a bucket, and everything that is known of all of them with it.
    fn change(&mut self, at: BucketNo, change: impl FnOnce(&mut Bucket)) {
        let bucket = &mut self.table[at.0 as usize];
        let (was_dirty, was_metadata) = (bucket.dirty > 0, bucket.usage == Use::Metadata);
        change(bucket);
        let (is_dirty, is_metadata) = (bucket.dirty > 0, bucket.usage == Use::Metadata);
        self.dirty_buckets = self.dirty_buckets + u64::from(is_dirty) - u64::from(was_dirty);
        self.metadata_buckets = self.metadata_buckets + u64::from(is_metadata) - u64::from(was_metadata);
        self.lists.put(at, class(bucket));
    }

    /// Says what a bucket is used for.
    pub fn set_use(&mut self, bucket: BucketNo, usage: Use) {
        self.change(bucket, |bucket| bucket.usage = usage);
    }

    /// From now on buckets are given up and taken: everything is known of them. `kept` is what each purpose leaves to those
    /// before it.
    pub fn begin(&mut self, kept: [usize; 4], policy: Replacement) {
        (self.kept, self.policy) = (kept, policy);
        self.given_up.reserve(self.table.len());
        self.free.reserve(self.table.len());
        self.lists = Lists::new(self.table.len());
        let mut order: Vec<BucketNo> = (0..self.table.len() as u64).map(BucketNo).collect();
        order.sort_by_key(|bucket| self.get(*bucket).used_at);
        for bucket in order {
            let class = class(self.get(bucket));
            self.lists.put(bucket, class);
        }
    }

    /// Which data is given up first.
    pub fn set_policy(&mut self, policy: Replacement) {
        self.policy = policy;
    }

    /// Data of it is read or written.
    pub fn touch(&mut self, pointer: Pointer, sectors: u64) {
        self.heat_sectors += sectors;
        let step = (self.table.len() as u64 * self.bucket_sectors / 1024).max(1);
        self.heat = self.heat.saturating_add((self.heat_sectors / step) as u32);
        self.heat_sectors %= step;
        let (at, heat) = (self.bucket_of(pointer), self.heat);
        self.table[at.0 as usize].used_at = heat;
        if self.policy == Replacement::Lru {
            self.lists.put_last(at);
        }
    }

    /// Its priority as the kernel counts: of data the higher the later it was used.
    pub fn priority(&self, bucket: BucketNo) -> u16 {
        let bucket = self.get(bucket);
        match bucket.usage {
            Use::Metadata => METADATA,
            _ => INITIAL.saturating_sub((self.heat - bucket.used_at).min(INITIAL.into()) as u16),
        }
    }

    /// Data is written into a bucket, of which no key tells yet.
    pub fn begin_write(&mut self, bucket: BucketNo) {
        self.change(bucket, |bucket| bucket.writing += 1);
    }

    /// That data is told of by a key now, or never will be.
    pub fn end_write(&mut self, bucket: BucketNo) {
        self.change(bucket, |bucket| bucket.writing -= 1);
    }

    /// Gives up the bucket that is to be given up next, if there is one: all pointers into it are stale from now on. Its new
    /// generation has to be durable before it is used again.
    pub fn give_up(&mut self, random: u64) -> Option<BucketNo> {
        let at = self.lists.first(Class::Empty).or_else(|| match self.policy {
            Replacement::Random => self.lists.any(Class::Clean, random),
            _ => self.lists.first(Class::Clean),
        })?;
        self.next_life(at);
        Some(at)
    }

    /// Those that nothing refers to are free as they are: no pointer has their generations, which are durable.
    pub fn take_empty(&mut self) {
        while let Some(bucket) = self.lists.first(Class::Empty) {
            self.put_free(bucket);
        }
    }

    /// Whether all buckets hold something: one that is needed is given up by data that could be read.
    pub fn is_full(&self) -> bool {
        self.lists.first(Class::Empty).is_none()
    }

    /// Whether [`Buckets::give_up`] would give one up.
    pub fn can_give_up(&self) -> bool {
        [Class::Empty, Class::Clean].iter().any(|class| self.lists.first(*class).is_some())
    }

    /// Whether some could be given up but for the pointers that are too old.
    pub fn has_stuck(&self) -> bool {
        self.lists.first(Class::Stuck).is_some()
    }

    /// The bucket's next life: nothing refers any more to what it was.
    pub fn next_life(&mut self, bucket: BucketNo) {
        self.outdate(bucket);
        self.retire(bucket);
    }

    /// All that refers to the bucket is stale; it is still in use.
    pub fn outdate(&mut self, bucket: BucketNo) {
        self.change(bucket, |bucket| {
            assert!(bucket.dirty == 0 && bucket.writing == 0, "what only the cache has is not given up");
            bucket.generation = bucket.generation.wrapping_add(1);
            bucket.live = 0;
        });
    }

    /// A bucket that was outdated is not in use any more.
    pub fn retire(&mut self, bucket: BucketNo) {
        self.set_use(bucket, Use::GivenUp);
        self.given_up.push_back(bucket);
    }

    /// Buckets that were given up and not released.
    pub fn given_up(&self) -> usize {
        self.given_up.len()
    }

    /// The generations of the first `count` of those that were given up are durable: they can be used.
    pub fn release(&mut self, count: usize) {
        for _ in 0..count {
            let bucket = self.given_up.pop_front().expect("that many were given up");
            self.put_free(bucket);
        }
    }

    /// No pointer into a bucket, stale or not, is older than this: a pass over all keys has seen none.
    pub fn set_oldest(&mut self, bucket: BucketNo, oldest: u8) {
        self.change(bucket, |bucket| bucket.oldest = oldest);
    }

    /// Puts a bucket among those that wait to be used: its generation is durable, and no pointer has it.
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

    /// Buckets with something dirty.
    pub fn dirty_buckets(&self) -> u64 {
        self.dirty_buckets
    }

    /// Buckets that cannot be given up: of metadata, or with something dirty.
    pub fn in_use(&self) -> u64 {
        self.dirty_buckets + self.metadata_buckets
    }

    /// The same of a hundred.
    pub fn in_use_percent(&self) -> u64 {
        self.in_use() * 100 / self.table.len() as u64
    }
}

/// How a bucket can be given up, if it can.
fn class(bucket: &Bucket) -> Option<Class> {
    if bucket.usage != Use::Data || bucket.dirty > 0 || bucket.writing > 0 {
        return None;
    }
    Some(match (ahead(bucket.generation, bucket.oldest) < STALE_LIMIT - 1, bucket.live) {
        (false, _) if !plant::is(Plant::GenerationWraps) => Class::Stuck,
        (_, 0) => Class::Empty,
        _ => Class::Clean,
    })
}

#[cfg(test)]
mod tests;
