//! Every limit of the engine, and why it is that number.

/// Reads of the journal and of long buckets come in pieces of this many bytes.
pub const READ_BYTES: usize = 256 * 1024;

/// Ends of requests that a volume remembers: the kernel's number (`RECENT_IO`).
pub const RECENT_RUNS: usize = 128;

/// How long such an end counts, in milliseconds: the kernel's five seconds.
pub const RUN_LIFE_MS: u64 = 5_000;

/// Clients of a volume whose runs are averaged. One more takes the place of another; it is 1.5 KiB of memory.
pub const CLIENT_RUNS: usize = 64;

/// What one run weighs in a client's average: an eighth, as in the kernel.
pub const RUN_WEIGHT: u64 = 8;

/// Stripes whose dirty sectors a volume counts one by one, 4 bytes each: 4 MiB of memory. A larger device has them joined;
/// in stripes of 4 MiB, that begins above 4 TiB.
pub const MOST_STRIPES: u64 = 1 << 20;

/// Buckets of a set that is opened: 12 bytes of memory for each. A cache of 64 TiB in buckets of 512 KiB has as many; a
/// superblock may say more, on a file with holes.
pub const MOST_BUCKETS: u64 = 1 << 27;

/// Nodes in memory at least: enough for two paths through the deepest tree.
pub const LEAST_NODES: usize = 16;

/// Memory for nodes, if nothing else is said: a tree over some 60 GB in extents of 64 KiB.
pub const NODE_CACHE_BYTES: usize = 64 << 20;

/// Those who wait for something to change, at most, without allocating.
pub const WAITERS: usize = 512;
