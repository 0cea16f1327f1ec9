//! The volumes that a pile makes, worked out from below to above: arrays of the members; caches and backing devices that are
//! members or arrays; what is cached. Everything is opened for reading, and nothing is written.

use std::rc::Rc;

use anyhow::{Result, anyhow};
use bcache::{CacheSet, Examined, Options};
use bcache_format::State;
use bcache_format::superblock::{Backing, Kind};
use bcache_format::uuids::Use;
use block::Dev;
use md::Array;

use crate::cli::Lenience;
use crate::pile::{Pile, Stranger, Volume, Wish, distinct};
use crate::text::{escape, uuid};
use crate::volumes::open_to_read;
use crate::world::World;

/// What a pile makes.
pub struct Stack<'a> {
    /// The members, and the arrays that they make.
    pub pile: &'a Pile,
    /// Caches and backing devices.
    pub disks: Vec<Disk>,
    /// Sets of caches, opened or not.
    pub sets: Vec<Set>,
    /// What can be read: the volumes that nothing else lies on.
    pub tops: Vec<Top<'a>>,
}

/// A cache and the set on it.
pub struct Set {
    /// The disk or the array.
    pub name: String,
    /// What it says.
    pub examined: Examined,
    /// The set, or why it cannot be opened.
    pub set: Result<Rc<CacheSet>, String>,
}

/// A volume.
pub struct Top<'a> {
    /// Its name, unique in the stack, in printable form.
    pub name: String,
    /// What it is.
    pub kind: TopKind<'a>,
}

/// What a volume is.
pub enum TopKind<'a> {
    /// An array.
    Array(&'a Volume),
    /// A volume of bcache.
    Cached(Cached),
}

/// A volume of bcache.
pub struct Cached {
    /// The uuid of the backing device, or of a volume that lies in the cache alone.
    pub uuid: [u8; 16],
    /// The label, if there is one.
    pub label: Option<String>,
    /// The disk or the array that backs it, if any does.
    pub backing: Option<String>,
    /// What is worth knowing before its content is believed.
    pub warnings: Vec<String>,
    /// The volume, or why it cannot be read.
    pub device: Result<Dev, String>,
}

/// A disk or an array that bcache uses.
pub struct Disk {
    /// As it was typed, or the array's name.
    pub name: String,
    /// Which of the pile's arrays it is, if it is one.
    pub array: Option<usize>,
    /// It itself.
    pub device: Dev,
    /// What it says.
    pub examined: Examined,
}

impl<'a> Stack<'a> {
    /// Works out what a pile makes.
    pub async fn read(world: &World, pile: &'a Pile, lenience: &Lenience) -> Stack<'a> {
        let (disks, arrays) = self::disks(world, pile, lenience).await;
        let sets = open_sets(world, disks.iter().filter(|disk| disk.examined.is_cache())).await;
        let cached = cached(&sets, &disks, lenience);
        Stack { pile, disks, sets, tops: tops(arrays, cached) }
    }

    /// The arrays of a pile, whatever lies on them.
    pub fn of_arrays(pile: &'a Pile) -> Stack<'a> {
        Stack {
            pile,
            disks: Vec::new(),
            sets: Vec::new(),
            tops: tops(pile.volumes.iter().collect(), Vec::new()),
        }
    }

    /// Members that nothing is made of.
    pub fn strangers(&self) -> impl Iterator<Item = &Stranger> {
        self.pile.strangers.iter().filter(is_stranger)
    }

    /// The volume of that name; without a name, the only one.
    pub fn choose(&self, name: Option<&str>) -> Result<&Top<'a>> {
        let names = || self.tops.iter().map(|top| top.name.as_str()).collect::<Vec<_>>().join(", ");
        match (name, &self.tops[..]) {
            (_, []) => {
                let strangers = self.strangers().map(Stranger::to_string);
                let caches = self.sets.iter().map(|set| match &set.set {
                    Ok(_) => format!("{}: a cache, and no volume of it is here", set.name),
                    Err(why) => format!("{}: {why}", set.name),
                });
                let lines: Vec<String> = strangers.chain(caches).collect();
                Err(anyhow!(
                    "nothing to open: no member of a volume among what was named\n  {}",
                    lines.join("\n  ")
                ))
            }
            (Some(name), tops) => tops
                .iter()
                .find(|top| top.name == name)
                .ok_or_else(|| anyhow!("no volume {name:?}; the members make: {}", names())),
            (None, [top]) => Ok(top),
            (None, tops) => {
                let count = tops.len();
                Err(anyhow!("the members make {count} volumes; choose one with --volume: {}", names()))
            }
        }
    }
}

impl Top<'_> {
    /// What is worth knowing about it before its content is believed.
    pub fn warnings(&self, pile: &Pile) -> Vec<String> {
        match &self.kind {
            TopKind::Array(volume) => pile.warnings(volume),
            TopKind::Cached(cached) => cached.warnings.clone(),
        }
    }

    /// Opens it for reading. What became known of it meanwhile is worth knowing too.
    pub async fn open(&self, pile: &Pile, lenience: &Lenience) -> Result<(Dev, Vec<String>)> {
        match &self.kind {
            TopKind::Array(volume) => {
                let array = open_to_read(pile, volume, lenience)?;
                array.replayed().await;
                let failure = array.journal().and_then(|journal| journal.failure);
                let warning = failure.map(|failed| {
                    format!(
                        "its write journal cannot be read ({failed}): this is what the members hold, and what was last \
                         written may be missing"
                    )
                });
                Ok((array.device(), warning.into_iter().collect()))
            }
            TopKind::Cached(cached) => {
                let refused = |why: String| anyhow!("volume {} cannot be opened:\n  {why}", self.name);
                Ok((cached.device.clone().map_err(refused)?, Vec::new()))
            }
        }
    }
}

/// The disks and arrays that bcache uses, and the arrays that it does not use.
pub async fn disks<'a>(world: &World, pile: &'a Pile, lenience: &Lenience) -> (Vec<Disk>, Vec<&'a Volume>) {
    let (mut disks, mut arrays) = (Vec::new(), Vec::new());
    for stranger in &pile.strangers {
        if let Some(Ok(examined)) = &stranger.bcache {
            let (name, device) = (stranger.name.clone(), stranger.device.clone());
            disks.push(Disk { name, array: None, device, examined: examined.clone() });
        }
    }
    for (at, volume) in pile.volumes.iter().enumerate() {
        let array = open_to_read(pile, volume, lenience).ok();
        match examined(world, array).await {
            Some((device, examined)) => {
                disks.push(Disk { name: format!("array {}", volume.name), array: Some(at), device, examined })
            }
            None => arrays.push(volume),
        }
    }
    (disks, arrays)
}

/// Whether a disk that is no md member is none of bcache's either.
pub fn is_stranger(stranger: &&Stranger) -> bool {
    !matches!(stranger.bcache, Some(Ok(_)))
}

async fn examined(world: &World, array: Option<Rc<Array>>) -> Option<(Dev, Examined)> {
    let device = array?.device();
    let examined = bcache::examine(&device, &world.arena).await.ok()?;
    Some((device, examined))
}

async fn open_sets(world: &World, caches: impl Iterator<Item = &Disk>) -> Vec<Set> {
    let mut sets: Vec<Set> = Vec::new();
    for Disk { name, device, examined, .. } in caches {
        let twin = sets.iter().find(|other| other.examined.summary.set_uuid == examined.summary.set_uuid);
        let set = match twin {
            Some(twin) => Err(format!("it has the same set as {}; name only one of them", twin.name)),
            None => CacheSet::open(device.clone(), examined, &world.arena, Options::default())
                .await
                .map(Rc::new)
                .map_err(|error| error.to_string()),
        };
        sets.push(Set { name: name.clone(), examined: examined.clone(), set });
    }
    sets
}

/// The volumes of all backing devices and of all sets.
fn cached(sets: &[Set], disks: &[Disk], lenience: &Lenience) -> Vec<Cached> {
    let mut cached: Vec<Cached> = Vec::new();
    for disk in disks {
        let Kind::Backing(backing) = disk.examined.summary.kind else { continue };
        let is_known = cached.iter().any(|other| other.uuid == disk.examined.summary.uuid);
        cached.push(match is_known {
            true => refused(disk, "another one of the same uuid was named before it".to_owned()),
            false => backed(sets, disk, &backing, lenience),
        });
    }
    for set in sets.iter().filter_map(|set| set.set.as_ref().ok()) {
        for (inode, entry) in set.uuids().iter().enumerate() {
            if let Use::FlashOnly(sectors) = entry.usage() {
                let label = label(&entry.label());
                let name = label.clone().unwrap_or_else(|| uuid(&entry.uuid));
                let device = Ok(bcache::Volume::of_flash(&name, set.clone(), inode as u32, sectors));
                cached.push(Cached { uuid: entry.uuid, label, backing: None, warnings: Vec::new(), device });
            }
        }
    }
    cached
}

fn refused(disk: &Disk, why: String) -> Cached {
    Cached {
        uuid: disk.examined.summary.uuid,
        label: label(&disk.examined.summary.label),
        backing: Some(disk.name.clone()),
        warnings: Vec::new(),
        device: Err(format!("{}: {why}", disk.name)),
    }
}

/// The volume of a backing device: through its cache where that has or may have something of it.
fn backed(sets: &[Set], disk: &Disk, backing: &Backing, lenience: &Lenience) -> Cached {
    let summary = &disk.examined.summary;
    let (through, warning) = match (backing.state, cache_of(sets, disk)) {
        (State::Detached, _) => (None, None),
        (State::Stale, _) => {
            (None, Some("it was used without its cache before; what that had is not in it".to_owned()))
        }
        (_, Ok(cache)) => (Some(cache), None),
        (State::Clean, Err(why)) => (None, Some(format!("{why}; the cache had nothing that is not in it"))),
        (State::Dirty, Err(why)) if lenience.accept_stale => (
            None,
            Some(format!("{why}, and it had data that is not in it: what was written last is missing")),
        ),
        (State::Dirty, Err(why)) => {
            let why =
                format!("{why}, and it has data that is nowhere else (--accept-stale reads without it)");
            return refused(disk, why);
        }
    };
    let device =
        bcache::Volume::of_backing(&disk.name, disk.device.clone(), backing, summary.block_sectors, through);
    let warnings = warning.map(|warning| format!("{}: {warning}", disk.name)).into_iter().collect();
    Cached { warnings, device: Ok(device), ..refused(disk, String::new()) }
}

/// The set of a backing device and its inode there, or what stands in the way.
fn cache_of(sets: &[Set], disk: &Disk) -> Result<(Rc<CacheSet>, u32), String> {
    let summary = &disk.examined.summary;
    let set = sets.iter().find(|set| set.examined.summary.set_uuid == summary.set_uuid);
    let set = set.ok_or_else(|| format!("its cache, of set {}, is not here", uuid(&summary.set_uuid)))?;
    let open = set.set.as_ref().map_err(|why| format!("its cache {} cannot be opened: {why}", set.name))?;
    let is_own = |entry: &bcache_format::uuids::UuidEntry| entry.usage() == Use::Backing(summary.uuid);
    let inode = open.uuids().iter().position(is_own);
    let inode = inode.ok_or_else(|| format!("its cache {} does not know it", set.name))?;
    Ok((open.clone(), inode as u32))
}

fn label(label: &bcache_format::Label) -> Option<String> {
    (!label.bytes().is_empty()).then(|| escape(label.bytes()))
}

/// Names for all of them.
fn tops<'a>(arrays: Vec<&'a Volume>, cached: Vec<Cached>) -> Vec<Top<'a>> {
    let of_arrays = arrays.iter().map(|volume| {
        let version = volume.set.key.version.to_string();
        Wish { name: volume.name.clone(), suffixes: [version, "array".to_owned()] }
    });
    let of_cached = cached.iter().map(|cached| {
        let own = uuid(&cached.uuid);
        let suffixes = [own[..8].to_owned(), "cached".to_owned()];
        Wish { name: cached.label.clone().unwrap_or(own), suffixes }
    });
    let names = distinct(of_arrays.chain(of_cached).collect());
    let kinds = arrays.into_iter().map(TopKind::Array).chain(cached.into_iter().map(TopKind::Cached));
    names.into_iter().zip(kinds).map(|(name, kind)| Top { name, kind }).collect()
}
