//! What becomes of a volume when its cache fails, as the kernel's `stop_when_cache_set_failed` has it.
//!
//! A volume of which the cache alone has something stops: nothing is written to it any more, so that what is dirty is the newest
//! when the set is run again. One that has nothing dirty goes on without its cache: its backing device says durably that it
//! belongs to no set before the first write goes past the cache, so nobody ever takes what the cache has for its data again.
//! Requests that fail because the set did wait until that is decided, and are then carried out again.

use std::rc::Rc;

use bcache_format::State;
use block::Failed;
use runtime::spawn;
use runtime::waits::doing;

use super::Volume;
use super::write::Stage;
use crate::error::SetError;
use crate::plant::{self, Plant};
use crate::waits;

/// What was decided about a volume whose cache has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It goes on without.
    Uncached,
    /// It does not go on.
    Stopped,
}

/// How a volume stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing has failed.
    Well,
    /// Its cache has failed, and it goes on without.
    Uncached(SetError),
    /// Its cache has failed, and nothing is written any more.
    Stopped(SetError),
    /// Its backing device has failed, and nothing is written any more.
    BackingFailed(Failed),
}

/// Whether a volume whose cache has failed goes on without.
fn goes_on(stops_always: bool, is_dirty: bool, is_backed: bool) -> bool {
    is_backed && !is_dirty && !stops_always
}

/// Starts the one who decides when the set fails. Whoever stops the set waits for it.
pub(super) fn start(volume: &Rc<Volume>) {
    let volume = volume.clone();
    let set = volume.set().clone();
    let task = async move { volume.outlive().await };
    let _running = spawn(async move { set.counted(task).await });
}

impl Volume {
    /// Waits until the set fails, and decides what becomes of the volume.
    async fn outlive(&self) {
        let _doing = doing(waits::DECIDER);
        let (set, writer) = (self.set(), self.writer());
        set.engine().over.wait_until(|| set.is_over()).await;
        if set.failure().is_none() || !self.is_cached() {
            return;
        }
        // What is under way ends first: it may make something dirty.
        let _under_way = writer.locks.lock(self.whole()).await;
        if !self.is_cached() {
            return;
        }
        let stops_always = writer.tunables.stop_when_cache_set_failed.get() == 1;
        let fate = match goes_on(stops_always, self.dirty_sectors() > 0, self.is_backed()) {
            true => self.leave_failed_set().await,
            false => Fate::Stopped,
        };
        writer.fate.set(Some(fate));
        writer.decided.notify();
    }

    /// Has the backing device say that it belongs to no set.
    async fn leave_failed_set(&self) -> Fate {
        let writer = self.writer();
        let state = writer.state.as_ref().expect("it is backed");
        let recorded = match plant::is(Plant::UncachedBeforeRecorded) {
            true => Ok(()),
            false => state.set_owner(State::Detached, [0; 16]).await,
        };
        if recorded.is_err() {
            return Fate::Stopped;
        }
        writer.stage.set(Stage::Detached);
        Fate::Uncached
    }

    /// Whether a request that has failed can be carried out again, without the cache: if that has failed, and the volume goes
    /// on.
    pub(super) async fn outlives(&self) -> bool {
        let (set, writer) = (self.set(), self.writer());
        if set.failure().is_none() {
            return false;
        }
        // It may also have been detached while the set failed.
        let is_detached = || writer.stage.get() == Stage::Detached;
        writer.decided.wait_for(waits::FATE, || writer.fate.get().is_some() || is_detached()).await;
        is_detached()
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        if let Some(failed) = self.disk().and_then(|disk| disk.failure()) {
            return Standing::BackingFailed(failed);
        }
        let fate = self.writer.as_ref().and_then(|writer| writer.fate.get());
        match (fate, self.set.as_ref().filter(|set| set.is_started()).and_then(|set| set.failure())) {
            (Some(Fate::Uncached), Some(error)) => Standing::Uncached(error),
            (Some(Fate::Stopped), Some(error)) => Standing::Stopped(error),
            _ => Standing::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::goes_on;

    #[test]
    fn only_what_has_nothing_in_its_cache_alone_goes_on_and_only_if_it_may() {
        assert!(goes_on(false, false, true));
        for (stops_always, is_dirty, is_backed) in
            [(true, false, true), (false, true, true), (true, true, true), (false, false, false)]
        {
            assert!(!goes_on(stops_always, is_dirty, is_backed));
        }
    }
}
