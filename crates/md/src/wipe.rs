//! Old superblocks out of the way: nobody may find them beside a new one.

use std::rc::Rc;

use block::{Arena, Dev, Origin, Outcome, Request, Sectors};
use md_format::limits::SUPERBLOCK_BYTES;
use md_format::{Place, Superblock};

/// Takes every md superblock out of a disk.
pub async fn wipe_all(dev: &Dev, arena: &Rc<Arena>) -> Outcome {
    for place in Place::all(dev.geometry().size.0) {
        wipe(dev, arena, place, |request| request).await?;
    }
    dev.start(Request::flush()).await
}

/// Takes an old superblock out of a place, if there is one. `sent` is how requests are sent to this disk.
pub(crate) async fn wipe(
    dev: &Dev,
    arena: &Rc<Arena>,
    place: Place,
    sent: impl Fn(Request) -> Request,
) -> Outcome {
    let buf = arena.wait_take(SUPERBLOCK_BYTES).await;
    let mut bytes = [0; SUPERBLOCK_BYTES];
    // What cannot be read there cannot be believed either.
    if dev.start(sent(Request::read(Sectors(place.sector), buf.clone()))).await.is_ok() {
        buf.copy_to_slice(0, &mut bytes);
    }
    if Superblock::view(place, &bytes).is_err() {
        return Ok(());
    }
    buf.fill_zero();
    dev.start(sent(Request::write(Sectors(place.sector), buf).from_origin(Origin::Metadata))).await
}
