//! The members of an array give more.

use std::rc::Rc;

use block::{Geometry, Range, Sectors};
use md_format::superblock::{self, Summary};
use md_format::{FormatError, Place, ResyncOffset, Version, geometry};

use super::GrowError;
use super::plan::target;
use crate::array::Array;
use crate::bitmap::NewRows;
use crate::level;
use crate::member::Member;
use crate::redundancy::Redundancy;

/// Takes into use what all members have room for: superblocks that lie behind the data move to the ends of devices that
/// have grown, the bitmap describes what is new, and then the superblocks say so. What is new is synced, unless somebody
/// knows it to be the same everywhere, or whatever the members hold there is consistent.
pub(super) async fn grow(
    array: &Rc<Array>,
    size: Option<Sectors>,
    assume_clean: bool,
) -> Result<(), GrowError> {
    let before = array.sync_size();
    let summary = check(array, size, assume_clean)?;
    let is_all_there_is = says_what_is_lost(array);
    let new = match (assume_clean, is_all_there_is) {
        (true, _) => NewRows::Same,
        // Whoever comes back does not have what the others say of it.
        (false, true) => NewRows::Missed,
        (false, false) => NewRows::Differ,
    };
    let size = level::size_of(&summary)?.round_down(block(array));
    let after = level::sync_size(&summary, size);
    take_devices_into_use(array).await?;
    if let Some(bitmap) = array.bitmap.now() {
        let members = array.known_members().map(|member| member.summary());
        let members = members.map(|own| Summary { size_sectors: summary.size_sectors, ..own }).collect();
        bitmap.grow(array, members, after, new).await?;
    }
    array.metadata.at_rest().await?;
    // Nothing is awaited until the array is what the next superblocks say.
    level::grow(array, &summary)?;
    array.redundancy.set(Redundancy::of(&summary)?);
    array.geometry.set(Geometry { size, ..array.geometry.get() });
    array.sync_size.set(after);
    array.reshape(|shape| {
        shape.summary.size_sectors = summary.size_sectors;
        shape.size = size;
    });
    if !assume_clean && matches!(array.redundancy(), Redundancy::Parity(_)) {
        array.sync.track_rewritten(after);
    }
    if is_all_there_is {
        array.sync.note_rewritten(Range::new(before, after - before));
    }
    if new == NewRows::Differ && array.sync.first_uncovered().is_none() {
        array.sync.reopen(before);
        array.metadata.require_resync(ResyncOffset::At(before.0)); // up to there everything is durable for long
    }
    Ok(array.metadata.settled().await?)
}

/// What the superblocks would say, if that can be.
fn check(array: &Array, size: Option<Sectors>, assume_clean: bool) -> Result<Summary, GrowError> {
    if level::log(array).is_some() {
        return Err(GrowError::HasLog);
    }
    if level::journal(array).is_some() {
        return Err(GrowError::HasJournal);
    }
    let missing = array.slots().saturating_sub(array.in_sync());
    let has_parity = matches!(array.redundancy(), Redundancy::Parity(_));
    if missing > 0 && has_parity && !assume_clean && !says_what_is_lost(array) {
        return Err(GrowError::Degraded(missing));
    }
    let mut rooms = Vec::with_capacity(array.members.len());
    for member in array.known_members() {
        member.dev.look_at_size();
        let (place, room) = extent(member)?;
        if place != member.place.get() && array.bitmap.now().is_some() {
            return Err(GrowError::BitmapInTheWay { member: member.name.clone() });
        }
        rooms.push((member.name.clone(), room));
    }
    let summary = array.shape().summary;
    let size_sectors = target(&summary, rooms.into_iter(), size)?.0;
    Ok(Summary { size_sectors, ..summary })
}

/// Whether so many members are missing as there are parities: then whatever the others hold is consistent, for it says all
/// that the missing ones have to hold.
fn says_what_is_lost(array: &Array) -> bool {
    let missing = array.slots().saturating_sub(array.in_sync());
    matches!(array.redundancy(), Redundancy::Parity(parities) if missing == parities)
}

/// Where a member's superblock belongs now, and its sectors for data.
fn extent(member: &Member) -> Result<(Place, Sectors), GrowError> {
    let (place, device) = (member.place.get(), member.dev.geometry().size);
    let found = geometry::grown_member(place.version, device.0, member.data_offset.0);
    let too_small = FormatError::DeviceTooSmall { found: device.0, expected: member.data_offset.0 };
    let (there, room) = found.ok_or(too_small)?;
    // A superblock that stays where it is keeps its distance from the data.
    match place.version {
        Version::V0_90 | Version::V1_0 if there == place => Ok((place, member.room.get())),
        _ => Ok((there, Sectors(room))),
    }
}

/// Superblocks say how large the devices are, and those that lie behind the data lie at their new ends.
async fn take_devices_into_use(array: &Array) -> Result<(), GrowError> {
    array.metadata.at_rest().await?;
    let mut any = false;
    for member in array.known_members() {
        let (place, room) = extent(member)?;
        if (place, room) == (member.place.get(), member.room.get()) {
            continue;
        }
        superblock::relocate(&mut member.superblock.borrow_mut()[..], place, room.0)?;
        member.room.set(room);
        if member.place.replace(place) != place {
            member.bad.move_log(member.summary().bad_block_log);
        }
        any = true;
    }
    if any {
        array.metadata.require();
        array.metadata.settled().await?;
    }
    Ok(())
}

fn block(array: &Array) -> Sectors {
    Sectors(u64::from(array.geometry.get().logical_block) / block::SECTOR)
}
