//! A bitmap that is made for an array that runs, or that has to describe more than before.

use std::rc::Rc;

use block::Sectors;
use md_format::bitmap::{BitmapSuper, NewBitmap, SUPER_BYTES, bit, chunks, grown_chunk_bytes, space_sectors};
use md_format::superblock::Summary;

use super::chunks::{Chunks, Found, NewRows};
use super::{Bitmap, fits, written_bytes};
use crate::array::Array;
use crate::create::DAEMON_SLEEP_S;
use crate::error::Hindrance;

impl Bitmap {
    /// A bitmap that nobody has yet, at this distance from the superblocks: what may differ now is marked, and who has
    /// missed anything so far has missed more than that.
    pub fn fresh(array: &Array, offset_sectors: i32, chunk_bytes: u32) -> Result<Bitmap, Hindrance> {
        let (size, block) = (array.sync_size(), array.geometry.get().logical_block as usize);
        let mut image = vec![0; written_bytes(size, chunk_bytes, block)?];
        let new = NewBitmap {
            uuid: array.shape().summary.array_uuid,
            sync_size_sectors: size.0,
            chunk_bytes,
            daemon_sleep_s: DAEMON_SLEEP_S,
            write_behind: 0,
        };
        new.create(&mut image).map_err(Hindrance::Format)?;
        image[SUPER_BYTES..].fill(0);
        let chunk = Sectors::from_bytes(chunk_bytes.into());
        let count = chunks(size.0, chunk_bytes).unwrap_or(0);
        let first = array.sync.first_uncovered().map_or(count, |first| first.0 / chunk.0);
        for (byte, mask) in (first..count).map(bit) {
            image[byte as usize] |= mask;
        }
        let found = Found { image: &image, stale: false, events: array.events() };
        let nobody: &[u8] = &[];
        let chunks = Chunks::new(found, std::iter::once(nobody), chunk, size, array.sync.position());
        chunks.set_events(array.events(), array.events());
        let round_ms = array.options.bitmap_round_ms.unwrap_or(u64::from(DAEMON_SLEEP_S) * 1000);
        Ok(Bitmap::of(chunks, offset_sectors.into(), block, round_ms))
    }

    /// From now on it describes `size` sectors, of which those at the end are `new`. `members` are the superblocks as they will
    /// be. Durable on all members when this returns. Nobody writes to the array meanwhile.
    pub async fn grow(
        self: &Rc<Bitmap>,
        array: &Rc<Array>,
        members: Vec<Summary>,
        size: Sectors,
        new: NewRows,
    ) -> Result<(), Hindrance> {
        let chunk_bytes = self.chunk_for(&members, size)?;
        self.end_clearing().await;
        if Sectors::from_bytes(chunk_bytes.into()) != self.chunks.chunk() {
            // Bits move: until all of them have, they mean nothing.
            self.chunks.set_stale();
            self.written(array).await;
        }
        let bytes = written_bytes(size, chunk_bytes, self.block)?;
        let grown = self.chunks.grown(bytes, chunk_bytes, size, new);
        let grown = Rc::new(Bitmap::of(grown, self.offset, self.block, self.round_ms));
        grown.start(array);
        array.bitmap.set(Some(grown.clone()));
        self.close();
        grown.write_all(array).await;
        Ok(())
    }

    /// What a bit stands for when there are to be so many sectors: as the kernel chooses it, and more where that would reach
    /// into something else.
    fn chunk_for(&self, members: &[Summary], size: Sectors) -> Result<u32, Hindrance> {
        let none = Hindrance::Shape("the bitmap has no room for what is new");
        let Some(first) = members.first() else { return Err(none) };
        let offset = i32::try_from(self.offset).map_err(|_| none.clone())?;
        let space = self.chunks.look(|image| {
            BitmapSuper::view(image).map(|bitmap| space_sectors(first.version, offset, bitmap))
        });
        let space = space.map_err(Hindrance::Format)?;
        let now = u32::try_from(self.chunks.chunk().bytes()).map_err(|_| none.clone())?;
        let mut chunk = grown_chunk_bytes(now, size.0, space).ok_or(none.clone())?;
        loop {
            let bytes = written_bytes(size, chunk, self.block)?;
            let fits =
                |member: &Summary| fits(member, member.super_offset, offset, bytes, self.block).is_ok();
            if members.iter().all(fits) {
                return Ok(chunk);
            }
            chunk = chunk.checked_mul(2).ok_or(none.clone())?;
        }
    }
}
