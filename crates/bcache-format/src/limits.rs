//! Every limit of the format, and where it comes from.

/// Bytes of the block that holds a superblock.
pub const SUPERBLOCK_BYTES: usize = 4096;
/// Where the superblock lies: the first 4 KiB are left to boot loaders.
pub const SUPERBLOCK_SECTOR: u64 = 8;
/// A cache holds no less than a superblock and what lies before it in front of its buckets.
pub const LEAST_FIRST_SECTOR: u64 = 16;
/// Where the data of a backing device begins if nothing else is said.
pub const DEFAULT_DATA_OFFSET: u64 = 16;
/// The kernel checks for 128 and fails on fewer than this: its lists of free buckets would have no room for one.
pub const LEAST_BUCKETS: u64 = 513;
/// Bucket numbers are pointers' 43 bits of sectors, and 31 bits in the kernel's own tables.
pub const MOST_BUCKETS: u64 = i32::MAX as u64 - 1;
/// Journal buckets that a superblock has room for.
pub const MOST_JOURNAL_BUCKETS: usize = 256;
/// Journal buckets that any cache has: one is written while the other is kept.
pub const LEAST_JOURNAL_BUCKETS: u64 = 2;
/// Devices that a set could have had, had it ever had more than one.
pub const MOST_DEVICES: u16 = 8;
/// Bytes of a journal entry: eight pages.
pub const JOURNAL_ENTRY_BYTES: usize = 32 * 1024;
/// Priorities, uuids and nodes use no more of a bucket than the kernel can allocate in one piece.
pub const META_BUCKET_BYTES: u64 = 4 * 1024 * 1024;
/// A node that could be larger than this takes a quarter of its bucket.
pub const NODE_BYTES: u64 = 256 * 1024;
/// The kernel's page, which no bucket is smaller than.
pub const PAGE_BYTES: u64 = 4096;
/// Words of the longest key: two, and six pointers.
pub const KEY_WORDS: usize = 8;
/// A pointer this many generations behind its bucket cannot be told from one ahead of it.
pub const MOST_STALE: u8 = 128;
/// The kernel gives up on a set with a key staler than this.
pub const STALE_LIMIT: u8 = 96;
/// Levels of a tree: the kernel counts them in a word, but a tree of six levels would be larger than any device.
pub const MOST_LEVELS: u16 = 6;
