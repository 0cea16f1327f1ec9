//! Making the copies of a mirror equal.

use std::rc::Rc;

use block::{Arena, Buf, Cause, Failed, Fan, Outcome, Range, Request, Sectors};

use super::copies::Layout;
use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::resync::{count_written, on_behalf_of_sync};

/// The unit in which what cannot be read is looked for within a piece.
const FINEST: Sectors = Sectors(8);

/// The memory of a window: for each copy, as much as the window is long.
type Memory = [Option<Buf>; FAN_OUT];

/// Compares all copies of a window, under a lock of its range, and writes those that differ from the first.
pub(in crate::level) async fn sync_window(
    array: &Array,
    layout: &Layout,
    memory: &Rc<Arena>,
    window: Range,
) -> Outcome {
    let _range = array.lanes.of(window.start).ranges.lock(window).await;
    let mut bufs: Memory = [const { None }; FAN_OUT];
    for buf in bufs.iter_mut().take(layout.copies()) {
        *buf = Some(memory.wait_take(window.count.byte_len()).await);
    }
    let mut left = window;
    while !left.count.is_zero() {
        let batch = first_batch(layout, left);
        let unreadable = sync_batch(array, layout, &bufs, window, batch).await?;
        if unreadable {
            sync_finely(array, layout, &bufs, window, batch).await?;
        }
        left = Range::new(batch.end(), left.count - batch.count);
    }
    array.recorded().await
}

/// As many pieces from the start of `range` as are compared at once.
fn first_batch(layout: &Layout, range: Range) -> Range {
    let mut batch = Range::new(range.start, Sectors::ZERO);
    for _ in 0..FAN_OUT / layout.copies() {
        let left = Range::new(batch.end(), range.count - batch.count);
        batch.count += layout.first_piece(left).count;
    }
    batch
}

fn pieces(layout: &Layout, batch: Range) -> impl Iterator<Item = Range> {
    let layout = *layout;
    let mut left = batch;
    std::iter::from_fn(move || {
        let piece = layout.first_piece(left);
        left = Range::new(piece.end(), left.count - piece.count);
        (!piece.count.is_zero()).then_some(piece)
    })
}

async fn sync_finely(array: &Array, layout: &Layout, bufs: &Memory, window: Range, batch: Range) -> Outcome {
    for piece in pieces(layout, batch) {
        let mut left = piece;
        while !left.count.is_zero() {
            let some = left.count.min(FINEST);
            sync_batch(array, layout, bufs, window, Range::new(left.start, some)).await?;
            left = Range::new(left.start + some, left.count - some);
        }
    }
    Ok(())
}

/// Makes the copies of the pieces of `batch` equal. True when some copy could not be read and the batch should be tried in
/// smaller pieces; a piece as small as [`FINEST`] is then written from a copy that could be.
async fn sync_batch(
    array: &Array,
    layout: &Layout,
    bufs: &Memory,
    window: Range,
    batch: Range,
) -> Result<bool, Failed> {
    let copies = layout.copies();
    let within = |piece: Range, copy: usize| {
        let buf = bufs[copy].as_ref().expect("taken for the window");
        buf.slice((piece.start - window.start).byte_len(), piece.count.byte_len())
    };
    let mut fan = Fan::<FAN_OUT>::default();
    for (turn, piece) in pieces(layout, batch).enumerate() {
        for (copy, place) in layout.places(piece.start).enumerate() {
            if let Some(member) = array.seat(place.slot) {
                let read = Request::read(member.place_of(place.start), within(piece, copy));
                let read = array.to_member(on_behalf_of_sync(read));
                fan.put(turn * copies + copy, member.dev.start(read));
            }
        }
    }
    let (mut was_read, mut unreadable) = ([false; FAN_OUT], false);
    for (turn, piece) in pieces(layout, batch).enumerate() {
        for (copy, place) in layout.places(piece.start).enumerate() {
            let Some(done) = fan.take(turn * copies + copy).await else { continue };
            was_read[turn * copies + copy] = done.is_ok();
            let Err(failed) = done else { continue };
            unreadable = true;
            let member = array.occupant(place.slot).expect("what was read from is a member");
            if failed.cause != Cause::Medium && !array.fail(member, failed) {
                return Err(failed);
            }
        }
    }
    if unreadable && batch.count > FINEST {
        return Ok(true);
    }
    for (turn, piece) in pieces(layout, batch).enumerate() {
        let was_read = &was_read[turn * copies..][..copies];
        // The first copy is the one that clients are given where copies may differ (S8): it is the one to keep. Where
        // no copy can be read nothing is lost by leaving it: reads will say so.
        let Some(source) = was_read.iter().position(|read| *read) else { continue };
        for (copy, place) in layout.places(piece.start).enumerate() {
            let Some(member) = array.seat(place.slot) else { continue };
            if was_read[copy] && within(piece, copy).same_bytes(&within(piece, source)) {
                continue;
            }
            let write = Request::write(member.place_of(place.start), within(piece, source));
            let write = array.to_member(on_behalf_of_sync(write));
            fan.put(turn * copies + copy, member.dev.start(write));
            count_written(array, piece.count);
        }
    }
    for (turn, piece) in pieces(layout, batch).enumerate() {
        for (copy, place) in layout.places(piece.start).enumerate() {
            let member = || array.occupant(place.slot).expect("what was written to is a member");
            if let Some(Err(failed)) = fan.take(turn * copies + copy).await
                && !array.fail(member(), failed)
            {
                return Err(failed);
            }
        }
    }
    Ok(false)
}
