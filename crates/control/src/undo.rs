//! Undo: from a snapshot and the members as they are now to what has to be written to go back. Nothing is written before
//! everything was found to be as expected.

use std::rc::Rc;

use bcache_format::superblock::{Backing, Kind, Summary};
use bcache_format::{State, Superblock};
use block::{Arena, Dev, Failed, Origin, Range, Request, Sectors};
use thiserror::Error;

use crate::snapshot::{AreaBytes, MemberAreas, MemberKind, SUPERBLOCK, Snapshot, read};

/// Something to be put back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which member, by its number in the snapshot.
    pub at: usize,
    /// Its name.
    pub member: String,
    /// What.
    pub what: String,
    /// Where.
    pub sector: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Why there is no way back.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
pub enum UndoError {
    /// Clients wrote.
    #[error(
        "clients have written since: the metadata of then does not tell what differs now; \
         --data-was-written goes back all the same"
    )]
    DataWritten,
    /// Nobody knows what was left.
    #[error(
        "the stack was not stopped cleanly, or still runs: nobody knows what was written since; \
         --data-was-written goes back all the same"
    )]
    NotClosed,
    /// Another disk, or a resized one.
    #[error("{member}: has {found} sectors, expected {expected}: it is another disk, or was resized")]
    Size {
        /// Which.
        member: String,
        /// Now.
        found: u64,
        /// Then.
        expected: u64,
    },
    /// Somebody else was there.
    #[error(
        "{member}: its {what} at sector {sector} is not as ashlar left it: something else has used the member since, \
         or it is another disk"
    )]
    Changed {
        /// Which.
        member: String,
        /// What.
        what: String,
        /// Where.
        sector: u64,
    },
    /// The superblock of a cache or a backing device would say what is not so any more.
    #[error("{member}: {why}")]
    Cached {
        /// Which.
        member: String,
        /// What would not be so.
        why: &'static str,
    },
    /// The member failed.
    #[error("{member}: sector {sector}: {failed}")]
    Member {
        /// Which.
        member: String,
        /// Where.
        sector: u64,
        /// How.
        failed: Failed,
    },
}

/// Finds out what has to be written. `devices` are the snapshot's members, in its order.
pub async fn plan_undo(
    snapshot: &Snapshot,
    devices: &[Dev],
    arena: &Rc<Arena>,
    data_was_written: bool,
) -> Result<Vec<Change>, UndoError> {
    let mut changes = Vec::new();
    for (at, (member, device)) in snapshot.members.iter().zip(devices).enumerate() {
        let found = device.geometry().size.0;
        if found != member.sectors {
            return Err(UndoError::Size { member: member.name.clone(), found, expected: member.sectors });
        }
        let is_ours = data_was_written && is_still_the_member(member, device, arena).await;
        for area in &member.areas {
            let range = Range::new(Sectors(area.sector), Sectors(area.sectors));
            let now = read(device, arena, range).await.map_err(|failed| UndoError::Member {
                member: member.name.clone(),
                sector: area.sector,
                failed,
            })?;
            if now == area.before {
                continue;
            }
            if area.left.as_ref() != Some(&now) && !(area.left.is_none() && is_ours) {
                return Err(not_as_left(snapshot, member, area));
            }
            if member.kind == MemberKind::Bcache {
                let why = why_not_back(snapshot, device, &area.before, &now);
                why.map_or(Ok(()), |why| Err(UndoError::Cached { member: member.name.clone(), why }))?;
            }
            let (what, bytes) = (area.what.clone(), area.before.clone());
            changes.push(Change { at, member: member.name.clone(), what, sector: area.sector, bytes });
        }
    }
    match snapshot.data_written_s {
        Some(_) if !changes.is_empty() && !data_was_written => Err(UndoError::DataWritten),
        _ => Ok(changes),
    }
}

fn not_as_left(snapshot: &Snapshot, member: &MemberAreas, area: &AreaBytes) -> UndoError {
    match snapshot.left_s {
        None => UndoError::NotClosed,
        Some(_) => {
            let (what, sector) = (area.what.clone(), area.sector);
            UndoError::Changed { member: member.name.clone(), what, sector }
        }
    }
}

/// Why the superblock of a cache or a backing device is not put back, whoever says that it may be. Where one speaks of what lies in a
/// cache, going back would bring that to data of another time, or forget what is nowhere else.
fn why_not_back(snapshot: &Snapshot, device: &Dev, before: &[u8], now: &[u8]) -> Option<&'static str> {
    let geometry = device.geometry();
    let summary = |bytes| Superblock::view(bytes)?.check(geometry.size.0, geometry.logical_block);
    let (Ok(before), Ok(now)) = (summary(before), summary(now)) else {
        return Some("its superblock is damaged");
    };
    if snapshot.data_written_s.is_some() {
        return Some("data was written since, and its superblock of then does not tell where that is");
    }
    match (owner(&before), owner(&now)) {
        (before, now) if before == now => None,
        (_, Some((State::Dirty, _))) => Some("its cache has data that is nowhere else"),
        (Some((State::Clean | State::Dirty, set)), Some(now)) if now != (State::Clean, set) => {
            Some("it left its cache since: what that has of it may be older than what was written to it then")
        }
        _ => None,
    }
}

/// What a backing device says of its cache, and the set that it belongs to.
fn owner(summary: &Summary) -> Option<(State, [u8; 16])> {
    match summary.kind {
        Kind::Backing(Backing { state, .. }) => Some((state, summary.set_uuid)),
        Kind::Cache(_) => None,
    }
}

/// Whether the disk still says that it is this member of this array. Enough only with a person's word: its metadata may
/// have been changed by anybody.
async fn is_still_the_member(member: &MemberAreas, device: &Dev, arena: &Rc<Arena>) -> bool {
    if member.kind == MemberKind::Bcache {
        return false; // nothing of a cache is put back on somebody's word
    }
    match md::examine(device, arena).await {
        Ok(examined) => {
            let summary = &examined.summary;
            summary.array_uuid_text().to_string() == member.array_uuid && summary.dev_number == member.number
        }
        Err(_) => false,
    }
}

/// Writes the changes, superblocks last, each step durable before the next.
pub async fn put_back(changes: &[Change], devices: &[Dev], arena: &Rc<Arena>) -> Result<(), UndoError> {
    for superblocks in [false, true] {
        for change in changes.iter().filter(|change| (change.what == SUPERBLOCK) == superblocks) {
            write(change, &devices[change.at], arena).await.map_err(|failed| UndoError::Member {
                member: change.member.clone(),
                sector: change.sector,
                failed,
            })?;
        }
    }
    Ok(())
}

async fn write(change: &Change, device: &Dev, arena: &Rc<Arena>) -> Result<(), Failed> {
    let mut start = Sectors(change.sector);
    for piece in change.bytes.chunks(64 << 10) {
        let buf = arena.wait_take(piece.len()).await;
        buf.copy_from_slice(0, piece);
        device.start(Request::write(start, buf).from_origin(Origin::Metadata)).await?;
        start += Sectors::from_bytes(piece.len() as u64);
    }
    device.start(Request::flush()).await
}
