//! Checking a set: every checksum, key, pointer, generation and uuid, and whether all of them agree. Reads, never writes.
//!
//! What is wrong does not stop the check: it goes on with whatever can still be read.

use std::fmt;

use bcache_format::jset::Roots;
use bcache_format::limits::{MOST_LEVELS, STALE_LIMIT};
use bcache_format::uuids::{Use, UuidEntry};
use bcache_format::{BucketNo, Geometry, Key, Position};

use crate::btree::content::Content;
use crate::btree::node::Node;
use crate::buckets::{Buckets, ahead};
use crate::error::SetError;
use crate::journal::chain::{self, Entry};
use crate::journal::replay;
use crate::reader::Reader;

/// What a set was found to be.
#[derive(Default, Debug)]
pub struct Report {
    /// What there is.
    pub counts: Counts,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// What there is in a set.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Entries of the journal that count.
    pub journal_entries: u64,
    /// Keys in them.
    pub journal_keys: u64,
    /// Nodes of the tree.
    pub nodes: u64,
    /// Levels of the tree.
    pub levels: u64,
    /// Sets of keys in them.
    pub sets: u64,
    /// Extents that are in the cache, those that only the journal has counted too.
    pub extents: u64,
    /// Sectors of them.
    pub sectors: u64,
    /// Sectors that only the cache has.
    pub dirty_sectors: u64,
    /// Extents whose bucket was given up since.
    pub stale_extents: u64,
    /// Buckets of the cache.
    pub buckets: u64,
    /// Buckets that nothing refers to.
    pub free_buckets: u64,
    /// Volumes.
    pub volumes: u64,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// Something cannot be read, or is not of its form.
    Unreadable(SetError),
    /// Two things lie in one bucket that cannot share it.
    Shared {
        /// The bucket.
        bucket: BucketNo,
        /// What was found there first.
        first: &'static str,
        /// What was found there later.
        second: &'static str,
    },
    /// The last node below another one does not end where that does: what lies between is not reached.
    Unreached {
        /// The upper node.
        parent: Key,
        /// Where the last node below it ends.
        end: Position,
    },
    /// An extent begins before the leaf it is in.
    Outside {
        /// The extent.
        found: Key,
        /// Where the leaf begins.
        start: Position,
    },
    /// Data that only the cache has, in a bucket that was given up.
    StaleDirty {
        /// The extent.
        found: Key,
        /// The bucket's generation.
        generation: u8,
    },
    /// A pointer so old that it will be taken for a newer one.
    TooStale {
        /// The key.
        found: Key,
        /// The bucket's generation.
        generation: u8,
    },
    /// Two extents that lie at the same sectors of the cache.
    Overlap {
        /// One.
        first: Key,
        /// The other.
        second: Key,
    },
    /// Data of a volume that the set does not have.
    NoVolume {
        /// The extent.
        found: Key,
    },
    /// Two volumes with the same uuid.
    SameUuid {
        /// The index of one.
        first: u32,
        /// The index of the other.
        second: u32,
    },
    /// Fewer buckets that nothing refers to than the kernel needs to begin.
    FewFree {
        /// How many there are.
        found: u64,
        /// How many it needs.
        expected: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Unreadable(error) => error.fmt(f),
            Finding::Shared { bucket, first, second } => {
                write!(f, "{bucket} has {first} and {second}, which cannot share one")
            }
            Finding::Unreached { parent, end } => {
                write!(f, "the node for keys up to {} has nothing below it behind {end}", parent.end())
            }
            Finding::Outside { found, start } => {
                write!(f, "extent {found} lies before its leaf, which begins at {start}")
            }
            Finding::StaleDirty { found, generation } => write!(
                f,
                "extent {found} is nowhere but in the cache, and its bucket was given up (generation {generation})"
            ),
            Finding::TooStale { found, generation } => {
                write!(
                    f,
                    "key {found} is more than {STALE_LIMIT} generations behind its bucket's {generation}"
                )
            }
            Finding::Overlap { first, second } => {
                write!(f, "extents {first} and {second} lie at the same sectors")
            }
            Finding::NoVolume { found } => write!(f, "extent {found} belongs to no volume of the set"),
            Finding::SameUuid { first, second } => {
                write!(f, "volumes {first} and {second} have the same uuid")
            }
            Finding::FewFree { found, expected } => {
                write!(
                    f,
                    "nothing refers to {found} buckets, expected {expected} or more: the kernel could not begin"
                )
            }
        }
    }
}

/// Checks the set that `reader` reads.
pub async fn check(reader: &Reader) -> Report {
    let mut check = Check::new(*reader.geometry());
    if let Some(roots) = check.journal(reader).await {
        check.prios(reader, &roots).await;
        check.uuids(reader, &roots).await;
        check.tree(reader, &roots).await;
        check.extents();
        check.free();
    }
    check.report
}

/// A check under way.
struct Check {
    geometry: Geometry,
    report: Report,
    buckets: Buckets,
    /// What each bucket was found to be, where that is not data.
    holds: Vec<Option<&'static str>>,
    /// What the journal has, laid over each other.
    pending: Content,
    uuids: Vec<UuidEntry>,
    /// All extents of the tree.
    found: Vec<Key>,
}

impl Check {
    fn new(geometry: Geometry) -> Check {
        Check {
            geometry,
            report: Report::default(),
            buckets: Buckets::new(&geometry),
            holds: vec![None; geometry.buckets as usize],
            pending: Content::new(0, true, geometry.bucket_sectors),
            uuids: Vec::new(),
            found: Vec::new(),
        }
    }

    fn tell(&mut self, finding: Finding) {
        self.report.findings.push(finding);
    }

    /// What a step came to; what stood in its way is told.
    fn told<T>(&mut self, outcome: Result<T, SetError>) -> Option<T> {
        outcome.map_err(|error| self.tell(Finding::Unreadable(error))).ok()
    }

    /// A bucket was found to have something that shares it with nothing. Whether it has nothing else.
    fn holds(&mut self, bucket: BucketNo, what: &'static str) -> bool {
        match self.holds[bucket.0 as usize].replace(what) {
            None => true,
            Some(first) => {
                self.tell(Finding::Shared { bucket, first, second: what });
                false
            }
        }
    }

    async fn journal(&mut self, reader: &Reader) -> Option<Roots> {
        let entries = reader.journal().await.and_then(chain::choose);
        let entries: Vec<Entry> = self.told(entries)?;
        let outcome = replay::read(reader, &entries, &mut self.pending).await;
        let (roots, keys) = self.told(outcome)?;
        (self.report.counts.journal_entries, self.report.counts.journal_keys) = (entries.len() as u64, keys);
        Some(roots)
    }

    async fn prios(&mut self, reader: &Reader, roots: &Roots) {
        let buckets = &mut self.buckets;
        let take = |bucket, prio: &bcache_format::prio::Prio| {
            buckets.load(bucket, prio.priority.get(), prio.generation);
        };
        let chain = reader.prios(roots.prios, take).await;
        for bucket in self.told(chain).unwrap_or_default() {
            self.holds(bucket, "priorities");
        }
    }

    async fn uuids(&mut self, reader: &Reader, roots: &Roots) {
        let uuids = reader.uuids(&roots.uuids).await;
        let Some(uuids) = self.told(uuids) else { return };
        let pointer = roots.uuids.pointer().expect("read from there");
        self.buckets.learn(pointer);
        self.holds(pointer.bucket(self.geometry.bucket_sectors), "uuids");
        let used = |entry: &UuidEntry| !matches!(entry.usage(), Use::Free | Use::Detached);
        self.report.counts.volumes = uuids.iter().filter(|entry| used(entry)).count() as u64;
        for (second, entry) in uuids.iter().enumerate().filter(|(_, entry)| used(entry)) {
            if let Some(first) = uuids[..second].iter().position(|other| other.uuid == entry.uuid) {
                self.tell(Finding::SameUuid { first: first as u32, second: second as u32 });
            }
        }
        self.uuids = uuids;
    }

    /// Looks through the whole tree, each node before those below it.
    async fn tree(&mut self, reader: &Reader, roots: &Roots) {
        if roots.level >= MOST_LEVELS {
            let error = SetError::TooDeep { found: roots.level + 1, most: MOST_LEVELS };
            return self.tell(Finding::Unreadable(error));
        }
        self.report.counts.levels = u64::from(roots.level) + 1;
        let mut node = Node::room(&self.geometry, 0);
        let mut ahead_of = vec![(roots.root, roots.level, Position::default())];
        while let Some((key, level, start)) = ahead_of.pop() {
            let pointer = key.pointer().expect("checked");
            self.buckets.learn(pointer);
            if !self.holds(pointer.bucket(self.geometry.bucket_sectors), "a node") {
                continue; // or a circle of nodes would never end
            }
            let bytes = reader.node(&key).await;
            let Some(bytes) = self.told(bytes) else { continue };
            let buckets = &mut self.buckets;
            let seen = |key: &Key| {
                if let Some(pointer) = key.pointer() {
                    buckets.learn(pointer);
                }
            };
            let log = node.read(&bytes, &self.geometry, key, level, seen);
            let log = log.map_err(|error| SetError::Node { key, level, error });
            let Some(log) = self.told(log) else { continue };
            self.report.counts.nodes += 1;
            self.report.counts.sets += u64::from(log.sets);
            match level {
                0 => self.leaf(&node, start),
                _ => self.below(&node, start, &mut ahead_of),
            }
        }
    }

    /// The nodes below one.
    fn below(&mut self, node: &Node, start: Position, ahead_of: &mut Vec<(Key, u16, Position)>) {
        let (mut from, level) = (start, node.level - 1);
        for key in node.keys.keys() {
            if key.pointer().is_some_and(|pointer| self.buckets.is_fresh(pointer)) {
                ahead_of.push((*key, level, from));
                from = key.end();
            }
        }
        if from != node.key.end() {
            self.tell(Finding::Unreached { parent: node.key, end: from });
        }
    }

    fn leaf(&mut self, node: &Node, start: Position) {
        for key in node.keys.keys() {
            if key.start() < start {
                self.tell(Finding::Outside { found: *key, start });
            }
            self.found.push(*key);
        }
    }

    /// Looks at all extents, now that all generations are known.
    fn extents(&mut self) {
        let mut found = std::mem::take(&mut self.found);
        let pending = std::mem::replace(&mut self.pending, Content::new(0, true, 1));
        let mut last = Content::new(0, false, self.geometry.bucket_sectors);
        let mut places = Vec::new();
        // What the journal lays over the tree does not count any more.
        for key in found.drain(..) {
            self.extent(&key, &mut places);
            match pending.keys().is_empty() {
                true => self.count(&key),
                false => last.lay(key, |_| ()),
            }
        }
        for key in pending.keys() {
            last.lay(*key, |_| ());
        }
        last.keys().to_vec().iter().for_each(|key| self.count(key));
        self.overlaps(places);
    }

    fn extent(&mut self, key: &Key, places: &mut Vec<(u64, Key)>) {
        let Some(pointer) = key.pointer() else { return };
        let bucket = pointer.bucket(self.geometry.bucket_sectors);
        let generation = self.buckets.get(bucket).generation;
        if ahead(generation, pointer.generation()) > STALE_LIMIT {
            self.tell(Finding::TooStale { found: *key, generation });
        }
        if !self.buckets.is_fresh(pointer) {
            self.report.counts.stale_extents += 1;
            return;
        }
        if let Some(first) = self.holds[bucket.0 as usize] {
            self.tell(Finding::Shared { bucket, first, second: "data" });
        }
        places.push((pointer.sector(), *key));
    }

    /// An extent that is read.
    fn count(&mut self, key: &Key) {
        let Some(pointer) = key.pointer() else { return };
        let generation = self.buckets.get(pointer.bucket(self.geometry.bucket_sectors)).generation;
        if !self.buckets.is_fresh(pointer) {
            if key.is_dirty() {
                self.tell(Finding::StaleDirty { found: *key, generation });
            }
            return;
        }
        let usage = self.uuids.get(key.inode() as usize).map(UuidEntry::usage);
        // Of a volume that was detached everything was written back: a kernel that lost the power since may not have said so.
        if key.is_dirty() && matches!(usage, None | Some(Use::Free)) {
            self.tell(Finding::NoVolume { found: *key });
        }
        self.buckets.count(key);
        let counts = &mut self.report.counts;
        counts.extents += 1;
        counts.sectors += key.sectors();
        counts.dirty_sectors += if key.is_dirty() { key.sectors() } else { 0 };
    }

    fn overlaps(&mut self, mut places: Vec<(u64, Key)>) {
        places.sort_by_key(|(sector, _)| *sector);
        for pair in places.windows(2) {
            let [(first_at, first), (second_at, second)] = pair else { continue };
            if first_at + first.sectors() > *second_at {
                self.tell(Finding::Overlap { first: *first, second: *second });
            }
        }
    }

    /// Whether the kernel's allocator could begin.
    fn free(&mut self) {
        let geometry = &self.geometry;
        let is_free = |number: &u64| {
            self.holds[*number as usize].is_none() && self.buckets.get(BucketNo(*number)).live == 0
        };
        let found = (geometry.first_free().0..geometry.buckets).filter(is_free).count() as u64;
        self.report.counts.free_buckets = found;
        self.report.counts.buckets = geometry.buckets;
        let expected = geometry.prio_buckets() + geometry.journal_buckets;
        if found < expected {
            self.tell(Finding::FewFree { found, expected });
        }
    }
}
