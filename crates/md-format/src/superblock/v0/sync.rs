//! What a metadata write changes in a 0.90 superblock. Follows `super_90_sync`, which builds it anew each time; here
//! reserved bytes stay as found.
//!
//! Numbers are not permanent in 0.90: an active device's number is its slot, the others follow behind the last slot in
//! the order of the list. [`ArrayUpdate::number_in`] tells the number that a device gets.

use zerocopy::byteorder::LittleEndian;

use super::{Descriptor, SuperblockV0, disk, state};
use crate::error::FormatError;
use crate::limits::V0_MAX_DEVICES;
use crate::superblock::update::{ArrayUpdate, Entry, MemberUpdate};
use crate::terms::{MemberFlags, ResyncOffset, Role};

/// Makes the superblock say what the updates say; the caller seals it.
pub(in crate::superblock) fn sync(
    superblock: &mut SuperblockV0<LittleEndian>,
    array: &ArrayUpdate,
    member: &MemberUpdate,
) -> Result<(), FormatError> {
    let size_kib = u32::try_from(array.size_sectors / 2)
        .map_err(|_| FormatError::NotInThisVersion { what: "members of more than 4 TiB" })?;
    let chunk_bytes = to_bytes(array.chunk_sectors)?;
    let new_chunk_bytes = to_bytes(array.reshape.map_or(0, |reshape| reshape.new_chunk_sectors))?;
    let own = own_number(array, member)?;

    superblock.minor_version = if array.reshape.is_some() { 91.into() } else { 90.into() };
    superblock.level = array.level.number().into();
    superblock.size_kib = size_kib.into();
    superblock.raid_disks = array.raid_disks.into();
    superblock.not_persistent = 0.into();
    superblock.utime = u32::try_from(array.utime_s).unwrap_or(u32::MAX).into();
    superblock.events = array.events.into();
    superblock.layout = array.layout.into();
    superblock.chunk_bytes = chunk_bytes.into();
    write_reshape(superblock, array, new_chunk_bytes);
    write_state(superblock, array);
    write_descriptors(superblock, array);

    let number = own as usize;
    superblock.this_disk.copy(&superblock.disks[number]);
    Ok(())
}

impl ArrayUpdate<'_> {
    /// The number that a 0.90 superblock gives to the device that the list knows as `dev_number`.
    pub(in crate::superblock) fn v0_number(&self, dev_number: u32) -> Option<u32> {
        let (_, number) = self.v0_numbers().find(|(entry, _)| entry.dev_number == dev_number)?;
        Some(number)
    }

    /// Each device of the list with its number.
    fn v0_numbers(&self) -> impl Iterator<Item = (&Entry, u32)> {
        let mut next_spare = self.raid_disks;
        self.entries.iter().map(move |entry| match self.v0_slot(entry) {
            Some(slot) => (entry, slot.into()),
            None => {
                let number = next_spare;
                next_spare = next_spare.saturating_add(1);
                (entry, number)
            }
        })
    }

    /// The slot of a device that counts as active: in sync, or (for want of a recovery offset) any slot in a reshape.
    fn v0_slot(&self, entry: &Entry) -> Option<u16> {
        match entry.role {
            Role::Active(slot) if entry.in_sync || self.reshape.is_some() => Some(slot),
            _ => None,
        }
    }
}

/// The number of the member whose superblock is written, after seeing that every device has room.
fn own_number(array: &ArrayUpdate, member: &MemberUpdate) -> Result<u32, FormatError> {
    let highest = array.v0_numbers().map(|(_, number)| number.saturating_add(1)).max().unwrap_or(0);
    let needed = highest.max(array.raid_disks);
    if needed > V0_MAX_DEVICES {
        return Err(FormatError::TooManyDevices { found: needed, limit: V0_MAX_DEVICES });
    }
    let unknown = FormatError::DeviceNumber { found: member.dev_number, entries: array.entries.len() as u32 };
    array.v0_number(member.dev_number).ok_or(unknown)
}

pub(super) fn to_bytes(chunk_sectors: u32) -> Result<u32, FormatError> {
    chunk_sectors.checked_mul(512).ok_or(FormatError::NotInThisVersion { what: "chunks of 4 GiB" })
}

fn write_reshape(superblock: &mut SuperblockV0<LittleEndian>, array: &ArrayUpdate, new_chunk_bytes: u32) {
    let reshape = array.reshape;
    superblock.reshape_position = reshape.map_or(0, |reshape| reshape.position).into();
    superblock.new_level = reshape.map_or(0, |reshape| reshape.new_level.number()).into();
    superblock.delta_disks = reshape.map_or(0, |reshape| reshape.delta_disks).into();
    superblock.new_layout = reshape.map_or(0, |reshape| reshape.new_layout).into();
    superblock.new_chunk_bytes = new_chunk_bytes.into();
}

/// The resync offset counts only with the event count of the same write; it has 32 bits, so a later one is understated.
fn write_state(superblock: &mut SuperblockV0<LittleEndian>, array: &ArrayUpdate) {
    let bitmap = if array.bitmap_offset.is_some() { state::BITMAP_PRESENT } else { 0 };
    let (offset, events, clean) = match (array.clean, array.resync) {
        (true, ResyncOffset::Complete) => (u32::MAX, array.events, state::CLEAN),
        (true, ResyncOffset::At(at)) => (u32::try_from(at).unwrap_or(u32::MAX - 7), array.events, 0),
        (false, _) => (0, 0, 0),
    };
    superblock.state = (clean | bitmap).into();
    superblock.resync_offset = offset.into();
    superblock.resync_events = events.into();
}

fn write_descriptors(superblock: &mut SuperblockV0<LittleEndian>, array: &ArrayUpdate) {
    for descriptor in &mut superblock.disks {
        descriptor.set(0, (0, 0), 0, 0);
    }
    // The kernel marks slot 0 before it fills it, and then does not count it as failed.
    superblock.disks[0].state = disk::REMOVED.into();

    let (mut active, mut spare) = (0u32, 0u32);
    for (entry, number) in array.v0_numbers() {
        let Some(descriptor) = superblock.disks.get_mut(number as usize) else { continue };
        let state = match (entry.role, array.v0_slot(entry)) {
            (Role::Faulty, _) => disk::FAULTY,
            (_, Some(_)) => {
                active += 1;
                if entry.in_sync { disk::ACTIVE | disk::SYNC } else { disk::ACTIVE }
            }
            _ => {
                spare += 1;
                0
            }
        };
        descriptor.set(number, entry.device, number, state | flag_bits(entry.flags));
    }

    let mut failed = 0u32;
    for (slot, descriptor) in (0..array.raid_disks).zip(&mut superblock.disks) {
        if descriptor.state.get() == 0 && descriptor.number.get() == 0 {
            descriptor.set(slot, (0, 0), slot, disk::REMOVED | disk::FAULTY);
            failed += 1;
        }
    }
    superblock.nr_disks = (array.entries.len() as u32).into();
    superblock.active_disks = active.into();
    superblock.working_disks = (active + spare).into();
    superblock.failed_disks = failed.into();
    superblock.spare_disks = spare.into();
}

fn flag_bits(flags: MemberFlags) -> u32 {
    let write_mostly = if flags.write_mostly { disk::WRITE_MOSTLY } else { 0 };
    let failfast = if flags.failfast { disk::FAILFAST } else { 0 };
    write_mostly | failfast
}

impl Descriptor<LittleEndian> {
    pub(super) fn set(&mut self, number: u32, (major, minor): (u32, u32), raid_disk: u32, state: u32) {
        self.number = number.into();
        self.major = major.into();
        self.minor = minor.into();
        self.raid_disk = raid_disk.into();
        self.state = state.into();
    }

    pub(super) fn copy(&mut self, other: &Descriptor<LittleEndian>) {
        let device = (other.major.get(), other.minor.get());
        self.set(other.number.get(), device, other.raid_disk.get(), other.state.get());
    }
}
