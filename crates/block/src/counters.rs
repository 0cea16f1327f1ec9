//! Counters: what a device was asked, what came of it, and how long that took.
//!
//! Each device of a stack has its own, made with it; counting allocates nothing and takes no lock. Durations come from
//! the driver's clock, so in a simulation they are those of the simulated world.

use std::cell::Cell;

use crate::{Op, Outcome, Range};

/// Buckets of a latency histogram. Bucket `n` counts what took from 2^n to 2^(n+1) nanoseconds (the first one less, too;
/// the last one more, too): from a copy in memory to the nine minutes after which every deadline has passed.
pub const BUCKETS: usize = 40;

/// What one device has done so far.
pub struct Counters {
    name: Box<str>,
    height: u8,
    kinds: [Kind; Op::ALL.len()],
}

#[derive(Default)]
struct Kind {
    begun: Cell<u64>,
    done: Cell<u64>,
    failed: Cell<u64>,
    bytes: Cell<u64>,
    total_ns: Cell<u64>,
    latency: Latency,
}

struct Latency([Cell<u64>; BUCKETS]);

impl Default for Latency {
    fn default() -> Latency {
        Latency([const { Cell::new(0) }; BUCKETS])
    }
}

/// A reading of one kind of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// Requests begun.
    pub begun: u64,
    /// Requests that ended well.
    pub done: u64,
    /// Requests that failed, refused ones included.
    pub failed: u64,
    /// Bytes in the ranges of those that ended well.
    pub bytes: u64,
    /// Nanoseconds that those which ended took, in all.
    pub total_ns: u64,
    /// How many of those which ended took how long: see [`BUCKETS`].
    pub latency: [u64; BUCKETS],
}

impl Count {
    /// Requests that have ended, well or not.
    pub const fn ended(&self) -> u64 {
        self.done + self.failed
    }

    /// Requests that have not ended yet.
    pub const fn in_flight(&self) -> u64 {
        self.begun - self.ended()
    }

    /// The bucket of a duration.
    pub const fn bucket(ns: u64) -> usize {
        let bucket = match ns.checked_ilog2() {
            Some(log) => log as usize,
            None => 0,
        };
        if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
    }
}

impl Counters {
    /// Counters of the device that people call `name`, `height` layers above the world.
    pub fn new(name: &str, height: u8) -> Counters {
        Counters { name: name.into(), height, kinds: Default::default() }
    }

    /// What people call the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many layers lie below it.
    pub fn height(&self) -> u8 {
        self.height
    }

    /// What became of the requests of this kind so far.
    pub fn of(&self, op: Op) -> Count {
        let kind = self.kind(op);
        let mut latency = [0; BUCKETS];
        latency.iter_mut().zip(&kind.latency.0).for_each(|(to, from)| *to = from.get());
        Count {
            begun: kind.begun.get(),
            done: kind.done.get(),
            failed: kind.failed.get(),
            bytes: kind.bytes.get(),
            total_ns: kind.total_ns.get(),
            latency,
        }
    }

    /// Counts a request that begins.
    pub fn begin(&self, op: Op) {
        add(&self.kind(op).begun, 1);
    }

    /// Counts the end of a request that was counted when it began, `ns` nanoseconds before.
    pub fn end(&self, op: Op, range: Range, outcome: Outcome, ns: u64) {
        let kind = self.kind(op);
        match outcome {
            Ok(()) => {
                add(&kind.done, 1);
                add(&kind.bytes, range.count.checked_bytes().unwrap_or(u64::MAX));
            }
            Err(_) => add(&kind.failed, 1),
        }
        add(&kind.total_ns, ns);
        add(&kind.latency.0[Count::bucket(ns)], 1);
    }

    fn kind(&self, op: Op) -> &Kind {
        &self.kinds[op as usize]
    }
}

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get().saturating_add(more));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, Failed, Sectors};

    #[test]
    fn a_duration_falls_into_the_bucket_of_its_power_of_two() {
        for (ns, bucket) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (1023, 9), (1024, 10)] {
            assert_eq!(Count::bucket(ns), bucket, "{ns} ns");
        }
        assert_eq!(Count::bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn every_kind_is_counted_by_itself_and_what_has_not_ended_is_in_flight() {
        let counters = Counters::new("d", 3);
        let range = Range::new(Sectors(8), Sectors(2));
        for op in Op::ALL {
            (0..3).for_each(|_| counters.begin(op));
            counters.end(op, range, Ok(()), 5);
            counters.end(op, range, Err(Failed::new(Cause::Medium)), 100);
        }
        for op in Op::ALL {
            let count = counters.of(op);
            assert_eq!((count.begun, count.done, count.failed, count.in_flight()), (3, 1, 1, 1));
            assert_eq!((count.bytes, count.total_ns), (1024, 105));
            assert_eq!((count.latency[2], count.latency[6]), (1, 1));
            assert_eq!(count.latency.iter().sum::<u64>(), count.ended());
        }
    }

    #[test]
    fn the_kinds_are_numbered_as_they_are_listed() {
        assert!(Op::ALL.iter().enumerate().all(|(at, op)| *op as usize == at));
    }
}
