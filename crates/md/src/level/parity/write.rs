//! Writing: a request becomes parts, a part joins the group of its stripe, and whoever came first carries the group out.

use block::{Outcome, Range, Request};
use runtime::yield_now;

use super::Striped;
use super::group::{Joined, Part};
use super::stripe;
use crate::array::Array;
use crate::limits::STRIPES_JOINED;

/// Writes `request`, whose buffer is `None` for zeroes.
pub(super) async fn write(array: &Array, level: &Striped, request: Request) -> Outcome {
    let mut outcome = Ok(());
    let mut parts = level.map.parts(request.range).peekable();
    while parts.peek().is_some() {
        // All groups are joined before any is attended to, so that neighbours meet.
        let mut joined: [Option<(u64, Joined)>; STRIPES_JOINED] = [None; STRIPES_JOINED];
        for (place, (stripe, range)) in joined.iter_mut().zip(&mut parts) {
            let groups = &level.groups[array.lanes.number_of(level.map.rows_of(stripe).start)];
            *place = Some((stripe, groups.join(stripe, part_of(&request, range))));
        }
        for (stripe, joined) in joined.into_iter().flatten() {
            let groups = &level.groups[array.lanes.number_of(level.map.rows_of(stripe).start)];
            if joined.leads {
                lead(array, level, stripe).await;
            }
            outcome = outcome.and(groups.outcome(joined.id).await);
        }
    }
    // A group that failed has no say over what was recorded meanwhile (S5).
    array.recorded().await?;
    outcome
}

fn part_of(request: &Request, range: Range) -> Part {
    let buf = request.buf.as_ref().map(|_| request.piece(range, range.start).buf.expect("it has one"));
    Part { range, buf, fua: request.fua, trace: request.trace }
}

/// Carries out the group of a stripe.
async fn lead(array: &Array, level: &Striped, stripe: u64) {
    let rows = level.map.rows_of(stripe);
    let groups = &level.groups[array.lanes.number_of(rows.start)];
    // What came with this request, in the same breath, joins before the group is closed; nobody waits for more.
    yield_now().await;
    // Who may have to wait for space in a journal while rows are locked has all else that is needed (P2).
    let early = match level.journal() {
        Some(journal) => Some(journal.writers().take().await),
        None => None,
    };
    let _rows = level.lock(array, rows).await;
    let mut work = match early {
        Some(work) => work,
        None => level.works.take().await,
    };
    let writing = array.begin_write(rows).await;
    let mut parts = std::mem::take(&mut work.parts);
    groups.take(stripe, &mut parts);
    match writing {
        Ok(_writing) => stripe::write(array, level, stripe, &mut work, &parts, groups).await,
        Err(failed) => parts.iter().for_each(|(id, _)| groups.finish(*id, Err(failed))),
    }
    parts.clear();
    work.parts = parts;
}
