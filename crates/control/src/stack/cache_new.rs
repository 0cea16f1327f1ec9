//! Volumes that come into a stack while it runs: backing devices that are opened and attached, and volumes that lie in a cache
//! alone. Clients over NBD find them by their names at once; a mount shows them when the stack is run the next time.

use std::rc::Rc;

use bcache::{CacheSet, Examined, Volume, examine};
use bcache_format::superblock::{Backing as BackingFacts, Kind};
use bcache_format::{Label, State};
use block::{Dev, SECTOR};
use export::Export;

use super::cache::{Backing, Cache, Cached, Now};
use super::manage::is_same_path;
use super::{Opened, Stack};
use crate::command::{AddWish, Refusal};
use crate::snapshot::MemberAreas;
use crate::switch::Switch;

impl Stack {
    /// Opens a backing device that does not run here, and attaches it; recorded, and served, when this returns.
    pub(super) async fn adopt(&self, cache: &Cache, disk: String, sole_writer: bool) -> Result<(), Refusal> {
        well(cache)?;
        if self.is_in_use(&disk) {
            return Err(Refusal::Conflict(format!("{disk} is in use here already")));
        }
        self.let_go_of_what_was_left_out(&disk).await;
        let wish =
            AddWish { member: disk.clone(), array: None, overwrite: false, journal: false, sole_writer };
        let Opened { hold, examined, .. } = (self.open)(wish).await?;
        let adopted = match examined {
            Some(_) => Err(Refusal::Conflict(format!("{disk} is a member of an array"))),
            None => self.adopt_opened(cache, &disk, hold.clone()).await,
        };
        match adopted {
            Ok(cached) => {
                self.holds.borrow_mut().push((disk, hold));
                self.cached.borrow_mut().push(Rc::new(cached));
                Ok(())
            }
            Err(why) => {
                hold.release();
                Err(why)
            }
        }
    }

    async fn adopt_opened(&self, cache: &Cache, disk: &str, device: Dev) -> Result<Cached, Refusal> {
        let read = examine(&device, &self.arena).await;
        let examined = read.map_err(|error| Refusal::Conflict(format!("{disk}: {error}")))?;
        let Kind::Backing(facts) = examined.summary.kind else {
            return Err(Refusal::Conflict(format!("{disk} is a cache; a backing device is attached to one")));
        };
        let own = uuid(&examined.summary.uuid);
        if self.cached.borrow().iter().any(|known| known.uuid == own) {
            return Err(Refusal::Conflict(format!("{disk} has the uuid of a volume that runs here, {own}")));
        }
        may_be_attached(disk, &examined, &facts, &cache.set)?;
        let device = match &self.keeper {
            Some(keeper) => {
                let kept = keeper.add(MemberAreas::of_bcache(disk, &examined));
                kept.map_err(|error| Refusal::Failed(error.to_string()))?;
                keeper.guard_data(device)
            }
            None => device,
        };
        let name = self.free_name(&examined.summary.label, &own);
        let failed = |error| Refusal::Failed(format!("{disk}: {error}"));
        let (set, arena) = (&cache.set, &self.arena);
        let inode = Volume::attach(&device, &examined, set, arena).await.map_err(failed)?;
        let examined = examine(&device, arena).await;
        let examined = examined.map_err(|error| Refusal::Failed(format!("{disk}: {error}")))?;
        let volume = Volume::start_backed(&name, device.clone(), &examined, set.clone(), inode, arena).await;
        let volume = volume.map_err(failed)?;
        let height = device.height().max(cache.device.height()) + 2;
        let switch = Switch::new(&name, volume.device(), height);
        let served = switch.device();
        let backing = Backing { name: disk.to_owned(), device, switch: Some(switch) };
        self.serve_new(name, own, Some(backing), Now::Written(volume, set.uuid()), served)
    }

    /// Makes a volume that lies in a cache alone; recorded, and served, when this returns.
    pub(super) async fn create_volume(
        &self,
        cache: &Cache,
        bytes: u64,
        label: Option<String>,
    ) -> Result<(), Refusal> {
        well(cache)?;
        may_have(cache, bytes)?;
        let long = || Refusal::Conflict("a label has up to 32 bytes, none of them 0".to_owned());
        let label = Label::new(label.unwrap_or_default().as_bytes()).ok_or_else(long)?;
        let own = runtime::random_uuid();
        let name = self.free_name(&label, &uuid(&own));
        let created = cache.set.create_flash(own, label, bytes / SECTOR).await;
        let inode = created.map_err(|error| Refusal::Failed(format!("{}: {error}", cache.name)))?;
        let volume = Volume::start_flash(&name, cache.set.clone(), inode, bytes / SECTOR);
        let (device, now) = (volume.device(), Now::Written(volume, cache.set.uuid()));
        let cached = self.serve_new(name, uuid(&own), None, now, device)?;
        self.cached.borrow_mut().push(Rc::new(cached));
        Ok(())
    }

    /// Gives clients a volume by its name.
    fn serve_new(
        &self,
        name: String,
        own: String,
        backing: Option<Backing>,
        now: Now,
        device: Dev,
    ) -> Result<Cached, Refusal> {
        let device = self.keeper.as_ref().map_or(device.clone(), |keeper| keeper.guard(device));
        if !self.exports.add(Export::new(&name, &format!("bcache {own}"), device, false)) {
            return Err(Refusal::Conflict(format!("two volumes have the name {name}")));
        }
        let export = self.exports.find(name.as_bytes()).expect("it was added");
        let told = bcache::Standing::Well.into();
        Ok(Cached { name, uuid: own, backing, now: now.into(), export, told })
    }

    /// A name that no volume has: the label, if people can type it.
    fn free_name(&self, label: &Label, own: &str) -> String {
        let is_taken = |name: &str| self.exports.find(name.as_bytes()).is_some();
        let label = std::str::from_utf8(label.bytes()).unwrap_or_default();
        let is_plain =
            !label.is_empty() && !label.contains(|letter: char| letter.is_control() || letter == '\\');
        match is_plain {
            true if !is_taken(label) => label.to_owned(),
            true => format!("{label}-{}", &own[..8]),
            false => own.to_owned(),
        }
    }

    /// Whether a disk is a member, a cache or a backing device of what runs.
    pub(super) fn is_in_use(&self, disk: &str) -> bool {
        let is_member = |known: &md::MemberStatus| {
            known.condition != md::Condition::Removed && is_same_path(&known.name, disk)
        };
        let is_below = |backing: &Backing| is_same_path(&backing.name, disk);
        self.volumes.iter().any(|volume| volume.array.members().iter().any(is_member))
            || self.caches.iter().any(|cache| is_same_path(&cache.name, disk))
            || self.cached.borrow().iter().any(|cached| cached.backing.as_ref().is_some_and(is_below))
    }
}

/// Refuses what is to be cached by a cache that has failed.
pub(super) fn well(cache: &Cache) -> Result<(), Refusal> {
    match cache.failure() {
        None => Ok(()),
        Some(error) => Err(Refusal::Conflict(format!(
            "{} has failed, and caches nothing until it is run again: {error}",
            cache.name
        ))),
    }
}

/// Whether a volume that lies in a cache alone can be so large.
pub(super) fn may_have(cache: &Cache, bytes: u64) -> Result<(), Refusal> {
    let status = cache.set.status();
    let block = status.block_sectors * SECTOR;
    let most = status.buckets * status.bucket_sectors * SECTOR;
    match bytes > 0 && bytes.is_multiple_of(block) && bytes <= most {
        true => Ok(()),
        false => Err(Refusal::Conflict(format!(
            "a volume in {} alone: found {bytes} bytes, expected a multiple of {block} up to the {most} of the cache",
            cache.name
        ))),
    }
}

/// Whether nothing is lost when a backing device is attached anew: nothing of it may be in a cache alone, or count there.
fn may_be_attached(
    disk: &str,
    examined: &Examined,
    backing: &BackingFacts,
    set: &CacheSet,
) -> Result<(), Refusal> {
    let (owner, is_own) = (uuid(&examined.summary.set_uuid), examined.summary.set_uuid == set.uuid());
    match backing.state {
        State::Detached | State::Stale => Ok(()),
        State::Clean if is_own => Ok(()),
        State::Clean => Err(Refusal::Conflict(format!(
            "{disk} belongs to another set, {owner}; detach it there, or run it once with --without-cache"
        ))),
        State::Dirty => Err(Refusal::Conflict(format!(
            "{disk} has data that is only in its cache, of set {owner}; run it with that"
        ))),
    }
}

/// A uuid as people write it.
pub fn uuid(bytes: &[u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
