//! A mirror gets more slots, or fewer.

use std::rc::Rc;

use md_format::{Level, Version};

use super::GrowError;
use super::plan::packed;
use crate::array::Array;
use crate::level;
use crate::limits::FAN_OUT;

/// New slots are empty, and taken up by spares as any other. Where there are to be fewer, whoever is in use moves down into
/// the slots that are left, as in the kernel; those that have failed are in none.
pub(super) async fn change(array: &Rc<Array>, copies: u32) -> Result<(), GrowError> {
    let shape = array.shape();
    if shape.summary.level != Level::Raid1 {
        return Err(GrowError::MovesData(shape.summary.level));
    }
    let most = match shape.summary.version {
        Version::V0_90 => md_format::limits::V0_MAX_DEVICES.min(FAN_OUT as u32),
        _ => FAN_OUT as u32,
    };
    if !(1..=most).contains(&copies) {
        return Err(GrowError::Copies { found: copies, most });
    }
    if copies == shape.slots {
        return Err(GrowError::Unchanged);
    }
    array.metadata.at_rest().await?;
    if array.replacements.iter().any(|place| place.get().is_some()) {
        return Err(GrowError::Replacing);
    }
    let in_use = |slot: usize| array.seats[slot].get().filter(|at| array.members[*at].is_written());
    let seats: Vec<Option<usize>> = (0..shape.slots as usize).map(in_use).collect();
    let seats = packed(&seats, copies as usize).map_err(GrowError::InUse)?;
    // Nothing is awaited until the array is what the next superblocks say.
    for member in array.members.iter().filter(|member| !member.is_written()) {
        member.slot.set(None);
    }
    array.seats.iter().for_each(|seat| seat.set(None));
    for (slot, at) in seats.iter().enumerate() {
        array.seats[slot].set(*at);
        if let Some(at) = at {
            array.members[*at].slot.set(Some(slot as u16));
        }
    }
    array.reshape(|shape| {
        shape.slots = copies;
        shape.summary.raid_disks = copies;
    });
    level::grow(array, &array.shape().summary)?;
    array.epoch.set(array.epoch.get() + 1);
    array.metadata.require_membership();
    Ok(array.metadata.settled().await?)
}
