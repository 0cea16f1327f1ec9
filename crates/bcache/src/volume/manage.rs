//! What is done to a volume by request: written back, detached, given another mode or name.

use bcache_format::{CacheMode, Label, State};
use block::{Cause, Failed, Outcome};

use super::write::{Stage, Writer};
use super::{Volume, failed};
use crate::counters::Counters;
use crate::limits::MOST_STUMBLES;
use crate::tunables::{TunableError, VolumeTunables};
use crate::writeback::rate::Rate;

/// Why something that was set is not so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotSet {
    /// It cannot be.
    Tunable(TunableError),
    /// The superblock did not take it.
    Failed(Failed),
}

impl Volume {
    /// What only volumes have that are written.
    pub(crate) fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("the volume is written")
    }

    /// Whether it is cached still.
    pub fn is_cached(&self) -> bool {
        matches!(self.writer().stage.get(), Stage::Attached | Stage::Detaching)
    }

    /// Whether it will not be, as soon as nothing is dirty any more.
    pub fn is_detaching(&self) -> bool {
        self.writer().stage.get() == Stage::Detaching
    }

    /// Whether dirty data is written back now.
    pub(crate) fn writes_back(&self) -> bool {
        let is_well = self.disk().is_some_and(|disk| disk.well().is_ok());
        is_well && (self.is_drained_for() || self.writer().tunables.writeback_running.get() == 1)
    }

    /// Whether something of it is dirty, and is made clean without anybody's doing.
    pub(crate) fn becomes_clean(&self) -> bool {
        let stumbles = self.writer().stumbles.get();
        self.is_cached() && self.dirty_sectors() > 0 && self.writes_back() && stumbles < MOST_STUMBLES
    }

    /// Whether somebody waits until nothing is dirty.
    pub(crate) fn is_drained_for(&self) -> bool {
        let writer = self.writer();
        writer.drains.get() > 0 || writer.stage.get() == Stage::Detaching
    }

    /// Writes everything back, and has the backing device say that nothing is dirty. What is written meanwhile may be dirty
    /// again.
    pub async fn drain(&self) -> Outcome {
        let writer = self.writer();
        writer.drains.set(writer.drains.get() + 1);
        let drained = self.wait_clean().await;
        writer.drains.set(writer.drains.get() - 1);
        drained
    }

    async fn wait_clean(&self) -> Outcome {
        let set = self.set();
        loop {
            if let Some(error) = set.failure() {
                return Err(failed(error));
            }
            self.disk().map_or(Ok(()), |disk| disk.well())?;
            if self.is_clean() {
                return Ok(());
            }
            runtime::sleep_ms(DRAIN_LOOK_MS).await;
        }
    }

    /// Whether nothing is dirty, and the backing device says so.
    fn is_clean(&self) -> bool {
        let says_dirty = self.writer().state.as_ref().is_some_and(|state| state.get() == State::Dirty);
        self.dirty_sectors() == 0 && !says_dirty
    }

    /// Writes everything back, and takes the backing device out of the set: it is used without a cache from then on.
    pub async fn detach(&self) -> Outcome {
        let (set, writer) = (self.set(), self.writer());
        let Some(state) = &writer.state else { return Err(Failed::new(Cause::Unsupported)) };
        if writer.stage.get() != Stage::Attached {
            return Err(Failed::new(Cause::Refused));
        }
        writer.stage.set(Stage::Detaching);
        // What was under way when it became clean may have made something dirty again: it ends first.
        let _under_way = loop {
            let drained = self.wait_clean().await;
            if drained.is_err() {
                if writer.stage.get() == Stage::Detaching {
                    writer.stage.set(Stage::Attached);
                }
                return drained;
            }
            let under_way = writer.locks.lock(self.whole()).await;
            if self.is_clean() {
                break under_way;
            }
        };
        // Nothing is written past the cache before its backing device says so; what comes then knows nothing of the cache.
        if let Err(failed) = state.set_owner(State::Detached, [0; 16]).await {
            writer.stage.set(Stage::Attached);
            return Err(failed);
        }
        writer.stage.set(Stage::Detached);
        writer.decided.notify(); // should the set have failed meanwhile
        set.engine().fills.overwrite_all(self.inode);
        set.leave(self.inode).await.map_err(failed)
    }

    /// Sets what has that name to what was typed. A mode is kept in the superblock.
    pub async fn set_tunable(&self, name: &str, text: &str) -> Result<(), NotSet> {
        let writer = self.writer();
        let mode = writer.tunables.mode();
        writer.tunables.set(name, text).map_err(NotSet::Tunable)?;
        match (&writer.state, writer.tunables.mode()) {
            (Some(state), new) if new != mode => state.set_mode(new).await.map_err(NotSet::Failed),
            _ => Ok(()),
        }
    }

    /// Caches it in that way from now on.
    pub async fn set_mode(&self, mode: CacheMode) -> Result<(), NotSet> {
        self.set_tunable("cache_mode", mode.name()).await
    }

    /// Says what people call it.
    pub async fn set_label(&self, label: Label) -> Outcome {
        if let Some(state) = &self.writer().state {
            state.set_label(label).await?;
        }
        self.set().set_label(self.inode, label).await.map_err(failed)
    }

    /// What can be set of it.
    pub fn tunables(&self) -> &VolumeTunables {
        &self.writer().tunables
    }

    /// What became of requests to it.
    pub fn counters(&self) -> &Counters {
        &self.writer().counters
    }

    /// How fast it is written back.
    pub fn rate(&self) -> Rate {
        *self.writer().rate.borrow()
    }

    /// Errors of its backing device.
    pub fn backing_errors(&self) -> u64 {
        self.disk().map_or(0, |disk| disk.errors())
    }

    /// Its inode in the set.
    pub fn inode(&self) -> u32 {
        self.inode
    }
}

/// How often it is looked whether everything was written back.
const DRAIN_LOOK_MS: u64 = 20;
