//! Who owns what of the ring. Pure.
//!
//! At every moment the ring has room for the open unit and for all that is promised, in the worst order: each promise in
//! units of its own, and the tail moved for none of them. Whoever asks for more is told whether that stays so; whoever was
//! promised something takes no more than that, and so never waits for the tail (P2).

use std::ops::{Add, AddAssign, Sub, SubAssign};

use md_format::journal::BLOCK_SECTORS;

use super::ring::Ring;

/// A part of the ring: so many blocks, meta blocks among them, in at most so many units.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Share {
    pub blocks: u64,
    pub units: usize,
}

impl Share {
    pub const NONE: Share = Share { blocks: 0, units: 0 };

    /// A unit of so many blocks behind its meta block.
    pub const fn unit(blocks: u64) -> Share {
        Share { blocks: 1 + blocks, units: 1 }
    }

    /// What a row owns of which so many blocks are in the journal alone: a unit for its parity. Whoever opens the array after
    /// a crash has to write those blocks once more: a unit for them instead.
    pub fn row(blocks: u64, parities: u64) -> Share {
        Share::unit(blocks.max(parities))
    }

    /// So many times as much.
    pub fn times(self, count: u64) -> Share {
        Share { blocks: self.blocks * count, units: self.units * count as usize }
    }

    pub fn sectors(self) -> u64 {
        self.blocks * BLOCK_SECTORS
    }
}

impl Add for Share {
    type Output = Share;

    fn add(self, other: Share) -> Share {
        Share { blocks: self.blocks + other.blocks, units: self.units + other.units }
    }
}

impl AddAssign for Share {
    fn add_assign(&mut self, other: Share) {
        *self = *self + other;
    }
}

impl Sub for Share {
    type Output = Share;

    fn sub(self, other: Share) -> Share {
        Share { blocks: self.blocks - other.blocks, units: self.units - other.units }
    }
}

impl SubAssign for Share {
    fn sub_assign(&mut self, other: Share) {
        *self = *self - other;
    }
}

/// What the ring is still to take: a journal's debts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Account {
    /// The open unit; nothing as long as nobody has put anything into it.
    open: Share,
    /// What is promised, to those who are about to cache something and to rows that are cached.
    promised: Share,
}

impl Account {
    /// Whether the ring has room for so much more.
    pub fn fits(&self, ring: &Ring, more: Share) -> bool {
        let all = self.open + self.promised + more;
        ring.has_room_for(all.sectors(), all.units)
    }

    /// What is promised.
    pub fn promised(&self) -> Share {
        self.promised
    }

    /// What so many more blocks take that go into the open unit.
    pub fn joining(&self, blocks: u64) -> Share {
        match self.open == Share::NONE {
            true => Share::unit(blocks),
            false => Share { blocks, units: 0 },
        }
    }

    /// Promises a share that fits.
    pub fn promise(&mut self, share: Share) {
        self.promised += share;
    }

    /// What was promised is not needed any more, or is put into the open unit now.
    pub fn give_back(&mut self, share: Share) {
        self.promised -= share;
    }

    /// So many blocks go into the open unit: they fit, or what was promised for them has just been given back.
    pub fn put(&mut self, ring: &Ring, blocks: u64) {
        self.open += self.joining(blocks);
        assert!(self.fits(ring, Share::NONE), "what is promised has room in the ring");
    }

    /// The open unit gets its place in the ring: what it takes there. The next one is empty.
    pub fn close(&mut self) -> Share {
        std::mem::take(&mut self.open)
    }
}

#[cfg(test)]
mod tests;
