//! The ring of a journal: which units lie between its tail and its head, who still needs them, and how far the tail may
//! move. Pure.
//!
//! A unit is a meta block and the blocks that it names. The tail, which the superblock says, is always a unit that is
//! durable, for a journal whose first block is none is taken for empty: so the newest durable unit is never given up.

use std::collections::VecDeque;

use md_format::journal::{BLOCK_SECTORS, ring_add};

use crate::limits::JOURNAL_UNITS;

/// What lies in a journal.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    size: u64,
    /// Where the next unit goes, and its number in the journal.
    head: u64,
    seq: u64,
    /// Which of all units the first of `units` is.
    first: u64,
    /// Units below this one are durable.
    durable: u64,
    used: u64,
    /// Sectors that stay free: a block, as in the kernel, but for what a new life begins with.
    reserve: u64,
    units: VecDeque<Unit>,
    /// How many there may be.
    most: usize,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    start: u64,
    sectors: u64,
    holders: u32,
}

/// Where a unit goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Placed {
    /// Which of all units it is.
    pub number: u64,
    /// Its first sector.
    pub start: u64,
    /// Its number in the journal.
    pub seq: u64,
}

/// How far the tail may move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reclaim {
    /// The first unit that stays.
    pub number: u64,
    /// Where it is: the new tail.
    pub tail: u64,
    /// Sectors that become free.
    pub sectors: u64,
}

impl Ring {
    /// A ring of so many sectors with nothing in it, whose next unit goes to `head`.
    pub fn new(size: u64, head: u64, seq: u64) -> Ring {
        let units = VecDeque::with_capacity(JOURNAL_UNITS);
        let most = JOURNAL_UNITS;
        Ring { size, head, seq, first: 0, durable: 0, used: 0, reserve: BLOCK_SECTORS, units, most }
    }

    /// The same with what an earlier life left from `tail` to the head, held as if it were one unit.
    pub fn behind(size: u64, tail: u64, head: u64, seq: u64) -> Ring {
        let mut ring = Ring::new(size, head, seq);
        let sectors = if head > tail { head - tail } else { size - tail + head };
        ring.units.push_back(Unit { start: tail, sectors, holders: 1 });
        (ring.used, ring.durable, ring.reserve) = (sectors, 1, 0);
        ring
    }

    /// Sectors in use.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Where a unit begins.
    pub fn start_of(&self, number: u64) -> u64 {
        self.units[(number - self.first) as usize].start
    }

    /// Which of all units the next one is.
    pub fn next(&self) -> u64 {
        self.first + self.units.len() as u64
    }

    /// Whether so many units fit, of so many sectors together.
    pub fn has_room_for(&self, sectors: u64, units: usize) -> bool {
        self.used + sectors + self.reserve <= self.size && self.units.len() + units <= self.most
    }

    /// Gives a unit that fits its place.
    pub fn place(&mut self, sectors: u64, holders: u32) -> Placed {
        assert!(self.used + sectors <= self.size, "a unit is placed where something else lies");
        let placed = Placed { number: self.next(), start: self.head, seq: self.seq };
        self.units.push_back(Unit { start: self.head, sectors, holders });
        self.used += sectors;
        self.head = ring_add(self.head, sectors, self.size).expect("it fits");
        self.seq = self.seq.wrapping_add(1);
        placed
    }

    /// A unit is durable; all before it are.
    pub fn set_durable(&mut self, number: u64) {
        self.durable = self.durable.max(number + 1);
    }

    /// Whether a unit is.
    pub fn is_durable(&self, number: u64) -> bool {
        number < self.durable
    }

    /// One more needs a unit that somebody holds.
    pub fn hold(&mut self, number: u64) {
        self.units[(number - self.first) as usize].holders += 1;
    }

    /// Somebody who needs a unit does not any more.
    pub fn release(&mut self, number: u64) {
        let unit = &mut self.units[(number - self.first) as usize];
        unit.holders -= 1;
    }

    /// How far the tail may move, if it may at all.
    pub fn reclaimable(&self) -> Option<Reclaim> {
        let newest = self.durable.checked_sub(self.first + 1)? as usize;
        let stays = self.units.iter().take(newest).position(|unit| unit.holders > 0).unwrap_or(newest);
        let sectors = self.units.iter().take(stays).map(|unit| unit.sectors).sum();
        let tail = self.units[stays].start;
        (stays > 0).then_some(Reclaim { number: self.first + stays as u64, tail, sectors })
    }

    /// The superblock says so, durably: what lies before is free.
    pub fn reclaim(&mut self, reclaim: Reclaim) {
        self.reserve = BLOCK_SECTORS;
        while self.first < reclaim.number {
            let unit = self.units.pop_front().expect("it was there when this was decided");
            debug_assert_eq!(unit.holders, 0, "a unit that somebody needs is given up");
            self.used -= unit.sectors;
            self.first += 1;
        }
    }
}

#[cfg(test)]
impl Ring {
    /// An empty ring of so many sectors and units.
    pub fn of_units(size: u64, most: usize) -> Ring {
        Ring { most, ..Ring::new(size, 0, 0) }
    }

    /// Sectors and holders of its units.
    pub fn shape(&self) -> Vec<(u64, u32)> {
        self.units.iter().map(|unit| (unit.sectors, unit.holders)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_tail_moves_to_the_first_unit_that_is_held_and_never_past_the_newest_durable_one() {
        let mut ring = Ring::new(800, 792, 7);
        let one = ring.place(16, 1);
        assert_eq!((one.start, one.seq), (792, 7));
        assert_eq!(ring.reclaimable(), None, "nothing is durable");
        let two = ring.place(24, 2);
        assert_eq!((two.start, two.seq), (8, 8));
        let three = ring.place(8, 0);
        ring.set_durable(three.number);
        assert_eq!(ring.reclaimable(), None, "the first is held");
        ring.release(one.number);
        assert_eq!(ring.reclaimable(), Some(Reclaim { number: two.number, tail: 8, sectors: 16 }));
        ring.release(two.number);
        assert_eq!(
            ring.reclaimable().map(|reclaim| reclaim.number),
            Some(two.number),
            "one of two holds it still"
        );
        ring.release(two.number);
        let all = ring.reclaimable().unwrap();
        assert_eq!(all, Reclaim { number: three.number, tail: 32, sectors: 40 });
        ring.reclaim(all);
        assert_eq!(ring.reclaimable(), None, "the newest durable unit is where a reader begins");
        assert!(ring.has_room_for(784, 1) && !ring.has_room_for(792, 1));
    }

    #[test]
    fn what_an_earlier_life_left_is_kept_until_it_is_let_go_of() {
        let mut ring = Ring::behind(800, 400, 80, 10_007);
        assert!(ring.has_room_for(320, 1) && !ring.has_room_for(328, 1));
        let empty = ring.place(8, 0);
        ring.set_durable(empty.number);
        assert_eq!(ring.reclaimable(), None);
        ring.release(0);
        assert_eq!(ring.reclaimable().map(|reclaim| (reclaim.tail, reclaim.sectors)), Some((80, 480)));
    }

    #[test]
    fn a_ring_that_is_full_has_room_for_nothing() {
        let ring = Ring::behind(800, 400, 400, 1);
        assert!(!ring.has_room_for(8, 1), "whoever begins anew there is told, and does not wait");
    }

    proptest! {
        /// Whatever is placed, made durable, let go of and reclaimed: units never overlap what is kept, and the tail is
        /// always a durable unit that nobody held is before.
        #[test]
        fn nothing_that_is_needed_is_ever_written_over(steps in prop::collection::vec((0u8..4, 1u64..9, 0u32..3), 1..200)) {
            let size = 256;
            let mut ring = Ring::new(size, 0, 1);
            let mut kept: VecDeque<(Placed, u64, u32)> = VecDeque::new(); // place, sectors, holders
            let mut durable = 0;
            for (what, blocks, holders) in steps {
                match what {
                    0 if ring.has_room_for(8 * blocks, 1) => {
                        let placed = ring.place(8 * blocks, holders);
                        for (other, sectors, _) in &kept {
                            let apart = |from: u64, to: u64| (to + size - from) % size;
                            prop_assert!(apart(other.start, placed.start) >= *sectors || kept.is_empty());
                            prop_assert!(apart(placed.start, other.start) >= 8 * blocks);
                        }
                        kept.push_back((placed, 8 * blocks, holders));
                    }
                    1 if durable < ring.next() => {
                        ring.set_durable(durable);
                        durable += 1;
                    }
                    2 => {
                        let held = kept.iter_mut().filter(|(_, _, holders)| *holders > 0);
                        if let Some((placed, _, holders)) = held.last() {
                            ring.release(placed.number);
                            *holders -= 1;
                        }
                    }
                    _ => if let Some(reclaim) = ring.reclaimable() {
                        prop_assert!(ring.is_durable(reclaim.number));
                        while kept[0].0.number < reclaim.number {
                            let (_, _, holders) = kept.pop_front().unwrap();
                            prop_assert_eq!(holders, 0);
                        }
                        prop_assert_eq!(kept[0].0.start, reclaim.tail);
                        ring.reclaim(reclaim);
                    }
                }
            }
        }
    }
}
