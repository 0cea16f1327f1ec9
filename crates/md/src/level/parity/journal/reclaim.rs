//! Moving the tail of a journal: what lies before it is safe on the members then, and its space is used again.

use crate::waits;
use block::Outcome;
use runtime::waits::doing;

use super::Journal;
use crate::array::Array;
use crate::plant::{self, Plant};

/// Moves the tail whenever that is worth it, until the array is stopped or nothing can be written any more.
pub(super) async fn run(array: &Array, journal: &Journal) {
    let moving = doing(waits::TAIL);
    loop {
        let is_due = || {
            let reclaimable = journal.ring.borrow().reclaimable().map_or(0, |reclaim| reclaim.sectors);
            let least = if journal.is_full.get() || journal.emptying.get() { 1 } else { journal.enough() };
            reclaimable >= least
        };
        let ends = || journal.stopping.get() || journal.hitch(array).is_some();
        journal.changed.wait_until(|| is_due() || ends()).await;
        if ends() {
            break;
        }
        if move_tail(array, journal).await.is_err() {
            break; // whoever waits learns it from the array, or from the journal
        }
    }
    drop(moving); // who writes out of a journal that takes no more needs no space in it
    if journal.failure().is_some() && array.broken().is_none() && journal.drained(array).await.is_ok() {
        // What was answered was durable in the journal. Now that is for the members to be.
        let _ = array.flush_members(0).await; // a member whose flush fails is failed, or the array is broken
    }
}

/// Moves the tail as far as it may be: members flushed, failures recorded, the superblock durable, in this order.
pub(super) async fn move_tail(array: &Array, journal: &Journal) -> Outcome {
    let Some(reclaim) = journal.ring.borrow().reclaimable() else { return Ok(()) };
    if !plant::is(Plant::TailBeforeFlush) {
        array.flush_members(0).await?;
    }
    // Whoever missed a row of it is on record before the tail says that nobody did.
    array.metadata.membership_settled().await?;
    journal.hitch(array).map_or(Ok(()), Err)?;
    journal.tail.set(reclaim.tail);
    array.metadata.require();
    array.metadata.settled().await?;
    journal.hitch(array).map_or(Ok(()), Err)?;
    journal.ring.borrow_mut().reclaim(reclaim);
    journal.changed.notify();
    Ok(())
}
