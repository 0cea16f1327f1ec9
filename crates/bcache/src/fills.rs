//! Data of misses on its way into the cache. Pure.
//!
//! From before a miss is read below until its key is laid into the tree it is known here. Whatever is laid over any of it
//! meanwhile is newer than what was read, or may be: then the miss is not put into the cache (C3). The kernel leaves a key in
//! the tree for the same purpose.

use std::cell::RefCell;

use bcache_format::{Key, Position};

use crate::limits::FILLS;
use crate::plant::{self, Plant};

/// Misses that are on their way.
#[derive(Default)]
pub(crate) struct Fills {
    fills: RefCell<[Option<Fill>; FILLS]>,
}

#[derive(Clone, Copy)]
struct Fill {
    start: Position,
    sectors: u64,
    is_overwritten: bool,
}

/// One that is known.
#[derive(Debug)]
pub(crate) struct FillNo(usize);

impl Fills {
    /// A miss begins, if there is a place for it.
    pub fn begin(&self, start: Position, sectors: u64) -> Option<FillNo> {
        let mut fills = self.fills.borrow_mut();
        let at = fills.iter().position(Option::is_none)?;
        fills[at] = Some(Fill { start, sectors, is_overwritten: false });
        Some(FillNo(at))
    }

    /// Something was laid into the tree, or is about to be without a key.
    pub fn overwritten(&self, key: &Key) {
        if plant::is(Plant::FillOverWrite) {
            return;
        }
        for fill in self.fills.borrow_mut().iter_mut().flatten() {
            let end = Position::new(fill.start.inode, fill.start.offset + fill.sectors);
            fill.is_overwritten |= key.start() < end && fill.start < key.end();
        }
    }

    /// Nothing of a volume is to be put into the cache any more.
    pub fn overwrite_all(&self, inode: u32) {
        let mut fills = self.fills.borrow_mut();
        let own = fills.iter_mut().flatten().filter(|fill| fill.start.inode == inode);
        own.for_each(|fill| fill.is_overwritten = true);
    }

    /// Whether what was read is still what is to be read.
    pub fn is_current(&self, fill: &FillNo) -> bool {
        self.fills.borrow()[fill.0].is_some_and(|fill| !fill.is_overwritten)
    }

    /// It is over.
    pub fn end(&self, fill: FillNo) {
        self.fills.borrow_mut()[fill.0] = None;
    }
}
