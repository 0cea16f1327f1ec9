//! Misses: what was read below is put into the cache, after whoever read it was answered.
//!
//! Nobody waits for it, and it waits for nobody: where there is no memory, no bucket or no place for one more, the data is
//! not cached.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use bcache_format::Position;
use block::{Buf, Outcome, Range, Request, Sectors};
use runtime::{Event, spawn};

use super::Volume;
use crate::buckets::Purpose;
use crate::counters::count;
use crate::error::SetError;
use crate::fills::FillNo;
use crate::limits::{FILL_BYTES, FILLERS, FILLS, WAITERS};
use crate::open::Stream;
use crate::set::CacheSet;

/// Data that is to be put into the cache.
pub(crate) struct Queue {
    jobs: RefCell<VecDeque<Job>>,
    pub changed: Event,
}

struct Job {
    /// Not for good: the volume has the set, and the set this queue.
    volume: Weak<Volume>,
    fill: FillNo,
    start: Position,
    data: Buf,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { jobs: RefCell::new(VecDeque::with_capacity(FILLS)), changed: Event::with_capacity(WAITERS) }
    }
}

impl Volume {
    /// Says that a miss begins, and how much of it is put into the cache.
    pub(super) fn fill_of(&self, start: Sectors, sectors: Sectors) -> Option<(FillNo, Sectors)> {
        let (set, engine) = (self.set(), self.set().engine());
        if set.is_over() {
            return None;
        }
        let is_choosy = engine.tunables.ghost_admission.get() == 1 && set.buckets.borrow().is_full();
        if is_choosy && !engine.ghost.borrow_mut().admits(self.position(start), sectors.0) {
            return None;
        }
        let sectors = sectors.min(Sectors::from_bytes(FILL_BYTES as u64));
        let fill = set.engine().fills.begin(self.position(start), sectors.0)?;
        Some((fill, sectors))
    }

    /// A miss was read.
    pub(super) fn end_miss(self: &Rc<Volume>, request: &Request, part: Range, fill: FillNo, read: Outcome) {
        let engine = self.set().engine();
        let memory = engine.fill_buffers.take(part.count.byte_len());
        let (Ok(()), Some(data), Some(buf)) = (read, memory, &request.buf) else {
            return engine.fills.end(fill);
        };
        data.copy_from(0, &buf.slice((part.start - request.range.start).byte_len(), data.len()));
        engine.queue.jobs.borrow_mut().push_back(Job {
            volume: Rc::downgrade(self),
            fill,
            start: self.position(part.start),
            data,
        });
        engine.queue.changed.notify();
    }
}

/// Starts those who put misses into the cache.
pub(crate) fn start(set: &Rc<CacheSet>) {
    for _ in 0..FILLERS {
        let set = set.clone();
        let _running = spawn(async move { run(&set).await });
    }
}

async fn run(set: &Rc<CacheSet>) {
    let engine = set.engine();
    loop {
        let is_empty = || engine.queue.jobs.borrow().is_empty();
        engine.queue.changed.wait_until(|| set.is_over() || !is_empty()).await;
        if set.is_over() {
            return;
        }
        let job = engine.queue.jobs.borrow_mut().pop_front().expect("waited for");
        let _failed = put(set, &job).await; // a set that failed says so itself
        if !engine.fills.is_current(&job.fill) {
            if let Some(volume) = job.volume.upgrade() {
                volume.writer().counters.miss_collision();
            }
            engine.totals.miss_collision();
        }
        engine.fills.end(job.fill);
    }
}

async fn put(set: &CacheSet, job: &Job) -> Result<(), SetError> {
    let fills = &set.engine().fills;
    let mut done = 0;
    while done < job.data.len() && fills.is_current(&job.fill) {
        let start = Position::new(job.start.inode, job.start.offset + done as u64 / 512);
        let left = (job.data.len() - done) as u64 / 512;
        let Some(room) = set.try_room(Stream::Clean(start.inode), Purpose::Data, left) else { return Ok(()) };
        let bytes = room.sectors as usize * 512;
        count(&set.engine().counters.data_sectors, room.sectors);
        let written = set.dev.start(Request::write(Sectors(room.sector), job.data.slice(done, bytes))).await;
        let laid = match set.ended("data", written) {
            Ok(()) => set.insert_if(set.key_of(&room, start, false), || fills.is_current(&job.fill)).await,
            Err(_) => Ok(()), // the cache does not take it: it is only not cached
        };
        set.end_write(&room);
        laid?;
        done += bytes;
    }
    Ok(())
}
