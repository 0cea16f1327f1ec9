//! A volume of bcache: what is in the cache comes from it, everything else from the backing device.

mod failure;
pub(crate) mod fill;
mod flash;
mod manage;
mod read;
mod state;
mod write;

use std::cell::Cell;
use std::rc::Rc;

use bcache_format::Position;
use bcache_format::limits::SUPERBLOCK_SECTOR;
use bcache_format::superblock::{Backing, Kind};
use bcache_format::{CacheMode, State};
use block::{Arena, Cause, Dev, Failed, Geometry, Op, Outcome, Range, Request, Sectors};
use runtime::rank::{Rank, Step};
use runtime::{Engine, Layer, RangeLocks};

use crate::backing::BackingDisk;
use crate::error::SetError;
use crate::examine::Examined;
use crate::limits::SLOTS;
use crate::set::CacheSet;
use crate::writeback;
pub use failure::Standing;
pub use manage::NotSet;
use state::BackingState;
use write::Writer;

/// Pieces of a request that are under way at once.
const FAN_OUT: usize = 16;

/// A volume of a set.
pub struct Volume {
    name: String,
    pub(crate) set: Option<Rc<CacheSet>>,
    pub(crate) inode: u32,
    below: Below,
    /// What lies in the cache alone can grow.
    size: Cell<Sectors>,
    geometry: Geometry,
    height: u8,
    writer: Option<Writer>,
}

/// What lies below the cache.
enum Below {
    /// A backing device, whose data begins at that sector.
    Backing(Rc<BackingDisk>, u64),
    /// Nothing: what is not in the cache reads as zeroes.
    Nothing,
}

impl Volume {
    /// The volume of a backing device, to be read: with the set that caches it, of which it has that inode, or without.
    pub fn of_backing(
        name: &str,
        dev: Dev,
        backing: &Backing,
        block_sectors: u64,
        cached: Option<(Rc<CacheSet>, u32)>,
    ) -> Dev {
        Rc::new(Volume::backed(name, dev, backing, block_sectors, cached)).device()
    }

    fn backed(
        name: &str,
        dev: Dev,
        backing: &Backing,
        block_sectors: u64,
        cached: Option<(Rc<CacheSet>, u32)>,
    ) -> Volume {
        let height = dev.height().max(cached.as_ref().map_or(0, |(set, _)| set.dev.height())) + 1;
        let block = (block_sectors * 512) as u32;
        let below = dev.geometry();
        let geometry = Geometry {
            size: Sectors(backing.data_sectors),
            logical_block: block.max(below.logical_block),
            physical_block: block.max(below.physical_block),
            read_only: true,
            ..below
        };
        let (set, inode) = cached.unzip();
        Volume {
            name: name.to_owned(),
            set,
            inode: inode.unwrap_or(0),
            below: Below::Backing(BackingDisk::new(dev), backing.data_offset),
            size: Cell::new(geometry.size),
            geometry,
            height,
            writer: None,
        }
    }

    /// A volume of so many sectors that lies in the cache alone, to be read.
    pub fn of_flash(name: &str, set: Rc<CacheSet>, inode: u32, sectors: u64) -> Dev {
        Rc::new(Volume::flash(name, set, inode, sectors)).device()
    }

    fn flash(name: &str, set: Rc<CacheSet>, inode: u32, sectors: u64) -> Volume {
        let block = (set.geometry.block_sectors * 512) as u32;
        let geometry = Geometry {
            logical_block: block,
            physical_block: block,
            read_only: true,
            ..Geometry::plain(Sectors(sectors))
        };
        let height = set.dev.height() + 1;
        Volume {
            name: name.to_owned(),
            set: Some(set),
            inode,
            below: Below::Nothing,
            size: Cell::new(geometry.size),
            geometry,
            height,
            writer: None,
        }
    }

    /// The volume of a backing device that is written, through the set that was started, of which it has that inode.
    pub async fn start_backed(
        name: &str,
        dev: Dev,
        examined: &Examined,
        set: Rc<CacheSet>,
        inode: u32,
        arena: &Rc<Arena>,
    ) -> Result<Rc<Volume>, SetError> {
        let Kind::Backing(backing) = examined.summary.kind else { return Err(SetError::NotUsed) };
        let block = examined.summary.block_sectors.max(set.geometry.block_sectors);
        let volume = Volume::backed(name, dev, &backing, block, Some((set.clone(), inode)));
        let Below::Backing(disk, _) = &volume.below else { unreachable!("it is backed") };
        set.add_backing(disk.clone());
        set.know_stripes(inode, disk).await?;
        let state = BackingState::new(disk.clone(), examined, &backing, arena).await;
        let volume = volume.written(backing.mode, Some(state));
        failure::start(&volume);
        writeback::task::start(&volume);
        Ok(volume)
    }

    /// Attaches a backing device to a set that was started: it has an inode there then, and says so. One that is attached to
    /// it already, or has something dirty in whatever cache, is refused.
    pub async fn attach(
        dev: &Dev,
        examined: &Examined,
        set: &Rc<CacheSet>,
        arena: &Rc<Arena>,
    ) -> Result<u32, SetError> {
        let Kind::Backing(backing) = examined.summary.kind else { return Err(SetError::NotUsed) };
        let (found, least) = (examined.summary.block_sectors, set.geometry.block_sectors);
        if found < least {
            return Err(SetError::Block { found, least });
        }
        let is_here = backing.state == State::Clean && examined.summary.set_uuid == set.uuid();
        if backing.state == State::Dirty || is_here && set.inode_of(&examined.summary.uuid).is_some() {
            return Err(SetError::Attached { state: backing.state });
        }
        let inode = set.enter(examined.summary.uuid, examined.summary.label).await?;
        let state = BackingState::new(BackingDisk::new(dev.clone()), examined, &backing, arena).await;
        let failed = |failed| SetError::Device { what: "superblock", sector: SUPERBLOCK_SECTOR, failed };
        state.set_owner(State::Clean, set.uuid()).await.map_err(failed)?;
        Ok(inode)
    }

    /// Has a backing device, of which nothing is dirty, say durably that it is used without its set, as the kernel does when it
    /// is told to run one: what the set has of it is forgotten when they meet again.
    pub async fn run_without_cache(
        dev: &Dev,
        examined: &Examined,
        arena: &Rc<Arena>,
    ) -> Result<(), SetError> {
        let Kind::Backing(backing) = examined.summary.kind else { return Err(SetError::NotUsed) };
        assert!(backing.state != State::Dirty, "what only the cache has would be lost");
        let state = BackingState::new(BackingDisk::new(dev.clone()), examined, &backing, arena).await;
        let failed = |failed| SetError::Device { what: "superblock", sector: SUPERBLOCK_SECTOR, failed };
        state.set_owner(State::Stale, examined.summary.set_uuid).await.map_err(failed)
    }

    /// A volume of so many sectors that lies in the cache alone and is written.
    pub fn start_flash(name: &str, set: Rc<CacheSet>, inode: u32, sectors: u64) -> Rc<Volume> {
        let volume = Volume::flash(name, set, inode, sectors).written(CacheMode::Writeback, None);
        failure::start(&volume);
        volume
    }

    fn written(self, mode: CacheMode, state: Option<BackingState>) -> Rc<Volume> {
        let rank = Rank::new(self.height, Step::Ranges);
        let writer = Writer::new(RangeLocks::new(2 * SLOTS, rank), mode, state);
        let geometry = Geometry { read_only: false, ..self.geometry };
        Rc::new(Volume { writer: Some(writer), geometry, ..self })
    }

    /// The device that serves it.
    pub fn device(self: &Rc<Volume>) -> Dev {
        let slots = self.set.as_ref().map_or(SLOTS, |set| set.options.slots);
        Layer::new(self.clone(), slots, FAN_OUT, serve)
    }

    /// The mode in which it is cached.
    pub fn mode(&self) -> Option<CacheMode> {
        self.writer.as_ref().map(|writer| writer.tunables.mode())
    }

    /// What its backing device says of its cache.
    pub fn state(&self) -> Option<State> {
        self.writer.as_ref()?.state.as_ref().map(BackingState::get)
    }

    /// Sectors that only the cache has.
    pub fn dirty_sectors(&self) -> u64 {
        self.set.as_ref().filter(|set| set.is_started()).map_or(0, |set| set.engine().dirty.get(self.inode))
    }

    /// The whole of it.
    fn whole(&self) -> Range {
        Range::new(Sectors::ZERO, self.size.get())
    }

    fn is_backed(&self) -> bool {
        matches!(self.below, Below::Backing(..))
    }

    /// The backing device.
    pub(crate) fn disk(&self) -> Option<&Rc<BackingDisk>> {
        match &self.below {
            Below::Backing(disk, _) => Some(disk),
            Below::Nothing => None,
        }
    }

    /// A request to the backing device has ended: errors are counted.
    pub(crate) fn ended_below(&self, outcome: Outcome) -> Outcome {
        match (&self.below, &self.writer) {
            (Below::Backing(disk, _), Some(writer)) => {
                disk.ended(outcome, writer.tunables.io_error_limit.get())
            }
            _ => outcome,
        }
    }

    /// Where a sector of the volume lies on the backing device, and in the order of keys.
    fn sector_below(&self, sector: Sectors) -> Sectors {
        match &self.below {
            Below::Backing(_, data_offset) => sector + Sectors(*data_offset),
            Below::Nothing => sector,
        }
    }

    /// Where a sector of the volume is in the order of keys.
    fn position(&self, sector: Sectors) -> Position {
        Position::new(self.inode, self.sector_below(sector).0)
    }

    /// The range of the volume that the sectors from a place in the order of keys on are.
    pub(crate) fn range_at(&self, start: Position, sectors: u64) -> Range {
        Range::new(Sectors(start.offset) - self.sector_below(Sectors::ZERO), Sectors(sectors))
    }

    fn set(&self) -> &Rc<CacheSet> {
        self.set.as_ref().expect("there is a cache")
    }
}

/// What a request comes to when the set cannot go on.
pub(crate) fn failed(error: SetError) -> Failed {
    match error {
        SetError::Device { failed, .. } => failed,
        _ => Failed::new(Cause::Medium),
    }
}

impl Engine for Volume {
    fn geometry(&self) -> Geometry {
        Geometry { size: self.size.get(), ..self.geometry }
    }

    fn height(&self) -> u8 {
        self.height
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

async fn serve(volume: Rc<Volume>, request: Request) -> Outcome {
    let block = Sectors::from_bytes(volume.geometry.logical_block.into());
    let is_whole = [request.range.start, request.range.count].iter().all(|at| at.is_multiple_of(block));
    if request.range.end() > volume.size.get() || volume.writer.is_some() && !is_whole {
        return Err(Failed::new(Cause::Refused));
    }
    if volume.is_deleted() {
        return Err(Failed::new(Cause::Gone));
    }
    match (request.op, &volume.writer) {
        (Op::Read, _) => volume.read(&request).await,
        (Op::Status, _) => Err(Failed::new(Cause::Unsupported)),
        (Op::Flush, None) => Ok(()),
        (Op::Flush, Some(_)) => volume.flush().await,
        (Op::Write | Op::Discard | Op::WriteZeroes, None) => Err(Failed::new(Cause::Refused)),
        (Op::Write | Op::Discard | Op::WriteZeroes, Some(writer)) => volume.change(writer, &request).await,
    }
}
