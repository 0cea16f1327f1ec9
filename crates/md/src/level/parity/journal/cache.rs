//! Blocks that the journal has, and no member yet: in memory, by row and slot. Pure but for the memory.
//!
//! Everything is taken at the start, and nothing is read from the journal as long as the process lives. A row is kept from
//! its first block until all its blocks are on the members; meanwhile it needs the unit of the journal that its first block
//! is in, and owns what the journal will have to take when it is written out (`account`).

use block::{Arena, Buf, Range, Sectors};
use md_format::journal::BLOCK_BYTES;

use super::BLOCK;
use super::account::Share;
use crate::limits::JOURNAL_GLANCE;

/// Blocks that are kept, by row.
pub(in crate::level::parity) struct Cache {
    /// Blocks of parity of a row.
    parities: u64,
    blocks: Vec<Block>,
    free_blocks: Vec<u32>,
    /// Blocks that are promised to writes under way.
    promised: usize,
    rows: Vec<Row>,
    free_rows: Vec<u32>,
    /// Where rows are in `rows`, by their hash; a row that finds its place taken goes to the next one that is free.
    index: Vec<Option<u32>>,
    oldest: Option<u32>,
    newest: Option<u32>,
}

struct Block {
    buf: Buf,
    slot: u16,
    next: Option<u32>,
}

struct Row {
    row: Sectors,
    /// The unit of the journal that has its first block.
    unit: u64,
    blocks: u64,
    owned: Share,
    first: Option<u32>,
    older: Option<u32>,
    newer: Option<u32>,
}

impl Cache {
    /// Room for so many bytes of blocks, of rows with so many blocks of parity.
    pub fn new(bytes: usize, parities: u32) -> Cache {
        let count = (bytes / BLOCK_BYTES).max(1);
        let arena = Arena::new(count * BLOCK_BYTES);
        let block = |_| Block {
            buf: arena.take(BLOCK_BYTES).expect("the arena was made for it"),
            slot: 0,
            next: None,
        };
        let row = |_| Row {
            row: Sectors::ZERO,
            unit: 0,
            blocks: 0,
            owned: Share::NONE,
            first: None,
            older: None,
            newer: None,
        };
        Cache {
            parities: parities.into(),
            blocks: (0..count).map(block).collect(),
            free_blocks: (0..count as u32).rev().collect(),
            promised: 0,
            rows: (0..count).map(row).collect(),
            free_rows: (0..count as u32).rev().collect(),
            index: vec![None; (2 * count).next_power_of_two()],
            oldest: None,
            newest: None,
        }
    }

    /// Blocks that are kept.
    pub fn used(&self) -> usize {
        self.blocks.len() - self.free_blocks.len()
    }

    /// Whether anything of a row is kept.
    pub fn has(&self, row: Sectors) -> bool {
        self.find(row).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.oldest.is_none()
    }

    /// Whether less than a quarter is free.
    pub fn is_short(&self) -> bool {
        (self.free_blocks.len() - self.promised) * 4 < self.blocks.len()
    }

    /// What a row with so many blocks owns of the journal.
    pub(super) fn share(&self, blocks: u64) -> Share {
        Share::row(blocks, self.parities)
    }

    /// Promises so many blocks, if there are any.
    pub fn promise(&mut self, blocks: usize) -> bool {
        let fits = self.promised + blocks <= self.free_blocks.len();
        self.promised += if fits { blocks } else { 0 };
        fits
    }

    /// What was promised and not used is not needed any more.
    pub fn renounce(&mut self, blocks: usize) {
        self.promised -= blocks;
    }

    /// Keeps a block; its memory was promised. Whether its row is new: then it needs this unit of the journal.
    pub fn put(&mut self, row: Sectors, slot: u16, content: &Buf, unit: u64) -> bool {
        let known = self.find(row);
        let at = known.unwrap_or_else(|| self.add_row(row, unit));
        if let Some(block) = self.block_of(at, slot) {
            self.blocks[block as usize].buf.copy_from(0, content);
            return false;
        }
        let free = self.free_blocks.pop().expect("it was promised");
        let block = &mut self.blocks[free as usize];
        block.buf.copy_from(0, content);
        (block.slot, block.next) = (slot, self.rows[at as usize].first);
        let own = &mut self.rows[at as usize];
        own.first = Some(free);
        own.blocks += 1;
        known.is_none()
    }

    /// The block of a slot in a row, if it is kept.
    pub fn block(&self, row: Sectors, slot: u16) -> Option<&Buf> {
        let block = self.block_of(self.find(row)?, slot)?;
        Some(&self.blocks[block as usize].buf)
    }

    /// All that is kept of a row.
    pub fn blocks(&self, row: Sectors) -> impl Iterator<Item = (u16, &Buf)> {
        let mut next = self.find(row).and_then(|at| self.rows[at as usize].first);
        std::iter::from_fn(move || {
            let block = &self.blocks[next? as usize];
            next = block.next;
            Some((block.slot, &block.buf))
        })
    }

    /// The first of `rows` of which anything is kept, and so many behind it as have no more than `most` blocks together.
    pub fn first_of(&self, rows: Range, most: u64) -> Option<Range> {
        if self.is_empty() {
            return None;
        }
        let mut found: Option<Range> = None;
        let mut blocks = 0;
        let mut row = rows.start;
        while row < rows.end() {
            if let Some(at) = self.find(row) {
                blocks += self.rows[at as usize].blocks;
                if found.is_some() && blocks > most {
                    break;
                }
                let start = found.map_or(row, |found| found.start);
                found = Some(Range::new(start, row + BLOCK - start));
            }
            row += BLOCK;
        }
        found
    }

    /// The rows beside a row, and it, that are kept one behind the other within `bounds`.
    pub fn around(&self, row: Sectors, bounds: Range) -> Range {
        let (mut start, mut end) = (row, row + BLOCK);
        while start > bounds.start && self.find(start - BLOCK).is_some() {
            start -= BLOCK;
        }
        while end < bounds.end() && self.find(end).is_some() {
            end += BLOCK;
        }
        Range::new(start, end - start)
    }

    /// The oldest rows, oldest first, each with the unit that it needs.
    pub fn oldest(&self) -> impl Iterator<Item = (Sectors, u64)> {
        let mut next = self.oldest;
        let rows = std::iter::from_fn(move || {
            let own = &self.rows[next? as usize];
            next = own.newer;
            Some((own.row, own.unit))
        });
        rows.take(JOURNAL_GLANCE)
    }

    /// A row owns what its blocks take of the journal from now on: how much more than before.
    pub(super) fn own(&mut self, row: Sectors) -> Share {
        let Some(at) = self.find(row) else { return Share::NONE };
        let share = self.share(self.rows[at as usize].blocks);
        share - std::mem::replace(&mut self.rows[at as usize].owned, share)
    }

    /// A row owns nothing of the journal any more: what it has owned.
    pub(super) fn disown(&mut self, row: Sectors) -> Share {
        let Some(at) = self.find(row) else { return Share::NONE };
        std::mem::take(&mut self.rows[at as usize].owned)
    }

    /// A row is on the members, and owns nothing any more; the unit that it needed.
    pub fn remove(&mut self, row: Sectors) -> Option<u64> {
        let at = self.find(row)?;
        self.forget(row);
        let own = &mut self.rows[at as usize];
        let (older, newer, mut next) = (own.older.take(), own.newer.take(), own.first.take());
        own.blocks = 0;
        let unit = own.unit;
        while let Some(block) = next {
            next = self.blocks[block as usize].next.take();
            self.free_blocks.push(block);
        }
        match older {
            Some(older) => self.rows[older as usize].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.rows[newer as usize].older = older,
            None => self.newest = older,
        }
        self.free_rows.push(at);
        Some(unit)
    }

    fn add_row(&mut self, row: Sectors, unit: u64) -> u32 {
        let at = self.free_rows.pop().expect("there are as many rows as blocks");
        let (owned, older) = (Share::NONE, self.newest);
        self.rows[at as usize] = Row { row, unit, blocks: 0, owned, first: None, older, newer: None };
        match self.newest.replace(at) {
            Some(newest) => self.rows[newest as usize].newer = Some(at),
            None => self.oldest = Some(at),
        }
        let free = self.places(row).find(|place| self.index[*place].is_none());
        self.index[free.expect("half of the index is free")] = Some(at);
        at
    }

    fn block_of(&self, at: u32, slot: u16) -> Option<u32> {
        let mut next = self.rows[at as usize].first;
        while let Some(block) = next {
            if self.blocks[block as usize].slot == slot {
                return Some(block);
            }
            next = self.blocks[block as usize].next;
        }
        None
    }

    /// The first place of a row in the index.
    fn home(&self, row: Sectors) -> usize {
        let spread = (row.0 / BLOCK.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (spread >> 32) as usize & (self.index.len() - 1)
    }

    /// The places of a row in the index, from its first on.
    fn places(&self, row: Sectors) -> impl Iterator<Item = usize> + use<> {
        let (home, mask) = (self.home(row), self.index.len() - 1);
        (0..=mask).map(move |step| (home + step) & mask)
    }

    fn find(&self, row: Sectors) -> Option<u32> {
        let taken = self.places(row).map_while(|place| self.index[place]);
        taken.into_iter().find(|at| self.rows[*at as usize].row == row)
    }

    /// Takes a row out of the index; those that had to give way to it move up.
    fn forget(&mut self, row: Sectors) {
        let mask = self.index.len() - 1;
        let is_it = |at: &Option<u32>| at.is_some_and(|at| self.rows[at as usize].row == row);
        let mut hole = self.places(row).find(|place| is_it(&self.index[*place])).expect("it is kept");
        let mut place = hole;
        loop {
            place = (place + 1) & mask;
            let Some(at) = self.index[place] else { break };
            let home = self.home(self.rows[at as usize].row);
            // Whether the hole lies between where it wants to be and where it is.
            if (place.wrapping_sub(home) & mask) >= (place.wrapping_sub(hole) & mask) {
                self.index[hole] = Some(at);
                hole = place;
            }
        }
        self.index[hole] = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn content(arena: &std::rc::Rc<Arena>, byte: u8) -> Buf {
        let buf = arena.take(BLOCK_BYTES).unwrap();
        buf.copy_from_slice(0, &[byte; BLOCK_BYTES]);
        buf
    }

    fn first_byte(buf: &Buf) -> u8 {
        let mut byte = [0];
        buf.copy_to_slice(0, &mut byte);
        byte[0]
    }

    #[test]
    fn what_a_row_owns_is_enough_for_its_parity_and_for_its_blocks() {
        let arena = Arena::new(BLOCK_BYTES);
        let mut cache = Cache::new(16 * BLOCK_BYTES, 2);
        assert!(cache.promise(4));
        let block = content(&arena, 1);
        assert!(cache.put(Sectors(8), 0, &block, 7));
        assert_eq!(cache.own(Sectors(8)), Share { blocks: 3, units: 1 });
        assert!(!cache.put(Sectors(8), 1, &block, 8) && !cache.put(Sectors(8), 2, &block, 8));
        assert_eq!(cache.own(Sectors(8)), Share { blocks: 1, units: 0 });
        assert!(!cache.put(Sectors(8), 2, &block, 9), "the same block");
        assert_eq!((cache.own(Sectors(8)), cache.used()), (Share::NONE, 3));
        assert_eq!(cache.disown(Sectors(8)), Share { blocks: 4, units: 1 });
        assert_eq!((cache.disown(Sectors(8)), cache.remove(Sectors(8))), (Share::NONE, Some(7)));
        assert!(cache.is_empty());
    }

    #[test]
    fn rows_are_listed_by_neighbours_and_by_age() {
        let arena = Arena::new(BLOCK_BYTES);
        let block = content(&arena, 1);
        let mut cache = Cache::new(16 * BLOCK_BYTES, 1);
        cache.promise(8);
        for (age, row) in [40, 8, 24, 16].into_iter().enumerate() {
            cache.put(Sectors(row), 0, &block, age as u64);
        }
        let range = |from: u64, to: u64| Range::new(Sectors(from), Sectors(to - from));
        assert_eq!(cache.oldest().map(|(row, _)| row.0).collect::<Vec<_>>(), [40, 8, 24, 16]);
        assert_eq!(cache.around(Sectors(16), range(0, 64)), range(8, 32));
        assert_eq!(cache.around(Sectors(16), range(16, 32)), range(16, 32));
        assert_eq!(cache.first_of(range(0, 64), 8), Some(range(8, 48)));
        assert_eq!(cache.first_of(range(0, 64), 2), Some(range(8, 24)));
        assert_eq!(cache.first_of(range(48, 64), 2), None);
    }

    proptest! {
        /// Whatever comes and goes, it is found, and its memory is free afterwards.
        #[test]
        fn everything_kept_is_found(steps in prop::collection::vec((0u8..3, 0u64..40, 0u16..3, any::<u8>()), 1..300)) {
            let arena = Arena::new(BLOCK_BYTES);
            let mut cache = Cache::new(32 * BLOCK_BYTES, 1);
            let mut model: BTreeMap<(u64, u16), u8> = BTreeMap::new();
            for (what, row, slot, byte) in steps {
                let row = row * 1_000_008;
                if what < 2 && cache.promise(1) {
                    let before = cache.used();
                    let is_new = !model.keys().any(|(known, _)| *known == row);
                    prop_assert_eq!(cache.put(Sectors(row), slot, &content(&arena, byte), 1), is_new);
                    cache.renounce(1);
                    model.insert((row, slot), byte);
                    prop_assert!(cache.used() <= before + 1);
                } else if what == 2 {
                    let is_known = model.keys().any(|(known, _)| *known == row);
                    prop_assert_eq!(cache.remove(Sectors(row)).is_some(), is_known);
                    model.retain(|(known, _), _| *known != row);
                }
                prop_assert_eq!(cache.used(), model.len());
                for ((row, slot), byte) in &model {
                    prop_assert_eq!(cache.block(Sectors(*row), *slot).map(first_byte), Some(*byte));
                }
            }
        }
    }
}
