//! Reads that a recovery can make its own.
//!
//! A lost block comes out of its neighbours in the row, and who reads a degraded array in sequence wants those too. So a
//! read of blocks that are there says what it is about to read, and lets others run before it begins: a recovery of the same
//! rows, asked for in the same breath, reads them once, into the buffer of whoever wanted them, and sums them up from there.
//! Nobody waits for a recovery that may never come.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use block::{Buf, Range, Sectors};

use crate::limits::FAN_OUT;

/// An offer, as its maker knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OfferId(usize);

/// What somebody is about to read: rows of a slot, into a buffer.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub slot: u16,
    /// From the members' data offsets, all in one stripe.
    pub rows: Range,
    pub buf: Buf,
}

enum Seat {
    Free,
    Open(Offer),
    Claimed(Option<Waker>),
    /// Whether it was read.
    Done(bool),
}

/// The offers of a lane.
pub(crate) struct Offers {
    seats: RefCell<Vec<Seat>>,
}

impl Offers {
    /// Room for so many at a time.
    pub fn new(most: usize) -> Offers {
        Offers { seats: RefCell::new((0..most).map(|_| Seat::Free).collect()) }
    }

    /// Makes an offer; `None` where there is no room.
    pub fn make(&self, offer: Offer) -> Option<OfferId> {
        let mut seats = self.seats.borrow_mut();
        let free = seats.iter().position(|seat| matches!(seat, Seat::Free))?;
        seats[free] = Seat::Open(offer);
        Some(OfferId(free))
    }

    /// Takes an offer back. False if it was claimed: its maker has to wait for the [`Offers::outcome`].
    pub fn withdraw(&self, id: OfferId) -> bool {
        let seat = &mut self.seats.borrow_mut()[id.0];
        let is_open = matches!(seat, Seat::Open(_));
        if is_open {
            *seat = Seat::Free;
        }
        is_open
    }

    /// Waits until an offer that was claimed was read. False if it was not, and its maker has to read by itself.
    pub async fn outcome(&self, id: OfferId) -> bool {
        poll_fn(|cx| {
            let seat = &mut self.seats.borrow_mut()[id.0];
            match seat {
                Seat::Done(was_read) => {
                    let was_read = *was_read;
                    *seat = Seat::Free;
                    Poll::Ready(was_read)
                }
                _ => {
                    *seat = Seat::Claimed(Some(cx.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// An open offer of these rows of a slot, and maybe more, but nothing outside `bounds`.
    fn claim(&self, slot: u16, rows: Range, bounds: Range) -> Option<(OfferId, Offer)> {
        let mut seats = self.seats.borrow_mut();
        let fits =
            |offer: &Offer| offer.slot == slot && offer.rows.contains(rows) && bounds.contains(offer.rows);
        let found = seats.iter().position(|seat| matches!(seat, Seat::Open(offer) if fits(offer)))?;
        match std::mem::replace(&mut seats[found], Seat::Claimed(None)) {
            Seat::Open(offer) => Some((OfferId(found), offer)),
            _ => unreachable!("it was open a line ago"),
        }
    }

    fn finish(&self, id: OfferId, was_read: bool) {
        let seat = &mut self.seats.borrow_mut()[id.0];
        if let Seat::Claimed(waker) = std::mem::replace(seat, Seat::Done(was_read)) {
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

struct Claim {
    id: OfferId,
    offer: Offer,
    /// How much of it was asked of the member.
    asked: Sectors,
}

/// What a recovery has claimed. Whatever becomes of it, every maker of an offer hears of it.
pub(crate) struct Claims<'a> {
    offers: &'a Offers,
    /// Nothing outside these rows is claimed.
    bounds: Range,
    claims: [Option<Claim>; FAN_OUT],
}

impl<'a> Claims<'a> {
    /// None yet. All rows within `bounds` are going to be read, in ascending order.
    pub fn new(offers: &'a Offers, bounds: Range) -> Claims<'a> {
        Claims { offers, bounds, claims: [const { None }; FAN_OUT] }
    }

    /// Where somebody wants these rows of a slot, if anybody does: they are to be read to there.
    pub fn ask(&mut self, slot: u16, rows: Range) -> Option<Buf> {
        if self.find(slot, rows).is_none() {
            let free = self.claims.iter_mut().find(|claim| claim.is_none())?;
            // What lies before these rows was read already, to somewhere else.
            let bounds = Range::new(rows.start, self.bounds.end() - rows.start);
            let (id, offer) = self.offers.claim(slot, rows, bounds)?;
            *free = Some(Claim { id, offer, asked: Sectors::ZERO });
        }
        let claim = self.claims.iter_mut().flatten().find(|claim| claim.offer.covers(slot, rows))?;
        claim.asked += rows.count;
        Some(claim.offer.place(rows))
    }

    /// Where rows of a slot that were asked for are.
    pub fn find(&self, slot: u16, rows: Range) -> Option<Buf> {
        let claim = self.claims.iter().flatten().find(|claim| claim.offer.covers(slot, rows))?;
        Some(claim.offer.place(rows))
    }

    /// All that was asked for was read, and nothing is under way any more.
    pub fn were_read(mut self) {
        for claim in self.claims.iter_mut().filter_map(Option::take) {
            self.offers.finish(claim.id, claim.asked == claim.offer.rows.count);
        }
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        for claim in self.claims.iter_mut().filter_map(Option::take) {
            self.offers.finish(claim.id, false);
        }
    }
}

impl Offer {
    fn covers(&self, slot: u16, rows: Range) -> bool {
        self.slot == slot && self.rows.contains(rows)
    }

    fn place(&self, rows: Range) -> Buf {
        self.buf.slice((rows.start - self.rows.start).byte_len(), rows.count.byte_len())
    }
}

#[cfg(test)]
mod tests {
    use block::Arena;

    use super::*;

    fn rows(start: u64, count: u64) -> Range {
        Range::new(Sectors(start), Sectors(count))
    }

    fn offer(slot: u16, rows: Range) -> Offer {
        let buf = Arena::new(1 << 20).take(rows.count.byte_len()).unwrap();
        Offer { slot, rows, buf }
    }

    fn outcome(offers: &Offers, id: OfferId) -> Option<bool> {
        let mut waiting = std::pin::pin!(offers.outcome(id));
        match waiting.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
            Poll::Ready(was_read) => Some(was_read),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_a_recovery_reads_whole_its_maker_need_not_read() {
        let offers = Offers::new(4);
        let (two, three) = (offer(2, rows(0, 256)), offer(3, rows(0, 256)));
        let ids = [offers.make(two.clone()).unwrap(), offers.make(three).unwrap()];
        let mut claims = Claims::new(&offers, rows(0, 256));
        let first = claims.ask(2, rows(0, 128)).expect("it is offered");
        assert!(!offers.withdraw(ids[0]), "it is being read");
        assert!(offers.withdraw(ids[1]), "nobody has asked for it");
        claims.ask(2, rows(128, 128)).expect("the same offer");
        first.copy_from_slice(0, &[7; 512]);
        assert!(two.buf.slice(0, 512).same_bytes(&first.slice(0, 512)), "into its maker's memory");
        assert_eq!(outcome(&offers, ids[0]), None);
        claims.were_read();
        assert_eq!(outcome(&offers, ids[0]), Some(true));
    }

    #[test]
    fn what_is_read_in_part_or_not_at_all_its_maker_reads() {
        let offers = Offers::new(4);
        let make = || offers.make(offer(2, rows(0, 256))).unwrap();
        let id = make();
        let mut claims = Claims::new(&offers, rows(0, 256));
        claims.ask(2, rows(0, 128)).unwrap();
        claims.were_read();
        assert_eq!(outcome(&offers, id), Some(false), "half of it");
        let id = make();
        let mut claims = Claims::new(&offers, rows(0, 256));
        claims.ask(2, rows(0, 128)).unwrap();
        drop(claims);
        assert_eq!(outcome(&offers, id), Some(false), "the recovery has failed");
        let id = make();
        let mut claims = Claims::new(&offers, rows(0, 256));
        assert!(claims.ask(2, rows(128, 128)).is_none(), "its beginning was read before it was made");
        assert!(claims.ask(1, rows(0, 128)).is_none(), "another slot");
        drop(claims);
        let mut claims = Claims::new(&offers, rows(0, 128));
        assert!(claims.ask(2, rows(0, 128)).is_none(), "more than the recovery reads");
        assert!(offers.withdraw(id));
    }

    #[test]
    fn where_there_is_no_room_nothing_is_offered() {
        let offers = Offers::new(1);
        let id = offers.make(offer(0, rows(0, 8))).unwrap();
        assert_eq!(offers.make(offer(1, rows(0, 8))), None);
        assert!(offers.withdraw(id));
        assert!(offers.make(offer(1, rows(0, 8))).is_some());
    }
}
