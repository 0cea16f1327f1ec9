//! What a 1.x superblock says, in the engine's words. Follows `super_1_load` and `super_1_validate`.

use super::{FAILFAST, SuperblockV1, WRITE_MOSTLY, role};
use crate::error::FormatError;
use crate::features::Features;
use crate::place::{Place, from_superblock};
use crate::superblock::summary::{BadBlockLog, BitmapPlace, PplPlace, Recovery, Reshape, Summary};
use crate::terms::{ByteOrder, Level, MemberFlags, Name, ResyncOffset, Role};

/// ctime and utime: seconds in the low 40 bits, microseconds above.
const SECONDS: u64 = (1 << 40) - 1;

impl SuperblockV1 {
    /// The facts of the superblock that was read at `place`. Fails only where a place cannot exist.
    pub(in crate::superblock) fn summary(&self, place: Place) -> Result<Summary, FormatError> {
        let features = self.features();
        let role = self.role_of(self.dev_number.get());
        Ok(Summary {
            version: place.version,
            byte_order: ByteOrder::Little,
            array_uuid: self.set_uuid,
            name: Name(self.set_name),
            level: Level::from_number(self.level.get()),
            layout: self.layout.get(),
            chunk_sectors: self.chunk_sectors.get(),
            raid_disks: self.raid_disks.get(),
            size_sectors: self.size.get(),
            data_offset: self.data_offset.get(),
            data_size: self.data_size.get(),
            super_offset: place.sector,
            ctime_s: self.ctime.get() & SECONDS,
            utime_s: self.utime.get() & SECONDS,
            events: self.events.get(),
            resync: ResyncOffset::from_sectors(self.resync_offset.get()),
            dev_number: self.dev_number.get(),
            device_uuid: Some(self.device_uuid),
            role,
            recovery: self.recovery(role),
            replacement: features.has(Features::REPLACEMENT),
            journal_tail: (role == Role::Journal).then(|| self.recovery_offset.get()),
            flags: MemberFlags {
                write_mostly: self.devflags & WRITE_MOSTLY != 0,
                failfast: self.devflags & FAILFAST != 0,
            },
            corrected_reads: self.corrected_reads.get(),
            reshape: self.reshape()?,
            bitmap: self.bitmap(place)?,
            ppl: self.ppl_place(place)?,
            bad_block_log: self.bad_block_log(place)?,
            logical_block_bytes: self.logical_block_size.get(),
            features,
            max_dev: self.max_dev.get(),
            preferred_minor: None,
        })
    }

    /// The role that this superblock gives to a device. Devices that it does not know are spares, numbers that mean
    /// nothing are taken as faulty (`check` refuses them).
    pub fn role_of(&self, dev_number: u32) -> Role {
        let found = usize::try_from(dev_number).ok().and_then(|index| self.roles().get(index));
        match found.map_or(role::SPARE, |found| found.get()) {
            role::SPARE => Role::Spare,
            role::JOURNAL => Role::Journal,
            slot if slot < role::SLOT_END => Role::Active(slot),
            _ => Role::Faulty,
        }
    }

    fn recovery(&self, role: Role) -> Option<Recovery> {
        let active = matches!(role, Role::Active(_));
        (active && self.features().has(Features::RECOVERY_OFFSET)).then(|| Recovery {
            offset_sectors: self.recovery_offset.get(),
            by_bitmap: self.features().has(Features::RECOVERY_BITMAP),
        })
    }

    fn reshape(&self) -> Result<Option<Reshape>, FormatError> {
        if !self.features().has(Features::RESHAPE_ACTIVE) {
            return Ok(None);
        }
        let delta_disks = self.delta_disks.get();
        let moved = if self.features().has(Features::NEW_OFFSET) { self.new_offset.get() } else { 0 };
        Ok(Some(Reshape {
            position: self.reshape_position.get(),
            delta_disks,
            new_level: Level::from_number(self.new_level.get()),
            new_layout: self.new_layout.get(),
            new_chunk_sectors: self.new_chunk_sectors.get(),
            backwards: delta_disks < 0
                || (delta_disks == 0 && self.features().has(Features::RESHAPE_BACKWARDS)),
            new_data_offset: from_superblock("new_offset", self.data_offset.get(), moved.into())?,
        }))
    }

    fn bitmap(&self, place: Place) -> Result<Option<BitmapPlace>, FormatError> {
        if !self.features().has(Features::BITMAP_OFFSET) {
            return Ok(None);
        }
        let offset_sectors = self.bitmap_offset.get();
        let sector = from_superblock("bitmap_offset", place.sector, offset_sectors.into())?;
        Ok(Some(BitmapPlace { offset_sectors, sector }))
    }

    fn ppl_place(&self, place: Place) -> Result<Option<PplPlace>, FormatError> {
        let Some(ppl) = self.ppl() else { return Ok(None) };
        let (offset_sectors, sectors) = (ppl.offset.get(), ppl.sectors.get());
        let sector = from_superblock("ppl.offset", place.sector, offset_sectors.into())?;
        Ok(Some(PplPlace {
            offset_sectors,
            sectors,
            sector,
            multiple: self.features().has(Features::MULTIPLE_PPLS),
        }))
    }

    fn bad_block_log(&self, place: Place) -> Result<Option<BadBlockLog>, FormatError> {
        let (offset_sectors, sectors) = (self.bblog_offset.get(), self.bblog_sectors.get());
        if offset_sectors == 0 || sectors == 0 {
            return Ok(None);
        }
        Ok(Some(BadBlockLog {
            offset_sectors,
            sectors,
            shift: self.bblog_shift,
            sector: from_superblock("bblog_offset", place.sector, offset_sectors.into())?,
            in_use: self.features().has(Features::BAD_BLOCKS),
        }))
    }
}
