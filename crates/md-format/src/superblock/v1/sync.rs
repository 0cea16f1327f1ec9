//! What a metadata write changes in a 1.x superblock. Follows `super_1_sync`, with three differences: padding that the
//! kernel zeroes stays as found, the raid0 layout bit (which the kernel drops) stays with the layout, and the device
//! number is written too.

use zerocopy::IntoBytes;

use super::{FAILFAST, PplField, SuperblockV1, WRITE_MOSTLY, role};
use crate::error::FormatError;
use crate::features::Features;
use crate::limits::V1_MAX_DEVICES;
use crate::superblock::update::{ArrayUpdate, Entry, MemberUpdate};
use crate::terms::{Level, ResyncOffset, Role};

/// Makes the superblock say what the updates say; the caller seals it.
pub(in crate::superblock) fn sync(
    superblock: &mut SuperblockV1,
    array: &ArrayUpdate,
    member: &MemberUpdate,
) -> Result<(), FormatError> {
    let max_dev = max_dev(superblock, array.entries)?;
    let new_offset = new_offset(member)?;

    superblock.feature_map = features(array, member).bits().into();
    superblock.pad0 = 0.into();
    superblock.utime = array.utime_s.into();
    superblock.events = array.events.into();
    superblock.resync_offset = resync_offset(array).into();
    superblock.raid_disks = array.raid_disks.into();
    superblock.size = array.size_sectors.into();
    superblock.chunk_sectors = array.chunk_sectors.into();
    superblock.level = array.level.number().into();
    superblock.layout = array.layout.into();

    superblock.dev_number = member.dev_number.into();
    superblock.corrected_reads = member.corrected_reads.into();
    superblock.devflags &= !(WRITE_MOSTLY | FAILFAST);
    superblock.devflags |= if member.flags.write_mostly { WRITE_MOSTLY } else { 0 };
    superblock.devflags |= if member.flags.failfast { FAILFAST } else { 0 };
    superblock.data_offset = member.data_offset.into();
    superblock.data_size = member.data_size.into();
    superblock.recovery_offset = match (member.journal_tail, member.recovery) {
        (Some(tail), _) => tail.into(),
        (None, Some(recovery)) => recovery.offset_sectors.into(),
        (None, None) => 0.into(),
    };

    if let Some(offset) = array.bitmap_offset {
        superblock.bitmap_offset = offset.into();
    }
    if let Some(place) = member.ppl {
        let field = PplField { offset: place.offset_sectors.into(), sectors: place.sectors.into() };
        superblock.bitmap_offset.as_mut_bytes().copy_from_slice(field.as_bytes());
    }
    if let Some(reshape) = array.reshape {
        superblock.reshape_position = reshape.position.into();
        superblock.new_layout = reshape.new_layout.into();
        superblock.delta_disks = reshape.delta_disks.into();
        superblock.new_level = reshape.new_level.number().into();
        superblock.new_chunk_sectors = reshape.new_chunk_sectors.into();
        if new_offset != 0 {
            superblock.new_offset = new_offset.into();
        }
    }

    superblock.max_dev = max_dev.into();
    write_roles(superblock, array.entries);
    Ok(())
}

/// While writes may be under way nothing is known to be consistent, unless the journal answers for it.
fn resync_offset(array: &ArrayUpdate) -> u64 {
    match (array.clean, array.journal_clean) {
        (true, _) => array.resync.sectors(),
        (false, Some(true)) => ResyncOffset::Complete.sectors(),
        (false, _) => ResyncOffset::At(0).sectors(),
    }
}

fn features(array: &ArrayUpdate, member: &MemberUpdate) -> Features {
    let recovery = member.recovery.filter(|_| member.journal_tail.is_none());
    let by_bitmap = recovery.is_some_and(|recovery| recovery.by_bitmap) && array.bitmap_offset.is_some();
    let mut features = Features::NONE
        .with(Features::BITMAP_OFFSET, array.bitmap_offset.is_some())
        .with(Features::RECOVERY_OFFSET, recovery.is_some())
        .with(Features::RECOVERY_BITMAP, by_bitmap)
        .with(Features::REPLACEMENT, member.replacement)
        .with(Features::BAD_BLOCKS, member.has_bad_blocks)
        .with(Features::CLUSTERED, array.clustered)
        .with(Features::JOURNAL, array.journal_clean.is_some())
        .with(Features::RAID0_LAYOUT, array.level == Level::Raid0 && matches!(array.layout, 1 | 2));
    if let Some(ppl) = member.ppl {
        features |= if ppl.multiple { Features::MULTIPLE_PPLS } else { Features::PPL };
    }
    if let Some(reshape) = array.reshape {
        features |= Features::RESHAPE_ACTIVE;
        let backwards = reshape.delta_disks == 0 && reshape.backwards;
        features = features
            .with(Features::RESHAPE_BACKWARDS, backwards)
            .with(Features::NEW_OFFSET, member.new_data_offset != member.data_offset);
    }
    features
}

fn new_offset(member: &MemberUpdate) -> Result<i32, FormatError> {
    let overflow = FormatError::NotInThisVersion { what: "data that moves by more than 1 TiB" };
    let distance = member.new_data_offset.checked_signed_diff(member.data_offset).ok_or(overflow)?;
    i32::try_from(distance).map_err(|_| overflow)
}

/// The list of devices grows, it never shrinks.
fn max_dev(superblock: &SuperblockV1, entries: &[Entry]) -> Result<u32, FormatError> {
    let highest = entries.iter().map(|entry| entry.dev_number).max();
    let needed = highest.map_or(0, |highest| highest.saturating_add(1));
    if needed > V1_MAX_DEVICES {
        return Err(FormatError::TooManyDevices { found: needed, limit: V1_MAX_DEVICES });
    }
    Ok(needed.max(superblock.max_dev.get().min(V1_MAX_DEVICES)))
}

/// Devices that are not in the list become spares: their number is free.
pub(super) fn write_roles(superblock: &mut SuperblockV1, entries: &[Entry]) {
    let count = superblock.roles().len();
    let roles = &mut superblock.dev_roles[..count];
    roles.fill(role::SPARE.into());
    for entry in entries {
        let number = match entry.role {
            Role::Active(slot) => slot,
            Role::Spare => role::SPARE,
            Role::Faulty => role::FAULTY,
            Role::Journal => role::JOURNAL,
        };
        if let Some(role) = usize::try_from(entry.dev_number).ok().and_then(|index| roles.get_mut(index)) {
            *role = number.into();
        }
    }
}
