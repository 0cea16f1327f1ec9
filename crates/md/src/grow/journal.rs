//! A write journal is added to an array, or taken away from it.
//!
//! A journal that is added is empty, and its superblock durable, before any other superblock speaks of it. Until then a disk
//! that calls itself the journal of an array which has none is left out. One that is taken away is not needed any more
//! before the first superblock no longer speaks of it: the members have all that is in it, durably.

use std::rc::Rc;

use md_format::{Features, Version};

use super::GrowError;
use crate::array::{Array, Happening};
use crate::error::Hindrance;
use crate::level::parity::journal;
use crate::level::{self, Mapping};
use crate::member::Condition;
use crate::membership::Newcomer;

impl Array {
    /// Adds a disk as the write journal. What it holds is lost. It is on record when this returns, and in use.
    pub async fn add_journal(self: &Rc<Array>, newcomer: Newcomer) -> Result<(), GrowError> {
        let _still = self.stand_still_to_grow().await?;
        add(self, newcomer).await
    }
}

async fn add(array: &Rc<Array>, newcomer: Newcomer) -> Result<(), GrowError> {
    let refuse = |what| Err(GrowError::Hindered(Hindrance::Shape(what)));
    let Mapping::Parity(level) = &array.mapping else {
        return refuse("a write journal is for raid4, raid5 and raid6 alone");
    };
    if array.shape().version() == Version::V0_90 {
        return refuse("metadata 0.90 knows no write journal");
    }
    match level.journal().map(|journal| journal.failure()) {
        None => {}
        Some(None) => return Err(GrowError::HasJournal),
        Some(Some(_)) => remove(array).await?,
    }
    if array.bitmap.now().is_some() {
        return Err(GrowError::HasBitmap);
    }
    if level::log(array).is_some() {
        return Err(GrowError::HasLog);
    }
    if newcomer.dev.height() >= array.height {
        return refuse("the journal would lie on top of the array itself");
    }
    let name = newcomer.name.clone();
    let member = Rc::new(array.prepare_journal(newcomer).await?);
    // What was written so far is in no journal: it has to be on all members when one answers for the array.
    array.flush_members(0).await?;
    array.metadata.at_rest().await?;
    if array.members.push(member.clone()).is_none()
        || !level.set_journal(member.clone(), array.height, &array.options)
    {
        return refuse("it has had too many members or journals since it was opened");
    }
    array.epoch.set(array.epoch.get() + 1);
    array.reshape(|shape| {
        shape.summary.features = shape.summary.features.with(Features::JOURNAL, true);
    });
    array.metadata.require_membership();
    array.metadata.settled().await?;
    journal::start(array, |_| ());
    if let Err(failed) = level.replayed().await {
        remove(array).await?;
        return Err(failed.into());
    }
    array.happen(Happening::MemberAdded { name, slot: None });
    Ok(())
}

/// Takes the journal away, whether it works or has failed.
pub(super) async fn remove(array: &Rc<Array>) -> Result<(), GrowError> {
    let Mapping::Parity(level) = &array.mapping else { return Err(GrowError::NoJournal) };
    let journal = level.journal().ok_or(GrowError::NoJournal)?;
    journal.stop(array).await;
    array.flush_members(0).await?;
    array.metadata.at_rest().await?;
    level.forget_journal();
    journal.member().condition.set(Condition::Removed);
    array.epoch.set(array.epoch.get() + 1);
    array.reshape(|shape| {
        shape.summary.features = shape.summary.features.with(Features::JOURNAL, false);
    });
    array.metadata.require_membership();
    array.metadata.settled().await?;
    array.happen(Happening::MemberRemoved { name: journal.member().name.clone() });
    Ok(())
}
