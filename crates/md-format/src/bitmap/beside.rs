//! A bitmap that is added to members that exist, or has to describe more than before. Where it lies and what a bit stands
//! for follows mdadm's `add_internal_bitmap1` and `add_internal_bitmap0`; how it grows, the kernel's `md_bitmap_resize`.

use super::new::{V0_SECTORS, default_of, least_of, roomy_sectors};
use super::{BitmapSuper, SUPER_BYTES};
use crate::error::FormatError;
use crate::limits::SUPERBLOCK_SECTORS;
use crate::superblock::Summary;
use crate::terms::Version;

/// Sectors of a bitmap whose chunk nobody asked for: 128 KiB.
const MOST_UNASKED: i64 = 256;
/// Behind a 1.0 superblock of few devices: 3 KiB, from its second sector pair on.
const BEHIND_V1_0: (i32, i64) = (2, 6);
/// Up to so many devices that room is free.
const FEW_DEVICES: u32 = 384;

/// Where a bitmap finds room beside a member's superblock: its signed distance in sectors, and the bytes that a bit stands
/// for. `chunk_bytes`: what somebody asked for.
pub fn beside(
    summary: &Summary,
    sync_size_sectors: u64,
    chunk_bytes: Option<u32>,
) -> Result<(i32, u32), FormatError> {
    let (offset, room, log) = room(summary);
    let room = if chunk_bytes.is_none() { room.min(MOST_UNASKED) } else { room };
    let no_room = |found: i64| FormatError::Range {
        field: "room for a bitmap, in sectors",
        found: found.max(0) as u64,
        least: 2,
        most: u64::MAX,
    };
    let sectors = u64::try_from(room).ok().filter(|room| *room > 1).ok_or(no_room(room))?;
    let least = least_of(sectors, sync_size_sectors).ok_or(no_room(room))?;
    let chunk = chunk_bytes.unwrap_or(default_of(least));
    if !chunk.is_power_of_two() {
        return Err(FormatError::PowerOfTwo { field: "bitmap chunk", found: chunk.into() });
    }
    super::check_range("bitmap chunk", chunk, least, u32::MAX)?;
    let before = || i32::try_from(roomy_sectors(sync_size_sectors, chunk) as i64 + log).map(|all| -all);
    match offset {
        Some(offset) => Ok((offset, chunk)),
        None => Ok((before().map_err(|_| no_room(room))?, chunk)),
    }
}

/// The distance from the superblock, if it is fixed, how many sectors there are, and how many the bad-block log takes.
fn room(summary: &Summary) -> (Option<i32>, i64, i64) {
    let signed = |sectors: u64| i64::try_from(sectors).unwrap_or(i64::MAX / 4);
    let (superblock, data) = (signed(summary.super_offset), signed(summary.data_offset));
    let log = summary.bad_block_log.map(|log| (i64::from(log.offset_sectors), i64::from(log.sectors)));
    let own = SUPERBLOCK_SECTORS as i64;
    match summary.version {
        Version::V0_90 => (Some(own as i32), V0_SECTORS as i64, 0),
        Version::V1_0 => {
            let room = superblock.saturating_sub(data).saturating_sub(signed(summary.data_size));
            let log = log.map_or(own, |(offset, sectors)| own.max(sectors).max(-offset));
            match room < BEHIND_V1_0.1 && summary.max_dev <= FEW_DEVICES {
                true => (Some(BEHIND_V1_0.0), BEHIND_V1_0.1, 0),
                false => (None, room - log, log),
            }
        }
        _ => {
            let room = log.map_or(data - superblock - own, |(offset, _)| offset);
            (Some(own as i32), room - own, 0)
        }
    }
}

/// Sectors that a bitmap at this distance from a superblock may take when it has to describe more. Where the metadata does
/// not tell, no more than it takes now.
pub fn space_sectors(version: Version, offset_sectors: i32, bitmap: &BitmapSuper) -> u64 {
    let now = bitmap.total_bytes().map_or(0, |bytes| bytes.div_ceil(512));
    let told = match version {
        Version::V0_90 => Some(V0_SECTORS),
        Version::V1_0 if offset_sectors > 0 => Some(SUPERBLOCK_SECTORS.saturating_sub(offset_sectors as u64)),
        Version::V1_0 => Some(u64::from(offset_sectors.unsigned_abs())),
        _ => None,
    };
    match u64::from(bitmap.reserved_sectors.get()) {
        0 => told.unwrap_or(now),
        reserved => told.unwrap_or(reserved).min(reserved),
    }
}

/// What a bit stands for in a bitmap that has to describe so many sectors in so much space: as much as before, or twice
/// that, and so on. `None` where that is more than can be recorded.
pub fn grown_chunk_bytes(chunk_bytes: u32, sync_size_sectors: u64, space_sectors: u64) -> Option<u32> {
    let mut chunk = chunk_bytes;
    let fits = |chunk: u32| {
        let bytes = super::chunks(sync_size_sectors, chunk)?.div_ceil(8).checked_add(SUPER_BYTES as u64)?;
        Some(bytes <= space_sectors.saturating_mul(512))
    };
    while !fits(chunk)? {
        chunk = chunk.checked_mul(2)?;
    }
    Some(chunk)
}
