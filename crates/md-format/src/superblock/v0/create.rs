//! A fresh 0.90 superblock. Follows mdadm's `init_super0`, `add_to_super0`, `write_init_super0`.

use super::{SuperblockV0, disk, state};
use crate::error::FormatError;
use crate::geometry::Reserve;
use crate::limits::V0_MAX_DEVICES;
use crate::place::Place;
use crate::superblock::new::{NewArray, NewMember};
use crate::superblock::v1::MAGIC;
use crate::terms::{Role, Version};

/// Fills zeroed bytes.
pub(in crate::superblock) fn create(
    bytes: &mut [u8],
    array: &NewArray,
    member: &NewMember,
) -> Result<Place, FormatError> {
    let own = array.entry(member)?.dev_number;
    check_expressible(array, member)?;
    let (found, expected) = (member.device_sectors, 128);
    let place = Place::of(Version::V0_90, found).ok_or(FormatError::DeviceTooSmall { found, expected })?;
    let size_kib = u32::try_from(array.size_sectors / 2)
        .map_err(|_| FormatError::NotInThisVersion { what: "members of more than 4 TiB" })?;
    let chunk_bytes = super::sync::to_bytes(array.chunk_sectors)?;

    let superblock = SuperblockV0::overlay(bytes)?;
    superblock.magic = MAGIC.into();
    superblock.minor_version = 90.into();
    superblock.set_uuid0.copy_from_slice(&array.uuid[..4]);
    superblock.set_uuid1.copy_from_slice(&array.uuid[4..]);
    let ctime = u32::try_from(array.ctime_s).unwrap_or(u32::MAX);
    superblock.ctime = ctime.into();
    superblock.utime = ctime.into();
    superblock.level = array.level.number().into();
    superblock.size_kib = size_kib.into();
    superblock.raid_disks = array.raid_disks.into();
    superblock.md_minor = array.preferred_minor.into();
    let bitmap = if matches!(array.reserve, Reserve::Bitmap { .. }) { state::BITMAP_PRESENT } else { 0 };
    superblock.state = (bitmap | if array.clean { state::CLEAN } else { 0 }).into();
    superblock.events = 1.into();
    superblock.layout = array.layout.into();
    superblock.chunk_bytes = chunk_bytes.into();

    let (active, working) = (array.active(), array.working());
    let missing = array.raid_disks.saturating_sub(active);
    superblock.nr_disks = (working + missing).into();
    superblock.active_disks = active.into();
    superblock.working_disks = working.into();
    superblock.failed_disks = missing.into();
    superblock.spare_disks = array.spares().into();
    for entry in array.entries {
        let Some(descriptor) = superblock.disks.get_mut(entry.dev_number as usize) else { continue };
        let (raid_disk, state) = match entry.role {
            Role::Active(slot) => (slot.into(), disk::ACTIVE | disk::SYNC),
            _ => (entry.dev_number, 0),
        };
        descriptor.set(entry.dev_number, entry.device, raid_disk, state);
    }
    superblock.this_disk.copy(&superblock.disks[own as usize]);
    superblock.seal();
    Ok(place)
}

fn check_expressible(array: &NewArray, member: &NewMember) -> Result<(), FormatError> {
    let missing = |what| Err(FormatError::NotInThisVersion { what });
    if member.data_offset != 0 {
        return missing("a data offset");
    }
    if array.reserve == Reserve::Ppl {
        return missing("a partial parity log");
    }
    if array.entries.iter().any(|entry| entry.role == Role::Journal) {
        return missing("a journal");
    }
    let highest = array.entries.iter().map(|entry| entry.dev_number.saturating_add(1)).max().unwrap_or(0);
    let found = highest.max(array.raid_disks);
    if found > V0_MAX_DEVICES {
        return Err(FormatError::TooManyDevices { found, limit: V0_MAX_DEVICES });
    }
    Ok(())
}
