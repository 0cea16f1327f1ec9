//! Would the kernel accept this 0.90 superblock, here, on this device? Follows `super_90_load`.

use zerocopy::ByteOrder;

use super::SuperblockV0;
use crate::error::FormatError;
use crate::limits::V0_MAX_DEVICES;
use crate::place::{DeviceShape, Place};
use crate::superblock::check::{Area, check_chunk, check_range};
use crate::terms::Level;

impl<O: ByteOrder> SuperblockV0<O> {
    pub(in crate::superblock) fn check(&self, place: Place, device: DeviceShape) -> Result<(), FormatError> {
        let minor = self.minor_version.get();
        if !(90..=91).contains(&minor) {
            return Err(FormatError::Version { field: "minor_version", found: minor, expected: "90 or 91" });
        }
        if !self.checksum_matches() {
            let (found, expected) = (self.checksum.get(), self.checksum_expected());
            return Err(FormatError::Checksum { found, expected });
        }
        check_range("raid_disks", self.raid_disks.get().into(), 1, V0_MAX_DEVICES.into())?;
        let found = self.this_disk.number.get();
        if found >= V0_MAX_DEVICES {
            return Err(FormatError::DeviceNumber { found, entries: V0_MAX_DEVICES });
        }
        let level = Level::from_number(self.level.get());
        check_chunk(level, self.chunk_bytes.get() >> 9)?;

        let superblock = Area { name: "superblock", start: place.sector, sectors: 8 };
        superblock.check_ends_before(device.sectors)?;
        if level.has_equal_members() {
            let size = u64::from(self.size_kib.get()) * 2;
            Area { name: "data", start: 0, sectors: size }.check_ends_before(place.sector)?;
        }
        Ok(())
    }
}
