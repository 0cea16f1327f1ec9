//! A cache set that is open: what its journal, priorities and uuids say, and its tree.
//!
//! What the journal has and the tree has not yet is laid over the tree in memory. Nothing is written for it, so a set is
//! open as soon as the journal, the priorities and the uuids were read, however large its tree is. To be written it has to be
//! started: see `engine.rs`.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use bcache_format::jset::Roots;
use bcache_format::limits::SUPERBLOCK_BYTES;
use bcache_format::superblock::{Cache, Kind};
use bcache_format::uuids::UuidEntry;
use bcache_format::{BucketNo, Geometry, Key, Pointer, Position};
use block::{Arena, Dev};

use crate::btree::content::Content;
use crate::btree::nodes::Nodes;
use crate::buckets::Buckets;
use crate::engine::Engine;
use crate::error::SetError;
use crate::examine::Examined;
use crate::journal::chain::Entry;
use crate::journal::{chain, replay};
use crate::limits::{LEAVES_AT_ONCE, NODE_CACHE_BYTES, OPEN_KEYS, SLOTS};
use crate::plant::{self, Plant};
use crate::reader::Reader;

/// How a set is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory for nodes of the tree; as much as it takes to go on is had in any case.
    pub node_cache_bytes: usize,
    /// Requests that each volume serves at once; one will do.
    pub slots: usize,
    /// Leaves that are written at once for the journal's sake; one will do.
    pub leaves_at_once: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { node_cache_bytes: NODE_CACHE_BYTES, slots: SLOTS, leaves_at_once: LEAVES_AT_ONCE }
    }
}

/// An open set.
pub struct CacheSet {
    pub(crate) options: Options,
    pub(crate) dev: Dev,
    pub(crate) geometry: Geometry,
    pub(crate) buckets: RefCell<Buckets>,
    pub(crate) nodes: Nodes,
    /// Where everything is; the root is the tree's.
    pub(crate) roots: Cell<Roots>,
    /// What the journal has and the tree has not.
    pub(crate) pending: RefCell<Content>,
    pub(crate) uuids: RefCell<Vec<UuidEntry>>,
    set_uuid: [u8; 16],
    journal: JournalFacts,
    /// The entries of the journal, the newest last, and the buckets of the priorities, as they were found.
    pub(crate) entries: Vec<Entry>,
    pub(crate) prio_chain: Vec<BucketNo>,
    pub(crate) superblock: RefCell<Box<[u8; SUPERBLOCK_BYTES]>>,
    /// What a set has that is written.
    pub(crate) engine: OnceCell<Engine>,
}

/// What was found in the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalFacts {
    /// The number of the oldest entry that is needed.
    pub oldest: u64,
    /// The number of the newest.
    pub newest: u64,
    /// Keys of all of them.
    pub keys: u64,
}

/// What is known of the sectors from a place on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Sectors that it is known of.
    pub sectors: u64,
    /// Where they lie in the cache, and whether only there; `None` if they are not there.
    pub at: Option<(Pointer, bool)>,
    /// The tree has a key of them, which may be of a bucket that was given up. As long as that is not durable it would be
    /// right again after a power cut.
    pub is_named: bool,
}

impl CacheSet {
    /// Opens the set on the cache that was examined. Reads, never writes.
    pub async fn open(
        dev: Dev,
        examined: &Examined,
        arena: &Rc<Arena>,
        options: Options,
    ) -> Result<CacheSet, SetError> {
        let Kind::Cache(Cache { geometry, is_used: true, .. }) = examined.summary.kind else {
            return Err(SetError::NotUsed);
        };
        let reader = Reader::new(dev.clone(), geometry, arena.clone())?;
        let all = reader.journal().await?;
        let entries = chain::choose(all.clone())?;
        let mut buckets = Buckets::new(&geometry);
        let mut pending = Content::new(0, true, geometry.bucket_sectors);
        let (roots, keys) = replay::read(&reader, &entries, &mut pending).await?;
        let take = |bucket, prio: &bcache_format::prio::Prio| {
            buckets.load(bucket, prio.priority.get(), prio.generation);
        };
        let prio_chain = reader.prios(roots.prios, take).await?;
        for key in [&roots.root, &roots.uuids].into_iter().chain(pending.keys()) {
            if let Some(pointer) = key.pointer() {
                buckets.learn(pointer);
            }
        }
        let uuids = reader.uuids(&roots.uuids).await?;
        let (oldest, newest) = (entries[0].seq, entries[entries.len() - 1].seq);
        Ok(CacheSet {
            options,
            nodes: Nodes::new(dev.clone(), geometry, options.node_cache_bytes, OPEN_KEYS),
            dev,
            geometry,
            buckets: RefCell::new(buckets),
            roots: Cell::new(roots),
            pending: RefCell::new(pending),
            uuids: RefCell::new(uuids),
            set_uuid: examined.summary.set_uuid,
            journal: JournalFacts { oldest, newest, keys },
            entries: chain::newest_last(all),
            prio_chain,
            superblock: RefCell::new(examined.bytes.clone()),
            engine: OnceCell::new(),
        })
    }

    /// The uuid of the set.
    pub fn uuid(&self) -> [u8; 16] {
        self.set_uuid
    }

    /// The volumes of the set by their inodes: free entries too.
    pub fn uuids(&self) -> Vec<UuidEntry> {
        self.uuids.borrow().clone()
    }

    /// What was found in the journal.
    pub fn journal_facts(&self) -> JournalFacts {
        self.journal
    }

    pub(crate) fn roots(&self) -> Roots {
        self.roots.get()
    }

    /// The root of the tree, and its level.
    pub(crate) fn root(&self) -> (Key, u16) {
        (self.roots.get().root, self.roots.get().level)
    }

    /// What is known of the sectors from `at` on: at least of one, at most of `most`.
    pub async fn find(&self, at: Position, most: u64) -> Result<Found, SetError> {
        if self.pending.borrow().keys().is_empty() {
            return self.find_in_tree(at, most).await;
        }
        let over = self.find_pending(at, most);
        match over {
            Found { at: None, sectors, .. } if !self.is_pending(at) => self.find_in_tree(at, sectors).await,
            over => Ok(over),
        }
    }

    /// Whether the journal says something of this sector.
    fn is_pending(&self, at: Position) -> bool {
        let pending = self.pending.borrow();
        pending.keys().get(pending.first_behind(at)).is_some_and(|key| key.start() <= at)
    }

    /// What the journal says from `at` on; where it says nothing, how far it says nothing.
    fn find_pending(&self, at: Position, most: u64) -> Found {
        let pending = self.pending.borrow();
        let key = pending.keys().get(pending.first_behind(at));
        self.found(key, at, most)
    }

    async fn find_in_tree(&self, at: Position, most: u64) -> Result<Found, SetError> {
        // A leaf ends behind what was looked for in it.
        let leaf = self.nodes.leaf(&self.roots, &self.buckets, at).await?;
        let key = leaf.keys.keys().get(leaf.keys.first_behind(at));
        let end = leaf.key.end();
        let most = if end.inode == at.inode { most.min(end.offset - at.offset) } else { most };
        Ok(self.found(key, at, most))
    }

    /// What `key`, the first that ends behind `at`, says of it.
    fn found(&self, key: Option<&Key>, at: Position, most: u64) -> Found {
        let Some(key) = key.filter(|key| key.inode() == at.inode) else {
            return Found { sectors: most, at: None, is_named: false };
        };
        if key.start() > at {
            let sectors = most.min(key.start().offset - at.offset);
            return Found { sectors, at: None, is_named: false };
        }
        let sectors = most.min(key.end().offset - at.offset);
        let left = key.cut_front(at.offset);
        let is_believed = plant::is(Plant::StaleKeyRead);
        let fresh = left.pointer().filter(|to| is_believed || self.buckets.borrow().is_fresh(*to));
        Found {
            sectors,
            at: fresh.map(|pointer| (pointer, key.is_dirty())),
            is_named: key.pointer().is_some(),
        }
    }
}
