//! Rows behind the sync position whose parity was made from their data since the array was opened: by a write of the whole
//! stripe, or of a part whose other data was read.
//!
//! Parity can be believed there, however far the resync has come. A member that fails before the resync has been by takes
//! nothing with it that was written meanwhile: nobody's acknowledged write is lost (C1), and of the rest nothing is believed
//! (S6). This is known while the array is open; the superblocks have no place for it.

use std::cell::RefCell;

use block::{Range, Sectors};

/// A bit for each block of rows.
pub(crate) struct Rewritten {
    /// The least that a client writes.
    block: Sectors,
    /// Taken at once and zeroed by the system, which gives memory to what is touched alone: 256 MiB for each TiB of a
    /// member with sectors of 512 bytes, if every one of them is written before the resync comes by.
    words: RefCell<Vec<u64>>,
}

impl Rewritten {
    /// Nothing yet, and of no rows: of an array of which everything is known.
    pub fn new(block: Sectors) -> Rewritten {
        Rewritten { block, words: RefCell::default() }
    }

    /// Room for so many rows. Not all of them are known to be consistent any more, or never were.
    pub fn cover(&self, rows: Sectors) {
        let words = rows.0.div_ceil(self.block.0).div_ceil(64) as usize;
        let before = self.words.borrow().len();
        match before {
            0 => *self.words.borrow_mut() = vec![0; words],
            _ => self.words.borrow_mut().resize(words.max(before), 0),
        }
    }

    /// Parity belongs to the data in these rows now. What is less than a block of them does not count.
    pub fn add(&self, rows: Range) {
        let (mut at, end) = (rows.start.0.div_ceil(self.block.0), rows.end().0 / self.block.0);
        let words = &mut *self.words.borrow_mut();
        let end = end.min(words.len() as u64 * 64);
        while at < end {
            let first = at % 64;
            let count = (64 - first).min(end - at);
            words[(at / 64) as usize] |= (u64::MAX >> (64 - count)) << first;
            at += count;
        }
    }

    /// The first part of `rows` that was not rewritten.
    pub fn first_gap(&self, rows: Range) -> Option<Range> {
        let words = &*self.words.borrow();
        let (first, last) = (rows.start.0 / self.block.0, rows.end().0.div_ceil(self.block.0));
        let start = Sectors(find(words, first, last, false) * self.block.0).max(rows.start);
        if start >= rows.end() {
            return None;
        }
        let end = Sectors(find(words, start.0 / self.block.0, last, true) * self.block.0).min(rows.end());
        Some(Range::new(start, end - start))
    }
}

/// The first bit from `at` on that is as wanted; `end` where none before it is. Behind the words nothing is set.
fn find(words: &[u64], mut at: u64, end: u64, wanted: bool) -> u64 {
    while at < end {
        let word = words.get((at / 64) as usize).copied();
        let Some(word) = word else { return if wanted { end } else { at } };
        let word = if wanted { word } else { !word } >> (at % 64);
        if word != 0 {
            return (at + u64::from(word.trailing_zeros())).min(end);
        }
        at = (at / 64 + 1) * 64;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> Range {
        Range::new(Sectors(start), Sectors(end - start))
    }

    #[test]
    fn gaps_are_what_was_not_added() {
        for block in [1, 8] {
            let rows = Sectors(block * 1000);
            let rewritten = Rewritten::new(Sectors(block));
            rewritten.cover(rows);
            let mut model = vec![false; rows.0 as usize];
            let mut seed = 12_345_u64;
            let mut draw = |below: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) % below
            };
            for _ in 0..400 {
                let start = draw(rows.0);
                let added = range(start, (start + 1 + draw(block * 150)).min(rows.0));
                if draw(8) == 0 {
                    rewritten.add(added);
                    for at in added.start.0.div_ceil(block) * block..added.end().0 / block * block {
                        model[at as usize] = true;
                    }
                }
                let found = rewritten.first_gap(added);
                let first = (added.start.0..added.end().0).find(|at| !model[*at as usize]);
                let expected = first.map(|first| {
                    let end = (first..added.end().0).find(|at| model[*at as usize]);
                    range(first, end.unwrap_or(added.end().0))
                });
                assert_eq!(found, expected, "{added:?}");
            }
        }
    }

    #[test]
    fn rows_that_come_are_a_gap_and_those_that_were_there_stay_what_they_were() {
        let rewritten = Rewritten::new(Sectors(1));
        rewritten.add(range(0, 100));
        assert_eq!(rewritten.first_gap(range(3, 70)), Some(range(3, 70)), "there is no room to note it");
        rewritten.cover(Sectors(100));
        rewritten.add(range(0, 100));
        rewritten.cover(Sectors(300));
        assert_eq!(rewritten.first_gap(range(3, 200)), Some(range(100, 200)));
    }
}
