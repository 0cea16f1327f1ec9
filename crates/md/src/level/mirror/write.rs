//! Writing to a mirror: all copies, or a record of those that failed.

use block::{Cause, Failed, Fan, Op, Outcome, Range, Request, Sectors};
use runtime::Engine;
use runtime::rank::Step;

use super::copies::Layout;
use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::member::{Condition, Member};
use crate::narrow::narrow;

/// Bytes of zeroes written at a time where a member cannot make them by itself.
const ZEROES: usize = 256 << 10;

/// Writes under way: for every copy of a piece two places, one for the member in its slot, one for its replacement.
struct UnderWay {
    fan: Fan<WIDTH>,
    /// Whom each went to, by its place.
    to: [usize; WIDTH],
    pieces: [Range; FAN_OUT],
}

const WIDTH: usize = 2 * FAN_OUT;

/// Writes all copies of every piece, as many pieces at once as the fan has room for.
pub(super) async fn write(array: &Array, layout: &Layout, request: Request) -> Outcome {
    let _range = array.lanes.of(request.range.start).ranges.lock(request.range).await;
    let _writing = array.begin_write(request.range).await?;
    let mut under_way = UnderWay { fan: Fan::default(), to: [0; WIDTH], pieces: [Range::default(); FAN_OUT] };
    let turns = FAN_OUT / layout.copies();
    let (mut turn, mut outcome, mut left) = (0, Ok(()), request.range);
    while !left.count.is_zero() {
        let piece = layout.first_piece(left);
        outcome = outcome.and(settle(array, layout, &request, &mut under_way, turn).await);
        start(array, layout, &request, &mut under_way, turn, piece);
        turn = (turn + 1) % turns;
        left = Range::new(piece.end(), left.count - piece.count);
    }
    for turn in 0..turns {
        outcome = outcome.and(settle(array, layout, &request, &mut under_way, turn).await);
    }
    array.recorded().await?; // S5: nobody is told before every failure is on record
    outcome
}

/// Starts the writes of one piece to its copies: in the places of the fan that belong to `turn`.
fn start(
    array: &Array,
    layout: &Layout,
    request: &Request,
    under_way: &mut UnderWay,
    turn: usize,
    piece: Range,
) {
    under_way.pieces[turn] = piece;
    for (copy, place) in layout.places(piece.start).enumerate() {
        for (number, at) in array.written(place.slot).enumerate() {
            let index = (turn * layout.copies() + copy) * 2 + number;
            let member = &array.members[at];
            let there = request.piece(piece, member.place_of(place.start));
            under_way.to[index] = at;
            under_way.fan.put(index, member.dev.start(array.to_member(there)));
        }
    }
}

/// Waits for the writes of a piece. Of a member that did not take it the blocks are listed as bad, or else it is failed. The
/// piece is written when it is on at least one member that is in sync afterwards.
async fn settle(
    array: &Array,
    layout: &Layout,
    request: &Request,
    under_way: &mut UnderWay,
    turn: usize,
) -> Outcome {
    let piece = std::mem::take(&mut under_way.pieces[turn]);
    if piece.count.is_zero() {
        return Ok(());
    }
    let (mut outcome, mut good) = (Ok(()), 0);
    let mut refused = [None; WIDTH];
    for (copy, place) in layout.places(piece.start).enumerate() {
        for number in 0..2 {
            let index = (turn * layout.copies() + copy) * 2 + number;
            let Some(done) = under_way.fan.take(index).await else { continue };
            let member = &array.members[under_way.to[index]];
            let there = Range::new(member.place_of(place.start), piece.count);
            match judge(array, member, request, there, done).await {
                Ok(()) => {
                    good += u32::from(member.condition() == Condition::InSync);
                    if request.op != Op::Discard {
                        array.was_written(member, there);
                    }
                }
                Err(failed) => refused[2 * copy + number] = Some((under_way.to[index], there, failed)),
            }
        }
    }
    for (at, there, failed) in refused.into_iter().flatten() {
        let member = &array.members[at];
        // Only what others have can be done without here.
        let failed = match good {
            0 => failed,
            _ => {
                let block = Sectors::from_bytes(array.geometry().logical_block.into());
                let write = request.piece(piece, there.start);
                match narrow(array, member, &write, block, failed).await {
                    Ok(()) => continue,
                    Err(failed) => failed,
                }
            }
        };
        if !array.fail(member, failed) {
            array.write_failed_for_good(request, failed);
            outcome = Err(failed);
        }
    }
    match outcome {
        Ok(()) if good == 0 => Err(Failed::new(Cause::Degraded)),
        other => other,
    }
}

/// What a member's answer means: a discard that it does not know is no failure, zeroes that it cannot make are written.
async fn judge(array: &Array, member: &Member, request: &Request, there: Range, done: Outcome) -> Outcome {
    match (done, request.op) {
        (Err(Failed { cause: Cause::Unsupported, .. }), Op::Discard) => Ok(()),
        (Err(Failed { cause: Cause::Unsupported, .. }), Op::WriteZeroes) => {
            zero(array, member, request, there).await
        }
        (done, _) => done,
    }
}

async fn zero(array: &Array, member: &Member, request: &Request, there: Range) -> Outcome {
    array.rank(Step::Buffers).wait();
    let zeroes = array.arena.wait_take(ZEROES).await;
    zeroes.fill_zero();
    let mut left = there;
    while !left.count.is_zero() {
        let some = left.count.min(Sectors::from_bytes(ZEROES as u64));
        let write = Request::write(left.start, zeroes.slice(0, some.byte_len()));
        let write = Request { fua: request.fua, origin: request.origin, trace: request.trace, ..write };
        member.dev.start(array.to_member(write)).await?;
        left = Range::new(left.start + some, left.count - some);
    }
    Ok(())
}
