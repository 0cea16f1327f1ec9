//! Repairing what a member could not read, by writing what the others gave.

use block::{Buf, Cause, Failed, Moment, Origin, Outcome, Range, Request, Sectors};
use runtime::{Engine, now};

use crate::array::{Array, Happening};
use crate::limits::READ_ERRORS_HALVED_NS;
use crate::member::{Condition, Member};
use crate::narrow::{PAGE, list, may_list, parts};

impl Array {
    /// Read errors that are repaired before a member is failed: md's `max_read_errors`.
    pub fn max_read_errors(&self) -> u32 {
        self.max_read_errors.get()
    }

    /// Sets that.
    pub fn set_max_read_errors(&self, count: u32) {
        self.max_read_errors.set(count);
    }
}

impl Member {
    /// One more read error, at this moment: how many there are then. Every hour since the last one half of them are
    /// forgotten, as the kernel does.
    fn count_read_error(&self, at: Moment) -> u32 {
        let hours = at.since(self.last_read_error.replace(at)) / READ_ERRORS_HALVED_NS;
        let left = u32::try_from(hours).ok().and_then(|hours| self.read_errors.get().checked_shr(hours));
        self.read_errors.set(left.unwrap_or(0).saturating_add(1));
        self.read_errors.get()
    }
}

/// Writes what others gave over the rows from `start` (from the data offset) that `member` could not read, and reads them
/// again into `back`. `range` is where they lie in the space in which the array is synced. What a member does not take goes on
/// its list of bad blocks; one that has no list, or has had too many such errors, is failed. The caller holds the lock of the
/// range: a write that came meanwhile would be undone.
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
    if member.count_read_error(now()) > array.max_read_errors() {
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
            if let Err(failed) = list_unrepaired(array, member, start, good, back, failed, trace).await {
                array.fail(member, failed);
            }
        }
    }
}

/// What the member does not take of a repair, or does not give back, page by page: that is listed. The error where it
/// cannot be.
async fn list_unrepaired(
    array: &Array,
    member: &Member,
    start: Sectors,
    good: &Buf,
    back: &Buf,
    failed: Failed,
    trace: u32,
) -> Outcome {
    if !may_list(member, failed) {
        return Err(failed);
    }
    array.replace_when_possible(member);
    let block = Sectors::from_bytes(array.geometry().logical_block.into());
    let on_disk = Range::new(member.place_of(start), good.sectors());
    for part in parts(on_disk, PAGE.max(block)) {
        let piece = |buf: &Buf| buf.slice((part.start - on_disk.start).byte_len(), part.count.byte_len());
        match rewrite(array, member, part.start - member.data_offset, &piece(good), &piece(back), trace).await
        {
            Ok(()) => {}
            Err(again) if may_list(member, again) => list(array, member, part)?,
            Err(again) => return Err(again),
        }
    }
    Ok(())
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
