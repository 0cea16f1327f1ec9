//! Sizes and places as mdadm 4.4 chooses them at creation, and array sizes as Linux 6.12 computes them.
//!
//! Sources: `validate_geometry1`, `choose_bm_space`, `add_internal_bitmap1`, `write_init_super1` (super1.c),
//! `validate_geometry0` (super0.c), `Create`; `*_size` of each level in the kernel. Nothing here depends on the logical
//! block size: every place that mdadm chooses is a multiple of 4 KiB, so 512-byte, 512e and 4Kn devices get the same.
//!
//! ```text
//! 1.1, 1.2   superblock at 0 or 8 | +8 bitmap space or PPL | bad-block log, 8 | headroom ... | data_offset: data
//! 1.0        0: data ... | bitmap space or PPL | bad-block log, 8 | superblock
//! 0.90       0: data ... | superblock | +8 bitmap, 60 KiB
//! ```

pub mod raid0;

use crate::bitmap;
use crate::error::FormatError;
use crate::limits::{BAD_BLOCK_LOG_SECTORS, PPL_AREA_SECTORS, V0_MAX_MEMBER_SECTORS};
use crate::place::Place;
use crate::terms::{Level, Version};

const GIB: u64 = 1024 * 1024 * 2;
const MIB: u64 = 1024 * 2;

/// What is kept beside the superblock against the write hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// Nothing; room for a later bitmap is left.
    Nothing,
    /// A write-intent bitmap.
    Bitmap {
        /// Sectors that it describes: the member's, on raid10 the array's.
        sync_size_sectors: u64,
        /// Bytes that one bit stands for.
        chunk_bytes: u32,
    },
    /// A partial parity log.
    Ppl,
}

/// Room that a new member leaves for a bitmap: 4 KiB, above 8 GiB 64 KiB, from 200 GiB on 128 KiB.
pub fn bitmap_space(device_sectors: u64) -> u64 {
    match device_sectors {
        ..128 => 0,
        large if large - 128 >= 200 * GIB => 256,
        middle if middle - 8 > 8 * GIB => 128,
        _ => 8,
    }
}

/// The data offset of a new array. mdadm computes it from the first member and uses it for all.
///
/// 12 KiB for the metadata, the bitmap space (or the PPL) and a headroom for later reshapes of about 0.1 %, at most
/// 128 MiB and at least two chunks; rounded up to 1 MiB.
pub fn default_data_offset(
    version: Version,
    device_sectors: u64,
    chunk_sectors: u32,
    reserve: Reserve,
) -> u64 {
    if matches!(version, Version::V0_90 | Version::V1_0) {
        return 0;
    }
    let mut headroom = 128 * MIB;
    while headroom << 10 > device_sectors
        && (chunk_sectors == 0 || headroom / 2 >= u64::from(chunk_sectors) * 2)
    {
        headroom /= 2;
    }
    (24 + reserved_space(device_sectors, reserve) + headroom).next_multiple_of(MIB)
}

fn reserved_space(device_sectors: u64, reserve: Reserve) -> u64 {
    match reserve {
        Reserve::Ppl => PPL_AREA_SECTORS.into(),
        _ => bitmap_space(device_sectors),
    }
}

/// Sectors that a new member has for data, before rounding.
pub fn available_sectors(
    version: Version,
    device_sectors: u64,
    data_offset: u64,
    reserve: Reserve,
) -> Result<u64, FormatError> {
    let found = device_sectors;
    let Some(place) = Place::of(version, device_sectors) else {
        let expected = if version.is_v1() { 24 } else { 128 };
        return Err(FormatError::DeviceTooSmall { found, expected });
    };
    let (end, overhead) = match version {
        Version::V0_90 => (place.sector, data_offset),
        // Superblock, bad-block log, bitmap.
        Version::V1_0 => (device_sectors & !7, 24 + reserved_space(device_sectors, reserve)),
        _ => (device_sectors, data_offset),
    };
    let moved = !matches!(version, Version::V1_1 | Version::V1_2) && data_offset != 0;
    if moved {
        return Err(FormatError::NotInThisVersion { what: "a data offset, with the superblock at the end" });
    }
    end.checked_sub(overhead).ok_or(FormatError::DeviceTooSmall { found, expected: overhead })
}

/// Where the superblock of a member of an array that runs belongs, and how many sectors it has for data, when its device
/// has so many: it may have grown. As the kernel counts them (`super_1_rdev_size_change`, `super_90_rdev_size_change`).
pub fn grown_member(version: Version, device_sectors: u64, data_offset: u64) -> Option<(Place, u64)> {
    let place = Place::of(version, device_sectors)?;
    let end = match version {
        Version::V0_90 => place.sector.min(V0_MAX_MEMBER_SECTORS),
        Version::V1_0 => {
            place.sector.checked_sub(bitmap_space(device_sectors) + u64::from(BAD_BLOCK_LOG_SECTORS))?
        }
        _ => device_sectors,
    };
    Some((place, end.checked_sub(data_offset)?))
}

/// Sectors that each member of a new array gives: the smallest of what they have, rounded down to the chunk (raid1: to
/// 64 KiB, so that it can become raid5). Zero for linear and raid0, where every member gives all it has.
pub fn component_size(
    version: Version,
    level: Level,
    chunk_sectors: u32,
    available: impl IntoIterator<Item = u64>,
) -> Result<u64, FormatError> {
    if !level.has_equal_members() {
        return Ok(0);
    }
    let unit = if level == Level::Raid1 { 128 } else { u64::from(chunk_sectors).max(2) };
    let smallest = available.into_iter().min().unwrap_or(0);
    let size = smallest - smallest % unit;
    let most = if version.is_v1() { u64::MAX } else { V0_MAX_MEMBER_SECTORS };
    if size == 0 || size > most {
        return Err(FormatError::Range { field: "member size", found: size, least: unit, most });
    }
    Ok(size)
}

/// Where the parts of a new member lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberLayout {
    /// Sector of the superblock.
    pub super_offset: u64,
    /// First sector of the data.
    pub data_offset: u64,
    /// Sectors for data.
    pub data_size: u64,
    /// Signed sectors from the superblock to bitmap or PPL, and their length.
    pub reserved: Option<(i32, u64)>,
    /// Signed sectors from the superblock to the bad-block log of [`BAD_BLOCK_LOG_SECTORS`].
    pub bad_block_log: Option<i32>,
}

/// Lays out a new 1.x member whose array uses `size_sectors` of it (0 for linear and raid0).
pub fn member_layout(
    version: Version,
    device_sectors: u64,
    data_offset: u64,
    size_sectors: u64,
    reserve: Reserve,
) -> Result<MemberLayout, FormatError> {
    available_sectors(version, device_sectors, data_offset, reserve)?;
    let too_small = FormatError::DeviceTooSmall { found: device_sectors, expected: size_sectors };
    let super_offset = Place::of(version, device_sectors).ok_or(too_small)?.sector;
    let reserved = reserved_area(version, reserve);
    let log = u64::from(BAD_BLOCK_LOG_SECTORS);
    // The room for a later bitmap is counted from the size in use here, not from the device.
    let space = reserved.map_or(bitmap_space(size_sectors), |(_, sectors)| sectors);

    let (data_size, bad_block_log) = if version == Version::V1_0 {
        let free = super_offset.checked_sub(size_sectors).ok_or(too_small)?;
        let space = free.min(space + log);
        (super_offset - space, (space >= log).then_some(-i32::from(BAD_BLOCK_LOG_SECTORS as u8)))
    } else {
        let data_size = device_sectors.checked_sub(data_offset).ok_or(too_small)?;
        let room = data_offset.checked_sub(super_offset).ok_or(too_small)?;
        let behind_space = 8 + space;
        let offset = if room >= behind_space + log {
            Some(behind_space)
        } else {
            room.checked_sub(log).filter(|at| *at >= 8)
        };
        (data_size, offset.and_then(|offset| i32::try_from(offset).ok()))
    };
    Ok(MemberLayout { super_offset, data_offset, data_size, reserved, bad_block_log })
}

/// Signed sectors from the superblock to the bitmap or PPL of a new array, and its length.
fn reserved_area(version: Version, reserve: Reserve) -> Option<(i32, u64)> {
    let log = i32::from(BAD_BLOCK_LOG_SECTORS as u8);
    match reserve {
        Reserve::Nothing => None,
        Reserve::Ppl if version == Version::V1_0 => {
            Some((-i32::from(PPL_AREA_SECTORS as i16) - log, PPL_AREA_SECTORS.into()))
        }
        Reserve::Ppl => Some((8, PPL_AREA_SECTORS.into())),
        Reserve::Bitmap { sync_size_sectors, chunk_bytes } => {
            let sectors = bitmap::area_sectors(sync_size_sectors, chunk_bytes);
            let offset = match version {
                // Room for one bit more than there may be, as mdadm counts when it places a bitmap before something.
                Version::V1_0 => {
                    -i32::try_from(bitmap::roomy_sectors(sync_size_sectors, chunk_bytes)).ok()? - log
                }
                _ => 8,
            };
            Some((offset, sectors))
        }
    }
}

/// Sectors of an array whose members all give the same (raid1, raid4, raid5, raid6, raid10). `None` for other levels
/// and for numbers that make no array.
pub fn array_sectors(
    level: Level,
    layout: u32,
    chunk_sectors: u32,
    raid_disks: u32,
    size_sectors: u64,
) -> Option<u64> {
    let disks = u64::from(raid_disks);
    let chunk = u64::from(chunk_sectors);
    let striped = |disks: u64| round_down(size_sectors, chunk)?.checked_mul(disks);
    match level {
        Level::Raid1 => Some(size_sectors),
        Level::Raid4 | Level::Raid5 => striped(disks.checked_sub(1)?),
        Level::Raid6 => striped(disks.checked_sub(2)?),
        Level::Raid10 => {
            let (near, far) = (u64::from(layout & 0xff), u64::from(layout >> 8 & 0xff));
            let chunks = size_sectors.checked_div(chunk)?.checked_div(far)?;
            chunks.checked_mul(disks)?.checked_div(near)?.checked_mul(chunk)
        }
        _ => None,
    }
}

/// Sectors that a member of a linear array gives: all it has, rounded down to the rounding if there is one.
pub fn linear_member_sectors(data_size: u64, rounding_sectors: u32) -> u64 {
    round_down(data_size, rounding_sectors.into()).unwrap_or(data_size)
}

/// Sectors of a linear array.
pub fn linear_sectors(data_sizes: impl IntoIterator<Item = u64>, rounding_sectors: u32) -> Option<u64> {
    data_sizes
        .into_iter()
        .try_fold(0u64, |sum, data_size| sum.checked_add(linear_member_sectors(data_size, rounding_sectors)))
}

fn round_down(sectors: u64, unit: u64) -> Option<u64> {
    Some(sectors - sectors.checked_rem(unit)?)
}

#[cfg(test)]
mod tests;
