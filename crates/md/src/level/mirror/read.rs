//! Reading from a mirror.

use block::{Cause, Extents, Failed, Fan, Outcome, Range, Request, Sectors, Ticket};
use runtime::Engine;

use super::choose::{Copy, choose};
use super::copies::Layout;
use super::repair;
use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::plant::{self, Plant};

/// A piece that is being read, from one of its copies.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked {
    pub piece: Range,
    pub copy: usize,
    /// The member's place, which stays its own whatever becomes of the slot.
    pub member: usize,
}

/// Reads every piece from one copy, several at once.
pub(super) async fn read(array: &Array, layout: &Layout, request: Request) -> Outcome {
    let mut fan = Fan::<FAN_OUT>::default();
    let mut asked = [Asked::default(); FAN_OUT];
    let (mut turn, mut outcome, mut left) = (0, Ok(()), request.range);
    while !left.count.is_zero() {
        let piece = layout.first_piece(left);
        if let Some(done) = fan.take(turn).await {
            outcome = outcome.and(settle(array, layout, &request, asked[turn], done).await);
        }
        // Nothing is awaited between the choice and the start: what is chosen is in sync when it is asked.
        match copy_for(array, layout, piece) {
            None => outcome = outcome.and(Err(Failed::new(Cause::Degraded))),
            Some(choice) => {
                asked[turn] = choice;
                fan.put(turn, start(array, layout, &request, choice));
            }
        }
        turn = (turn + 1) % FAN_OUT;
        left = Range::new(piece.end(), left.count - piece.count);
    }
    for (turn, asked) in asked.into_iter().enumerate() {
        if let Some(done) = fan.take(turn).await {
            outcome = outcome.and(settle(array, layout, &request, asked, done).await);
        }
    }
    outcome
}

/// What a copy's answer means. What it could not give is read elsewhere; where every copy has something unreadable in the
/// piece, block by block: as long as each block can be read somewhere, the client gets its data.
async fn settle(array: &Array, layout: &Layout, request: &Request, asked: Asked, done: Outcome) -> Outcome {
    ended(array, asked);
    let Err(failed) = done else { return Ok(()) };
    let piece = asked.piece;
    let block = Sectors::from_bytes(array.geometry().logical_block.into());
    match repair::read_elsewhere(array, layout, request, asked, failed).await {
        Err(failed) if failed.cause == Cause::Medium && piece.count > block => {}
        outcome => return outcome,
    }
    let mut at = piece.start;
    while at < piece.end() {
        read_block(array, layout, request, Range::new(at, block)).await?;
        at += block;
    }
    Ok(())
}

async fn read_block(array: &Array, layout: &Layout, request: &Request, block: Range) -> Outcome {
    let Some(asked) = copy_for(array, layout, block) else {
        return Err(Failed::new(Cause::Degraded));
    };
    match read_from(array, layout, request, asked).await {
        Ok(()) => Ok(()),
        Err(failed) => repair::read_elsewhere(array, layout, request, asked, failed).await,
    }
}

/// What is allocated, as far as it lies in one piece: by the copy that would be read.
pub(super) async fn status(array: &Array, layout: &Layout, request: Request) -> Outcome {
    let words = request.buf.clone().ok_or(Failed::new(Cause::Refused))?;
    let piece = layout.first_piece(request.range);
    let Some(asked) = copy_for(array, layout, piece) else {
        return Err(Failed::new(Cause::Degraded));
    };
    let place = layout.place(piece.start, asked.copy);
    let member = &array.members[asked.member];
    let range = Range::new(member.place_of(place.start), piece.count);
    match member.dev.start(array.to_member(Request { range, ..request })).await {
        Err(failed) if failed.cause == Cause::Unsupported => {
            Extents::new(&words).set(0, piece.count, false);
            Ok(())
        }
        other => other,
    }
}

/// The copy to read `piece` from.
fn copy_for(array: &Array, layout: &Layout, piece: Range) -> Option<Asked> {
    let pinned = !array.sync.covers(piece) && !plant::is(Plant::StaleCopyRead);
    let striped = layout.first_copies_are_striped();
    let copies = layout.places(piece.start).enumerate().filter_map(|(number, place)| {
        let rows = Range::new(place.start, piece.count);
        // Of what may differ, one that is being rebuilt has no better copy than those that it is rebuilt from.
        let member = if pinned { array.seat(place.slot) } else { array.holder(place.slot, rows) }?;
        let goes_on = member.last_read_end.get() == place.start && place.start != Sectors::ZERO;
        Some(Copy {
            number,
            write_mostly: member.flags.write_mostly,
            bad: member.is_bad(rows),
            reads_in_flight: member.reads_in_flight.get(),
            favoured: if striped { number == 0 } else { goes_on },
        })
    });
    let copy = choose(copies, pinned)?;
    Some(asked(array, layout, piece, copy))
}

/// A copy that is to be asked, with the member that is in its slot.
pub(super) fn asked(array: &Array, layout: &Layout, piece: Range, copy: usize) -> Asked {
    let slot = layout.place(piece.start, copy).slot;
    let member = array.seats[usize::from(slot)].get().expect("a copy that is asked is on a member");
    Asked { piece, copy, member }
}

/// Starts reading a piece of the request; [`ended`] follows the answer.
fn start(array: &Array, layout: &Layout, request: &Request, asked: Asked) -> Ticket {
    let Asked { piece, copy, member } = asked;
    let place = layout.place(piece.start, copy);
    let member = &array.members[member];
    member.reads_in_flight.set(member.reads_in_flight.get() + 1);
    if member.is_bad(Range::new(place.start, piece.count)) {
        return Ticket::ready(Err(Failed::new(Cause::Medium)));
    }
    member.last_read_end.set(place.start + piece.count);
    member.dev.start(array.to_member(request.piece(piece, member.place_of(place.start))))
}

fn ended(array: &Array, asked: Asked) {
    let member = &array.members[asked.member];
    member.reads_in_flight.set(member.reads_in_flight.get() - 1);
}

/// Reads one copy, whatever comes of it.
pub(super) async fn read_from(array: &Array, layout: &Layout, request: &Request, asked: Asked) -> Outcome {
    let outcome = start(array, layout, request, asked).await;
    ended(array, asked);
    outcome
}
