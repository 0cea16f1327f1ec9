//! 64 bytes at a time: AVX-512, and AVX-512 with GFNI.
//!
//! GFNI's own multiplication is of another field (0x11b); its affine instruction multiplies with any matrix of bits, and
//! a constant of any field is one.

use std::arch::x86_64::*;

use crate::field::{REDUCTION, matrix, nibble_tables};
use crate::vector::{Vector, implementation};

implementation!(plain, Plain, "avx512f,avx512bw");
implementation!(gfni, Gfni, "avx512f,avx512bw,gfni");

/// With AVX-512F and BW.
#[derive(Clone, Copy)]
pub struct Plain(__m512i);

/// With GFNI as well.
#[derive(Clone, Copy)]
pub struct Gfni(__m512i);

/// All three operands xored, as the table of a ternary operation.
const XOR3: i32 = 0x96;

/// What both have in common.
macro_rules! common {
    () => {
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the set is on (caller), as in everything below.
            Self(unsafe { _mm512_setzero_si512() })
        }

        #[inline(always)]
        unsafe fn load(from: *const u8) -> Self {
            // SAFETY: good for a vector (caller).
            Self(unsafe { _mm512_loadu_si512(from.cast()) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut u8) {
            // SAFETY: good for a vector (caller).
            unsafe { _mm512_storeu_si512(to.cast(), self.0) }
        }

        #[inline(always)]
        unsafe fn is_zero(self) -> bool {
            // SAFETY: see `zero`.
            unsafe { _mm512_test_epi64_mask(self.0, self.0) == 0 }
        }

        #[inline(always)]
        unsafe fn or(self, other: Self) -> Self {
            // SAFETY: see `zero`.
            Self(unsafe { _mm512_or_si512(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn xor(self, other: Self) -> Self {
            // SAFETY: see `zero`.
            Self(unsafe { _mm512_xor_si512(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn xor3(self, second: Self, third: Self) -> Self {
            // SAFETY: see `zero`.
            Self(unsafe { _mm512_ternarylogic_epi64::<XOR3>(self.0, second.0, third.0) })
        }
    };
}

impl Vector for Plain {
    /// Products of low nibbles, and of high ones.
    type Factor = (__m512i, __m512i);
    const ROOMY: bool = true;

    common!();

    #[inline(always)]
    unsafe fn double(self) -> Self {
        // SAFETY: see `zero`.
        unsafe {
            let leaving = _mm512_movepi8_mask(self.0);
            let reduction = _mm512_maskz_mov_epi8(leaving, _mm512_set1_epi8(REDUCTION as i8));
            Self(_mm512_xor_si512(_mm512_add_epi8(self.0, self.0), reduction))
        }
    }

    #[inline(always)]
    unsafe fn factor(value: u8) -> Self::Factor {
        let tables = nibble_tables(value).as_ptr();
        // SAFETY: two tables of 16 bytes.
        unsafe {
            let (low, high) = (_mm_loadu_si128(tables.cast()), _mm_loadu_si128(tables.add(16).cast()));
            (_mm512_broadcast_i32x4(low), _mm512_broadcast_i32x4(high))
        }
    }

    #[inline(always)]
    unsafe fn times(self, (low, high): Self::Factor) -> Self {
        // SAFETY: see `zero`.
        unsafe {
            let nibble = _mm512_set1_epi8(15);
            let low = _mm512_shuffle_epi8(low, _mm512_and_si512(self.0, nibble));
            let shifted = _mm512_srli_epi16::<4>(self.0);
            let high = _mm512_shuffle_epi8(high, _mm512_and_si512(shifted, nibble));
            Self(_mm512_xor_si512(low, high))
        }
    }
}

impl Vector for Gfni {
    /// The matrix, in every lane.
    type Factor = __m512i;
    const ROOMY: bool = true;

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
        unsafe { self.times(Self::factor(4)).xor3(upper.times(Self::factor(2)), lower) }
    }

    #[inline(always)]
    unsafe fn factor(value: u8) -> Self::Factor {
        // SAFETY: see `zero`.
        unsafe { _mm512_set1_epi64(matrix(value) as i64) }
    }

    #[inline(always)]
    unsafe fn times(self, factor: Self::Factor) -> Self {
        // SAFETY: see `zero`.
        Self(unsafe { _mm512_gf2p8affine_epi64_epi8::<0>(self.0, factor) })
    }
}
