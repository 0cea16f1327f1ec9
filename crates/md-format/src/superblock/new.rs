//! A fresh superblock, byte for byte what mdadm 4.4 writes before it asks the kernel to start the array.

use super::update::Entry;
use super::{v0, v1};
use crate::error::FormatError;
use crate::geometry::Reserve;
use crate::limits::SUPERBLOCK_BYTES;
use crate::place::Place;
use crate::terms::{Level, Name, Role, Version};

/// An array to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewArray<'a> {
    /// Metadata version.
    pub version: Version,
    /// A random uuid.
    pub uuid: [u8; 16],
    /// Its name ([`Name::new`]); not kept by 0.90.
    pub name: Name,
    /// Now, seconds since 1970.
    pub ctime_s: u64,
    /// Level.
    pub level: Level,
    /// Layout; mdadm's defaults are 1 for raid0 (original), 2 for raid5 and raid6 (left-symmetric), 0x102 for raid10.
    pub layout: u32,
    /// Chunk; rounding for linear; 0 for raid1.
    pub chunk_sectors: u32,
    /// Slots.
    pub raid_disks: u32,
    /// Sectors that each member gives ([`crate::geometry::component_size`]): 0 for linear and raid0.
    pub size_sectors: u64,
    /// Nothing to resync: linear and raid0, members assumed equal, or a parity level that starts with a slot missing.
    pub clean: bool,
    /// Number of the md device it would like to be (0.90 only).
    pub preferred_minor: u32,
    /// What is kept beside the superblock.
    pub reserve: Reserve,
    /// Reserve a place for the bad-block log, as mdadm does unless told otherwise.
    pub bad_block_log: bool,
    /// All devices, missing ones left out. mdadm numbers them by their place on its command line, missing ones counted.
    pub entries: &'a [Entry],
}

/// The member whose superblock is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMember {
    /// Its number among the entries.
    pub dev_number: u32,
    /// A random uuid (or that of an older 1.x superblock found on it, which mdadm keeps).
    pub device_uuid: [u8; 16],
    /// Size of the device.
    pub device_sectors: u64,
    /// First sector of its data ([`crate::geometry::default_data_offset`]); 0 for 0.90 and 1.0.
    pub data_offset: u64,
}

impl NewArray<'_> {
    /// Devices that hold a slot.
    pub(super) fn active(&self) -> u32 {
        self.count(|role| matches!(role, Role::Active(_)))
    }

    /// Devices that wait.
    pub(super) fn spares(&self) -> u32 {
        self.count(|role| role == Role::Spare)
    }

    /// Devices that work, spares and journal included.
    pub(super) fn working(&self) -> u32 {
        self.count(|role| role != Role::Faulty)
    }

    fn count(&self, wanted: impl Fn(Role) -> bool) -> u32 {
        self.entries.iter().filter(|entry| wanted(entry.role)).count() as u32
    }

    pub(super) fn entry(&self, member: &NewMember) -> Result<&Entry, FormatError> {
        let found = member.dev_number;
        let entries = self.entries.len() as u32;
        let entry = self.entries.iter().find(|entry| entry.dev_number == found);
        entry.ok_or(FormatError::DeviceNumber { found, entries })
    }
}

/// Writes the superblock of one member of a new array into 4 KiB, which are zeroed first, and seals it. Returns where on
/// the device they belong. Bitmap, PPL header and journal are the caller's to write.
pub fn create(bytes: &mut [u8], array: &NewArray, member: &NewMember) -> Result<Place, FormatError> {
    let found = bytes.len();
    let form = "superblock";
    let bytes = bytes.get_mut(..SUPERBLOCK_BYTES).ok_or(FormatError::TooShort {
        form,
        found,
        expected: SUPERBLOCK_BYTES,
    })?;
    bytes.fill(0);
    match array.version {
        Version::V0_90 => v0::create(bytes, array, member),
        _ => v1::create(bytes, array, member),
    }
}
