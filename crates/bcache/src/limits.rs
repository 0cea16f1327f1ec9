//! Every limit of the engine, and why it is that number.

/// Reads of the journal and of long buckets come in pieces of this many bytes.
pub const READ_BYTES: usize = 256 * 1024;

/// Nodes in memory beside those that a change of the tree makes: enough for two paths through the deepest tree.
pub const LEAST_NODES: usize = 16;

/// Memory for nodes, if nothing else is said: a tree over some 60 GB in extents of 64 KiB.
pub const NODE_CACHE_BYTES: usize = 64 << 20;

/// Keys that a leaf gathers before they are written: about as many as the kernel gathers, a page.
pub const OPEN_KEYS: usize = 168;

/// How long keys wait in a journal entry that nobody asks for, as the kernel's `journal_delay_ms`.
pub const JOURNAL_DELAY_MS: u64 = 100;

/// Those who wait for something to change, at most, without allocating.
pub const WAITERS: usize = 512;

/// Candidates that are looked at for each bucket that is given up: the coldest of them goes. Never all buckets.
pub const CANDIDATES: usize = 16;

/// Buckets that are given up together, one write of the priorities for all: one of so many of the cache's.
pub const BATCH_SHARE: u64 = 256;

/// Nodes read at once when a set is opened.
pub const WALKERS: usize = 8;
