//! Room for data in the cache.

use std::rc::Weak;

use bcache_format::{BucketNo, Key, Pointer, Position};
use block::Sectors;

use crate::buckets::{Purpose, Use};
use crate::counters::count;
use crate::open::{Room, Stream};
use crate::set::CacheSet;
use crate::waits;

/// After so many looks one has begun and ended since.
const WHOLE_LOOKS: u64 = 2;

impl CacheSet {
    /// Room for up to so many sectors of a stream, if there is some now. It is to be given to [`CacheSet::end_write`].
    pub(crate) fn try_room(&self, stream: Stream, purpose: Purpose, sectors: u64) -> Option<Room> {
        let open = &self.engine().open;
        loop {
            if let Some(room) = open.borrow_mut().take(&self.geometry, stream, sectors) {
                self.buckets.borrow_mut().begin_write(self.bucket_at(&room));
                return Some(room);
            }
            let bucket = self.try_bucket(purpose)?;
            if let Some(full) = open.borrow_mut().open(stream, bucket) {
                self.buckets.borrow_mut().set_use(full, Use::Data);
            }
        }
    }

    /// The same, or waits while buckets become free; `None` if none will.
    pub(crate) async fn wait_room(&self, stream: Stream, purpose: Purpose, sectors: u64) -> Option<Room> {
        let allocator = &self.engine().allocator;
        loop {
            let room = self.try_room(stream, purpose, sectors);
            if room.is_some() || self.failure().is_some() {
                return room;
            }
            let mut will_be = true;
            let looked = || {
                let buckets = self.buckets.borrow();
                will_be = allocator.has_more(&buckets);
                buckets.available(purpose) > 0 || !will_be || self.failure().is_some()
            };
            allocator.changed.wait_for(waits::BUCKET, looked).await;
            if !will_be {
                return self.try_room(stream, purpose, sectors);
            }
        }
    }

    /// The same for what has no other place: waits also while what is dirty is made clean, or put together, by others; `None` if none
    /// of that can help.
    ///
    /// It ends (P3): write-back goes on while this waits, as fast as it goes, and either makes something clean or fails, and then no
    /// longer counts; above the cutoffs nothing else of its volumes becomes dirty. Moving empties buckets that hold little until there
    /// is none, and its looks are counted. What a deleted volume left gets less with each look. Who waits here holds a slot and a
    /// range of a volume that nobody writes back (P2).
    pub(crate) async fn wait_clean_room(
        &self,
        stream: Stream,
        purpose: Purpose,
        sectors: u64,
    ) -> Option<Room> {
        let (allocator, starving) = (&self.engine().allocator, &self.engine().starving);
        let since = self.engine().vain_looks.get();
        starving.set(starving.get() + 1);
        let room = loop {
            let room = self.wait_room(stream, purpose, sectors).await;
            if room.is_some() || self.is_over() || !self.can_make_room(since) {
                break room;
            }
            let looked = || {
                let buckets = self.buckets.borrow();
                let is_there = buckets.available(purpose) > 0 || allocator.has_more(&buckets);
                is_there || self.is_over() || !self.can_make_room(since)
            };
            allocator.changed.wait_for(waits::CLEAN, looked).await;
        };
        starving.set(starving.get() - 1);
        room
    }

    /// Whether somebody waits until something dirty is clean.
    pub(crate) fn is_starving(&self) -> bool {
        self.engine().starving.get() > 0
    }

    /// Whether somebody makes room by making something clean; `since` is how many looks for what could be moved had been in vain when
    /// that began to matter.
    fn can_make_room(&self, since: u64) -> bool {
        let engine = self.engine();
        let is_moving = || engine.vain_looks.get() < since + WHOLE_LOOKS;
        let is_cleaning = || {
            let volumes = engine.written_back.borrow();
            volumes.iter().filter_map(Weak::upgrade).any(|volume| volume.becomes_clean())
        };
        self.has_gone() || is_moving() || is_cleaning()
    }

    /// Nothing is written of a volume any more.
    pub(crate) fn close_streams(&self, inode: u32) {
        for stream in [Stream::Dirty(inode), Stream::Clean(inode)] {
            if let Some(bucket) = self.engine().open.borrow_mut().close(stream) {
                self.buckets.borrow_mut().set_use(bucket, Use::Data);
            }
        }
        self.engine().allocator.changed.notify();
    }

    fn bucket_at(&self, room: &Room) -> BucketNo {
        Pointer::new(room.sector, 0).bucket(self.geometry.bucket_sectors)
    }

    /// The key of data from `start` on that lies there.
    pub(crate) fn key_of(&self, room: &Room, start: Position, is_dirty: bool) -> Key {
        let generation = self.buckets.borrow().get(self.bucket_at(room)).generation;
        Key::extent(start, room.sectors, room.pointer(generation), is_dirty)
    }

    /// The tree tells of what was written there, or never will.
    pub(crate) fn end_write(&self, room: &Room) {
        self.buckets.borrow_mut().end_write(self.bucket_at(room));
        self.engine().allocator.changed.notify();
    }

    /// Whether data that was found is where it was found.
    pub(crate) fn is_there(&self, pointer: Pointer) -> bool {
        self.buckets.borrow().is_fresh(pointer)
    }

    /// Data was read where it was not any more.
    pub(crate) fn raced(&self) {
        if self.is_started() {
            count(&self.engine().counters.cache_read_races, 1);
        }
    }

    /// Data was read or written there.
    pub(crate) fn touched(&self, pointer: Pointer, sectors: Sectors) {
        if self.is_started() {
            self.buckets.borrow_mut().touch(pointer, sectors.0);
        }
    }
}
