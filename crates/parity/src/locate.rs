//! Checking a stripe without writing: where P and Q first disagree with the data, and which one member that blames.
//!
//! mdadm's `raid6check` asks the same question. With P' and Q' for what the data leaves unexplained of P and Q, a wrong
//! byte e in the block of index i gives P' = e and Q' = 2^i e, so i is the difference of their logarithms; P wrong alone
//! leaves Q' zero, Q wrong alone leaves P' zero. The answer is right if at most one member is wrong; if two are, most of
//! their bytes point at different indices or at none, and the verdict is [`Verdict::Unknown`].

use crate::Kernels;
use crate::field::{ORDER, logarithm};
use crate::recover::{COLUMN, columns};
use crate::stripe::{Column, Data, Source, Start, assert_ascending, assert_lengths};

/// Which one member explains everything that is wrong with a stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Consistent,
    /// P is wrong.
    P,
    /// Q is wrong.
    Q,
    /// The data block with this index is wrong.
    Data(u8),
    /// No single member explains it.
    Unknown,
}

impl Verdict {
    /// What a byte says, by what the data leaves unexplained of its P and Q.
    fn of_byte(p: u8, q: u8) -> Verdict {
        match (p, q) {
            (0, 0) => Verdict::Consistent,
            (_, 0) => Verdict::P,
            (0, _) => Verdict::Q,
            _ => {
                let index = (ORDER + usize::from(logarithm(q)) - usize::from(logarithm(p))) % ORDER;
                Verdict::Data(index as u8)
            }
        }
    }

    /// What two parts of a stripe say together.
    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Consistent, verdict) | (verdict, Verdict::Consistent) => verdict,
            (one, two) if one == two => one,
            _ => Verdict::Unknown,
        }
    }
}

impl Kernels {
    /// See [`locate`](crate::locate).
    pub fn locate(self, p: &[u8], q: &[u8], data: &[Data<'_>]) -> Verdict {
        assert_checked(p.len(), Some(q.len()), data);
        let mut lack = ([0; COLUMN], [0; COLUMN]);
        let mut verdict = Verdict::Consistent;
        for (column, at, len) in columns(p.len()) {
            let (of_p, of_q) = (&mut lack.0[..len], &mut lack.1[..len]);
            self.lack(of_p, of_q, (&p[at..at + len], &q[at..at + len]), data, column);
            let first = self.first_of_both(of_p, of_q).unwrap_or(len);
            for (&of_p, &of_q) in of_p.iter().zip(&*of_q).skip(first) {
                verdict = verdict.and(Verdict::of_byte(of_p, of_q));
                if verdict == Verdict::Unknown {
                    return verdict;
                }
            }
        }
        match verdict {
            // An index that has no data here is a block of zeros, which nobody stored and nothing can have changed.
            Verdict::Data(index) if data.binary_search_by_key(&index, |(each, _)| *each).is_err() => {
                Verdict::Unknown
            }
            verdict => verdict,
        }
    }

    /// See [`check_pq`](crate::check_pq).
    pub fn check_pq(self, p: &[u8], q: &[u8], data: &[Data<'_>]) -> Option<usize> {
        assert_checked(p.len(), Some(q.len()), data);
        let mut lack = ([0; COLUMN], [0; COLUMN]);
        columns(p.len()).find_map(|(column, at, len)| {
            let (of_p, of_q) = (&mut lack.0[..len], &mut lack.1[..len]);
            self.lack(of_p, of_q, (&p[at..at + len], &q[at..at + len]), data, column);
            self.first_of_both(of_p, of_q).map(|offset| at + offset)
        })
    }

    /// See [`check_xor`](crate::check_xor).
    pub fn check_xor<S: Source>(self, p: &[u8], sources: &[S]) -> Option<usize> {
        assert_lengths(p.len(), sources.iter().map(|source| source.bytes().len()));
        let mut lack = [0; COLUMN];
        columns(p.len()).find_map(|(column, at, len)| {
            self.op_xor(&mut lack[..len], Start::Bytes(&p[at..at + len]), sources, column);
            self.op_first_nonzero(&lack[..len]).map(|offset| at + offset)
        })
    }

    /// See [`check_q`](crate::check_q).
    pub fn check_q(self, q: &[u8], data: &[Data<'_>]) -> Option<usize> {
        assert_checked(q.len(), None, data);
        let mut lack = [0; COLUMN];
        columns(q.len()).find_map(|(column, at, len)| {
            self.op_q((&mut lack[..len], Start::Bytes(&q[at..at + len])), data, column);
            self.op_first_nonzero(&lack[..len]).map(|offset| at + offset)
        })
    }

    /// See [`first_nonzero`](crate::first_nonzero).
    pub fn first_nonzero(self, bytes: &[u8]) -> Option<usize> {
        self.op_first_nonzero(bytes)
    }

    /// See [`first_difference`](crate::first_difference).
    pub fn first_difference(self, left: &[u8], right: &[u8]) -> Option<usize> {
        self.op_first_difference(left, right)
    }

    /// What the data leaves unexplained of one column of P and Q.
    fn lack(
        self,
        of_p: &mut [u8],
        of_q: &mut [u8],
        (p, q): (&[u8], &[u8]),
        data: &[Data<'_>],
        column: Column,
    ) {
        self.op_pq((of_p, Start::Bytes(p)), (of_q, Start::Bytes(q)), data, column);
    }

    fn first_of_both(self, left: &[u8], right: &[u8]) -> Option<usize> {
        let (left, right) = (self.op_first_nonzero(left), self.op_first_nonzero(right));
        left.into_iter().chain(right).min()
    }
}

fn assert_checked(len: usize, other: Option<usize>, data: &[Data<'_>]) {
    assert_ascending(data);
    assert_lengths(len, other.into_iter().chain(data.iter().map(|(_, bytes)| bytes.len())));
}
