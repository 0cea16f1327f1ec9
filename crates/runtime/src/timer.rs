//! Timers: a heap of moments, each with the task to wake.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use block::Moment;

use crate::executor::core;

/// Timers that fit before the heap has to grow: a few for each array, member and connection.
const TIMERS: usize = 1024;

pub(crate) struct Timers {
    heap: RefCell<BinaryHeap<Timer>>,
    arrivals: Cell<u64>,
}

struct Timer {
    moment: Moment,
    arrival: u64,
    waker: Waker,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers { heap: RefCell::new(BinaryHeap::with_capacity(TIMERS)), arrivals: Cell::new(0) }
    }
}

impl Timers {
    fn add(&self, moment: Moment, waker: Waker) {
        let arrival = self.arrivals.get();
        self.arrivals.set(arrival + 1);
        self.heap.borrow_mut().push(Timer { moment, arrival, waker });
    }

    /// The earliest moment anybody waits for.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.heap.borrow().peek().map(|timer| timer.moment)
    }

    /// Wakes everybody whose moment has come.
    pub(crate) fn fire(&self, now: Moment) {
        let mut heap = self.heap.borrow_mut();
        while heap.peek().is_some_and(|timer| timer.moment <= now) {
            heap.pop().expect("just seen").waker.wake();
        }
    }

    pub(crate) fn clear(&self) {
        self.heap.borrow_mut().clear();
    }
}

/// Waits until `moment`.
pub async fn sleep_until(moment: Moment) {
    let mut armed = false;
    poll_fn(|cx| {
        let core = core();
        if core.driver.now() >= moment {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut armed, true) {
            core.timers.add(moment, cx.waker().clone());
        }
        Poll::Pending
    })
    .await
}

/// Waits for `ms` milliseconds.
pub async fn sleep_ms(ms: u64) {
    sleep_until(crate::now().after_ms(ms)).await
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    /// The earliest is the greatest, because the heap gives the greatest first; ties in the order of arrival.
    fn cmp(&self, other: &Timer) -> Ordering {
        (other.moment, other.arrival).cmp(&(self.moment, self.arrival))
    }
}
