//! What a volume may hold after a crash: each block carries the number of its version, and it is known which versions
//! were written and which of them somebody was told to be durable.

use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::{ReadWriteFlags, pwritev2};

use super::Bench;
use super::mounted::File;
use super::nbd::Nbd;

/// Bytes of a block.
pub const BLOCK: usize = 4096;

/// Blocks that the load of [`killed_under_load`] writes.
pub const BLOCKS: usize = 900;

/// Has two clients write to the array that these members make, kills the program when some writes were answered, and says
/// what the volume may hold. In between the `failed` members are failed, one after the other.
pub fn killed_under_load(
    bench: &Bench,
    name: &str,
    members: &[PathBuf],
    failed: &[PathBuf],
    seed: u64,
) -> Versions {
    killed_under_load_with(bench, name, &[], members, failed, seed)
}

/// The same of an array that is run with some words of a test's own.
pub fn killed_under_load_with(
    bench: &Bench,
    name: &str,
    options: &[&str],
    members: &[PathBuf],
    failed: &[PathBuf],
    seed: u64,
) -> Versions {
    let versions = Versions::new(BLOCKS);
    let running = bench.run(name, options, members);
    let clients = [running.connect(), running.connect()];
    std::thread::scope(|scope| {
        for (turn, client) in clients.into_iter().enumerate() {
            let versions = &versions;
            scope.spawn(move || versions.load(client, seed, turn, 2));
        }
        let wait_for = |writes: u32| {
            while versions.answered() < writes {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        wait_for(60);
        for member in failed {
            bench.fail(name, member);
            wait_for(versions.answered() + 40);
        }
        running.kill();
    });
    versions
}

/// Who writes to a volume, by whatever way. A write that fails is the end.
pub trait Client {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// The same, and it is durable.
    fn write_durably(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes durable what was written.
    fn flush(&mut self) -> io::Result<()>;
}

impl Client for Nbd {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        Nbd::write(self, offset, bytes)
    }

    fn write_durably(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_fua(offset, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Nbd::flush(self)
    }
}

impl Client for File {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.plain.write_all_at(bytes, offset)
    }

    fn write_durably(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if (offset as usize / BLOCK).is_multiple_of(2) {
            return self.durable.write_all_at(bytes, offset);
        }
        let written = pwritev2(&self.plain, &[IoSlice::new(bytes)], offset, ReadWriteFlags::DSYNC)?;
        if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.plain.sync_data()
    }
}

/// The blocks of a volume that the load keeps to.
pub struct Versions {
    blocks: Vec<Block>,
    answered: AtomicU32,
}

#[derive(Default)]
struct Block {
    /// The newest version that was sent.
    written: AtomicU32,
    /// The newest that was answered.
    answered: AtomicU32,
    /// The newest that a flush or forced unit access was answered for.
    durable: AtomicU32,
}

impl Versions {
    pub fn new(blocks: usize) -> Versions {
        Versions { blocks: (0..blocks).map(|_| Block::default()).collect(), answered: AtomicU32::new(0) }
    }

    /// How many writes were answered.
    pub fn answered(&self) -> u32 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Writes until the connection breaks: its own part of the blocks, the `turn`th of `of`, so that versions of a block
    /// come one after the other.
    pub fn load(&self, mut client: impl Client, seed: u64, turn: usize, of: usize) {
        let mut random = Random(seed ^ (turn as u64) << 32);
        let (from, to) = (self.blocks.len() * turn / of, self.blocks.len() * (turn + 1) / of);
        loop {
            let first = from + random.below(to - from);
            let count = (1 + random.below(16)).min(to - first);
            let mut bytes = Vec::with_capacity(count * BLOCK);
            for block in first..first + count {
                let version = self.blocks[block].written.fetch_add(1, Ordering::SeqCst) + 1;
                bytes.extend(content(block, version));
            }
            let (offset, fua) = ((first * BLOCK) as u64, random.below(4) == 0);
            let written =
                if fua { client.write_durably(offset, &bytes) } else { client.write(offset, &bytes) };
            if written.is_err() {
                return;
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
            for block in &self.blocks[first..first + count] {
                let version = block.written.load(Ordering::SeqCst);
                block.answered.store(version, Ordering::SeqCst);
                if fua {
                    block.durable.store(version, Ordering::SeqCst);
                }
            }
            if random.below(6) == 0 {
                if client.flush().is_err() {
                    return;
                }
                for block in &self.blocks[from..to] {
                    block.durable.store(block.answered.load(Ordering::SeqCst), Ordering::SeqCst);
                }
            }
        }
    }

    /// What was answered and not durable may have been lost: a later flush does not cover it.
    pub fn forget_what_was_not_durable(&self) {
        for block in &self.blocks {
            block.answered.store(block.durable.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    /// Each sector holds a version that was written, and none older than what was said to be durable.
    pub fn check_durable(&self, content: &[u8], when: &str) {
        self.check(content, when, |block| block.durable.load(Ordering::SeqCst));
    }

    /// The same where nothing that was answered can be lost, because the machine's cache has survived.
    pub fn check_answered(&self, content: &[u8], when: &str) {
        self.check(content, when, |block| block.answered.load(Ordering::SeqCst));
    }

    /// The same for an array that was degraded when it was killed: rows of this many blocks that a write was under way in
    /// may hold anything, for what the missing members held is known by the parity of the row alone.
    pub fn check_beside_the_hole(&self, content: &[u8], row_blocks: usize, when: &str) {
        let under_way =
            |block: &Block| block.written.load(Ordering::SeqCst) != block.answered.load(Ordering::SeqCst);
        let rows = self.blocks.chunks(row_blocks).zip(content.chunks(row_blocks * BLOCK)).enumerate();
        let (mut whole, mut torn) = (0, 0);
        for (row, (blocks, content)) in rows {
            if blocks.iter().any(under_way) {
                torn += 1;
                continue;
            }
            whole += 1;
            for (number, (block, bytes)) in blocks.iter().zip(content.chunks(BLOCK)).enumerate() {
                check_block(row * row_blocks + number, block, bytes, when, |block| {
                    block.answered.load(Ordering::SeqCst)
                });
            }
        }
        assert!(whole > 10 * torn, "{when}: {torn} of {whole} rows were being written");
    }

    fn check(&self, content: &[u8], when: &str, least: impl Fn(&Block) -> u32) {
        for (number, block) in self.blocks.iter().enumerate() {
            check_block(number, block, &content[number * BLOCK..][..BLOCK], when, &least);
        }
    }
}

fn check_block(number: usize, block: &Block, content: &[u8], when: &str, least: impl Fn(&Block) -> u32) {
    let (least, most) = (least(block), block.written.load(Ordering::SeqCst));
    for sector in content.chunks_exact(512) {
        let found = u32::from_le_bytes(sector[..4].try_into().expect("four bytes"));
        assert!(
            (least..=most).contains(&found),
            "{when}: block {number} holds version {found}, expected {least} to {most}"
        );
        let whole = if found == 0 { [0; 512] } else { sector_of(number, found) };
        assert!(sector == whole, "{when}: block {number} holds what nobody wrote");
    }
}

fn content(block: usize, version: u32) -> impl Iterator<Item = u8> {
    std::iter::repeat_n(sector_of(block, version), BLOCK / 512).flatten()
}

fn sector_of(block: usize, version: u32) -> [u8; 512] {
    let mut sector = [0; 512];
    for words in sector.chunks_exact_mut(8) {
        words[..4].copy_from_slice(&version.to_le_bytes());
        words[4..].copy_from_slice(&(block as u32).to_le_bytes());
    }
    sector
}

/// Numbers from a seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        (oracle::pattern::word(self.0, 0) % bound as u64) as usize
    }
}
