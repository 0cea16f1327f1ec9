//! The superblock of a disk that joins an array, made from that of a member. Follows mdadm's `--add`: everything that is
//! the array's stays, everything that was the member's is the newcomer's; its logs lie where the member's do.

use zerocopy::byteorder::LittleEndian;

use super::new::NewMember;
use super::v0::SuperblockV0;
use super::v1::{SuperblockV1, role};
use super::{Superblock, seal};
use crate::error::FormatError;
use crate::features::Features;
use crate::place::{DeviceShape, Place};
use crate::terms::Version;

/// Makes the superblock in `bytes`, which was read at `from`, that of a spare, and seals it. Returns where on its device
/// it belongs. The data begins where the member's does; a device on which the array's part of a member, or its logs, find
/// no room is refused.
pub fn adopt(from: Place, bytes: &mut [u8], member: &NewMember) -> Result<Place, FormatError> {
    let size = Superblock::view(from, bytes)?.summary()?.size_sectors;
    let (found, expected) = (member.device_sectors, size.saturating_add(member.data_offset));
    let too_small = FormatError::DeviceTooSmall { found, expected };
    let place = Place::of(from.version, member.device_sectors).ok_or(too_small)?;
    let room = room_of(from, place, bytes, member)?;
    if room.is_none_or(|room| room < size) {
        return Err(too_small);
    }
    sealed(from, place, bytes, member)
}

/// The same for a disk that is to be the write journal of an array with 1.x metadata. It may be smaller than a member; but
/// with 1.0 metadata, where the kernel wants as much.
pub fn adopt_journal(from: Place, bytes: &mut [u8], member: &NewMember) -> Result<Place, FormatError> {
    let size = Superblock::view(from, bytes)?.summary()?.size_sectors;
    let least = if from.version == Version::V1_0 { size } else { 0 };
    let (found, expected) = (member.device_sectors, least.saturating_add(member.data_offset));
    let too_small = FormatError::DeviceTooSmall { found, expected };
    let place = Place::of(from.version, member.device_sectors).ok_or(too_small)?;
    if !from.version.is_v1() {
        return Err(too_small);
    }
    let superblock = SuperblockV1::edit(bytes)?;
    let room = adopt_v1(from, place, superblock, member);
    if room.is_none_or(|room| room < least || room == 0) {
        return Err(too_small);
    }
    superblock.feature_map = superblock.features().with(Features::JOURNAL, true).bits().into();
    if let Some(own) = superblock.dev_roles.get_mut(member.dev_number as usize) {
        *own = role::JOURNAL.into();
    }
    sealed(from, place, bytes, member)
}

fn room_of(
    from: Place,
    place: Place,
    bytes: &mut [u8],
    member: &NewMember,
) -> Result<Option<u64>, FormatError> {
    Ok(match from.version {
        Version::V0_90 => {
            SuperblockV0::<LittleEndian>::edit(bytes)?;
            Some(place.sector)
        }
        _ => adopt_v1(from, place, SuperblockV1::edit(bytes)?, member),
    })
}

fn sealed(from: Place, place: Place, bytes: &mut [u8], member: &NewMember) -> Result<Place, FormatError> {
    seal(bytes)?;
    let shape = DeviceShape { sectors: member.device_sectors, logical_block_bytes: 512 };
    if from.version.is_v1() {
        // A 0.90 superblock has its own number, and with it its checksum, from the next metadata write.
        Superblock::view(place, bytes)?.check(shape)?;
    }
    Ok(place)
}

/// Edits the superblock; the sectors that the newcomer has for data, if that can be said.
fn adopt_v1(from: Place, place: Place, superblock: &mut SuperblockV1, member: &NewMember) -> Option<u64> {
    let room = match from.version {
        // What lies between the data and the superblock stays as long.
        Version::V1_0 => place.sector.checked_sub(from.sector.checked_sub(superblock.data_size.get())?)?,
        _ => member.device_sectors.checked_sub(member.data_offset)?,
    };
    superblock.data_offset = member.data_offset.into();
    superblock.data_size = room.into();
    superblock.super_offset = place.sector.into();
    superblock.recovery_offset = 0.into();
    superblock.dev_number = member.dev_number.into();
    superblock.corrected_reads = 0.into();
    superblock.device_uuid = member.device_uuid;
    superblock.devflags = 0;
    let of_a_member =
        [Features::RECOVERY_OFFSET, Features::RECOVERY_BITMAP, Features::REPLACEMENT, Features::BAD_BLOCKS];
    let mut features = superblock.features();
    for feature in of_a_member {
        features = features.with(feature, false);
    }
    superblock.feature_map = features.bits().into();
    let roles = superblock.roles().len();
    let needed = member.dev_number as usize + 1;
    if needed > roles {
        superblock.max_dev = member.dev_number.saturating_add(1).min(crate::limits::V1_MAX_DEVICES).into();
        let behind = superblock.roles().len();
        superblock.dev_roles[roles..behind].fill(role::SPARE.into());
    }
    if let Some(own) = superblock.dev_roles.get_mut(member.dev_number as usize) {
        *own = role::SPARE.into();
    }
    Some(room)
}
