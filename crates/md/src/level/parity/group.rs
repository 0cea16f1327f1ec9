//! Writes that wait for the same stripe, gathered.
//!
//! A request is cut into parts, one for each stripe. The part that comes first leads its stripe: its request carries out
//! the whole group, which takes in all parts that come until the stripe's turn has come. So neighbours that are queued
//! anyway become one write, and nobody waits for neighbours that may never come. A request joins the groups of its
//! stripes in one go and attends to them in ascending order; so whoever is waited for never waits for a later stripe.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use block::{Buf, Outcome, Range};

/// A part of a write: what it changes in one stripe.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The array's sectors.
    pub range: Range,
    /// The new content; `None` for zeroes.
    pub buf: Option<Buf>,
    /// It is to be durable before it is answered.
    pub fua: bool,
    /// The client's request that it belongs to.
    pub trace: u32,
}

/// Identifies a part that has joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartId(u32);

impl PartId {
    /// Of a part that nobody waits for.
    pub const NOBODY: PartId = PartId(u32::MAX);
}

/// What joining comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    /// The part.
    pub id: PartId,
    /// Whoever joined has to carry out the group.
    pub leads: bool,
}

struct Seat {
    stripe: u64,
    part: Option<Part>,
    /// Not taken by a leader yet: the group is open.
    is_waiting: bool,
    outcome: Option<Outcome>,
    waiter: Option<Waker>,
}

/// The groups of a lane.
pub(crate) struct Groups {
    seats: RefCell<Vec<Seat>>,
    free: RefCell<Vec<u32>>,
    /// The seats of open groups in the order in which they were taken.
    open: RefCell<Vec<PartId>>,
}

impl Groups {
    /// Room for `parts` parts at a time.
    pub fn new(parts: usize) -> Groups {
        let seat = || Seat { stripe: 0, part: None, is_waiting: false, outcome: None, waiter: None };
        Groups {
            seats: RefCell::new((0..parts).map(|_| seat()).collect()),
            free: RefCell::new((0..parts as u32).rev().collect()),
            open: RefCell::new(Vec::with_capacity(parts)),
        }
    }

    /// Adds a part to the group of its stripe.
    pub fn join(&self, stripe: u64, part: Part) -> Joined {
        let id =
            PartId(self.free.borrow_mut().pop().expect("a request joins no more stripes than it has seats"));
        let mut seats = self.seats.borrow_mut();
        let mut open = self.open.borrow_mut();
        let leads = !open.iter().any(|other| seats[other.0 as usize].stripe == stripe);
        seats[id.0 as usize] =
            Seat { stripe, part: Some(part), is_waiting: true, outcome: None, waiter: None };
        open.push(id);
        Joined { id, leads }
    }

    /// Closes the group of a stripe: its parts, in the order in which they came, into `into`.
    pub fn take(&self, stripe: u64, into: &mut Vec<(PartId, Part)>) {
        let mut seats = self.seats.borrow_mut();
        self.open.borrow_mut().retain(|id| {
            let seat = &mut seats[id.0 as usize];
            let is_ours = seat.stripe == stripe;
            if is_ours {
                seat.is_waiting = false;
                into.push((*id, seat.part.take().expect("an open seat has its part")));
            }
            !is_ours
        });
    }

    /// Says what came of a part.
    pub fn finish(&self, id: PartId, outcome: Outcome) {
        let mut seats = self.seats.borrow_mut();
        let seat = &mut seats[id.0 as usize];
        debug_assert!(!seat.is_waiting && seat.outcome.is_none(), "a part is taken once and finished once");
        seat.outcome = Some(outcome);
        if let Some(waiter) = seat.waiter.take() {
            waiter.wake();
        }
    }

    /// Waits for what comes of a part, and gives its seat back.
    pub async fn outcome(&self, id: PartId) -> Outcome {
        let outcome = poll_fn(|cx| {
            let mut seats = self.seats.borrow_mut();
            let seat = &mut seats[id.0 as usize];
            match seat.outcome.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    seat.waiter = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        self.free.borrow_mut().push(id.0);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use block::Sectors;

    use super::*;

    fn part(start: u64) -> Part {
        Part { range: Range::new(Sectors(start), Sectors(8)), buf: None, fua: false, trace: 0 }
    }

    #[test]
    fn parts_of_a_stripe_are_taken_together_and_later_ones_wait_for_a_leader_of_their_own() {
        let groups = Groups::new(8);
        assert!(groups.join(3, part(0)).leads);
        assert!(groups.join(4, part(100)).leads);
        assert!(!groups.join(3, part(8)).leads);
        let mut parts = Vec::new();
        groups.take(3, &mut parts);
        let starts: Vec<u64> = parts.iter().map(|(_, part)| part.range.start.0).collect();
        assert_eq!(starts, [0, 8]);
        assert!(groups.join(3, part(16)).leads);
    }
}
