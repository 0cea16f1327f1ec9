//! How much of each volume only the cache has. Pure.

use std::cell::Cell;

use crate::limits::INODES;

/// Sectors by inode.
pub(crate) struct Dirty {
    sectors: Box<[Cell<u64>]>,
}

impl Dirty {
    /// Nothing.
    pub fn new() -> Dirty {
        Dirty { sectors: (0..INODES).map(|_| Cell::new(0)).collect() }
    }

    fn of(&self, inode: u32) -> Option<&Cell<u64>> {
        self.sectors.get(inode as usize)
    }

    /// So many more.
    pub fn add(&self, inode: u32, sectors: u64) {
        self.of(inode).into_iter().for_each(|count| count.set(count.get().saturating_add(sectors)));
    }

    /// So many fewer.
    pub fn take(&self, inode: u32, sectors: u64) {
        self.of(inode).into_iter().for_each(|count| count.set(count.get().saturating_sub(sectors)));
    }

    /// Of one volume.
    pub fn get(&self, inode: u32) -> u64 {
        self.of(inode).map_or(0, Cell::get)
    }

    /// Of all.
    pub fn all(&self) -> u64 {
        self.sectors.iter().map(Cell::get).sum()
    }

    /// Nothing was counted.
    pub fn clear(&self) {
        self.sectors.iter().for_each(|count| count.set(0));
    }
}
