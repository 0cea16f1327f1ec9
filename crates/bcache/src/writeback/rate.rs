//! How fast dirty data is written back: a controller that looks every few seconds, and a pacer between the writes.
//!
//! Follows `__update_writeback_rate`, `set_at_max_writeback_rate` and `bch_next_delay` of Linux 6.12. The controller holds
//! the volume's dirty data at its share of `writeback_percent` of the cache: the rate is what is too much of it divided by
//! `writeback_rate_p_term_inverse`, so that it would be gone in as many seconds, and a slow integral of the same. Where
//! few dirty sectors hold many buckets, the buckets decide instead. All in sectors and sectors a second.
//!
//! The one difference: the kernel cuts the sum to 32 bits before it bounds it, so that 2^31 sectors too much wrap around to
//! the lowest rate. Here it is bounded first.

use block::Moment;

const SECOND_NS: u64 = 1_000_000_000;

/// No rate is higher: the kernel's `NSEC_PER_SEC`.
pub const MOST: u64 = SECOND_NS;

/// The rate of a set that nobody uses: the kernel's `INT_MAX`.
pub const IDLE: u64 = i32::MAX as u64;

/// The rate before the controller has looked: the kernel's.
const FIRST: u64 = 1024;

/// Whoever has written less than allowed makes up for so much of it, and no more.
const FURTHEST_BEHIND_NS: u64 = 2 * SECOND_NS;

/// Whoever has written more waits so long at most, so that a higher rate is noticed.
const FURTHEST_AHEAD_NS: u64 = 5 * SECOND_NS / 2;

/// In use above which, in percent, the buckets decide, and with which of the three terms.
const FRAGMENTED_PERCENT: [u64; 3] = [50, 57, 64];

/// The buckets decide only when they could hold so many times what is dirty in them, and more.
const FRAGMENTED_TIMES: u64 = 3;

/// Rounds of the controller without a request, for each volume, after which a set counts as idle.
const IDLE_ROUNDS: u64 = 6;

/// What a person can set, by bcache's names without `writeback_` and `writeback_rate_`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuning {
    /// How much of the cache may be dirty, in percent; 0 is no bound on the rate.
    pub percent: u64,
    /// The lowest rate, in sectors a second.
    pub minimum: u64,
    /// In how many seconds what is too much would be gone.
    pub p_term_inverse: u64,
    /// Which part of what is too much is added each second.
    pub i_term_inverse: u64,
    /// What each percent in use above 50, 57 and 64 weighs, where few dirty sectors hold many buckets.
    pub fp_terms: [u64; 3],
    /// Whether that is looked at.
    pub considers_fragments: bool,
    /// How often the controller looks, in seconds.
    pub update_seconds: u64,
    /// Whether a set that nobody uses is written back as fast as it goes.
    pub idle_max: bool,
}

impl Tuning {
    /// The kernel's.
    pub const DEFAULT: Tuning = Tuning {
        percent: 10,
        minimum: 8,
        p_term_inverse: 40,
        i_term_inverse: 10_000,
        fp_terms: [1, 10, 1000],
        considers_fragments: true,
        update_seconds: 5,
        idle_max: true,
    };
}

/// What the controller sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Sectors of all buckets, without the dirty ones of volumes that lie in the cache alone.
    pub cache_sectors: u64,
    /// Sectors of this volume's backing device, and of those of all volumes of the set.
    pub device_sectors: u64,
    /// See `device_sectors`.
    pub devices_sectors: u64,
    /// Dirty sectors of this volume.
    pub dirty_sectors: u64,
    /// Buckets that could not be reused at once, and all.
    pub buckets_in_use: u64,
    /// See `buckets_in_use`.
    pub buckets: u64,
    /// Sectors of a bucket.
    pub bucket_sectors: u64,
}

impl Seen {
    /// Dirty sectors that this volume may have: what `percent` of the cache is, by the size of its device among all of the
    /// set, in 16384ths and at least one of them.
    pub fn target(&self, percent: u64) -> u64 {
        let in_all = u128::from(self.cache_sectors) * u128::from(percent) / 100;
        let share = (u128::from(self.device_sectors) << 14) / u128::from(self.devices_sectors.max(1));
        u64::try_from((in_all * share.max(1)) >> 14).unwrap_or(u64::MAX)
    }

    fn in_use_percent(&self) -> u64 {
        (u128::from(self.buckets_in_use) * 100 / u128::from(self.buckets.max(1))) as u64
    }

    /// The rate that buckets call for which hold little dirty data; `None` where they hold enough.
    fn fragment_rate(&self, terms: [u64; 3]) -> Option<i128> {
        let percent = self.in_use_percent();
        let (term, above) = match FRAGMENTED_PERCENT {
            [low, _, _] if percent <= low || self.dirty_sectors == 0 => return None,
            [low, mid, _] if percent <= mid => (terms[0], percent - low),
            [_, mid, high] if percent <= high => (terms[1], percent - mid),
            [_, _, high] => (terms[2], percent - high),
        };
        let could_hold = u128::from(self.buckets_in_use) * u128::from(self.bucket_sectors);
        if could_hold / u128::from(self.dirty_sectors) <= u128::from(FRAGMENTED_TIMES) {
            return None;
        }
        Some(i128::from(self.dirty_sectors / self.buckets_in_use) * i128::from(term) * i128::from(above))
    }
}

/// The rate of one volume, and its parts, as `writeback_rate_debug` shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Sectors a second.
    pub rate: u64,
    /// Dirty sectors that it aims at.
    pub target: u64,
    /// What is too much makes up this much of it.
    pub proportional: i64,
    /// What was too much so far makes up this much of it.
    pub integral: i64,
    /// By how much it was changed last.
    pub change: i64,
    /// What was too much so far: sectors times seconds.
    sum: i64,
    /// When the next sector may be written.
    next: Moment,
}

impl Rate {
    /// The rate of a volume whose writing back begins now.
    pub fn new(now: Moment) -> Rate {
        Rate { rate: FIRST, target: 0, proportional: 0, integral: 0, change: 0, sum: 0, next: now }
    }

    /// The controller looks.
    pub fn update(&mut self, now: Moment, seen: &Seen, tuning: &Tuning) {
        self.target = seen.target(tuning.percent);
        let excess = i128::from(seen.dirty_sectors) - i128::from(self.target);
        let mut proportional = excess / i128::from(tuning.p_term_inverse.max(1));
        if tuning.considers_fragments
            && let Some(rate) = seen.fragment_rate(tuning.fp_terms)
        {
            proportional = proportional.max(rate);
        }
        // The sum falls only as far as zero is near, and grows only while the device keeps up: it would wind up otherwise.
        let keeps_up = now < self.next.after_ms(1);
        if (excess < 0 && self.sum > 0) || (excess > 0 && keeps_up) {
            let more = excess * i128::from(tuning.update_seconds);
            self.sum = bounded(i128::from(self.sum) + more);
        }
        self.proportional = bounded(proportional);
        self.integral = self.sum / bounded(i128::from(tuning.i_term_inverse.max(1)));
        let wanted = i128::from(self.proportional) + i128::from(self.integral);
        let lowest = i128::from(tuning.minimum.min(MOST));
        self.set(wanted.clamp(lowest, i128::from(MOST)) as u64);
    }

    /// The set is used by nobody: as fast as it goes.
    pub fn run_idle(&mut self) {
        (self.proportional, self.integral, self.change) = (0, 0, 0);
        self.rate = IDLE;
    }

    fn set(&mut self, rate: u64) {
        self.change = rate as i64 - self.rate as i64;
        self.rate = rate;
    }

    /// So many sectors are being written back: how long to wait before the next ones, in nanoseconds. Asked again with 0
    /// after the wait, it says how much is left of it.
    pub fn delay_ns(&mut self, now: Moment, sectors: u64) -> u64 {
        let takes = u128::from(sectors) * u128::from(SECOND_NS) / u128::from(self.rate.max(1));
        self.next = self.next.after_ns(u64::try_from(takes).unwrap_or(u64::MAX));
        let latest = now.after_ns(FURTHEST_AHEAD_NS);
        let earliest = Moment(now.0.saturating_sub(FURTHEST_BEHIND_NS));
        self.next = self.next.clamp(earliest, latest);
        self.next.since(now)
    }

    /// What was written before, much or little, counts no more: a pass over everything has ended.
    pub fn forget(&mut self, now: Moment) {
        self.next = now;
    }
}

fn bounded(number: i128) -> i64 {
    number.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Whether anybody uses a set.
#[derive(Clone, Copy, Default, Debug)]
pub struct Idleness {
    rounds: u64,
}

impl Idleness {
    /// Somebody asks for something of a volume of the set.
    pub fn end(&mut self) {
        self.rounds = 0;
    }

    /// The controller of one of `volumes` looks: whether the set has been idle for about six rounds of each. The kernel
    /// counts rounds of all volumes and compares them with six times the square of their number.
    pub fn round(&mut self, volumes: u64) -> bool {
        self.rounds = self.rounds.saturating_add(1);
        volumes > 0 && self.rounds >= IDLE_ROUNDS.saturating_mul(volumes).saturating_mul(volumes)
    }
}

#[cfg(test)]
mod tests;
