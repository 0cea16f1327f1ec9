//! 16 bytes at a time on aarch64, where every processor has NEON.

use std::arch::aarch64::*;

use crate::field::{REDUCTION, nibble_tables};
use crate::vector::{Vector, implementation};

implementation!(plain, Neon, "neon");

/// NEON.
#[derive(Clone, Copy)]
pub struct Neon(uint8x16_t);

impl Vector for Neon {
    /// Products of low nibbles, and of high ones.
    type Factor = (uint8x16_t, uint8x16_t);
    const ROOMY: bool = true;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the set is on (caller), as in everything below.
        Self(unsafe { vdupq_n_u8(0) })
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: good for a vector (caller).
        Self(unsafe { vld1q_u8(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: good for a vector (caller).
        unsafe { vst1q_u8(to, self.0) }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        // SAFETY: see `zero`.
        unsafe { vmaxvq_u8(self.0) == 0 }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: see `zero`.
        Self(unsafe { vorrq_u8(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: see `zero`.
        Self(unsafe { veorq_u8(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn double(self) -> Self {
        // SAFETY: see `zero`.
        unsafe {
            let leaving = vcltzq_s8(vreinterpretq_s8_u8(self.0));
            let reduction = vandq_u8(leaving, vdupq_n_u8(REDUCTION));
            Self(veorq_u8(vshlq_n_u8::<1>(self.0), reduction))
        }
    }

    #[inline(always)]
    unsafe fn factor(value: u8) -> Self::Factor {
        let tables = nibble_tables(value).as_ptr();
        // SAFETY: two tables of 16 bytes.
        unsafe { (vld1q_u8(tables), vld1q_u8(tables.add(16))) }
    }

    #[inline(always)]
    unsafe fn times(self, (low, high): Self::Factor) -> Self {
        // SAFETY: see `zero`.
        unsafe {
            let low = vqtbl1q_u8(low, vandq_u8(self.0, vdupq_n_u8(15)));
            let high = vqtbl1q_u8(high, vshrq_n_u8::<4>(self.0));
            Self(veorq_u8(low, high))
        }
    }
}
