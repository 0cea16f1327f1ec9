//! The write journal of an array with parity, read: what it holds goes to the members before anything is read from them.
//!
//! Follows Linux 6.12's raid5-cache.c. Only arrays that are open for reading have theirs replayed, onto the overlays of
//! their members; nothing is written to the journal itself.

mod plan;
mod replay;

use std::cell::Cell;

use block::{Dev, Failed, Outcome, Sectors};
use md_format::superblock::Summary;
use runtime::Event;

pub(super) use self::replay::run;

/// An array's journal.
pub(crate) struct Journal {
    dev: Dev,
    data_offset: Sectors,
    /// Sectors of the ring.
    ring: u64,
    /// Where the oldest block lies that is needed.
    tail: u64,
    /// What checksums start from.
    seed: u32,
    state: Cell<State>,
    changed: Event,
}

#[derive(Clone, Copy)]
enum State {
    Replaying,
    Replayed(Outcome),
}

impl Journal {
    /// The journal on `dev`, whose superblock says this.
    pub fn new(dev: Dev, summary: &Summary) -> Journal {
        let ring = summary.data_size / md_format::journal::BLOCK_SECTORS * md_format::journal::BLOCK_SECTORS;
        Journal {
            dev,
            data_offset: Sectors(summary.data_offset),
            ring,
            tail: md_format::journal::tail(summary.journal_tail.unwrap_or(0), ring),
            seed: md_format::journal::seed(&summary.array_uuid),
            state: Cell::new(State::Replaying),
            changed: Event::with_capacity(2 * crate::limits::SLOTS),
        }
    }

    /// Waits until what it holds is on the members.
    pub async fn replayed(&self) -> Outcome {
        self.changed.wait_until(|| matches!(self.state.get(), State::Replayed(_))).await;
        match self.state.get() {
            State::Replayed(outcome) => outcome,
            State::Replaying => Err(Failed::new(block::Cause::Refused)),
        }
    }

    fn set_replayed(&self, outcome: Outcome) {
        self.state.set(State::Replayed(outcome));
        self.changed.notify();
    }
}
