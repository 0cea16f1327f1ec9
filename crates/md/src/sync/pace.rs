//! How fast a sync goes beside clients. Pure but for the sleeping.
//!
//! Follows md's tunables: below `min` a sync takes what it gets; above it, it gives way while clients are served; it never
//! goes faster than `max`. Where md waits for the array to fall idle, this leaves clients a share of the time: a window is
//! followed by a pause that grows with how long the window took, so that one that is in clients' way goes out of it.

use std::cell::Cell;

use block::{Moment, Sectors};
use runtime::sleep_ms;

use crate::array::Array;
use crate::limits::{RESYNC_PATIENCE_MS, RESYNC_PAUSES, SPEED_MIN};

/// The bounds of a sync's speed, in bytes a second of each member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speed {
    /// It gives way to clients only above this.
    pub min: u64,
    /// It is never faster; 0: no bound.
    pub max: u64,
}

impl Default for Speed {
    fn default() -> Speed {
        Speed { min: SPEED_MIN, max: 0 }
    }
}

/// What was seen of an action so far.
#[derive(Default)]
pub(super) struct Pace {
    /// When the measured span began, and what was done in it.
    since: Cell<Moment>,
    moved: Cell<Sectors>,
    /// How long the last window took.
    window_ns: Cell<u64>,
    /// Requests of clients when that was last looked at.
    seen: Cell<u64>,
}

/// The span over which speed is measured, in nanoseconds.
const SPAN_NS: u64 = 1_000_000_000;

impl Pace {
    /// A window was done.
    pub fn note(&self, count: Sectors, began: Moment, ended: Moment) {
        self.window_ns.set(ended.since(began));
        if ended.since(self.since.get()) > SPAN_NS {
            self.since.set(ended);
            self.moved.set(Sectors::ZERO);
        }
        self.moved.set(self.moved.get() + count);
    }

    /// Nanoseconds to wait before the next window.
    fn pause_ns(&self, speed: Speed, now: Moment, is_busy: bool) -> u64 {
        let elapsed = now.since(self.since.get());
        let bytes = self.moved.get().bytes();
        let at_speed = |speed: u64| (u128::from(bytes) * 1_000_000_000 / u128::from(speed)) as u64;
        let too_fast = match speed.max {
            0 => 0,
            max => at_speed(max).saturating_sub(elapsed),
        };
        let is_above_min = speed.min == 0 || at_speed(speed.min) > elapsed;
        let gives_way = if is_busy && is_above_min { self.window_ns.get() * RESYNC_PAUSES } else { 0 };
        too_fast.max(gives_way).min(SPAN_NS)
    }
}

/// Waits as long as a sync has to before its next window. Beside clients one lane is enough: the others wait until they
/// are gone. True when clients are being served.
pub(super) async fn give_way(array: &Array, lane: usize) -> bool {
    let (sync, pace) = (&array.sync, &array.sync.pace);
    let is_busy = array.clients.get() > 0 || pace.seen.get() != array.served.get();
    if lane == 0 {
        pace.seen.set(array.served.get());
    }
    let pause_ms = pace.pause_ns(sync.speed.get(), runtime::now(), is_busy).div_ceil(1_000_000);
    if pause_ms > 0 {
        sleep_ms(pause_ms).await;
    }
    let mut before = array.served.get();
    let mut waits = lane > 0 && is_busy;
    while waits && !sync.is_interrupted() && !sync.windows.is_through() {
        sleep_ms(RESYNC_PATIENCE_MS).await;
        waits = array.clients.get() > 0 || array.served.get() != before;
        before = array.served.get();
    }
    is_busy
}
