//! Where new data goes: buckets that are being filled, one for each stream of writes. Pure.
//!
//! Data of different volumes, and dirty and clean data, are kept apart: they are given up at different times.

use bcache_format::{BucketNo, Geometry, Pointer};

use crate::limits::OPEN_BUCKETS;

/// Whose data, and of what kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Only the cache has it.
    Dirty(u32),
    /// The backing device has it too.
    Clean(u32),
    /// It was moved to make room.
    Moved,
}

/// A bucket that is being filled.
#[derive(Clone, Copy, Debug)]
struct Open {
    bucket: BucketNo,
    stream: Stream,
    used: u64,
    /// When something was last put into it, in steps of its own.
    at: u64,
}

/// The buckets that are being filled.
#[derive(Default)]
pub struct OpenBuckets {
    open: [Option<Open>; OPEN_BUCKETS],
    steps: u64,
}

/// Room for data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Sector of the cache device.
    pub sector: u64,
    /// How many sectors.
    pub sectors: u64,
}

impl Room {
    /// The pointer to it, of a bucket of this generation.
    pub fn pointer(&self, generation: u8) -> Pointer {
        Pointer::new(self.sector, generation)
    }
}

impl OpenBuckets {
    /// Room for up to so many sectors of a stream, whole blocks, in the bucket that is open for it. `None` if there is none.
    pub fn take(&mut self, geometry: &Geometry, stream: Stream, sectors: u64) -> Option<Room> {
        self.steps += 1;
        let open = self.open.iter_mut().flatten().find(|open| open.stream == stream)?;
        let sectors = sectors.min(geometry.bucket_sectors - open.used);
        if sectors == 0 {
            return None;
        }
        let sector = geometry.sector(open.bucket) + open.used;
        open.used += sectors;
        open.at = self.steps;
        Some(Room { sector, sectors })
    }

    /// Opens a bucket for a stream; the one that is not filled any more instead, if there is one.
    pub fn open(&mut self, stream: Stream, bucket: BucketNo) -> Option<BucketNo> {
        let place = self.open.iter().position(|open| open.is_some_and(|open| open.stream == stream));
        let empty = || self.open.iter().position(Option::is_none);
        let oldest = || {
            let steps = self.open.iter().map(|open| open.map_or(0, |open| open.at)).enumerate();
            steps.min_by_key(|(_, at)| *at).map(|(place, _)| place)
        };
        let place = place.or_else(empty).or_else(oldest).expect("there are some");
        let open = Open { bucket, stream, used: 0, at: self.steps };
        self.open[place].replace(open).map(|old| old.bucket)
    }

    /// The bucket of a stream that ends: it is not filled any more.
    pub fn close(&mut self, stream: Stream) -> Option<BucketNo> {
        let open = self.open.iter_mut().find(|open| open.is_some_and(|open| open.stream == stream))?;
        open.take().map(|open| open.bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry {
        bucket_sectors: 16,
        block_sectors: 1,
        first_bucket: 2,
        buckets: 600,
        journal_buckets: 4,
        set_magic: 0,
    };

    #[test]
    fn each_stream_fills_a_bucket_of_its_own() {
        let mut open = OpenBuckets::default();
        assert_eq!(open.take(&GEOMETRY, Stream::Dirty(0), 8), None);
        assert_eq!(open.open(Stream::Dirty(0), BucketNo(10)), None);
        assert_eq!(open.open(Stream::Clean(0), BucketNo(11)), None);
        let mut take =
            |stream, sectors| open.take(&GEOMETRY, stream, sectors).map(|room| (room.sector, room.sectors));
        assert_eq!(take(Stream::Dirty(0), 10), Some((160, 10)));
        assert_eq!(take(Stream::Clean(0), 10), Some((176, 10)));
        assert_eq!(take(Stream::Dirty(0), 10), Some((170, 6)));
        assert_eq!(take(Stream::Dirty(0), 10), None);
        assert_eq!(open.open(Stream::Dirty(0), BucketNo(12)), Some(BucketNo(10)));
    }

    #[test]
    fn a_stream_that_ends_gives_its_bucket_up() {
        let mut open = OpenBuckets::default();
        open.open(Stream::Dirty(0), BucketNo(10));
        assert_eq!(open.close(Stream::Clean(0)), None);
        assert_eq!(open.close(Stream::Dirty(0)), Some(BucketNo(10)));
        assert_eq!(open.take(&GEOMETRY, Stream::Dirty(0), 1), None);
    }

    #[test]
    fn the_stream_that_was_quiet_for_longest_gives_its_bucket_up() {
        let mut open = OpenBuckets::default();
        for inode in 0..OPEN_BUCKETS as u32 {
            assert_eq!(open.open(Stream::Dirty(inode), BucketNo(inode.into())), None);
            open.take(&GEOMETRY, Stream::Dirty(inode), 1);
        }
        open.take(&GEOMETRY, Stream::Dirty(0), 1);
        assert_eq!(open.open(Stream::Moved, BucketNo(99)), Some(BucketNo(1)));
    }
}
