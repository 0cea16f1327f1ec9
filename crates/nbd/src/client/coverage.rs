//! Which bytes of a read have come: a server may send its chunks in any order, but each byte once, and all of them.
//!
//! Pure, and of a fixed size: runs that touch become one, so a server that goes from front to back needs a single one.

use crate::Error;
use crate::limits::FRAGMENTS;

/// The bytes of one read that have come, as runs in ascending order between which something is missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Coverage {
    runs: [Run; FRAGMENTS],
    count: usize,
}

/// From `start` to before `end`, from the first byte of the read on. Reads are shorter than 4 GiB by far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Run {
    start: u32,
    end: u32,
}

impl Coverage {
    /// Adds `bytes` bytes from `at` on; both lie within the read.
    pub(super) fn add(&mut self, at: u64, bytes: u64) -> Result<(), Error> {
        let short = |number: u64| u32::try_from(number).expect("a read is no longer than its limit");
        let run = Run { start: short(at), end: short(at + bytes) };
        let behind = self.runs().iter().position(|known| known.end > run.start).unwrap_or(self.count);
        let (before, next) = (behind.checked_sub(1), self.runs().get(behind).copied());
        if next.is_some_and(|next| next.start < run.end) {
            return Err(Error::Twice { at: at.max(next.map_or(0, |next| next.start.into())) });
        }
        let joins_before = before.filter(|before| self.runs[*before].end == run.start);
        let joins_next = next.is_some_and(|next| next.start == run.end);
        match (joins_before, joins_next) {
            (Some(before), false) => self.runs[before].end = run.end,
            (None, true) => self.runs[behind].start = run.start,
            (Some(before), true) => {
                self.runs[before].end = self.runs[behind].end;
                self.runs.copy_within(behind + 1..self.count, behind);
                self.count -= 1;
            }
            (None, false) if self.count == FRAGMENTS => return Err(Error::Scattered),
            (None, false) => {
                self.runs.copy_within(behind..self.count, behind + 1);
                self.runs[behind] = run;
                self.count += 1;
            }
        }
        Ok(())
    }

    /// How many bytes have come, each counted once.
    pub(super) fn bytes(&self) -> u64 {
        self.runs().iter().map(|run| u64::from(run.end - run.start)).sum()
    }

    fn runs(&self) -> &[Run] {
        &self.runs[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::Random;

    fn added(chunks: &[(u64, u64)]) -> Result<Coverage, Error> {
        let mut coverage = Coverage::default();
        chunks.iter().try_for_each(|(at, bytes)| coverage.add(*at, *bytes)).map(|()| coverage)
    }

    #[test]
    fn a_chunk_that_comes_twice_is_noticed_wherever_it_lies() {
        for chunks in [
            &[(0, 10), (0, 10)][..],
            &[(0, 10), (9, 1)],
            &[(10, 10), (0, 11)],
            &[(10, 10), (0, 30)],
            &[(0, 10), (20, 10), (10, 10), (15, 1)],
            &[(0, 10), (20, 10), (5, 20)],
        ] {
            assert!(matches!(added(chunks), Err(Error::Twice { .. })), "{chunks:?}");
        }
    }

    #[test]
    fn runs_that_touch_become_one() {
        let coverage = added(&[(20, 10), (0, 10), (30, 5), (10, 10)]).unwrap();
        assert_eq!(coverage.runs(), [Run { start: 0, end: 35 }]);
        assert_eq!(coverage.bytes(), 35);
    }

    #[test]
    fn more_runs_than_there_is_room_for_are_refused_and_the_gaps_can_still_be_filled() {
        let apart: Vec<(u64, u64)> = (0..FRAGMENTS as u64).map(|number| (number * 2, 1)).collect();
        let mut coverage = added(&apart).unwrap();
        assert!(matches!(coverage.add(1000, 1), Err(Error::Scattered)));
        for number in 0..FRAGMENTS as u64 {
            coverage.add(number * 2 + 1, 1).unwrap();
        }
        assert_eq!(coverage.runs(), [Run { start: 0, end: 2 * FRAGMENTS as u32 }]);
    }

    /// Against the slow and obvious way: a flag for each byte.
    #[test]
    fn coverage_says_what_a_flag_for_each_byte_says() {
        let (mut refused, mut whole) = (0, 0);
        for seed in 0..20_000 {
            let mut random = Random::new(seed);
            let (mut flags, mut coverage) = ([false; 64], Coverage::default());
            for _ in 0..40 {
                let at = random.below(64);
                let longest = 1 + random.below(12);
                let bytes = 1 + random.below(longest.min(64 - at));
                let part = &mut flags[at as usize..(at + bytes) as usize];
                let fresh = part.iter().all(|flag| !flag);
                match coverage.add(at, bytes) {
                    Ok(()) => assert!(fresh, "seed {seed}"),
                    Err(Error::Twice { at: twice }) => {
                        assert!(!fresh && flags[twice as usize], "seed {seed}");
                        refused += 1;
                        continue;
                    }
                    Err(error) => {
                        assert!(fresh && coverage.count == FRAGMENTS, "seed {seed}: {error}");
                        continue;
                    }
                }
                part.fill(true);
                let expected = flags.iter().filter(|flag| **flag).count() as u64;
                assert_eq!(coverage.bytes(), expected, "seed {seed}");
            }
            // Whatever order it was, the rest closes all gaps: from the back, so that each byte touches a run.
            for at in (0..64).rev().filter(|at| !flags[*at]) {
                let _ = coverage.add(at as u64, 1); // the very last byte may be one run too many
            }
            whole += u64::from(coverage.bytes() == 64);
        }
        assert!(refused > 1000 && whole > 1000, "{refused} refused, {whole} whole");
    }
}
