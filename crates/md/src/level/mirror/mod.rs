//! Mirrors: raid1, the same on every member, and raid10, every chunk on some of them.
//!
//! A request falls into pieces that each lie in one piece on all of their copies: the whole of it on raid1, chunk by
//! chunk on raid10. Writes go to all copies that are in sync, under a lock of their range, so that overlapping writes
//! leave the same on each. Reads go to one of them; which one is decided in `choose`. Repair of what cannot be read is
//! in `repair`, where the copies lie in `copies`.

mod choose;
mod compare;
mod copies;
mod read;
mod recover;
mod repair;
mod resync;
mod scrub;
mod write;

use std::rc::Rc;

use block::{Op, Outcome, Range, Request};

pub(crate) use copies::Layout;
pub(super) use recover::{next_marked_rows, recover_window, rows};
pub(super) use resync::sync_window;
pub(super) use scrub::scrub_window;

use crate::array::Array;
use crate::plant::{self, Plant};

pub(super) async fn serve(array: &Rc<Array>, layout: &Layout, request: Request) -> Outcome {
    match request.op {
        Op::Read | Op::Write | Op::Discard | Op::WriteZeroes => parts(array, layout, request).await,
        Op::Status => read::status(array, layout, request).await,
        Op::Flush => flush(array, request.trace).await,
    }
}

/// Reads or writes lane by lane.
async fn parts(array: &Array, layout: &Layout, request: Request) -> Outcome {
    let mut left = request.range;
    while !left.count.is_zero() {
        let part = array.lanes.first_part(left);
        let piece = request.piece(part, part.start);
        match request.op {
            Op::Read => read::read(array, layout, piece).await?,
            _ => write::write(array, layout, piece).await?,
        }
        left = Range::new(part.end(), left.count - part.count);
    }
    Ok(())
}

/// Every member that is in sync is flushed. A member whose flush fails is failed, and that is recorded before the flush
/// is answered; when it is the last copy, this flush and every later one fails.
async fn flush(array: &Array, trace: u32) -> Outcome {
    if let Some(failed) = array.broken() {
        return Err(failed);
    }
    if plant::is(Plant::FlushSwallowed) {
        return Ok(());
    }
    array.flush_members(trace).await?;
    array.recorded().await
}
