//! A layer: an engine's `async fn` served from a fixed number of slots.
//!
//! The engine's future type cannot be named, but it can be inferred from the function and kept in slots that never
//! move; behind `Rc<dyn Device>` nobody above sees it. So an array on an array on a cache is one finite type, and a
//! request costs no allocation. A request that finds no free slot waits in arrival order. A layer that is quiesced gives
//! no slot to anybody: whoever is above waits, as for a slot.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use block::{Cause, Counters, Device, Failed, Geometry, Outcome, Promise, Request, State, Ticket};

use crate::executor::{Pollable, core};
use crate::meter::{Answer, Meter};
use crate::rank::{Holding, Rank, Step};

/// Requests that can wait for a slot before the queue has to grow: the slots of several layers above, fanned out.
const QUEUE: usize = 1024;

/// What a layer needs to know of its engine.
pub trait Engine: 'static {
    /// The shape of the device that the engine makes.
    fn geometry(&self) -> Geometry;
    /// One more than the highest device below.
    fn height(&self) -> u8;
    /// What people call the device, in counters and traces.
    fn name(&self) -> String;
}

/// An engine in its slots: a [`Device`].
pub struct Layer<E, F> {
    engine: Rc<E>,
    meter: Meter,
    body: fn(Rc<E>, Request) -> F,
    slots: Box<[Slot<F>]>,
    free: RefCell<Vec<u32>>,
    waiting: RefCell<VecDeque<(Request, Answer)>>,
    state: Cell<State>,
    /// Those who wait for the layer to be quiet.
    quiescing: RefCell<Vec<Promise>>,
}

struct Slot<F> {
    future: UnsafeCell<Option<F>>,
    answer: Cell<Option<Answer>>,
    holding: Cell<Option<Holding>>,
    task: Cell<u32>,
}

impl<E, F> Layer<E, F>
where
    E: Engine,
    F: Future<Output = Outcome> + 'static,
{
    /// Serves up to `slots` requests at once with `body`, each of which has up to `fan_out` requests of its own
    /// under way.
    pub fn new(
        engine: Rc<E>,
        slots: usize,
        fan_out: usize,
        body: fn(Rc<E>, Request) -> F,
    ) -> Rc<Layer<E, F>> {
        block::reserve(slots * fan_out);
        let layer = Rc::new(Layer {
            meter: Meter::new(&engine.name(), engine.height()),
            engine,
            body,
            slots: (0..slots).map(|_| Slot::default()).collect(),
            free: RefCell::new((0..slots as u32).rev().collect()),
            waiting: RefCell::new(VecDeque::with_capacity(QUEUE)),
            state: Cell::default(),
            quiescing: RefCell::default(),
        });
        let core = core();
        for (number, slot) in layer.slots.iter().enumerate() {
            let host = Rc::new(Host { layer: Rc::downgrade(&layer) });
            slot.task.set(core.adopt(host, number as u32));
        }
        layer
    }

    /// The engine behind the layer.
    pub fn engine(&self) -> &Rc<E> {
        &self.engine
    }

    fn seat(&self, number: u32, request: Request, answer: Answer) {
        let slot = &self.slots[number as usize];
        let future = (self.body)(self.engine.clone(), request);
        // SAFETY: the slot is free, so its place is empty and nobody polls it.
        unsafe { *slot.future.get() = Some(future) };
        slot.answer.set(Some(answer));
        core().wake(slot.task.get());
    }

    fn poll_slot(&self, number: usize, cx: &mut Context<'_>) {
        let slot = &self.slots[number];
        // SAFETY: only this function reaches into an occupied place, and a task is never polled within its own poll.
        let Some(future) = (unsafe { &mut *slot.future.get() }) else { return };
        let _strictly = block::trap::strictly();
        let holding = slot.holding.take();
        slot.holding.set(Some(holding.unwrap_or_else(|| Rank::new(self.engine.height(), Step::Slot).hold())));
        // SAFETY: the slots are boxed and never move, and the future is dropped in place below.
        let polled = unsafe { Pin::new_unchecked(future) }.poll(cx);
        let Poll::Ready(outcome) = polled else { return };
        // SAFETY: as above; the future has ended.
        unsafe { *slot.future.get() = None };
        slot.holding.set(None);
        slot.answer.take().expect("an occupied slot has an answer to give").finish(outcome);
        self.free.borrow_mut().push(number as u32);
        self.seat_waiting();
        self.settle();
    }

    /// Gives free slots to those who wait, unless the layer is to be quiet.
    fn seat_waiting(&self) {
        while self.state.get() == State::Running && !self.waiting.borrow().is_empty() {
            let Some(number) = self.free.borrow_mut().pop() else { return };
            let (request, answer) = self.waiting.borrow_mut().pop_front().expect("just seen");
            self.seat(number, request, answer);
        }
    }

    /// Tells those who wait for the layer to be quiet, when it is.
    fn settle(&self) {
        let under_way = self.slots.len() - self.free.borrow().len();
        self.state.set(self.state.get().settled(under_way));
        if self.state.get() == State::Quiesced {
            self.tell_quiescing(Ok(()));
        }
    }

    fn tell_quiescing(&self, outcome: Outcome) {
        for promise in self.quiescing.take() {
            promise.finish(outcome);
        }
    }
}

impl<F> Default for Slot<F> {
    fn default() -> Slot<F> {
        Slot {
            future: UnsafeCell::new(None),
            answer: Cell::new(None),
            holding: Cell::new(None),
            task: Cell::new(0),
        }
    }
}

impl<E, F> Device for Layer<E, F>
where
    E: Engine,
    F: Future<Output = Outcome> + 'static,
{
    fn start(&self, request: Request) -> Ticket {
        Rank::new(self.engine.height(), Step::Slot).wait();
        let (ticket, answer) = self.meter.begin(&request);
        let free = match self.state.get() {
            State::Running => self.free.borrow_mut().pop(), // nobody waits while there is one
            State::Quiescing | State::Quiesced => None,
        };
        match free {
            Some(number) => self.seat(number, request, answer),
            None => self.waiting.borrow_mut().push_back((request, answer)),
        }
        ticket
    }

    fn state(&self) -> State {
        self.state.get()
    }

    fn quiesce(&self) -> Ticket {
        Rank::new(self.engine.height(), Step::Slot).wait();
        let (ticket, promise) = Ticket::pair();
        self.quiescing.borrow_mut().push(promise);
        self.state.set(State::Quiescing);
        self.settle();
        ticket
    }

    fn resume(&self) {
        self.state.set(State::Running);
        self.tell_quiescing(Err(Failed::new(Cause::Refused)));
        self.seat_waiting();
    }

    fn geometry(&self) -> Geometry {
        self.engine.geometry()
    }

    fn height(&self) -> u8 {
        self.engine.height()
    }

    fn counters(&self) -> Option<Rc<Counters>> {
        Some(self.meter.counters())
    }
}

impl<E, F> Drop for Layer<E, F> {
    fn drop(&mut self) {
        for slot in &self.slots {
            crate::executor::dismiss_task(slot.task.get());
        }
    }
}

/// What the executor holds of a layer: not the layer itself, or neither would ever be dropped.
struct Host<E, F> {
    layer: Weak<Layer<E, F>>,
}

impl<E, F> Pollable for Host<E, F>
where
    E: Engine,
    F: Future<Output = Outcome> + 'static,
{
    fn poll_slot(&self, slot: usize, cx: &mut Context<'_>) {
        if let Some(layer) = self.layer.upgrade() {
            layer.poll_slot(slot, cx);
        }
    }
}
