//! Which entries of a journal count. Pure.

use crate::error::SetError;

/// An entry that is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// The number of the oldest one that is needed if this is the newest.
    pub last_seq: u64,
    /// Which of the journal's buckets it lies in.
    pub index: u64,
    /// Where, in sectors from the start of that bucket.
    pub offset: u64,
    /// Its length in sectors, whole blocks.
    pub sectors: u64,
}

impl Entry {
    /// The first sector behind it, in its bucket.
    pub fn end(&self) -> u64 {
        self.offset + self.sectors
    }
}

/// The entries that count, of all that were found: from the oldest that is needed to the newest.
pub fn choose(mut entries: Vec<Entry>) -> Result<Vec<Entry>, SetError> {
    entries.sort_by_key(|entry| entry.seq);
    entries.dedup_by_key(|entry| entry.seq);
    let newest = *entries.last().ok_or(SetError::JournalEmpty)?;
    entries.retain(|entry| entry.seq >= newest.last_seq);
    let numbered = (newest.last_seq..).zip(&entries);
    match numbered.into_iter().find(|(expected, entry)| entry.seq != *expected) {
        Some((from, entry)) => Err(SetError::JournalGap { from, to: entry.seq - 1 }),
        None => Ok(entries),
    }
}

/// All entries that were found, needed or not, in the order of their numbers.
pub fn newest_last(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| entry.seq);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, last_seq: u64) -> Entry {
        Entry { seq, last_seq, index: seq % 3, offset: 0, sectors: 8 }
    }

    #[test]
    fn the_newest_says_which_are_needed() {
        let found = vec![entry(9, 7), entry(3, 1), entry(7, 3), entry(8, 6), entry(7, 3)];
        let seqs: Vec<u64> = choose(found).unwrap().iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, [7, 8, 9]);
    }

    #[test]
    fn one_that_is_missing_is_an_error_wherever_it_is() {
        assert_eq!(choose(vec![entry(9, 7), entry(8, 7)]), Err(SetError::JournalGap { from: 7, to: 7 }));
        assert_eq!(choose(vec![entry(9, 6), entry(6, 6)]), Err(SetError::JournalGap { from: 7, to: 8 }));
        assert_eq!(choose(Vec::new()), Err(SetError::JournalEmpty));
    }
}
