//! Tickets and promises: how a started request tells its caller what came of it, without allocating.
//!
//! A request in flight is an entry in a table of the thread. The caller holds the [`Ticket`], a future; whoever
//! carries the request out holds the [`Promise`], and keeps it exactly once. Tickets are hot: the request runs
//! whether or not its ticket is polled, so awaiting several in turn is a join. Dropping a ticket cancels nothing:
//! the other side still owns the buffer until the device has answered.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::{Cause, Failed, Outcome};

struct Entry {
    generation: u32,
    state: State,
}

enum State {
    Free,
    Running(Option<Waker>),
    Abandoned,
    Done(Outcome),
}

#[derive(Default)]
struct Table {
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<u32>>,
    short: Cell<u64>,
}

thread_local! {
    static TABLE: Table = Table::default();
}

/// Makes room for `count` more requests in flight on this thread. Each layer calls it when it is built with its
/// slots times the requests a slot has under way at once, so that the table never grows later.
pub fn reserve(count: usize) {
    TABLE.with(|table| table.grow(count));
}

/// How often a request found the table full and had to grow it: a layer reserved too little. Tests want zero.
pub fn tickets_short() -> u64 {
    TABLE.with(|table| table.short.get())
}

/// How many requests this thread has in flight now.
pub fn tickets_in_flight() -> usize {
    TABLE.with(|table| table.entries.borrow().len() - table.free.borrow().len())
}

impl Table {
    fn grow(&self, count: usize) {
        let mut entries = self.entries.borrow_mut();
        let mut free = self.free.borrow_mut();
        let old = entries.len();
        entries.extend((0..count).map(|_| Entry { generation: 0, state: State::Free }));
        let capacity = entries.len();
        let missing = capacity - free.len();
        free.reserve(missing);
        let new = u32::try_from(old).expect("fewer than 2^32 tickets")..capacity as u32;
        free.extend(new.rev());
    }

    fn open(&self) -> (u32, u32) {
        let taken = self.free.borrow_mut().pop();
        let index = taken.unwrap_or_else(|| {
            self.short.set(self.short.get() + 1);
            self.grow(64);
            self.free.borrow_mut().pop().expect("the table has just grown")
        });
        let entry = &mut self.entries.borrow_mut()[index as usize];
        entry.state = State::Running(None);
        (index, entry.generation)
    }

    fn release(&self, index: u32) {
        let entry = &mut self.entries.borrow_mut()[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.state = State::Free;
        self.free.borrow_mut().push(index);
    }

    fn finish(&self, index: u32, generation: u32, outcome: Outcome) {
        let mut entries = self.entries.borrow_mut();
        let entry = &mut entries[index as usize];
        assert_eq!(entry.generation, generation, "a promise is kept once");
        match std::mem::replace(&mut entry.state, State::Done(outcome)) {
            State::Running(waiter) => {
                drop(entries);
                if let Some(waiter) = waiter {
                    waiter.wake();
                }
            }
            State::Abandoned => {
                drop(entries);
                self.release(index);
            }
            State::Free | State::Done(_) => unreachable!("a promise is kept once"),
        }
    }

    fn poll(&self, index: u32, generation: u32, cx: &Context<'_>) -> Poll<Outcome> {
        let mut entries = self.entries.borrow_mut();
        let entry = &mut entries[index as usize];
        assert_eq!(entry.generation, generation, "a ticket is taken once");
        match &mut entry.state {
            State::Done(outcome) => {
                let outcome = *outcome;
                drop(entries);
                self.release(index);
                Poll::Ready(outcome)
            }
            State::Running(waiter) => {
                match waiter {
                    Some(known) => known.clone_from(cx.waker()),
                    None => *waiter = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            State::Free | State::Abandoned => unreachable!("a ticket is taken once"),
        }
    }

    fn abandon(&self, index: u32) {
        let mut entries = self.entries.borrow_mut();
        let entry = &mut entries[index as usize];
        match entry.state {
            State::Done(_) => {
                drop(entries);
                self.release(index);
            }
            _ => entry.state = State::Abandoned,
        }
    }
}

/// The caller's half of a request in flight: a future of its [`Outcome`].
#[must_use = "the request runs whether awaited or not; say `.detach()` where nobody wants to know its outcome"]
pub struct Ticket {
    index: u32,
    generation: u32,
    taken: bool,
}

/// The other half: whoever carries the request out keeps it once, with [`Promise::finish`].
///
/// A promise that is dropped instead fails its request with [`Cause::Gone`]: a device that vanishes leaves nobody
/// waiting for ever.
pub struct Promise {
    index: u32,
    generation: u32,
}

impl Ticket {
    /// A new pair.
    pub fn pair() -> (Ticket, Promise) {
        let (index, generation) = TABLE.with(Table::open);
        (Ticket { index, generation, taken: false }, Promise { index, generation })
    }

    /// A ticket whose outcome is known already.
    pub fn ready(outcome: Outcome) -> Ticket {
        let (ticket, promise) = Ticket::pair();
        promise.finish(outcome);
        ticket
    }

    /// Lets the request run with nobody waiting for it.
    pub fn detach(self) {}
}

impl Future for Ticket {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let polled = TABLE.with(|table| table.poll(self.index, self.generation, cx));
        self.taken = polled.is_ready();
        polled
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.taken {
            // The thread may be ending, and its table with it: then there is nothing left to give back.
            let _ = TABLE.try_with(|table| table.abandon(self.index));
        }
    }
}

impl Promise {
    /// Says what came of the request and wakes whoever waits.
    pub fn finish(self, outcome: Outcome) {
        let (index, generation) = (self.index, self.generation);
        std::mem::forget(self);
        TABLE.with(|table| table.finish(index, generation, outcome));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let gone = Err(Failed::new(Cause::Gone));
        let _ = TABLE.try_with(|table| table.finish(self.index, self.generation, gone));
    }
}

/// Up to `N` tickets that are awaited together, kept without allocating.
pub struct Fan<const N: usize> {
    tickets: [Option<Ticket>; N],
}

impl<const N: usize> Default for Fan<N> {
    fn default() -> Self {
        Fan { tickets: [const { None }; N] }
    }
}

impl<const N: usize> Fan<N> {
    /// Puts a ticket in place `at`, which is empty.
    pub fn put(&mut self, at: usize, ticket: Ticket) {
        assert!(self.tickets[at].is_none(), "place {at} of the fan is taken");
        self.tickets[at] = Some(ticket);
    }

    /// Waits for the ticket in place `at`; `None` when nothing was put there.
    pub async fn take(&mut self, at: usize) -> Option<Outcome> {
        match self.tickets[at].take() {
            Some(ticket) => Some(ticket.await),
            None => None,
        }
    }

    /// Waits for all of them; the first failure by place, if any.
    pub async fn all(&mut self) -> Outcome {
        let mut outcome = Ok(());
        for at in 0..N {
            if let Some(one) = self.take(at).await {
                outcome = outcome.and(one);
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_promise_that_is_dropped_fails_its_ticket() {
        let (ticket, promise) = Ticket::pair();
        drop(promise);
        assert_eq!(poll_once(pin!(ticket)), Poll::Ready(Err(Failed::new(Cause::Gone))));
    }

    #[test]
    fn a_ticket_that_is_dropped_gives_its_entry_back_only_when_the_promise_is_kept() {
        let before = tickets_in_flight();
        let (ticket, promise) = Ticket::pair();
        drop(ticket);
        assert_eq!(tickets_in_flight(), before + 1);
        promise.finish(Ok(()));
        assert_eq!(tickets_in_flight(), before);
    }

    #[test]
    fn reserved_entries_are_enough_for_as_many_requests() {
        reserve(100);
        let short = tickets_short();
        let pairs: Vec<_> = (0..100).map(|_| Ticket::pair()).collect();
        assert_eq!(tickets_short(), short);
        drop(pairs);
    }

    #[test]
    fn a_fan_reports_the_failure_among_successes() {
        let mut fan = Fan::<3>::default();
        fan.put(0, Ticket::ready(Ok(())));
        fan.put(2, Ticket::ready(Err(Failed::new(Cause::Medium))));
        assert_eq!(poll_once(pin!(fan.all())), Poll::Ready(Err(Failed::new(Cause::Medium))));
    }
}
