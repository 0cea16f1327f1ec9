//! A member did not take a write that others took: what it does take of it, block by block, and what goes on its list of
//! bad blocks. Follows `narrow_write_error` of Linux 6.12's raid1 and raid10.

use block::{Cause, Failed, Op, Outcome, Range, Request, Sectors};

use crate::array::Array;
use crate::member::Member;

/// Tries `piece` of the request again on the member, where it lies `there` on the disk, and lists what it does not take:
/// that is on record before the client is told. The error where that cannot be, and the member has to be failed: it has no
/// list, the list is full, or it is not the medium that has failed. A spare takes its place, if there is one.
pub(super) async fn narrow(
    array: &Array,
    member: &Member,
    request: &Request,
    piece: Range,
    there: Range,
    failed: Failed,
) -> Outcome {
    let is_data = matches!(request.op, Op::Write | Op::WriteZeroes);
    if failed.cause != Cause::Medium || !is_data || !member.bad.has_log() || !member.is_written() {
        return Err(failed);
    }
    array.replace_when_possible(member);
    let block = Sectors::from_bytes(runtime::Engine::geometry(array).logical_block.into());
    let mut at = piece.start;
    while at < piece.end() {
        let part = Range::new(at, block.min(piece.end() - at));
        let place = there.start + (at - piece.start);
        match member.dev.start(array.to_member(request.piece(part, place))).await {
            Ok(()) => array.was_written(member, Range::new(place, part.count)),
            Err(again) if again.cause == Cause::Medium => {
                array.cannot_rebuild(member, Range::new(place - member.data_offset, part.count))?;
            }
            Err(again) => return Err(again),
        }
        at = part.end();
    }
    Ok(())
}
