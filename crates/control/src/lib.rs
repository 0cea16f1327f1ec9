//! One running stack.

mod hold;

pub use hold::Hold;
