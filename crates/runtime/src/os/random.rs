//! Random numbers of the kernel's, fetched several at a time: a system call for each would take as long as a tenth of a
//! request.

use std::cell::Cell;

use rustix::rand::{GetRandomFlags, getrandom};

/// Numbers fetched at a time: as many bytes as the kernel always gives at once.
const NUMBERS: usize = 32;

/// Numbers that nobody has had yet.
#[derive(Default)]
pub(super) struct Numbers {
    fetched: [Cell<u64>; NUMBERS],
    left: Cell<usize>,
}

impl Numbers {
    /// One that was not handed out before.
    pub(super) fn next(&self) -> u64 {
        if self.left.get() == 0 {
            self.fetch();
        }
        self.left.set(self.left.get() - 1);
        self.fetched[self.left.get()].take()
    }

    fn fetch(&self) {
        let mut bytes = [[0; 8]; NUMBERS];
        let filled = getrandom(bytes.as_flattened_mut(), GetRandomFlags::empty());
        assert_eq!(filled, Ok(8 * NUMBERS), "the kernel's random numbers are there after boot");
        for (number, bytes) in self.fetched.iter().zip(bytes) {
            number.set(u64::from_le_bytes(bytes));
        }
        self.left.set(NUMBERS);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_number_is_handed_out_twice() {
        let numbers = Numbers::default();
        let drawn: BTreeSet<u64> = (0..10 * NUMBERS).map(|_| numbers.next()).collect();
        assert_eq!(drawn.len(), 10 * NUMBERS);
    }
}
