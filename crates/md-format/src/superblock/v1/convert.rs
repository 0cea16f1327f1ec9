//! A 1.0 superblock that says what a 0.90 one says. Follows mdadm's `super1_make_v0` (`--update=metadata`): one second
//! younger, so that it is believed and not the old one, which stays where it is; the update counter begins anew.

use zerocopy::ByteOrder;

use super::{MAGIC, SuperblockV1, role};
use crate::error::FormatError;
use crate::limits::V0_MAX_DEVICES;
use crate::place::Place;
use crate::superblock::v0::{SuperblockV0, disk};
use crate::terms::{Level, ResyncOffset, Version};

/// Fills zeroed bytes with the new superblock, sealed; where on the device it belongs.
pub(in crate::superblock) fn convert<O: ByteOrder>(
    old: &SuperblockV0<O>,
    device_sectors: u64,
    device_uuid: [u8; 16],
    bytes: &mut [u8],
) -> Result<Place, FormatError> {
    let too_small = FormatError::DeviceTooSmall { found: device_sectors, expected: 128 };
    let place = Place::of(Version::V1_0, device_sectors).ok_or(too_small)?;
    let room = Place::of(Version::V0_90, device_sectors).ok_or(too_small)?.sector;
    let size_sectors = u64::from(old.size_kib.get()) * 2;
    let level = Level::from_number(old.level.get());

    let new = SuperblockV1::overlay(bytes)?;
    new.magic = MAGIC.into();
    new.major_version = 1.into();
    new.set_uuid = as_text_reads(old.uuid());
    write_number(&mut new.set_name, old.md_minor.get());
    new.ctime = (u64::from(old.ctime.get()) + 1).into();
    new.utime = u64::from(old.utime.get()).into();
    new.level = old.level.get().into();
    new.layout = old.layout.get().into();
    new.size = size_sectors.into();
    new.chunk_sectors = (old.chunk_bytes.get() / 512).into();
    new.raid_disks = old.raid_disks.get().into();
    new.data_size = if level.has_equal_members() { size_sectors } else { room }.into();
    new.super_offset = place.sector.into();
    new.resync_offset = ResyncOffset::Complete.sectors().into();
    new.dev_number = old.this_disk.number.get().into();
    new.device_uuid = device_uuid;
    new.max_dev = V0_MAX_DEVICES.into();
    for (new, old) in new.dev_roles.iter_mut().zip(&old.disks) {
        let is_in_sync = old.state.get() & (disk::SYNC | disk::FAULTY) == disk::SYNC;
        let slot = u16::try_from(old.raid_disk.get()).ok().filter(|_| is_in_sync);
        *new = slot.unwrap_or(role::SPARE).into();
    }
    new.seal();
    Ok(place)
}

/// A uuid that is printed as it was: 0.90 has four numbers in the machine's order, 1.x has bytes.
fn as_text_reads(mut uuid: [u8; 16]) -> [u8; 16] {
    uuid.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
    uuid
}

/// The name that 0.90 does not have: the number of the md device.
fn write_number(name: &mut [u8; 32], number: u32) {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut rest = number;
    for digit in name[..digits].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}
