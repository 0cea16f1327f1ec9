//! Moving: what little is left in some buckets is put together in others.
//!
//! Room for it is kept (see `Purpose::Moving`): it waits for nobody whom it makes room for.

use std::rc::Rc;

use bcache_format::{BucketNo, Key, Position};
use block::{Arena, Origin, Request, Sectors};
use runtime::yield_now;

use crate::buckets::{Purpose, Use};
use crate::counters::count;
use crate::error::SetError;
use crate::limits::{MOVE_BYTES, MOVED_AT_ONCE, STEP_BUCKETS};
use crate::open::Stream;
use crate::set::CacheSet;

/// A bucket of which less than one in so many sectors is used is sparse: the emptiest go first, and others only where there are
/// none of these. Each that waits is emptier when its turn comes, and costs less.
const SPARSE: [u32; 3] = [16, 8, 4];
/// Below so much of the cache in use, of a hundred, nothing is moved: the more of it is, the emptier the emptiest buckets are.
/// From 40 on writes go to both devices.
const IN_USE_PERCENT: u64 = 36;

/// What moving needs.
pub(super) struct Memory {
    pub buffers: Rc<Arena>,
    pub keys: Vec<Key>,
}

impl CacheSet {
    /// Whether buckets with something dirty hold less than half of what they could, and are many; or somebody waits for one.
    pub(super) fn is_fragmented(&self) -> bool {
        let buckets = self.buckets.borrow();
        let dirty = self.engine().dirty.all();
        let are_many = buckets.in_use_percent() >= IN_USE_PERCENT;
        let hold_little = dirty * 2 < buckets.dirty_buckets() * self.geometry.bucket_sectors;
        self.engine().tunables.copy_gc_enabled.get() == 1 && (are_many && hold_little || self.is_starving())
    }

    /// Empties some of the buckets that hold little. Whether anything was moved.
    pub(super) async fn empty_sparse(
        &self,
        victims: &mut [bool],
        memory: &mut Memory,
    ) -> Result<bool, SetError> {
        let (mut has_moved, mut are_chosen) = (false, false);
        for part in SPARSE {
            are_chosen = are_chosen || self.choose(victims, self.geometry.bucket_sectors as u32 / part).await;
        }
        if !are_chosen {
            return Ok(has_moved);
        }
        let Memory { buffers, keys } = memory;
        keys.clear();
        let mut at = Some(Position::default());
        while let Some(from) = at {
            let is_victim = |key: &&Key| {
                key.pointer().is_some_and(|to| {
                    self.is_there(to) && victims[to.bucket(self.geometry.bucket_sectors).0 as usize]
                })
            };
            let behind = self
                .look_at_leaf(from, |all| {
                    let left = all.iter().filter(|key| key.end() > from);
                    keys.extend(left.filter(is_victim).take(MOVED_AT_ONCE));
                })
                .await?;
            at = if keys.len() == MOVED_AT_ONCE { keys.last().map(Key::end) } else { behind };
            for key in keys.drain(..) {
                match self.move_extent(key, buffers).await? {
                    Some(sectors) => has_moved |= sectors > 0,
                    None => return Ok(has_moved), // there is no more room
                }
            }
            yield_now().await;
        }
        Ok(has_moved)
    }

    /// Chooses buckets that hold less than so many sectors, as many as what is left in them has room elsewhere. Whether
    /// there are any.
    async fn choose(&self, victims: &mut [bool], sparse: u32) -> bool {
        victims.fill(false);
        let room = self.buckets.borrow().available(Purpose::Moving) as u64 * self.geometry.bucket_sectors / 2;
        let (mut are_chosen, mut live) = (false, 0);
        for (step, part) in victims.chunks_mut(STEP_BUCKETS).enumerate() {
            for (offset, victim) in part.iter_mut().enumerate() {
                let number = BucketNo((step * STEP_BUCKETS + offset) as u64);
                let bucket = *self.buckets.borrow().get(number);
                let is_sparse = bucket.usage == Use::Data && bucket.dirty > 0 && bucket.live < sparse;
                if is_sparse && live + u64::from(bucket.live) <= room {
                    *victim = true;
                    (are_chosen, live) = (true, live + u64::from(bucket.live));
                }
            }
            yield_now().await;
        }
        are_chosen
    }

    /// Moves an extent, if it is still there: how many sectors of it. `None` if there was no room.
    async fn move_extent(&self, key: Key, buffers: &Rc<Arena>) -> Result<Option<u64>, SetError> {
        let (mut rest, mut sectors) = (key, 0);
        while rest.sectors() > 0 {
            let most = rest.sectors().min(MOVE_BYTES as u64 / 512);
            let Some(room) = self.try_room(Stream::Moved, Purpose::Moving, most) else { return Ok(None) };
            let end = rest.start().offset + room.sectors;
            let old = rest.cut_back(end);
            let moved = self.copy(&old, room.sector, buffers).await;
            let replaced = match moved {
                true => {
                    let new = self.key_of(&room, old.start(), old.is_dirty());
                    self.replace(old, new).await
                }
                false => Ok(0),
            };
            self.end_write(&room);
            sectors += replaced?;
            if !moved {
                break;
            }
            rest = rest.cut_front(end);
        }
        Ok(Some(sectors))
    }

    /// Copies the data of an extent within the cache. Whether it was there to the end, and is where it should be now.
    async fn copy(&self, old: &Key, to: u64, buffers: &Rc<Arena>) -> bool {
        let pointer = old.pointer().expect("it was found to be there");
        let buf = buffers.wait_take(old.sectors() as usize * 512).await;
        let read = Request::read(Sectors(pointer.sector()), buf.clone()).from_origin(Origin::Sync);
        if self.ended("data", self.dev.start(read).await).is_err() || !self.is_there(pointer) {
            return false;
        }
        count(&self.engine().counters.data_sectors, old.sectors());
        let write = Request::write(Sectors(to), buf).from_origin(Origin::Sync);
        self.ended("data", self.dev.start(write).await).is_ok()
    }
}
