//! The volumes of a set: backing devices that are attached and detached, volumes that lie in the cache alone.
//!
//! The table of uuids is written whole to a new bucket, which the next entry of the journal names. A backing device says that
//! it belongs to the set after the table has it, and that it does not before the table has it no more: so whoever finds a
//! device that says it is attached finds it in the table too.

use bcache_format::jset::Roots;
use bcache_format::uuids::{Use, UuidEntry};
use bcache_format::{Key, Label, Pointer, Position};
use runtime::wall_seconds;
use zerocopy::IntoBytes;

use crate::buckets::Purpose;
use crate::error::SetError;
use crate::set::CacheSet;

impl CacheSet {
    /// The inode of the backing device of this uuid, if it is attached.
    pub fn inode_of(&self, uuid: &[u8; 16]) -> Option<u32> {
        let uuids = self.uuids.borrow();
        uuids.iter().position(|entry| entry.usage() == Use::Backing(*uuid)).map(|inode| inode as u32)
    }

    /// Volumes that lie in the cache alone: their inodes and sectors.
    pub fn flash(&self) -> Vec<(u32, u64)> {
        let uuids = self.uuids.borrow();
        let flash = uuids.iter().zip(0..).filter_map(|(entry, inode)| match entry.usage() {
            Use::FlashOnly(sectors) => Some((inode, sectors)),
            _ => None,
        });
        flash.collect()
    }

    /// Puts a backing device into the table; its inode. One of the same uuid that was there is forgotten: what is cached of it
    /// may be older than what is on the device.
    pub(crate) async fn enter(&self, uuid: [u8; 16], label: Label) -> Result<u32, SetError> {
        let now = wall_seconds() as u32;
        if let Some(old) = self.inode_of(&uuid) {
            self.uuids.borrow_mut()[old as usize].invalidate(now);
        }
        self.add(new_entry(uuid, label)).await
    }

    async fn add(&self, entry: UuidEntry) -> Result<u32, SetError> {
        let inode = self.free_inode()?;
        self.uuids.borrow_mut()[inode as usize] = entry;
        self.write_uuids().await?;
        Ok(inode)
    }

    /// Makes a volume of so many sectors that lies in the cache alone; its inode.
    pub async fn create_flash(&self, uuid: [u8; 16], label: Label, sectors: u64) -> Result<u32, SetError> {
        let mut entry = new_entry(uuid, label);
        entry.set_flash_only(sectors);
        self.add(entry).await
    }

    /// A device that was detached is not in the table any more, and its place is not used again.
    pub(crate) async fn leave(&self, inode: u32) -> Result<(), SetError> {
        self.uuids.borrow_mut()[inode as usize].invalidate(wall_seconds() as u32);
        self.close_streams(inode);
        self.write_uuids().await
    }

    /// The same of a volume that lies in the cache alone. What is in the cache of it is forgotten, as soon as the table says so
    /// durably and not before.
    pub(crate) async fn delete_flash(&self, inode: u32) -> Result<(), SetError> {
        self.leave(inode).await?;
        self.engine().gone.borrow_mut().push(inode);
        Ok(())
    }

    /// How large a volume is that lies in the cache alone.
    pub(crate) async fn set_flash_sectors(&self, inode: u32, sectors: u64) -> Result<(), SetError> {
        self.uuids.borrow_mut()[inode as usize].set_flash_only(sectors);
        self.write_uuids().await
    }

    /// Volumes that are not in the table any more, and of which something would never be given up: a kernel leaves it there, and
    /// so does a power cut.
    pub(crate) fn find_gone(&self) -> Vec<u32> {
        let (uuids, dirty) = (self.uuids.borrow(), &self.engine().dirty);
        let gone = uuids.iter().zip(0..).filter(|(entry, _)| entry.usage() == Use::Detached);
        gone.map(|(_, inode)| inode).filter(|inode| dirty.get(*inode) > 0).collect()
    }

    /// What people call a volume.
    pub(crate) async fn set_label(&self, inode: u32, label: Label) -> Result<(), SetError> {
        self.uuids.borrow_mut()[inode as usize].label = label.0;
        self.write_uuids().await
    }

    fn free_inode(&self) -> Result<u32, SetError> {
        let uuids = self.uuids.borrow();
        let free = uuids.iter().position(|entry| entry.usage() == Use::Free);
        free.map(|inode| inode as u32).ok_or(SetError::NoInode { most: uuids.len() })
    }

    /// Writes the table to a new bucket, durably. One does it at a time.
    async fn write_uuids(&self) -> Result<(), SetError> {
        let engine = self.engine();
        engine.changing.wait_until(|| !engine.is_naming.replace(true)).await;
        let written = self.write_uuids_alone().await;
        engine.is_naming.set(false);
        engine.changing.notify();
        written
    }

    async fn write_uuids_alone(&self) -> Result<(), SetError> {
        let bucket = self.wait_bucket(Purpose::Nodes).await?;
        let sector = self.geometry.sector(bucket);
        let generation = self.buckets.borrow().get(bucket).generation;
        let buf = self.engine().allocator.table_buffer(&self.geometry).await;
        buf.copy_from_slice(0, self.uuids.borrow().as_bytes());
        self.write_durably("uuids", sector, buf).await?;
        let old = self.roots().uuids;
        let size = self.geometry.bucket_sectors & 0xffff;
        let uuids = Key::node(Position::default(), size, Pointer::new(sector, generation));
        self.roots.set(Roots { uuids, ..self.roots() });
        self.journal().commit_roots(self).await?;
        if let Some(pointer) = old.pointer() {
            self.buckets.borrow_mut().next_life(pointer.bucket(self.geometry.bucket_sectors));
        }
        self.engine().allocator.changed.notify();
        Ok(())
    }
}

/// The entry of a volume that comes into the set now.
fn new_entry(uuid: [u8; 16], label: Label) -> UuidEntry {
    let now = (wall_seconds() as u32).into();
    UuidEntry { uuid, label: label.0, first_reg: now, last_reg: now, ..UuidEntry::default() }
}
