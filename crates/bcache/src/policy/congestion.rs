//! Congestion: whether the cache answers so slowly that long runs had better go past it.
//!
//! Follows `bch_bbio_count_io_errors` and `bch_get_congested` of Linux 6.12. A level between zero and -1024 falls by the
//! milliseconds (of 1024 µs) that a request to the cache took, if that was more than the threshold of its direction, and
//! rises by one for each request that was faster, and for each millisecond since the last slow one. The run at which
//! requests go past the cache shrinks with it, exponentially: from almost 32 MiB down to one sector.

use block::Moment;

/// How far down the level goes: the kernel's `CONGESTED_MAX`.
const DEEPEST: i64 = 1024;

/// How many bits of the level are the fraction of its exponent.
const FRACTION_BITS: u32 = 6;

/// From which latency a request to the cache counts as slow, in microseconds; 0 is never.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// For reads.
    pub read_us: u64,
    /// For writes.
    pub write_us: u64,
}

impl Thresholds {
    /// The kernel's: 2 ms and 20 ms.
    pub const DEFAULT: Thresholds = Thresholds { read_us: 2_000, write_us: 20_000 };
}

/// How a cache has answered lately.
#[derive(Clone, Copy, Default, Debug)]
pub struct Congestion {
    /// From 0 down to -[`DEEPEST`].
    level: i64,
    /// When a slow request ended last.
    slow_at: Moment,
}

impl Congestion {
    /// A read from the cache or a write to it has ended.
    pub fn ended(&mut self, started: Moment, now: Moment, is_write: bool, thresholds: Thresholds) {
        let threshold_us = if is_write { thresholds.write_us } else { thresholds.read_us };
        let took_us = now.since(started) / 1_000;
        if threshold_us == 0 {
        } else if took_us > threshold_us {
            let took_ms = i64::try_from(took_us / 1_024).unwrap_or(DEEPEST);
            self.level = (self.level.saturating_sub(took_ms)).max(-DEEPEST);
            self.slow_at = now;
        } else if self.level < 0 {
            self.level += 1;
        }
    }

    /// From how many sectors on a run goes past the cache now; `None` when it is not congested. `random` are 32 bits,
    /// whose ones are taken off, so that not all clients change their minds at once.
    pub fn longest_run(&self, now: Moment, random: u32, thresholds: Thresholds) -> Option<u64> {
        if thresholds == (Thresholds { read_us: 0, write_us: 0 }) {
            return None;
        }
        let since_ms = i64::try_from(now.since(self.slow_at) / 1_024_000).unwrap_or(i64::MAX);
        let level = self.level.saturating_add(since_ms);
        if level >= 0 {
            return None;
        }
        let sectors = exponential((level + DEEPEST) as u64);
        Some(sectors.saturating_sub(u64::from(random.count_ones())).max(1))
    }
}

/// 2 to the power of `level` / 64, straight between whole powers; 0 of 0.
fn exponential(level: u64) -> u64 {
    let one = 1 << FRACTION_BITS;
    match level {
        0 => 0,
        level => ((one + (level & (one - 1))) << (level >> FRACTION_BITS)) >> FRACTION_BITS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;
    const DEFAULT: Thresholds = Thresholds::DEFAULT;

    /// A cache that has taken so many microseconds for a read, just now.
    fn after(us: u64, thresholds: Thresholds) -> (Congestion, Moment) {
        let (mut congestion, now) = (Congestion::default(), Moment(1 << 60));
        congestion.ended(Moment(now.0 - us * US), now, false, thresholds);
        (congestion, now)
    }

    #[test]
    fn what_is_within_its_threshold_congests_nothing() {
        let (fast, now) = after(2_000, DEFAULT);
        assert_eq!(fast.longest_run(now, 0, DEFAULT), None);
        let (slow, now) = after(2_100, DEFAULT);
        assert!(slow.longest_run(now, 0, DEFAULT).is_some());
        let mut write = Congestion::default();
        write.ended(Moment(now.0 - 20_000 * US), now, true, DEFAULT);
        assert_eq!(write.longest_run(now, 0, DEFAULT), None);
        write.ended(Moment(now.0 - 20_100 * US), now, true, DEFAULT);
        assert!(write.longest_run(now, 0, DEFAULT).is_some());
    }

    #[test]
    fn a_threshold_of_zero_is_off() {
        let off = Thresholds { read_us: 0, write_us: 20_000 };
        let (reads, now) = after(1 << 30, off);
        assert_eq!(reads.longest_run(now, 0, off), None);
        let (slow, now) = after(1 << 30, DEFAULT);
        assert_eq!(slow.longest_run(now, 0, Thresholds { read_us: 0, write_us: 0 }), None);
    }

    /// The figures of the kernel's `fract_exp_two(x, 6)`, worked out by hand from its text.
    #[test]
    fn the_longest_run_shrinks_exponentially() {
        let figures =
            [(0, 0), (1, 1), (63, 1), (64, 2), (96, 3), (128, 4), (512, 256), (1022, 0xfc00), (1023, 0xfe00)];
        for (level, sectors) in figures {
            assert_eq!(exponential(level), sectors, "at {level}");
        }
    }

    #[test]
    fn it_recovers_by_one_a_millisecond_and_by_one_for_each_fast_request() {
        let (slow, now) = after(512 * 1_024, DEFAULT);
        let run = |congestion: &Congestion, ms: u64| {
            congestion.longest_run(now.after_ns(ms * 1_024_000), 0, DEFAULT)
        };
        assert_eq!(run(&slow, 0), Some(256), "2 to the power of 512/64");
        assert_eq!(run(&slow, 64), Some(512));
        assert_eq!(run(&slow, 511), Some(0xfe00));
        assert_eq!(run(&slow, 512), None);
        let mut recovering = slow;
        (0..64).for_each(|_| recovering.ended(now, now.after_ns(US), false, DEFAULT));
        assert_eq!(run(&recovering, 0), Some(512));
    }

    #[test]
    fn chance_takes_at_most_32_sectors_off_and_one_is_left() {
        let (slow, now) = after(512 * 1_024, DEFAULT);
        assert_eq!(slow.longest_run(now, u32::MAX, DEFAULT), Some(224));
        assert_eq!(slow.longest_run(now, 0b1011, DEFAULT), Some(253));
        let (stuck, now) = after(1 << 40, DEFAULT);
        assert_eq!(stuck.longest_run(now, 0, DEFAULT), Some(1), "the level has a bottom");
        assert_eq!(stuck.longest_run(now.after_ns(1_024 * 1_024_000), 0, DEFAULT), None);
    }
}
