//! The bcache engine: sets, the tree, the journal, cached volumes.
//!
//! [`examine()`] reads what a disk says it is. [`CacheSet`] is the set on a cache; [`Volume`] a device that is read through
//! it, and written once the set was started. [`create()`] makes new ones, [`found()`] puts a set on a cache that was made.

#[cfg(test)]
extern crate self as bcache; // the tests' bench is the same inside and outside

mod allocator;
mod backing;
#[cfg(test)]
#[path = "../tests/bench/mod.rs"]
mod bench;
mod btree;
mod buckets;
mod check;
mod collect;
mod count;
pub mod counters;
mod create;
mod dirty;
mod dump;
mod engine;
mod error;
mod errors;
mod examine;
mod fills;
mod found;
mod journal;
pub mod limits;
mod lookup;
mod manage;
mod members;
mod open;
pub mod plant;
pub mod policy;
mod reader;
mod room;
mod set;
pub mod tunables;
mod uncached;
mod volume;
mod waits;
pub mod writeback;

pub use btree::log::{Log, LogError};
pub use btree::node::NodeError;
pub use check::{Counts, Finding, Report, check};
pub use create::{NotWritten, Plan, create};
pub use dump::{Dump, Used};
pub use error::SetError;
pub use examine::{ExamineError, Examined, examine};
pub use found::found;
pub use journal::chain::Entry;
pub use manage::Status;
pub use reader::Reader;
pub use set::{CacheSet, Found, JournalFacts, Options};
pub use uncached::Uncached;
pub use volume::{NotSet, Standing, Volume};
