//! The journal.

pub mod chain;
pub(crate) mod replay;
pub(crate) mod ring;
pub(crate) mod writer;
