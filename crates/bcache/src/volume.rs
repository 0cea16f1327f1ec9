//! A cached volume that is read: from the cache what is there, from the backing device everything else.

use std::rc::Rc;

use bcache_format::Position;
use bcache_format::superblock::Backing;
use block::{Cause, Dev, Failed, Fan, Geometry, Op, Outcome, Range, Request, Sectors};
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
        let (mut at, mut pieces) = (from, 0);
        while at < request.range.count && pieces < FAN_OUT {
            let start = request.range.start + at;
            let left = request.range.count - at;
            let (sectors, place) = self.place(start, left).await?;
            let part = Range::new(start, sectors);
            match place {
                Some((dev, sector)) => {
                    let read = Request { fua: false, ..request.piece(part, sector) };
                    fan.put(pieces, dev.start(read));
                }
                None => zero(request, part),
            }
            at += sectors;
            pieces += 1;
        }
        for piece in 0..pieces {
            fan.take(piece).await.unwrap_or(Ok(()))?;
        }
        Ok(at)
    }

    /// How many of the sectors from `start` on lie together, and where; nowhere if they are zeroes.
    async fn place(
        &self,
        start: Sectors,
        most: Sectors,
    ) -> Result<(Sectors, Option<(Dev, Sectors)>), Failed> {
        let data_offset = match &self.below {
            Below::Backing(_, data_offset) => *data_offset,
            Below::Nothing => 0,
        };
        let position = Position::new(self.inode, start.0 + data_offset);
        let mut sectors = most;
        if let Some(set) = &self.set {
            let found = set.find(position, most.0).await.map_err(|_| Failed::new(Cause::Medium))?;
            sectors = Sectors(found.sectors);
            if let Some((pointer, _)) = found.at {
                return Ok((sectors, Some((set.dev.clone(), Sectors(pointer.sector())))));
            }
        }
        Ok(match &self.below {
            Below::Backing(dev, _) => (sectors, Some((dev.clone(), Sectors(position.offset)))),
            Below::Nothing => (sectors, None),
        })
    }
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
