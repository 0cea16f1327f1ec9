//! A set that is written: what it owns beside what a set that is read has, how it is started and how it ends.
//!
//! ```text
//!  a request:  slot -> range -> data bucket -> data -> leaf in memory -> [room in a leaf -> buckets and frames of nodes]
//!                   -> room in the journal -> key -> journal durable, if it was asked for
//!  allocator:  buckets kept for priorities -> device -> journal
//!  journal:    leaves that keep old entries -> device
//!  leaves:     device
//! ```
//!
//! Whoever stands further up waits for those further down and never the other way round (P2).

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bcache_format::{BucketNo, Key, Replacement};
use block::{Arena, Outcome, Request};
use runtime::{Event, now, sleep_ms};

use crate::allocator::{self, Allocator, kept};
use crate::backing::BackingDisk;
use crate::btree;
use crate::btree::change::Change;
use crate::btree::write::open_bytes;
use crate::collect;
use crate::counters::{Counters, SetCounters};
use crate::dirty::Dirty;
use crate::error::SetError;
use crate::errors::Errors;
use crate::fills::Fills;
use crate::journal::ring::Ring;
use crate::journal::writer::{self, Journal};
use crate::limits::{FILL_BYTES, FILLS, GHOST_PLACES, GHOST_SECTORS, WAITERS};
use crate::open::OpenBuckets;
use crate::policy::congestion::Congestion;
use crate::policy::ghost::Ghost;
use crate::set::CacheSet;
use crate::tunables::SetTunables;
use crate::volume::{Volume, fill};
use crate::writeback::rate::Idleness;

/// What a set has that is written.
pub(crate) struct Engine {
    pub journal: Journal,
    pub allocator: Allocator,
    pub open: RefCell<OpenBuckets>,
    pub fills: Fills,
    pub dirty: Dirty,
    /// The tree is being changed; one does it at a time.
    pub is_changing: Cell<bool>,
    /// The table of volumes is being written; one does it at a time.
    pub is_naming: Cell<bool>,
    /// One of these two has ended.
    pub changing: Event,
    /// Memory for a change of the tree, while there is none.
    pub change: RefCell<Option<Change>>,
    /// While the journal is replayed: buckets of nodes that the root it names still needs.
    pub deferred: RefCell<Option<Vec<BucketNo>>>,
    /// Volumes that are not in the table any more, durably, and of which something is still in the cache.
    pub gone: RefCell<Vec<u32>>,
    /// Volumes that are written back.
    pub written_back: RefCell<Vec<Weak<Volume>>>,
    /// Those who wait until something dirty is clean: it is written back as fast as it goes.
    pub starving: Cell<u32>,
    /// Looks for what could be moved that found nothing.
    pub vain_looks: Cell<u64>,
    /// Sectors of keys that were laid since sparse nodes were joined last.
    pub laid: Cell<u64>,
    /// For sets of keys of leaves.
    pub leaf_buffers: Rc<Arena>,
    /// For nodes that are made.
    pub node_buffers: Rc<Arena>,
    /// For data of misses.
    pub fill_buffers: Rc<Arena>,
    pub queue: fill::Queue,
    /// Backing devices with writes that were not flushed have to be flushed before keys that speak of them are durable.
    backing: RefCell<Vec<Rc<BackingDisk>>>,
    pub tunables: SetTunables,
    pub counters: SetCounters,
    /// Of all volumes together.
    pub totals: Counters,
    pub congestion: RefCell<Congestion>,
    pub ghost: RefCell<Ghost>,
    pub idleness: RefCell<Idleness>,
    /// Errors of the cache.
    pub errors: Errors,
    failure: Cell<Option<SetError>>,
    /// The set has failed, or is stopped.
    pub over: Event,
    is_stopped: Cell<bool>,
    /// Writes and flushes of the set's own that are under way.
    under_way: Cell<u32>,
}

impl CacheSet {
    /// Makes the set one that is written: counts what is in its tree, lays what the journal has into it, and starts those who
    /// keep it going.
    pub async fn start(self: &Rc<CacheSet>, policy: Replacement) -> Result<(), SetError> {
        let (found, least) = (self.geometry.node_sectors() / self.geometry.block_sectors, 2);
        if found < least {
            return Err(SetError::NodeBlocks { found, least });
        }
        // What was read is what counts from now on: it must not be lost any more.
        self.flush_cache().await?;
        let ring = Ring::new(&self.geometry, &self.entries);
        let facts = self.journal_facts();
        if !ring.is_next_free(facts.oldest) {
            return Err(SetError::JournalFull);
        }
        let journal = Journal::new(self.geometry, ring, facts.newest).await;
        let node_bytes = self.geometry.node_sectors() as usize * 512;
        let leaf_bytes = 2 * self.options.leaves_at_once * open_bytes(&self.geometry).next_power_of_two();
        let engine = Engine {
            journal,
            allocator: Allocator::new(&self.geometry, self.prio_chain.clone()),
            open: RefCell::default(),
            fills: Fills::default(),
            dirty: Dirty::new(self.uuids.borrow().len()),
            is_changing: Cell::new(false),
            is_naming: Cell::new(false),
            changing: Event::with_capacity(WAITERS),
            change: RefCell::new(Some(Change::new(&self.geometry))),
            deferred: RefCell::default(),
            gone: RefCell::default(),
            written_back: RefCell::default(),
            starving: Cell::new(0),
            vain_looks: Cell::new(0),
            laid: Cell::new(0),
            leaf_buffers: Arena::new(leaf_bytes),
            node_buffers: Arena::new(node_bytes.next_power_of_two()),
            fill_buffers: Arena::new(FILLS / 2 * FILL_BYTES),
            queue: fill::Queue::default(),
            backing: RefCell::default(),
            tunables: SetTunables::default(),
            counters: SetCounters::default(),
            totals: Counters::new(now()),
            congestion: RefCell::default(),
            ghost: RefCell::new(Ghost::new(GHOST_PLACES, GHOST_SECTORS)),
            idleness: RefCell::default(),
            errors: Errors::default(),
            failure: Cell::new(None),
            over: Event::with_capacity(WAITERS),
            is_stopped: Cell::new(false),
            under_way: Cell::new(0),
        };
        engine.tunables.cache_replacement_policy.set(policy as u64);
        assert!(self.engine.set(engine).is_ok(), "a set is started once");
        self.count_all().await?;
        let spoken_of = self.take_empty(policy);
        writer::start(self);
        btree::write::start(self);
        allocator::start(self);
        self.replay(facts.oldest).await?;
        spoken_of.into_iter().for_each(|bucket| self.buckets.borrow_mut().end_write(bucket));
        self.engine().gone.replace(self.find_gone());
        fill::start(self);
        collect::start(self);
        Ok(())
    }

    /// What makes the set one that is written.
    pub(crate) fn engine(&self) -> &Engine {
        self.engine.get().expect("only a set that was started is written")
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.engine().journal
    }

    /// Whether the set is written.
    pub fn is_started(&self) -> bool {
        self.engine.get().is_some()
    }

    /// Why nothing is written any more, if so.
    pub fn failure(&self) -> Option<SetError> {
        self.engine().failure.get()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.engine().is_stopped.get() || self.failure().is_some()
    }

    /// The set can no longer be written: what it has stays as it is, to be taken up again.
    pub(crate) fn fail(&self, error: SetError) {
        let engine = self.engine();
        if engine.failure.get().is_none() {
            engine.failure.set(Some(error));
            self.nodes.fail(error);
        }
        self.wake_all();
    }

    /// A request for data in the cache has ended: errors are counted, and at the limit the set has failed.
    pub(crate) fn ended(&self, what: &'static str, outcome: Outcome) -> Outcome {
        if let Some(engine) = self.engine.get() {
            let limit = engine.tunables.io_error_limit.get();
            let failed = engine.errors.ended(outcome, engine.tunables.io_error_halflife.get());
            let found = engine.errors.count();
            if let Some(failed) = failed.filter(|_| found >= limit) {
                self.fail(SetError::TooManyErrors { what, found, limit, failed });
            }
        }
        outcome
    }

    fn wake_all(&self) {
        let engine = self.engine();
        engine.over.notify();
        engine.journal.look_again();
        engine.allocator.changed.notify();
        engine.changing.notify();
        engine.queue.changed.notify();
        self.nodes.changed.notify();
    }

    /// The devices behind the volumes: how many, and their sectors.
    pub(crate) fn backing_sectors(&self) -> (u64, u64) {
        let backing = self.engine().backing.borrow();
        (backing.len() as u64, backing.iter().map(|disk| disk.dev.geometry().size.0).sum())
    }

    /// Makes everything durable, and ends those who keep the set going: nothing is written when this returns. No volume may be
    /// in use any more.
    pub async fn stop(&self) -> Result<(), SetError> {
        let engine = self.engine();
        let newest = engine.journal.newest();
        let durable = engine.journal.commit(self, newest).await;
        engine.is_stopped.set(true);
        self.wake_all();
        while engine.under_way.get() > 0 {
            sleep_ms(1).await;
        }
        durable
    }

    /// Waits for something of the set's own that is under way: who stops the set waits for it too.
    pub(crate) async fn counted<T>(&self, under_way: impl Future<Output = T>) -> T {
        let count = &self.engine().under_way;
        count.set(count.get() + 1);
        let outcome = under_way.await;
        count.set(count.get() - 1);
        outcome
    }

    /// What can be set of it.
    pub fn tunables(&self) -> &SetTunables {
        &self.engine().tunables
    }

    /// What it has written, and more.
    pub fn counters(&self) -> &SetCounters {
        &self.engine().counters
    }

    /// What became of requests to all of its volumes.
    pub fn totals(&self) -> &Counters {
        &self.engine().totals
    }

    /// A backing device that keys of the set speak of.
    pub(crate) fn add_backing(&self, below: Rc<BackingDisk>) {
        self.engine().backing.borrow_mut().push(below);
    }

    /// Makes durable whatever keys speak of: data in the cache, and of clean data what the backing device has (C1).
    pub(crate) async fn flush_data(&self) -> Result<(), SetError> {
        self.counted(self.flush_cache()).await?;
        let mut at = 0;
        loop {
            let below = self.engine().backing.borrow().get(at).cloned();
            let Some(below) = below else { return Ok(()) };
            // A backing device that cannot be flushed fails the flushes of its own volume; other volumes go on.
            let _failed = self.counted(below.flush()).await;
            at += 1;
        }
    }

    async fn flush_cache(&self) -> Result<(), SetError> {
        let failed = |failed| SetError::Device { what: "flush", sector: 0, failed };
        self.dev.start(Request::flush()).await.map_err(failed).inspect_err(|error| {
            if self.is_started() {
                self.fail(*error);
            }
        })
    }

    pub(crate) fn bucket_of(&self, key: &Key) -> Option<BucketNo> {
        key.pointer().map(|pointer| pointer.bucket(self.geometry.bucket_sectors))
    }

    /// What nothing refers to is free: no pointer has its generation, and what was read is durable. What the journal speaks of
    /// is not counted yet: it is kept, and returned.
    fn take_empty(&self, policy: Replacement) -> Vec<BucketNo> {
        let mut buckets = self.buckets.borrow_mut();
        let spoken_of: Vec<BucketNo> =
            self.pending.borrow().keys().iter().filter_map(|key| self.bucket_of(key)).collect();
        spoken_of.iter().for_each(|bucket| buckets.begin_write(*bucket));
        buckets.begin(kept(&self.geometry), policy);
        buckets.take_empty();
        spoken_of
    }
}

#[cfg(test)]
mod tests;
