//! Volumes that lie in a cache alone, made larger and deleted while the stack runs.

use std::rc::Rc;

use block::{SECTOR, Sectors};

use super::Stack;
use super::cache::{Cache, Cached};
use super::cache_new::{may_have, well};
use super::cache_orders::{device, has_cache, still};
use crate::command::Refusal;

/// Who holds the export of a volume that nobody uses: the list of exports, and the volume itself. So does whoever serves it to a
/// client or in a mount.
const HOLDERS: usize = 2;

impl Stack {
    /// Makes a volume larger; recorded when this returns. Clients who come find it so, and those who are there when they come again.
    pub(super) async fn grow_volume(&self, cached: &Cached, bytes: u64) -> Result<(), Refusal> {
        let cache = self.cache_alone(cached)?;
        may_have(cache, bytes)?;
        let found = cached.export.device().geometry().size.bytes();
        if bytes < found {
            let name = &cached.name;
            return Err(Refusal::Conflict(format!(
                "{name} has {found} bytes, and is not made smaller: found {bytes}, expected more"
            )));
        }
        let grown = has_cache(cached)?.grow(Sectors(bytes / SECTOR)).await;
        grown.map_err(|failed| device(&cached.name, failed))
    }

    /// Deletes a volume that nobody uses; recorded when this returns.
    pub(super) async fn delete_volume(&self, cached: &Cached) -> Result<(), Refusal> {
        self.cache_alone(cached)?;
        let volume = has_cache(cached)?;
        if Rc::strong_count(&cached.export) > HOLDERS {
            return Err(Refusal::Conflict(format!(
                "{} is in use: a client is connected to it, or a mount shows it",
                cached.name
            )));
        }
        self.exports.remove(&cached.export);
        let _still = still(cached).await?;
        volume.delete().await.map_err(|failed| device(&cached.name, failed))?;
        self.cached.borrow_mut().retain(|known| !Rc::ptr_eq(&known.export, &cached.export));
        Ok(())
    }

    /// The cache that a volume lies in alone.
    fn cache_alone(&self, cached: &Cached) -> Result<&Cache, Refusal> {
        if let Some(backing) = &cached.backing {
            return Err(Refusal::Conflict(format!(
                "{} lies on {}, and not in a cache alone",
                cached.name, backing.name
            )));
        }
        let volume = has_cache(cached)?;
        let cache = self.caches.iter().find(|cache| volume.is_of(&cache.set));
        let cache = cache.ok_or_else(|| Refusal::Conflict(format!("{} has no cache", cached.name)))?;
        well(cache).map(|()| cache)
    }
}
