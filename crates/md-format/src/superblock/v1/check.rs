//! Would the kernel accept this 1.x superblock, here, on this device? Follows `super_1_load`, with two differences:
//! what the kernel adds or subtracts without looking is checked, and areas of the member must not overlap.

use super::{SuperblockV1, role};
use crate::error::FormatError;
use crate::features::Features;
use crate::limits::{BAD_BLOCK_LOG_MAX_SECTORS, BAD_BLOCK_MAX_SHIFT, V1_MAX_DEVICES, V1_MIN_DATA_SECTORS};
use crate::place::{DeviceShape, Place};
use crate::superblock::check::{Area, check_chunk, check_range};
use crate::superblock::summary::Summary;
use crate::terms::{Level, Version};

impl SuperblockV1 {
    pub(in crate::superblock) fn check(&self, place: Place, device: DeviceShape) -> Result<(), FormatError> {
        self.check_form(place)?;
        self.check_features()?;
        let summary = self.summary(place)?;
        check_chunk(summary.level, summary.chunk_sectors)?;
        self.check_areas(&summary, device)
    }

    fn check_form(&self, place: Place) -> Result<(), FormatError> {
        check_range("max_dev", self.max_dev.get().into(), 0, V1_MAX_DEVICES.into())?;
        let (found, expected) = (self.super_offset.get(), place.sector);
        if found != expected {
            return Err(FormatError::SuperOffset { found, expected });
        }
        let unknown = self.features().unknown();
        if unknown != 0 {
            return Err(FormatError::UnknownFeatures { found: self.features() });
        }
        let (found, expected) = (self.checksum.get(), self.checksum_expected());
        if found != expected {
            return Err(FormatError::Checksum { found, expected });
        }
        check_range("data_size", self.data_size.get(), V1_MIN_DATA_SECTORS, u64::MAX)?;
        if self.pad0.get() != 0 {
            return Err(FormatError::Padding { field: "pad0", found: self.pad0.get() });
        }
        if let Some(&found) = self.pad3.iter().find(|&&byte| byte != 0) {
            return Err(FormatError::Padding { field: "pad3", found: found.into() });
        }
        // Padding until Linux 6.19: whoever refuses it cannot open what newer kernels touched.
        match self.logical_block_size.get() {
            0 => {}
            found if !found.is_power_of_two() => {
                return Err(FormatError::PowerOfTwo { field: "logical_block_size", found: found.into() });
            }
            found => check_range("logical_block_size", found.into(), 512, 1 << 16)?,
        }
        check_range("raid_disks", self.raid_disks.get().into(), 1, V1_MAX_DEVICES.into())?;
        for (dev_number, found) in (0..).zip(self.roles()) {
            let found = found.get();
            if (role::SLOT_END..role::JOURNAL).contains(&found) {
                return Err(FormatError::RoleNumber { dev_number, found });
            }
        }
        Ok(())
    }

    fn check_features(&self) -> Result<(), FormatError> {
        let found = self.features();
        let contradiction = |why| Err(FormatError::ContradictingFeatures { found, why });
        if found.has_any(Features::PPL | Features::MULTIPLE_PPLS) {
            if found.has_any(Features::BITMAP_OFFSET | Features::JOURNAL) {
                return contradiction("a partial parity log excludes bitmap and journal");
            }
            if found.has(Features::PPL | Features::MULTIPLE_PPLS) {
                return contradiction("the partial parity log is either one or several");
            }
        }
        if found.has(Features::RAID0_LAYOUT) && self.level.get() != Level::Raid0.number() {
            return contradiction("a raid0 layout on another level");
        }
        let journal = usize::try_from(self.dev_number.get()).ok().and_then(|number| self.roles().get(number));
        if journal.is_some_and(|found| found.get() == role::JOURNAL) && !found.has(Features::JOURNAL) {
            return contradiction("a journal of an array without journal");
        }
        Ok(())
    }

    /// The areas of the member, each inside the device and none over another.
    fn check_areas(&self, summary: &Summary, device: DeviceShape) -> Result<(), FormatError> {
        let sectors = self.written_sectors(device);
        let superblock = Area { name: "superblock", start: summary.super_offset, sectors };
        superblock.check_ends_before(device.sectors)?;
        self.check_log(summary)?;
        check_data_size(summary, device)?;

        let [data, moved] = data_areas(summary);
        let [bitmap, ppl, log] = metadata_areas(summary);
        for area in [Some(data), Some(moved), bitmap, ppl, log].into_iter().flatten() {
            area.check_ends_before(device.sectors)?;
            area.check_apart(&superblock)?;
        }
        for area in [bitmap, ppl, log].into_iter().flatten() {
            area.check_apart(&data)?;
            area.check_apart(&moved)?;
        }
        match (bitmap.or(ppl), log) {
            (Some(area), Some(log)) => area.check_apart(&log),
            _ => Ok(()),
        }
    }

    fn check_log(&self, summary: &Summary) -> Result<(), FormatError> {
        let found = summary.features;
        match summary.bad_block_log {
            None if found.has(Features::BAD_BLOCKS) => {
                return Err(FormatError::ContradictingFeatures {
                    found,
                    why: "bad blocks without a place for them",
                });
            }
            Some(log) if log.in_use => {
                check_range("bblog_shift", log.shift.into(), 0, u64::from(BAD_BLOCK_MAX_SHIFT) - 1)?;
            }
            _ => {}
        }
        check_range("bblog_sectors", self.bblog_sectors.get().into(), 0, BAD_BLOCK_LOG_MAX_SECTORS.into())
    }

    /// Sectors that a writer of this superblock writes: what is used, rounded up to the device's logical blocks.
    pub(in crate::superblock) fn written_sectors(&self, device: DeviceShape) -> u64 {
        let block = u64::from(device.logical_block_bytes.clamp(512, 4096));
        (self.used_bytes() as u64).next_multiple_of(block) / 512
    }
}

/// The room for data lies between the data offset and the end of the device (1.0: the superblock), and what the array
/// uses lies in it, where the kernel would shrink the array to the smallest member instead.
fn check_data_size(summary: &Summary, device: DeviceShape) -> Result<(), FormatError> {
    // In 1.0 mdadm writes a data size that ignores the data offset; what is used is compared with the rest later.
    let (start, end) = match summary.version {
        Version::V1_0 => (0, summary.super_offset),
        _ => (summary.data_offset, device.sectors),
    };
    Area { name: "data_size", start, sectors: summary.data_size }.check_ends_before(end)?;
    Area { name: "size", start: 0, sectors: summary.used_sectors() }.check_ends_before(summary.data_size)
}

/// The data in use, now and after the reshape (the same if there is none).
fn data_areas(summary: &Summary) -> [Area; 2] {
    let now = Area { name: "data", start: summary.data_offset, sectors: summary.used_sectors() };
    let start = summary.reshape.map_or(now.start, |reshape| reshape.new_data_offset);
    [now, Area { name: "data after the reshape", start, ..now }]
}

/// Bitmap, partial parity log and bad-block log. How long the bitmap is stands in its own superblock, of which 256
/// bytes are certain.
fn metadata_areas(summary: &Summary) -> [Option<Area>; 3] {
    [
        summary.bitmap.map(|bitmap| Area { name: "bitmap", start: bitmap.sector, sectors: 1 }),
        summary.ppl.map(|ppl| Area {
            name: "partial parity log",
            start: ppl.sector,
            sectors: ppl.sectors.into(),
        }),
        summary.bad_block_log.map(|log| Area {
            name: "bad-block log",
            start: log.sector,
            sectors: log.sectors.into(),
        }),
    ]
}
