//! Lanes: what belongs to a part of the array alone, apart from what is array-wide.
//!
//! An array's sectors are dealt out to its lanes in bands. Everything that orders requests to the same place (range
//! locks, and what the levels keep for each stripe) lives in the lane of that place; health, superblocks and the sync
//! position are the array's. A lane never waits for another one, so that lanes can be given to cores of their own.

use block::{Range, Sectors};
use runtime::RangeLocks;
use runtime::rank::{Rank, Step};

use crate::limits::SLOTS;

/// One lane of an array. What a level keeps for each of its stripes is by lane too.
pub(crate) struct Lane {
    /// Locks on ranges of the space in which the array is synced: see [`crate::Array::sync_size`].
    pub ranges: RangeLocks,
}

/// All lanes of an array.
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// Sectors of a band, in the space in which the array is synced; a whole number of stripes.
    band: Sectors,
}

/// The least sectors of a band: what a resync looks at in one piece.
const LEAST_BAND: Sectors = Sectors::from_bytes(crate::limits::RESYNC_WINDOW as u64);

impl Lanes {
    /// `count` lanes of an array of this height; a band is a multiple of `unit`.
    pub fn new(count: usize, unit: Sectors, height: u8) -> Lanes {
        let lane = || Lane { ranges: RangeLocks::new(2 * SLOTS, Rank::new(height, Step::Ranges)) };
        let unit = unit.max(Sectors(1));
        let band = Sectors(LEAST_BAND.0.div_ceil(unit.0) * unit.0);
        Lanes { lanes: (0..count.max(1)).map(|_| lane()).collect(), band }
    }

    /// All of them, by their numbers.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Lane)> {
        self.lanes.iter().enumerate()
    }

    /// The lane of the sector `at`.
    pub fn of(&self, at: Sectors) -> &Lane {
        &self.lanes[self.number_of(at)]
    }

    /// The number of that lane.
    pub fn number_of(&self, at: Sectors) -> usize {
        (at.0 / self.band.0 % self.lanes.len() as u64) as usize
    }

    /// The part of `range` from its start on that belongs to one lane.
    pub fn first_part(&self, range: Range) -> Range {
        if self.lanes.len() == 1 {
            return range;
        }
        Range::new(range.start, range.count.min(self.band - Sectors(range.start.0 % self.band.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_never_crosses_into_another_lane() {
        let lanes = Lanes::new(2, Sectors(24), 1);
        assert_eq!(lanes.band, Sectors(1032));
        let mut left = Range::new(Sectors(1000), Sectors(5000));
        while !left.count.is_zero() {
            let part = lanes.first_part(left);
            let last = part.end() - Sectors(1);
            assert!(std::ptr::eq(lanes.of(part.start), lanes.of(last)));
            left = Range::new(part.end(), left.count - part.count);
        }
    }

    #[test]
    fn one_lane_splits_nothing() {
        let range = Range::new(Sectors(0), Sectors(1 << 30));
        assert_eq!(Lanes::new(1, Sectors(8), 1).first_part(range), range);
    }
}
