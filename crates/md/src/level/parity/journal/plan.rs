//! What a journal's payloads, one after the other, mean for the members. Pure.
//!
//! Follows Linux 6.12's raid5-cache.c. Blocks of a row gather until its parity comes: then data and parity are whole, and
//! go to the members. Data that comes behind its row's parity begins a new turn of the row, and what was whole goes out
//! first. A flush says that a row is on the members already. What is left in the end without parity was never begun on
//! the members: it is written as any write is.

use std::collections::BTreeMap;

/// A block of the journal: its position in the ring.
pub(super) type Position = u64;

/// Blocks of one row (4 KiB of every member), by slot, that go to the members as they are.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Whole {
    /// The row, in sectors from the members' data offsets.
    pub row: u64,
    /// Which slot gets which block.
    pub blocks: BTreeMap<u16, Position>,
}

/// A block of data that is in the journal alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DataOnly {
    /// Its row.
    pub row: u64,
    /// Its slot.
    pub slot: u16,
    /// Where it is.
    pub at: Position,
}

/// Rows that are in the journal.
#[derive(Default, Debug)]
pub(super) struct Rows(BTreeMap<u64, Row>);

#[derive(Default, Debug)]
struct Row {
    data: BTreeMap<u16, Position>,
    parity: BTreeMap<u16, Position>,
    /// Data has come since the parity.
    is_open: bool,
}

impl Row {
    /// What goes to the members; a row of parity alone was there before.
    fn whole(self, row: u64) -> Option<Whole> {
        let Row { data, parity, .. } = self;
        (!data.is_empty()).then(|| Whole { row, blocks: data.into_iter().chain(parity).collect() })
    }
}

impl Rows {
    /// A block of data. What has to go to the members before it.
    pub fn data(&mut self, row: u64, slot: u16, at: Position) -> Option<Whole> {
        let own = self.0.entry(row).or_default();
        let before = (!own.is_open && !own.parity.is_empty()).then(|| std::mem::take(own));
        own.data.insert(slot, at);
        own.is_open = true;
        before.and_then(|before| before.whole(row))
    }

    /// The parity of a row, by slot.
    pub fn parity(&mut self, row: u64, blocks: impl IntoIterator<Item = (u16, Position)>) {
        let own = self.0.entry(row).or_default();
        own.parity.extend(blocks);
        own.is_open = false;
    }

    /// The row is on the members.
    pub fn flush(&mut self, row: u64) {
        self.0.remove(&row);
    }

    /// The journal is read to its end: rows that are whole, and data that is in the journal alone.
    pub fn finish(self) -> (Vec<Whole>, Vec<DataOnly>) {
        let (mut whole, mut open) = (Vec::new(), Vec::new());
        for (number, row) in self.0 {
            match row.is_open {
                true => open.extend(row.data.iter().map(|(slot, at)| DataOnly {
                    row: number,
                    slot: *slot,
                    at: *at,
                })),
                false => whole.extend(row.whole(number)),
            }
        }
        (whole, open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole<const N: usize>(row: u64, blocks: [(u16, Position); N]) -> Whole {
        Whole { row, blocks: blocks.into_iter().collect() }
    }

    #[test]
    fn a_row_goes_out_when_its_parity_has_come() {
        let mut rows = Rows::default();
        assert_eq!(rows.data(8, 0, 100), None);
        assert_eq!(rows.data(8, 1, 108), None);
        rows.parity(8, [(2, 116)]);
        rows.parity(16, [(2, 124)]);
        let (out, open) = rows.finish();
        assert_eq!((out, open), (vec![whole(8, [(0, 100), (1, 108), (2, 116)])], vec![]));
    }

    #[test]
    fn data_behind_its_parity_begins_anew_and_sends_out_what_was_whole() {
        let mut rows = Rows::default();
        rows.data(8, 0, 100);
        rows.parity(8, [(2, 108)]);
        assert_eq!(rows.data(8, 1, 116), Some(whole(8, [(0, 100), (2, 108)])));
        let (out, open) = rows.finish();
        assert_eq!((out, open), (vec![], vec![DataOnly { row: 8, slot: 1, at: 116 }]));
    }

    #[test]
    fn the_newest_block_of_a_place_counts_and_what_is_flushed_is_gone() {
        let mut rows = Rows::default();
        rows.data(8, 0, 100);
        rows.data(8, 0, 108);
        rows.data(16, 0, 116);
        rows.flush(16);
        rows.flush(24);
        assert_eq!(rows.finish().1, [DataOnly { row: 8, slot: 0, at: 108 }]);
    }
}
