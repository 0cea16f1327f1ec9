//! What caches and cached volumes are told while they run, and how they end.

use std::rc::Rc;

use bcache::{NotSet, SetError, Volume, examine};
use block::Failed;

use super::Stack;
use super::cache::{Backing, Cache, Cached, Now};
use crate::command::{CacheOrder, CacheTarget, CacheWish, Refusal};
use crate::switch::Switch;

impl Stack {
    pub(super) async fn manage_cache(&self, wish: CacheWish) -> Result<(), Refusal> {
        if self.facts.read_only {
            return Err(Refusal::Conflict(format!("{} is read-only; nothing is changed", self.facts.name)));
        }
        match wish.target {
            CacheTarget::Volume(name) => {
                let cached = self.cached(name.as_deref())?;
                self.tell_volume(&cached, wish.order).await
            }
            CacheTarget::Cache(name) => self.tell_cache(self.cache(name.as_deref())?, wish.order).await,
        }
    }

    async fn tell_volume(&self, cached: &Cached, order: CacheOrder) -> Result<(), Refusal> {
        let name = &cached.name;
        match order {
            CacheOrder::Attach { cache } => self.attach(cached, cache.as_deref()).await,
            CacheOrder::Detach => detach(cached).await,
            CacheOrder::Flush => has_cache(cached)?.drain().await.map_err(|failed| device(name, failed)),
            CacheOrder::Set { name: key, value } => {
                has_cache(cached)?.set_tunable(&key, &value).await.map_err(|error| not_set(name, error))
            }
            CacheOrder::ClearStats => {
                has_cache(cached)?.counters().clear();
                Ok(())
            }
            CacheOrder::GrowVolume { bytes } => self.grow_volume(cached, bytes).await,
            CacheOrder::DeleteVolume => self.delete_volume(cached).await,
            CacheOrder::Adopt { .. } | CacheOrder::CreateVolume { .. } => {
                Err(Refusal::Conflict(format!("{name} is a volume; this is done to a cache")))
            }
        }
    }

    async fn tell_cache(&self, cache: &Cache, order: CacheOrder) -> Result<(), Refusal> {
        let name = &cache.name;
        match order {
            CacheOrder::Set { name: key, value } => {
                cache.set.set_tunable(&key, &value).await.map_err(|error| not_set(name, error))
            }
            CacheOrder::ClearStats => {
                cache.set.totals().clear();
                cache.set.counters().clear();
                Ok(())
            }
            CacheOrder::Adopt { disk, sole_writer } => self.adopt(cache, disk, sole_writer).await,
            CacheOrder::CreateVolume { bytes, label } => self.create_volume(cache, bytes, label).await,
            CacheOrder::Attach { .. }
            | CacheOrder::Detach
            | CacheOrder::Flush
            | CacheOrder::GrowVolume { .. }
            | CacheOrder::DeleteVolume => {
                Err(Refusal::Conflict(format!("{name} is a cache; this is done to a volume")))
            }
        }
    }

    /// Attaches a volume that has no cache; recorded when this returns.
    async fn attach(&self, cached: &Cached, cache: Option<&str>) -> Result<(), Refusal> {
        let cache = self.cache(cache)?;
        if cached.written().is_some() {
            return Err(Refusal::Conflict(format!("{} has a cache; detach it first", cached.name)));
        }
        super::cache_new::well(cache)?;
        let (backing, switch) = exchangeable(cached)?;
        let _still = still(cached).await?;
        let attached = attached(self, cached, cache, backing).await;
        let volume = attached.map_err(|error| Refusal::Failed(format!("{}: {error}", cached.name)))?;
        switch.set(volume.device());
        cached.now.replace(Now::Written(volume, cache.set.uuid()));
        Ok(())
    }

    /// Ends caches and cached volumes: what was answered is durable, and nothing comes behind. What could not be done.
    pub(super) async fn stop_caches(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let volumes = self.cached.borrow().clone();
        for cached in &volumes {
            if let Err(failed) = cached.export.device().quiesce().await {
                problems.push(format!("{}: could not be quiesced: {failed}", cached.name));
            }
        }
        for cache in self.caches.iter().filter(|cache| cache.set.is_started()) {
            let stopped = cache.set.stop().await;
            // A set that has failed cannot be stopped; with nothing dirty nobody misses anything.
            let is_missed = cache.failure().is_none() || cache.set.status().dirty_sectors > 0;
            if let Some(error) = stopped.err().filter(|_| is_missed) {
                problems.push(format!("{}: could not be stopped: {error}", cache.name));
            }
        }
        problems
    }

    /// The volume of that name; without one, the only one.
    fn cached(&self, name: Option<&str>) -> Result<Rc<Cached>, Refusal> {
        only(&self.cached.borrow(), name, |cached| &cached.name, "volume of bcache").cloned()
    }

    /// The cache of that name; without one, the only one.
    fn cache(&self, name: Option<&str>) -> Result<&Cache, Refusal> {
        only(&self.caches, name, |cache| &cache.name, "cache")
    }
}

/// A volume through its cache, attached anew.
async fn attached(
    stack: &Stack,
    cached: &Cached,
    cache: &Cache,
    backing: &Backing,
) -> Result<Rc<Volume>, SetError> {
    let (set, arena, device) = (&cache.set, &stack.arena, &backing.device);
    let unread = |_| SetError::NotUsed;
    let examined = examine(device, arena).await.map_err(unread)?;
    let inode = Volume::attach(device, &examined, set, arena).await?;
    let examined = examine(device, arena).await.map_err(unread)?;
    Volume::start_backed(&cached.name, device.clone(), &examined, set.clone(), inode, arena).await
}

/// Detaches a volume: everything goes to its backing device while clients go on; recorded when this returns.
async fn detach(cached: &Cached) -> Result<(), Refusal> {
    let volume = has_cache(cached)?;
    exchangeable(cached)?;
    if volume.is_detaching() {
        return Err(Refusal::Conflict(format!("{} is being detached already", cached.name)));
    }
    volume.detach().await.map_err(|failed| device(&cached.name, failed))
}

/// A volume that is held still for as long as this lives.
pub(super) struct Still<'a>(&'a Cached);

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.0.export.device().resume();
    }
}

/// Waits until nothing of a volume is under way; what comes is held.
pub(super) async fn still(cached: &Cached) -> Result<Still<'_>, Refusal> {
    let quiet = cached.export.device().quiesce().await;
    let still = Still(cached);
    quiet.map(|()| still).map_err(|failed| device(&cached.name, failed))
}

pub(super) fn has_cache(cached: &Cached) -> Result<Rc<Volume>, Refusal> {
    let none = || Refusal::Conflict(format!("{} has no cache", cached.name));
    cached.written().ok_or_else(none)
}

fn exchangeable(cached: &Cached) -> Result<(&Backing, &Rc<Switch>), Refusal> {
    let found = cached.backing.as_ref().and_then(|backing| Some((backing, backing.switch.as_ref()?)));
    found.ok_or_else(|| Refusal::Conflict(format!("{} lies in its cache alone", cached.name)))
}

pub(super) fn device(name: &str, failed: Failed) -> Refusal {
    Refusal::Failed(format!("{name}: {failed}"))
}

fn not_set(name: &str, error: NotSet) -> Refusal {
    match error {
        NotSet::Tunable(error) => Refusal::Conflict(format!("{name}: {error}")),
        NotSet::Failed(failed) => device(name, failed),
    }
}

fn only<'a, T>(
    all: &'a [T],
    name: Option<&str>,
    of: impl Fn(&T) -> &str,
    what: &str,
) -> Result<&'a T, Refusal> {
    let names = || all.iter().map(&of).collect::<Vec<_>>().join(", ");
    match (name, all) {
        (_, []) => Err(Refusal::NotFound(format!("no {what} runs here"))),
        (None, [one]) => Ok(one),
        (None, _) => Err(Refusal::NotFound(format!("there is more than one {what}; say which: {}", names()))),
        (Some(name), all) => all
            .iter()
            .find(|it| of(it) == name)
            .ok_or_else(|| Refusal::NotFound(format!("no {what} {name} runs here; there are: {}", names()))),
    }
}
