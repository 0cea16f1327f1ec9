//! Standing still: what an array looks like changes only while no request is under way, no sync action runs, and no
//! superblock is being written. Requests that come meanwhile wait, in order, and find the array as it is then.

use std::cell::Cell;

use runtime::Event;

use crate::array::Array;
use crate::limits::SLOTS;

/// Who may pass.
pub(crate) struct Still {
    closed: Cell<bool>,
    changed: Event,
}

impl Default for Still {
    fn default() -> Still {
        Still { closed: Cell::new(false), changed: Event::with_capacity(2 * SLOTS) }
    }
}

impl Still {
    /// Waits until requests may begin.
    pub async fn passed(&self) {
        if self.closed.get() {
            self.changed.wait_until(|| !self.closed.get()).await;
        }
    }

    /// A request has ended.
    pub fn left(&self) {
        if self.closed.get() {
            self.changed.notify();
        }
    }
}

/// While this lives, an array stands still.
pub(crate) struct StandingStill<'a> {
    array: &'a Array,
}

impl Drop for StandingStill<'_> {
    fn drop(&mut self) {
        self.array.still.closed.set(false);
        self.array.still.changed.notify();
        self.array.sync.release();
    }
}

impl Array {
    /// Ends the action that runs where it is, and lets no request begin until the guard is dropped. `None` while somebody
    /// else changes something, or the array stops.
    pub(crate) async fn stand_still(&self) -> Option<StandingStill<'_>> {
        if !self.sync.hold().await {
            return None;
        }
        let still = StandingStill { array: self };
        self.still.closed.set(true);
        self.still.changed.wait_until(|| self.clients.get() == 0).await;
        Some(still)
    }
}
