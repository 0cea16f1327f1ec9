//! Where the next entry of the journal goes, and what has to be let go of before. Pure.
//!
//! The buckets are filled in turn. The one behind that which is being filled is always free: everything in it is older than
//! what the newest entry needs (C5). So a bucket is only begun by an entry that no longer needs what lies in the bucket
//! behind it, and whoever reads the journal after a power cut, we or a kernel, always finds a bucket to go on in.

use bcache_format::Geometry;

use super::chain::Entry;

/// The buckets of a journal.
#[derive(Debug)]
pub struct Ring {
    /// The number of the newest entry of each bucket; 0 if it never had one.
    newest: Box<[u64]>,
    bucket_sectors: u64,
    /// The bucket that is filled.
    at: usize,
    /// Its sectors that are used.
    used: u64,
}

/// A place for an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which of the journal's buckets.
    pub index: u64,
    /// Sectors from its start.
    pub offset: u64,
}

impl Ring {
    /// The journal in which these entries lie, the newest last, the older ones of any kind. Without entries a new one is
    /// begun in the second bucket, as the kernel does.
    pub fn new(geometry: &Geometry, entries: &[Entry]) -> Ring {
        let mut newest = vec![0; geometry.journal_buckets as usize].into_boxed_slice();
        for entry in entries {
            let of_bucket = &mut newest[entry.index as usize];
            *of_bucket = entry.seq.max(*of_bucket);
        }
        let (at, used) = match entries.last() {
            Some(entry) => (entry.index as usize, entry.end()),
            None => (0, geometry.bucket_sectors),
        };
        Ring { newest, bucket_sectors: geometry.bucket_sectors, at, used }
    }

    fn behind(&self, at: usize) -> usize {
        (at + 1) % self.newest.len()
    }

    fn fits(&self, sectors: u64) -> bool {
        self.used + sectors <= self.bucket_sectors
    }

    /// An entry of so many sectors may only be written if it needs no entry older than this one.
    pub fn oldest_needed(&self, sectors: u64) -> u64 {
        match self.fits(sectors) {
            true => 0,
            false => self.newest[self.behind(self.behind(self.at))] + 1,
        }
    }

    /// Entries older than this should not be needed any more, so that no entry has to wait for what it lets go of: half of
    /// the journal is kept free.
    pub fn oldest_wanted(&self) -> u64 {
        let ahead = (self.newest.len() / 2).max(2).min(self.newest.len() - 1);
        (1..=ahead).map(|step| self.newest[(self.at + step) % self.newest.len()] + 1).max().unwrap_or(0)
    }

    /// Whether the bucket behind the one that is filled can be written over when entries older than `last_seq` are not
    /// needed.
    pub fn is_next_free(&self, last_seq: u64) -> bool {
        self.newest[self.behind(self.at)] < last_seq
    }

    /// The place of the next entry, numbered `seq`, of so many sectors, that needs nothing older than `last_seq`.
    pub fn place(&mut self, seq: u64, sectors: u64, last_seq: u64) -> Place {
        assert!(last_seq >= self.oldest_needed(sectors), "C5: the bucket behind the next entry's is free");
        if !self.fits(sectors) {
            (self.at, self.used) = (self.behind(self.at), 0);
            assert!(self.newest[self.at] < last_seq, "C5: no entry that is needed is written over");
        }
        let place = Place { index: self.at as u64, offset: self.used };
        self.used += sectors;
        self.newest[self.at] = seq;
        place
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn geometry(journal_buckets: u64) -> Geometry {
        Geometry {
            bucket_sectors: 16,
            block_sectors: 1,
            first_bucket: 2,
            buckets: 600,
            journal_buckets,
            set_magic: 0,
        }
    }

    #[test]
    fn a_new_journal_begins_in_its_second_bucket() {
        let mut ring = Ring::new(&geometry(2), &[]);
        assert_eq!(ring.place(1, 4, 1), Place { index: 1, offset: 0 });
        assert_eq!(ring.place(2, 4, 1), Place { index: 1, offset: 4 });
    }

    #[test]
    fn with_two_buckets_the_next_is_begun_when_nothing_is_needed_any_more() {
        let mut ring = Ring::new(&geometry(2), &[]);
        ring.place(1, 16, 1);
        assert_eq!(ring.oldest_needed(4), 2);
        ring.place(2, 4, 2);
    }

    proptest! {
        /// Whatever is written, and whatever is let go of in between: no entry that is needed is written over, and the
        /// bucket behind is free.
        #[test]
        fn what_is_needed_is_never_written_over(
            buckets in 2u64..6,
            steps in proptest::collection::vec((1u64..=16, 0u64..6), 1..200),
        ) {
            let mut ring = Ring::new(&geometry(buckets), &[]);
            let mut held: Vec<Vec<u64>> = vec![Vec::new(); buckets as usize];
            let mut last_seq = 1;
            for (seq, (sectors, kept)) in (1u64..).zip(steps) {
                last_seq = last_seq.max(ring.oldest_needed(sectors)).max(seq.saturating_sub(kept));
                let place = ring.place(seq, sectors, last_seq);
                let bucket = &mut held[place.index as usize];
                if place.offset == 0 {
                    prop_assert!(bucket.iter().all(|old| *old < last_seq));
                    bucket.clear();
                }
                bucket.push(seq);
                prop_assert!(place.offset + sectors <= 16);
                let behind = &held[(place.index as usize + 1) % buckets as usize];
                prop_assert!(behind.iter().all(|old| *old < last_seq));
                prop_assert!(ring.is_next_free(last_seq));
            }
        }
    }
}
