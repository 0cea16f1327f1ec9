//! A connection after its handshake: one task receives, one sends, and each request slot has one that serves.
//!
//! The receiver takes a slot and then a buffer for each request before it looks at the next: that is the back-pressure.
//! Nobody waits for a buffer while holding one of the same arena, and nobody who holds one waits for anything but the
//! device and the socket, so every request ends. The tasks are made when the connection comes; what they move data in
//! was taken when the server started.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Buf};
use export::{Export, Span, buffer_bytes};
use runtime::{Event, Stream, Task, next_trace, spawn, strictly};

use super::handshake::Agreed;
use super::plan::{Command, Refusal, Terms, plan};
use super::reply::Reply;
use super::serve::serve;
use super::style::Style;
use crate::Error;
use crate::incoming::Incoming;
use crate::limits::SLOTS;
use crate::outgoing::Outgoing;

/// The number of the metadata context `base:allocation`, the only one there is.
pub(super) const ALLOCATION: u32 = 1;

/// One connection in transmission.
pub(super) struct Session {
    pub(super) export: Rc<Export>,
    pub(super) arena: Rc<Arena>,
    pub(super) outgoing: Outgoing,
    size: u64,
    pub(super) style: Style,
    status: bool,
    stream: Rc<dyn Stream>,
    slots: Box<[Slot]>,
    free: RefCell<Vec<u16>>,
    freed: Event,
    /// The server is going down: what is in flight ends, what comes is refused.
    stopping: Cell<bool>,
    /// No more payload comes, nor jobs.
    deaf: Cell<bool>,
}

/// A place for one request in flight.
struct Slot {
    job: RefCell<Option<Job>>,
    payload: RefCell<Option<Buf>>,
    /// A job or a payload has come or gone, or none will come any more.
    changed: Event,
}

/// A request that a slot is to serve, with the buffer that was taken for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) cookie: u64,
    /// The number under which the device and what lies below it know the request.
    pub(super) trace: u32,
    /// Where the request says that it begins, also where that means nothing.
    pub(super) offset: u64,
    pub(super) command: Command,
    pub(super) buf: Option<Buf>,
}

impl Session {
    pub(super) fn new(agreed: Agreed, stream: Rc<dyn Stream>, arena: Rc<Arena>) -> Rc<Session> {
        Rc::new(Session {
            export: agreed.export,
            size: agreed.size,
            style: agreed.style,
            status: agreed.status,
            arena,
            outgoing: Outgoing::new(),
            stream,
            slots: (0..SLOTS).map(|_| Slot::new()).collect(),
            free: RefCell::new((0..SLOTS as u16).rev().collect()),
            freed: Event::with_capacity(2),
            stopping: Cell::new(false),
            deaf: Cell::new(false),
        })
    }

    /// Serves the connection until it ends. `leaving` is called when only the client's reading is still waited for.
    pub(super) async fn run(self: &Rc<Session>, incoming: &mut Incoming, leaving: impl FnOnce()) {
        let sender = spawn(send(self.clone()));
        let workers: Vec<Task<()>> = (0..SLOTS as u16).map(|slot| spawn(work(self.clone(), slot))).collect();
        let received = strictly(self.receive(incoming)).await;
        self.deaf.set(true);
        self.slots.iter().for_each(|slot| slot.changed.notify());
        match received {
            Ok(Ended::Politely) => leaving(),
            Ok(Ended::Silently) | Err(_) => self.outgoing.break_off(),
        }
        self.freed.wait_until(|| self.is_idle()).await;
        self.outgoing.close();
        sender.join().await;
        for worker in workers {
            worker.join().await;
        }
    }

    /// Ends the connection as soon as everything in flight has been answered.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        self.leave_if_quiet();
    }

    /// Ends the connection at once: what was begun to be said cannot be said to its end.
    pub(super) fn give_up(&self) {
        self.outgoing.break_off();
        self.stream.shutdown();
    }

    fn leave_if_quiet(&self) {
        if self.stopping.get() && self.is_idle() && self.outgoing.is_empty() {
            self.stream.shutdown();
        }
    }

    fn is_idle(&self) -> bool {
        self.free.borrow().len() == SLOTS
    }

    fn terms(&self) -> Terms {
        Terms {
            size: self.size,
            read_only: self.export.is_read_only(),
            style: self.style,
            status: self.status,
            stopping: self.stopping.get(),
        }
    }

    async fn receive(&self, incoming: &mut Incoming) -> Result<Ended, Error> {
        while let Some(asked) = self.style.take_request(incoming).await? {
            let (cookie, offset) = (asked.cookie, asked.offset);
            match plan(&asked, &self.terms()) {
                Ok(Command::Disconnect) => return Ok(Ended::Politely),
                Ok(command) => {
                    let trace = next_trace();
                    self.seat(Job { cookie, offset, trace, command, buf: None }, incoming).await?
                }
                Err(refusal) => {
                    incoming.skip(asked.payload).await?;
                    self.refuse(Reply { cookie, offset, style: self.style }, refusal).await;
                }
            }
        }
        Ok(Ended::Silently)
    }

    async fn refuse(&self, reply: Reply, refusal: Refusal) {
        self.export.counters().failed();
        self.outgoing.put(reply.error(refusal.errno, refusal.text), None).await;
    }

    /// Gives a request a slot, the buffer that it begins with, and its payload.
    async fn seat(&self, job: Job, incoming: &mut Incoming) -> Result<(), Error> {
        let number = self.free_slot().await;
        let (slot, block) = (&self.slots[usize::from(number)], self.export.block());
        match job.command {
            Command::Write { span, .. } => {
                slot.give(job);
                for piece in span.pieces(block) {
                    let buf = self.arena.wait_take(buffer_bytes(piece, block)).await;
                    incoming.fill(&buf, piece.head(block), piece.len as usize).await?;
                    slot.deposit(buf).await;
                }
            }
            Command::Read { span } if span.len > 0 => {
                let bytes = read_bytes(span, block);
                slot.give(Job { buf: Some(self.arena.wait_take(bytes).await), ..job });
            }
            _ => slot.give(job),
        }
        Ok(())
    }

    async fn free_slot(&self) -> u16 {
        if self.free.borrow().is_empty() {
            self.freed.wait_until(|| !self.free.borrow().is_empty()).await;
        }
        self.free.borrow_mut().pop().expect("just seen, and only the receiver takes slots")
    }

    fn release(&self, slot: u16) {
        self.free.borrow_mut().push(slot);
        self.freed.notify();
        self.leave_if_quiet();
    }

    /// The next piece of a write's payload; `None` when the connection has ended before it.
    pub(super) async fn payload(&self, slot: u16) -> Option<Buf> {
        let slot = &self.slots[usize::from(slot)];
        slot.take(&slot.payload, &self.deaf).await
    }
}

enum Ended {
    /// The client said so, and may wait for its last replies.
    Politely,
    /// The client is not there any more.
    Silently,
}

impl Slot {
    fn new() -> Slot {
        // The receiver and the slot's task wait for each other here.
        Slot { job: RefCell::new(None), payload: RefCell::new(None), changed: Event::with_capacity(2) }
    }

    fn give(&self, job: Job) {
        *self.job.borrow_mut() = Some(job);
        self.changed.notify();
    }

    /// Puts a piece of payload where the slot's task finds it, when that has taken the one before.
    async fn deposit(&self, buf: Buf) {
        self.changed.wait_until(|| self.payload.borrow().is_none()).await;
        *self.payload.borrow_mut() = Some(buf);
        self.changed.notify();
    }

    async fn take<T>(&self, place: &RefCell<Option<T>>, deaf: &Cell<bool>) -> Option<T> {
        self.changed.wait_until(|| place.borrow().is_some() || deaf.get()).await;
        let taken = place.take();
        self.changed.notify();
        taken
    }
}

/// Bytes of buffer that a read of `span` needs: one piece's blocks.
fn read_bytes(span: Span, block: u64) -> usize {
    span.pieces(block).map(|piece| piece.cover(block).count.byte_len()).max().unwrap_or(0)
}

/// The task of a slot.
async fn work(session: Rc<Session>, number: u16) {
    let slot = &session.slots[usize::from(number)];
    while let Some(job) = slot.take(&slot.job, &session.deaf).await {
        serve(&session, number, job).await;
        session.release(number);
    }
}

/// The task that sends.
async fn send(session: Rc<Session>) {
    loop {
        match session.outgoing.send_some(&*session.stream).await {
            Ok(true) => session.leave_if_quiet(),
            Ok(false) => return,
            Err(_) => return session.stream.shutdown(), // the receiver need not wait for a client who is gone
        }
    }
}
