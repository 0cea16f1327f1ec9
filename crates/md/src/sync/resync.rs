//! Resync: making what a dirty array keeps more than once consistent again, from the recorded position to the end.

use std::rc::Rc;

use block::{Arena, Outcome, Range, Sectors};
use md_format::ResyncOffset;

use super::windows::{Ended, Walk, walk};
use super::{Action, FINEST};
use crate::array::{Array, Happening};
use crate::bitmap::Bitmap;
use crate::level;
use crate::plant::{self, Plant};

struct Resync;

impl Walk for Resync {
    fn next_part(&self, array: &Array, wanted: Range) -> Option<Range> {
        let nothing = Range::new(wanted.end(), Sectors::ZERO);
        if level::has_nothing_to_compare(array) {
            return Some(nothing); // one copy is equal to itself
        }
        let wanted = match array.bitmap.now() {
            Some(bitmap) => marked_part(&bitmap, wanted),
            None => wanted,
        };
        // Members may have gone since it began.
        let limit = level::resync_limit(array);
        match wanted.count.is_zero() {
            true => Some(wanted),
            false if wanted.start >= limit => None,
            false => Some(Range::new(wanted.start, wanted.count.min(limit - wanted.start))),
        }
    }

    async fn window(&self, array: &Array, memory: &Rc<Arena>, window: Range) -> Outcome {
        level::sync_window(array, memory, window).await
    }

    fn advance(&self, array: &Array, position: Sectors) {
        set_offset(array, position);
    }
}

/// Everything before `position` is consistent. Durable that becomes with the next clean superblock, after a flush.
pub(super) fn set_offset(array: &Array, position: Sectors) {
    array.sync.offset.set(ResyncOffset::At(position.0));
    if let Some(bitmap) = array.bitmap.now() {
        bitmap.synced_up_to(position);
    }
    array.metadata.note_resync(ResyncOffset::At(position.0));
}

/// The first part of `range` that a bitmap marks, in whole pages; the end of the range if there is none.
fn marked_part(bitmap: &Bitmap, range: Range) -> Range {
    let Some(needed) = bitmap.next_needed(range.start, range.count) else {
        return Range::new(range.end(), Sectors::ZERO);
    };
    let page = Sectors::from_bytes(FINEST);
    let start = needed.start.round_down(page).max(range.start);
    let end = Sectors(needed.end().0.next_multiple_of(page.0)).min(range.end());
    Range::new(start, end - start)
}

pub(super) async fn run(array: &Rc<Array>) {
    let from = match array.sync.offset.get() {
        ResyncOffset::At(position) => Sectors(position).round_down(Sectors::from_bytes(FINEST)),
        ResyncOffset::Complete => return,
    };
    array.sync.offset.set(ResyncOffset::At(from.0));
    array.happen(Happening::SyncStarted { action: Action::Resync, from: from.0 });
    // A power cut may have left superblocks that lie an event apart: before anything is written, each must say that what
    // is resynced may differ (S5).
    array.metadata.require();
    if array.metadata.settled().await.is_err() {
        return;
    }
    let ended = walk(array, Rc::new(Resync), from, array.sync_size()).await;
    match ended {
        Ended::AtTheEnd => complete(array).await,
        Ended::Failed(_) => array.sync.set_stuck(Action::Resync, array.epoch()),
        Ended::At(_) => {}
    }
}

/// Everything is equal: flush it, then say so.
pub(super) async fn complete(array: &Array) {
    if !plant::is(Plant::CompleteBeforeFlush) && array.flush_members(0).await.is_err() {
        return;
    }
    array.metadata.require_resync(ResyncOffset::Complete);
    if array.metadata.settled().await.is_ok() {
        array.sync.offset.set(ResyncOffset::Complete);
        if let Some(bitmap) = array.bitmap.now() {
            bitmap.synced_up_to(array.sync_size());
        }
        array.happen(Happening::SyncComplete { action: Action::Resync });
    }
}
