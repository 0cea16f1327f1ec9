//! Zeroing and discarding. Whole stripes are zeroed on every member, parity too, which belongs to zeroes then: a member
//! can free the space. What is left at the ends is written as zeroes, or, of a discard, left as it is.
//!
//! A journal would bring back what was there before, so zeroes go through it like everything else, and nothing is discarded.

use block::{Cause, Failed, Op, Outcome, Range, Request, Sectors};

use super::Striped;
use super::log::Logged;
use super::settle::settle_writes;
use super::work::{Refused, Work};
use super::write;
use crate::array::Array;
use crate::limits::FAN_OUT;

pub(super) async fn zero(array: &Array, level: &Striped, request: Request) -> Outcome {
    if level.journal().is_some() {
        return match request.op {
            Op::Discard => Ok(()),
            _ => write::write(array, level, request).await,
        };
    }
    let stripe = level.map.stripe_sectors();
    let range = request.range;
    let first = Sectors(range.start.0.div_ceil(stripe.0) * stripe.0).min(range.end());
    let last = range.end().round_down(stripe).max(first);
    let is_discard = request.op == Op::Discard;
    for edge in [Range::new(range.start, first - range.start), Range::new(last, range.end() - last)] {
        if !edge.count.is_zero() && !is_discard {
            write::write(array, level, request.piece(edge, edge.start)).await?;
        }
    }
    let mut left = Range::new(level.map.rows_of(first.0 / stripe.0).start, Sectors::ZERO);
    left.count = level.map.rows_of(last.0 / stripe.0).start - left.start;
    while !left.count.is_zero() {
        let mut rows = array.lanes.first_part(left);
        if level.log().is_some() {
            rows.count = rows.count.min(level.map.chunk()); // what a record can speak of
        }
        zero_rows(array, level, &request, rows).await?;
        left = Range::new(rows.end(), left.count - rows.count);
    }
    array.recorded().await
}

/// Zeroes rows of whole stripes on every member.
async fn zero_rows(array: &Array, level: &Striped, request: &Request, rows: Range) -> Outcome {
    let _rows = level.lock(array, rows).await;
    let mut work = level.works.take().await;
    let _writing = array.begin_write(rows).await?;
    let logged = log_stripe(array, level, rows).await?;
    array.sync.note_rewritten(rows); // parity of zeroes is zeroes, wherever they arrive
    let may_unmap = request.may_unmap || request.op == Op::Discard;
    let mut outcome = Ok(());
    for first in (0..level.map.slots()).step_by(FAN_OUT) {
        let last = level.map.slots().min(first + FAN_OUT as u16);
        for (slot, at) in (first..last).flat_map(|slot| array.written(slot).map(move |at| (slot, at))) {
            let member = &array.members[at];
            let there = Range::new(member.place_of(rows.start), rows.count);
            let zero = Request {
                may_unmap,
                fua: request.fua,
                ..Request::write_zeroes(there).for_trace(request.trace)
            };
            work.write(array, slot, at, zero);
        }
        work.await_writes(|at, zero| array.was_written(&array.members[at], zero.range)).await;
        let mut refused = std::mem::take(&mut work.refused);
        for Refused { slot, at, failed, .. } in &refused {
            outcome = outcome.and(match failed.cause {
                Cause::Unsupported | Cause::Medium => {
                    write_zeroes(array, level, &mut work, (*slot, *at), request, rows).await
                }
                _ => not_zeroed(array, *at, *failed),
            });
        }
        refused.clear();
        work.refused = refused;
    }
    drop(logged);
    array.recorded().await?; // S5
    outcome
}

/// A whole stripe is to be written: its record.
async fn log_stripe<'a>(
    array: &Array,
    level: &'a Striped,
    rows: Range,
) -> Result<Option<Logged<'a>>, Failed> {
    let Some(log) = level.log() else { return Ok(None) };
    let stripe = level.map.stripe(rows.start.0 / level.map.chunk().0);
    let whole = Range::new(Sectors::ZERO, rows.count);
    log.record(array, &stripe, whole, stripe.data(), |_, _| ()).await.map(Some)
}

fn not_zeroed(array: &Array, at: usize, failed: Failed) -> Outcome {
    if array.fail(&array.members[at], failed) {
        return Ok(());
    }
    array.set_broken(failed);
    Err(failed)
}

/// Writes zeroes to a member that cannot make them by itself, or not everywhere.
async fn write_zeroes(
    array: &Array,
    level: &Striped,
    work: &mut Work,
    (slot, at): (u16, usize),
    request: &Request,
    rows: Range,
) -> Outcome {
    let (member, mut left) = (&array.members[at], rows);
    while !left.count.is_zero() {
        let count = left.count.min(level.works.window());
        let zeroes = level.zeroes.slice(0, count.byte_len());
        let write = Request {
            fua: request.fua,
            ..Request::write(member.place_of(left.start), zeroes).for_trace(request.trace)
        };
        work.write(array, slot, at, write);
        let settled = settle_writes(array, level, work).await;
        if let Some(failed) = settled.unknown {
            return not_zeroed(array, at, failed);
        }
        settled.lost.map_or(Ok(()), Err)?;
        left = Range::new(left.start + count, left.count - count);
    }
    Ok(())
}
