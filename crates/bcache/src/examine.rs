//! Examining a disk: whether it is a cache or a backing device, and what it says. Reads, never writes.

use std::fmt;
use std::rc::Rc;

use bcache_format::limits::{SUPERBLOCK_BYTES, SUPERBLOCK_SECTOR};
use bcache_format::superblock::{Kind, Summary};
use bcache_format::{FormatError, Superblock};
use block::{Arena, Dev, Failed, Geometry, Origin, Request, Sectors};

/// What a disk says it is.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its shape.
    pub geometry: Geometry,
    /// The bytes of its superblock.
    pub bytes: Box<[u8; SUPERBLOCK_BYTES]>,
    /// What they say.
    pub summary: Summary,
}

/// Why a disk is neither a cache nor a backing device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExamineError {
    /// It has no superblock.
    NoSuperblock,
    /// It could not be read.
    Read {
        /// How it failed.
        failed: Failed,
    },
    /// It has a superblock that nobody would take.
    Format {
        /// What is wrong.
        error: FormatError,
    },
}

impl fmt::Display for ExamineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExamineError::NoSuperblock => f.write_str("no bcache superblock found at sector 8"),
            ExamineError::Read { failed } => write!(f, "reading sector {SUPERBLOCK_SECTOR}: {failed}"),
            ExamineError::Format { error } => {
                write!(f, "bcache superblock at sector {SUPERBLOCK_SECTOR}: {error}")
            }
        }
    }
}

impl std::error::Error for ExamineError {}

impl Examined {
    /// Whether it is a cache.
    pub fn is_cache(&self) -> bool {
        matches!(self.summary.kind, Kind::Cache(_))
    }
}

/// Reads the superblock of a disk.
pub async fn examine(dev: &Dev, arena: &Rc<Arena>) -> Result<Examined, ExamineError> {
    let geometry = dev.geometry();
    if geometry.size < Sectors(SUPERBLOCK_SECTOR) + Sectors::from_bytes(SUPERBLOCK_BYTES as u64) {
        return Err(ExamineError::NoSuperblock);
    }
    let buf = arena.wait_take(SUPERBLOCK_BYTES).await;
    let read = Request::read(Sectors(SUPERBLOCK_SECTOR), buf.clone()).from_origin(Origin::Metadata);
    dev.start(read).await.map_err(|failed| ExamineError::Read { failed })?;
    let mut bytes = Box::new([0; SUPERBLOCK_BYTES]);
    buf.copy_to_slice(0, &mut bytes[..]);
    let superblock = Superblock::view(&bytes[..]).map_err(|_| ExamineError::NoSuperblock)?;
    let summary = superblock
        .check(geometry.size.0, geometry.logical_block)
        .map_err(|error| ExamineError::Format { error })?;
    Ok(Examined { geometry, bytes, summary })
}
