//! Errors of a device, counted as `bch_count_io_errors` of Linux 6.12 counts them: each request that ends lets those before it
//! fade a little, if they are to fade. Pure.

use std::cell::Cell;

use block::{Cause, Failed, Outcome};

/// Bits of the fraction of an error.
const FRACTION_BITS: u32 = 20;

/// Errors become 127/128 of what they were so many times in a half-life: log(1/2) / log(127/128).
const FADES_OF_A_HALF_LIFE: u64 = 88;

/// Errors of a device.
#[derive(Default)]
pub struct Errors {
    /// How many there were, with a fraction.
    errors: Cell<u64>,
    /// Requests since they faded last.
    requests: Cell<u64>,
}

impl Errors {
    /// A request has ended. After `half_life` more an error counts half; 0 is never. The error, if it is one of the device.
    pub fn ended(&self, outcome: Outcome, half_life: u64) -> Option<Failed> {
        let every = half_life / FADES_OF_A_HALF_LIFE;
        if every > 0 {
            self.requests.set(self.requests.get() + 1);
            while self.requests.get() > every {
                self.requests.set(self.requests.get() - every);
                self.errors.set((u128::from(self.errors.get()) * 127 / 128) as u64);
            }
        }
        let failed = outcome.err().filter(is_of_the_device)?;
        self.errors.set(self.errors.get().saturating_add(1 << FRACTION_BITS));
        Some(failed)
    }

    /// How many count now.
    pub fn count(&self) -> u64 {
        self.errors.get() >> FRACTION_BITS
    }
}

/// Whether the device is at fault, and not what it was asked.
fn is_of_the_device(failed: &Failed) -> bool {
    !matches!(failed.cause, Cause::Refused | Cause::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Outcome = Err(Failed::new(Cause::Medium));

    #[test]
    fn errors_are_kept_for_ever_where_they_do_not_fade() {
        let errors = Errors::default();
        for _ in 0..8 {
            assert!(errors.ended(BAD, 0).is_some());
            (0..1000).for_each(|_| assert!(errors.ended(Ok(()), 0).is_none()));
        }
        assert_eq!(errors.count(), 8);
    }

    #[test]
    fn errors_are_half_as_many_after_a_half_life() {
        for half_life in [88, 8_800] {
            let errors = Errors::default();
            (0..64).for_each(|_| assert!(errors.ended(BAD, 0).is_some()));
            (0..=half_life).for_each(|_| assert!(errors.ended(Ok(()), half_life).is_none()));
            assert!((31..=32).contains(&errors.count()), "{half_life}: {}", errors.count());
        }
    }

    #[test]
    fn a_half_life_of_less_than_one_step_is_none_as_in_the_kernel() {
        let errors = Errors::default();
        let _first = errors.ended(BAD, 87);
        (0..10_000).for_each(|_| assert!(errors.ended(Ok(()), 87).is_none()));
        assert_eq!(errors.count(), 1);
    }

    #[test]
    fn what_was_asked_wrongly_is_no_error_of_the_device() {
        let errors = Errors::default();
        for cause in [Cause::Refused, Cause::Unsupported] {
            assert_eq!(errors.ended(Err(Failed::new(cause)), 0), None);
        }
        assert_eq!(errors.count(), 0);
    }
}
