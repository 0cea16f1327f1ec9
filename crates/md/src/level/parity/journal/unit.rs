//! A unit of a journal while it gathers: a meta block, and the blocks that it names, one behind the other as they are
//! written.

use std::rc::Rc;

use block::{Arena, Buf, lend};
use md_format::journal::{BLOCK_BYTES, BLOCK_SECTORS, MOST_BLOCKS, MetaBlock, block_checksum};

use super::ring::Placed;

/// Bytes of the memory of a unit: its meta block, and as many blocks as that can name.
pub(super) const UNIT_BYTES: usize = (1 + MOST_BLOCKS) * BLOCK_BYTES;

/// A unit's memory.
pub(super) struct Unit {
    buf: Buf,
    meta: Box<[u8; BLOCK_BYTES]>,
    /// Blocks behind the meta block.
    blocks: usize,
    /// Who needs it: those who wait for it, and whose blocks are not on the members yet.
    pub holders: u32,
    /// Blocks that it may have.
    most: usize,
    seed: u32,
}

impl Unit {
    /// One of at most so many blocks behind its meta block.
    pub fn new(arena: &Rc<Arena>, most: usize, seed: u32) -> Unit {
        let buf = arena.take(UNIT_BYTES).expect("the arena was made for it");
        let mut unit = Unit { buf, meta: Box::new([0; BLOCK_BYTES]), blocks: 0, holders: 0, most, seed };
        unit.clear();
        unit
    }

    /// Empties it.
    pub fn clear(&mut self) {
        MetaBlock::create(&mut self.meta[..], 0, 0).expect("as long as a meta block");
        (self.blocks, self.holders) = (0, 0);
    }

    fn meta(&mut self) -> &mut MetaBlock {
        MetaBlock::edit(&mut self.meta[..]).expect("it was made one")
    }

    /// Whether so many more blocks fit, named by so many bytes.
    pub fn has_room(&self, blocks: usize, bytes: usize) -> bool {
        let meta = MetaBlock::view(&self.meta[..]).expect("it was made one");
        self.blocks + blocks <= self.most && bytes <= meta.room()
    }

    /// Blocks that it may have.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Sectors that it takes in the journal.
    pub fn sectors(&self) -> u64 {
        (1 + self.blocks as u64) * BLOCK_SECTORS
    }

    /// Adds a block of data, whose place in the array this is.
    pub fn push_data(&mut self, array_sector: u64, content: &Buf) {
        let sum = self.append(content);
        self.meta().push_data(array_sector, sum).expect("room was looked for");
    }

    /// Adds the parity of a row.
    pub fn push_parity(&mut self, row: u64, p: &Buf, q: Option<&Buf>) {
        let p = self.append(p);
        let q = q.map(|q| self.append(q));
        self.meta().push_parity(row, p, q).expect("room was looked for");
    }

    /// Copies a block behind the others; its checksum.
    fn append(&mut self, content: &Buf) -> u32 {
        let place = self.buf.slice((1 + self.blocks) * BLOCK_BYTES, BLOCK_BYTES);
        place.copy_from(0, content);
        self.blocks += 1;
        lend(&[place], &[], |read, _| block_checksum(self.seed, read[0]))
    }

    /// Gives it its place: what is to be written there.
    pub fn seal(&mut self, placed: Placed) -> Buf {
        let seed = self.seed;
        self.meta().set_place(placed.seq, placed.start);
        self.meta().seal(seed);
        self.buf.copy_from_slice(0, &self.meta[..]);
        self.buf.slice(0, (1 + self.blocks) * BLOCK_BYTES)
    }
}
