//! What a metadata write changes: the array's state and that of the member whose superblock is written.

use crate::features::Features;
use crate::superblock::summary::{PplPlace, Recovery, Reshape, Summary};
use crate::terms::{Level, MemberFlags, ResyncOffset, Role, Version};

/// The state of the array, the same for all members of one metadata write.
#[derive(Debug, Clone, Copy)]
pub struct ArrayUpdate<'a> {
    /// Update counter.
    pub events: u64,
    /// Now, seconds since 1970.
    pub utime_s: u64,
    /// No write is under way and none will be before the next metadata write ("in_sync" of the kernel).
    pub clean: bool,
    /// How far the array is consistent. While not clean this is not recorded: the disk then says "from the start".
    pub resync: ResyncOffset,
    /// Level.
    pub level: Level,
    /// Layout; for raid0 recorded only if it is one (1 original, 2 alternate).
    pub layout: u32,
    /// Chunk.
    pub chunk_sectors: u32,
    /// Slots.
    pub raid_disks: u32,
    /// Sectors that each member gives.
    pub size_sectors: u64,
    /// The internal bitmap's signed distance from the superblock.
    pub bitmap_offset: Option<i32>,
    /// The bitmap is a clustered one.
    pub clustered: bool,
    /// There is a journal; `Some(true)`: it is clean, so a dirty array needs no resync.
    pub journal_clean: Option<bool>,
    /// The reshape under way.
    pub reshape: Option<ReshapeUpdate>,
    /// Every device that the array knows, in the kernel's order of them (which numbers 0.90's spares).
    pub entries: &'a [Entry],
}

/// The reshape's state, array-wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReshapeUpdate {
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
}

/// One device in the array's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The device's number.
    pub dev_number: u32,
    /// Its role.
    pub role: Role,
    /// In sync; an active member that is not is being rebuilt.
    pub in_sync: bool,
    /// Write-mostly, failfast (recorded for all devices by 0.90 only).
    pub flags: MemberFlags,
    /// Major and minor of the block device (recorded by 0.90 only; nobody believes them).
    pub device: (u32, u32),
}

/// The state of the member whose superblock is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberUpdate {
    /// Its number among the entries.
    pub dev_number: u32,
    /// Write-mostly, failfast.
    pub flags: MemberFlags,
    /// Read errors corrected so far.
    pub corrected_reads: u32,
    /// How far it is rebuilt; `None` when in sync, a spare or a journal.
    pub recovery: Option<Recovery>,
    /// It replaces the working member of its slot.
    pub replacement: bool,
    /// First sector of its data.
    pub data_offset: u64,
    /// Sectors for data.
    pub data_size: u64,
    /// First sector of its data after the reshape.
    pub new_data_offset: u64,
    /// The journal's tail, on a journal.
    pub journal_tail: Option<u64>,
    /// The partial parity log, if the array keeps one.
    pub ppl: Option<PplPlace>,
    /// Its bad-block list is not empty.
    pub has_bad_blocks: bool,
}

impl ArrayUpdate<'_> {
    /// The number that a device of the list has in the superblocks once this update is written. On 1.x numbers are
    /// permanent; 0.90 numbers anew at each write, and the member must be known by its new number after the next read.
    pub fn number_in(&self, version: Version, dev_number: u32) -> Option<u32> {
        match version {
            Version::V0_90 => self.v0_number(dev_number),
            _ => self.entries.iter().any(|entry| entry.dev_number == dev_number).then_some(dev_number),
        }
    }
}

impl Summary {
    /// The update that would change nothing but takes `entries` as the array's devices: a start to change fields from.
    pub fn array_update<'a>(&self, entries: &'a [Entry]) -> ArrayUpdate<'a> {
        ArrayUpdate {
            events: self.events,
            utime_s: self.utime_s,
            // Position 0 reads the same clean or dirty.
            clean: self.resync != ResyncOffset::At(0),
            resync: self.resync,
            level: self.level,
            layout: self.layout,
            chunk_sectors: self.chunk_sectors,
            raid_disks: self.raid_disks,
            size_sectors: self.size_sectors,
            bitmap_offset: self.bitmap.map(|bitmap| bitmap.offset_sectors),
            clustered: self.features.has(Features::CLUSTERED),
            journal_clean: self.features.has(Features::JOURNAL).then(|| self.is_clean()),
            reshape: self.reshape.map(ReshapeUpdate::from),
            entries,
        }
    }

    /// The update that would change nothing of this member.
    pub fn member_update(&self) -> MemberUpdate {
        MemberUpdate {
            dev_number: self.dev_number,
            flags: self.flags,
            corrected_reads: self.corrected_reads,
            recovery: self.recovery,
            replacement: self.replacement,
            data_offset: self.data_offset,
            data_size: self.data_size,
            new_data_offset: self.reshape.map_or(self.data_offset, |reshape| reshape.new_data_offset),
            journal_tail: self.journal_tail,
            ppl: self.ppl,
            has_bad_blocks: self.bad_block_log.is_some_and(|log| log.in_use),
        }
    }
}

impl From<Reshape> for ReshapeUpdate {
    fn from(reshape: Reshape) -> ReshapeUpdate {
        ReshapeUpdate {
            position: reshape.position,
            delta_disks: reshape.delta_disks,
            new_level: reshape.new_level,
            new_layout: reshape.new_layout,
            new_chunk_sectors: reshape.new_chunk_sectors,
            backwards: reshape.backwards,
        }
    }
}
