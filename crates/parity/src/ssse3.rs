//! 16 bytes at a time: SSSE3, the oldest set with a shuffle of bytes.

use std::arch::x86_64::*;

use crate::field::{REDUCTION, nibble_tables};
use crate::vector::{Vector, implementation};

implementation!(plain, Ssse3, "ssse3");

/// SSSE3.
#[derive(Clone, Copy)]
pub struct Ssse3(__m128i);

impl Vector for Ssse3 {
    /// Products of low nibbles, and of high ones.
    type Factor = (__m128i, __m128i);
    const ROOMY: bool = false;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the set is on (caller), as in everything below.
        Self(unsafe { _mm_setzero_si128() })
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: good for a vector (caller).
        Self(unsafe { _mm_loadu_si128(from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: good for a vector (caller).
        unsafe { _mm_storeu_si128(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        // SAFETY: see `zero`.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(self.0, _mm_setzero_si128())) == 0xffff }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: see `zero`.
        Self(unsafe { _mm_or_si128(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: see `zero`.
        Self(unsafe { _mm_xor_si128(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn double(self) -> Self {
        // SAFETY: see `zero`.
        unsafe {
            let leaving = _mm_cmpgt_epi8(_mm_setzero_si128(), self.0);
            let reduction = _mm_and_si128(leaving, _mm_set1_epi8(REDUCTION as i8));
            Self(_mm_xor_si128(_mm_add_epi8(self.0, self.0), reduction))
        }
    }

    #[inline(always)]
    unsafe fn factor(value: u8) -> Self::Factor {
        let tables = nibble_tables(value).as_ptr();
        // SAFETY: two tables of 16 bytes.
        unsafe { (_mm_loadu_si128(tables.cast()), _mm_loadu_si128(tables.add(16).cast())) }
    }

    #[inline(always)]
    unsafe fn times(self, (low, high): Self::Factor) -> Self {
        // SAFETY: see `zero`.
        unsafe {
            let nibble = _mm_set1_epi8(15);
            let low = _mm_shuffle_epi8(low, _mm_and_si128(self.0, nibble));
            let shifted = _mm_srli_epi16::<4>(self.0);
            let high = _mm_shuffle_epi8(high, _mm_and_si128(shifted, nibble));
            Self(_mm_xor_si128(low, high))
        }
    }
}
