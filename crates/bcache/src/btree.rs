//! The tree of keys: nodes on disk as logs of sets, nodes in memory as what the sets come to.

pub(crate) mod change;
pub(crate) mod content;
pub(crate) mod insert;
pub(crate) mod join;
pub mod log;
pub mod node;
pub(crate) mod nodes;
pub(crate) mod write;

#[cfg(test)]
mod tests;
