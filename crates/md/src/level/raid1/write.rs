//! Writing to a mirror: all members, or a record of those that failed.

use block::{Cause, Failed, Fan, Op, Outcome, Range, Request, Sectors};
use runtime::rank::Step;

use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::member::{Condition, Member};

/// Bytes of zeroes written at a time where a member cannot make them by itself.
const ZEROES: usize = 256 << 10;

pub(super) async fn write(array: &Array, request: Request) -> Outcome {
    let _range = array.lanes.of(request.range.start).ranges.lock(request.range).await;
    let _writing = array.metadata.begin_write(array).await?;
    let mut fan = Fan::<FAN_OUT>::default();
    for (at, member) in array.members.iter().enumerate().filter(|(_, member)| takes_writes(member)) {
        let there = request.piece(request.range, member.place_of(request.range.start));
        fan.put(at, member.dev.start(array.to_member(there)));
    }
    let mut outcome = Ok(());
    let mut good = 0;
    for (at, member) in array.members.iter().enumerate().take(FAN_OUT) {
        let Some(done) = fan.take(at).await else { continue };
        match settle(array, member, &request, done).await {
            Ok(()) => good += u32::from(member.condition() == Condition::InSync),
            Err(failed) if array.fail(member, failed) => {}
            Err(failed) => {
                array.write_failed_for_good(&request, failed);
                outcome = Err(failed);
            }
        }
    }
    array.recorded().await?; // S5: nobody is told before every failure is on record
    match outcome {
        Ok(()) if good == 0 => Err(Failed::new(Cause::Degraded)),
        other => other,
    }
}

fn takes_writes(member: &Member) -> bool {
    member.slot.is_some() && member.condition() == Condition::InSync
}

/// What a member's answer means: a discard that it does not know is no failure, zeroes that it cannot make are written.
async fn settle(array: &Array, member: &Member, request: &Request, done: Outcome) -> Outcome {
    match (done, request.op) {
        (Err(Failed { cause: Cause::Unsupported, .. }), Op::Discard) => Ok(()),
        (Err(Failed { cause: Cause::Unsupported, .. }), Op::WriteZeroes) => {
            zero(array, member, request).await
        }
        (done, _) => done,
    }
}

async fn zero(array: &Array, member: &Member, request: &Request) -> Outcome {
    array.rank(Step::Buffers).wait();
    let zeroes = array.arena.wait_take(ZEROES).await;
    zeroes.fill_zero();
    let mut left = request.range;
    while !left.count.is_zero() {
        let some = left.count.min(Sectors::from_bytes(ZEROES as u64));
        let write = Request::write(member.place_of(left.start), zeroes.slice(0, some.byte_len()));
        let write = Request { fua: request.fua, origin: request.origin, trace: request.trace, ..write };
        member.dev.start(array.to_member(write)).await?;
        left = Range::new(left.start + some, left.count - some);
    }
    Ok(())
}
