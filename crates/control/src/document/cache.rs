//! The documents of caches and of cached volumes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ExportStatus, IoStatus};

/// A cache of a stack, and the set on it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Default, Debug)]
pub struct CacheStatus {
    /// The disk or the array that it is.
    pub name: String,
    /// The uuid of its set.
    pub set_uuid: String,
    /// Why nothing can be cached any more, if so: what only it has stays there.
    pub broken_by: Option<String>,
    /// Bytes of a bucket: what is given up together.
    pub bucket_bytes: u64,
    /// Bytes of a block: what is cached is a multiple of it.
    pub block_bytes: u64,
    /// How many buckets there are, and what of them is used for what.
    pub buckets: BucketStatus,
    /// Bytes that only the cache has, of all volumes.
    pub dirty_bytes: u64,
    /// Levels of the tree above its leaves.
    pub tree_depth: u64,
    /// Bytes of data written to it since it was opened.
    pub written_bytes: u64,
    /// Bytes of the tree's nodes.
    pub btree_written_bytes: u64,
    /// Bytes of everything that is no data: nodes, journal, priorities, uuids.
    pub metadata_written_bytes: u64,
    /// Errors of the cache that count: at `io_error_limit` it has failed.
    #[serde(default)]
    pub io_errors: u64,
    /// Reads whose bucket was given to something else meanwhile; they were done again from below.
    pub cache_read_races: u64,
    /// What its volumes were asked, all together.
    pub counts: CountsStatus,
    /// What is set, by bcache's names, as it is typed.
    pub tunables: BTreeMap<String, String>,
    /// What the cache was asked, by kind; kinds that never came are left out.
    pub io: Vec<IoStatus>,
}

/// Buckets of a cache.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BucketStatus {
    /// All of them.
    pub all: u64,
    /// Those with data that is nowhere else.
    pub dirty: u64,
    /// Those with the tree, priorities, uuids, and the journal.
    pub metadata: u64,
    /// Those that wait to be used. The rest have data that is elsewhere, too, or nothing that anybody needs.
    pub free: u64,
}

impl BucketStatus {
    /// Buckets that could not be reused at once, in percent: what the cutoffs of writing back look at.
    pub fn in_use_percent(&self) -> u64 {
        (self.dirty + self.metadata) * 100 / self.all.max(1)
    }
}

/// A volume of bcache, cached or not.
#[derive(Serialize, Deserialize, Clone, PartialEq, Default, Debug)]
pub struct CachedStatus {
    /// Its name, which is also that of its export.
    pub name: String,
    /// The uuid of the backing device, or of a volume that lies in the cache alone.
    pub uuid: String,
    /// Its size.
    pub bytes: u64,
    /// The disk or the array that backs it; none for a volume that lies in the cache alone.
    pub backing: Option<String>,
    /// The cache that it is attached to.
    pub cache: Option<String>,
    /// What is cached: `writethrough`, `writeback`, `writearound` or `none`.
    pub mode: String,
    /// bcache's word for it: `no cache`, `clean`, `dirty` or `inconsistent`.
    pub state: String,
    /// Why nothing is written to it any more, if so.
    #[serde(default)]
    pub broken_by: Option<String>,
    /// Why its cache has failed, if it goes on without.
    #[serde(default)]
    pub uncached_by: Option<String>,
    /// Errors of its backing device: at `io_error_limit` that has failed.
    #[serde(default)]
    pub backing_errors: u64,
    /// It is being detached: what only the cache has goes to the backing device first.
    pub detaching: bool,
    /// Bytes that only the cache has.
    pub dirty_bytes: u64,
    /// How fast they are written back.
    pub writeback: Option<WritebackStatus>,
    /// What became of requests.
    pub counts: CountsStatus,
    /// Bytes that went past the cache, by the reason; reasons that never came are left out.
    pub bypassed_bytes: BTreeMap<String, u64>,
    /// What is set, by bcache's names, as it is typed.
    pub tunables: BTreeMap<String, String>,
    /// What clients did.
    pub export: ExportStatus,
    /// What the volume was asked, by kind; kinds that never came are left out.
    pub io: Vec<IoStatus>,
}

/// How fast a volume is written back: bcache's `writeback_rate_debug`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct WritebackStatus {
    /// Bytes a second.
    pub rate: u64,
    /// Dirty bytes that it aims at.
    pub target_bytes: u64,
    /// What is too much makes up this much of the rate.
    pub proportional: i64,
    /// What was too much so far makes up this much of it.
    pub integral: i64,
}

/// What became of requests, as bcache counts it.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CountsStatus {
    /// Since the start, or since it was cleared.
    pub total: SpanStatus,
    /// Half of it is not older than a day.
    pub day: SpanStatus,
    /// Half of it is not older than an hour.
    pub hour: SpanStatus,
    /// Half of it is not older than five minutes.
    pub five_minute: SpanStatus,
}

/// The counts of one span.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SpanStatus {
    /// Requests that the cache had everything of.
    pub cache_hits: u64,
    /// Requests that it had not, or not all.
    pub cache_misses: u64,
    /// Requests that were to go past the cache, and it had everything of.
    pub cache_bypass_hits: u64,
    /// Requests that went past the cache.
    pub cache_bypass_misses: u64,
    /// Hits among requests that did not bypass, in percent.
    pub cache_hit_ratio: u64,
    /// What was read to be kept, and was not, because somebody had written there meanwhile.
    pub cache_miss_collisions: u64,
    /// Bytes of requests that went past the cache.
    pub bypassed: u64,
}
