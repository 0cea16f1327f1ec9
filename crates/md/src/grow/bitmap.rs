//! A bitmap is added to an array, or taken away from it.

use std::rc::Rc;

use md_format::superblock::BitmapPlace;

use super::GrowError;
use super::plan::place_bitmap;
use crate::array::Array;
use crate::bitmap::Bitmap;
use crate::create::BitmapWish;
use crate::level;
use crate::member::{Condition, Recovering, Want};
use crate::plant::{self, Plant};

/// Adds a bitmap: it is on all members, with every bit that has to be set, before the superblocks say that it exists.
pub(super) async fn add(array: &Rc<Array>, wish: BitmapWish) -> Result<(), GrowError> {
    if array.bitmap.now().is_some() {
        return Err(GrowError::HasBitmap);
    }
    if level::log(array).is_some() {
        return Err(GrowError::HasLog);
    }
    if level::journal(array).is_some() {
        return Err(GrowError::HasJournal);
    }
    let members: Vec<_> = array.known_members().map(|member| member.summary()).collect();
    let block = runtime::Engine::geometry(&**array).logical_block as usize;
    let (offset_sectors, chunk_bytes) = place_bitmap(&members, array.sync_size(), wish, block)?;
    // What was written so far is on no bit: after a crash it would have to be the same everywhere (S6).
    array.flush_members(0).await?;
    let bitmap = Rc::new(Bitmap::fresh(array, offset_sectors, chunk_bytes)?);
    bitmap.start(array);
    if !plant::is(Plant::BitmapBeforeBits) {
        bitmap.write_all(array).await;
    }
    // From here to the last superblock nothing is known to more than one of them: what they say is true already.
    array.metadata.at_rest().await?;
    let is_late = plant::is(Plant::BitmapBeforeBits);
    array.bitmap.set((!is_late).then(|| bitmap.clone()));
    let sector =
        members.first().map_or(0, |own| own.super_offset.saturating_add_signed(offset_sectors.into()));
    array.reshape(|shape| shape.summary.bitmap = Some(BitmapPlace { offset_sectors, sector }));
    array.metadata.settled().await?;
    if is_late {
        array.bitmap.set(Some(bitmap.clone()));
        bitmap.write_all(array).await;
    }
    Ok(())
}

/// Takes the bitmap away: the superblocks say so first, and only then does nobody keep it any more.
pub(super) async fn remove(array: &Rc<Array>) -> Result<(), GrowError> {
    let bitmap = array.bitmap.now().ok_or(GrowError::NoBitmap)?;
    bitmap.end_clearing().await;
    array.metadata.at_rest().await?;
    array.bitmap.set(None);
    // Whoever was to get no more than what is marked gets everything.
    for member in array.members.iter() {
        if let Some(recovering) = member.recovering() {
            member.condition.set(Condition::Recovering(Recovering { by_bitmap: false, ..recovering }));
        }
        if matches!(member.want.get(), Want::Former(_)) {
            member.want.set(Want::Any);
        }
    }
    array.reshape(|shape| shape.summary.bitmap = None);
    let recorded = array.metadata.settled().await;
    bitmap.close();
    Ok(recorded?)
}
