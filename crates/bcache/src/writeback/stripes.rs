//! How much of each stripe of a backing device is dirty, and which stripes are wholly so.
//!
//! Writing part of a stripe of a raid5 or raid6 reads the rest of it first, or the old data and its parity; writing a whole
//! one reads nothing. So stripes that are dirty as a whole are written back first, and a write to one that is dirty already
//! stays in the cache. Follows `bcache_dev_sectors_dirty_add`, `bcache_dev_stripe_dirty` and `refill_full_stripes` of Linux
//! 6.12, but for two mistakes of the kernel: it finds the place in a stripe by masking, which is right only for stripes of
//! 2^n sectors (an array of 3 or 5 data disks has none), and it forgets the last stripe of a request that begins within
//! one.
//!
//! Stripes are counted from the first sector of the backing device, as keys count: in front of its superblock, too. They
//! are joined in pairs, fours and so on where there would be more than [`MOST_STRIPES`], so that memory is bounded; joined
//! ones are whole when all of them are.

use block::Geometry;

use crate::limits::MOST_STRIPES;

/// A stripe shorter than this is counted in multiples: the kernel's `BCH_MIN_STRIPE_SZ`, 4 MiB.
const LEAST_SECTORS: u64 = 8192;

/// A device that names no stripe is counted in pieces of that many sectors: the kernel's, 1 TiB.
const WITHOUT_SECTORS: u64 = 1 << 31;

/// Dirty sectors of each stripe of one volume.
pub struct Stripes {
    /// Dirty sectors of each.
    dirty: Box<[u32]>,
    /// One bit for each that is dirty as a whole.
    whole: Box<[u64]>,
    stripe_sectors: u64,
    device_sectors: u64,
    are_partial_ones_expensive: bool,
    /// Of all.
    sectors: u64,
}

impl Stripes {
    /// Stripes of a backing device of which nothing is dirty. Memory for all is taken here: 4 bytes and a bit for each.
    pub fn of(device: &Geometry) -> Stripes {
        let optimal_sectors = u64::from(device.optimal_io) / 512;
        let device_sectors = device.size.0;
        let mut stripe_sectors = match optimal_sectors {
            0 => WITHOUT_SECTORS,
            short if short < LEAST_SECTORS => LEAST_SECTORS.next_multiple_of(short),
            long => long,
        };
        while device_sectors.div_ceil(stripe_sectors) > MOST_STRIPES {
            stripe_sectors *= 2;
        }
        let count = device_sectors.div_ceil(stripe_sectors) as usize;
        Stripes {
            dirty: vec![0; count].into(),
            whole: vec![0; count.div_ceil(64)].into(),
            stripe_sectors,
            device_sectors,
            are_partial_ones_expensive: optimal_sectors > 0,
            sectors: 0,
        }
    }

    /// Sectors of what is counted as one stripe.
    pub fn stripe_sectors(&self) -> u64 {
        self.stripe_sectors
    }

    /// Whether writing part of a stripe is expensive: the device names one, as parity levels do.
    pub fn are_partial_ones_expensive(&self) -> bool {
        self.are_partial_ones_expensive
    }

    /// Dirty sectors of all stripes.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Sectors have become dirty.
    pub fn add(&mut self, start: u64, sectors: u64) {
        self.change(start, sectors, |dirty, more, most| {
            assert!(more <= most - dirty, "a sector becomes dirty once");
            dirty + more
        });
        self.sectors += sectors;
    }

    /// Sectors have become clean, or are not cached any more.
    pub fn remove(&mut self, start: u64, sectors: u64) {
        self.change(start, sectors, |dirty, less, _| {
            dirty.checked_sub(less).expect("what becomes clean was dirty")
        });
        self.sectors -= sectors;
    }

    /// Whether a write there belongs into the cache because a stripe of it has dirty data already, and it is better
    /// written back whole.
    pub fn attracts(&self, start: u64, sectors: u64) -> bool {
        self.are_partial_ones_expensive
            && self.of_range(start, sectors).any(|(stripe, _)| self.dirty[stripe] > 0)
    }

    /// The first run of stripes that are dirty as a whole in the sectors from `from` on: first sector, and the one behind
    /// the last. `None` where there are none, or writing back in order is as good.
    pub fn next_whole(&self, from: u64) -> Option<(u64, u64)> {
        if !self.are_partial_ones_expensive {
            return None;
        }
        let at = usize::try_from(from / self.stripe_sectors).unwrap_or(usize::MAX);
        let first = self.first_from(at, true)?;
        let behind = self.first_from(first, false).unwrap_or(self.dirty.len());
        let (start, end) = (self.start(first).max(from), self.start(behind).min(self.device_sectors));
        (start < end).then_some((start, end))
    }

    /// The first stripe from `at` on that is dirty as a whole, or is not.
    fn first_from(&self, at: usize, is_whole: bool) -> Option<usize> {
        let mut mask = u64::MAX << (at % 64);
        for word in at / 64..self.whole.len() {
            let bits = if is_whole { self.whole[word] } else { !self.whole[word] } & mask;
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize)
                    .filter(|&found| found < self.dirty.len());
            }
            mask = u64::MAX;
        }
        None
    }

    fn change(&mut self, start: u64, sectors: u64, to: impl Fn(u32, u32, u32) -> u32) {
        for (stripe, part) in self.of_range(start, sectors) {
            let most = self.length(stripe);
            let dirty = to(self.dirty[stripe], part, most);
            self.dirty[stripe] = dirty;
            let bit = 1 << (stripe % 64);
            if dirty == most {
                self.whole[stripe / 64] |= bit;
            } else {
                self.whole[stripe / 64] &= !bit;
            }
        }
    }

    /// The stripes of a range, and how many of their sectors belong to it.
    fn of_range(&self, start: u64, sectors: u64) -> impl Iterator<Item = (usize, u32)> + use<> {
        let stripe_sectors = self.stripe_sectors;
        let end = start.checked_add(sectors).filter(|&end| end <= self.device_sectors);
        let end = end.expect("a key of a volume lies within its device");
        let mut at = start;
        std::iter::from_fn(move || {
            let stripe = at / stripe_sectors;
            let part = end.min((stripe + 1) * stripe_sectors) - at;
            at += part;
            (part > 0).then_some((stripe as usize, part as u32))
        })
    }

    fn start(&self, stripe: usize) -> u64 {
        stripe as u64 * self.stripe_sectors
    }

    /// Sectors of a stripe: the last one ends with the device.
    fn length(&self, stripe: usize) -> u32 {
        (self.device_sectors - self.start(stripe)).min(self.stripe_sectors) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::Sectors;
    use proptest::prelude::*;

    fn stripes(device_sectors: u64, optimal_io: u32) -> Stripes {
        Stripes::of(&Geometry { optimal_io, ..Geometry::plain(Sectors(device_sectors)) })
    }

    #[test]
    fn short_stripes_are_counted_in_multiples_of_at_least_4_mib() {
        for (optimal_io, expected) in [
            (64 << 10, 8192),   // 2^n sectors: 4 MiB
            (320 << 10, 8320),  // five data disks of 64 KiB: 13 stripes of 640 sectors
            (1536 << 10, 9216), // three of 512 KiB
            (8 << 20, 16384),   // long enough
            (0, 1 << 31),       // none named
        ] {
            let stripes = stripes(1 << 33, optimal_io);
            assert_eq!(stripes.stripe_sectors(), expected, "{optimal_io}");
            assert_eq!(stripes.are_partial_ones_expensive(), optimal_io > 0);
        }
    }

    #[test]
    fn stripes_of_a_large_device_are_joined_so_that_memory_is_bounded() {
        let large = stripes(1 << 46, 1536 << 10);
        assert!(large.dirty.len() as u64 <= MOST_STRIPES && large.dirty.len() as u64 > MOST_STRIPES / 2);
        assert!(large.stripe_sectors().is_multiple_of(9216));
    }

    #[test]
    fn a_stripe_of_an_array_with_three_data_disks_is_whole_when_all_of_it_is_dirty() {
        let mut stripes = stripes(9216 * 10 + 16, 1536 << 10);
        stripes.add(9216 * 3, 9216 - 8);
        assert_eq!(stripes.next_whole(0), None);
        stripes.add(9216 * 4 - 8, 8 + 9216);
        assert_eq!(stripes.next_whole(0), Some((9216 * 3, 9216 * 5)));
        assert_eq!(stripes.next_whole(9216 * 4 + 100), Some((9216 * 4 + 100, 9216 * 5)));
        assert_eq!(stripes.next_whole(9216 * 5), None);
        stripes.remove(9216 * 4, 8);
        assert_eq!(stripes.next_whole(0), Some((9216 * 3, 9216 * 4)));
        assert_eq!(stripes.sectors(), 2 * 9216 - 8);
        stripes.add(9216 * 10, 16);
        assert_eq!(stripes.next_whole(9216 * 5), Some((9216 * 10, 9216 * 10 + 16)), "the rest of the device");
        assert_eq!(stripes.next_whole(u64::MAX), None);
    }

    #[test]
    fn a_write_is_attracted_by_the_last_stripe_that_it_touches() {
        let mut stripes = stripes(9216 * 10, 1536 << 10);
        stripes.add(9216 * 2, 8);
        assert!(stripes.attracts(9216 * 2 - 8, 16));
        assert!(!stripes.attracts(9216 * 2 - 16, 16));
        assert!(!stripes.attracts(9216 * 3, 8));
    }

    #[test]
    fn nothing_is_attracted_or_put_first_where_no_stripe_is_named() {
        let mut stripes = stripes(8192, 0);
        stripes.add(0, 8192);
        assert!(!stripes.attracts(0, 8192));
        assert_eq!(stripes.next_whole(0), None);
        assert_eq!(stripes.sectors(), 8192);
    }

    #[test]
    #[should_panic(expected = "was dirty")]
    fn what_was_not_dirty_does_not_become_clean() {
        stripes(8192 * 4, 4096).remove(0, 8);
    }

    proptest! {
        /// Against one flag for each block of the device.
        #[test]
        fn it_is_one_flag_for_each_sector(
            changes in prop::collection::vec((0..1000u64, 1..200u64, any::<bool>()), 1..200),
            optimal_io in prop::sample::select(vec![4096u32, 1536 << 10, 5 << 20]),
        ) {
            const BLOCK: u64 = 128;
            let device = 1000 * BLOCK;
            let (mut stripes, mut flags) = (stripes(device, optimal_io), vec![false; 1000]);
            for (start, count, becomes_dirty) in changes {
                for block in start..(start + count).min(1000) {
                    if flags[block as usize] != becomes_dirty {
                        flags[block as usize] = becomes_dirty;
                        match becomes_dirty {
                            true => stripes.add(block * BLOCK, BLOCK),
                            false => stripes.remove(block * BLOCK, BLOCK),
                        }
                    }
                }
            }
            prop_assert_eq!(stripes.sectors(), flags.iter().filter(|&&dirty| dirty).count() as u64 * BLOCK);
            let of = |stripe: u64| {
                let (from, to) = (stripe * stripes.stripe_sectors, (stripe + 1) * stripes.stripe_sectors);
                &flags[(from / BLOCK) as usize..(to / BLOCK).min(1000) as usize]
            };
            let mut from = 0;
            for stripe in 0..device.div_ceil(stripes.stripe_sectors) {
                let is_whole = of(stripe).iter().all(|&dirty| dirty);
                let start = stripe * stripes.stripe_sectors;
                let found = stripes.next_whole(start).is_some_and(|(first, _)| first == start);
                prop_assert_eq!(found, is_whole, "stripe {}", stripe);
                prop_assert_eq!(stripes.attracts(start, 8), of(stripe).iter().any(|&dirty| dirty));
                if let Some((first, behind)) = stripes.next_whole(from) {
                    prop_assert!(first < behind && behind <= device);
                    from = behind;
                }
            }
        }
    }
}
