//! New caches and backing devices, as make-bcache of bcache-tools makes them. A cache gets its set from whoever uses it first.

use std::fmt;
use std::rc::Rc;

use bcache_format::Superblock;
use bcache_format::limits::{SUPERBLOCK_BYTES, SUPERBLOCK_SECTOR};
use bcache_format::superblock::{BackingPlan, CachePlan, CreateError};
use block::{Arena, Dev, Failed, Origin, Outcome, Request, Sectors};

/// What a disk is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// A cache.
    Cache(CachePlan),
    /// A backing device.
    Backing(BackingPlan),
}

impl Plan {
    /// The superblock of it.
    pub fn superblock(&self) -> Result<Box<[u8; SUPERBLOCK_BYTES]>, CreateError> {
        let mut bytes = Box::new([0; SUPERBLOCK_BYTES]);
        match self {
            Plan::Cache(plan) => Superblock::create_cache(&mut bytes[..], plan)?,
            Plan::Backing(plan) => Superblock::create_backing(&mut bytes[..], plan)?,
        }
        Ok(bytes)
    }
}

/// A disk did not take its superblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotWritten {
    /// Its place among the disks.
    pub position: usize,
    /// How it failed.
    pub failed: Failed,
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "writing the superblock: {}", self.failed)
    }
}

impl std::error::Error for NotWritten {}

/// Writes superblocks, durably; before each the first 4 KiB, in which other formats begin, are made zero.
pub async fn create(
    superblocks: &[Box<[u8; SUPERBLOCK_BYTES]>],
    devs: &[Dev],
    arena: &Rc<Arena>,
) -> Result<(), NotWritten> {
    for (position, (bytes, dev)) in superblocks.iter().zip(devs).enumerate() {
        write(bytes, dev, arena).await.map_err(|failed| NotWritten { position, failed })?;
    }
    Ok(())
}

async fn write(bytes: &[u8; SUPERBLOCK_BYTES], dev: &Dev, arena: &Rc<Arena>) -> Outcome {
    let buf = arena.wait_take(SUPERBLOCK_BYTES).await;
    buf.fill_zero();
    dev.start(Request::write(Sectors::ZERO, buf.clone()).from_origin(Origin::Metadata)).await?;
    dev.start(Request::flush()).await?;
    buf.copy_from_slice(0, bytes);
    dev.start(Request::write(Sectors(SUPERBLOCK_SECTOR), buf).from_origin(Origin::Metadata)).await?;
    dev.start(Request::flush()).await
}
