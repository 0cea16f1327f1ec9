//! Examining a disk: which md superblocks it carries, and what they say. Reads, never writes.

use std::fmt;
use std::rc::Rc;

use block::{Arena, Dev, Failed, Geometry, MAX_BUFFER, Origin, Request, Sectors};
use md_format::geometry::array_sectors;
use md_format::limits::SUPERBLOCK_BYTES;
use md_format::private_log::LogPlace;
use md_format::probe::probe;
use md_format::superblock::Summary;
use md_format::{
    DeviceShape, FormatError, Level, Place, Superblock, Version, badblocks, bitmap, private_log,
};

use crate::level::parity::log::private;
use crate::limits::BITMAP_BYTES;

/// Bytes of a bitmap that are read at once to begin with.
const PAGE: usize = 4096;

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
    /// The bitmap, where the metadata names one and it can be read.
    pub bitmap: Option<BitmapFacts>,
    /// The private log, of a raid6.
    pub private_log: Option<PrivateLogFacts>,
}

/// The private log of a raid6 in the headroom, of which no superblock speaks (ADR 18).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrivateLogFacts {
    /// Where it lies, or would lie; or why there can be none.
    pub place: Result<LogPlace, &'static str>,
    /// Sectors of the bitmap, which it does not touch.
    pub bitmap_sectors: u64,
    /// The binding that counts, if there is a log.
    pub binding: Option<BindingFacts>,
}

/// What a binding says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BindingFacts {
    /// The session of the records.
    pub session: [u8; 16],
    /// Its number.
    pub generation: u64,
    /// Whether it names the superblock that is there: nobody else has written one since.
    pub names_superblock: bool,
}

/// The bitmap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BitmapFacts {
    /// Its superblock and its bits, in whole pages; the first page alone where the superblock makes no sense.
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
        facts = read_bitmap(dev, arena, &summary, at.sector).await.ok();
    }
    let private_log = match summary.level == Level::Raid6 && flaw.is_none() {
        true => Some(read_private_log(dev, arena, &summary, &bytes, facts.as_ref()).await),
        false => None,
    };
    Ok(Examined { geometry, place, bytes, summary, flaw, leftovers, bad_blocks, bitmap: facts, private_log })
}

/// Looks for a private log. What cannot be read there is no log.
async fn read_private_log(
    dev: &Dev,
    arena: &Rc<Arena>,
    summary: &Summary,
    superblock: &[u8; SUPERBLOCK_BYTES],
    bitmap: Option<&BitmapFacts>,
) -> PrivateLogFacts {
    let bitmap_sectors = bitmap.map_or(0, |facts| facts.bytes.len() as u64 / 512);
    let place = match summary.bitmap.is_some() && bitmap.is_none() {
        true => Err("its bitmap cannot be read"),
        false => private_log::place(summary, bitmap_sectors),
    };
    let mut bytes = Vec::new();
    if let Ok(place) = place {
        let length = place.records().sector - place.sector;
        bytes = read_bytes(dev, arena, place.sector, length as usize * 512).await.unwrap_or_default();
    }
    private::facts(summary, private_log::fingerprint(superblock), place, bitmap_sectors, &bytes)
}

/// Reads a bitmap: as many bits as it says it has, and as many as the array needs.
async fn read_bitmap(
    dev: &Dev,
    arena: &Rc<Arena>,
    summary: &Summary,
    sector: u64,
) -> Result<BitmapFacts, ExamineError> {
    let mut bytes = read_bytes(dev, arena, sector, PAGE).await?;
    let chunks = |sectors: u64| {
        let bitmap = bitmap::BitmapSuper::view(&bytes).ok()?;
        bitmap::chunks(sectors.max(bitmap.sync_size.get()), bitmap.chunk_bytes.get())
    };
    let size = array_sectors_synced(summary);
    let longest = dev.geometry().size.0.saturating_sub(sector).saturating_mul(512).min(BITMAP_BYTES as u64);
    let needed = chunks(size).map_or(0, |chunks| bitmap::SUPER_BYTES as u64 + chunks.div_ceil(8));
    let end = needed.next_multiple_of(PAGE as u64).min(longest) as usize;
    while bytes.len() < end {
        let some = (end - bytes.len()).min(MAX_BUFFER / 2);
        let at = sector + bytes.len() as u64 / 512;
        bytes.extend(read_bytes(dev, arena, at, some).await?);
    }
    Ok(BitmapFacts { bytes })
}

/// Sectors that a bitmap describes: the array's on raid10, a member's elsewhere.
fn array_sectors_synced(summary: &Summary) -> u64 {
    let Summary { level, layout, chunk_sectors, raid_disks, size_sectors, .. } = *summary;
    match level {
        Level::Raid10 => array_sectors(level, layout, chunk_sectors, raid_disks, size_sectors).unwrap_or(0),
        _ => size_sectors,
    }
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
