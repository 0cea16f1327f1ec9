//! Keeping the new blocks of a run in journal and memory, and writing out what is kept: in write-back mode alone.

use block::{Outcome, Range, Sectors};

use super::super::cut::{cut, run_from};
use super::super::group::{Part, PartId};
use super::super::read::settle_reads;
use super::super::slots::Slots;
use super::super::work::Lists;
use super::*;
use crate::limits::JOURNAL_WRITTEN_OUT;

impl Writing<'_> {
    /// Writes a run: into the journal alone as long as `keeps` is set and that can be. Afterwards the whole stripe goes out
    /// first: who may have to wait for space in the journal has locked nothing that others wait for to make some (P2).
    pub(super) async fn write(&mut self, work: &mut Work, run: Run, keeps: &mut bool) -> Outcome {
        if *keeps {
            if self.keep(work, run).await? {
                return Ok(());
            }
            *keeps = false;
            write_out(self.array, self.level, self.level.map.rows_of(self.stripe.number), work).await?;
        }
        self.run(work, run).await
    }

    /// Makes the new blocks of a run durable in the journal, and keeps them in memory: then that is all there is to do.
    /// False where something that it takes is not there, or that writing them out would take.
    async fn keep(&mut self, work: &mut Work, run: Run) -> Result<bool, Failed> {
        let Some(journal) = self.level.journal() else { return Ok(false) };
        let rows = self.rows(run);
        if !self.level.may_cache(self.array, rows) {
            return Ok(false);
        }
        let count = rows.count.0 / journal::BLOCK.0;
        let Some(admission) = journal.admit(count, self.covered(run).count().into()) else {
            return Ok(false);
        };
        if !self.read_ragged(work, run).await || !self.level.may_cache(self.array, rows) {
            return Ok(false);
        }
        self.compose(work, run);
        let new = New {
            rows,
            covered: self.covered(run),
            block: |slot, row| self.new_block(run, slot, row),
            parity: None,
        };
        journal.keep(self.array, new, admission).await.map(|()| true)
    }

    /// Reads what the blocks hold of which only a part is new. Whether that has gone well.
    async fn read_ragged(&self, work: &mut Work, run: Run) -> bool {
        let rows = self.rows(run);
        let plan = Plan { method: Method::DataOnly, reads: Slots::NONE, lost: Slots::NONE };
        let mut reads = Slots::NONE;
        for slot in self.ragged(run).iter() {
            let cached = self.level.journal().and_then(|journal| journal.cached());
            match cached.as_ref().and_then(|cache| cache.block(rows.start, slot)) {
                Some(block) => work.blocks[usize::from(slot)].copy_from(0, block),
                None => reads.add(slot),
            }
        }
        self.start_reads(work, run, &Plan { reads, ..plan });
        settle_reads(self.array, work, &mut Slots::default(), &mut None).await.is_ok()
    }
}

/// Writes out what is kept of some rows, which are locked: nothing is, afterwards. What cannot be written out breaks the
/// array; it stays where it is, in memory and in the journal.
pub(in crate::level::parity) async fn write_out(
    array: &Array,
    level: &Striped,
    rows: Range,
    work: &mut Work,
) -> Outcome {
    if level.journal().is_none_or(|journal| journal.cached().is_none()) {
        return Ok(());
    }
    let mut lists = std::mem::take(&mut work.out);
    let mut outcome = Ok(());
    let chunk = level.map.chunk();
    let start = rows.start.round_down(journal::BLOCK);
    let rows = Range::new(start, Sectors(rows.end().0.next_multiple_of(journal::BLOCK.0)) - start);
    for number in rows.start.0 / chunk.0..rows.end().0.div_ceil(chunk.0) {
        let own = rows.intersection(level.map.rows_of(number)).expect("a stripe of these rows");
        outcome = outcome.and(write_out_of(array, level, number, own, work, &mut lists).await);
    }
    work.out = lists;
    outcome
}

/// The same of one stripe.
async fn write_out_of(
    array: &Array,
    level: &Striped,
    number: u64,
    rows: Range,
    work: &mut Work,
    lists: &mut Lists,
) -> Outcome {
    let journal = level.journal().expect("something is kept");
    loop {
        let most = JOURNAL_WRITTEN_OUT as u64;
        let Some(batch) = journal.cached().and_then(|cache| cache.first_of(rows, most)) else {
            return Ok(());
        };
        let _writing = array.begin_write(batch).await?;
        let has_failed = journal.failure().is_some();
        if has_failed {
            // Nothing makes a row whole any more that is written in part. So whoever believed the journal must not find it.
            array.recorded().await?;
        }
        list(level, batch, lists);
        let outcome = carry_out(array, level, number, work, lists).await;
        lists.parts.clear();
        match outcome {
            Ok(()) => {}
            // The journal has failed on the way: once more without it.
            Err(_) if journal.failure().is_some() && !has_failed && array.broken().is_none() => {}
            Err(failed) => {
                array.set_broken(failed);
                return Err(failed);
            }
        }
    }
}

/// Lists what is kept of some rows of a stripe.
fn list(level: &Striped, rows: Range, lists: &mut Lists) {
    let Some(cache) = level.journal().and_then(|journal| journal.cached()) else { return };
    let mut row = rows.start;
    while row < rows.end() {
        for (slot, buf) in cache.blocks(row) {
            let range = level.map.range_at(slot, Range::new(row, journal::BLOCK)).expect("a slot of data");
            let part = Part { range, buf: Some(buf.clone()), fua: false, trace: 0 };
            lists.parts.push((PartId::NOBODY, part));
        }
        row += journal::BLOCK;
    }
}

/// Writes listed blocks of a stripe, all of which the journal has, to the members, with their parity. The rows are not kept
/// any more then.
pub(in crate::level::parity) async fn carry_out(
    array: &Array,
    level: &Striped,
    number: u64,
    work: &mut Work,
    lists: &mut Lists,
) -> Outcome {
    let Lists { parts, cuts, segments } = lists;
    let stripe = level.map.stripe(number);
    let bad = bad_rows(array, level.map.rows_of(number));
    cut(&level.map, &stripe, parts, (level.window(), level.unit()), bad, cuts, segments);
    let mut writing = Writing { is_kept: true, ..Writing::new(array, level, stripe, parts, segments) };
    let mut at = 0;
    while at < segments.len() {
        let run = run_from(segments, at, level.window());
        at = run.last;
        let written = writing.run(work, run).await;
        // What a member did not take, and parity does not give back, is nowhere but here.
        written.and(writing.settle(work).await).and(writing.lost.map_or(Ok(()), Err))?;
        if let Some(journal) = level.journal() {
            journal.evict(writing.rows(run));
        }
    }
    Ok(())
}
