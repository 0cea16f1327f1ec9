//! A copy that could not be read: read another, write it back, see whether it holds.

use block::{Cause, Failed, Origin, Outcome, Range, Request};
use runtime::rank::Step;

use super::copies::Layout;
use super::read::{holder, read_from};
use crate::array::{Array, Happening};
use crate::limits::MAX_READ_ERRORS;
use crate::member::{Condition, Member};

/// Reads a piece of the request from any copy but `first`, which `failed`, and repairs `first` with it.
///
/// Under a lock of the range: a write that comes meanwhile would be undone by the repair.
pub(super) async fn read_elsewhere(
    array: &Array,
    layout: &Layout,
    request: &Request,
    piece: Range,
    first: usize,
    failed: Failed,
) -> Outcome {
    let member = holder(array, layout, piece, first);
    let repairable = failed.cause == Cause::Medium;
    if !repairable && !array.fail(member, failed) {
        return Err(failed);
    }
    let _range = array.lanes.of(piece.start).ranges.lock(piece).await;
    for (copy, place) in layout.places(piece.start).enumerate() {
        let Some(other) = array.seat(place.slot).filter(|_| copy != first) else { continue };
        match read_from(array, layout, request, piece, copy).await {
            Ok(()) if repairable => {
                write_back(array, layout, request, piece, first).await;
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

/// Writes what another copy gave over what could not be read, and reads it again. A member that does not take it, or has
/// had too many such errors, is failed.
async fn write_back(array: &Array, layout: &Layout, request: &Request, piece: Range, copy: usize) {
    let member = holder(array, layout, piece, copy);
    let start = layout.place(piece.start, copy).start;
    let writable = array.options.write && member.condition() == Condition::InSync;
    if !writable || member.is_bad(Range::new(start, piece.count)) {
        return;
    }
    member.read_errors.set(member.read_errors.get() + 1);
    if member.read_errors.get() > MAX_READ_ERRORS {
        array.fail(member, Failed::new(Cause::Medium));
        return;
    }
    // Even a repair is a write to a member: torn by a power cut, it must find the array marked dirty (S5).
    let Ok(_writing) = array.metadata.begin_write(array).await else { return };
    match rewrite(array, member, request.piece(piece, member.place_of(start))).await {
        Ok(()) => {
            member.corrected_reads.set(member.corrected_reads.get().saturating_add(1));
            let sector = piece.start.0;
            array.happen(Happening::ReadRepaired { name: member.name.clone(), sector });
        }
        Err(failed) => {
            array.fail(member, failed);
        }
    }
}

/// Writes the buffer of `read` to the member, and reads it back into another: what the client is given stays as it is.
async fn rewrite(array: &Array, member: &Member, read: Request) -> Outcome {
    let (at, good) = (read.range.start, read.buf.expect("a read has a buffer"));
    let write = Request { origin: Origin::Repair, ..Request::write(at, good.clone()) };
    member.dev.start(array.to_member(write)).await?;
    array.rank(Step::Buffers).wait();
    let back = array.arena.wait_take(good.len()).await;
    let read = Request { origin: Origin::Repair, ..Request::read(at, back.clone()) };
    member.dev.start(array.to_member(read)).await?;
    if back.same_bytes(&good) { Ok(()) } else { Err(Failed::new(Cause::Medium)) }
}
