//! Every reconstruction that P and Q allow, written over the buffers of what is lost.
//!
//! What the good blocks leave unexplained of P and Q goes into the lost blocks' own buffers, and the unknowns are solved
//! there, column by column while both are in the cache. With D for lost data and g for the generator 2:
//!
//! | lost | solved by |
//! | --- | --- |
//! | P, Q, both | computed anew |
//! | D, and Q perhaps | D = P's lack |
//! | D, and P | D = g^-x times Q's lack |
//! | D at x and at y | g^x Dx + g^y Dy = Q's lack and Dx + Dy = P's lack |

use std::fmt;

use crate::Kernels;
use crate::field::{ORDER, inverse, power, product};
use crate::stripe::{Column, Data, Start, assert_ascending, assert_lengths};

/// Bytes of each block that are worked on at a time where an operation takes two passes: what one pass leaves in a few
/// columns of this length, the next still finds in the first-level cache.
pub(crate) const COLUMN: usize = 4096;

/// P or Q of a stripe, and what is known of it.
#[derive(Debug)]
pub enum Parity<'a> {
    /// Good: it may be used.
    Good(&'a [u8]),
    /// Lost, to be computed into this buffer.
    Lost(&'a mut [u8]),
    /// Neither usable nor wanted.
    Absent,
}

/// More is lost than P and Q can give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuchLost {
    /// Lost data blocks.
    pub lost: usize,
    /// Good ones of P and Q.
    pub good: usize,
}

impl fmt::Display for TooMuchLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} data blocks are lost, and only {} of P and Q are good", self.lost, self.good)
    }
}

impl std::error::Error for TooMuchLost {}

impl Kernels {
    /// See [`recover`](crate::recover).
    pub fn recover(
        self,
        lost: &mut [(u8, &mut [u8])],
        p: Parity<'_>,
        q: Parity<'_>,
        rest: &[Data<'_>],
    ) -> Result<(), TooMuchLost> {
        assert_stripe(lost, &p, &q, rest);
        match (lost, p, q) {
            ([], p, q) => self.recover_parity(p, q, rest),
            ([(_, d)], Parity::Good(p), Parity::Good(_) | Parity::Absent) => {
                self.op_xor(d, Start::Bytes(p), rest, Column::all(p.len()));
            }
            ([(x, d)], Parity::Good(p), Parity::Lost(q)) => self.recover_with_q(*x, d, p, q, rest),
            ([(x, d)], Parity::Lost(p), Parity::Good(q)) => self.recover_with_p(*x, d, p, q, rest),
            ([(x, d)], Parity::Absent, Parity::Good(q)) => self.recover_by_q(*x, d, q, rest),
            ([(x, dx), (y, dy)], Parity::Good(p), Parity::Good(q)) => {
                self.recover_two((*x, dx), (*y, dy), p, q, rest);
            }
            (lost, p, q) => {
                let good = [p, q].iter().filter(|each| matches!(each, Parity::Good(_))).count();
                return Err(TooMuchLost { lost: lost.len(), good });
            }
        }
        Ok(())
    }

    /// All data is there.
    fn recover_parity(self, p: Parity<'_>, q: Parity<'_>, data: &[Data<'_>]) {
        match (p, q) {
            (Parity::Lost(p), Parity::Lost(q)) => self.pq(p, q, data),
            (Parity::Lost(p), _) => self.xor_into(p, data),
            (_, Parity::Lost(q)) => self.q(q, data),
            _ => {}
        }
    }

    /// Data and Q are lost: the data from P, and in the same pass Q but for that data.
    fn recover_with_q(self, x: u8, d: &mut [u8], p: &[u8], q: &mut [u8], rest: &[Data<'_>]) {
        for (column, at, len) in columns(d.len()) {
            let (d, q) = (&mut d[at..at + len], &mut q[at..at + len]);
            self.op_pq((d, Start::Bytes(&p[at..at + len])), (q, Start::Zero), rest, column);
            let recovered: Data<'_> = (x, d);
            self.op_update(None, Some(q), &[recovered], Column::all(len));
        }
    }

    /// Data and P are lost: the data from Q, and in the same pass P but for that data.
    fn recover_with_p(self, x: u8, d: &mut [u8], p: &mut [u8], q: &[u8], rest: &[Data<'_>]) {
        for (column, at, len) in columns(d.len()) {
            let (d, p) = (&mut d[at..at + len], &mut p[at..at + len]);
            self.op_pq((p, Start::Zero), (d, Start::Bytes(&q[at..at + len])), rest, column);
            self.op_scale(d, inverse(power(usize::from(x))));
            self.op_xor(p, Start::Target, &[&*d], Column::all(len));
        }
    }

    /// Data is lost, and of P nothing is known or wanted.
    fn recover_by_q(self, x: u8, d: &mut [u8], q: &[u8], rest: &[Data<'_>]) {
        for (column, at, len) in columns(d.len()) {
            let d = &mut d[at..at + len];
            self.op_q((d, Start::Bytes(&q[at..at + len])), rest, column);
            self.op_scale(d, inverse(power(usize::from(x))));
        }
    }

    /// Two data blocks from P and Q. From g^x Dx + g^y Dy = Q' and Dx + Dy = P', with z = y - x:
    /// Dx = g^z / (g^z + 1) P' + g^-x / (g^z + 1) Q', and Dy = P' + Dx.
    fn recover_two(
        self,
        (x, dx): (u8, &mut [u8]),
        (y, dy): (u8, &mut [u8]),
        p: &[u8],
        q: &[u8],
        rest: &[Data<'_>],
    ) {
        let (x, y) = (usize::from(x), usize::from(y));
        let ratio = power(ORDER + y - x);
        let divisor = inverse(ratio ^ 1);
        let (of_p, of_q) = (product(ratio, divisor), product(inverse(power(x)), divisor));
        for (column, at, len) in columns(dx.len()) {
            let (dx, dy) = (&mut dx[at..at + len], &mut dy[at..at + len]);
            let (p, q) = (&p[at..at + len], &q[at..at + len]);
            self.op_pq((dx, Start::Bytes(p)), (dy, Start::Bytes(q)), rest, column);
            self.op_solve_two(dx, dy, of_p, of_q);
        }
    }
}

/// The columns of blocks of `whole` bytes: each, where it begins, and how long it is.
pub(crate) fn columns(whole: usize) -> impl Iterator<Item = (Column, usize, usize)> {
    (0..whole).step_by(COLUMN).map(move |at| (Column { at, whole }, at, COLUMN.min(whole - at)))
}

/// Panics unless the parts make one stripe: one length, every index once.
fn assert_stripe(lost: &[(u8, &mut [u8])], p: &Parity<'_>, q: &Parity<'_>, rest: &[Data<'_>]) {
    assert_ascending(rest);
    for (nth, (index, _)) in lost.iter().enumerate() {
        let again = lost[..nth].iter().any(|(other, _)| other == index)
            || rest.binary_search_by_key(index, |(other, _)| *other).is_ok();
        assert!(*index < u8::MAX && !again, "every index stands once in a stripe, below 255");
    }
    let parity_len = |parity: &Parity<'_>| match parity {
        Parity::Good(bytes) => Some(bytes.len()),
        Parity::Lost(bytes) => Some(bytes.len()),
        Parity::Absent => None,
    };
    let lengths = || {
        let data = lost.iter().map(|(_, bytes)| bytes.len()).chain(rest.iter().map(|(_, bytes)| bytes.len()));
        data.chain(parity_len(p)).chain(parity_len(q))
    };
    if let Some(len) = lengths().next() {
        assert_lengths(len, lengths());
    }
}
