//! Seeds to scenarios: whole stacks in a simulated world, with random work, faults and power cuts, watched all the time.
//!
//! One seed fixes everything. [`run_seed`] plays it and says what was violated, if anything; a failure is played again by
//! the same seed. What is checked:
//!
//! - **C1** an acknowledged FLUSH or FUA survives any crash; an unacknowledged write leaves old or new, per sector;
//! - **S1** no superblock that is written calls a member in sync that the engine does not;
//! - **S1, S6** whenever an array is opened, and at the end, every copy that is called in sync, or rebuilt so far, has the same content, but for the range
//!   that the superblock calls dirty;
//! - **S4** what a superblock says is synced is durable on every member: part of the same comparison, after a cut;
//! - **S5** when a member write starts, every superblock in use says dirty, durably; when a write or a flush is answered,
//!   every failed member is on record, durably;
//! - **S8** repeated reads of the same range return the same while nobody writes;
//! - **fence** a member whose connection broke has failed, is never connected to again, and gets nothing sent again;
//! - **scrub** a check of an array in sync finds nothing;
//! - **P3** while requests are pending, something completes.

mod answer;
mod arrays;
pub mod cache;
mod era;
mod load;
mod model;
mod remote;
mod requests;
mod run;
mod scenario;
pub mod stack;
mod watch;

pub use run::{Report, Violation, has_journal, has_log, run_seed};
pub use scenario::Scenario;
