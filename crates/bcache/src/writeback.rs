//! Writing back: how fast dirty data goes to the backing device, and which of it first.

pub mod rate;
pub mod stripes;
