//! Caches and cached volumes of a stack that is run: what becomes of each, and opening them, from below to above.

use std::rc::Rc;

use anyhow::{Context, Result, anyhow};
use bcache::{CacheSet, Examined, Options, Uncached, Volume, examine, found};
use bcache_format::superblock::{Backing, Cache as CacheFacts, Kind};
use bcache_format::uuids::Use;
use bcache_format::{CacheMode, State};
use block::Dev;
use control::{Now, Switch};

use super::backing::{CacheSays, Hindrance, Way, way};
use crate::stack::{Disk, Stack, Top, TopKind};
use crate::text::uuid;
use crate::world::World;

/// What becomes of a backing device.
pub struct Backed<'a> {
    /// It.
    pub disk: &'a Disk,
    /// What it says.
    pub backing: Backing,
    /// The cache that its set is on, if that is here.
    pub cache: Option<&'a Disk>,
    /// How it is run.
    pub way: Result<Way, Hindrance>,
}

/// What becomes of all backing devices; `without` says that they may be run without caches that are not here.
pub fn backed<'a>(stack: &'a Stack<'_>, without: bool) -> Vec<Backed<'a>> {
    let mut all = Vec::new();
    for disk in &stack.disks {
        let Kind::Backing(backing) = disk.examined.summary.kind else { continue };
        let cache = cache_of(stack, disk);
        let says = cache.map_or(CacheSays::NotHere, |cache| says(stack, cache, disk));
        all.push(Backed { disk, backing, cache, way: way(backing.state, says, without) });
    }
    all
}

fn cache_of<'a>(stack: &'a Stack<'_>, disk: &Disk) -> Option<&'a Disk> {
    let is_its = |other: &&Disk| {
        other.examined.is_cache() && other.examined.summary.set_uuid == disk.examined.summary.set_uuid
    };
    stack.disks.iter().find(is_its)
}

fn says(stack: &Stack<'_>, cache: &Disk, disk: &Disk) -> CacheSays {
    let set = stack.sets.iter().find(|set| set.name == cache.name).and_then(|set| set.set.as_ref().ok());
    let knows = set.is_some_and(|set| {
        set.uuids().iter().any(|entry| entry.usage() == Use::Backing(disk.examined.summary.uuid))
    });
    if knows { CacheSays::Known } else { CacheSays::Unknown }
}

impl Backed<'_> {
    /// Why it is not run, in words.
    pub fn refusal(&self) -> Option<String> {
        let set = uuid(&self.disk.examined.summary.set_uuid);
        let name = &self.disk.name;
        match (self.way, self.cache) {
            (Ok(_), _) => None,
            (Err(Hindrance::Missing), _) if self.backing.state == State::Dirty => Some(format!(
                "{name}: its cache, of set {set}, is not here, and has data that is nowhere else; name it as well, or read \
                 what is here (ashlar cat --accept-stale)"
            )),
            (Err(Hindrance::Missing), _) => Some(format!(
                "{name}: its cache, of set {set}, is not here, and would be out of date afterwards; name it as well, or \
                 have it forget what it has (--without-cache)"
            )),
            (Err(Hindrance::Unknown), cache) => Some(format!(
                "{name}: its cache {} does not know it, and it says that data of it is nowhere else",
                cache.map_or("", |cache| &cache.name)
            )),
        }
    }
}

/// A cache that is open.
pub struct OpenCache {
    /// The disk or the array that it is.
    pub name: String,
    /// The device.
    pub device: Dev,
    /// The set on it.
    pub set: Rc<CacheSet>,
}

/// A volume that is open.
pub struct OpenVolume {
    /// Its name, unique in the stack.
    pub name: String,
    /// The uuid of the backing device, or of a volume that lies in the cache alone.
    pub uuid: [u8; 16],
    /// The disk or the array that backs it.
    pub backing: Option<control::Backing>,
    /// What it is.
    pub now: Now,
    /// What serves it.
    pub device: Dev,
}

/// Opens everything for reading: as it was looked at.
pub fn to_read(stack: &Stack<'_>) -> Result<(Vec<OpenCache>, Vec<OpenVolume>)> {
    let mut caches = Vec::new();
    for disk in stack.disks.iter().filter(|disk| disk.examined.is_cache()) {
        let set = stack.sets.iter().find(|set| set.name == disk.name);
        if let Some(set) = set.and_then(|set| set.set.as_ref().ok()) {
            caches.push(OpenCache { name: disk.name.clone(), device: disk.device.clone(), set: set.clone() });
        }
    }
    let mut volumes = Vec::new();
    for (name, cached) in cached(stack) {
        let device = cached.device.clone().map_err(|why| anyhow!(why))?;
        let disk = cached.backing.as_ref().and_then(|name| stack.disks.iter().find(|it| it.name == *name));
        let backing = disk.map(|disk| control::Backing {
            name: disk.name.clone(),
            device: disk.device.clone(),
            switch: None,
        });
        let now = match disk {
            Some(disk) => found_of(&disk.examined),
            None => Now::Found { mode: CacheMode::Writeback, state: State::Dirty, set_uuid: None },
        };
        volumes.push(OpenVolume { name: name.to_owned(), uuid: cached.uuid, backing, now, device });
    }
    Ok((caches, volumes))
}

/// Opens everything for writing. `device` says what stands for a disk.
pub async fn to_write(
    world: &World,
    stack: &Stack<'_>,
    without: bool,
    device: impl Fn(&Disk) -> Dev,
) -> Result<(Vec<OpenCache>, Vec<OpenVolume>)> {
    let mut caches = Vec::new();
    for disk in stack.disks.iter().filter(|disk| disk.examined.is_cache()) {
        let device = device(disk);
        let set = start(world, &device).await.with_context(|| disk.name.clone())?;
        caches.push(OpenCache { name: disk.name.clone(), device, set });
    }
    let mut volumes = Vec::new();
    // Higher than a volume on any of them.
    let height = stack.disks.iter().map(|disk| device(disk).height()).max().unwrap_or(0) + 2;
    for backed in backed(stack, without) {
        let set = backed.cache.and_then(|cache| caches.iter().find(|open| open.name == cache.name));
        let (name, device) = (name_of(stack, &backed.disk.examined), device(backed.disk));
        let opened = open_backed(world, &backed, &name, device, set, height).await;
        volumes.push(opened.with_context(|| backed.disk.name.clone())?);
    }
    for cache in &caches {
        volumes.extend(open_flash(stack, cache));
    }
    Ok((caches, volumes))
}

/// The set on a cache, started; a cache that was never used gets one.
async fn start(world: &World, device: &Dev) -> Result<Rc<CacheSet>> {
    let mut examined = examine(device, &world.arena).await?;
    if let Kind::Cache(CacheFacts { is_used: false, .. }) = examined.summary.kind {
        found(device, &examined, &world.arena, None).await?;
        examined = examine(device, &world.arena).await?;
    }
    let Kind::Cache(facts) = examined.summary.kind else { return Err(anyhow!("is no cache any more")) };
    let set = CacheSet::open(device.clone(), &examined, &world.arena, Options::default()).await?;
    let set = Rc::new(set);
    set.start(facts.replacement).await?;
    set.note_use().await?; // an undo of a run before this one has to see that
    Ok(set)
}

async fn open_backed(
    world: &World,
    backed: &Backed<'_>,
    name: &str,
    device: Dev,
    cache: Option<&OpenCache>,
    height: u8,
) -> Result<OpenVolume> {
    let mut examined = examine(&device, &world.arena).await?;
    let own = examined.summary.uuid;
    let (first, now) = match (backed.way, cache) {
        (Ok(Way::Plain | Way::Without), _) | (_, None) => {
            if backed.way == Ok(Way::Without) {
                Volume::run_without_cache(&device, &examined, &world.arena).await?;
                examined = examine(&device, &world.arena).await?;
            }
            let block_sectors = examined.summary.block_sectors;
            let plain = Uncached::device(name, device.clone(), &backed.backing, block_sectors);
            (plain, found_of(&examined))
        }
        (way, Some(cache)) => {
            let set = cache.set.clone();
            let known = set.inode_of(&own).filter(|_| way == Ok(Way::Cached));
            let inode = match known {
                Some(inode) => inode,
                None => Volume::attach(&device, &examined, &set, &world.arena).await?,
            };
            if known.is_none() {
                examined = examine(&device, &world.arena).await?;
            }
            let uuid = set.uuid();
            let volume =
                Volume::start_backed(name, device.clone(), &examined, set, inode, &world.arena).await?;
            (volume.device(), Now::Written(volume, uuid))
        }
    };
    let switch = Switch::new(name, first, height);
    let served = switch.device();
    let backing = control::Backing { name: backed.disk.name.clone(), device, switch: Some(switch) };
    Ok(OpenVolume { name: name.to_owned(), uuid: own, backing: Some(backing), now, device: served })
}

/// Volumes that lie in a cache alone.
fn open_flash(stack: &Stack<'_>, cache: &OpenCache) -> Vec<OpenVolume> {
    let entries = cache.set.uuids().into_iter().enumerate();
    let flash = entries.filter_map(|(inode, entry)| match entry.usage() {
        Use::FlashOnly(sectors) => Some((inode as u32, entry.uuid, sectors)),
        _ => None,
    });
    let open = flash.map(|(inode, own, sectors)| {
        let name = cached(stack)
            .find(|(_, cached)| cached.uuid == own)
            .map_or_else(|| uuid(&own), |it| it.0.to_owned());
        let volume = Volume::start_flash(&name, cache.set.clone(), inode, sectors);
        OpenVolume {
            device: volume.device(),
            name,
            uuid: own,
            backing: None,
            now: Now::Written(volume, cache.set.uuid()),
        }
    });
    open.collect()
}

/// Volumes of bcache with their names.
fn cached<'a>(stack: &'a Stack<'_>) -> impl Iterator<Item = (&'a str, &'a crate::stack::Cached)> {
    stack.tops.iter().filter_map(|Top { name, kind }| match kind {
        TopKind::Cached(cached) => Some((name.as_str(), cached)),
        TopKind::Array(_) => None,
    })
}

fn name_of(stack: &Stack<'_>, examined: &Examined) -> String {
    let own = examined.summary.uuid;
    cached(stack)
        .find(|(_, cached)| cached.uuid == own)
        .map_or_else(|| uuid(&own), |(name, _)| name.to_owned())
}

fn found_of(examined: &Examined) -> Now {
    let set_uuid = Some(examined.summary.set_uuid);
    match examined.summary.kind {
        Kind::Backing(Backing { mode, state, .. }) => Now::Found { mode, state, set_uuid },
        Kind::Cache(_) => Now::Found { mode: CacheMode::None, state: State::Detached, set_uuid },
    }
}
