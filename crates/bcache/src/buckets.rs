//! What is known of each bucket: its generation, and what refers to it. Pure.

use bcache_format::limits::MOST_STALE;
use bcache_format::{BucketNo, Geometry, Key, Pointer};

/// One bucket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// What pointers into it have to have.
    pub generation: u8,
    /// Sectors that keys refer to.
    pub live: u32,
}

/// All buckets.
pub struct Buckets {
    table: Box<[Bucket]>,
    bucket_sectors: u64,
}

/// How far `generation` is ahead of `other`; nothing if it is behind.
pub fn ahead(generation: u8, other: u8) -> u8 {
    match generation.wrapping_sub(other) {
        distance if distance > MOST_STALE => 0,
        distance => distance,
    }
}

impl Buckets {
    /// All buckets of a cache, none of which anything is known of.
    pub fn new(geometry: &Geometry) -> Buckets {
        let table = vec![Bucket::default(); geometry.buckets as usize].into_boxed_slice();
        Buckets { table, bucket_sectors: geometry.bucket_sectors }
    }

    /// One bucket.
    pub fn get(&self, bucket: BucketNo) -> &Bucket {
        &self.table[bucket.0 as usize]
    }

    fn of(&mut self, pointer: Pointer) -> &mut Bucket {
        &mut self.table[pointer.bucket(self.bucket_sectors).0 as usize]
    }

    /// Whether what the pointer named is still there.
    pub fn is_fresh(&self, pointer: Pointer) -> bool {
        self.get(pointer.bucket(self.bucket_sectors)).generation == pointer.generation()
    }

    /// Remembers the generation that was read of a bucket.
    pub fn load(&mut self, bucket: BucketNo, generation: u8) {
        self.table[bucket.0 as usize].generation = generation;
    }

    /// A pointer was found. One that is newer than what is known of its bucket is right: then everything that was counted
    /// before was stale.
    pub fn learn(&mut self, pointer: Pointer) {
        let bucket = self.of(pointer);
        if ahead(pointer.generation(), bucket.generation) > 0 {
            *bucket = Bucket { generation: pointer.generation(), live: 0 };
        }
    }

    /// Counts a key that is read.
    pub fn count(&mut self, key: &Key) {
        if let Some(pointer) = key.pointer().filter(|pointer| self.is_fresh(*pointer)) {
            self.of(pointer).live += key.sectors() as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use bcache_format::Position;

    use super::*;

    #[test]
    fn a_newer_pointer_makes_what_was_counted_stale() {
        let geometry = Geometry {
            bucket_sectors: 16,
            block_sectors: 1,
            first_bucket: 2,
            buckets: 600,
            journal_buckets: 4,
            set_magic: 0,
        };
        let mut buckets = Buckets::new(&geometry);
        for (generation, live) in [(3, 8), (4, 8), (250, 8)] {
            let pointer = Pointer::new(160, generation);
            buckets.learn(pointer);
            buckets.count(&Key::extent(Position::new(0, 100), 8, pointer, true));
            assert_eq!(buckets.get(BucketNo(10)).live, live);
        }
        assert_eq!(buckets.get(BucketNo(10)).generation, 4); // 250 is behind 4 by ten
    }
}
