//! Mailboxes: bounded queues from other threads into a core.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A mailbox for up to `capacity` messages.
pub fn mailbox<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let queue = Queue { messages: VecDeque::with_capacity(capacity), capacity, waker: None, closed: false };
    let shared = Arc::new(Mutex::new(queue));
    (Sender { shared: shared.clone() }, Receiver { shared })
}

struct Queue<T> {
    messages: VecDeque<T>,
    capacity: usize,
    waker: Option<Waker>,
    closed: bool,
}

/// The end that other threads hold.
pub struct Sender<T> {
    shared: Arc<Mutex<Queue<T>>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { shared: self.shared.clone() }
    }
}

/// The end that the core holds.
pub struct Receiver<T> {
    shared: Arc<Mutex<Queue<T>>>,
}

impl<T> Sender<T> {
    /// Puts a message in; gives it back when the box is full or its core has gone.
    pub fn send(&self, message: T) -> Result<(), T> {
        let mut queue = lock(&self.shared);
        if queue.closed || queue.messages.len() == queue.capacity {
            return Err(message);
        }
        queue.messages.push_back(message);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// The next message.
    pub async fn recv(&self) -> T {
        poll_fn(|cx| {
            let mut queue = lock(&self.shared);
            match queue.messages.pop_front() {
                Some(message) => Poll::Ready(message),
                None => {
                    queue.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        lock(&self.shared).closed = true;
    }
}

fn lock<T>(shared: &Mutex<Queue<T>>) -> MutexGuard<'_, Queue<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
