//! Meters: what every device does when a request begins and when it ends. It is counted, and shown to the probe.
//!
//! A device begins each request with [`Meter::begin`] and keeps the [`Answer`] in place of a bare promise; so nothing is
//! counted as begun that does not end, and nobody can forget the one or the other.

use std::rc::Rc;

use block::{Cause, Counters, Failed, Moment, Op, Origin, Outcome, Promise, Range, Request, Ticket};

use crate::executor::try_now;
use crate::probe::{self, Phase, Seen};

/// The counting half of a device.
pub struct Meter {
    counters: Rc<Counters>,
}

impl Meter {
    /// A meter for the device that people call `name`, `height` layers above the world.
    pub fn new(name: &str, height: u8) -> Meter {
        Meter { counters: Rc::new(Counters::new(name, height)) }
    }

    /// What it has counted.
    pub fn counters(&self) -> Rc<Counters> {
        self.counters.clone()
    }

    /// A request begins: the ticket is its caller's, the answer is for whoever carries it out.
    pub fn begin(&self, request: &Request) -> (Ticket, Answer) {
        let (ticket, promise) = Ticket::pair();
        let answer = Answer {
            promise: Some(promise),
            counters: self.counters.clone(),
            op: request.op,
            range: request.range,
            origin: request.origin,
            trace: request.trace,
            began: try_now().unwrap_or_default(),
        };
        self.counters.begin(request.op);
        if probe::is_on() {
            answer.show(answer.began, Phase::Begun);
        }
        (ticket, answer)
    }
}

/// A promise to answer a request that was counted when it began. Dropped without a word, it fails as
/// [`Cause::Gone`], as a bare promise does.
pub struct Answer {
    promise: Option<Promise>,
    counters: Rc<Counters>,
    op: Op,
    range: Range,
    origin: Origin,
    trace: u32,
    began: Moment,
}

impl Answer {
    /// Says what came of the request.
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        let Some(promise) = self.promise.take() else { return };
        // Devices may outlive their runtime, and then there is no clock: what they still held took no time.
        let now = try_now().unwrap_or(self.began);
        let took_ns = now.since(self.began);
        self.counters.end(self.op, self.range, outcome, took_ns);
        if probe::is_on() {
            self.show(now, Phase::Ended { outcome, took_ns });
        }
        promise.finish(outcome);
    }

    fn show(&self, at: Moment, phase: Phase) {
        probe::show(&Seen {
            at,
            phase,
            trace: self.trace,
            name: self.counters.name(),
            height: self.counters.height(),
            op: self.op,
            range: self.range,
            origin: self.origin,
        });
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.end(Err(Failed::new(Cause::Gone)));
    }
}
