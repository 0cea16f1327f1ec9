//! Every limit of the engine, each with the reason for its number.

/// Requests an array serves at once. NBD clients queue 64 and more over several connections; more only adds latency.
pub const SLOTS: usize = 128;

/// Requests to members that one client request has under way at once, and the most copies a mirror may have here.
/// md allows more; nobody keeps more than a few.
pub const FAN_OUT: usize = 16;

/// How long the array stays marked dirty after the last write, in milliseconds: md's `safe_mode_delay`.
pub const SAFE_MODE_DELAY_MS: u64 = 200;

/// Read errors that are repaired before the member is failed, unless somebody says otherwise: md's `max_read_errors`.
pub const MAX_READ_ERRORS: u32 = 20;

/// How long it takes until half of a member's read errors are forgotten: an hour, as in the kernel.
pub const READ_ERRORS_HALVED_NS: u64 = 3600 * 1_000_000_000;

/// How long a member may take to answer, in milliseconds. Disks retry for up to half a minute by themselves.
pub const MEMBER_TIMEOUT_MS: u64 = 60_000;

/// Bytes that a resync compares at a time: long enough for disks to stream, short enough for clients to get in between.
pub const RESYNC_WINDOW: usize = 512 << 10;

/// Bytes of each member that parity is computed for at a time: short enough to be in the cache still, long enough for a
/// disk to stream.
pub const PARITY_WINDOW: usize = 128 << 10;

/// Memory for repairs and zeroes, in bytes: some requests' worth. Errors of disks are rare.
pub const REPAIR_BYTES: usize = 4 << 20;

/// Groups of writes and recoveries under way at once. Each keeps every member busy; more only take memory.
pub const PARITY_WORKS: usize = 32;

/// Stripes that one request joins at a time.
pub const STRIPES_JOINED: usize = 8;

/// Reads of a degraded array that a recovery may share, in each lane: a stripe or two of the pieces that clients queue.
pub const OFFERS: usize = 64;

/// Windows of a resync under way at once.
pub const RESYNC_WINDOWS: usize = 4;

/// Members that can be added while an array is open. Each keeps a place for as long as it is: a spare a week for years.
pub const MEMBERS_ADDED: usize = 256;

/// md's `sync_speed_min` as it is by default, in bytes a second: below this a sync gives way to nobody.
pub const SPEED_MIN: u64 = 1000 << 10;

/// Beside clients, a sync rests so many times as long as its last window took.
pub const RESYNC_PAUSES: u64 = 2;

/// Beside clients, windows are this many times shorter: what a client waits for is short.
pub const RESYNC_BUSY_SHARE: usize = 8;

/// How long the further windows of a sync wait before they look again whether clients are gone, in milliseconds.
pub const RESYNC_PATIENCE_MS: u64 = 20;

/// Places where something did not agree that a scrub lists: more than a person looks at one by one.
pub const MISMATCHES_KEPT: usize = 1024;

/// A resync's position is recorded at least this often, in milliseconds.
pub const CHECKPOINT_MS: u64 = 10_000;

/// What a membership change adds to the event counter, and how often it is written. Kernels before 6.7 take a member that
/// is one event behind for up to date, so one that was left out must be two behind; but all that were not must never be
/// more than one apart, or a power cut in the middle would leave too few that count.
pub const MEMBERSHIP_EVENTS: u64 = 2;

/// The longest bitmap that is kept up to date: 32 Mi chunks. With its counters it takes 72 MiB of memory.
pub const BITMAP_BYTES: usize = 4 << 20;

/// Above this an event counter was not reached by counting, and leaves too little room to count on.
pub const EVENTS_LIMIT: u64 = u64::MAX / 2;

/// Units of a write journal between its tail and its head. Each is at least two blocks; with more of them a replay would
/// take longer than people like to wait.
pub const JOURNAL_UNITS: usize = 16_384;

/// A journal's tail moves when this share of it could be free, as the kernel has it: seldom enough to cost nothing, often
/// enough that nobody waits for space.
pub const JOURNAL_RECLAIM_SHARE: u64 = 4;

/// Or when so many sectors could be: the kernel's 10 GiB. What lies behind the tail is read when the array is opened.
pub const JOURNAL_RECLAIM_SECTORS: u64 = 10 << 21;

/// A journal has room for so many rows of blocks at least, or it is not written to: two units, and as much again that is
/// not free yet.
pub const JOURNAL_ROWS: u64 = 4;

/// Memory for blocks that a journal in write-back mode has, and no member yet, in bytes, unless somebody says otherwise:
/// some seconds of writes here and there.
pub const JOURNAL_CACHE_BYTES: usize = 32 << 20;

/// Rows that are written out of that memory at once: each waits for the members three times, and disks like to sort.
pub const JOURNAL_WRITE_OUTS: usize = 8;

/// What has been in that memory for so long, in milliseconds, up to twice that, is written out though nobody needs the room:
/// the kernel looks every 30 seconds.
pub const JOURNAL_CACHE_AGE_MS: u64 = 15_000;

/// The oldest rows that are looked at for one that nobody is working on.
pub const JOURNAL_GLANCE: usize = 64;

/// Groups of writes to an array with a journal that are under way at once. Each may have to wait for space.
pub const JOURNAL_WRITERS: usize = 16;

/// Blocks that are written out in one piece of work.
pub const JOURNAL_WRITTEN_OUT: usize = 96;

/// Journals, and logs of partial parity, that an array can have had while it is open, one after the other. Each keeps its
/// memory.
pub const JOURNALS: usize = 16;

/// Bytes of a journal that are read in one piece when it is replayed: long enough for a disk to stream.
pub const JOURNAL_READ_BYTES: usize = 512 << 10;
