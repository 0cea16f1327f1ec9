//! A register full of bytes: what an instruction set has to offer for the sums of [`sums`](crate::sums) to be done with it.

/// A register full of bytes.
///
/// # Safety
///
/// All of its functions require the instruction set; `load` and `store` that the pointer is good for [`Vector::BYTES`].
pub(crate) trait Vector: Copy {
    /// A constant to multiply with, prepared.
    type Factor: Copy;
    const BYTES: usize = size_of::<Self>();
    /// Whether there are 32 registers, not 16: room for twice as many sums.
    const ROOMY: bool;

    unsafe fn zero() -> Self;
    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    unsafe fn is_zero(self) -> bool;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    /// Twice each byte.
    unsafe fn double(self) -> Self;
    unsafe fn factor(value: u8) -> Self::Factor;
    /// Each byte times the factor.
    unsafe fn times(self, factor: Self::Factor) -> Self;

    /// The sum of three.
    #[inline(always)]
    unsafe fn xor3(self, second: Self, third: Self) -> Self {
        // SAFETY: as promised to this function.
        unsafe { self.xor(second).xor(third) }
    }

    /// Two steps of Horner's rule: 4 * self + 2 * upper + lower.
    #[inline(always)]
    unsafe fn horner2(self, upper: Self, lower: Self) -> Self {
        // SAFETY: as promised to this function.
        unsafe { self.double().xor(upper).double().xor(lower) }
    }
}

/// Makes the operations for one vector, as functions in which its instruction set is on. Calling one is sound where the
/// processor has the set and every source has as many bytes from `at` on as the target is long (and all targets and
/// starts are of one length): `dispatch` sees to both.
macro_rules! implementation {
    ($module:ident, $vector:ident, $features:literal) => {
        pub(crate) mod $module {
            use super::$vector;
            use crate::stripe::{Data, Delta, Source, Start};
            use crate::sums;

            #[target_feature(enable = $features)]
            pub unsafe fn xor<S: Source>(target: &mut [u8], start: Start<'_>, sources: &[S], at: usize) {
                // SAFETY: the set is on here; the rest is the caller's promise.
                unsafe { sums::xor::<$vector, S>(target, start, sources, at) }
            }

            #[target_feature(enable = $features)]
            pub unsafe fn pq(
                p: (&mut [u8], Start<'_>),
                q: (&mut [u8], Start<'_>),
                data: &[Data<'_>],
                at: usize,
            ) {
                // SAFETY: the set is on here; the rest is the caller's promise.
                unsafe { sums::pq::<$vector>(p, q, data, at) }
            }

            #[target_feature(enable = $features)]
            pub unsafe fn q(q: (&mut [u8], Start<'_>), data: &[Data<'_>], at: usize) {
                // SAFETY: the set is on here; the rest is the caller's promise.
                unsafe { sums::q::<$vector>(q, data, at) }
            }

            #[target_feature(enable = $features)]
            pub unsafe fn update<D: Delta>(
                p: Option<&mut [u8]>,
                q: Option<&mut [u8]>,
                deltas: &[D],
                at: usize,
            ) {
                // SAFETY: the set is on here; the rest is the caller's promise.
                unsafe { sums::update::<$vector, D>(p, q, deltas, at) }
            }

            #[target_feature(enable = $features)]
            pub unsafe fn scale(target: &mut [u8], factor: u8) {
                // SAFETY: the set is on here.
                unsafe { sums::scale::<$vector>(target, factor) }
            }

            #[target_feature(enable = $features)]
            pub unsafe fn solve_two(x: &mut [u8], y: &mut [u8], of_p: u8, of_q: u8) {
                // SAFETY: the set is on here; the rest is the caller's promise.
                unsafe { sums::solve_two::<$vector>(x, y, of_p, of_q) }
            }

            #[target_feature(enable = $features)]
            pub unsafe fn first_nonzero(bytes: &[u8]) -> Option<usize> {
                // SAFETY: the set is on here.
                unsafe { sums::first_nonzero::<$vector>(bytes) }
            }

            #[target_feature(enable = $features)]
            pub unsafe fn first_difference(left: &[u8], right: &[u8]) -> Option<usize> {
                // SAFETY: the set is on here; the rest is the caller's promise.
                unsafe { sums::first_difference::<$vector>(left, right) }
            }
        }
    };
}
pub(crate) use implementation;
