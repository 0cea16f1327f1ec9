//! A volume of a backing device that has no cache: its data, behind its superblock.

use std::rc::Rc;

use bcache_format::superblock::Backing;
use block::{Cause, Dev, Failed, Geometry, Op, Outcome, Range, Request, Sectors};
use runtime::{Engine, Layer};

use crate::limits::SLOTS;

/// A backing device without a cache.
pub struct Uncached {
    name: String,
    below: Dev,
    data_offset: Sectors,
    geometry: Geometry,
}

impl Uncached {
    /// The volume of a backing device.
    pub fn device(name: &str, below: Dev, backing: &Backing, block_sectors: u64) -> Dev {
        let (block, own) = ((block_sectors * 512) as u32, below.geometry());
        let geometry = Geometry {
            size: Sectors(backing.data_sectors),
            logical_block: block.max(own.logical_block),
            physical_block: block.max(own.physical_block),
            ..own
        };
        let data_offset = Sectors(backing.data_offset);
        let volume = Uncached { name: name.to_owned(), below, data_offset, geometry };
        Layer::new(Rc::new(volume), SLOTS, 1, serve)
    }
}

impl Engine for Uncached {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn height(&self) -> u8 {
        self.below.height() + 1
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

async fn serve(volume: Rc<Uncached>, request: Request) -> Outcome {
    if request.op == Op::Flush {
        return volume.below.start(request).await;
    }
    if request.range.end() > volume.geometry.size {
        return Err(Failed::new(Cause::Refused));
    }
    let range = Range::new(request.range.start + volume.data_offset, request.range.count);
    volume.below.start(Request { range, ..request }).await
}
