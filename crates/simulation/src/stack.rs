//! Stacks: a cache on arrays on arrays on disks, each layer with the least of everything that can be waited for, played like
//! arrays and caches are: see [`run_seed`].
//!
//! - **P3** while requests are pending, something completes: no layer waits for what only comes when it goes on itself;
//! - **C1** what was answered and flushed survives, through all layers;
//! - **S1, S4, S5, S6** as for arrays alone, of every array as far as it lies on disks;
//! - **scrub** at the end a check of each array that is in sync finds nothing.

mod open;
mod run;
mod scenario;

pub use run::{PLANTS, Planted, Report, run_seed};
pub use scenario::Scenario;
