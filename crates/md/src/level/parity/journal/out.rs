//! Writing out what is cached: rows with their parity go through the journal to the members, and then they are needed in
//! neither memory nor journal any more.
//!
//! Follows Linux 6.12's raid5-cache.c in when: when memory or journal are getting short, when a row has been there for long,
//! and all of it when the mode changes, a member or the journal fails, or the array is stopped. Whoever does it owns memory
//! and space, and takes only rows that nobody has locked (P2).

use crate::waits;
use block::Range;
use runtime::sleep_ms;
use runtime::waits::doing;

use super::super::Striped;
use super::super::stripe::write_out;
use super::{Journal, State};
use crate::array::Array;
use crate::limits::JOURNAL_CACHE_AGE_MS;

/// How things stand, as far as it says whether something is to be written out.
#[derive(Clone, Copy, Debug)]
struct Situation {
    /// Rows may stay in memory.
    keeps: bool,
    /// Memory is getting short.
    is_short: bool,
    /// Sectors of the journal that are in use or owned, and all there are.
    taken: u64,
    size: u64,
}

impl Situation {
    /// Whether rows go out as long as there are any; otherwise those alone do that have been there for long.
    fn is_pressing(self) -> bool {
        !self.keeps || self.is_short || self.taken * 2 > self.size
    }
}

/// Writes out rows, one run after the other, until the array is stopped or nothing can be written any more.
pub(super) async fn run(array: &Array, level: &Striped, journal: &Journal) {
    let ends = || journal.stopping.get() || array.broken().is_some();
    let _doing = doing(waits::OUT);
    loop {
        let mut rows = None;
        let mut find = || {
            rows = next(array, level, journal);
            rows.is_some()
        };
        journal.out.wait_until(|| ends() || find()).await;
        if ends() {
            return;
        }
        let Some(_rows) = rows.and_then(|rows| level.try_lock(array, rows)) else { continue };
        let mut work = journal.outs().take().await; // there are as many as there are tasks
        // What cannot be written out breaks the array: it stays where it is, in memory and in the journal.
        let _ = write_out(array, level, rows.expect("locked"), &mut work).await;
    }
}

/// Rows that are to be written out now, and that nobody has locked.
fn next(array: &Array, level: &Striped, journal: &Journal) -> Option<Range> {
    let cache = journal.cached()?;
    if journal.state.get() != State::Replayed(Ok(())) {
        return None;
    }
    let situation = Situation {
        keeps: journal.keeps() && journal.failure().is_none() && array.is_whole(),
        is_short: cache.is_short(),
        taken: journal.taken(),
        size: journal.size,
    };
    let is_pressing = situation.is_pressing();
    let due = cache.oldest().take_while(|(_, unit)| is_pressing || *unit < journal.aged.get());
    let runs = due.map(|(row, _)| {
        let chunk = level.map.chunk();
        cache.around(row, level.map.rows_of(row.0 / chunk.0))
    });
    runs.into_iter().find(|rows| level.try_lock(array, *rows).is_some())
}

/// Notes which rows have been there for long, as long as there are any.
pub(super) async fn age(array: &Array, journal: &Journal) {
    let ends = || journal.stopping.get() || array.broken().is_some();
    loop {
        journal.out.wait_until(|| ends() || journal.cached().is_some()).await;
        if ends() {
            return;
        }
        let now = journal.ring.borrow().next();
        sleep_ms(JOURNAL_CACHE_AGE_MS).await;
        journal.aged.set(now);
        journal.out.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_out_when_room_is_short_or_nothing_may_stay() {
        let calm = Situation { keeps: true, is_short: false, taken: 400, size: 800 };
        assert!(!calm.is_pressing());
        assert!(Situation { keeps: false, ..calm }.is_pressing());
        assert!(Situation { is_short: true, ..calm }.is_pressing());
        assert!(Situation { taken: 401, ..calm }.is_pressing());
    }
}
