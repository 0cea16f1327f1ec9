//! Making parity belong to the data.

use std::rc::Rc;

use block::{Arena, Buf, Cause, Failed, Outcome, Range, Request, Sectors};

use super::map::Stripe;
use super::work::Work;
use super::{Striped, arithmetic};
use crate::array::Array;
use crate::resync::{count_written, on_behalf_of_sync};

/// Reads the rows of a window from every member, under a lock of their stripes, and writes the parity that differs.
pub(in crate::level) async fn sync_window(
    array: &Array,
    level: &Striped,
    memory: &Rc<Arena>,
    window: Range,
) -> Outcome {
    let chunk = level.map.chunk();
    let start = window.start.round_down(chunk);
    let end = Sectors(window.end().0.div_ceil(chunk.0) * chunk.0);
    let _rows = array.lanes.of(start).ranges.lock(Range::new(start, end - start)).await;
    let mut work = level.works.take().await;
    if !sync_rows(array, level, memory, &mut work, window).await? {
        // Something could not be read. Row by row, so that one bad block does not leave its neighbours out of sync.
        let row = Sectors::from_bytes(array_block(array));
        let mut at = window.start;
        while at < window.end() {
            sync_rows(array, level, memory, &mut work, Range::new(at, row)).await?;
            at += row;
        }
    }
    array.recorded().await
}

fn array_block(array: &Array) -> u64 {
    runtime::Engine::geometry(array).logical_block.into()
}

/// False when something could not be read: what is not known cannot be made to agree, and is left.
async fn sync_rows(
    array: &Array,
    level: &Striped,
    memory: &Rc<Arena>,
    work: &mut Work,
    rows: Range,
) -> Result<bool, Failed> {
    let slots = level.map.slots();
    let mut blocks = std::mem::take(&mut work.targets);
    for slot in 0..slots {
        // Read as one piece from each, whatever the chunk: disks stream.
        let buf = memory.wait_take(rows.count.byte_len()).await;
        if let Some(member) = array.seat(slot) {
            let read = Request::read(member.place_of(rows.start), buf.clone());
            work.tickets.push((slot, member.dev.start(array.to_member(on_behalf_of_sync(read)))));
        }
        blocks.push(buf);
    }
    let mut outcome = Ok(true);
    work.settle(|slot, failed| {
        let gone = failed.cause != Cause::Medium;
        outcome = match array.seat(slot) {
            Some(member) if gone && !array.fail(member, failed) => Err(failed),
            _ => outcome.map(|_| false),
        };
    })
    .await;
    if outcome == Ok(true) && level.absent(array).is_empty() {
        start_differences(array, level, work, &blocks, rows);
        work.settle(|slot, failed| {
            if array.seat(slot).is_some_and(|member| !array.fail(member, failed)) {
                outcome = Err(failed);
            }
        })
        .await;
    }
    blocks.clear();
    work.targets = blocks;
    match level.absent(array).is_empty() {
        true => outcome,
        false => outcome.and(Err(Failed::new(Cause::Degraded))), // there is nothing left to make parity agree with
    }
}

/// Starts writing the parity of each stripe in `rows` that does not belong to its data.
fn start_differences(array: &Array, level: &Striped, work: &mut Work, blocks: &[Buf], rows: Range) {
    let window = level.works.window();
    let mut left = rows;
    while !left.count.is_zero() {
        let chunk = level.map.chunk();
        let number = left.start.0 / chunk.0;
        let stripe = level.map.stripe(number);
        let within = Sectors(left.start.0 % window.0.min(chunk.0));
        let count = left.count.min(window.min(chunk) - within);
        let here = Range::new(left.start, count);
        left = Range::new(here.end(), left.count - count);
        let at = (here.start - rows.start).byte_len();
        agree(array, work, &stripe, blocks, here, at);
    }
}

fn agree(array: &Array, work: &mut Work, stripe: &Stripe, blocks: &[Buf], rows: Range, at: usize) {
    let block = |slot: u16| blocks[usize::from(slot)].slice(at, rows.count.byte_len());
    work.indices.clear();
    work.sources.clear();
    for (index, slot) in stripe.by_index() {
        work.indices.push(index);
        work.sources.push(block(slot));
    }
    let data = work.sources.len();
    work.sources.extend([Some(stripe.p), stripe.q].into_iter().flatten().map(block));
    if !arithmetic::belongs(&work.indices, &work.sources) {
        let (p, q) = (block(stripe.p), stripe.q.map(block));
        work.sources.truncate(data);
        arithmetic::generate(&work.indices, &work.sources, Some(&p), q.as_ref());
        count_written(array, rows.count);
        for (slot, parity) in [(Some(stripe.p), Some(p)), (stripe.q, q)] {
            let Some((member, parity)) = slot.and_then(|slot| array.seat(slot)).zip(parity) else { continue };
            let write = Request::write(member.place_of(rows.start), parity);
            let slot = slot.expect("it has a member");
            work.tickets.push((slot, member.dev.start(array.to_member(on_behalf_of_sync(write)))));
        }
    }
    work.sources.clear();
}
