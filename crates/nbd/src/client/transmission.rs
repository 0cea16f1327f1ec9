//! The connection behind a device: requests in flight by cookie, one task that sends, one that receives, one that
//! looks at deadlines.
//!
//! A request's buffer belongs to the receiver while a reply to it comes in. So a request that fails in that moment is
//! answered only when the receiver has let go of it, which the stream's shutdown brings about.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Buf, Cause, Failed, Moment, Op, Outcome, Promise, Range, Request, Ticket};
use runtime::{Event, Stream, now, sleep_ms, spawn};
use zerocopy::big_endian::{U16, U32, U64};

use super::coverage::Coverage;
use crate::Error;
use crate::incoming::Incoming;
use crate::limits::{DEADLINE_TICK_MS, SLOTS};
use crate::outgoing::{Message, Outgoing};
use crate::wire::{self, REQUEST_MAGIC, command, command_flag as flag};

pub(super) struct Link {
    pub(super) structured: bool,
    /// The number under which the server tells what is allocated.
    pub(super) context: Option<u32>,
    /// The flight whose reply is being received.
    pub(super) at_hand: Cell<Option<u16>>,
    stream: Rc<dyn Stream>,
    outgoing: Outgoing,
    seats: RefCell<Vec<Seat>>,
    free: RefCell<Vec<u16>>,
    fault: RefCell<Option<Rc<Error>>>,
    /// Requests in flight that have a deadline.
    timed: Cell<usize>,
    /// The receiver has ended.
    over: Cell<bool>,
    /// A request with a deadline has taken off, or the receiver has ended.
    timing: Event,
}

/// A place for a request in flight. The generation is part of the cookie, so a reply that comes twice finds nobody.
#[derive(Default)]
struct Seat {
    generation: u32,
    flight: Option<Flight>,
}

/// A request in flight.
pub(super) struct Flight {
    pub(super) op: Op,
    pub(super) range: Range,
    pub(super) buf: Option<Buf>,
    /// What has come of a read.
    pub(super) arrived: Coverage,
    /// Extents have come.
    pub(super) told: bool,
    /// What is known so far.
    pub(super) outcome: Outcome,
    promise: Promise,
    deadline: Option<Moment>,
}

impl Link {
    /// Begins transmission.
    pub(super) fn new(
        stream: Rc<dyn Stream>,
        incoming: Incoming,
        structured: bool,
        context: Option<u32>,
    ) -> Rc<Link> {
        let link = Rc::new(Link {
            structured,
            context,
            at_hand: Cell::new(None),
            stream,
            outgoing: Outgoing::new(),
            seats: RefCell::new((0..SLOTS).map(|_| Seat::default()).collect()),
            free: RefCell::new((0..SLOTS as u16).rev().collect()),
            fault: RefCell::default(),
            timed: Cell::new(0),
            over: Cell::new(false),
            timing: Event::with_capacity(1),
        });
        spawn(send(link.clone()));
        spawn(receive(link.clone(), incoming));
        spawn(watch(link.clone()));
        link
    }

    /// Sends `request` and waits for its reply. At most [`SLOTS`] callers at a time.
    pub(super) async fn call(&self, request: &Request, fua: bool) -> Outcome {
        if self.fault.borrow().is_some() {
            return Err(Failed::new(Cause::Gone));
        }
        let (ticket, promise) = Ticket::pair();
        let cookie = self.take_off(request, promise);
        let payload = request.buf.clone().filter(|_| request.op == Op::Write);
        self.outgoing.put(Message::new(&header(request, fua, cookie)).with_data(payload), None).await;
        ticket.await
    }

    /// Says goodbye and ends. There are no requests in flight.
    pub(super) fn hang_up(&self) {
        self.outgoing.put_now(Message::new(&goodbye()));
        self.outgoing.close();
    }

    /// Why the connection was given up, if it was.
    pub(super) fn fault(&self) -> Option<Rc<Error>> {
        self.fault.borrow().clone()
    }

    /// The flight of that cookie.
    pub(super) fn find(&self, cookie: u64) -> Result<u16, Error> {
        let (number, seats) = (cookie as u16, self.seats.borrow());
        let seat = seats.get(usize::from(number)).filter(|seat| u64::from(seat.generation) == cookie >> 16);
        seat.filter(|seat| seat.flight.is_some()).map(|_| number).ok_or(Error::Stray { cookie })
    }

    /// Looks at the flight at hand.
    pub(super) fn with<T>(&self, number: u16, look: impl FnOnce(&mut Flight) -> T) -> T {
        debug_assert_eq!(self.at_hand.get(), Some(number));
        let seat = &mut self.seats.borrow_mut()[usize::from(number)];
        look(seat.flight.as_mut().expect("nobody else lands the flight at hand"))
    }

    /// Answers a request with what is known of it.
    pub(super) fn land(&self, number: u16) {
        let seat = &mut self.seats.borrow_mut()[usize::from(number)];
        let Some(flight) = seat.flight.take() else { return };
        seat.generation = seat.generation.wrapping_add(1);
        self.free.borrow_mut().push(number);
        if flight.deadline.is_some() {
            self.timed.set(self.timed.get() - 1);
        }
        flight.promise.finish(flight.outcome);
    }

    fn take_off(&self, request: &Request, promise: Promise) -> u64 {
        let number = self.free.borrow_mut().pop().expect("the layer above has no more slots than this");
        let seat = &mut self.seats.borrow_mut()[usize::from(number)];
        let (op, range, buf, deadline) = (request.op, request.range, request.buf.clone(), request.deadline);
        let (arrived, told, outcome) = (Coverage::default(), false, Ok(()));
        seat.flight = Some(Flight { op, range, buf, arrived, told, outcome, promise, deadline });
        if deadline.is_some() {
            self.timed.set(self.timed.get() + 1);
            self.timing.notify();
        }
        u64::from(seat.generation) << 16 | u64::from(number)
    }

    /// Gives the connection up. What is in flight fails; the flight at hand when the receiver lets go of it.
    fn fence(&self, error: Error) {
        self.fault.borrow_mut().get_or_insert_with(|| Rc::new(error));
        self.outgoing.break_off();
        self.stream.shutdown();
        for number in 0..SLOTS as u16 {
            self.fail(number, Cause::Transport);
            if self.at_hand.get() != Some(number) {
                self.land(number);
            }
        }
    }

    /// Notes that a flight has failed, unless that is known already.
    fn fail(&self, number: u16, cause: Cause) {
        if let Some(flight) = &mut self.seats.borrow_mut()[usize::from(number)].flight {
            flight.outcome = flight.outcome.and(Err(Failed::new(cause)));
        }
    }

    /// Whether requests are overdue; notes it of each.
    fn fail_overdue(&self) -> bool {
        let (now, mut any) = (now(), false);
        for seat in self.seats.borrow_mut().iter_mut() {
            let late = |flight: &&mut Flight| flight.deadline.is_some_and(|deadline| deadline <= now);
            if let Some(flight) = seat.flight.as_mut().filter(late) {
                flight.outcome = flight.outcome.and(Err(Failed::new(Cause::Timeout)));
                any = true;
            }
        }
        any
    }
}

/// A request as it travels.
fn header(request: &Request, fua: bool, cookie: u64) -> wire::Request {
    let (command, more) = match request.op {
        Op::Read => (command::READ, 0),
        Op::Write => (command::WRITE, 0),
        Op::Flush => (command::FLUSH, 0),
        Op::Discard => (command::TRIM, 0),
        Op::WriteZeroes if request.may_unmap => (command::WRITE_ZEROES, 0),
        Op::WriteZeroes => (command::WRITE_ZEROES, flag::NO_HOLE),
        Op::Status => (command::BLOCK_STATUS, 0),
    };
    let flags = U16::new(more | if fua { flag::FUA } else { 0 });
    let length = u32::try_from(request.range.count.bytes()).expect("the server's longest request is shorter");
    wire::Request {
        magic: REQUEST_MAGIC.into(),
        flags,
        command: command.into(),
        cookie: cookie.into(),
        offset: request.range.start.bytes().into(),
        length: length.into(),
    }
}

fn goodbye() -> wire::Request {
    wire::Request {
        magic: REQUEST_MAGIC.into(),
        flags: U16::ZERO,
        command: command::DISC.into(),
        cookie: U64::ZERO,
        offset: U64::ZERO,
        length: U32::ZERO,
    }
}

/// The task that sends.
async fn send(link: Rc<Link>) {
    loop {
        match link.outgoing.send_some(&*link.stream).await {
            Ok(true) => {}
            Ok(false) => return link.stream.shutdown(),
            Err(error) => return link.fence(error.into()),
        }
    }
}

/// The task that receives.
async fn receive(link: Rc<Link>, mut incoming: Incoming) {
    let error = loop {
        if let Err(error) = link.take_reply(&mut incoming).await {
            break error;
        }
        link.at_hand.set(None);
    };
    link.at_hand.set(None);
    link.fence(error);
    link.over.set(true);
    link.timing.notify();
}

/// The task that looks at deadlines, while there are any.
async fn watch(link: Rc<Link>) {
    loop {
        link.timing.wait_until(|| link.over.get() || link.timed.get() > 0).await;
        if link.over.get() {
            return;
        }
        sleep_ms(DEADLINE_TICK_MS).await;
        if link.fail_overdue() {
            link.fence(Error::Overdue);
        }
    }
}
