//! The arithmetic of parity: xor for RAID-5, P+Q for RAID-6, every reconstruction, updates by difference, checking, and
//! the search for one member that is silently wrong.
//!
//! Free functions over byte slices. They know nothing of layouts, members or disks: a caller names each data block of a
//! stripe by the index that its layout gives it (see [`Data`]) and says which blocks are lost. Nothing allocates; any
//! length and any alignment is right, multiples of 512 bytes are fastest. Blocks that differ in length, an index twice
//! or out of order are errors in the caller and panic; more losses than P and Q can heal are an error that is returned.
//!
//! P is the sum of the data, Q the sum of 2^index times the data, in GF(2^8) with the polynomial 0x11d, as Linux md
//! writes them. Q is computed by Horner's rule from the highest index down, P and Q staying in registers while each byte
//! of data is read once.
//!
//! [`Kernels`] are the implementations: SSSE3, AVX2, AVX-512, the latter two also with GFNI, and NEON. The best that the
//! processor can run is chosen at the first use. Each is tested against the scalar one, which is the definition written
//! down, and against the field's definition in the tests; NEON under an emulator only, so its speed is unknown:
//!
//! ```text
//! CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
//! CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu' \
//!     cargo test -p parity --target aarch64-unknown-linux-gnu
//! ```
//!
//! ```
//! use parity::{Data, Parity};
//!
//! let data: Vec<Vec<u8>> = (0..4).map(|disk| vec![disk * 17 + 3; 4096]).collect();
//! let blocks: Vec<Data> = (0..).zip(data.iter().map(Vec::as_slice)).collect();
//! let (mut p, mut q) = (vec![0; 4096], vec![0; 4096]);
//! parity::pq(&mut p, &mut q, &blocks);
//!
//! // Blocks 1 and 3 are lost.
//! let (mut one, mut three) = (vec![0; 4096], vec![0; 4096]);
//! let rest = [blocks[0], blocks[2]];
//! parity::recover(&mut [(1, &mut one), (3, &mut three)], Parity::Good(&p), Parity::Good(&q), &rest)?;
//! assert_eq!((one, three), (data[1].clone(), data[3].clone()));
//! # Ok::<(), parity::TooMuchLost>(())
//! ```

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dispatch;
mod field;
mod generate;
mod locate;
#[cfg(target_arch = "aarch64")]
mod neon;
mod recover;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod ssse3;
mod stripe;
mod sums;
mod vector;

pub use dispatch::Kernels;
pub use locate::Verdict;
pub use recover::{Parity, TooMuchLost};
pub use stripe::{Change, Data, Delta, Source};

/// `target` = the sum of the sources: P of a stripe, or the one block of RAID-5 that is lost.
///
/// The sources are plain slices or [`Data`], whose index does not matter here. No source at all gives zeros.
///
/// ```
/// let mut p = [0; 2];
/// parity::xor_into(&mut p, &[&[1u8, 2][..], &[4, 8]]);
/// assert_eq!(p, [5, 10]);
/// ```
pub fn xor_into<S: Source>(target: &mut [u8], sources: &[S]) {
    Kernels::best().xor_into(target, sources);
}

/// `target` += the sum of the sources. With the old and the new content of a block as sources, P after a partial write.
///
/// ```
/// let mut p = [7, 7];
/// parity::xor_accumulate(&mut p, &[&[1u8, 2][..]]);
/// assert_eq!(p, [6, 5]);
/// ```
pub fn xor_accumulate<S: Source>(target: &mut [u8], sources: &[S]) {
    Kernels::best().xor_accumulate(target, sources);
}

/// `p` and `q` of a stripe whose data blocks are given by ascending index; indices left out are blocks of zeros.
///
/// ```
/// let (mut p, mut q) = ([0], [0]);
/// parity::pq(&mut p, &mut q, &[(0, &[1]), (1, &[2]), (2, &[3])]);
/// assert_eq!((p, q), ([0], [1 ^ 2 * 2 ^ 4 * 3]));
/// ```
pub fn pq(p: &mut [u8], q: &mut [u8], data: &[Data<'_>]) {
    Kernels::best().pq(p, q, data);
}

/// `q` alone, where P is not wanted. (P alone is [`xor_into`].)
///
/// ```
/// let mut q = [0];
/// parity::q(&mut q, &[(1, &[0x80])]); // 0x80 doubled leaves the field and is reduced
/// assert_eq!(q, [0x1d]);
/// ```
pub fn q(q: &mut [u8], data: &[Data<'_>]) {
    Kernels::best().q(q, data);
}

/// Brings `p` and `q` from the old content of some data blocks to their new content. Reads no other block.
///
/// The blocks are [`Change`]s, which hold both contents, or [`Data`] that holds the xor of both; in any order. Either of P
/// and Q may be missing.
///
/// ```
/// use parity::Change;
///
/// let (mut p, mut q) = ([0], [0]);
/// parity::pq(&mut p, &mut q, &[(0, &[1]), (1, &[2])]);
/// parity::update(Some(&mut p), Some(&mut q), &[Change { index: 1, old: &[2], new: &[9] }]);
/// assert_eq!((p, q), ([1 ^ 9], [1 ^ 2 * 9]));
/// ```
pub fn update<D: Delta>(p: Option<&mut [u8]>, q: Option<&mut [u8]>, deltas: &[D]) {
    Kernels::best().update(p, q, deltas);
}

/// Computes what is lost of a stripe from what is good, by the cheapest way there is.
///
/// `lost` are the lost data blocks, at most two, each with its index and the buffer it is written to, whatever the
/// buffer holds; `p` and `q` say whether they are good, lost too, or absent; `rest` are all other data blocks by
/// ascending index.
///
/// When more is lost than can be computed nothing is written. See the example at the top.
pub fn recover(
    lost: &mut [(u8, &mut [u8])],
    p: Parity<'_>,
    q: Parity<'_>,
    rest: &[Data<'_>],
) -> Result<(), TooMuchLost> {
    Kernels::best().recover(lost, p, q, rest)
}

/// Which one member is silently wrong, all others being right.
///
/// The correction is [`recover`] with that member as the lost one: a wrong data block from P, P or Q from the data. A
/// verdict is for the bytes given, so whoever wants to correct page by page asks page by page.
///
/// ```
/// use parity::Verdict;
///
/// let (mut p, mut q) = ([0], [0]);
/// parity::pq(&mut p, &mut q, &[(0, &[1]), (1, &[2]), (2, &[3])]);
/// assert_eq!(parity::locate(&p, &q, &[(0, &[1]), (1, &[2]), (2, &[3])]), Verdict::Consistent);
/// assert_eq!(parity::locate(&p, &q, &[(0, &[1]), (1, &[7]), (2, &[3])]), Verdict::Data(1));
/// assert_eq!(parity::locate(&p, &[8], &[(0, &[1]), (1, &[2]), (2, &[3])]), Verdict::Q);
/// ```
pub fn locate(p: &[u8], q: &[u8], data: &[Data<'_>]) -> Verdict {
    Kernels::best().locate(p, q, data)
}

/// The first byte where `p` or `q` is not that of the data; `None` when the stripe is consistent.
///
/// ```
/// assert_eq!(parity::check_pq(&[1, 4], &[1, 5], &[(0, &[1, 4])]), Some(1));
/// ```
pub fn check_pq(p: &[u8], q: &[u8], data: &[Data<'_>]) -> Option<usize> {
    Kernels::best().check_pq(p, q, data)
}

/// The first byte where `p` is not the sum of the sources; for RAID-5, or where Q is missing.
///
/// ```
/// assert_eq!(parity::check_xor(&[5, 9], &[&[1u8, 2][..], &[4, 8]]), Some(1));
/// ```
pub fn check_xor<S: Source>(p: &[u8], sources: &[S]) -> Option<usize> {
    Kernels::best().check_xor(p, sources)
}

/// The first byte where `q` is not that of the data; for RAID-6 where P is missing.
///
/// ```
/// assert_eq!(parity::check_q(&[2, 4], &[(1, &[1, 2])]), None);
/// ```
pub fn check_q(q: &[u8], data: &[Data<'_>]) -> Option<usize> {
    Kernels::best().check_q(q, data)
}

/// The place of the first byte that is not zero.
///
/// ```
/// assert_eq!(parity::first_nonzero(&[0, 0, 7]), Some(2));
/// ```
pub fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    Kernels::best().first_nonzero(bytes)
}

/// The first place where two slices of one length differ.
///
/// ```
/// assert_eq!(parity::first_difference(&[1, 2], &[1, 3]), Some(1));
/// ```
pub fn first_difference(left: &[u8], right: &[u8]) -> Option<usize> {
    Kernels::best().first_difference(left, right)
}
