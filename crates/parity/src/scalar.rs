//! The operations byte by byte, straight from their definitions: the oracle of every other implementation, what works on
//! any machine, and what does the last bytes of a length that fills no vector.
//!
//! Every implementation has these same operations. Targets are as long as what is done; of each source the same number
//! of bytes is read from `at` on.

use crate::field::{double, nibble_tables};
use crate::stripe::{Data, Delta, Source, Start};

/// `target` = `start` + the sum of the sources.
pub fn xor<S: Source>(target: &mut [u8], start: Start<'_>, sources: &[S], at: usize) {
    begin(target, start);
    for source in sources {
        add(target, &source.bytes()[at..]);
    }
}

/// `p` = its start + the sum of the data; `q` = its start + the sum of 2^index times the data.
pub fn pq(p: (&mut [u8], Start<'_>), q: (&mut [u8], Start<'_>), data: &[Data<'_>], at: usize) {
    xor(p.0, p.1, data, at);
    self::q(q, data, at);
}

/// The same without `p`.
pub fn q((target, start): (&mut [u8], Start<'_>), data: &[Data<'_>], at: usize) {
    for (offset, byte) in target.iter_mut().enumerate() {
        // Horner's rule: from the highest index down, doubling once for each step between two blocks.
        let mut sum = 0;
        let mut above = data.last().map_or(0, |last| last.0);
        for (index, bytes) in data.iter().rev() {
            for _ in *index..above {
                sum = double(sum);
            }
            sum ^= bytes[at + offset];
            above = *index;
        }
        for _ in 0..above {
            sum = double(sum);
        }
        *byte = sum
            ^ match start {
                Start::Zero => 0,
                Start::Target => *byte,
                Start::Bytes(bytes) => bytes[offset],
            };
    }
}

/// `p` += the differences; `q` += 2^index times the differences.
pub fn update<D: Delta>(mut p: Option<&mut [u8]>, mut q: Option<&mut [u8]>, deltas: &[D], at: usize) {
    for delta in deltas {
        let tables = nibble_tables(crate::field::power(usize::from(delta.index())));
        for sources in [Some(delta.bytes()), delta.other()].into_iter().flatten() {
            if let Some(p) = p.as_deref_mut() {
                add(p, &sources[at..]);
            }
            if let Some(q) = q.as_deref_mut() {
                q.iter_mut().zip(&sources[at..]).for_each(|(target, &byte)| *target ^= times(tables, byte));
            }
        }
    }
}

/// `target` = `factor` times itself.
pub fn scale(target: &mut [u8], factor: u8) {
    let tables = nibble_tables(factor);
    target.iter_mut().for_each(|byte| *byte = times(tables, *byte));
}

/// Two unknowns from what P and Q lack: `x` holds P's lack and becomes `of_p` times that + `of_q` times Q's lack;
/// `y` holds Q's lack and becomes P's lack + the new `x`.
pub fn solve_two(x: &mut [u8], y: &mut [u8], of_p: u8, of_q: u8) {
    let (of_p, of_q) = (nibble_tables(of_p), nibble_tables(of_q));
    for (x, y) in x.iter_mut().zip(y) {
        let solved = times(of_p, *x) ^ times(of_q, *y);
        *y = *x ^ solved;
        *x = solved;
    }
}

/// The place of the first byte that is not zero.
pub fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte != 0)
}

/// The first place where two slices of one length differ.
pub fn first_difference(left: &[u8], right: &[u8]) -> Option<usize> {
    left.iter().zip(right).position(|(left, right)| left != right)
}

fn begin(target: &mut [u8], start: Start<'_>) {
    match start {
        Start::Zero => target.fill(0),
        Start::Target => {}
        Start::Bytes(bytes) => target.copy_from_slice(bytes),
    }
}

fn add(target: &mut [u8], source: &[u8]) {
    target.iter_mut().zip(source).for_each(|(target, byte)| *target ^= byte);
}

fn times(tables: &[u8; 32], byte: u8) -> u8 {
    tables[usize::from(byte & 15)] ^ tables[16 + usize::from(byte >> 4)]
}
