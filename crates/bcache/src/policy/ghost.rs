//! What was missed lately and not kept: the second miss is kept. Off unless asked for; the kernel has nothing like it.
//!
//! Most of what is read once is never read again, and writing it to the cache wears that out and drives something better
//! from it. So a full cache, with `ghost_admission` on, remembers of a first miss only that it was one. Measured on a
//! trace of 2015 from a virtual machine and on a synthetic one this saves a third to four fifths of the writes to the
//! cache, for a point or two of hits in small caches and none in larger ones (LARC, MSST 2013, says the same).
//!
//! It speaks of reads that missed, alone: whether a write is cached is a matter of the mode.

use bcache_format::Position;

/// Memories that share a place: the oldest of them makes room.
const WAYS: usize = 4;

/// What was missed, by places of so many sectors.
pub struct Ghost {
    /// Sets of [`WAYS`] fingerprints, the newest first; 0 is none.
    sets: Box<[[u32; WAYS]]>,
    place_sectors: u64,
}

impl Ghost {
    /// One that remembers about so many places of that many sectors: four bytes for each, taken here.
    pub fn new(places: usize, place_sectors: u64) -> Ghost {
        let sets = (places / WAYS).next_power_of_two();
        Ghost { sets: vec![[0; WAYS]; sets].into(), place_sectors: place_sectors.max(1) }
    }

    /// Whether sectors that were missed are worth keeping: some of them were missed before. What was not is remembered.
    pub fn admits(&mut self, position: Position, sectors: u64) -> bool {
        let first = position.offset / self.place_sectors;
        let last = position.offset.saturating_add(sectors.saturating_sub(1)) / self.place_sectors;
        // Each place is looked at, whatever the others say: what is remembered must not depend on their order.
        (first..=last).fold(false, |seen, place| self.was_missed(position.inode, place) | seen)
    }

    /// Whether the place was missed before. It is forgotten then, because it is in the cache from now on; otherwise it is
    /// remembered.
    fn was_missed(&mut self, inode: u32, place: u64) -> bool {
        let hash = mix(place ^ u64::from(inode) << 44);
        let set = &mut self.sets[hash as usize & (self.sets.len() - 1)];
        let print = (hash >> 32) as u32 | 1;
        match set.iter().position(|&other| other == print) {
            Some(at) => {
                set.copy_within(at + 1.., at);
                set[WAYS - 1] = 0;
                true
            }
            None => {
                set.copy_within(..WAYS - 1, 1);
                set[0] = print;
                false
            }
        }
    }
}

/// Every bit of the result depends on every bit of the number (the finalizer of MurmurHash3, which is in the public domain).
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ number >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ number >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sector: u64) -> Position {
        Position::new(3, sector)
    }

    #[test]
    fn the_second_miss_is_kept_and_the_third_begins_anew() {
        let mut ghost = Ghost::new(1024, 128);
        assert!(!ghost.admits(at(1000), 8));
        assert!(ghost.admits(at(1016), 8), "in the same place");
        assert!(!ghost.admits(at(1000), 8), "it left the cache since");
        assert!(!ghost.admits(Position::new(4, 1000), 8), "another volume");
    }

    #[test]
    fn a_long_miss_is_kept_where_one_of_its_places_was_missed() {
        let mut ghost = Ghost::new(1024, 128);
        assert!(!ghost.admits(at(512), 8));
        assert!(ghost.admits(at(0), 1024));
        assert!(ghost.admits(at(896), 128), "the others were remembered");
        assert!(!ghost.admits(at(1024), 128));
    }

    #[test]
    fn what_is_missed_once_is_not_kept_and_what_comes_back_in_time_is() {
        let mut ghost = Ghost::new(4096, 8);
        let wrong = (0..100_000u64).filter(|n| ghost.admits(at(n * 8), 8)).count();
        assert!(wrong < 10, "{wrong} of 100000 were taken for others");
        let mut ghost = Ghost::new(4096, 8);
        (0..1024u64).for_each(|n| assert!(!ghost.admits(at(n * 8), 8)));
        let kept = (0..1024u64).filter(|n| ghost.admits(at(n * 8), 8)).count();
        assert!(kept > 1000, "{kept} of 1024 a quarter of the memory later");
        let mut ghost = Ghost::new(4096, 8);
        (0..65_536u64).for_each(|n| _ = ghost.admits(at(n * 8), 8));
        let kept = (0..1024u64).filter(|n| ghost.admits(at(n * 8), 8)).count();
        assert!(kept < 10, "{kept} of 1024 are remembered 16 memories later");
    }
}
