//! The journal.

pub mod chain;
pub(crate) mod replay;
