//! Carrying out a group of writes to one stripe, whose rows are locked and marked dirty.
//!
//! Run by run: plan, read what the plan asks for, compute, write data and parity to every member that is there. Runs that
//! read nothing follow each other without waiting, as long as there is memory for their parity.

use block::{Buf, Cause, Failed, Outcome, Range, Request, Sectors};

use super::cut::{Run, Segment, cut, run_from, source};
use super::group::{Groups, Part, PartId};
use super::journal::{Held, New};
use super::log::{Logged, split};
use super::map::Stripe;
use super::plan::{Method, Plan, plan_write};
use super::read::{Trouble, settle_reads};
use super::settle::settle_writes;
use super::slots::Slots;
use super::work::Work;
use super::{Striped, arithmetic, failure, journal};
use crate::array::Array;
use crate::plant::{self, Plant};

mod kept;

pub(super) use kept::{carry_out, write_out};

/// Writes the parts of a group and says what came of each.
pub(super) async fn write(
    array: &Array,
    level: &Striped,
    number: u64,
    work: &mut Work,
    parts: &[(PartId, Part)],
    groups: &Groups,
) {
    let stripe = level.map.stripe(number);
    let (mut cuts, mut segments) = (std::mem::take(&mut work.cuts), std::mem::take(&mut work.segments));
    let bad = bad_rows(array, level.map.rows_of(number));
    cut(&level.map, &stripe, parts, (level.window(), level.unit()), bad, &mut cuts, &mut segments);
    if level.log().is_some() {
        let alone = level.unseated(array) | level.void(array, level.map.rows_of(number));
        split(&stripe, alone, &segments, &mut work.split);
        std::mem::swap(&mut segments, &mut work.split);
    }
    let fresh = std::mem::take(&mut work.fresh);
    // A row that is new from end to end goes out at once, and all that is kept of its stripe before it.
    let is_whole = |segment: &Segment| segment.covered == stripe.data() && segment.ragged.is_empty();
    let mut keeps = level.journal().is_some() && !segments.iter().any(is_whole);
    let emptied = match keeps {
        true => Ok(()),
        false => write_out(array, level, level.map.rows_of(number), work).await,
    };
    let mut writing = Writing {
        fresh: &fresh,
        // What a journal has is durable already.
        fua: level.journal().is_none() && parts.iter().any(|(_, part)| part.fua),
        // In traces the group goes under the request that leads it.
        trace: parts.first().map_or(0, |(_, part)| part.trace),
        ..Writing::new(array, level, stripe, parts, &segments)
    };
    work.outcomes.clear();
    work.outcomes.resize(parts.len(), emptied);
    let mut at = 0;
    while at < segments.len() && emptied.is_ok() {
        let run = run_from(&segments, at, level.window());
        at = run.last;
        if let Err(failed) = writing.write(work, run, &mut keeps).await {
            // What cannot be written fails alone.
            for ((_, part), outcome) in parts.iter().zip(&mut work.outcomes) {
                if writing.concerns(run, part) {
                    *outcome = Err(failed);
                }
            }
        }
    }
    let all = writing.settle(work).await;
    let all = all.and(writing.lost.map_or(Ok(()), Err));
    let all = all.and(array.recorded().await); // S5: nobody is told before every failure is on record
    drop(writing);
    (work.cuts, work.segments, work.fresh) = (cuts, segments, fresh);
    // What broke the array concerns everybody.
    let all = all.and(array.broken().map_or(Ok(()), Err));
    for ((id, _), own) in parts.iter().zip(&work.outcomes) {
        groups.finish(*id, all.and(*own));
    }
}

/// Rows, from the data offsets, that some member lists as bad: from the start of `rows`.
fn bad_rows(array: &Array, rows: Range) -> impl Iterator<Item = Range> + Clone {
    let bad = array.members.iter().filter(|member| member.is_written() && member.bad.is_any());
    let bad = bad.flat_map(move |member| member.bad_rows(rows));
    bad.map(move |run| Range::new(run.start - rows.start, run.count))
}

struct Writing<'a> {
    array: &'a Array,
    level: &'a Striped,
    stripe: Stripe,
    parts: &'a [(PartId, Part)],
    segments: &'a [Segment],
    /// By slot: what a ragged block is to hold.
    fresh: &'a [Buf],
    fua: bool,
    trace: u32,
    /// Blocks of the work that hold parity under way.
    used: usize,
    /// The rows under way are in the log.
    logged: Option<Logged<'a>>,
    /// They are in the journal.
    held: Option<Held<'a>>,
    /// Something that was written is listed as bad, and parity does not give it back.
    lost: Option<Failed>,
    /// Their data was in the journal before.
    is_kept: bool,
}

impl<'a> Writing<'a> {
    fn new(
        array: &'a Array,
        level: &'a Striped,
        stripe: Stripe,
        parts: &'a [(PartId, Part)],
        segments: &'a [Segment],
    ) -> Writing<'a> {
        Writing {
            array,
            level,
            stripe,
            parts,
            segments,
            fresh: &[],
            fua: false,
            trace: 0,
            used: 0,
            logged: None,
            held: None,
            lost: None,
            is_kept: false,
        }
    }
}

impl Writing<'_> {
    async fn run(&mut self, work: &mut Work, run: Run) -> Outcome {
        let mut unreadable = Slots::NONE;
        let mut medium = None;
        loop {
            let known = self.level.known(self.array, self.rows(run), unreadable);
            let plan = plan_write(&self.stripe, self.covered(run), self.ragged(run), known)
                .map_err(|why| medium.unwrap_or(failure(why)))?;
            if plan.method == Method::Whole && run.last - run.first == 1 && !self.is_kept {
                return self.write_whole(work, run).await;
            }
            if work.is_busy() {
                // Blocks hold what is read: nothing under way may be in them any more. Meanwhile members may go.
                self.settle(work).await?;
                continue;
            }
            self.start_reads(work, run, &plan);
            match settle_reads(self.array, work, &mut unreadable, &mut medium).await {
                Ok(()) => return self.finish(work, run, &plan).await,
                Err(Trouble::Again) => {}
                Err(Trouble::Failed(failed)) => return Err(failed),
            }
        }
    }

    /// All data is new, and in one piece. Its parity goes into blocks that are not under way.
    async fn write_whole(&mut self, work: &mut Work, run: Run) -> Outcome {
        let parities = self.stripe.parities().count() as usize;
        let is_logged = self.logged.is_some() || self.held.is_some();
        if is_logged || self.used + parities > work.blocks.len() || work.is_nearly_full() {
            self.settle(work).await?;
        }
        let p = work.blocks[self.used].clone();
        let q = self.stripe.q.map(|_| work.blocks[self.used + 1].clone());
        self.used += parities;
        self.generate(work, run, &p, q.as_ref());
        self.log(work, run, &p, q.as_ref(), Method::Whole).await?;
        self.start_data(work, run, false);
        self.start_parity(work, run, &p, q.as_ref());
        self.array.sync.note_rewritten(self.rows(run));
        Ok(())
    }

    fn start_reads(&self, work: &mut Work, run: Run, plan: &Plan) {
        let rows = self.rows(run);
        for slot in plan.reads.iter() {
            let at = self.array.seats[usize::from(slot)].get().expect("planned a moment ago");
            let member = &self.array.members[at];
            let buf = work.blocks[usize::from(slot)].slice(0, rows.count.byte_len());
            let read = Request::read(member.place_of(rows.start), buf).for_trace(self.trace);
            let ticket = match member.is_bad(rows) {
                true => block::Ticket::ready(Err(Failed::new(Cause::Medium))),
                false => member.dev.start(self.array.to_member(read)),
            };
            work.push(slot, at, ticket);
        }
    }

    /// What was to be read is there: parity, and everything out.
    async fn finish(&mut self, work: &mut Work, run: Run, plan: &Plan) -> Outcome {
        let bytes = self.rows(run).count.byte_len();
        let block = |work: &Work, slot: u16| work.blocks[usize::from(slot)].slice(0, bytes);
        let p = block(work, self.stripe.p);
        let q = self.stripe.q.map(|slot| block(work, slot));
        if plan.method == Method::Recover {
            self.recover(work, run, plan);
        }
        self.compose(work, run);
        match plan.method {
            Method::DataOnly => {}
            Method::Modify => self.modify(work, run, plan, &p, q.as_ref()),
            Method::Whole | Method::Reconstruct | Method::Recover => {
                self.generate(work, run, &p, q.as_ref());
            }
        }
        self.used = work.blocks.len();
        self.log(work, run, &p, q.as_ref(), plan.method).await?;
        // What is kept may be given to others before a member that does not answer has let go of it.
        self.start_data(work, run, run.last - run.first > 1 || self.is_kept);
        if plan.method != Method::DataOnly {
            self.start_parity(work, run, &p, q.as_ref());
        }
        if matches!(plan.method, Method::Whole | Method::Reconstruct) {
            self.array.sync.note_rewritten(self.rows(run));
        }
        self.settle(work).await
    }

    /// The content of blocks of which only a part is new: what was read, and the parts over it in their order.
    fn compose(&self, work: &Work, run: Run) {
        let rows = self.rows(run);
        let base = self.level.map.range_of(self.stripe.number).start;
        for slot in self.ragged(run).iter() {
            let fresh = &self.fresh[usize::from(slot)];
            fresh.copy_from(0, &work.blocks[usize::from(slot)].slice(0, rows.count.byte_len()));
            let number = self.stripe.number_of(slot).expect("new content is data");
            let start = base + Sectors(u64::from(number) * self.level.map.chunk().0);
            let block = Range::new(start + Sectors(self.segments[run.first].start), rows.count);
            for (_, part) in self.parts {
                let Some(new) = part.range.intersection(block) else { continue };
                let place = fresh.slice((new.start - block.start).byte_len(), new.count.byte_len());
                match &part.buf {
                    Some(buf) => place.copy_from(
                        0,
                        &buf.slice((new.start - part.range.start).byte_len(), new.count.byte_len()),
                    ),
                    None => place.fill_zero(),
                }
            }
        }
    }

    /// What is to be written is in log or journal, durably, before any of it is (S5).
    async fn log(&mut self, work: &mut Work, run: Run, p: &Buf, q: Option<&Buf>, method: Method) -> Outcome {
        if let Some(journal) = self.level.journal().filter(|_| self.is_kept) {
            let parity = (method != Method::DataOnly).then_some((p, q));
            let (rows, block) = (self.rows(run), |_, _| p.clone());
            let new = New { rows, covered: Slots::NONE, block, parity };
            if parity.is_some() && journal.failure().is_none() {
                self.held = journal.record_parity(self.array, new).await?;
            }
            return Ok(());
        }
        if let Some(journal) = self.level.journal() {
            let new = New {
                rows: self.rows(run),
                covered: self.covered(run),
                block: |slot, row| self.new_block(run, slot, row),
                parity: (method != Method::DataOnly).then_some((p, q)),
            };
            self.held = journal.record(self.array, new).await?;
            return Ok(());
        }
        let Some(log) = self.level.log().filter(|_| method != Method::DataOnly) else {
            return Ok(());
        };
        let rows = Range::new(Sectors(self.segments[run.first].start), self.rows(run).count);
        let fill = |slot: u16, partial: &Buf| match q.filter(|_| self.stripe.q == Some(slot)) {
            Some(q) => self.partial_q(work, run, q, partial),
            None => self.partial_parity(work, run, p, partial),
        };
        let logged = log.record(self.array, &self.stripe, rows, self.covered(run), fill).await?;
        self.logged = Some(logged);
        Ok(())
    }

    /// What parity is made of beside the new data: the new parity less that.
    fn partial_parity(&self, work: &mut Work, run: Run, p: &Buf, partial: &Buf) {
        for segment in self.segments(run) {
            let (at, bytes) = self.within(run, segment);
            work.indices.clear();
            work.sources.clear();
            for (index, slot) in self.stripe.by_index().filter(|(_, slot)| segment.covered.has(*slot)) {
                work.indices.push(index);
                work.sources.push(self.new_content(segment, slot).expect("covered"));
            }
            work.indices.push(0); // a sum knows no coefficients
            work.sources.push(p.slice(at, bytes));
            arithmetic::generate(&work.indices, &work.sources, Some(&partial.slice(at, bytes)), None);
        }
        work.sources.clear();
    }

    /// The same of Q.
    fn partial_q(&self, work: &mut Work, run: Run, q: &Buf, partial: &Buf) {
        let nothing = &self.level.zeroes;
        for segment in self.segments(run) {
            let (at, bytes) = self.within(run, segment);
            work.indices.clear();
            work.sources.clear();
            for (index, slot) in self.stripe.by_index().filter(|(_, slot)| segment.covered.has(*slot)) {
                work.indices.push(if plant::is(Plant::WrongPartialQ) { index ^ 1 } else { index });
                work.sources.push(nothing.slice(0, bytes));
                work.sources.push(self.new_content(segment, slot).expect("covered"));
            }
            let partial = partial.slice(at, bytes);
            partial.copy_from(0, &q.slice(at, bytes));
            arithmetic::modify(&work.indices, &work.sources, None, Some(&partial));
        }
        work.sources.clear();
    }

    /// Parity of new data, and of what was read where nothing is new.
    fn generate(&self, work: &mut Work, run: Run, p: &Buf, q: Option<&Buf>) {
        if plant::is(Plant::StaleParity) {
            return;
        }
        for segment in self.segments(run) {
            let (at, bytes) = self.within(run, segment);
            work.indices.clear();
            work.sources.clear();
            for (index, slot) in self.stripe.by_index() {
                let new = if segment.covered.has(slot) { self.new_content(segment, slot) } else { None };
                work.indices.push(index);
                work.sources.push(new.unwrap_or_else(|| work.blocks[usize::from(slot)].slice(at, bytes)));
            }
            let (p, q) = (p.slice(at, bytes), q.map(|q| q.slice(at, bytes)));
            arithmetic::generate(&work.indices, &work.sources, Some(&p), q.as_ref());
        }
        work.sources.clear();
    }

    /// Parity by the difference.
    fn modify(&self, work: &mut Work, run: Run, plan: &Plan, p: &Buf, q: Option<&Buf>) {
        for segment in self.segments(run) {
            let (at, bytes) = self.within(run, segment);
            work.indices.clear();
            work.sources.clear();
            for (index, slot) in self.stripe.by_index().filter(|(_, slot)| segment.covered.has(*slot)) {
                let old = work.blocks[usize::from(slot)].slice(at, bytes);
                work.indices.push(if plant::is(Plant::WrongCoefficient) { index ^ 1 } else { index });
                work.sources.push(old);
                work.sources.push(self.new_content(segment, slot).expect("covered"));
            }
            let p = plan.reads.has(self.stripe.p).then(|| p.slice(at, bytes));
            let q =
                q.filter(|_| self.stripe.q.is_some_and(|q| plan.reads.has(q))).map(|q| q.slice(at, bytes));
            arithmetic::modify(&work.indices, &work.sources, p.as_ref(), q.as_ref());
        }
        work.sources.clear();
    }

    /// The lost data, from the old content of everything else.
    fn recover(&self, work: &mut Work, run: Run, plan: &Plan) {
        let bytes = self.rows(run).count.byte_len();
        let order = self.stripe.by_index();
        work.indices.clear();
        work.sources.clear();
        for (index, slot) in order.clone().filter(|(_, slot)| !plan.lost.has(*slot)) {
            work.indices.push(index);
            work.sources.push(work.blocks[usize::from(slot)].slice(0, bytes));
        }
        let good = [Some(self.stripe.p), self.stripe.q].map(|slot| slot.filter(|slot| plan.reads.has(*slot)));
        for slot in good.iter().flatten() {
            work.sources.push(work.blocks[usize::from(*slot)].slice(0, bytes));
        }
        let mut lost = order
            .filter(|(_, slot)| plan.lost.has(*slot))
            .map(|(index, slot)| (index, work.blocks[usize::from(slot)].slice(0, bytes)));
        let (has_p, has_q) = (good[0].is_some(), good[1].is_some());
        match (lost.next(), lost.next()) {
            (Some(one), Some(two)) => {
                arithmetic::recover(&[one, two], &work.indices, &work.sources, has_p, has_q);
            }
            (Some(one), None) => arithmetic::recover(&[one], &work.indices, &work.sources, has_p, has_q),
            _ => {}
        }
        drop(lost);
        work.sources.clear();
    }

    /// Starts writing the new data of a run. Where it comes from several parts, it is gathered in the members' blocks first:
    /// one write to each member.
    fn start_data(&self, work: &mut Work, run: Run, gathers: bool) {
        for slot in self.covered(run).iter().filter(|slot| self.array.written(*slot).next().is_some()) {
            if !gathers {
                let segment = &self.segments[run.first];
                let content = self.new_content(segment, slot).expect("covered");
                self.start(work, slot, segment.start, content);
                continue;
            }
            let block = work.blocks[usize::from(slot)].slice(0, self.rows(run).count.byte_len());
            for segment in self.segments(run) {
                block.copy_from(
                    self.within(run, segment).0,
                    &self.new_content(segment, slot).expect("covered"),
                );
            }
            self.start(work, slot, self.segments[run.first].start, block);
        }
    }

    fn start_parity(&self, work: &mut Work, run: Run, p: &Buf, q: Option<&Buf>) {
        let (start, bytes) = (self.segments[run.first].start, self.rows(run).count.byte_len());
        self.start(work, self.stripe.p, start, p.slice(0, bytes));
        if let (Some(slot), Some(q)) = (self.stripe.q, q) {
            self.start(work, slot, start, q.slice(0, bytes));
        }
    }

    /// Starts writing to a slot: to its member, and to whoever is to replace that.
    fn start(&self, work: &mut Work, slot: u16, start: u64, content: Buf) {
        let row = self.level.map.rows_of(self.stripe.number).start + Sectors(start);
        for at in self.array.written(slot) {
            let member = &self.array.members[at];
            let write = Request::write(member.place_of(row), content.clone()).for_trace(self.trace);
            let write = Request { fua: self.fua, ..write };
            work.write(self.array, slot, at, write);
        }
    }

    /// Waits for what is under way. What a member did not take is listed, or the member is failed; where it cannot be done
    /// without, what the stripe holds is not known any more, and nothing that depends on it is believed again.
    async fn settle(&mut self, work: &mut Work) -> Outcome {
        self.used = 0;
        let settled = settle_writes(self.array, self.level, work).await;
        (self.logged, self.held) = (None, None);
        self.lost = self.lost.or(settled.lost);
        settled.unknown.map_or(Ok(()), |failed| {
            self.array.set_broken(failed);
            Err(failed)
        })
    }

    /// Whether a part writes something in a run.
    fn concerns(&self, run: Run, part: &Part) -> bool {
        let (map, base) = (&self.level.map, self.level.map.range_of(self.stripe.number).start);
        self.covered(run).iter().filter_map(|slot| self.stripe.number_of(slot)).any(|number| {
            let chunk = base + Sectors(u64::from(number) * map.chunk().0);
            let (start, end) = (self.segments[run.first].start, self.segments[run.last - 1].end);
            part.range.overlaps(Range::new(chunk + Sectors(start), Sectors(end - start)))
        })
    }

    fn segments(&self, run: Run) -> &[Segment] {
        &self.segments[run.first..run.last]
    }

    fn covered(&self, run: Run) -> Slots {
        self.segments[run.first].covered
    }

    fn ragged(&self, run: Run) -> Slots {
        self.segments[run.first].ragged
    }

    /// The rows of a run, from the members' data offsets.
    fn rows(&self, run: Run) -> Range {
        let (start, end) = (self.segments[run.first].start, self.segments[run.last - 1].end);
        let base = self.level.map.rows_of(self.stripe.number).start;
        Range::new(base + Sectors(start), Sectors(end - start))
    }

    /// Where a segment lies in the blocks of its run, in bytes, and how long it is.
    fn within(&self, run: Run, segment: &Segment) -> (usize, usize) {
        let first = self.segments[run.first].start;
        (Sectors(segment.start - first).byte_len(), Sectors(segment.end - segment.start).byte_len())
    }

    /// The new block of a slot in the row of a run that begins there.
    fn new_block(&self, run: Run, slot: u16, row: Sectors) -> Buf {
        let row = (row - self.level.map.rows_of(self.stripe.number).start).0;
        let segment = self.segments(run).iter().find(|segment| segment.end > row).expect("a row of the run");
        let content = self.new_content(segment, slot).expect("covered");
        content.slice(Sectors(row - segment.start).byte_len(), journal::BLOCK.byte_len())
    }

    /// The new content of a slot in a segment.
    fn new_content(&self, segment: &Segment, slot: u16) -> Option<Buf> {
        if segment.ragged.has(slot) {
            return Some(self.fresh[usize::from(slot)].clone());
        }
        let rows = Range::new(Sectors(segment.start), Sectors(segment.end - segment.start));
        let found = source(&self.level.map, &self.stripe, self.parts, rows, slot)?;
        Some(found.unwrap_or_else(|| self.level.zeroes.slice(0, rows.count.byte_len())))
    }
}
