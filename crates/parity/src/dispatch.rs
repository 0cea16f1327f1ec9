//! Which implementation runs: chosen once, by what the processor says it can.
//!
//! The operations in here are sound to call with anything: they check the lengths on which the vector code relies, and
//! so for everybody above that all blocks of a stripe are of one length.

use std::fmt;
use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use crate::neon;
use crate::scalar;
use crate::stripe::{Column, Data, Delta, Source, Start};
#[cfg(target_arch = "x86_64")]
use crate::{avx2, avx512, ssse3};

/// One implementation of the arithmetic that this processor can run.
///
/// The free functions of this crate use [`Kernels::best`]. Tests and measurements take one of
/// [`Kernels::all_available`] and call its methods, which have the same names and meanings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kernels(Set);

/// The implementations, from the plainest to the best. Any but the scalar exists only after detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Ssse3,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx2Gfni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx512Gfni,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

/// Each set, and whether this processor can run it; the best last.
#[cfg(target_arch = "x86_64")]
fn detected() -> [(Set, bool); 6] {
    let gfni = is_x86_feature_detected!("gfni");
    let avx2 = is_x86_feature_detected!("avx2");
    let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    [
        (Set::Scalar, true),
        (Set::Ssse3, is_x86_feature_detected!("ssse3")),
        (Set::Avx2, avx2),
        (Set::Avx2Gfni, avx2 && gfni),
        (Set::Avx512, avx512),
        (Set::Avx512Gfni, avx512 && gfni),
    ]
}

/// Each set, and whether this processor can run it; the best last.
#[cfg(target_arch = "aarch64")]
fn detected() -> [(Set, bool); 2] {
    [(Set::Scalar, true), (Set::Neon, std::arch::is_aarch64_feature_detected!("neon"))]
}

/// No vectors are known of this processor.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> [(Set, bool); 1] {
    [(Set::Scalar, true)]
}

impl Kernels {
    /// The best one that this processor can run. Detected at the first call.
    pub fn best() -> Kernels {
        static BEST: OnceLock<Kernels> = OnceLock::new();
        *BEST.get_or_init(|| Kernels::all_available().last().unwrap_or(Kernels::scalar()))
    }

    /// Byte by byte from the definitions: the oracle for the others.
    pub fn scalar() -> Kernels {
        Kernels(Set::Scalar)
    }

    /// Everything that this processor can run, the best last.
    pub fn all_available() -> impl Iterator<Item = Kernels> {
        detected().into_iter().filter(|(_, here)| *here).map(|(set, _)| Kernels(set))
    }

    /// A name for people.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Ssse3 => "ssse3",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2Gfni => "avx2+gfni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Gfni => "avx512+gfni",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
        }
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Calls one operation of the implementation that was chosen.
macro_rules! run {
    ($kernels:expr, $operation:ident($($argument:expr),*)) => {
        match $kernels.0 {
            Set::Scalar => scalar::$operation($($argument),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the set was detected, and the lengths were checked by the function that stands around this.
            Set::Ssse3 => unsafe { ssse3::plain::$operation($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the set was detected, and the lengths were checked by the function that stands around this.
            Set::Avx2 => unsafe { avx2::plain::$operation($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the set was detected, and the lengths were checked by the function that stands around this.
            Set::Avx2Gfni => unsafe { avx2::gfni::$operation($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the set was detected, and the lengths were checked by the function that stands around this.
            Set::Avx512 => unsafe { avx512::plain::$operation($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the set was detected, and the lengths were checked by the function that stands around this.
            Set::Avx512Gfni => unsafe { avx512::gfni::$operation($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Set::Neon => unsafe { neon::plain::$operation($($argument),*) },
        }
    };
}

/// The operations of [`scalar`](crate::scalar), where each is explained.
impl Kernels {
    pub(crate) fn op_xor<S: Source>(
        self,
        target: &mut [u8],
        start: Start<'_>,
        sources: &[S],
        column: Column,
    ) {
        column.check(target.len(), sources.iter().map(|source| source.bytes().len()));
        assert_start(target, start);
        run!(self, xor(target, start, sources, column.at));
    }

    pub(crate) fn op_pq(
        self,
        p: (&mut [u8], Start<'_>),
        q: (&mut [u8], Start<'_>),
        data: &[Data<'_>],
        column: Column,
    ) {
        assert_eq!(p.0.len(), q.0.len(), "P and Q are of one length");
        column.check(p.0.len(), data.iter().map(|(_, bytes)| bytes.len()));
        assert_start(p.0, p.1);
        assert_start(q.0, q.1);
        run!(self, pq(p, q, data, column.at));
    }

    pub(crate) fn op_q(self, q: (&mut [u8], Start<'_>), data: &[Data<'_>], column: Column) {
        column.check(q.0.len(), data.iter().map(|(_, bytes)| bytes.len()));
        assert_start(q.0, q.1);
        run!(self, q(q, data, column.at));
    }

    pub(crate) fn op_update<D: Delta>(
        self,
        p: Option<&mut [u8]>,
        q: Option<&mut [u8]>,
        deltas: &[D],
        column: Column,
    ) {
        let len = p.as_deref().or(q.as_deref()).map_or(0, <[u8]>::len);
        assert!(q.as_deref().is_none_or(|q| q.len() == len), "P and Q are of one length");
        column.check(len, deltas.iter().map(|delta| delta.bytes().len()));
        column.check(len, deltas.iter().filter_map(|delta| delta.other().map(<[u8]>::len)));
        run!(self, update(p, q, deltas, column.at));
    }

    pub(crate) fn op_scale(self, target: &mut [u8], factor: u8) {
        run!(self, scale(target, factor));
    }

    pub(crate) fn op_solve_two(self, x: &mut [u8], y: &mut [u8], of_p: u8, of_q: u8) {
        assert_eq!(x.len(), y.len(), "two blocks of a stripe are of one length");
        run!(self, solve_two(x, y, of_p, of_q));
    }

    pub(crate) fn op_first_nonzero(self, bytes: &[u8]) -> Option<usize> {
        run!(self, first_nonzero(bytes))
    }

    pub(crate) fn op_first_difference(self, left: &[u8], right: &[u8]) -> Option<usize> {
        assert_eq!(left.len(), right.len(), "what is compared is of one length");
        run!(self, first_difference(left, right))
    }
}

fn assert_start(target: &[u8], start: Start<'_>) {
    if let Start::Bytes(bytes) = start {
        assert_eq!(bytes.len(), target.len(), "a sum begins with as many bytes as it has");
    }
}
