//! A fresh 1.x superblock. Follows mdadm's `init_super1`, `add_to_super1`, `write_init_super1`.

use zerocopy::IntoBytes;

use super::{FAILFAST, MAGIC, PplField, SuperblockV1, WRITE_MOSTLY, sync::write_roles};
use crate::error::FormatError;
use crate::features::Features;
use crate::geometry::{Reserve, member_layout};
use crate::limits::{BAD_BLOCK_LOG_SECTORS, PPL_AREA_SECTORS, V1_MAX_DEVICES};
use crate::place::Place;
use crate::superblock::new::{NewArray, NewMember};
use crate::terms::{Level, ResyncOffset, Role};

/// Fills zeroed bytes.
pub(in crate::superblock) fn create(
    bytes: &mut [u8],
    array: &NewArray,
    member: &NewMember,
) -> Result<Place, FormatError> {
    let entry = array.entry(member)?;
    let max_dev = max_dev(array)?;
    // A journal, too: the kernel starts no array of 1.0 metadata whose journal has its superblock before what members give.
    let layout = member_layout(
        array.version,
        member.device_sectors,
        member.data_offset,
        array.size_sectors,
        array.reserve,
    )?;

    let superblock = SuperblockV1::overlay(bytes)?;
    superblock.magic = MAGIC.into();
    superblock.major_version = 1.into();
    superblock.feature_map = features(array).bits().into();
    superblock.set_uuid = array.uuid;
    superblock.set_name = array.name.0;
    superblock.ctime = array.ctime_s.into();
    superblock.utime = array.ctime_s.into();
    superblock.level = array.level.number().into();
    superblock.layout = array.layout.into();
    superblock.size = array.size_sectors.into();
    superblock.chunk_sectors = array.chunk_sectors.into();
    superblock.raid_disks = array.raid_disks.into();
    let resync = if array.clean { ResyncOffset::Complete } else { ResyncOffset::At(0) };
    superblock.resync_offset = resync.sectors().into();

    superblock.data_offset = layout.data_offset.into();
    superblock.data_size = layout.data_size.into();
    superblock.super_offset = layout.super_offset.into();
    superblock.dev_number = entry.dev_number.into();
    superblock.device_uuid = member.device_uuid;
    superblock.devflags |= if entry.flags.write_mostly { WRITE_MOSTLY } else { 0 };
    superblock.devflags |= if entry.flags.failfast { FAILFAST } else { 0 };
    match (layout.reserved, array.reserve) {
        (Some((offset, _)), Reserve::Ppl) => {
            let field = PplField { offset: (offset as i16).into(), sectors: PPL_AREA_SECTORS.into() };
            superblock.bitmap_offset.as_mut_bytes().copy_from_slice(field.as_bytes());
        }
        (Some((offset, _)), _) => superblock.bitmap_offset = offset.into(),
        (None, _) => {}
    }
    if let Some(offset) = layout.bad_block_log.filter(|_| array.bad_block_log) {
        superblock.bblog_offset = offset.into();
        superblock.bblog_sectors = BAD_BLOCK_LOG_SECTORS.into();
    }

    superblock.max_dev = max_dev.into();
    write_roles(superblock, array.entries);
    superblock.seal();
    Ok(Place { version: array.version, sector: layout.super_offset })
}

fn features(array: &NewArray) -> Features {
    let journal = array.entries.iter().any(|entry| entry.role == Role::Journal);
    Features::NONE
        .with(Features::BITMAP_OFFSET, matches!(array.reserve, Reserve::Bitmap { .. }))
        .with(Features::PPL, array.reserve == Reserve::Ppl)
        .with(Features::JOURNAL, journal)
        .with(Features::RAID0_LAYOUT, array.level == Level::Raid0 && array.layout != 0)
}

/// As many entries as fill the last sector, so that 512 bytes do for up to 128 devices.
fn max_dev(array: &NewArray) -> Result<u32, FormatError> {
    let limit = V1_MAX_DEVICES;
    let waiting = array.working() - array.active();
    let devices = array.raid_disks.saturating_add(waiting);
    let highest = array.entries.iter().map(|entry| entry.dev_number.saturating_add(1)).max().unwrap_or(0);
    let found = devices.max(highest);
    if found > limit {
        return Err(FormatError::TooManyDevices { found, limit });
    }
    Ok(((256 + 2 * devices).next_multiple_of(512) - 256) / 2).map(|rounded| rounded.max(highest))
}
