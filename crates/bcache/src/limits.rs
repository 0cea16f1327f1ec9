//! Every limit of the engine, and why it is that number.

/// Reads of the journal and of long buckets come in pieces of this many bytes.
pub const READ_BYTES: usize = 256 * 1024;

/// Buckets of a set that is opened: 12 bytes of memory for each. A cache of 64 TiB in buckets of 512 KiB has as many; a
/// superblock may say more, on a file with holes.
pub const MOST_BUCKETS: u64 = 1 << 27;

/// Nodes in memory at least: enough for two paths through the deepest tree.
pub const LEAST_NODES: usize = 16;

/// Memory for nodes, if nothing else is said: a tree over some 60 GB in extents of 64 KiB.
pub const NODE_CACHE_BYTES: usize = 64 << 20;

/// Those who wait for something to change, at most, without allocating.
pub const WAITERS: usize = 512;
