//! Writing back: how fast dirty data goes to the backing device, which of it first, and the task that brings it there.

pub mod rate;
pub mod stripes;
pub(crate) mod task;
