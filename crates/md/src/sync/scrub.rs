//! Scrub: everything is read and compared, and it is told what differs, where, and who is probably wrong.
//!
//! A check writes nothing. A repair makes agree what it can be sure of: the block of the one member that raid6's two
//! parities blame, or that most of three and more copies outvote. Where nothing tells who is wrong (raid5, two copies) a
//! repair does what md's does: parity follows the data, and copies follow the first. Parity is never made anew over a
//! block that could not be read, nor where the two parities agree on nobody.

use std::rc::Rc;

use block::{Arena, Outcome, Range, Sectors};
use runtime::wall_seconds;

use super::windows::{Ended, Walk, walk};
use super::{FINEST, Scrub};
use crate::array::{Array, Happening};
use crate::level;
use crate::limits::MISMATCHES_KEPT;

/// Something that does not agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// Where, in sectors of the array: what the rows in question hold of its data.
    pub array: Range,
    /// Rows, from the members' data offsets, where all members have the same; of raid10, the first copy's.
    pub rows: Range,
    /// What is known of who is wrong.
    pub verdict: Verdict,
    /// It was made to agree.
    pub repaired: bool,
}

/// Who is wrong where something does not agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// This member alone explains it, by its name.
    Member(String),
    /// Nothing tells: one parity, or two copies.
    Nobody,
    /// More than one member must be wrong.
    Several,
    /// A member could not read its part.
    Unreadable(String),
}

/// What a scrub has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScrubReport {
    /// What was asked for.
    pub scrub: Scrub,
    /// When it began, in seconds since 1970.
    pub started_s: u64,
    /// When it ended; `None` while it runs.
    pub ended_s: Option<u64>,
    /// What was asked for, of the space in which the array is synced.
    pub rows: Range,
    /// It came to the end of that.
    pub complete: bool,
    /// Sectors that did not agree, of a member: md's `mismatch_cnt`.
    pub mismatched: Sectors,
    /// Of them, those that were made to.
    pub repaired: Sectors,
    /// Sectors that could not be read on some member.
    pub unreadable: Sectors,
    /// Where, as far as there is room for it.
    pub places: Vec<Mismatch>,
}

/// Where scrubs begin and how far they go, in the space in which the array is synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrubBounds {
    /// The first sector.
    pub from: Sectors,
    /// The one behind the last: there a scrub waits until this moves. `None` for the end.
    pub to: Option<Sectors>,
}

impl ScrubBounds {
    /// Of so many sectors, in whole chunks: what lies together is compared together.
    fn of(self, size: Sectors, chunk_sectors: u32) -> Range {
        let unit = Sectors::from_bytes(FINEST).max(Sectors(chunk_sectors.into()));
        let start = self.from.min(size).round_down(unit);
        let end = self.to.map_or(size, |to| Sectors(to.0.div_ceil(unit.0).saturating_mul(unit.0)).min(size));
        Range::new(start, end.saturating_sub(start))
    }
}

/// What the scrub that runs has found so far, or the last one.
#[derive(Default)]
pub(crate) struct Findings {
    report: Option<ScrubReport>,
}

impl Findings {
    pub fn report(&self) -> Option<ScrubReport> {
        self.report.clone()
    }

    fn begin(&mut self, scrub: Scrub, rows: Range, goes_on: bool) {
        if let Some(report) = self.report.as_mut().filter(|report| goes_on && report.scrub == scrub) {
            report.rows.count = rows.end() - report.rows.start; // the bound may have moved
            return;
        }
        self.report = Some(ScrubReport {
            scrub,
            started_s: wall_seconds(),
            ended_s: None,
            rows,
            complete: false,
            mismatched: Sectors::ZERO,
            repaired: Sectors::ZERO,
            unreadable: Sectors::ZERO,
            places: Vec::with_capacity(MISMATCHES_KEPT),
        });
    }

    /// Takes in what a level has found.
    pub fn note(&mut self, mismatch: Mismatch) {
        let report = self.report.as_mut().expect("a scrub runs");
        let count = mismatch.rows.count;
        match mismatch.verdict {
            Verdict::Unreadable(_) => report.unreadable += count,
            _ => report.mismatched += count,
        }
        if mismatch.repaired {
            report.repaired += count;
        }
        let follows = |last: &&mut Mismatch| {
            last.rows.end() == mismatch.rows.start
                && last.array.end() == mismatch.array.start
                && (&last.verdict, last.repaired) == (&mismatch.verdict, mismatch.repaired)
        };
        if let Some(last) = report.places.last_mut().filter(follows) {
            last.rows.count += count;
            last.array.count += mismatch.array.count;
        } else if report.places.len() < MISMATCHES_KEPT {
            report.places.push(mismatch);
        }
    }

    /// Whatever was begun is over.
    pub fn end(&mut self, complete: bool) {
        if let Some(report) = self.report.as_mut().filter(|report| report.ended_s.is_none()) {
            report.ended_s = Some(wall_seconds());
            report.complete = complete;
        }
    }
}

struct Scrubbing {
    scrub: Scrub,
    /// The array's epoch when it began: who loses a member has more urgent things to do.
    epoch: u64,
}

impl Walk for Scrubbing {
    fn next_part(&self, array: &Array, wanted: Range) -> Option<Range> {
        (array.epoch() == self.epoch).then_some(wanted)
    }

    async fn window(&self, array: &Array, memory: &Rc<Arena>, window: Range) -> Outcome {
        level::scrub_window(array, memory, window, self.scrub).await
    }

    fn advance(&self, array: &Array, position: Sectors) {
        array.sync.scrub_from.set(Some(position));
    }
}

/// The rows between the bounds.
fn rows(array: &Array) -> Range {
    array.sync.scrub_bounds.get().of(array.sync_size(), array.shape().summary.chunk_sectors)
}

/// Whether a scrub has come to its bound, which is not the end.
pub(super) fn is_at_its_bound(array: &Array) -> bool {
    let end = rows(array).end();
    end < array.sync_size() && array.sync.scrub_from.get().is_some_and(|from| from >= end)
}

pub(super) async fn run(array: &Rc<Array>, scrub: Scrub) {
    let (sync, rows) = (&array.sync, rows(array));
    let goes_on = sync.scrub_from.get().filter(|from| *from >= rows.start);
    let from = goes_on.unwrap_or(rows.start);
    sync.findings.borrow_mut().begin(scrub, rows, goes_on.is_some());
    let action = scrub.action();
    array.happen(Happening::SyncStarted { action, from: from.0 });
    let ended = walk(array, Rc::new(Scrubbing { scrub, epoch: array.epoch() }), from, rows.end()).await;
    // What was interrupted goes on from there in time, and what has come to its bound when that moves; what a person has ended
    // was taken back already.
    let goes_on = matches!(ended, Ended::At(_)) || ended == Ended::AtTheEnd && rows.end() < array.sync_size();
    if goes_on && sync.scrub.get().is_some() {
        return;
    }
    sync.scrub.set(None);
    sync.scrub_from.set(None);
    sync.findings.borrow_mut().end(ended == Ended::AtTheEnd);
    if ended == Ended::AtTheEnd {
        array.happen(Happening::SyncComplete { action });
    }
}
