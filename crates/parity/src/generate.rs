//! Making P and Q, whole or by what changed.

use crate::Kernels;
use crate::stripe::{Data, Delta, Source, Start, assert_ascending, assert_lengths};

impl Kernels {
    /// See [`xor_into`](crate::xor_into).
    pub fn xor_into<S: Source>(self, target: &mut [u8], sources: &[S]) {
        assert_lengths(target.len(), sources.iter().map(|source| source.bytes().len()));
        self.op_xor(target, Start::Zero, sources, 0);
    }

    /// See [`xor_accumulate`](crate::xor_accumulate).
    pub fn xor_accumulate<S: Source>(self, target: &mut [u8], sources: &[S]) {
        assert_lengths(target.len(), sources.iter().map(|source| source.bytes().len()));
        self.op_xor(target, Start::Target, sources, 0);
    }

    /// See [`pq`](crate::pq).
    pub fn pq(self, p: &mut [u8], q: &mut [u8], data: &[Data<'_>]) {
        assert_ascending(data);
        assert_lengths(p.len(), data.iter().map(|(_, bytes)| bytes.len()));
        self.op_pq((p, Start::Zero), (q, Start::Zero), data, 0);
    }

    /// See [`q`](crate::q).
    pub fn q(self, q: &mut [u8], data: &[Data<'_>]) {
        assert_ascending(data);
        assert_lengths(q.len(), data.iter().map(|(_, bytes)| bytes.len()));
        self.op_q((q, Start::Zero), data, 0);
    }

    /// See [`update`](crate::update).
    pub fn update<D: Delta>(self, p: Option<&mut [u8]>, q: Option<&mut [u8]>, deltas: &[D]) {
        let Some(len) = p.as_deref().or(q.as_deref()).map(<[u8]>::len) else { return };
        assert!(deltas.iter().all(|delta| delta.index() < u8::MAX), "an index is below 255");
        assert_lengths(len, deltas.iter().map(|delta| delta.bytes().len()));
        assert_lengths(len, deltas.iter().filter_map(|delta| delta.other()).map(<[u8]>::len));
        self.op_update(p, q, deltas, 0);
    }
}
