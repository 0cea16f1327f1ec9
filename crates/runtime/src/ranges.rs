//! Locks on ranges of sectors: overlapping holders take turns in the order in which they came.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use block::Range;

use crate::rank::{Holding, Rank};

/// Locks on ranges. First come, first served: a lock is granted when no earlier overlapping one is left.
pub struct RangeLocks {
    entries: RefCell<Vec<Entry>>,
    arrivals: Cell<u64>,
    rank: Rank,
}

struct Entry {
    arrival: u64,
    range: Range,
    waiter: Option<Waker>,
}

impl RangeLocks {
    /// Locks for up to `holders` at a time (waiting ones included) without allocating. Waiting for one has `rank`.
    pub fn new(holders: usize, rank: Rank) -> RangeLocks {
        RangeLocks { entries: RefCell::new(Vec::with_capacity(holders)), arrivals: Cell::new(0), rank }
    }

    /// Locks `range`, waiting for every earlier lock that overlaps it.
    pub async fn lock(&self, range: Range) -> Held<'_> {
        self.rank.wait();
        let arrival = self.arrivals.get();
        self.arrivals.set(arrival + 1);
        self.entries.borrow_mut().push(Entry { arrival, range, waiter: None });
        let mut held = Held { locks: self, arrival, range, _holding: None };
        poll_fn(|cx| {
            let mut entries = self.entries.borrow_mut();
            let own = entries.iter().position(|entry| entry.arrival == arrival).expect("entered above");
            if !entries[..own].iter().any(|earlier| earlier.range.overlaps(range)) {
                return Poll::Ready(());
            }
            entries[own].waiter = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        held._holding = Some(self.rank.hold());
        held
    }

    /// Locks `range` if nobody has, or waits for, any of it.
    pub fn try_lock(&self, range: Range) -> Option<Held<'_>> {
        let mut entries = self.entries.borrow_mut();
        if entries.iter().any(|earlier| earlier.range.overlaps(range)) {
            return None;
        }
        let arrival = self.arrivals.get();
        self.arrivals.set(arrival + 1);
        entries.push(Entry { arrival, range, waiter: None });
        Some(Held { locks: self, arrival, range, _holding: Some(self.rank.hold()) })
    }

    fn release(&self, arrival: u64, range: Range) {
        let mut entries = self.entries.borrow_mut();
        let own = entries.iter().position(|entry| entry.arrival == arrival).expect("held until released");
        entries.remove(own); // order matters: it is the order of arrival
        for entry in entries.iter_mut().filter(|entry| entry.range.overlaps(range)) {
            if let Some(waiter) = entry.waiter.take() {
                waiter.wake();
            }
        }
    }
}

/// A locked range; unlocked when dropped.
pub struct Held<'a> {
    locks: &'a RangeLocks,
    arrival: u64,
    range: Range,
    _holding: Option<Holding>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.locks.release(self.arrival, self.range);
    }
}
