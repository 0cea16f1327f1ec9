//! An event: tasks wait until a condition holds, and are woken whenever it may have changed.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::waits::Awaited;

/// Something to wait for. Level-triggered by design: a waiter looks at the condition itself, before it waits and
/// after each wake-up, so a notification can come early, late or twice and nothing is lost.
#[derive(Default)]
pub struct Event {
    waiters: RefCell<Vec<Waker>>,
}

impl Event {
    /// An event on which `waiters` tasks can wait without allocating.
    pub fn with_capacity(waiters: usize) -> Event {
        Event { waiters: RefCell::new(Vec::with_capacity(waiters)) }
    }

    /// Waits until `condition` holds. It is looked at now and after every [`Event::notify`].
    pub async fn wait_until(&self, mut condition: impl FnMut() -> bool) {
        poll_fn(|cx| {
            if condition() {
                return Poll::Ready(());
            }
            let mut waiters = self.waiters.borrow_mut();
            if !waiters.iter().any(|known| known.will_wake(cx.waker())) {
                waiters.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// The same, for what only somebody else's work brings.
    pub async fn wait_for(&self, awaited: Awaited, mut condition: impl FnMut() -> bool) {
        if condition() {
            return;
        }
        let _waiting = awaited.begin();
        self.wait_until(condition).await;
    }

    /// Wakes every waiter, in the order in which they came.
    pub fn notify(&self) {
        // Waking only queues a task, so nobody can come back here while the list is lent out.
        for waiter in self.waiters.borrow_mut().drain(..) {
            waiter.wake();
        }
    }
}
