//! A member did not take a write: what it does take of it, part by part, and what goes on its list of bad blocks. Where
//! that cannot be, the member is failed.
//!
//! Follows Linux 6.12: `narrow_write_error` of raid1 and raid10, which tries again block by block; raid5, which lists pages
//! of its stripe cache, and fails a member that was to replace another; `r1_sync_page_io` and its kin for what a resync, a
//! recovery and a repair write.

use block::{Cause, Failed, Op, Outcome, Range, Request, Sectors};

use crate::array::Array;
use crate::member::Member;
use crate::plant::{self, Plant};

/// In parts of what size a write is tried again that is not a client's on a mirror: md's page.
pub(crate) const PAGE: Sectors = Sectors(8);

/// Lists what the member does not take of `write`, as it was sent to it, or fails the member. The error where it can be
/// neither: it cannot be done without, and nobody knows what it holds.
pub(crate) async fn not_taken(
    array: &Array,
    member: &Member,
    write: &Request,
    unit: Sectors,
    failed: Failed,
) -> Outcome {
    match narrow(array, member, write, unit, failed).await {
        Ok(()) => Ok(()),
        Err(failed) if array.fail(member, failed) => Ok(()),
        Err(failed) => Err(failed),
    }
}

/// Tries `write` again on the member in parts that end at multiples of `unit`, and lists those that it does not take: that
/// is on record before anybody is told. The error where that cannot be, and the member has to be failed: it has no list, the
/// list is full, it is not the medium that has failed, or it was to replace somebody who works. A spare takes its place, if
/// there is one.
pub(crate) async fn narrow(
    array: &Array,
    member: &Member,
    write: &Request,
    unit: Sectors,
    failed: Failed,
) -> Outcome {
    if !may_list(member, failed) || !matches!(write.op, Op::Write | Op::WriteZeroes) {
        return Err(failed);
    }
    array.replace_when_possible(member);
    let block = Sectors::from_bytes(runtime::Engine::geometry(array).logical_block.into());
    for part in parts(write.range, unit.max(block)) {
        match member.dev.start(array.to_member(write.piece(part, part.start))).await {
            Ok(()) => array.was_written(member, part),
            Err(again) if may_list(member, again) => list(array, member, part)?,
            Err(again) => return Err(again),
        }
    }
    Ok(())
}

/// Puts sectors of a member's disk on its list, or says that there is no room.
pub(crate) fn list(array: &Array, member: &Member, part: Range) -> Outcome {
    if plant::is(Plant::WriteErrorUnlisted) {
        return Ok(());
    }
    array.list_bad_rows(member, Range::new(part.start - member.data_offset, part.count))
}

/// Whether blocks of this member that failed so may be listed instead of failing it.
pub(crate) fn may_list(member: &Member, failed: Failed) -> bool {
    let is_replacement = member.recovering().is_some_and(|recovering| recovering.replaces);
    failed.cause == Cause::Medium && member.bad.has_log() && member.is_written() && !is_replacement
}

/// A range in parts that end at multiples of `unit`.
pub(crate) fn parts(range: Range, unit: Sectors) -> impl Iterator<Item = Range> {
    let mut left = range;
    std::iter::from_fn(move || {
        let within = Sectors(left.start.0 % unit.0);
        let part = Range::new(left.start, left.count.min(unit - within));
        left = Range::new(part.end(), left.count - part.count);
        (!part.count.is_zero()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_at_multiples_of_the_unit() {
        let range = |start, count| Range::new(Sectors(start), Sectors(count));
        let found: Vec<_> = parts(range(6, 12), PAGE).collect();
        assert_eq!(found, [range(6, 2), range(8, 8), range(16, 2)]);
        assert_eq!(parts(range(5, 1), Sectors(1)).collect::<Vec<_>>(), [range(5, 1)]);
    }
}
