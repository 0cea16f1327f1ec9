//! A device as clients see it: a run of bytes under a name.
//!
//! Front ends speak of bytes, devices of sectors and blocks. What lies between is the same for all of them and stands here:
//! which blocks a run of bytes touches ([`Span`]), writes that end within a block, zeroes, discards, and what was served.
//! A device has one [`Export`], whatever serves it: two front ends that change parts of one block wait for each other here.
//! Nothing in here knows a protocol.

mod counters;
mod export;
pub mod limits;
mod span;
mod unaligned;
mod zero;

pub use counters::Counters;
pub use export::{Export, Exports};
pub use span::Span;
pub use unaligned::buffer_bytes;
pub use zero::Zeroing;
