//! What a 0.90 superblock says, in the engine's words. Follows `super_90_load` and `super_90_validate`.

use zerocopy::ByteOrder;

use super::{Descriptor, SuperblockV0, disk, state};
use crate::error::FormatError;
use crate::features::Features;
use crate::limits::{SUPERBLOCK_SECTORS, V0_MAX_DEVICES, V0_MAX_MEMBER_SECTORS};
use crate::place::{Place, from_superblock};
use crate::superblock::summary::{BitmapPlace, Recovery, Reshape, Summary};
use crate::terms::{Level, MemberFlags, Name, ResyncOffset, Role};

impl<O: ByteOrder> SuperblockV0<O> {
    /// The facts of the superblock that was read at `place`.
    pub(in crate::superblock) fn summary(
        &self,
        place: Place,
        byte_order: crate::terms::ByteOrder,
    ) -> Result<Summary, FormatError> {
        let level = Level::from_number(self.level.get());
        let dev_number = self.this_disk.number.get();
        let descriptor = self.descriptor(dev_number);
        Ok(Summary {
            version: place.version,
            byte_order,
            array_uuid: self.uuid(),
            name: Name::NONE,
            level,
            layout: self.layout.get(),
            chunk_sectors: self.chunk_bytes.get() >> 9,
            raid_disks: self.raid_disks.get(),
            size_sectors: u64::from(self.size_kib.get()) * 2,
            data_offset: 0,
            data_size: data_size(level, place),
            super_offset: place.sector,
            ctime_s: self.ctime.get().into(),
            utime_s: self.utime.get().into(),
            events: self.events.get(),
            resync: self.resync(),
            dev_number,
            device_uuid: None,
            role: self.role_of(dev_number),
            recovery: descriptor.and_then(|descriptor| self.recovery(descriptor)),
            replacement: false,
            journal_tail: None,
            flags: descriptor.map(Descriptor::flags).unwrap_or_default(),
            corrected_reads: 0,
            reshape: self.reshape(),
            bitmap: self.bitmap(place)?,
            ppl: None,
            bad_block_log: None,
            logical_block_bytes: 0,
            features: Features::NONE,
            max_dev: V0_MAX_DEVICES,
            preferred_minor: Some(self.md_minor.get()),
        })
    }

    /// The role that this superblock gives to a device.
    pub fn role_of(&self, dev_number: u32) -> Role {
        let Some(descriptor) = self.descriptor(dev_number) else { return Role::Spare };
        let state = descriptor.state.get();
        let slot = u16::try_from(descriptor.raid_disk.get()).map_or(Role::Faulty, Role::Active);
        if state & (disk::FAULTY | disk::REMOVED) != 0 {
            Role::Faulty
        } else if state & disk::SYNC != 0 || (state & disk::ACTIVE != 0 && self.reshaping()) {
            slot
        } else {
            Role::Spare
        }
    }

    fn descriptor(&self, dev_number: u32) -> Option<&Descriptor<O>> {
        self.disks.get(usize::try_from(dev_number).ok()?)
    }

    /// Minor version 91 is what tells a reshape.
    fn reshaping(&self) -> bool {
        self.minor_version.get() >= 91
    }

    fn resync(&self) -> ResyncOffset {
        if self.state.get() & state::CLEAN != 0 {
            ResyncOffset::Complete
        } else if self.events.get() == self.resync_events.get() {
            ResyncOffset::At(self.resync_offset.get().into())
        } else {
            ResyncOffset::At(0)
        }
    }

    /// There is no field for it; only a reshape lets a member be active and not in sync, from the start.
    fn recovery(&self, descriptor: &Descriptor<O>) -> Option<Recovery> {
        let state = descriptor.state.get();
        let active = state & (disk::FAULTY | disk::REMOVED | disk::SYNC | disk::ACTIVE) == disk::ACTIVE;
        (active && self.reshaping()).then_some(Recovery { offset_sectors: 0, by_bitmap: false })
    }

    fn reshape(&self) -> Option<Reshape> {
        let position = self.reshape_position.get();
        self.reshaping().then(|| Reshape {
            position,
            delta_disks: self.delta_disks.get(),
            new_level: Level::from_number(self.new_level.get()),
            new_layout: self.new_layout.get(),
            new_chunk_sectors: self.new_chunk_bytes.get() >> 9,
            backwards: self.delta_disks.get() < 0,
            new_data_offset: 0,
        })
    }

    fn bitmap(&self, place: Place) -> Result<Option<BitmapPlace>, FormatError> {
        if self.state.get() & state::BITMAP_PRESENT == 0 {
            return Ok(None);
        }
        let distance = SUPERBLOCK_SECTORS as i32;
        let sector = from_superblock("bitmap", place.sector, distance.into())?;
        Ok(Some(BitmapPlace { offset_sectors: distance, sector }))
    }
}

impl<O: ByteOrder> Descriptor<O> {
    /// The flags of this device.
    pub fn flags(&self) -> MemberFlags {
        let state = self.state.get();
        MemberFlags { write_mostly: state & disk::WRITE_MOSTLY != 0, failfast: state & disk::FAILFAST != 0 }
    }
}

/// Everything before the superblock; for redundant levels no more than the 32-bit size can say.
fn data_size(level: Level, place: Place) -> u64 {
    if level.has_equal_members() { place.sector.min(V0_MAX_MEMBER_SECTORS) } else { place.sector }
}
