//! Caches and cached volumes as documents.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bcache::counters::{Counters, Span};
use bcache::policy::bypass::Bypass;
use bcache::tunables::Tunable;
use bcache::{CacheSet, SetError, Standing, Volume};
use bcache_format::{CacheMode, State};
use block::{Dev, SECTOR};
use export::Export;

use super::{export_status, io_status};
use crate::document::{BucketStatus, CacheStatus, CachedStatus, CountsStatus, SpanStatus, WritebackStatus};
use crate::switch::Switch;

/// A cache of a stack.
pub struct Cache {
    /// The disk or the array that it is.
    pub name: String,
    /// The uuid of its set, as people write it.
    pub set_uuid: String,
    /// The set on it.
    pub set: Rc<CacheSet>,
    /// The device that it is.
    pub device: Dev,
    /// That it has failed was told.
    pub told: Cell<bool>,
}

/// A volume of bcache.
pub struct Cached {
    /// Its name.
    pub name: String,
    /// The uuid of the backing device, or of a volume that lies in the cache alone.
    pub uuid: String,
    /// The disk or the array that backs it; none for a volume that lies in the cache alone.
    pub backing: Option<Backing>,
    /// What it is now.
    pub now: RefCell<Now>,
    /// What serves it.
    pub export: Rc<Export>,
    /// How it stood when that was told last.
    pub told: Cell<Standing>,
}

/// A backing device.
pub struct Backing {
    /// The disk or the array that it is.
    pub name: String,
    /// The device.
    pub device: Dev,
    /// What leads to the volume, if that can be exchanged.
    pub switch: Option<Rc<Switch>>,
}

/// What a volume is at a moment.
#[derive(Clone)]
pub enum Now {
    /// It is written, and cached by the set of that uuid for as long as it is not detached.
    Written(Rc<Volume>, [u8; 16]),
    /// It has no cache, or is only read: what was found, and the set that it belongs to, if any.
    Found {
        /// How it is to be cached.
        mode: CacheMode,
        /// What the superblock says.
        state: State,
        /// The set.
        set_uuid: Option<[u8; 16]>,
    },
}

impl Cache {
    /// Why nothing can be cached any more, if so.
    pub(super) fn failure(&self) -> Option<SetError> {
        self.set.is_started().then(|| self.set.failure()).flatten()
    }

    pub(super) fn status(&self) -> CacheStatus {
        let (name, set_uuid) = (self.name.clone(), self.set_uuid.clone());
        let io = io_status(self.device.counters());
        if !self.set.is_started() {
            return CacheStatus { name, set_uuid, io, ..CacheStatus::default() };
        }
        let (status, counters) = (self.set.status(), self.set.counters());
        CacheStatus {
            name,
            set_uuid,
            broken_by: status.failure.map(|error| error.to_string()),
            bucket_bytes: status.bucket_sectors * SECTOR,
            block_bytes: status.block_sectors * SECTOR,
            buckets: BucketStatus {
                all: status.buckets,
                dirty: status.dirty_buckets,
                metadata: status.buckets_in_use - status.dirty_buckets,
                free: status.free_buckets,
            },
            dirty_bytes: status.dirty_sectors * SECTOR,
            tree_depth: status.levels - 1,
            written_bytes: counters.written(),
            btree_written_bytes: counters.btree_written(),
            metadata_written_bytes: counters.metadata_written(),
            io_errors: status.io_errors,
            cache_read_races: counters.cache_read_races.get(),
            counts: counts(self.set.totals()),
            tunables: settings(self.set.tunables().values()),
            io,
        }
    }
}

impl Cached {
    pub(super) fn status(&self, caches: &[Cache]) -> CachedStatus {
        let (mode, state, set_uuid) = self.marks();
        let cache = caches.iter().find(|cache| Some(cache.set.uuid()) == set_uuid);
        let none = CachedStatus {
            name: self.name.clone(),
            uuid: self.uuid.clone(),
            bytes: self.export.device().geometry().size.bytes(),
            backing: self.backing.as_ref().map(|backing| backing.name.clone()),
            cache: cache.map(|cache| cache.name.clone()),
            mode: mode.name().to_owned(),
            state: state.name().to_owned(),
            export: export_status(&self.export),
            io: io_status(self.export.device().counters()),
            broken_by: self.broken_by(),
            uncached_by: match self.standing() {
                Standing::Uncached(error) => Some(error.to_string()),
                _ => None,
            },
            backing_errors: self.volume().map_or(0, |volume| volume.backing_errors()),
            ..CachedStatus::default()
        };
        let Some(volume) = self.written() else { return none };
        let counters = volume.counters();
        let bypassed =
            Bypass::ALL.into_iter().map(|why| (why.name().to_owned(), counters.bypassed_bytes(why)));
        CachedStatus {
            detaching: volume.is_detaching(),
            dirty_bytes: volume.dirty_sectors() * SECTOR,
            writeback: Some(writeback(&volume)),
            counts: counts(counters),
            bypassed_bytes: bypassed.filter(|(_, bytes)| *bytes > 0).collect(),
            tunables: settings(volume.tunables().values()),
            ..none
        }
    }

    /// How it is cached, what the superblock says, and the set that has it.
    fn marks(&self) -> (CacheMode, State, Option<[u8; 16]>) {
        match &*self.now.borrow() {
            Now::Written(volume, set) => {
                // A volume that lies in the cache alone is nowhere else.
                let state = volume.state().unwrap_or(State::Dirty);
                (volume.tunables().mode(), state, Some(*set).filter(|_| volume.is_cached()))
            }
            Now::Found { mode, state, set_uuid } => (*mode, *state, *set_uuid),
        }
    }

    /// Whether something of it has failed.
    pub(super) fn standing(&self) -> Standing {
        self.volume().map_or(Standing::Well, |volume| volume.standing())
    }

    /// Why nothing is written to it any more, if so.
    fn broken_by(&self) -> Option<String> {
        let backing = self.backing.as_ref().map_or("its backing device", |backing| &backing.name);
        match self.standing() {
            Standing::Well | Standing::Uncached(_) => None,
            Standing::Stopped(error) => Some(format!("its cache has failed: {error}")),
            Standing::BackingFailed(failed) => Some(format!("{backing} has failed: {failed}")),
        }
    }

    /// The volume, if it is written, and has a cache.
    pub(super) fn written(&self) -> Option<Rc<Volume>> {
        self.volume().filter(|volume| volume.is_cached())
    }

    /// The volume, if it is written through an engine of bcache.
    fn volume(&self) -> Option<Rc<Volume>> {
        match &*self.now.borrow() {
            Now::Written(volume, _) => Some(volume.clone()),
            Now::Found { .. } => None,
        }
    }
}

fn counts(counters: &Counters) -> CountsStatus {
    counters.advance(runtime::now());
    let of = |span| {
        let counts = counters.read(span);
        SpanStatus {
            cache_hits: counts.hits,
            cache_misses: counts.misses,
            cache_bypass_hits: counts.bypass_hits,
            cache_bypass_misses: counts.bypass_misses,
            cache_hit_ratio: counts.hit_ratio_percent(),
            cache_miss_collisions: counts.miss_collisions,
            bypassed: counts.bypassed_bytes,
        }
    };
    CountsStatus {
        total: of(Span::Total),
        day: of(Span::Day),
        hour: of(Span::Hour),
        five_minute: of(Span::FiveMinutes),
    }
}

fn settings(values: impl Iterator<Item = (&'static Tunable, u64)>) -> BTreeMap<String, String> {
    values.map(|(tunable, value)| (tunable.name.to_owned(), tunable.kind.show(value))).collect()
}

fn writeback(volume: &Volume) -> WritebackStatus {
    let rate = volume.rate();
    WritebackStatus {
        rate: rate.rate.saturating_mul(SECTOR),
        target_bytes: rate.target.saturating_mul(SECTOR),
        proportional: rate.proportional.saturating_mul(SECTOR as i64),
        integral: rate.integral.saturating_mul(SECTOR as i64),
    }
}
