//! Serving levels that spread data over members without a second copy: linear and raid0.
//!
//! A member's failure is the request's failure. There is nothing to record: no member can be left out. A failed flush is
//! remembered, because what it lost is lost: no later flush may say otherwise.

use std::rc::Rc;

use block::{Cause, Extents, Failed, Fan, Op, Outcome, Range, Request, Sectors, Ticket};

use super::{Extent, first_piece};
use crate::array::Array;
use crate::limits::FAN_OUT;

pub(super) async fn serve(
    array: &Rc<Array>,
    request: Request,
    locate: impl Fn(Sectors) -> Extent,
) -> Outcome {
    if let (Some(failed), Op::Flush | Op::Write | Op::Discard | Op::WriteZeroes) =
        (array.broken(), request.op)
    {
        return Err(failed);
    }
    match request.op {
        Op::Flush => array.flush_members(request.trace).await,
        Op::Status => status(array, request, locate).await,
        Op::Read | Op::Write | Op::Discard | Op::WriteZeroes => pieces(array, request, locate).await,
    }
}

/// Starts the pieces of a request, [`FAN_OUT`] at a time, and waits for all of them.
async fn pieces(array: &Array, request: Request, locate: impl Fn(Sectors) -> Extent) -> Outcome {
    let mut fan = Fan::<FAN_OUT>::default();
    let mut outcome = Ok(());
    let mut left = request.range;
    let mut turn = 0;
    while !left.count.is_zero() {
        let extent = locate(left.start);
        let piece = first_piece(left, extent);
        if let Some(done) = fan.take(turn).await {
            outcome = outcome.and(done);
        }
        fan.put(turn, start(array, extent, request.piece(piece, Sectors::ZERO)));
        turn = (turn + 1) % FAN_OUT;
        left = Range::new(piece.end(), left.count - piece.count);
    }
    let outcome = outcome.and(fan.all().await);
    if let (Err(failed), true) = (outcome, request.is_write()) {
        array.write_failed_for_good(&request, failed);
    }
    outcome
}

fn start(array: &Array, extent: Extent, piece: Request) -> Ticket {
    let member = &array.members[extent.member];
    let range = Range::new(member.place_of(extent.start), piece.range.count);
    member.dev.start(array.to_member(Request { range, ..piece }))
}

/// What is allocated at the start of the range: as far as it lies in one piece on one member.
async fn status(array: &Array, request: Request, locate: impl Fn(Sectors) -> Extent) -> Outcome {
    let words = request.buf.clone().ok_or(Failed::new(Cause::Refused))?;
    let extent = locate(request.range.start);
    let piece = first_piece(request.range, extent);
    match start(array, extent, Request { range: piece, ..request }).await {
        Err(failed) if failed.cause == Cause::Unsupported => {
            Extents::new(&words).set(0, piece.count, false);
            Ok(())
        }
        other => other,
    }
}
