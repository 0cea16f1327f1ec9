//! Making the copies of a mirror equal.

use std::rc::Rc;

use block::{Arena, Failed, Fan, Outcome, Range, Request};

use super::compare::{Copies, FINEST, fine_parts, first_batch, pieces, read_batch};
use super::copies::Layout;
use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::member::Condition;
use crate::narrow::{PAGE, not_taken};
use crate::sync::{count_written, on_behalf_of_sync};

/// Compares all copies of a window, under a lock of its range, and writes those that differ from the first.
pub(in crate::level) async fn sync_window(
    array: &Array,
    layout: &Layout,
    memory: &Rc<Arena>,
    window: Range,
) -> Outcome {
    let _range = array.lanes.of(window.start).ranges.lock(window).await;
    let memory = Copies::take(layout, memory, window).await;
    let mut left = window;
    while !left.count.is_zero() {
        let batch = first_batch(layout, left);
        if sync_batch(array, layout, &memory, batch).await? {
            for part in fine_parts(layout, batch) {
                sync_batch(array, layout, &memory, part).await?;
            }
        }
        left = Range::new(batch.end(), left.count - batch.count);
    }
    array.recorded().await
}

/// Makes the copies of the pieces of `batch` equal. True when some copy could not be read and the batch should be tried in
/// smaller pieces; a piece as small as [`FINEST`] is then written from a copy that could be.
async fn sync_batch(array: &Array, layout: &Layout, memory: &Copies, batch: Range) -> Result<bool, Failed> {
    let copies = layout.copies();
    let read = read_batch(array, layout, memory, batch).await?;
    if read.is_partly_unreadable && batch.count > FINEST {
        return Ok(true);
    }
    let mut fan = Fan::<FAN_OUT>::default();
    let mut sent = [const { None }; FAN_OUT];
    for (turn, piece) in pieces(layout, batch).enumerate() {
        let given = &read.given[turn * copies..][..copies];
        // The first copy is the one that clients are given where copies may differ (S8): it is the one to keep. Where
        // no copy can be read nothing is lost by leaving it: reads will say so.
        let is_in_sync = |at: &usize| array.members[*at].condition() == Condition::InSync;
        let Some(source) = given.iter().position(|given| given.as_ref().is_some_and(is_in_sync)) else {
            continue;
        };
        for (copy, place) in layout.places(piece.start).enumerate() {
            let rows = Range::new(place.start, piece.count);
            let Some(member) = array.holder(place.slot, rows) else { continue };
            if given[copy].is_some() && memory.of(piece, copy).same_bytes(&memory.of(piece, source)) {
                continue;
            }
            let write = Request::write(member.place_of(place.start), memory.of(piece, source));
            let write = array.to_member(on_behalf_of_sync(write));
            fan.put(turn * copies + copy, member.dev.start(write.clone()));
            sent[turn * copies + copy] = Some((member, write));
            count_written(array, piece.count);
        }
    }
    let mut fatal = None;
    for (index, sent) in sent.into_iter().enumerate() {
        let Some((member, write)) = sent else { continue };
        match fan.take(index).await.expect("it was sent") {
            Ok(()) => array.was_written(member, write.range),
            Err(failed) => {
                if let Err(failed) = not_taken(array, member, &write, PAGE, failed).await {
                    fatal = Some(failed);
                }
            }
        }
    }
    fatal.map_or(Ok(false), Err)
}
