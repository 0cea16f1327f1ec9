//! A member's bad blocks: sectors that cannot be read there, or were never rebuilt because nothing was left to rebuild
//! them from. Kept in memory, and in the member's log where it has one; the metadata writer writes it before the
//! superblock, so that the feature bit never speaks of a list that is not there.
//!
//! Follows Linux 6.12: a rebuild that cannot read its sources goes on and lists what is missing; a write that succeeds
//! takes sectors off the list.

use std::cell::{Cell, RefCell};

use block::{Range, Sectors};
use md_format::FormatError;
use md_format::badblocks::{self, BadBlock};
use md_format::superblock::BadBlockLog;

/// The list of one member. Sectors count from the start of the disk.
pub(crate) struct BadBlocks {
    /// In order, never touching each other.
    runs: RefCell<Vec<Range>>,
    log: Cell<Option<BadBlockLog>>,
    /// The log on the disk says something else.
    changed: Cell<bool>,
}

impl BadBlocks {
    /// What was found in a member's log, if it has one.
    pub fn new(found: impl Iterator<Item = BadBlock>, log: Option<BadBlockLog>) -> BadBlocks {
        let bad =
            BadBlocks { runs: RefCell::new(Vec::new()), log: Cell::new(log), changed: Cell::new(false) };
        for run in found {
            bad.insert(Range::new(Sectors(run.sector), Sectors(run.sectors)));
        }
        bad
    }

    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.runs.borrow().len()
    }

    /// Whether some sector of `range` is bad.
    pub fn overlap(&self, range: Range) -> bool {
        self.runs.borrow().iter().any(|run| run.overlaps(range))
    }

    /// What is listed of `range`.
    pub fn within(&self, range: Range) -> Vec<Range> {
        let part = |run: &Range| {
            let start = run.start.max(range.start);
            Range::new(start, run.end().min(range.end()).saturating_sub(start))
        };
        self.runs.borrow().iter().map(part).filter(|run| !run.count.is_zero()).collect()
    }

    /// Whether all of `range` is listed.
    pub fn has(&self, range: Range) -> bool {
        self.runs.borrow().iter().any(|run| run.contains(range))
    }

    /// Takes `range` in. False, and nothing changes, where the log has no room for it, or there is no log.
    pub fn add(&self, range: Range) -> bool {
        let before = self.runs.borrow().clone();
        self.insert(range);
        let mut area = vec![0; self.log.get().map_or(0, |log| usize::from(log.sectors) * 512)];
        if self.log.get().is_none() || self.edit(&mut area).is_err() {
            *self.runs.borrow_mut() = before;
            return false;
        }
        self.changed.set(true);
        true
    }

    /// `range` was written, and can be read again. True when that changes the list.
    pub fn remove(&self, range: Range) -> bool {
        if !self.overlap(range) {
            return false;
        }
        let mut runs = self.runs.borrow_mut();
        let left = |run: &Range| Range::new(run.start, range.start.saturating_sub(run.start).min(run.count));
        let right = |run: &Range| {
            let start = run.start.max(range.end());
            Range::new(start, run.end().saturating_sub(start))
        };
        let kept: Vec<Range> = runs.iter().flat_map(|run| [left(run), right(run)]).collect();
        *runs = kept.into_iter().filter(|run| !run.count.is_zero()).collect();
        self.changed.set(true);
        true
    }

    /// Whether the log has to be written before the next superblock: where, and what.
    pub fn to_write(&self) -> Option<(Sectors, Vec<u8>)> {
        let log = self.log.get().filter(|_| self.changed.get())?;
        let mut area = vec![0; usize::from(log.sectors) * 512];
        self.edit(&mut area).expect("looked at when it was added");
        Some((Sectors(log.sector), area))
    }

    /// The log is written as [`BadBlocks::to_write`] had it, unless something has changed since.
    pub fn written(&self, area: &[u8]) {
        let now = self.to_write();
        self.changed.set(now.is_some_and(|(_, now)| now != area));
    }

    /// The log lies somewhere else from now on, where what is listed has to be written.
    pub fn move_log(&self, log: Option<BadBlockLog>) {
        self.log.set(log);
        self.changed.set(self.is_any());
    }

    /// Whether there is a log that the list can be kept in.
    pub fn has_log(&self) -> bool {
        self.log.get().is_some()
    }

    /// Whether the list has anything in it.
    pub fn is_any(&self) -> bool {
        !self.runs.borrow().is_empty()
    }

    fn edit(&self, area: &mut [u8]) -> Result<(), FormatError> {
        let runs = self.runs.borrow();
        let runs = runs.iter().map(|run| BadBlock { sector: run.start.0, sectors: run.count.0 });
        badblocks::edit(area, self.log.get().map_or(0, |log| log.shift), runs)
    }

    fn insert(&self, range: Range) {
        let mut runs = self.runs.borrow_mut();
        let touches = |run: &Range| run.start <= range.end() && range.start <= run.end();
        let (mut start, mut end) = (range.start, range.end());
        for run in runs.iter().filter(|run| touches(run)) {
            start = start.min(run.start);
            end = end.max(run.end());
        }
        runs.retain(|run| !touches(run));
        let at = runs.partition_point(|run| run.start < start);
        runs.insert(at, Range::new(start, end - start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, count: u64) -> Range {
        Range::new(Sectors(start), Sectors(count))
    }

    fn list(sectors: u16) -> BadBlocks {
        let log = BadBlockLog { offset_sectors: 8, sectors, shift: 0, sector: 16, in_use: false };
        BadBlocks::new(std::iter::empty(), Some(log))
    }

    #[test]
    fn neighbours_are_joined_and_writes_cut_runs() {
        let bad = list(8);
        assert!(bad.add(range(100, 8)) && bad.add(range(108, 8)) && bad.add(range(200, 8)));
        assert_eq!(*bad.runs.borrow(), [range(100, 16), range(200, 8)]);
        assert!(bad.remove(range(104, 4)));
        assert_eq!(*bad.runs.borrow(), [range(100, 4), range(108, 8), range(200, 8)]);
        assert!(!bad.remove(range(104, 4)), "that changes nothing");
        assert!(bad.remove(range(0, 1000)) && !bad.is_any());
    }

    #[test]
    fn what_has_no_room_in_the_log_is_refused() {
        let bad = list(1);
        for run in 0..64 {
            assert!(bad.add(range(run * 16, 8)));
        }
        assert!(!bad.add(range(64 * 16, 8)));
        assert_eq!(bad.runs(), 64);
        assert!(!BadBlocks::new(std::iter::empty(), None).add(range(0, 8)), "there is no log");
    }

    #[test]
    fn what_changes_while_the_log_is_written_is_written_again() {
        let bad = list(8);
        bad.add(range(100, 8));
        let (_, area) = bad.to_write().unwrap();
        bad.add(range(300, 8));
        bad.written(&area);
        let (_, area) = bad.to_write().expect("it has changed");
        bad.written(&area);
        assert!(bad.to_write().is_none());
    }
}
