//! A copy that could not be read: read another, write it back, see whether it holds.

use block::{Cause, Failed, Outcome, Range, Request};
use runtime::rank::Step;

use super::copies::Layout;
use super::read::{Asked, asked, read_from};
use crate::array::Array;
use crate::repair;

/// Reads a piece of the request from any copy but that which was `first` asked, and `failed`; repairs that one with it.
///
/// Under a lock of the range: a write that comes meanwhile would be undone by the repair.
pub(super) async fn read_elsewhere(
    array: &Array,
    layout: &Layout,
    request: &Request,
    first: Asked,
    failed: Failed,
) -> Outcome {
    let (piece, member) = (first.piece, &array.members[first.member]);
    let repairable = failed.cause == Cause::Medium;
    if !repairable && !array.fail(member, failed) {
        return Err(failed);
    }
    let _range = array.lanes.of(piece.start).ranges.lock(piece).await;
    for (copy, place) in layout.places(piece.start).enumerate() {
        let rows = Range::new(place.start, piece.count);
        let Some(other) = array.holder(place.slot, rows).filter(|_| copy != first.copy) else { continue };
        match read_from(array, layout, request, asked(array, layout, piece, copy)).await {
            Ok(()) if repairable => {
                write_back(array, layout, request, first).await;
                return array.recorded().await;
            }
            Ok(()) => return array.recorded().await,
            Err(also) if also.cause != Cause::Medium => {
                array.fail(other, also);
            }
            Err(_) => {}
        }
    }
    // No copy is left to ask. A failure that was noticed on the way is recorded all the same.
    array.recorded().await?;
    Err(failed)
}

/// Writes what another copy gave over what could not be read.
async fn write_back(array: &Array, layout: &Layout, request: &Request, first: Asked) {
    let Asked { piece, copy, member } = first;
    let start = layout.place(piece.start, copy).start;
    let good = request.piece(piece, start).buf.expect("a read has a buffer");
    array.rank(Step::Buffers).wait();
    let back = array.arena.wait_take(good.len()).await;
    repair::write_back(array, &array.members[member], piece, start, &good, &back, request.trace).await;
}
