//! A set of slots, small enough to be copied around.

use std::ops::{BitAnd, BitOr, Sub};

/// The most slots that an array with parity may have: the coefficients of Q are not enough for more.
pub(crate) const MOST_SLOTS: usize = 256;

/// A set of slots.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Slots([u64; MOST_SLOTS / 64]);

impl Slots {
    /// No slot.
    pub const NONE: Slots = Slots([0; MOST_SLOTS / 64]);

    /// Just this one.
    pub fn one(slot: u16) -> Slots {
        let mut set = Slots::NONE;
        set.add(slot);
        set
    }

    pub fn add(&mut self, slot: u16) {
        self.0[usize::from(slot) / 64] |= 1 << (slot % 64);
    }

    pub fn has(self, slot: u16) -> bool {
        self.0[usize::from(slot) / 64] >> (slot % 64) & 1 == 1
    }

    pub fn is_empty(self) -> bool {
        self == Slots::NONE
    }

    pub fn count(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The slots, ascending.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        (0..self.0.len()).flat_map(move |at| {
            let mut word = self.0[at];
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                (word != 0).then(|| {
                    word &= word - 1;
                    (at * 64) as u16 + bit as u16
                })
            })
        })
    }
}

impl FromIterator<u16> for Slots {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> Slots {
        let mut set = Slots::NONE;
        slots.into_iter().for_each(|slot| set.add(slot));
        set
    }
}

impl BitOr for Slots {
    type Output = Slots;
    fn bitor(self, other: Slots) -> Slots {
        Slots(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }
}

impl BitAnd for Slots {
    type Output = Slots;
    fn bitand(self, other: Slots) -> Slots {
        Slots(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }
}

impl Sub for Slots {
    type Output = Slots;
    fn sub(self, other: Slots) -> Slots {
        Slots(std::array::from_fn(|at| self.0[at] & !other.0[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_keep_what_is_put_in() {
        let set: Slots = [0, 5, 63, 64, 255].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 63, 64, 255]);
        assert_eq!((set - Slots::one(63)).count(), 4);
        assert!(set.has(255) && !set.has(254));
        assert_eq!(set & Slots::one(64), Slots::one(64));
        assert!((set - set).is_empty());
    }
}
