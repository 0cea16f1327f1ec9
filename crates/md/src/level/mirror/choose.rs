//! Which copy is read. Pure.

/// A copy that could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Copy {
    /// Which of the copies.
    pub number: usize,
    /// Read only if nothing else can answer.
    pub write_mostly: bool,
    /// Part of the range is known to be unreadable there.
    pub bad: bool,
    /// Reads that its member has under way.
    pub reads_in_flight: u32,
    /// Its member's last read ended where this one begins, or this is the copy that keeps all members busy.
    pub favoured: bool,
}

/// The copy to read from, by its number.
///
/// Where the copies may differ (`pinned`), it is always the first, so that repeated reads return the same (S8).
/// Elsewhere a reader that goes on where it was stays on its copy, and others go to the copy with the least to do.
pub(crate) fn choose(copies: impl Iterator<Item = Copy> + Clone, pinned: bool) -> Option<usize> {
    let rank = |copy: &Copy| (copy.bad, copy.write_mostly && !pinned);
    let best = copies.clone().map(|copy| rank(&copy)).min()?;
    let mut eligible = copies.filter(|copy| rank(copy) == best);
    let chosen = match pinned {
        true => eligible.next(),
        false => eligible.min_by_key(|copy| {
            let allowance = u32::from(copy.favoured) * A_FAVOUR_IS_WORTH;
            (copy.reads_in_flight.saturating_sub(allowance), !copy.favoured, copy.number)
        }),
    };
    chosen.map(|copy| copy.number)
}

/// A sequential reader stays on its copy until that copy has this many reads more than another: disks read ahead.
const A_FAVOUR_IS_WORTH: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(number: usize) -> Copy {
        Copy { number, write_mostly: false, bad: false, reads_in_flight: 0, favoured: false }
    }

    fn chosen(copies: &[Copy], pinned: bool) -> Option<usize> {
        choose(copies.iter().copied(), pinned)
    }

    #[test]
    fn the_copy_with_least_to_do_is_read() {
        let busy = Copy { reads_in_flight: 3, ..copy(0) };
        assert_eq!(chosen(&[busy, copy(1)], false), Some(1));
    }

    #[test]
    fn where_copies_may_differ_it_is_always_the_first() {
        let busy = Copy { reads_in_flight: 30, write_mostly: true, ..copy(0) };
        assert_eq!(chosen(&[busy, copy(1)], true), Some(0));
    }

    #[test]
    fn a_write_mostly_copy_is_read_only_when_the_others_cannot_answer() {
        let slow = Copy { write_mostly: true, ..copy(0) };
        assert_eq!(chosen(&[slow, Copy { reads_in_flight: 99, ..copy(1) }], false), Some(1));
        assert_eq!(chosen(&[slow, Copy { bad: true, ..copy(1) }], false), Some(0));
    }

    #[test]
    fn a_sequential_reader_stays_on_its_copy() {
        let going_on = Copy { reads_in_flight: 2, favoured: true, ..copy(1) };
        assert_eq!(chosen(&[copy(0), going_on], false), Some(1));
        assert_eq!(chosen(&[copy(0), Copy { reads_in_flight: 9, ..going_on }], false), Some(0));
    }

    #[test]
    fn no_copy_no_choice() {
        assert_eq!(chosen(&[], false), None);
    }
}
