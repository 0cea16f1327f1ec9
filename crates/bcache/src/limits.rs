//! Every limit of the engine, and why it is that number.

/// Requests that a volume serves at once, unless somebody says otherwise.
pub const SLOTS: usize = 64;

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

/// Nodes in memory at least: a path through the deepest tree, and all that it is replaced by when every node of it is full.
pub const LEAST_NODES: usize = 32;

/// Memory for nodes, if nothing else is said: a tree over some 60 GB in extents of 64 KiB.
pub const NODE_CACHE_BYTES: usize = 64 << 20;

/// Nodes that are read at once while the tree is counted: what keeps an SSD busy, and 8 MiB of memory meanwhile. Half of the frames
/// at most, where there are fewer.
pub const NODES_AHEAD: usize = 32;

/// Those who wait for something to change, at most, without allocating.
pub const WAITERS: usize = 512;

/// Keys of a leaf that are not on disk, at most: one write of it takes about 12 KiB then.
pub const OPEN_KEYS: usize = 512;

/// Leaves that are written at once for the journal's sake, unless somebody says otherwise.
pub const LEAVES_AT_ONCE: usize = 4;

/// Buckets that become free at once, within these bounds: what small caches can spare, and what is quickly said.
pub const LEAST_BATCH: usize = 8;
/// See [`LEAST_BATCH`].
pub const MOST_BATCH: usize = 8192;

/// Buckets that should become free by each bucket of priorities that is written: priorities are one or two of a hundred bytes
/// written then.
pub const BUCKETS_FOR_A_PRIO: usize = 64;

/// Buckets kept for data that is moved so that others become free.
pub const MOVING_BUCKETS: usize = 4;

/// Buckets into which data is written at the same time: what is written together, or by one volume, should lie together.
pub const OPEN_BUCKETS: usize = 8;

/// Misses whose data is on its way into the cache; what is read beyond that is not put there.
pub const FILLS: usize = 32;
/// Bytes of a miss that are put into the cache at most.
pub const FILL_BYTES: usize = 256 * 1024;

/// Misses that are remembered for the second one, and sectors of each: 256 KiB of memory for 16 GiB.
pub const GHOST_PLACES: usize = 1 << 16;
/// See [`GHOST_PLACES`].
pub const GHOST_SECTORS: u64 = 512;

/// Misses that are put into the cache at once.
pub const FILLERS: usize = 4;

/// Extents that are written back together: what a flush of the backing device is worth.
pub const BACK_AT_ONCE: usize = 16;
/// Bytes of each at most.
pub const BACK_BYTES: usize = 256 * 1024;

/// Writing back that has failed so often in a row is not waited for any more by who needs room: it is tried twenty times a second.
pub const MOST_STUMBLES: u32 = 20;

/// How often it is looked whether the tree is to be collected.
pub const COLLECT_LOOK_MS: u64 = 100;

/// Bytes that are moved in one piece.
pub const MOVE_BYTES: usize = 64 * 1024;
/// Extents of a leaf that are moved before it is looked at again.
pub const MOVED_AT_ONCE: usize = 64;
/// Buckets that are looked at before others have their turn.
pub const STEP_BUCKETS: usize = 4096;
