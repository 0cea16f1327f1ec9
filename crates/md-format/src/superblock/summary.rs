//! What a superblock says, the same for both families. A plain copy of facts: changing it changes no disk.

use crate::features::Features;
use crate::terms::{ByteOrder, Level, MemberFlags, Name, ResyncOffset, Role, UuidText, Version};

/// The facts of one member's superblock. Sectors of 512 bytes; absolute sectors count from the member's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Metadata version, from the place where the superblock was found.
    pub version: Version,
    /// Byte order; only 0.90 can be [`ByteOrder::Big`].
    pub byte_order: ByteOrder,
    /// The array's uuid, its bytes as on the disk (also those of the bitmap's copy).
    pub array_uuid: [u8; 16],
    /// The array's name; none in 0.90.
    pub name: Name,
    /// RAID level.
    pub level: Level,
    /// Layout number, meaning by level; for raid0 only if [`Features::RAID0_LAYOUT`] is set.
    pub layout: u32,
    /// Chunk; 0 for raid1, rounding for linear (0 = none).
    pub chunk_sectors: u32,
    /// Slots (while reshaping: of the new shape on 1.x; of the larger one on 0.90).
    pub raid_disks: u32,
    /// Sectors that each member gives; 0 for linear and raid0, where each gives all it has.
    pub size_sectors: u64,
    /// First sector of the member's data.
    pub data_offset: u64,
    /// Sectors from the data offset that may hold data.
    pub data_size: u64,
    /// Sector of the superblock itself.
    pub super_offset: u64,
    /// Creation, seconds since 1970.
    pub ctime_s: u64,
    /// Last update, seconds since 1970.
    pub utime_s: u64,
    /// Update counter.
    pub events: u64,
    /// How far the array is consistent. Complete and clean are the same thing on a disk.
    pub resync: ResyncOffset,
    /// This device's permanent number: its index among the entries (on 0.90 not permanent,
    /// see [`crate::superblock::ArrayUpdate::number_in`]).
    pub dev_number: u32,
    /// This device's own uuid; none in 0.90.
    pub device_uuid: Option<[u8; 16]>,
    /// What this device is, by its own superblock. A member one event behind must ask the freshest instead.
    pub role: Role,
    /// How far this device was rebuilt; `None` means in sync (if active).
    pub recovery: Option<Recovery>,
    /// This device replaces the working one of the same slot.
    pub replacement: bool,
    /// On a journal: sector from the data offset of the oldest entry that is needed.
    pub journal_tail: Option<u64>,
    /// Write-mostly, failfast.
    pub flags: MemberFlags,
    /// Read errors that were corrected by writing.
    pub corrected_reads: u32,
    /// The reshape under way.
    pub reshape: Option<Reshape>,
    /// The internal write-intent bitmap.
    pub bitmap: Option<BitmapPlace>,
    /// The partial parity log.
    pub ppl: Option<PplPlace>,
    /// The room for the bad-block log.
    pub bad_block_log: Option<BadBlockLog>,
    /// Logical block size that kernels from 6.19 record; 0 = not recorded.
    pub logical_block_bytes: u32,
    /// Feature map (0.90: none).
    pub features: Features,
    /// Number of device entries (0.90: 27).
    pub max_dev: u32,
    /// 0.90's `md_minor`: the number of the md device it would like to be.
    pub preferred_minor: Option<u32>,
}

/// The recovery of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Sectors from the data offset that are rebuilt.
    pub offset_sectors: u64,
    /// The member was in this slot before; only what the bitmap marks needs copying.
    pub by_bitmap: bool,
}

/// A reshape under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reshape {
    /// Next array sector to move.
    pub position: u64,
    /// New minus old number of slots.
    pub delta_disks: i32,
    /// Level afterwards.
    pub new_level: Level,
    /// Layout afterwards.
    pub new_layout: u32,
    /// Chunk afterwards.
    pub new_chunk_sectors: u32,
    /// From the end of the array to its start.
    pub backwards: bool,
    /// This member's data offset afterwards (equal to `data_offset` if the data does not move).
    pub new_data_offset: u64,
}

/// Where the write-intent bitmap's superblock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitmapPlace {
    /// Signed sectors from the superblock, the same on all members.
    pub offset_sectors: i32,
    /// Absolute sector on this member.
    pub sector: u64,
}

/// Where the partial parity log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PplPlace {
    /// Signed sectors from the superblock.
    pub offset_sectors: i16,
    /// Length.
    pub sectors: u16,
    /// Absolute sector on this member.
    pub sector: u64,
    /// The area is a ring of several logs.
    pub multiple: bool,
}

/// Where the bad-block log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBlockLog {
    /// Signed sectors from the superblock.
    pub offset_sectors: i32,
    /// Length.
    pub sectors: u16,
    /// Entries count in units of 2^shift sectors.
    pub shift: u8,
    /// Absolute sector on this member.
    pub sector: u64,
    /// The list is not empty (otherwise the area's content means nothing).
    pub in_use: bool,
}

impl Summary {
    /// Whether the array was stopped (or became idle) with everything consistent.
    pub fn is_clean(&self) -> bool {
        self.resync == ResyncOffset::Complete
    }

    /// Sectors from the data offset that the array uses on this member: `size_sectors`, or for linear and raid0
    /// everything (before rounding to chunks).
    pub fn used_sectors(&self) -> u64 {
        if self.level.has_equal_members() && self.role != Role::Journal {
            self.size_sectors
        } else {
            self.data_size
        }
    }

    /// The array's uuid as mdadm prints it.
    pub fn array_uuid_text(&self) -> UuidText {
        UuidText { uuid: self.array_uuid, version: self.version }
    }
}
