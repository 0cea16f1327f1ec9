//! Where superblocks lie on a device. Sources: `super_90_load`, `super_1_load` (md.c), `MD_NEW_SIZE_SECTORS` (md_p.h).
//!
//! ```text
//! 1.1   sector 0
//! 1.2   sector 8
//! 1.0   (sectors - 16) rounded down to 8:            8 to 12 KiB before the end
//! 0.90  sectors rounded down to 128, minus 128:      64 to 128 KiB before the end
//! ```
//!
//! The formula for 0.90 is the same for a whole disk and for a partition: a last partition that ends in the same 64 KiB
//! as its disk has its superblock at the very place where the disk's would be. [`whose`] tells the two apart.

use crate::error::FormatError;
use crate::limits::{SUPERBLOCK_SECTORS, V0_RESERVED_SECTORS, V1_MIN_DEVICE_SECTORS};
use crate::terms::Version;

/// A version and the sector where its superblock lies on a certain device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Metadata version.
    pub version: Version,
    /// First of the eight sectors to read.
    pub sector: u64,
}

/// What the format rules need to know of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceShape {
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// Logical block size: 512 (also "512e") or 4096 ("4Kn").
    pub logical_block_bytes: u32,
}

impl Place {
    /// Where `version`'s superblock lies on a device of so many sectors; `None` if the device is too small for it.
    pub fn of(version: Version, device_sectors: u64) -> Option<Place> {
        let room_v1 = device_sectors >= V1_MIN_DEVICE_SECTORS;
        let sector = match version {
            Version::V0_90 => {
                (device_sectors & !(V0_RESERVED_SECTORS - 1)).checked_sub(V0_RESERVED_SECTORS)?
            }
            Version::V1_0 if room_v1 => (device_sectors - 16) & !7,
            Version::V1_1 if room_v1 => 0,
            Version::V1_2 if room_v1 => 8,
            _ => return None,
        };
        Some(Place { version, sector })
    }

    /// All places of a device, in mdadm's order. A reader that reads [`SUPERBLOCK_SECTORS`] at each has what
    /// [`crate::probe::probe`] needs. The places of a small device may overlap or, for 1.2 and 1.0, be the same.
    pub fn all(device_sectors: u64) -> impl Iterator<Item = Place> {
        Version::ALL.into_iter().filter_map(move |version| Place::of(version, device_sectors))
    }

    /// First sector behind the superblock's 4 KiB.
    pub fn end(self) -> u64 {
        self.sector.saturating_add(SUPERBLOCK_SECTORS)
    }
}

/// Whose a 0.90 superblock is that was found at the same place through a disk and through its last partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The disk's: the partition is too small for the recorded member size.
    Disk,
    /// The partition's: its room is just what was recorded, the disk's would leave the partition's start unused.
    Partition,
    /// Both could be meant; a person must say.
    Unclear,
}

/// Tells from the recorded member size (`size_sectors` of the summary) whether a 0.90 superblock belongs to a whole
/// disk or to a partition of it that starts at `partition_start`. mdadm does not ask and refuses both as "very similar".
pub fn whose(superblock_sector_on_disk: u64, partition_start: u64, size_sectors: u64) -> Whose {
    let Some(room) = superblock_sector_on_disk.checked_sub(partition_start) else { return Whose::Disk };
    match room.checked_sub(size_sectors) {
        None => Whose::Disk,
        // Linear and raid0 record no size; and a member can be larger than the smallest, which gives the size.
        Some(unused) if size_sectors == 0 || unused >= partition_start => Whose::Unclear,
        Some(_) => Whose::Partition,
    }
}

/// A sector that a superblock names by its signed distance from somewhere.
pub(crate) fn from_superblock(field: &'static str, from: u64, distance: i64) -> Result<u64, FormatError> {
    from.checked_add_signed(distance).ok_or(FormatError::PlaceOverflow { field, from, found: distance })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(version: Version, device_sectors: u64) -> Option<u64> {
        Place::of(version, device_sectors).map(|place| place.sector)
    }

    #[test]
    fn v1_0_lies_8_to_12_kib_before_the_end() {
        for sectors in 24..200 {
            let distance = sectors - sector(Version::V1_0, sectors).unwrap();
            assert!((16..24).contains(&distance), "{sectors}: {distance}");
        }
    }

    #[test]
    fn v0_90_lies_64_to_128_kib_before_the_end() {
        assert_eq!(sector(Version::V0_90, 127), None);
        assert_eq!(sector(Version::V0_90, 128), Some(0));
        for sectors in 128..2000 {
            let distance = sectors - sector(Version::V0_90, sectors).unwrap();
            assert!((128..256).contains(&distance), "{sectors}: {distance}");
        }
    }

    #[test]
    fn too_small_a_device_has_no_places() {
        assert_eq!(Place::all(23).count(), 0);
        assert_eq!(Place::all(24).count(), 3);
        assert_eq!(Place::all(128).count(), 4);
    }

    #[test]
    fn v0_90_larger_than_the_partition_is_the_disks() {
        assert_eq!(whose(1_000_064, 2048, 1_000_000), Whose::Disk);
        assert_eq!(whose(1_000_064, 2048, 998_000), Whose::Partition);
        assert_eq!(whose(1_000_064, 2048, 500_000), Whose::Unclear);
        assert_eq!(whose(1_000_064, 2048, 0), Whose::Unclear);
    }
}
