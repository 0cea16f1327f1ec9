//! The operations of [`scalar`], a vector at a time, for any instruction set that has a [`Vector`].
//!
//! Everything here is inlined into functions that switch the instruction set on (`implementation!` makes them): a
//! vector must stay in a register, and the compiler can only keep it there within one such function. So there are no
//! closures in here, and the sums are arrays whose length is known.
//!
//! A step does several vectors of every block, all sums in registers, then goes on to the next: each byte of data is
//! read once. Bytes that fill no vector are left to the scalar code.
//!
//! Within a step every load comes before any store. Blocks lie at the same place of their pages, and a processor that
//! compares the low twelve bits alone takes a load from one block for what was just stored to another, and waits.

#![expect(clippy::needless_range_loop, reason = "one index runs over sums and over memory")]

use crate::field::power;
use crate::scalar;
use crate::stripe::{Data, Delta, Source, Start};
use crate::vector::Vector;

/// Vectors of each block in one step: enough sums in flight to hide that doubling takes several cycles and that
/// finding the next block takes a few, few enough for P, Q and data to stay in sixteen registers.
const WIDE: usize = 4;

/// The same where there are 32 registers.
const WIDER: usize = 8;

/// What a sum begins with, as something a step can load.
#[derive(Clone, Copy)]
struct Begin(*const u8);

impl Begin {
    /// The start of the target's byte `done`; null stands for zeros.
    #[inline(always)]
    fn new(target: *const u8, start: Start<'_>) -> Begin {
        match start {
            Start::Zero => Begin(std::ptr::null()),
            Start::Target => Begin(target),
            Start::Bytes(bytes) => Begin(bytes.as_ptr()),
        }
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(self, at: usize) -> V {
        // SAFETY: a start that is not null is as long as the target, of which `at` is a place with a vector to go.
        unsafe { if self.0.is_null() { V::zero() } else { V::load(self.0.add(at)) } }
    }
}

/// Runs a step in wide steps, then in steps of one vector; gives back how many bytes were done.
macro_rules! steps {
    ($vector:ty, $len:expr, |$done:ident, $wide:ident| $step:expr) => {{
        let len: usize = $len;
        let mut $done = 0;
        while <$vector>::ROOMY && len - $done >= WIDER * <$vector>::BYTES {
            const $wide: usize = WIDER;
            $step;
            $done += WIDER * <$vector>::BYTES;
        }
        while !<$vector>::ROOMY && len - $done >= WIDE * <$vector>::BYTES {
            const $wide: usize = WIDE;
            $step;
            $done += WIDE * <$vector>::BYTES;
        }
        while len - $done >= <$vector>::BYTES {
            const $wide: usize = 1;
            $step;
            $done += <$vector>::BYTES;
        }
        $done
    }};
}

#[inline(always)]
pub(crate) unsafe fn xor<V: Vector, S: Source>(
    target: &mut [u8],
    start: Start<'_>,
    sources: &[S],
    at: usize,
) {
    let to = target.as_mut_ptr();
    let begin = Begin::new(to, start);
    // SAFETY: a step stays within the target, and the sources reach as far (caller).
    let done = steps!(V, target.len(), |done, N| unsafe {
        xor_step::<V, S, N>(to, begin, sources, at, done);
    });
    if done < target.len() {
        scalar::xor(&mut target[done..], start.from(done), sources, at + done);
    }
}

#[inline(always)]
unsafe fn xor_step<V: Vector, S: Source, const N: usize>(
    to: *mut u8,
    begin: Begin,
    sources: &[S],
    at: usize,
    done: usize,
) {
    // SAFETY: N vectors from `done` on lie within target, start and sources (caller).
    unsafe {
        let mut sums = [V::zero(); N];
        for n in 0..N {
            sums[n] = begin.load(done + n * V::BYTES);
        }
        let (pairs, odd) = sources.as_chunks::<2>();
        for [one, two] in pairs {
            let one = one.bytes().as_ptr().add(at + done);
            let two = two.bytes().as_ptr().add(at + done);
            for n in 0..N {
                sums[n] = sums[n].xor3(V::load(one.add(n * V::BYTES)), V::load(two.add(n * V::BYTES)));
            }
        }
        if let [one] = odd {
            let one = one.bytes().as_ptr().add(at + done);
            for n in 0..N {
                sums[n] = sums[n].xor(V::load(one.add(n * V::BYTES)));
            }
        }
        for n in 0..N {
            sums[n].store(to.add(done + n * V::BYTES));
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn pq<V: Vector>(
    p: (&mut [u8], Start<'_>),
    q: (&mut [u8], Start<'_>),
    data: &[Data<'_>],
    at: usize,
) {
    let (to_p, to_q) = (p.0.as_mut_ptr(), q.0.as_mut_ptr());
    // SAFETY: the same promises.
    let done = unsafe {
        horner::<V, true>((to_p, Begin::new(to_p, p.1)), (to_q, Begin::new(to_q, q.1)), q.0.len(), data, at)
    };
    if done < p.0.len() {
        scalar::pq((&mut p.0[done..], p.1.from(done)), (&mut q.0[done..], q.1.from(done)), data, at + done);
    }
}

#[inline(always)]
pub(crate) unsafe fn q<V: Vector>(q: (&mut [u8], Start<'_>), data: &[Data<'_>], at: usize) {
    let to = q.0.as_mut_ptr();
    let begin = Begin::new(to, q.1);
    // SAFETY: the same promises; the place of P is not touched.
    let done = unsafe { horner::<V, false>((to, begin), (to, begin), q.0.len(), data, at) };
    if done < q.0.len() {
        scalar::q((&mut q.0[done..], q.1.from(done)), data, at + done);
    }
}

/// Q, and P where it is wanted, as far as vectors go. How far that is.
#[inline(always)]
unsafe fn horner<V: Vector, const P: bool>(
    p: (*mut u8, Begin),
    q: (*mut u8, Begin),
    len: usize,
    data: &[Data<'_>],
    at: usize,
) -> usize {
    let ([first, ..], [.., last]) = (data, data) else { return 0 };
    let dense = usize::from(last.0 - first.0) + 1 == data.len();
    if dense {
        // SAFETY: a step stays within the targets, and the data reach as far (caller).
        steps!(V, len, |done, N| unsafe { horner_step::<V, P, true, N>(p, q, data, at, done) })
    } else {
        // SAFETY: as above.
        steps!(V, len, |done, N| unsafe { horner_step::<V, P, false, N>(p, q, data, at, done) })
    }
}

/// N vectors of Horner's rule, from the highest index down. Where indices are missing, Q is doubled for them as well.
#[inline(always)]
unsafe fn horner_step<V: Vector, const P: bool, const DENSE: bool, const N: usize>(
    p: (*mut u8, Begin),
    q: (*mut u8, Begin),
    data: &[Data<'_>],
    at: usize,
    done: usize,
) {
    // SAFETY: N vectors from `done` on lie within targets, starts and data (caller).
    unsafe {
        let [below @ .., (highest, last)] = data else { return };
        let mut above = *highest;
        let last = last.as_ptr().add(at + done);
        let (mut sum_p, mut sum_q) = ([V::zero(); N], [V::zero(); N]);
        for n in 0..N {
            sum_q[n] = V::load(last.add(n * V::BYTES));
            sum_p[n] = sum_q[n];
        }
        let (odd, pairs) = if DENSE { below.as_rchunks::<2>() } else { (below, &[][..]) };
        for [(index, lower), (_, upper)] in pairs.iter().rev() {
            let (upper, lower) = (upper.as_ptr().add(at + done), lower.as_ptr().add(at + done));
            for n in 0..N {
                let (upper, lower) = (V::load(upper.add(n * V::BYTES)), V::load(lower.add(n * V::BYTES)));
                sum_q[n] = sum_q[n].horner2(upper, lower);
                if P {
                    sum_p[n] = sum_p[n].xor3(upper, lower);
                }
            }
            above = *index;
        }
        for (index, block) in odd.iter().rev() {
            let block = block.as_ptr().add(at + done);
            double_times(&mut sum_q, above - index);
            for n in 0..N {
                let block = V::load(block.add(n * V::BYTES));
                sum_q[n] = sum_q[n].xor(block);
                if P {
                    sum_p[n] = sum_p[n].xor(block);
                }
            }
            above = *index;
        }
        double_times(&mut sum_q, above);
        for n in 0..N {
            let at = done + n * V::BYTES;
            sum_q[n] = sum_q[n].xor(q.1.load(at));
            if P {
                sum_p[n] = sum_p[n].xor(p.1.load(at));
            }
        }
        for n in 0..N {
            let at = done + n * V::BYTES;
            sum_q[n].store(q.0.add(at));
            if P {
                sum_p[n].store(p.0.add(at));
            }
        }
    }
}

#[inline(always)]
unsafe fn double_times<V: Vector, const N: usize>(sums: &mut [V; N], times: u8) {
    for _ in 0..times {
        for sum in &mut *sums {
            // SAFETY: the set is on (caller).
            *sum = unsafe { sum.double() };
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn update<V: Vector, D: Delta>(
    mut p: Option<&mut [u8]>,
    mut q: Option<&mut [u8]>,
    deltas: &[D],
    at: usize,
) {
    let len = p.as_deref().or(q.as_deref()).map_or(0, <[u8]>::len);
    let to_p = p.as_deref_mut().map(<[u8]>::as_mut_ptr);
    let to_q = q.as_deref_mut().map(<[u8]>::as_mut_ptr);
    // SAFETY: a step stays within the targets, and the differences reach as far (caller).
    let done = steps!(V, len, |done, N| unsafe { update_step::<V, D, N>(to_p, to_q, deltas, at, done) });
    if done < len {
        scalar::update(p.map(|p| &mut p[done..]), q.map(|q| &mut q[done..]), deltas, at + done);
    }
}

#[inline(always)]
unsafe fn update_step<V: Vector, D: Delta, const N: usize>(
    p: Option<*mut u8>,
    q: Option<*mut u8>,
    deltas: &[D],
    at: usize,
    done: usize,
) {
    // SAFETY: N vectors from `done` on lie within targets and differences (caller).
    unsafe {
        let (mut sum_p, mut sum_q) = ([V::zero(); N], [V::zero(); N]);
        for n in 0..N {
            let at = done + n * V::BYTES;
            if let Some(p) = p {
                sum_p[n] = V::load(p.add(at));
            }
            if let Some(q) = q {
                sum_q[n] = V::load(q.add(at));
            }
        }
        for delta in deltas {
            let bytes = delta.bytes().as_ptr().add(at + done);
            let mut difference = [V::zero(); N];
            for n in 0..N {
                difference[n] = V::load(bytes.add(n * V::BYTES));
            }
            if let Some(other) = delta.other() {
                let other = other.as_ptr().add(at + done);
                for n in 0..N {
                    difference[n] = difference[n].xor(V::load(other.add(n * V::BYTES)));
                }
            }
            let factor = V::factor(power(usize::from(delta.index())));
            for n in 0..N {
                sum_p[n] = sum_p[n].xor(difference[n]);
                sum_q[n] = sum_q[n].xor(difference[n].times(factor));
            }
        }
        for n in 0..N {
            let at = done + n * V::BYTES;
            if let Some(p) = p {
                sum_p[n].store(p.add(at));
            }
            if let Some(q) = q {
                sum_q[n].store(q.add(at));
            }
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn scale<V: Vector>(target: &mut [u8], factor: u8) {
    let to = target.as_mut_ptr();
    // SAFETY: the set is on (caller).
    let prepared = unsafe { V::factor(factor) };
    // SAFETY: a step stays within the target.
    let done = steps!(V, target.len(), |done, N| unsafe {
        for n in 0..N {
            let to = to.add(done + n * V::BYTES);
            V::load(to).times(prepared).store(to);
        }
    });
    if done < target.len() {
        scalar::scale(&mut target[done..], factor);
    }
}

#[inline(always)]
pub(crate) unsafe fn solve_two<V: Vector>(x: &mut [u8], y: &mut [u8], of_p: u8, of_q: u8) {
    let (to_x, to_y) = (x.as_mut_ptr(), y.as_mut_ptr());
    // SAFETY: the set is on (caller).
    let (times_p, times_q) = unsafe { (V::factor(of_p), V::factor(of_q)) };
    // SAFETY: a step stays within x, and y is as long (caller).
    let done = steps!(V, x.len(), |done, N| unsafe {
        for n in 0..N {
            let (to_x, to_y) = (to_x.add(done + n * V::BYTES), to_y.add(done + n * V::BYTES));
            let (lack_p, lack_q) = (V::load(to_x), V::load(to_y));
            let solved = lack_p.times(times_p).xor(lack_q.times(times_q));
            solved.store(to_x);
            solved.xor(lack_p).store(to_y);
        }
    });
    if done < x.len() {
        scalar::solve_two(&mut x[done..], &mut y[done..], of_p, of_q);
    }
}

#[inline(always)]
pub(crate) unsafe fn first_nonzero<V: Vector>(bytes: &[u8]) -> Option<usize> {
    let from = bytes.as_ptr();
    // SAFETY: a step stays within the bytes.
    let done = steps!(V, bytes.len(), |done, N| unsafe {
        let mut seen = V::zero();
        for n in 0..N {
            seen = seen.or(V::load(from.add(done + n * V::BYTES)));
        }
        if !seen.is_zero() {
            break;
        }
    });
    scalar::first_nonzero(&bytes[done..]).map(|place| done + place)
}

#[inline(always)]
pub(crate) unsafe fn first_difference<V: Vector>(left: &[u8], right: &[u8]) -> Option<usize> {
    let (one, two) = (left.as_ptr(), right.as_ptr());
    // SAFETY: a step stays within the left bytes, and the right ones are as many (caller).
    let done = steps!(V, left.len(), |done, N| unsafe {
        let mut seen = V::zero();
        for n in 0..N {
            let at = done + n * V::BYTES;
            seen = seen.or(V::load(one.add(at)).xor(V::load(two.add(at))));
        }
        if !seen.is_zero() {
            break;
        }
    });
    scalar::first_difference(&left[done..], &right[done..]).map(|place| done + place)
}
