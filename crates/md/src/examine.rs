//! Examining a disk: which md superblocks it carries, and what they say. Reads, never writes.

use std::fmt;
use std::rc::Rc;

use block::{Arena, Dev, Failed, Geometry, Origin, Request, Sectors};
use md_format::limits::SUPERBLOCK_BYTES;
use md_format::probe::probe;
use md_format::superblock::Summary;
use md_format::{DeviceShape, FormatError, Place, Superblock, Version, badblocks, bitmap};

/// What a disk says it is.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its shape.
    pub geometry: Geometry,
    /// Where the superblock that counts lies.
    pub place: Place,
    /// The bytes of that superblock.
    pub bytes: Box<[u8; SUPERBLOCK_BYTES]>,
    /// Its facts.
    pub summary: Summary,
    /// The first thing wrong with it, if there is any: the kernel would not accept it.
    pub flaw: Option<FormatError>,
    /// Versions of other superblocks found on the disk: leftovers.
    pub leftovers: Vec<Version>,
    /// The bad-block log: runs of sectors from the start of the disk.
    pub bad_blocks: Vec<badblocks::BadBlock>,
    /// The bitmap's superblock, where the metadata names one.
    pub bitmap: Option<BitmapFacts>,
}

/// What the bitmap's own superblock says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BitmapFacts {
    /// The bitmap's superblock, as far as it can be read: its 256 bytes.
    pub bytes: Vec<u8>,
}

/// Why a disk is no md member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExamineError {
    /// No md superblock at any of its places.
    NoSuperblock,
    /// The disk could not be read.
    Read {
        /// Where.
        sector: u64,
        /// How it failed.
        failed: Failed,
    },
    /// There is a superblock, but what it says leads nowhere.
    Format {
        /// Where.
        place: Place,
        /// What is wrong.
        error: FormatError,
    },
}

impl fmt::Display for ExamineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExamineError::NoSuperblock => {
                f.write_str("no md superblock found (looked for 0.90, 1.0, 1.1, 1.2)")
            }
            ExamineError::Read { sector, failed } => write!(f, "reading sector {sector}: {failed}"),
            ExamineError::Format { place, error } => {
                write!(f, "superblock {} at sector {}: {error}", place.version, place.sector)
            }
        }
    }
}

impl std::error::Error for ExamineError {}

impl Examined {
    /// The superblock, to look at what the summary leaves out.
    pub fn superblock(&self) -> Superblock<'_> {
        Superblock::view(self.place, &self.bytes[..]).expect("viewed when it was examined")
    }
}

/// Reads the places where md superblocks lie, and what the one that counts points to.
pub async fn examine(dev: &Dev, arena: &Rc<Arena>) -> Result<Examined, ExamineError> {
    let geometry = dev.geometry();
    let places: Vec<Place> = Place::all(geometry.size.0).collect();
    let mut read = Vec::with_capacity(places.len());
    for place in places {
        match read_bytes(dev, arena, place.sector, SUPERBLOCK_BYTES).await {
            Ok(bytes) => read.push((place, bytes)),
            // One unreadable place does not hide a superblock at another.
            Err(error) if read.is_empty() && place.version == Version::V1_2 => return Err(error),
            Err(_) => {}
        }
    }
    let probed = probe(read.iter().map(|(place, bytes)| (*place, &bytes[..])));
    let superblock = probed.believed().ok_or(ExamineError::NoSuperblock)?;
    let place = superblock.place();
    let format = |error| ExamineError::Format { place, error };
    let summary = superblock.summary().map_err(format)?;
    let shape = DeviceShape { sectors: geometry.size.0, logical_block_bytes: geometry.logical_block };
    let mut flaw = superblock.check(shape).err();
    let leftovers = probed.found().map(|other| other.place().version).filter(|other| *other != place.version);
    let leftovers = leftovers.collect();
    let mut bytes = Box::new([0; SUPERBLOCK_BYTES]);
    bytes.copy_from_slice(&superblock.as_bytes()[..SUPERBLOCK_BYTES]);
    let mut bad_blocks = Vec::new();
    if let Some(log) = summary.bad_block_log.filter(|log| log.in_use && flaw.is_none()) {
        let area = read_bytes(dev, arena, log.sector, usize::from(log.sectors) * 512).await?;
        for entry in badblocks::view(&area, log.shift) {
            match entry {
                Ok(run) => bad_blocks.push(run),
                Err(error) => flaw = Some(error),
            }
        }
    }
    let mut facts = None;
    if let Some(at) = summary.bitmap.filter(|_| flaw.is_none()) {
        let bytes = read_bytes(dev, arena, at.sector, bitmap::SUPER_BYTES.next_multiple_of(4096)).await?;
        facts = Some(BitmapFacts { bytes });
    }
    Ok(Examined { geometry, place, bytes, summary, flaw, leftovers, bad_blocks, bitmap: facts })
}

/// Reads `len` bytes from `sector` on, whatever the disk's block size and wherever its end is.
async fn read_bytes(dev: &Dev, arena: &Rc<Arena>, sector: u64, len: usize) -> Result<Vec<u8>, ExamineError> {
    let failed = |failed| ExamineError::Read { sector, failed };
    let geometry = dev.geometry();
    let block = Sectors(u64::from(geometry.logical_block) / block::SECTOR);
    let start = Sectors(sector).round_down(block);
    let skip = (Sectors(sector) - start).byte_len();
    let whole = (skip + len).next_multiple_of(geometry.logical_block as usize);
    let buf = arena.wait_take(whole).await;
    dev.start(Request::read(start, buf.clone()).from_origin(Origin::Metadata)).await.map_err(failed)?;
    let mut bytes = vec![0; len];
    buf.copy_to_slice(skip, &mut bytes);
    Ok(bytes)
}
