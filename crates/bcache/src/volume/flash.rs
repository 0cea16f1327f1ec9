//! Volumes that lie in the cache alone: made larger, and deleted.

use std::rc::Rc;

use block::{Cause, Failed, Outcome, Sectors};

use super::write::Stage;
use super::{Volume, failed};
use crate::set::CacheSet;

impl Volume {
    /// Whether it lay in the cache alone, and was deleted.
    pub(super) fn is_deleted(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.stage.get() == Stage::Deleted)
    }

    /// Whether it is a volume of this set.
    pub fn is_of(&self, set: &Rc<CacheSet>) -> bool {
        self.set.as_ref().is_some_and(|own| Rc::ptr_eq(own, set))
    }

    /// Takes it out of the set: that is durable when this returns, and nothing can be done with it any more. What the cache has of
    /// it is forgotten behind that, by and by, so that after a power cut the volume is there as it was, or not at all.
    pub async fn delete(&self) -> Outcome {
        let (set, writer) = (self.set(), self.writer());
        if self.is_backed() {
            return Err(Failed::new(Cause::Unsupported));
        }
        let _under_way = writer.locks.lock(self.whole()).await;
        if writer.stage.get() != Stage::Attached {
            return Err(Failed::new(Cause::Refused));
        }
        writer.stage.set(Stage::Deleted);
        set.delete_flash(self.inode).await.map_err(failed)
    }

    /// Makes it larger: that is durable when this returns. What is new reads as zeroes.
    pub async fn grow(&self, size: Sectors) -> Outcome {
        let set = self.set();
        if self.is_backed() || self.is_deleted() {
            return Err(Failed::new(Cause::Unsupported));
        }
        if size < self.size.get() {
            return Err(Failed::new(Cause::Refused));
        }
        // A kernel that made it smaller has left what lay behind its end.
        set.forget_from(self.position(self.size.get())).await.map_err(failed)?;
        self.commit().await?;
        set.set_flash_sectors(self.inode, size.0).await.map_err(failed)?;
        self.size.set(size);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
