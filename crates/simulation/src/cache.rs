//! Caches: a set with its backing devices, played like arrays are: see [`run_seed`].
//!
//! - **C1** what was answered and flushed survives, whatever the mode; nothing else is read than what was written;
//! - **C3** what a cache had that has failed is never read again once its volume went on without; a volume that had nothing dirty
//!   does go on, and so do the others when a backing device dies;
//! - **C2** a backing device whose cache has something dirty says so;
//! - **C4** nothing refers to what is given up, as `cache check` finds after every era, and a kernel would find buckets;
//! - **C5** the journal has all its entries, and its next bucket is free;
//! - **P3** while requests are pending, something completes.
//!
//! In one seed of five volumes in the cache alone come and go beside the others.

pub(crate) mod devices;
mod passing;
mod run;
mod scenario;

pub use run::{Images, Report, play_to_images, run_seed};
pub use scenario::Scenario;
