//! Changing what an open array looks like: a bitmap or log added or taken away, a mirror's number of copies, how much the members
//! give. Follows `mdadm --grow` and the kernel, as far as no data moves.
//!
//! The array stands still for it (`still`): requests wait, the action that runs ends where it is and goes on afterwards.
//! What the superblocks will say is true on every member, durably, before the first of them says it; what they no longer
//! say counts until the last of them is written. So a crash at any moment leaves the array as it was, or as it is to be.

mod bitmap;
mod copies;
mod error;
mod journal;
mod plan;
mod ppl;
mod size;

use std::rc::Rc;

use block::Sectors;

use crate::array::{Array, Shape};
use crate::create::BitmapWish;
use crate::level::{self, parity::journal::JournalMode};
use crate::still::StandingStill;
pub use error::GrowError;

/// A change that a person asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// An internal write-intent bitmap.
    AddBitmap(BitmapWish),
    /// No bitmap any more.
    RemoveBitmap,
    /// So many copies of everything: raid1.
    Copies(u32),
    /// Each member gives more.
    Size {
        /// So much; `None` for as much as the smallest has.
        size: Option<Sectors>,
        /// What is new is the same on all members already: it is not synced.
        assume_clean: bool,
    },
    /// When writes to an array with a write journal are answered.
    JournalMode(JournalMode),
    /// No write journal any more. One is added by [`Array::add_journal`].
    RemoveJournal,
    /// A partial parity log: raid5.
    AddPpl,
    /// None any more.
    RemovePpl,
}

impl Array {
    /// Changes what the array looks like. It is on record when this returns.
    pub async fn grow(self: &Rc<Array>, growth: Growth) -> Result<(), GrowError> {
        let _still = self.stand_still_to_grow().await?;
        match growth {
            Growth::AddBitmap(wish) => bitmap::add(self, wish).await,
            Growth::RemoveBitmap => bitmap::remove(self).await,
            Growth::Copies(copies) => copies::change(self, copies).await,
            Growth::Size { size, assume_clean } => size::grow(self, size, assume_clean).await,
            Growth::JournalMode(mode) => {
                let journal = level::journal(self).ok_or(GrowError::NoJournal)?;
                journal.failure().map_or(Ok(()), Err)?;
                journal.set_mode(mode);
                Ok(())
            }
            Growth::RemoveJournal => journal::remove(self).await,
            Growth::AddPpl => ppl::add(self).await,
            Growth::RemovePpl => ppl::remove(self).await,
        }
    }

    /// Nothing is under way, nothing is kept in memory alone, and nobody else changes anything.
    async fn stand_still_to_grow(&self) -> Result<StandingStill<'_>, GrowError> {
        if !self.options.write {
            return Err(GrowError::ReadOnly);
        }
        if !self.redundancy().is_any() {
            return Err(GrowError::NoRedundancy);
        }
        self.replayed().await;
        let still = self.stand_still().await.ok_or(GrowError::Busy)?;
        if let Some(failed) = self.broken() {
            return Err(failed.into());
        }
        if let Some(journal) = level::journal(self) {
            // Nothing is written beside what changes.
            journal.drained(self).await?;
        }
        Ok(still)
    }

    /// The array looks like this from now on, to itself; and the next superblocks say so.
    fn reshape(&self, change: impl FnOnce(&mut Shape)) {
        let mut shape = self.shape();
        change(&mut shape);
        self.shape.set(shape);
        self.metadata.require();
    }
}
