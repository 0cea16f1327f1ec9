//! Giving members of a mirror their copies.

use std::rc::Rc;

use block::{Arena, Buf, Cause, Failed, Fan, Outcome, Range, Request, Sectors};

use super::compare::FINEST;
use super::copies::Layout;
use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::member::Condition;
use crate::narrow::{PAGE, not_taken};
use crate::sync::{Target, on_behalf_of_sync};

/// Rows of a member that have copies.
pub(in crate::level) fn rows(array: &Array, layout: &Layout) -> Sectors {
    match layout {
        Layout::Whole(_) => array.sync_size(),
        Layout::Chunks(map) => map.rows(),
    }
}

/// The first part of `rows` that somebody who comes back may have missed. On raid10 chunks are looked at one by one, later.
pub(in crate::level) fn next_marked_rows(array: &Array, layout: &Layout, rows: Range) -> Range {
    match (layout, array.bitmap.now()) {
        (Layout::Whole(_), Some(bitmap)) => bitmap.next_marked(rows),
        _ => rows,
    }
}

/// A run of rows of a target, and what of the array belongs there.
#[derive(Clone, Copy, Debug)]
struct Job {
    target: usize,
    row: Sectors,
    piece: Range,
}

/// Copies what belongs into a window of the targets' rows, lane by lane: rows that lie in one piece may belong to several.
pub(in crate::level) async fn recover_window(
    array: &Array,
    layout: &Layout,
    memory: &Rc<Arena>,
    window: Range,
    targets: &[Target],
) -> Outcome {
    for (number, lane) in array.lanes.all() {
        let jobs = |target: &Target| {
            let all = jobs(array, layout, window, target.member);
            all.filter(move |job| array.lanes.number_of(job.piece.start) == number)
        };
        let Some(bounds) = bounds(targets.iter().flat_map(jobs)) else { continue };
        let _range = lane.ranges.lock(bounds).await;
        let buf = memory.wait_take(window.count.byte_len()).await;
        for target in targets.iter().filter(|target| target.from < window.end()) {
            // What was marked while this waited for the lock is being written to the target too, and may lie outside of it.
            let mut jobs = jobs(target).filter(|job| bounds.contains(job.piece)).peekable();
            while jobs.peek().is_some() {
                let mut batch = [None; FAN_OUT];
                batch.iter_mut().zip(&mut jobs).for_each(|(place, job)| *place = Some(job));
                copy_batch(array, layout, &buf, window, &batch).await?;
            }
        }
    }
    array.recorded().await
}

/// The part of the array that is copied, from its first to its last sector.
fn bounds(jobs: impl Iterator<Item = Job>) -> Option<Range> {
    let joined = jobs.map(|job| (job.piece.start, job.piece.end()));
    let (start, end) = joined.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))?;
    Some(Range::new(start, end - start))
}

/// What belongs into the rows of a window, of a target that still is one.
fn jobs(array: &Array, layout: &Layout, window: Range, target: usize) -> impl Iterator<Item = Job> {
    let member = &array.members[target];
    let slot = member.slot.get().filter(|_| member.recovering().is_some());
    let by_bitmap = member.recovering().is_some_and(|recovering| recovering.by_bitmap);
    let layout = *layout;
    let mut left = if slot.is_some() { window } else { Range::new(window.start, Sectors::ZERO) };
    std::iter::from_fn(move || {
        while !left.count.is_zero() {
            let row = left.start;
            let (at, run) = match layout {
                Layout::Whole(_) => (Some(row), left.count),
                Layout::Chunks(map) => (map.sector_at(slot?, row), map.run(row)),
            };
            let count = left.count.min(run);
            left = Range::new(row + count, left.count - count);
            let Some(at) = at else { continue };
            let piece = Range::new(at, count);
            let is_missed = !by_bitmap || array.bitmap.now().is_none_or(|bitmap| bitmap.marks(piece));
            if is_missed {
                return Some(Job { target, row, piece });
            }
        }
        None
    })
}

/// Reads and writes some jobs at once. What cannot be read in one piece is copied in the smallest parts.
async fn copy_batch(
    array: &Array,
    layout: &Layout,
    buf: &Buf,
    window: Range,
    batch: &[Option<Job>; FAN_OUT],
) -> Outcome {
    let within = |job: &Job| buf.slice((job.row - window.start).byte_len(), job.piece.count.byte_len());
    let mut reads = Fan::<FAN_OUT>::default();
    let mut sources = [None; FAN_OUT];
    for (index, job) in batch.iter().enumerate() {
        let Some(job) = job else { continue };
        let Some(source) = source(array, layout, job, |_| false) else { continue };
        sources[index] = Some(source);
        reads.put(index, start_read(array, layout, job, source, &within(job)));
    }
    let mut writes = Fan::<FAN_OUT>::default();
    for (index, job) in batch.iter().enumerate() {
        let Some(job) = job else { continue };
        match reads.take(index).await {
            Some(Ok(())) => writes.put(index, start_write(array, job, within(job))),
            _ => copy_finely(array, layout, job, &within(job)).await?,
        }
    }
    for (index, job) in batch.iter().enumerate() {
        if let (Some(job), Some(written)) = (job, writes.take(index).await) {
            settle_write(array, job, within(job), written).await;
        }
    }
    Ok(())
}

/// Copies a job part by part, from whichever copy can give it. What nobody can give is put on the target's list of bad
/// blocks; where that has no room, it cannot be rebuilt.
async fn copy_finely(array: &Array, layout: &Layout, job: &Job, buf: &Buf) -> Outcome {
    let mut done = Sectors::ZERO;
    while done < job.piece.count {
        let count = FINEST.min(job.piece.count - done);
        let part =
            Job { target: job.target, row: job.row + done, piece: Range::new(job.piece.start + done, count) };
        let buf = buf.slice(done.byte_len(), count.byte_len());
        copy_part(array, layout, &part, buf).await?;
        done += count;
    }
    Ok(())
}

async fn copy_part(array: &Array, layout: &Layout, part: &Job, buf: Buf) -> Outcome {
    let mut tried = [None; FAN_OUT];
    for place in 0..FAN_OUT {
        let Some(source) = source(array, layout, part, |copy| tried.contains(&Some(copy))) else { break };
        tried[place] = Some(source.copy);
        match start_read(array, layout, part, source, &buf).await {
            Ok(()) => {
                let written = start_write(array, part, buf.clone()).await;
                settle_write(array, part, buf, written).await;
                return Ok(());
            }
            Err(failed) if failed.cause == Cause::Medium => {}
            Err(failed) if array.fail(&array.members[source.member], failed) => {}
            Err(failed) => return Err(failed),
        }
    }
    array.list_bad_rows(&array.members[part.target], Range::new(part.row, part.piece.count))
}

/// A copy to read from.
#[derive(Clone, Copy)]
struct Source {
    copy: usize,
    member: usize,
}

/// Which copy a job is read from: the one that the target is to replace, or else the first that is not write-mostly; where
/// copies may differ, the first, which is the one that clients are given (S8).
fn source(array: &Array, layout: &Layout, job: &Job, is_tried: impl Fn(usize) -> bool) -> Option<Source> {
    let slot = array.members[job.target].slot.get()?;
    let is_pinned = !array.sync.covers(job.piece);
    let candidates = layout.places(job.piece.start).enumerate().filter_map(|(copy, place)| {
        let at = array.seats[usize::from(place.slot)].get()?;
        let member = &array.members[at];
        let is_bad = member.is_bad(Range::new(place.start, job.piece.count));
        let is_useful =
            member.condition() == Condition::InSync && at != job.target && !is_bad && !is_tried(copy);
        let rank = (place.slot != slot && !is_pinned, member.flags.write_mostly && !is_pinned, copy);
        is_useful.then_some((rank, Source { copy, member: at }))
    });
    candidates.min_by_key(|(rank, _)| *rank).map(|(_, source)| source)
}

fn start_read(array: &Array, layout: &Layout, job: &Job, source: Source, buf: &Buf) -> block::Ticket {
    let member = &array.members[source.member];
    let at = member.place_of(layout.place(job.piece.start, source.copy).start);
    member.dev.start(array.to_member(on_behalf_of_sync(Request::read(at, buf.clone()))))
}

fn start_write(array: &Array, job: &Job, buf: Buf) -> block::Ticket {
    let member = &array.members[job.target];
    if !member.is_written() {
        return block::Ticket::ready(Err(member.failure.get().unwrap_or(Failed::new(Cause::Gone))));
    }
    member.dev.start(array.to_member(request_of(array, job, buf)))
}

fn request_of(array: &Array, job: &Job, buf: Buf) -> Request {
    on_behalf_of_sync(Request::write(array.members[job.target].place_of(job.row), buf))
}

/// What a target took is there; what it did not take is listed, or the target has failed.
async fn settle_write(array: &Array, job: &Job, buf: Buf, written: Outcome) {
    let (member, write) = (&array.members[job.target], request_of(array, job, buf));
    match written {
        Ok(()) => array.was_written(member, write.range),
        Err(failed) => {
            // Who is being rebuilt can always be failed.
            let _ = not_taken(array, member, &write, PAGE, failed).await;
        }
    }
}
