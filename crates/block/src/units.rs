//! Sectors, ranges of sectors, and moments: the numbers that carry their unit in the type.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// Bytes in a sector. md and bcache count in 512-byte sectors whatever the disk's block size is.
pub const SECTOR: u64 = 512;

/// A position or a length in 512-byte sectors.
///
/// `+` and `-` panic on overflow in every build: they are for numbers of our own making. What a disk or a client
/// said goes through [`Sectors::checked_add`] and its kin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Sectors(pub u64);

impl Sectors {
    /// No sectors.
    pub const ZERO: Sectors = Sectors(0);

    /// Rounds down: the sectors that lie wholly within `bytes`.
    pub const fn from_bytes(bytes: u64) -> Sectors {
        Sectors(bytes / SECTOR)
    }

    /// The same length in bytes; `None` above 2^64.
    pub const fn checked_bytes(self) -> Option<u64> {
        self.0.checked_mul(SECTOR)
    }

    /// The same length in bytes. Panics where that does not fit, which no device of this world reaches.
    pub const fn bytes(self) -> u64 {
        match self.0.checked_mul(SECTOR) {
            Some(bytes) => bytes,
            None => panic!("more bytes than 64 bits can count"),
        }
    }

    /// The same length in bytes, as memory counts them. Panics above the address space.
    pub fn byte_len(self) -> usize {
        usize::try_from(self.bytes()).expect("a buffer fits in memory")
    }

    /// Whether this is zero sectors.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Sum, or `None` on overflow.
    pub const fn checked_add(self, other: Sectors) -> Option<Sectors> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Sectors(sum)),
            None => None,
        }
    }

    /// Difference, or `None` below zero.
    pub const fn checked_sub(self, other: Sectors) -> Option<Sectors> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Sectors(difference)),
            None => None,
        }
    }

    /// Difference, never below zero.
    pub const fn saturating_sub(self, other: Sectors) -> Sectors {
        Sectors(self.0.saturating_sub(other.0))
    }

    /// The largest multiple of `step` not above this. `step` is not zero.
    pub const fn round_down(self, step: Sectors) -> Sectors {
        Sectors(self.0 - self.0 % step.0)
    }

    /// Whether this is a multiple of `step`. `step` is not zero.
    pub const fn is_multiple_of(self, step: Sectors) -> bool {
        self.0.is_multiple_of(step.0)
    }
}

impl Add for Sectors {
    type Output = Sectors;
    fn add(self, other: Sectors) -> Sectors {
        self.checked_add(other).expect("a sector position of our own making stays below 2^64")
    }
}

impl Sub for Sectors {
    type Output = Sectors;
    fn sub(self, other: Sectors) -> Sectors {
        self.checked_sub(other).expect("a sector length of our own making stays above zero")
    }
}

impl AddAssign for Sectors {
    fn add_assign(&mut self, other: Sectors) {
        *self = *self + other;
    }
}

impl SubAssign for Sectors {
    fn sub_assign(&mut self, other: Sectors) {
        *self = *self - other;
    }
}

impl fmt::Display for Sectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A run of sectors: `start` and how many.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Range {
    /// The first sector.
    pub start: Sectors,
    /// How many sectors.
    pub count: Sectors,
}

impl Range {
    /// The range of `count` sectors from `start`. Panics if its end does not fit 64 bits.
    pub fn new(start: Sectors, count: Sectors) -> Range {
        assert!(start.checked_add(count).is_some(), "a range ends below 2^64");
        Range { start, count }
    }

    /// The first sector behind the range.
    pub fn end(self) -> Sectors {
        self.start + self.count
    }

    /// Whether the two have a sector in common.
    pub fn overlaps(self, other: Range) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    /// What the two have in common.
    pub fn intersection(self, other: Range) -> Option<Range> {
        let (start, end) = (self.start.max(other.start), self.end().min(other.end()));
        (start < end).then(|| Range::new(start, end - start))
    }

    /// Whether all of `other` lies in this range.
    pub fn contains(self, other: Range) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sectors {}..{}", self.start, self.start.0.saturating_add(self.count.0))
    }
}

/// A moment on the driver's monotonic clock, in nanoseconds from an origin of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Moment(pub u64);

impl Moment {
    /// This moment and `ns` nanoseconds.
    pub const fn after_ns(self, ns: u64) -> Moment {
        Moment(self.0.saturating_add(ns))
    }

    /// This moment and `ms` milliseconds.
    pub const fn after_ms(self, ms: u64) -> Moment {
        self.after_ns(ms.saturating_mul(1_000_000))
    }

    /// Nanoseconds since `earlier`; zero if that is later.
    pub const fn since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_only_touch_do_not_overlap() {
        let a = Range::new(Sectors(0), Sectors(8));
        let b = Range::new(Sectors(8), Sectors(8));
        assert!(!a.overlaps(b) && !b.overlaps(a));
        assert!(a.overlaps(Range::new(Sectors(7), Sectors(1))));
        assert_eq!(a.intersection(b), None);
        let common = a.intersection(Range::new(Sectors(5), Sectors(9)));
        assert_eq!(common, Some(Range::new(Sectors(5), Sectors(3))));
    }

    #[test]
    fn a_range_contains_itself_and_nothing_beyond() {
        let a = Range::new(Sectors(8), Sectors(8));
        assert!(a.contains(a));
        assert!(!a.contains(Range::new(Sectors(8), Sectors(9))));
    }

    #[test]
    #[should_panic(expected = "below 2^64")]
    fn a_sum_of_our_own_that_overflows_is_a_bug() {
        let _ = Sectors(u64::MAX) + Sectors(1);
    }
}
