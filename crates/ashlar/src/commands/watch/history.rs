//! What the last looks at an array bring out: speeds and latencies between two of them, and the speeds of the last minutes.
//! Pure.

use std::collections::{BTreeMap, VecDeque};

use control::{ArrayStatus, IoStatus};

/// Speeds that are remembered: two minutes, more than the widest chart has room for.
pub const REMEMBERED: usize = 120;

/// What one kind of requests did between two looks.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Rate {
    /// Bytes a second.
    pub bytes: u64,
    /// Requests a second.
    pub requests: u64,
    /// Half of the requests took less than this; none if there were none.
    pub median_ns: Option<u64>,
    /// 99 of 100 took less than this.
    pub slow_ns: Option<u64>,
}

/// Reads and writes of an array or a member between two looks.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Rates {
    /// Reads.
    pub read: Rate,
    /// Writes.
    pub write: Rate,
}

/// One array over time.
#[derive(Default)]
pub struct History {
    last: Option<ArrayStatus>,
    /// The array as its clients see it.
    pub array: Rates,
    /// Members, by name.
    pub members: BTreeMap<String, Rates>,
    /// Bytes read a second, the newest last.
    pub reads: VecDeque<u64>,
    /// Bytes written a second.
    pub writes: VecDeque<u64>,
}

impl History {
    /// Takes in a look that came so many milliseconds after the one before.
    pub fn take(&mut self, now: &ArrayStatus, elapsed_ms: u64) {
        if let Some(last) = &self.last {
            self.array = rates(&last.io, &now.io, elapsed_ms);
            self.members = now
                .members
                .iter()
                .map(|member| {
                    let before = last.members.iter().find(|before| before.name == member.name);
                    let before = before.map_or(&[][..], |before| &before.io);
                    (member.name.clone(), rates(before, &member.io, elapsed_ms))
                })
                .collect();
            for (speeds, speed) in
                [(&mut self.reads, self.array.read.bytes), (&mut self.writes, self.array.write.bytes)]
            {
                speeds.push_back(speed);
                if speeds.len() > REMEMBERED {
                    speeds.pop_front();
                }
            }
        }
        self.last = Some(now.clone());
    }
}

fn rates(before: &[IoStatus], now: &[IoStatus], elapsed_ms: u64) -> Rates {
    let of = |op: &str| {
        let find = |io: &[IoStatus]| io.iter().find(|io| io.op == op).cloned();
        find(now).map_or(Rate::default(), |now| rate(find(before).as_ref(), &now, elapsed_ms))
    };
    Rates { read: of("read"), write: of("write") }
}

/// A stack that was started anew counts anew: what would be less than nothing is nothing.
fn rate(before: Option<&IoStatus>, now: &IoStatus, elapsed_ms: u64) -> Rate {
    let per_second = |now: u64, before: Option<u64>| {
        let more = u128::from(now.saturating_sub(before.unwrap_or(0)));
        u64::try_from(more * 1000 / u128::from(elapsed_ms.max(1))).unwrap_or(u64::MAX)
    };
    let count_before = |end: Option<u64>| {
        let buckets = before.iter().flat_map(|before| &before.latency);
        buckets.filter(|bucket| bucket.below_ns == end).map(|bucket| bucket.count).sum::<u64>()
    };
    let buckets = now.latency.iter().map(|bucket| {
        (bucket.below_ns.unwrap_or(u64::MAX), bucket.count.saturating_sub(count_before(bucket.below_ns)))
    });
    let mut buckets: Vec<(u64, u64)> = buckets.collect();
    buckets.sort_unstable();
    Rate {
        bytes: per_second(now.bytes, before.map(|before| before.bytes)),
        requests: per_second(now.done, before.map(|before| before.done)),
        median_ns: below(&buckets, 50),
        slow_ns: below(&buckets, 99),
    }
}

/// Where the bucket ends in which the request is that so many percent are not slower than.
fn below(buckets: &[(u64, u64)], percent: u64) -> Option<u64> {
    let all: u64 = buckets.iter().map(|(_, count)| count).sum();
    let wanted = u128::from(all) * u128::from(percent);
    let mut so_far = 0u128;
    buckets.iter().find_map(|(end, count)| {
        so_far += u128::from(*count) * 100;
        (all > 0 && so_far >= wanted).then_some(*end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::LatencyBucket;

    fn io(done: u64, bytes: u64, latency: &[(Option<u64>, u64)]) -> IoStatus {
        let latency =
            latency.iter().map(|(below_ns, count)| LatencyBucket { below_ns: *below_ns, count: *count });
        let (op, latency) = ("read".to_owned(), latency.collect());
        IoStatus { op, begun: done, done, failed: 0, in_flight: 0, bytes, total_ns: 0, latency }
    }

    #[test]
    fn rates_are_what_happened_in_between() {
        let before = io(10, 1000, &[(Some(1024), 10)]);
        let now = io(110, 51_000, &[(Some(1024), 60), (Some(2048), 49), (None, 1)]);
        let rate = rate(Some(&before), &now, 500);
        let expected = Rate { bytes: 100_000, requests: 200, median_ns: Some(1024), slow_ns: Some(2048) };
        assert_eq!(rate, expected);
    }

    #[test]
    fn a_stack_that_was_started_anew_brings_no_nonsense() {
        let rate = rate(Some(&io(100, 9000, &[(Some(64), 100)])), &io(3, 30, &[(Some(64), 3)]), 0);
        assert_eq!(rate, Rate::default());
    }

    #[test]
    fn percentiles_are_where_buckets_end() {
        assert_eq!(below(&[], 50), None);
        assert_eq!(below(&[(8, 0)], 50), None);
        assert_eq!(below(&[(8, 1), (16, 1)], 50), Some(8));
        assert_eq!(below(&[(8, 98), (16, 1), (u64::MAX, 1)], 99), Some(16));
        assert_eq!(below(&[(8, 1), (u64::MAX, 1)], 99), Some(u64::MAX));
    }
}
