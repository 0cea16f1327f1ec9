//! What happens to caches and cached volumes, told as it is seen: they are looked at again and again, and when the stack stops.

use std::rc::Rc;

use bcache::Standing;
use runtime::sleep_ms;

use super::Stack;
use super::cache::{Cache, Cached};
use crate::document::Happened;

/// How often they are looked at: whoever is told acts in seconds.
const LOOK_EVERY_MS: u64 = 500;

impl Stack {
    /// Tells what happens to caches and their volumes for as long as the stack runs.
    pub(super) async fn watch_caches(self: Rc<Stack>) {
        loop {
            sleep_ms(LOOK_EVERY_MS).await;
            self.look_at_caches();
        }
    }

    /// Tells what has happened since the last look.
    pub(super) fn look_at_caches(&self) {
        for cache in &self.caches {
            if let Some(what) = cache.news() {
                self.emit(&cache.name, what);
            }
        }
        for cached in self.cached.borrow().iter() {
            if let Some(what) = cached.news() {
                self.emit(&cached.name, what);
            }
        }
    }
}

impl Cache {
    /// That it has failed, if that was not told yet.
    fn news(&self) -> Option<Happened> {
        let error = self.failure()?;
        (!self.told.replace(true)).then(|| Happened::CacheFailed { error: error.to_string() })
    }
}

impl Cached {
    /// What has become of it, if that was not told yet.
    fn news(&self) -> Option<Happened> {
        let standing = self.standing();
        if self.told.replace(standing) == standing {
            return None;
        }
        match standing {
            Standing::Well => None,
            Standing::Uncached(error) => Some(Happened::Uncached { error: error.to_string() }),
            Standing::Stopped(error) => Some(Happened::Broken { error: error.to_string() }),
            Standing::BackingFailed(failed) => {
                let member = self.backing.as_ref().map(|backing| backing.name.clone()).unwrap_or_default();
                Some(Happened::MemberFailed { member, error: failed.to_string() })
            }
        }
    }
}
