//! Reading from a mirror.

use block::{Cause, Extents, Failed, Outcome, Range, Request, Sectors};
use runtime::Engine;

use super::choose::{Copy, choose};
use super::repair;
use crate::array::Array;
use crate::member::{Condition, Member};
use crate::plant::{self, Plant};

/// Reads in one piece from one copy. Where every copy has something unreadable in the range, block by block: as long as
/// each block can be read somewhere, the client gets its data.
pub(super) async fn read(array: &Array, request: Request) -> Outcome {
    let block = Sectors::from_bytes(array.geometry().logical_block.into());
    match read_whole(array, &request).await {
        Err(failed) if failed.cause == Cause::Medium && request.range.count > block => {}
        outcome => return outcome,
    }
    let mut at = request.range.start;
    while at < request.range.end() {
        let piece = request.piece(Range::new(at, block), at);
        read_whole(array, &piece).await?;
        at += block;
    }
    Ok(())
}

async fn read_whole(array: &Array, request: &Request) -> Outcome {
    let Some(first) = copy_for(array, request.range, None) else {
        return Err(Failed::new(Cause::Degraded));
    };
    match read_from(array, &array.members[first], request).await {
        Ok(()) => Ok(()),
        Err(failed) => repair::read_elsewhere(array, request, first, failed).await,
    }
}

/// What is allocated: by the copy that would be read.
pub(super) async fn status(array: &Array, request: Request) -> Outcome {
    let words = request.buf.clone().ok_or(Failed::new(Cause::Refused))?;
    let range = request.range;
    let Some(first) = copy_for(array, range, None) else {
        return Err(Failed::new(Cause::Degraded));
    };
    match read_from(array, &array.members[first], &request).await {
        Err(failed) if failed.cause == Cause::Unsupported => {
            Extents::new(&words).set(0, range.count, false);
            Ok(())
        }
        other => other,
    }
}

/// The copy to read `range` from, `but` not this one.
pub(super) fn copy_for(array: &Array, range: Range, but: Option<usize>) -> Option<usize> {
    let pinned = !array.resync.covers(range) && !plant::is(Plant::StaleCopyRead);
    let copies = array.members.iter().enumerate();
    let copies = copies.filter(|(at, member)| member.condition() == Condition::InSync && Some(*at) != but);
    let copies = copies.map(|(at, member)| Copy {
        member: at,
        write_mostly: member.flags.write_mostly,
        bad: member.is_bad(range),
        reads_in_flight: member.reads_in_flight.get(),
        last_read_end: member.last_read_end.get(),
    });
    choose(copies, range.start, pinned)
}

/// Reads one copy, whatever comes of it.
pub(super) async fn read_from(array: &Array, member: &Member, request: &Request) -> Outcome {
    if member.is_bad(request.range) {
        return Err(Failed::new(Cause::Medium));
    }
    member.reads_in_flight.set(member.reads_in_flight.get() + 1);
    member.last_read_end.set(request.range.end());
    let there = request.piece(request.range, member.place_of(request.range.start));
    let outcome = member.dev.start(array.to_member(there)).await;
    member.reads_in_flight.set(member.reads_in_flight.get() - 1);
    outcome
}
