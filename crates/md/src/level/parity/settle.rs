//! What comes of writes to the members of a stripe. What a member did not take is listed as bad there and lives in the others,
//! or else the member is failed.
//!
//! Follows Linux 6.12's raid5: the block is listed whatever else is missing of its rows. Where that is more than parity can
//! give back, the write has failed; the array goes on.

use block::{Cause, Failed, Outcome, Range, Sectors};
use runtime::Engine;

use super::Striped;
use super::plan::plan_recovery;
use super::slots::Slots;
use super::work::{Refused, Work};
use crate::array::Array;
use crate::narrow::{PAGE, not_taken, parts};

/// What has become of writes.
#[derive(Clone, Copy, Default)]
pub(super) struct Settled {
    /// A member that cannot be done without did not take something, and it could not be listed: nobody knows what it holds.
    pub unknown: Option<Failed>,
    /// Blocks are listed that parity does not give back.
    pub lost: Option<Failed>,
}

/// Waits for all writes under way, and lists or fails.
pub(super) async fn settle_writes(array: &Array, level: &Striped, work: &mut Work) -> Settled {
    work.await_writes(|at, write| {
        let member = &array.members[at];
        if member.is_written() {
            array.was_written(member, write.range);
        }
    })
    .await;
    let mut settled = Settled::default();
    let mut refused = std::mem::take(&mut work.refused);
    for Refused { at, write, failed, .. } in &refused {
        if let Err(failed) = not_taken(array, &array.members[*at], write, PAGE, *failed).await {
            settled.unknown = settled.unknown.or(Some(failed));
        }
    }
    // All that can be listed is: what is left of each row counts now.
    for Refused { at, write, .. } in &refused {
        if loses(array, level, *at, write.range) {
            settled.lost = Some(Failed::new(Cause::Medium));
        }
    }
    refused.clear();
    work.refused = refused;
    settled
}

/// The same where the data was there before, so that nothing is lost.
pub(super) async fn settle_copies(array: &Array, level: &Striped, work: &mut Work) -> Outcome {
    settle_writes(array, level, work).await.unknown.map_or(Ok(()), Err)
}

/// Whether something is listed in the range of a member's disk where parity does not give back all that is lost.
fn loses(array: &Array, level: &Striped, at: usize, range: Range) -> bool {
    let member = &array.members[at];
    if !member.is_written() {
        return false;
    }
    let block = Sectors::from_bytes(array.geometry().logical_block.into());
    let rows = Range::new(range.start - member.data_offset, range.count);
    member.bad_rows(rows).any(|listed| parts(listed, block).any(|block| !level.gives_all(array, block)))
}

impl Striped {
    /// Whether all data of some rows of a stripe is within reach.
    pub(super) fn gives_all(&self, array: &Array, rows: Range) -> bool {
        let stripe = self.map.stripe(rows.start.0 / self.map.chunk().0);
        let known = self.known(array, rows, Slots::NONE);
        let gone = stripe.data() & (known.absent | known.unreadable | known.void);
        gone.is_empty() || plan_recovery(&stripe, known).is_ok()
    }
}
