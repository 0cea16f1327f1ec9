//! Changing the metadata of an array that does not run, as `mdadm --assemble --update=` does.
//!
//! [`plan_update`] is pure: from examined members and what a person wants to the bytes that change on each. It never
//! moves update counters, and never writes to a member that assembly would not use. [`update()`] writes them.

mod change;
mod error;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use block::{Arena, Dev, Failed, Origin, Request, Sectors};
use md_format::bitmap::{self, BitmapSuper, Kind};
use md_format::limits::SUPERBLOCK_BYTES;
use md_format::superblock::{self, Amendment, V1_0_BYTES};
use md_format::{ByteOrder, DeviceShape, Features, FormatError, Superblock};

use crate::assembly::{Candidate, Reason, Set};
use crate::create::new_ppl;
use crate::error::Hindrance;
use crate::examine::Examined;

pub(crate) use change::ppl_place;
pub use change::{Change, Flag};
pub use error::UpdateError;

/// Bytes that are written at a time.
const PIECE: usize = 64 << 10;

/// What a person wants.
#[derive(Clone, Debug)]
pub struct Update {
    /// The changes, made in this order.
    pub changes: Vec<Change>,
    /// Members may be missing: they will be foreign to the array, or stale, if they come back.
    pub degraded: bool,
    /// Random: a uuid for each candidate, should its superblock be made anew.
    pub device_uuids: Vec<[u8; 16]>,
}

/// What changes on one member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberChange {
    /// Which candidate, by its number in the pile.
    pub candidate: usize,
    /// In the order in which it is written; empty where everything is as wanted.
    pub writes: Vec<MetadataWrite>,
}

/// Bytes of metadata that change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataWrite {
    /// What they belong to, by the names of [`crate::metadata_areas`].
    pub what: &'static str,
    /// First sector, whole blocks of the device.
    pub sector: u64,
    /// The bytes to be there afterwards.
    pub bytes: Vec<u8>,
}

/// Decides what has to be written to each member of `set`, spares included.
pub fn plan_update(
    set: &Set,
    candidates: &[Candidate],
    update: &Update,
) -> Result<Vec<MemberChange>, UpdateError> {
    let members = members(set, candidates, update)?;
    let freshest = &candidates[set.freshest].examined;
    check(freshest, &members, candidates, update)?;
    let flags = flags(&members, candidates, update);
    members.iter().map(|at| plan_member(*at, candidates, update, &flags)).collect()
}

/// Who is written to: everybody that the array consists of, and then everybody that was named has to be one of them.
fn members(set: &Set, candidates: &[Candidate], update: &Update) -> Result<Vec<usize>, UpdateError> {
    let strangers = set.left_out.iter();
    let strangers: Vec<(String, Reason)> =
        strangers.map(|left| (candidates[left.candidate].name.clone(), left.reason.clone())).collect();
    // Neither reading nor writing data is asked for, so what hinders only these does not matter.
    let hinders =
        |hindrance: &&Hindrance| !matches!(hindrance, Hindrance::NoLayout | Hindrance::TooManyCopies { .. });
    let hindrances: Vec<Hindrance> = set.unreadable.iter().filter(hinders).cloned().collect();
    if !hindrances.is_empty() || !strangers.is_empty() {
        return Err(UpdateError::Hindered { hindrances, strangers });
    }
    let is_of_it = |at: &usize| {
        let summary = &candidates[*at].examined.summary;
        summary.array_uuid == set.key.uuid && summary.version == set.key.version
    };
    let members: Vec<usize> = (0..candidates.len()).filter(is_of_it).collect();
    let (present, slots) = (set.slots.iter().flatten().count(), set.slots.len());
    match present < slots && !update.degraded {
        true => Err(UpdateError::Missing { present, slots }),
        false => Ok(members),
    }
}

/// What concerns all members together.
fn check(
    freshest: &Examined,
    members: &[usize],
    candidates: &[Candidate],
    update: &Update,
) -> Result<(), UpdateError> {
    let summary = &freshest.summary;
    let wants = |change: &Change| update.changes.contains(change);
    if summary.features.has(Features::CLUSTERED) {
        return Err(UpdateError::refused(
            "a clustered bitmap belongs to several machines; none is changed here",
        ));
    }
    if summary.byte_order == ByteOrder::Big && !wants(&Change::ByteOrder) {
        return Err(UpdateError::refused(
            "the metadata was written by a big-endian machine; --set byteorder makes it this machine's",
        ));
    }
    for change in &update.changes {
        change.check(summary).map_err(|why| UpdateError::Change { word: change.word(), why })?;
    }
    if wants(&Change::ToV1_0) {
        let events = |at: &usize| candidates[*at].examined.summary.events;
        if members.iter().any(|at| events(at) != summary.events) {
            return Err(UpdateError::Change {
                word: Change::ToV1_0.word(),
                why: "the members' update counters differ, and the new superblocks begin to count anew"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

fn plan_member(
    at: usize,
    candidates: &[Candidate],
    update: &Update,
    flags: &[Amendment],
) -> Result<MemberChange, UpdateError> {
    let (name, examined) = (&candidates[at].name, &candidates[at].examined);
    let of_member = |why: String| UpdateError::Member { member: name.clone(), why };
    let unusable = |error: FormatError| of_member(error.to_string());
    let shape = shape(examined);
    let mut bytes = examined.bytes.clone();
    let mut amendments: Vec<Amendment> = Vec::new();
    for change in &update.changes {
        match change {
            Change::ByteOrder => superblock::swap_byte_order(&mut bytes[..]).map_err(unusable)?,
            Change::ToV1_0 => return converted(at, examined, update).map_err(unusable),
            change => amendments.extend(change.amendments(examined).map_err(of_member)?),
        }
    }
    amendments.extend(flags);
    if !amendments.is_empty() {
        superblock::amend(&mut bytes[..], &amendments).map_err(unusable)?;
    }
    let mut writes = Vec::new();
    writes.extend(bitmap_write(examined, &amendments).map_err(of_member)?);
    writes.extend(ppl_write(examined, &bytes[..], &amendments).map_err(unusable)?);
    if bytes != examined.bytes {
        let after = Superblock::view(examined.place, &bytes[..]).map_err(unusable)?;
        after.check(shape).map_err(|flaw| of_member(format!("the result would not be valid: {flaw}")))?;
        let len = Sectors(after.written_sectors(shape)).byte_len().min(SUPERBLOCK_BYTES);
        let (what, sector) = ("superblock", examined.place.sector);
        writes.push(MetadataWrite { what, sector, bytes: bytes[..len].to_vec() });
    }
    Ok(MemberChange { candidate: at, writes })
}

fn shape(examined: &Examined) -> DeviceShape {
    let geometry = examined.geometry;
    DeviceShape { sectors: geometry.size.0, logical_block_bytes: geometry.logical_block }
}

/// A person's word on single members, which 0.90 keeps in every superblock.
fn flags(members: &[usize], candidates: &[Candidate], update: &Update) -> Vec<Amendment> {
    let changed = members.iter().filter_map(|&at| {
        let summary = &candidates[at].examined.summary;
        let mut flags = summary.flags;
        for change in &update.changes {
            match *change {
                Change::Flag { candidate, flag: Flag::WriteMostly(on) } if candidate == at => {
                    flags.write_mostly = on;
                }
                Change::Flag { candidate, flag: Flag::Failfast(on) } if candidate == at => {
                    flags.failfast = on
                }
                _ => {}
            }
        }
        (flags != summary.flags).then_some(Amendment::Flags { dev_number: summary.dev_number, flags })
    });
    changed.collect()
}

/// The bitmap's own superblock has the array's uuid too. And where everything is to be synced, it must not say that only
/// some is.
fn bitmap_write(examined: &Examined, amendments: &[Amendment]) -> Result<Option<MetadataWrite>, String> {
    let uuid = amendments.iter().find_map(|amendment| match amendment {
        Amendment::ArrayUuid(uuid) => Some(*uuid),
        _ => None,
    });
    let all = amendments.contains(&Amendment::Resync);
    let stays = !amendments.contains(&Amendment::NoBitmap);
    let Some(place) = examined.summary.bitmap.filter(|_| stays && (all || uuid.is_some())) else {
        return Ok(None);
    };
    let hint = "--set no-bitmap removes it";
    let Some(facts) = &examined.bitmap else { return Err(format!("its bitmap cannot be read; {hint}")) };
    let block = (examined.geometry.logical_block as usize).clamp(512, SUPERBLOCK_BYTES);
    let mut bytes = facts.bytes.get(..block).ok_or("its bitmap is cut short")?.to_vec();
    let bitmap = BitmapSuper::edit(&mut bytes).map_err(|error| format!("{error}; {hint}"))?;
    match bitmap.kind() {
        Ok(Kind::HostEndian | Kind::Little) => {}
        Ok(Kind::Clustered | Kind::Lockless) => {
            return Err("its bitmap is a clustered or a lockless one, which is not written here".to_owned());
        }
        Err(error) => return Err(format!("{error}; {hint}")),
    }
    if let Some(uuid) = uuid {
        bitmap.uuid = uuid;
    }
    if all {
        bitmap.state = (bitmap.state.get() | bitmap::state::STALE).into();
    }
    let is_same = facts.bytes.starts_with(&bytes);
    Ok((!is_same).then_some(MetadataWrite { what: "bitmap", sector: place.sector, bytes }))
}

/// A log that is added is empty before the superblock, which `bytes` are to be, speaks of it.
fn ppl_write(
    examined: &Examined,
    bytes: &[u8],
    amendments: &[Amendment],
) -> Result<Option<MetadataWrite>, FormatError> {
    if !amendments.iter().any(|amendment| matches!(amendment, Amendment::Ppl { .. })) {
        return Ok(None);
    }
    let summary = Superblock::view(examined.place, bytes)?.summary()?;
    let place = summary.ppl.expect("added a moment ago");
    let (sector, bytes) = new_ppl(&place, &summary.array_uuid)?;
    Ok(Some(MetadataWrite { what: "partial parity log", sector, bytes }))
}

/// The new superblock of a member whose metadata was 0.90.
fn converted(at: usize, examined: &Examined, update: &Update) -> Result<MemberChange, FormatError> {
    let device = shape(examined);
    let uuid = update.device_uuids.get(at).copied().unwrap_or_default();
    let mut bytes = [0; SUPERBLOCK_BYTES];
    let place = superblock::to_v1_0(&examined.superblock(), device.sectors, uuid, &mut bytes)?;
    Superblock::view(place, &bytes)?.check(device)?;
    let len = V1_0_BYTES.next_multiple_of(device.logical_block_bytes.clamp(512, 4096) as usize);
    let write = MetadataWrite { what: "superblock", sector: place.sector, bytes: bytes[..len].to_vec() };
    Ok(MemberChange { candidate: at, writes: vec![write] })
}

/// Writes the changes, member by member and in their order, each durable before the next. `devs` are the candidates' devices.
pub async fn update(
    changes: &[MemberChange],
    devs: &[Dev],
    arena: &Rc<Arena>,
) -> Result<(), (usize, Failed)> {
    for change in changes.iter().filter(|change| !change.writes.is_empty()) {
        let failed = |failed| (change.candidate, failed);
        let dev = &devs[change.candidate];
        for write in &change.writes {
            let mut sector = Sectors(write.sector);
            for piece in write.bytes.chunks(PIECE) {
                let buf = arena.wait_take(piece.len()).await;
                buf.copy_from_slice(0, piece);
                let request = Request::write(sector, buf).from_origin(Origin::Metadata);
                dev.start(request).await.map_err(failed)?;
                sector += Sectors::from_bytes(piece.len() as u64);
            }
            dev.start(Request::flush()).await.map_err(failed)?;
        }
    }
    Ok(())
}
