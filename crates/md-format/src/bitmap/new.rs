//! A new bitmap as mdadm 4.4 makes it. Sources: `add_internal_bitmap1`, `add_internal_bitmap0`, `write_bitmap1`.

use super::{BitmapSuper, MAGIC, MAX_WRITE_BEHIND, SUPER_BYTES};
use crate::error::FormatError;
use crate::terms::Version;

/// Chunks that nobody asked for are not smaller than this: 64 MiB, since each first write to a chunk waits for its bit.
const DEFAULT_CHUNK_BYTES: u64 = 64 << 20;
/// The smallest chunk that mdadm makes.
const MIN_CHUNK_BYTES: u64 = 4096;
/// Sectors behind a 0.90 superblock: 60 KiB.
pub(super) const V0_SECTORS: u64 = 120;
const BLOCK_BYTES: u64 = 4096;

/// A bitmap to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewBitmap {
    /// The array's uuid, bytes as in its superblock.
    pub uuid: [u8; 16],
    /// Sectors that it describes: the member's, on raid10 the array's.
    pub sync_size_sectors: u64,
    /// Bytes that one bit stands for.
    pub chunk_bytes: u32,
    /// Seconds between two rounds of clearing bits; mdadm's default is 5.
    pub daemon_sleep_s: u32,
    /// Most writes that may lag behind on write-mostly members; 0 = none.
    pub write_behind: u32,
}

impl NewBitmap {
    /// Writes the whole area: the superblock and, since nothing is in sync yet, all ones behind it.
    pub fn create(&self, area: &mut [u8]) -> Result<(), FormatError> {
        if !self.chunk_bytes.is_power_of_two() {
            return Err(FormatError::PowerOfTwo { field: "bitmap chunk", found: self.chunk_bytes.into() });
        }
        let (behind, most) = (self.write_behind, MAX_WRITE_BEHIND);
        super::check_range("bitmap write_behind", behind, 0, most)?;
        BitmapSuper::overlay(area)?;
        area[..SUPER_BYTES].fill(0);
        area[SUPER_BYTES..].fill(0xff);
        let bitmap = BitmapSuper::overlay(area)?;
        bitmap.magic = MAGIC.into();
        bitmap.version = 4.into();
        bitmap.uuid = self.uuid;
        bitmap.sync_size = self.sync_size_sectors.into();
        bitmap.chunk_bytes = self.chunk_bytes.into();
        bitmap.daemon_sleep_s = self.daemon_sleep_s.into();
        bitmap.write_behind = behind.into();
        Ok(())
    }
}

/// The chunk that mdadm takes when none was asked for: 64 MiB, or more if the bits would not fit the room that a new
/// member leaves. `None` if there is no room at all.
pub fn default_chunk_bytes(version: Version, size_sectors: u64, sync_size_sectors: u64) -> Option<u32> {
    least_chunk_bytes(version, size_sectors, sync_size_sectors).map(default_of)
}

/// The smallest chunk whose bits fit the room that a new member leaves. `None` if there is no room at all.
pub fn least_chunk_bytes(version: Version, size_sectors: u64, sync_size_sectors: u64) -> Option<u32> {
    let room_sectors = match version {
        Version::V0_90 => V0_SECTORS,
        _ => crate::geometry::bitmap_space(size_sectors),
    };
    least_of(room_sectors, sync_size_sectors)
}

/// What a bit stands for where nobody asked, and this is the least that fits.
pub(super) fn default_of(least: u32) -> u32 {
    least.max(DEFAULT_CHUNK_BYTES as u32)
}

/// The smallest chunk whose bits fit so many sectors.
pub(super) fn least_of(room_sectors: u64, sync_size_sectors: u64) -> Option<u32> {
    let most_bits = (room_sectors * 512).checked_sub(SUPER_BYTES as u64)? * 8;
    let mut chunk = MIN_CHUNK_BYTES;
    let mut bits = sync_size_sectors / (MIN_CHUNK_BYTES / 512) + 1;
    while bits > most_bits {
        chunk = chunk.checked_mul(2)?;
        bits = bits.div_ceil(2);
    }
    u32::try_from(chunk).ok()
}

/// Sectors of superblock and bits, rounded up to 4 KiB. A chunk of nonsense gives the superblock's own.
pub fn area_sectors(sync_size_sectors: u64, chunk_bytes: u32) -> u64 {
    sectors_of(super::chunks(sync_size_sectors, chunk_bytes).unwrap_or(0))
}

/// The same with one bit more wherever the size is a whole number of chunks: how mdadm counts when it places a bitmap.
pub fn roomy_sectors(sync_size_sectors: u64, chunk_bytes: u32) -> u64 {
    sectors_of(
        sync_size_sectors
            .checked_div(u64::from(chunk_bytes >> 9))
            .map_or(0, |chunks| chunks.saturating_add(1)),
    )
}

fn sectors_of(bits: u64) -> u64 {
    (SUPER_BYTES as u64 + bits.div_ceil(8)).div_ceil(BLOCK_BYTES) * (BLOCK_BYTES / 512)
}
