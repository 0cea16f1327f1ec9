//! Making P and Q, whole or by what changed.

use crate::Kernels;
use crate::stripe::{Column, Data, Delta, Source, Start, assert_ascending};

impl Kernels {
    /// See [`xor_into`](crate::xor_into).
    pub fn xor_into<S: Source>(self, target: &mut [u8], sources: &[S]) {
        let whole = Column::all(target.len());
        self.op_xor(target, Start::Zero, sources, whole);
    }

    /// See [`xor_accumulate`](crate::xor_accumulate).
    pub fn xor_accumulate<S: Source>(self, target: &mut [u8], sources: &[S]) {
        let whole = Column::all(target.len());
        self.op_xor(target, Start::Target, sources, whole);
    }

    /// See [`pq`](crate::pq).
    pub fn pq(self, p: &mut [u8], q: &mut [u8], data: &[Data<'_>]) {
        assert_ascending(data);
        let whole = Column::all(p.len());
        self.op_pq((p, Start::Zero), (q, Start::Zero), data, whole);
    }

    /// See [`q`](crate::q).
    pub fn q(self, q: &mut [u8], data: &[Data<'_>]) {
        assert_ascending(data);
        let whole = Column::all(q.len());
        self.op_q((q, Start::Zero), data, whole);
    }

    /// See [`update`](crate::update).
    pub fn update<D: Delta>(self, p: Option<&mut [u8]>, q: Option<&mut [u8]>, deltas: &[D]) {
        let Some(len) = p.as_deref().or(q.as_deref()).map(<[u8]>::len) else { return };
        assert!(deltas.iter().all(|delta| delta.index() < u8::MAX), "an index is below 255");
        self.op_update(p, q, deltas, Column::all(len));
    }
}
