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

/// The longest that is slept in one piece, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 100;

/// The span over which speed is measured, in nanoseconds.
const SPAN_NS: u64 = 1_000_000_000;

impl Pace {
    /// A window is begun at `now`. What was done above the bound is not forgotten when a new span begins.
    pub fn begin(&self, count: Sectors, now: Moment, speed: Speed) {
        let elapsed = now.since(self.since.get());
        if elapsed > SPAN_NS {
            let allowed = match speed.max {
                0 => u64::MAX,
                max => (u128::from(max) * u128::from(elapsed) / 1_000_000_000) as u64,
            };
            self.since.set(now);
            self.moved.set(Sectors::from_bytes(self.moved.get().bytes().saturating_sub(allowed)));
        }
        self.moved.set(self.moved.get() + count);
    }

    /// A window was done.
    pub fn end(&self, began: Moment, ended: Moment) {
        self.window_ns.set(ended.since(began));
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
        too_fast.max(gives_way)
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
    loop {
        let pause_ms = pace.pause_ns(sync.speed.get(), runtime::now(), is_busy).div_ceil(1_000_000);
        if pause_ms > 0 {
            // In pieces: whoever interrupts, or sets other bounds, does not wait for the end of a long pause.
            sleep_ms(pause_ms.min(LONGEST_PAUSE_MS)).await;
        }
        if pause_ms <= LONGEST_PAUSE_MS || sync.is_interrupted() {
            break;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds that 64 MiB in windows of 512 KiB take, each of which takes no time, in so many lanes.
    fn seconds(speed: Speed, lanes: u64) -> u64 {
        let (pace, mut now) = (Pace::default(), Moment(5_000_000_000));
        let start = now;
        for _ in 0..128 / lanes {
            let pause = pace.pause_ns(speed, now, false);
            now = now.after_ns(pause);
            (0..lanes).for_each(|_| pace.begin(Sectors::from_bytes(512 << 10), now, speed));
        }
        now.since(start) / 1_000_000_000
    }

    #[test]
    fn a_sync_is_never_faster_than_its_bound() {
        assert_eq!(seconds(Speed { min: 0, max: 0 }, 4), 0);
        for (max, expected) in [(16 << 20, 4), (1 << 20, 64), (256 << 10, 256)] {
            for lanes in [1, 4] {
                let taken = seconds(Speed { min: 0, max }, lanes);
                // The last windows are still to be paid for.
                let unpaid = lanes * (512 << 10) / max;
                assert!(
                    (expected - unpaid - 1..=expected).contains(&taken),
                    "{max}, {lanes} lanes: {taken} s"
                );
            }
        }
    }

    #[test]
    fn beside_clients_a_window_is_followed_by_a_pause_above_the_least_speed() {
        let speed = Speed { min: 1 << 20, max: 0 };
        let (pace, now) = (Pace::default(), Moment(5_000_000_000));
        pace.begin(Sectors::from_bytes(512 << 10), now, speed);
        pace.end(now, now.after_ns(3_000_000));
        let later = now.after_ns(3_000_000);
        assert_eq!(pace.pause_ns(speed, later, true), 3_000_000 * RESYNC_PAUSES);
        assert_eq!(pace.pause_ns(speed, later, false), 0, "nobody is in its way");
        assert_eq!(
            pace.pause_ns(Speed { min: 1 << 40, max: 0 }, later, true),
            0,
            "below the least it gives way to nobody"
        );
    }
}
