//! Making the copies of a mirror equal.

use std::rc::Rc;

use block::{Arena, Buf, Cause, Failed, Fan, Outcome, Range, Request, Sectors};

use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::member::{Condition, Member};
use crate::resync::{count_written, on_behalf_of_sync};

/// The unit in which what cannot be read is looked for within a window.
const FINEST: usize = 4096;

/// Reads all copies of a window, under a lock of its range, and writes those that differ from the first.
pub(in crate::level) async fn sync_window(array: &Array, memory: &Rc<Arena>, window: Range) -> Outcome {
    let _range = array.lanes.of(window.start).ranges.lock(window).await;
    let unreadable = sync_piece(array, memory, window).await?;
    if unreadable {
        let step = Sectors::from_bytes(FINEST as u64);
        let mut left = window;
        while !left.count.is_zero() {
            let some = left.count.min(step);
            sync_piece(array, memory, Range::new(left.start, some)).await?;
            left = Range::new(left.start + some, left.count - some);
        }
    }
    array.recorded().await
}

/// Makes the copies of `range` equal. True when some copy could not be read and the range should be tried in smaller
/// pieces; a piece as small as [`FINEST`] is then written from a copy that could be.
async fn sync_piece(array: &Array, memory: &Rc<Arena>, range: Range) -> Result<bool, Failed> {
    let mut bufs: [Option<Buf>; FAN_OUT] = [const { None }; FAN_OUT];
    let mut fan = Fan::<FAN_OUT>::default();
    for (at, member) in copies(array) {
        let buf = memory.wait_take(range.count.byte_len()).await;
        let read = Request::read(member.place_of(range.start), buf.clone());
        fan.put(at, member.dev.start(array.to_member(on_behalf_of_sync(read))));
        bufs[at] = Some(buf);
    }
    let mut unreadable = false;
    for (at, member) in array.members.iter().enumerate().take(FAN_OUT) {
        match fan.take(at).await {
            None | Some(Ok(())) => {}
            Some(Err(failed)) => {
                unreadable = true;
                bufs[at] = None;
                if failed.cause != Cause::Medium && !array.fail(member, failed) {
                    return Err(failed);
                }
            }
        }
    }
    if unreadable && range.count.byte_len() > FINEST {
        return Ok(true);
    }
    // The first copy is the one that clients are given where copies may differ (S8): it is the one to keep.
    let Some(source) = bufs.iter().flatten().next().cloned() else {
        return Ok(false); // no copy can be read here: nothing is lost by leaving it, and reads will say so
    };
    let mut fan = Fan::<FAN_OUT>::default();
    for (at, member) in copies(array) {
        if bufs[at].as_ref().is_some_and(|buf| buf.same_bytes(&source)) {
            continue;
        }
        let write = Request::write(member.place_of(range.start), source.clone());
        fan.put(at, member.dev.start(array.to_member(on_behalf_of_sync(write))));
        count_written(array, range.count);
    }
    for (at, member) in array.members.iter().enumerate().take(FAN_OUT) {
        if let Some(Err(failed)) = fan.take(at).await
            && !array.fail(member, failed)
        {
            return Err(failed);
        }
    }
    Ok(false)
}

fn copies(array: &Array) -> impl Iterator<Item = (usize, &Rc<Member>)> {
    array.members.iter().enumerate().filter(|(_, member)| member.condition() == Condition::InSync)
}
