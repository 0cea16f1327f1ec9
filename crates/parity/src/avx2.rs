//! 32 bytes at a time: AVX2, and AVX2 with GFNI.
//!
//! See `avx512` for why multiplication is the affine instruction.

use std::arch::x86_64::*;

use crate::field::{REDUCTION, matrix, nibble_tables};
use crate::vector::{Vector, implementation};

implementation!(plain, Plain, "avx2");
implementation!(gfni, Gfni, "avx2,gfni");

/// With AVX2 alone.
#[derive(Clone, Copy)]
pub struct Plain(__m256i);

/// With GFNI as well.
#[derive(Clone, Copy)]
pub struct Gfni(__m256i);

/// What both have in common.
macro_rules! common {
    () => {
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the set is on (caller), as in everything below.
            Self(unsafe { _mm256_setzero_si256() })
        }

        #[inline(always)]
        unsafe fn load(from: *const u8) -> Self {
            // SAFETY: good for a vector (caller).
            Self(unsafe { _mm256_loadu_si256(from.cast()) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut u8) {
            // SAFETY: good for a vector (caller).
            unsafe { _mm256_storeu_si256(to.cast(), self.0) }
        }

        #[inline(always)]
        unsafe fn is_zero(self) -> bool {
            // SAFETY: see `zero`.
            unsafe { _mm256_testz_si256(self.0, self.0) == 1 }
        }

        #[inline(always)]
        unsafe fn or(self, other: Self) -> Self {
            // SAFETY: see `zero`.
            Self(unsafe { _mm256_or_si256(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn xor(self, other: Self) -> Self {
            // SAFETY: see `zero`.
            Self(unsafe { _mm256_xor_si256(self.0, other.0) })
        }
    };
}

impl Vector for Plain {
    /// Products of low nibbles, and of high ones.
    type Factor = (__m256i, __m256i);
    const ROOMY: bool = false;

    common!();

    #[inline(always)]
    unsafe fn double(self) -> Self {
        // SAFETY: see `zero`.
        unsafe {
            let leaving = _mm256_cmpgt_epi8(_mm256_setzero_si256(), self.0);
            let reduction = _mm256_and_si256(leaving, _mm256_set1_epi8(REDUCTION as i8));
            Self(_mm256_xor_si256(_mm256_add_epi8(self.0, self.0), reduction))
        }
    }

    #[inline(always)]
    unsafe fn factor(value: u8) -> Self::Factor {
        let tables = nibble_tables(value).as_ptr();
        // SAFETY: two tables of 16 bytes.
        unsafe {
            let (low, high) = (_mm_loadu_si128(tables.cast()), _mm_loadu_si128(tables.add(16).cast()));
            (_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high))
        }
    }

    #[inline(always)]
    unsafe fn times(self, (low, high): Self::Factor) -> Self {
        // SAFETY: see `zero`.
        unsafe {
            let nibble = _mm256_set1_epi8(15);
            let low = _mm256_shuffle_epi8(low, _mm256_and_si256(self.0, nibble));
            let shifted = _mm256_srli_epi16::<4>(self.0);
            let high = _mm256_shuffle_epi8(high, _mm256_and_si256(shifted, nibble));
            Self(_mm256_xor_si256(low, high))
        }
    }
}

impl Vector for Gfni {
    /// The matrix, in every lane.
    type Factor = __m256i;
    const ROOMY: bool = false;

    common!();

    #[inline(always)]
    unsafe fn double(self) -> Self {
        // SAFETY: see `zero`.
        unsafe { self.times(Self::factor(2)) }
    }

    /// The doublings of both blocks go side by side, not one after the other.
    #[inline(always)]
    unsafe fn horner2(self, upper: Self, lower: Self) -> Self {
        // SAFETY: see `zero`.
        unsafe { self.times(Self::factor(4)).xor(lower).xor(upper.times(Self::factor(2))) }
    }

    #[inline(always)]
    unsafe fn factor(value: u8) -> Self::Factor {
        // SAFETY: see `zero`.
        unsafe { _mm256_set1_epi64x(matrix(value) as i64) }
    }

    #[inline(always)]
    unsafe fn times(self, factor: Self::Factor) -> Self {
        // SAFETY: see `zero`.
        Self(unsafe { _mm256_gf2p8affine_epi64_epi8::<0>(self.0, factor) })
    }
}
