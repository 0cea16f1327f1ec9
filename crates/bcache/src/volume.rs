//! A cached volume that is read: from the cache what is there, from the backing device everything else.

use std::rc::Rc;

use bcache_format::Position;
use bcache_format::superblock::Backing;
use block::{Cause, Dev, Failed, Fan, Geometry, Op, Outcome, Range, Request, Sectors, Ticket};
use runtime::{Engine, Layer};

use crate::set::CacheSet;

/// Requests that a volume serves at once.
const SLOTS: usize = 64;
/// Pieces of a request that are under way at once.
const FAN_OUT: usize = 16;

/// A volume of a set.
pub struct Volume {
    name: String,
    set: Option<Rc<CacheSet>>,
    inode: u32,
    below: Below,
    size: Sectors,
    geometry: Geometry,
    height: u8,
}

/// What lies below the cache.
enum Below {
    /// A backing device, whose data begins at that sector.
    Backing(Dev, u64),
    /// Nothing: what is not in the cache reads as zeroes.
    Nothing,
}

impl Volume {
    /// The volume of a backing device: with the set that caches it, of which it has that inode, or without.
    pub fn of_backing(
        name: &str,
        dev: Dev,
        backing: &Backing,
        block_sectors: u64,
        cached: Option<(Rc<CacheSet>, u32)>,
    ) -> Dev {
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
            below: Below::Backing(dev, backing.data_offset),
            size: geometry.size,
            geometry,
            height,
        }
        .device()
    }

    /// A volume of so many sectors that lies in the cache alone.
    pub fn of_flash(name: &str, set: Rc<CacheSet>, inode: u32, sectors: u64) -> Dev {
        let block = (set.geometry.block_sectors * 512) as u32;
        let geometry = Geometry {
            logical_block: block,
            physical_block: block,
            read_only: true,
            ..Geometry::plain(Sectors(sectors))
        };
        let height = set.dev.height() + 1;
        let name = name.to_owned();
        Volume { name, set: Some(set), inode, below: Below::Nothing, size: geometry.size, geometry, height }
            .device()
    }

    fn device(self) -> Dev {
        Layer::new(Rc::new(self), SLOTS, FAN_OUT, serve)
    }

    /// Reads what the cache has of `range` from it, and everything else from below.
    async fn read(&self, request: &Request) -> Outcome {
        let mut done = Sectors(0);
        while done < request.range.count {
            done = self.read_some(request, done).await?;
        }
        Ok(())
    }

    /// Reads up to [`FAN_OUT`] pieces from `from` on; up to where.
    async fn read_some(&self, request: &Request, from: Sectors) -> Result<Sectors, Failed> {
        let mut fan = Fan::<FAN_OUT>::default();
        let mut pieces = [const { None }; FAN_OUT];
        let mut at = from;
        for (number, piece) in pieces.iter_mut().enumerate() {
            let left = request.range.count - at;
            if left.is_zero() {
                break;
            }
            let (sectors, place) = self.place(request.range.start + at, left).await?;
            let part = Range::new(request.range.start + at, sectors);
            match &place {
                Place::Cache { sector, .. } => fan.put(number, self.start_in_cache(request, part, *sector)),
                Place::Below => fan.put(number, self.start_below(request, part)),
                Place::Nowhere => zero(request, part),
            }
            *piece = Some((part, place));
            at += sectors;
        }
        for (number, piece) in pieces.into_iter().enumerate() {
            match (fan.take(number).await, piece) {
                // What the cache cannot give any more, and the backing device has too, is read there, as the kernel does.
                (Some(Err(_)), Some((part, Place::Cache { is_dirty: false, .. }))) if self.is_backed() => {
                    self.start_below(request, part).await?;
                }
                (read, _) => read.unwrap_or(Ok(()))?,
            }
        }
        Ok(at)
    }

    /// How many of the sectors from `start` on lie together, and where.
    async fn place(&self, start: Sectors, most: Sectors) -> Result<(Sectors, Place), Failed> {
        let below = if self.is_backed() { Place::Below } else { Place::Nowhere };
        let Some(set) = &self.set else { return Ok((most, below)) };
        let position = Position::new(self.inode, self.sector_below(start).0);
        let found = set.find(position, most.0).await.map_err(|_| Failed::new(Cause::Medium))?;
        let place = found.at.map_or(below, |(pointer, is_dirty)| Place::Cache {
            sector: Sectors(pointer.sector()),
            is_dirty,
        });
        Ok((Sectors(found.sectors), place))
    }

    fn is_backed(&self) -> bool {
        matches!(self.below, Below::Backing(..))
    }

    /// Where a sector of the volume lies on the backing device, and in the order of keys.
    fn sector_below(&self, sector: Sectors) -> Sectors {
        match &self.below {
            Below::Backing(_, data_offset) => sector + Sectors(*data_offset),
            Below::Nothing => sector,
        }
    }

    fn start_in_cache(&self, request: &Request, part: Range, sector: Sectors) -> Ticket {
        let set = self.set.as_ref().expect("something was found in it");
        set.dev.start(request.piece(part, sector))
    }

    fn start_below(&self, request: &Request, part: Range) -> Ticket {
        match &self.below {
            Below::Backing(dev, _) => dev.start(request.piece(part, self.sector_below(part.start))),
            Below::Nothing => Ticket::ready(Err(Failed::new(Cause::Gone))),
        }
    }
}

/// Where some sectors are to be read.
enum Place {
    /// In the cache.
    Cache {
        /// Where.
        sector: Sectors,
        /// Whether they are nowhere else.
        is_dirty: bool,
    },
    /// On the backing device.
    Below,
    /// They are zeroes.
    Nowhere,
}

fn zero(request: &Request, part: Range) {
    let buf = request.buf.as_ref().expect("a read has memory");
    buf.slice((part.start - request.range.start).byte_len(), part.count.byte_len()).fill_zero();
}

impl Engine for Volume {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn height(&self) -> u8 {
        self.height
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

async fn serve(volume: Rc<Volume>, request: Request) -> Outcome {
    if request.range.end() > volume.size {
        return Err(Failed::new(Cause::Refused));
    }
    match request.op {
        Op::Read => volume.read(&request).await,
        Op::Flush => Ok(()),
        Op::Status => Err(Failed::new(Cause::Unsupported)),
        Op::Write | Op::Discard | Op::WriteZeroes => Err(Failed::new(Cause::Refused)),
    }
}
