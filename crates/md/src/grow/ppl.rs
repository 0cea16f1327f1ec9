//! A partial parity log is added to a raid5, or taken away from it: `mdadm --grow --consistency-policy`.
//!
//! Meanwhile the superblocks call the array clean, and nothing is written: nobody who opens it, cut off at any moment, has
//! to ask a log.

use std::rc::Rc;

use block::Geometry;
use md_format::superblock::{self, Amendment, PplPlace, Summary, Superblock};
use md_format::{DeviceShape, Version};

use super::GrowError;
use crate::array::Array;
use crate::error::Hindrance;
use crate::level::Mapping;
use crate::level::parity::log::{self, Log};
use crate::member::Member;
use crate::update::ppl_place;

/// Adds a log: it is empty on all members before the superblocks say that it exists.
pub(super) async fn add(array: &Rc<Array>) -> Result<(), GrowError> {
    let summary = array.shape().summary;
    if let Some(why) = log::shape_hindrance(&summary) {
        return Err(why.into());
    }
    let Mapping::Parity(level) = &array.mapping else { return Err(GrowError::NoRedundancy) };
    if summary.version == Version::V0_90 {
        return Err(Hindrance::Shape("metadata 0.90 knows no partial parity log").into());
    }
    if level.log().is_some() {
        return Err(GrowError::Unchanged);
    }
    if array.bitmap.now().is_some() {
        return Err(GrowError::HasBitmap);
    }
    if level.journal().is_some() {
        return Err(GrowError::HasJournal);
    }
    array.metadata.clean().await?;
    let members: Vec<Rc<Member>> = array.known_members().cloned().collect();
    let places: Vec<PplPlace> = members.iter().map(|member| place(member)).collect::<Result<_, _>>()?;
    let summary = Summary { ppl: places.first().copied(), ..summary };
    let log =
        Log::open(&summary, &level.map, places.iter().copied(), array.height).ok_or(GrowError::NoLog)?;
    for (member, place) in members.iter().zip(&places) {
        if let Err(failed) = log.empty(array, member, *place).await
            && !array.fail(member, failed)
        {
            array.set_broken(failed);
        }
    }
    array.metadata.at_rest().await?;
    // Nothing is awaited until the array is what the next superblocks say.
    let is_prepared = |own: &Rc<Member>| members.iter().any(|member| Rc::ptr_eq(member, own));
    if !array.known_members().all(is_prepared) {
        return Err(GrowError::Busy); // a spare has come meanwhile
    }
    if !level.set_log(log) {
        return Err(GrowError::TooManyLogs);
    }
    log::begin(array);
    for (member, place) in members.iter().zip(places) {
        let amendment = Amendment::Ppl { offset_sectors: place.offset_sectors, sectors: place.sectors };
        superblock::amend(&mut member.superblock.borrow_mut()[..], &[amendment])?;
    }
    array.reshape(|shape| shape.summary.ppl = summary.ppl);
    Ok(array.metadata.settled().await?)
}

/// Where a member has room for a log, as mdadm finds it.
fn place(member: &Member) -> Result<PplPlace, GrowError> {
    let no_room = |why| GrowError::NoRoomForLog { member: member.name.clone(), why };
    let (offset_sectors, sectors) = ppl_place(&member.summary()).map_err(no_room)?;
    let mut bytes = member.superblock.borrow().clone();
    superblock::amend(&mut bytes[..], &[Amendment::Ppl { offset_sectors, sectors }])?;
    let view = Superblock::view(member.place.get(), &bytes[..])?;
    let Geometry { size, logical_block, .. } = member.dev.geometry();
    view.check(DeviceShape { sectors: size.0, logical_block_bytes: logical_block })?;
    let place = view.summary()?.ppl.expect("added a moment ago");
    log::place_hindrance(place, logical_block).map_or(Ok(place), |why| Err(why.into()))
}

/// Takes the log away: the superblocks say so first.
pub(super) async fn remove(array: &Array) -> Result<(), GrowError> {
    let Mapping::Parity(level) = &array.mapping else { return Err(GrowError::NoLog) };
    let log = level.log().filter(|log| log.is_public()).ok_or(GrowError::NoLog)?;
    if !log.doubts().is_empty() {
        return Err(GrowError::Doubtful);
    }
    array.metadata.clean().await?;
    array.metadata.at_rest().await?;
    array.reshape(|shape| shape.summary.ppl = None);
    let recorded = array.metadata.settled().await;
    log.stop();
    level.forget_log();
    Ok(recorded?)
}
