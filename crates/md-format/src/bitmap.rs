//! The write-intent bitmap: one bit for each chunk that may differ between members. `bitmap_super_t` of md-bitmap.h,
//! always little-endian. It has no checksum, hence no `seal`.
//!
//! ```text
//!  0  magic "bitm"  version      uuid (16 bytes)            |  56  daemon_sleep   write_behind
//! 24  events                     events_cleared             |  64  reserved       nodes
//! 40  sync_size                  state        chunk_bytes   |  72  cluster_name (64 bytes), zero up to 256
//! 256 bits: chunk n is bit n % 8 (the lowest first) of byte 256 + n / 8; set = may differ
//! ```
//!
//! Version 3 has its bits in the byte order of the machine that wrote them, which on little-endian machines is the same
//! as version 4. Version 5 (clustered) has one whole bitmap a node, each rounded up to 4 KiB. Version 6 (lockless) has a
//! byte a chunk behind 1024 bytes: it is recognised and named, nothing more.

mod beside;
mod new;

pub use beside::{beside, grown_chunk_bytes, space_sectors};
pub use new::{NewBitmap, area_sectors, default_chunk_bytes, least_chunk_bytes, roomy_sectors};

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FormatError;

/// "bitm".
pub const MAGIC: u32 = 0x6d74_6962;
/// Bytes of the superblock; the bits follow.
pub const SUPER_BYTES: usize = 256;
/// Most writes that may lag behind on write-mostly members: a 14-bit counter.
pub const MAX_WRITE_BEHIND: u32 = 16_383;

const FORM: &str = "bitmap";

/// Bits of `state`.
pub mod state {
    /// Out of date: everything may differ.
    pub const STALE: u32 = 1 << 1;
    /// Writing the bitmap failed.
    pub const WRITE_ERROR: u32 = 1 << 2;
    /// Lockless only: never used yet.
    pub const FIRST_USE: u32 = 1 << 3;
    /// Lockless only: nothing is dirty.
    pub const CLEAN: u32 = 1 << 4;
    /// Lockless only: the daemon was at work.
    pub const DAEMON_BUSY: u32 = 1 << 5;
    /// Bits are in the byte order of the host (version 3).
    pub const HOST_ENDIAN: u32 = 1 << 15;
}

/// A bitmap superblock over the caller's bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are md-bitmap.h's, the ruler shows them")]
pub struct BitmapSuper {
    pub magic: U32,
    pub version: U32,
    pub uuid: [u8; 16],
    pub events: U64,
    pub events_cleared: U64,
    pub sync_size: U64,
    pub state: U32,
    pub chunk_bytes: U32,
    pub daemon_sleep_s: U32,
    pub write_behind: U32,
    pub reserved_sectors: U32,
    pub nodes: U32,
    pub cluster_name: [u8; 64],
    pub pad: [u8; 120],
}

assert_layout!(BitmapSuper, 256, {
    magic: 0, version: 4, uuid: 8, events: 24, events_cleared: 32, sync_size: 40, state: 48, chunk_bytes: 52,
    daemon_sleep_s: 56, write_behind: 60, reserved_sectors: 64, nodes: 68, cluster_name: 72, pad: 136,
});

/// What kind of bitmap a version number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 3: bits in the order of the machine.
    HostEndian,
    /// 4: bits in little-endian order; what is made today.
    Little,
    /// 5: one bitmap for each node of a cluster.
    Clustered,
    /// 6: lockless, one byte a chunk.
    Lockless,
}

impl BitmapSuper {
    /// Reads these bytes as a bitmap superblock: the magic is right, nothing else is known.
    pub fn view(bytes: &[u8]) -> Result<&BitmapSuper, FormatError> {
        let found = bytes.len();
        let (bitmap, _) = BitmapSuper::ref_from_prefix(bytes).map_err(|_| too_short(found))?;
        bitmap.has_magic()?;
        Ok(bitmap)
    }

    /// The same, to change fields in place.
    pub fn edit(bytes: &mut [u8]) -> Result<&mut BitmapSuper, FormatError> {
        let bitmap = BitmapSuper::overlay(bytes)?;
        bitmap.has_magic()?;
        Ok(bitmap)
    }

    fn overlay(bytes: &mut [u8]) -> Result<&mut BitmapSuper, FormatError> {
        let found = bytes.len();
        let (bitmap, _) = BitmapSuper::mut_from_prefix(bytes).map_err(|_| too_short(found))?;
        Ok(bitmap)
    }

    fn has_magic(&self) -> Result<(), FormatError> {
        let found = self.magic.get();
        if found != MAGIC { Err(FormatError::Magic { form: FORM, found, expected: MAGIC }) } else { Ok(()) }
    }

    /// The kind of bitmap, if its version is known.
    pub fn kind(&self) -> Result<Kind, FormatError> {
        match self.version.get() {
            3 => Ok(Kind::HostEndian),
            4 => Ok(Kind::Little),
            5 => Ok(Kind::Clustered),
            6 => Ok(Kind::Lockless),
            found => Err(FormatError::Version { field: "bitmap version", found, expected: "3 to 6" }),
        }
    }

    /// Whether the kernel would take it for the bitmap of this array (`md_bitmap_read_sb`). A lockless one is refused.
    /// Whether it is up to date is another question: [`BitmapSuper::is_stale`].
    pub fn check(&self, array_uuid: &[u8; 16]) -> Result<(), FormatError> {
        if self.kind()? == Kind::Lockless {
            return Err(FormatError::Version {
                field: "bitmap version",
                found: 6,
                expected: "3, 4 or 5 (6 is lockless)",
            });
        }
        let chunk = self.chunk_bytes.get();
        if !chunk.is_power_of_two() {
            return Err(FormatError::PowerOfTwo { field: "bitmap chunk", found: chunk.into() });
        }
        check_range("bitmap chunk", chunk, 512, u32::MAX)?;
        check_range("bitmap daemon_sleep", self.daemon_sleep_s.get(), 1, u32::MAX)?;
        check_range("bitmap write_behind", self.write_behind.get(), 0, MAX_WRITE_BEHIND)?;
        if self.uuid != *array_uuid {
            return Err(FormatError::Uuid { form: FORM, found: self.uuid, expected: *array_uuid });
        }
        Ok(())
    }

    /// Whether everything must be taken as dirty: marked so, or older than the superblock's events.
    pub fn is_stale(&self, array_events: u64) -> bool {
        self.state.get() & state::STALE != 0 || self.events.get() < array_events
    }

    /// How many chunks (bits) it describes; `None` if the chunk size is nonsense.
    pub fn chunks(&self) -> Option<u64> {
        chunks(self.sync_size.get(), self.chunk_bytes.get())
    }

    /// Bytes of superblock and bits, one node's.
    pub fn total_bytes(&self) -> Option<u64> {
        Some(SUPER_BYTES as u64 + self.chunks()?.div_ceil(8))
    }

    /// Sets what a metadata write of the kernel sets (`md_bitmap_update_sb`): the events before the superblock's are
    /// written; `events_cleared` moves only while the array is not degraded, and back with the events.
    pub fn sync(&mut self, events: u64, events_cleared: u64, stale: bool) {
        let kept = self.state.get() & !(state::WRITE_ERROR | state::STALE);
        self.events = events.into();
        self.events_cleared = events_cleared.min(events).into();
        self.state = (kept | if stale { state::STALE } else { 0 }).into();
    }
}

/// How many chunks of so many bytes cover so many sectors.
pub fn chunks(sync_size_sectors: u64, chunk_bytes: u32) -> Option<u64> {
    let chunk_sectors = u64::from(chunk_bytes >> 9);
    (chunk_sectors != 0).then(|| sync_size_sectors.div_ceil(chunk_sectors))
}

/// Where the bit of a chunk is: the byte from the start of the bitmap's superblock, and the bit's mask in it.
pub fn bit(chunk: u64) -> (u64, u8) {
    (SUPER_BYTES as u64 + chunk / 8, 1 << (chunk % 8))
}

fn check_range(field: &'static str, found: u32, least: u32, most: u32) -> Result<(), FormatError> {
    if found < least || found > most {
        let (found, least, most) = (found.into(), least.into(), most.into());
        return Err(FormatError::Range { field, found, least, most });
    }
    Ok(())
}

fn too_short(found: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected: SUPER_BYTES }
}

#[cfg(test)]
mod tests;
