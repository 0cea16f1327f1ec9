//! What became of requests, as bcache counts it: in all, and as three averages that fade.
//!
//! Follows `stats.c` of Linux 6.12. Twenty-two times in five minutes a clock ticks; the five-minute counts are multiplied
//! by 31/32 at each tick, those of an hour at every twelfth, those of a day at every 288th, which halves them in about as
//! long as they are named after. Fractions are kept in 16 bits. The kernel adds what happened at the next tick, here it
//! shows at once; at every tick the numbers are the same.
//!
//! A request counts once, when it ends: one that found a part of what it asked for counts as missed.

use std::cell::Cell;

use block::{Moment, SECTOR};

use crate::policy::bypass::Bypass;

/// Nanoseconds between ticks: 22 in five minutes.
const TICK_NS: u64 = 300_000_000_000 / 22;

/// Bits of the fraction of a fading count.
const FRACTION_BITS: u32 = 16;

/// After so many times 31/32 nothing is left of any number: 2^64 · (31/32)^2048 < 2^-29.
const FADED: u64 = 2048;

/// Over which time something is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Span {
    /// Since the start, or since it was cleared.
    Total,
    /// Half of it is not older than a day.
    Day,
    /// Half of it is not older than an hour.
    Hour,
    /// Half of it is not older than five minutes.
    FiveMinutes,
}

impl Span {
    /// Every span, in the order in which bcache lists them.
    pub const ALL: [Span; 4] = [Span::Total, Span::Day, Span::Hour, Span::FiveMinutes];

    /// The kernel's word for it, behind `stats_`.
    pub const fn name(self) -> &'static str {
        match self {
            Span::Total => "total",
            Span::Day => "day",
            Span::Hour => "hour",
            Span::FiveMinutes => "five_minute",
        }
    }

    /// It fades at every so many ticks; `None` if never.
    const fn fades_every(self) -> Option<u64> {
        match self {
            Span::Total => None,
            Span::Day => Some(288),
            Span::Hour => Some(12),
            Span::FiveMinutes => Some(1),
        }
    }
}

/// A reading of what was counted over one span.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Requests that the cache had everything of.
    pub hits: u64,
    /// Requests that it had not, or not all.
    pub misses: u64,
    /// Requests that were to go past the cache, and it had everything of.
    pub bypass_hits: u64,
    /// Requests that went past the cache.
    pub bypass_misses: u64,
    /// What was read to be kept, and was not, because somebody had written there meanwhile.
    pub miss_collisions: u64,
    /// Bytes of requests that went past the cache.
    pub bypassed_bytes: u64,
}

impl Counts {
    /// Hits among requests that did not bypass, in percent, rounded down; 0 of none.
    pub fn hit_ratio_percent(&self) -> u64 {
        let all = u128::from(self.hits) + u128::from(self.misses);
        (u128::from(self.hits) * 100).checked_div(all).unwrap_or(0) as u64
    }
}

/// What is counted, in the order of the fields of [`Counts`].
#[derive(Clone, Copy)]
enum What {
    Hit,
    Miss,
    BypassHit,
    BypassMiss,
    MissCollision,
    BypassedSector,
}

const WHATS: usize = What::BypassedSector as usize + 1;

/// Counters of one volume, or of a set: of all its volumes together.
pub struct Counters {
    /// For each span, in the order of [`Span::ALL`]; all but the total with a fraction.
    spans: [[Cell<u64>; WHATS]; Span::ALL.len()],
    /// Sectors that went past the cache, by the reason, in all.
    reasons: [Cell<u64>; Bypass::ALL.len()],
    /// Ticks so far, and when the last one was due.
    ticks: Cell<u64>,
    ticked: Cell<Moment>,
}

impl Counters {
    /// Counters of which nothing was counted at `now`.
    pub fn new(now: Moment) -> Counters {
        Counters {
            spans: Default::default(),
            reasons: Default::default(),
            ticks: Cell::new(0),
            ticked: Cell::new(now),
        }
    }

    /// A read or a write has ended: the cache had everything that it is about, or not; it was to go past it, or not.
    pub fn request(&self, is_hit: bool, bypasses: bool) {
        let what = match (is_hit, bypasses) {
            (true, false) => What::Hit,
            (false, false) => What::Miss,
            (true, true) => What::BypassHit,
            (false, true) => What::BypassMiss,
        };
        self.add(what, 1);
    }

    /// Something that was read could not be kept.
    pub fn miss_collision(&self) {
        self.add(What::MissCollision, 1);
    }

    /// A request of so many sectors goes past the cache.
    pub fn bypass(&self, why: Bypass, sectors: u64) {
        self.add(What::BypassedSector, sectors);
        let reason = &self.reasons[why as usize];
        reason.set(reason.get().saturating_add(sectors));
    }

    /// Bytes that went past the cache for that reason, in all.
    pub fn bypassed_bytes(&self, why: Bypass) -> u64 {
        self.reasons[why as usize].get().saturating_mul(SECTOR)
    }

    /// What was counted over a span, as of the last [`Counters::advance`].
    pub fn read(&self, span: Span) -> Counts {
        let bits = if span == Span::Total { 0 } else { FRACTION_BITS };
        let of = |what: What| self.spans[span as usize][what as usize].get() >> bits;
        Counts {
            hits: of(What::Hit),
            misses: of(What::Miss),
            bypass_hits: of(What::BypassHit),
            bypass_misses: of(What::BypassMiss),
            miss_collisions: of(What::MissCollision),
            bypassed_bytes: of(What::BypassedSector).saturating_mul(SECTOR),
        }
    }

    /// It is `now`: what is older fades by the ticks that were due. To be called before reading, as seldom as one likes.
    pub fn advance(&self, now: Moment) {
        let due = now.since(self.ticked.get()) / TICK_NS;
        let (before, after) = (self.ticks.get(), self.ticks.get().saturating_add(due));
        self.ticks.set(after);
        self.ticked.set(self.ticked.get().after_ns(due.saturating_mul(TICK_NS)));
        for (span, counts) in Span::ALL.iter().zip(&self.spans) {
            let times = span.fades_every().map_or(0, |every| after / every - before / every);
            counts.iter().for_each(|count| count.set(faded(count.get(), times)));
        }
    }

    /// Begins anew. As in the kernel only the total does; what fades goes on fading. The reasons begin anew with it.
    pub fn clear(&self) {
        self.spans[Span::Total as usize].iter().chain(&self.reasons).for_each(|count| count.set(0));
    }

    fn add(&self, what: What, more: u64) {
        for (span, counts) in Span::ALL.iter().zip(&self.spans) {
            let count = &counts[what as usize];
            let more = if *span == Span::Total { more } else { more << FRACTION_BITS };
            count.set(count.get().saturating_add(more));
        }
    }
}

fn faded(count: u64, times: u64) -> u64 {
    let fade = |count: u64, _| (u128::from(count) * 31 / 32) as u64;
    (0..times.min(FADED)).fold(count, fade)
}

/// What a set has written to its cache, and other things that only a set counts, in all.
#[derive(Default)]
pub struct SetCounters {
    /// Sectors of data.
    pub data_sectors: Cell<u64>,
    /// Sectors of nodes of the tree.
    pub btree_sectors: Cell<u64>,
    /// Sectors of journal entries, priorities, uuids.
    pub other_sectors: Cell<u64>,
    /// Reads from the cache whose bucket was given to something else meanwhile; they were done again from below.
    pub cache_read_races: Cell<u64>,
    /// Keys whose data was written back.
    pub writeback_keys_done: Cell<u64>,
    /// Keys whose data was to be written back, and had changed meanwhile or could not be.
    pub writeback_keys_failed: Cell<u64>,
}

/// One more of something that is counted.
pub(crate) fn count(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get().saturating_add(more));
}

impl SetCounters {
    /// Bytes of data: bcache's `written`.
    pub fn written(&self) -> u64 {
        bytes(&self.data_sectors)
    }

    /// Bytes of nodes: bcache's `btree_written`.
    pub fn btree_written(&self) -> u64 {
        bytes(&self.btree_sectors)
    }

    /// Bytes of everything that is no data: bcache's `metadata_written`, which counts nodes as well.
    pub fn metadata_written(&self) -> u64 {
        bytes(&self.other_sectors).saturating_add(self.btree_written())
    }

    /// Begins anew.
    pub fn clear(&self) {
        let SetCounters {
            data_sectors,
            btree_sectors,
            other_sectors,
            cache_read_races,
            writeback_keys_done,
            writeback_keys_failed,
        } = self;
        let written = [data_sectors, btree_sectors, other_sectors];
        let others = [cache_read_races, writeback_keys_done, writeback_keys_failed];
        written.into_iter().chain(others).for_each(|count| count.set(0));
    }
}

fn bytes(sectors: &Cell<u64>) -> u64 {
    sectors.get().saturating_mul(SECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Moment = Moment(1 << 50);
    const SECOND_NS: u64 = 1_000_000_000;

    fn hits(counters: &Counters) -> [u64; 4] {
        Span::ALL.map(|span| counters.read(span).hits)
    }

    #[test]
    fn each_outcome_is_counted_by_itself_in_every_span() {
        let counters = Counters::new(START);
        for (count, (is_hit, bypasses)) in
            [(true, false), (false, false), (true, true), (false, true)].into_iter().enumerate()
        {
            (0..=count).for_each(|_| counters.request(is_hit, bypasses));
        }
        (0..5).for_each(|_| counters.miss_collision());
        counters.bypass(Bypass::Sequential, 8);
        counters.bypass(Bypass::Full, 16);
        for span in Span::ALL {
            let expected = Counts {
                hits: 1,
                misses: 2,
                bypass_hits: 3,
                bypass_misses: 4,
                miss_collisions: 5,
                bypassed_bytes: 24 * 512,
            };
            assert_eq!(counters.read(span), expected, "{}", span.name());
        }
        let reasons = Bypass::ALL.map(|why| counters.bypassed_bytes(why));
        assert_eq!(reasons.iter().sum::<u64>(), 24 * 512);
        assert_eq!(counters.bypassed_bytes(Bypass::Full), 16 * 512);
    }

    #[test]
    fn counts_halve_in_the_time_that_they_are_named_after() {
        let counters = Counters::new(START);
        (0..10_000).for_each(|_| counters.request(true, false));
        for (seconds, expected) in [
            (300, [10_000, 10_000, 9_687, 4_973]),
            (3_600, [10_000, 10_000, 4_973, 2]),
            (86_400, [10_000, 4_973, 0, 0]),
        ] {
            let at = Counters::new(START);
            (0..10_000).for_each(|_| at.request(true, false));
            at.advance(START.after_ns(seconds * SECOND_NS + SECOND_NS));
            assert_eq!(hits(&at), expected, "after {seconds} s");
        }
        counters.advance(START.after_ns(TICK_NS - 1));
        assert_eq!(hits(&counters), [10_000; 4], "nothing fades before the first tick");
    }

    #[test]
    fn the_hit_ratio_leaves_out_what_bypasses() {
        assert_eq!(Counts::default().hit_ratio_percent(), 0);
        let counts = Counts { hits: 2, misses: 1, bypass_misses: 100, ..Counts::default() };
        assert_eq!(counts.hit_ratio_percent(), 66);
        assert_eq!(Counts { hits: u64::MAX, misses: u64::MAX, ..counts }.hit_ratio_percent(), 50);
    }

    #[test]
    fn clearing_begins_the_total_anew_and_lets_the_rest_fade() {
        let counters = Counters::new(START);
        counters.request(true, false);
        counters.bypass(Bypass::Mode, 8);
        counters.clear();
        assert_eq!(counters.read(Span::Total), Counts::default());
        assert_eq!(counters.bypassed_bytes(Bypass::Mode), 0);
        assert_eq!(counters.read(Span::Hour).hits, 1);
    }

    #[test]
    fn after_a_long_sleep_nothing_is_left_and_nothing_takes_long() {
        let counters = Counters::new(START);
        (0..1000).for_each(|_| counters.request(true, false));
        counters.advance(Moment(u64::MAX));
        assert_eq!(hits(&counters), [1000, 0, 0, 0]);
    }

    #[test]
    fn nodes_count_as_metadata_too() {
        let counters = SetCounters::default();
        counters.data_sectors.set(8);
        counters.btree_sectors.set(2);
        counters.other_sectors.set(1);
        assert_eq!(counters.written(), 4096);
        assert_eq!((counters.btree_written(), counters.metadata_written()), (1024, 1536));
        counters.clear();
        assert_eq!((counters.written(), counters.metadata_written()), (0, 0));
    }

    proptest! {
        /// The kernel's own way: what happens is collected, and added at the tick, before it fades.
        #[test]
        fn at_every_tick_it_is_what_the_kernel_shows(events in prop::collection::vec(0..1000u64, 1..700)) {
            let counters = Counters::new(START);
            let (mut five, mut hour, mut day) = (0u64, 0u64, 0u64);
            for (tick, count) in events.into_iter().enumerate() {
                (0..count).for_each(|_| counters.request(true, false));
                let tick = tick as u64 + 1;
                counters.advance(START.after_ns(tick * TICK_NS));
                for (number, every) in [(&mut five, 1), (&mut hour, 12), (&mut day, 288)] {
                    *number += count << 16;
                    if tick.is_multiple_of(every) {
                        *number = *number * 31 / 32;
                    }
                }
                prop_assert_eq!(&hits(&counters)[1..], &[day >> 16, hour >> 16, five >> 16]);
            }
        }
    }
}
