//! Repairing what a member could not read, by writing what the others gave.

use block::{Buf, Cause, Failed, Origin, Outcome, Range, Request, Sectors};

use crate::array::{Array, Happening};
use crate::limits::MAX_READ_ERRORS;
use crate::member::{Condition, Member};

/// Writes what others gave over the rows from `start` (from the data offset) that `member` could not read, and reads them
/// again into `back`. `range` is where they lie in the space in which the array is synced. A member that does not take it, or has had too many such errors, is failed. The caller holds the
/// lock of the range: a write that came meanwhile would be undone.
pub(crate) async fn write_back(
    array: &Array,
    member: &Member,
    range: Range,
    start: Sectors,
    good: &Buf,
    back: &Buf,
    trace: u32,
) {
    let writable = array.options.write && member.condition() == Condition::InSync;
    if !writable || member.is_bad(Range::new(start, good.sectors())) {
        return;
    }
    member.read_errors.set(member.read_errors.get() + 1);
    if member.read_errors.get() > MAX_READ_ERRORS {
        array.fail(member, Failed::new(Cause::Medium));
        return;
    }
    // Even a repair is a write to a member: torn by a power cut, it must find the array marked dirty (S5).
    let Ok(_writing) = array.begin_write(range).await else { return };
    match rewrite(array, member, start, good, back, trace).await {
        Ok(()) => {
            member.corrected_reads.set(member.corrected_reads.get().saturating_add(1));
            let (name, sector) = (member.name.clone(), range.start.0);
            array.happen(Happening::ReadRepaired { name, sector });
        }
        Err(failed) => {
            array.fail(member, failed);
        }
    }
}

/// Writes `good` to the member, and reads it back into another buffer: what the client is given stays as it is.
async fn rewrite(
    array: &Array,
    member: &Member,
    start: Sectors,
    good: &Buf,
    back: &Buf,
    trace: u32,
) -> Outcome {
    let at = member.place_of(start);
    let write = Request { origin: Origin::Repair, trace, ..Request::write(at, good.clone()) };
    member.dev.start(array.to_member(write)).await?;
    let read = Request { origin: Origin::Repair, trace, ..Request::read(at, back.clone()) };
    member.dev.start(array.to_member(read)).await?;
    if back.same_bytes(good) { Ok(()) } else { Err(Failed::new(Cause::Medium)) }
}
