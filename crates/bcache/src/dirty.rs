//! How much of each volume only the cache has, and of volumes whose stripes are known, how much of each stripe. Pure.

use std::cell::{Cell, RefCell};

use bcache_format::Key;

use crate::writeback::stripes::Stripes;

/// Sectors by inode.
pub(crate) struct Dirty {
    sectors: Box<[Cell<u64>]>,
    stripes: RefCell<Vec<(u32, Stripes)>>,
}

impl Dirty {
    /// Nothing, of so many inodes.
    pub fn new(inodes: usize) -> Dirty {
        let sectors = (0..inodes).map(|_| Cell::new(0)).collect();
        Dirty { sectors, stripes: RefCell::default() }
    }

    fn of(&self, inode: u32) -> Option<&Cell<u64>> {
        self.sectors.get(inode as usize)
    }

    /// An extent is dirty.
    pub fn add(&self, key: &Key) {
        let count = self.of(key.inode());
        count.into_iter().for_each(|count| count.set(count.get().saturating_add(key.sectors())));
        self.change_stripes(key.inode(), |stripes| stripes.add(key.start().offset, key.sectors()));
    }

    /// It is not any more.
    pub fn take(&self, key: &Key) {
        let count = self.of(key.inode());
        count.into_iter().for_each(|count| count.set(count.get().saturating_sub(key.sectors())));
        self.change_stripes(key.inode(), |stripes| stripes.remove(key.start().offset, key.sectors()));
    }

    fn change_stripes(&self, inode: u32, change: impl FnOnce(&mut Stripes)) {
        if let Some((_, stripes)) = self.stripes.borrow_mut().iter_mut().find(|(of, _)| *of == inode) {
            change(stripes);
        }
    }

    /// From now on the stripes of a volume are known; these, in which what is dirty was counted.
    pub fn know_stripes(&self, inode: u32, stripes: Stripes) {
        self.stripes.borrow_mut().push((inode, stripes));
    }

    /// What the stripes of a volume say, if they are known.
    pub fn ask_stripes<R>(&self, inode: u32, ask: impl FnOnce(&Stripes) -> R) -> Option<R> {
        self.stripes.borrow().iter().find(|(of, _)| *of == inode).map(|(_, stripes)| ask(stripes))
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
