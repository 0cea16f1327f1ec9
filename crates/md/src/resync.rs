//! Resync: making what a dirty array keeps more than once consistent again.
//!
//! From the recorded position to the end, in windows, several under way at once. What is done to a window is its level's
//! business: `level/*/resync.rs`. Positions are states, not numbers: the end is [`ResyncOffset::Complete`],
//! recorded only after every member was flushed, and a number found on a disk that equals the end is synced again (S4).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Origin, Outcome, Priority, Range, Request, Sectors};
use md_format::ResyncOffset;
use runtime::{Event, Task, sleep_ms, spawn};

use crate::array::{Array, Happening};
use crate::bitmap::Bitmap;
use crate::level;
use crate::limits::{RESYNC_WINDOW, RESYNC_WINDOWS, RESYNC_YIELD_MS};
use crate::plant::{self, Plant};

/// A resync begins at a multiple of this many bytes: a page of the kernel's.
const FINEST: u64 = 4096;

/// What the sync engine is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncState {
    /// Nothing, and nothing is needed.
    Idle,
    /// A resync is needed and does not run (the array is open for reading, or is stopping).
    Pending,
    /// A resync runs.
    Resync(Progress),
}

/// How far a sync action has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Sectors behind it.
    pub done: Sectors,
    /// Sectors in all.
    pub total: Sectors,
    /// Sectors that differed and were written.
    pub written: Sectors,
    /// When it started, on the driver's clock in nanoseconds, and where.
    pub started_ns: u64,
    /// Where it started from.
    pub from: Sectors,
}

/// The state of an array's resync.
pub(crate) struct Resync {
    offset: Cell<ResyncOffset>,
    progress: Cell<Option<Progress>>,
    next: Cell<Sectors>,
    active: RefCell<[Option<Sectors>; RESYNC_WINDOWS]>,
    stopping: Cell<bool>,
    running: Cell<bool>,
    changed: Event,
    /// What it marks as not different needs no resync.
    bitmap: Option<Rc<Bitmap>>,
}

/// What is believed of a recorded position. A number that lies at the end of the array, or behind it, is no completion:
/// nothing is known then, and everything is synced again (S4).
pub(crate) fn believed(recorded: ResyncOffset, size: Sectors) -> ResyncOffset {
    match recorded {
        ResyncOffset::At(position) if position >= size.0 => ResyncOffset::At(0),
        other => other,
    }
}

impl Resync {
    /// The state that goes on from what [`believed`] says.
    pub fn new(offset: ResyncOffset, bitmap: Option<Rc<Bitmap>>) -> Resync {
        Resync {
            offset: Cell::new(offset),
            progress: Cell::new(None),
            next: Cell::new(Sectors::ZERO),
            active: RefCell::new([None; RESYNC_WINDOWS]),
            stopping: Cell::new(false),
            running: Cell::new(false),
            changed: Event::with_capacity(4),
            bitmap,
        }
    }

    /// Whether all copies of `range` are known to be equal.
    pub fn covers(&self, range: Range) -> bool {
        let is_behind = match self.offset.get() {
            ResyncOffset::Complete => true,
            ResyncOffset::At(position) => range.end().0 <= position,
        };
        is_behind || self.bitmap.as_ref().is_some_and(|bitmap| bitmap.covers(range))
    }

    /// Where what may not be consistent begins; `None` where everything is.
    pub fn first_uncovered(&self) -> Option<Sectors> {
        match self.offset.get() {
            ResyncOffset::Complete => None,
            ResyncOffset::At(position) => Some(Sectors(position)),
        }
    }

    pub fn state(&self) -> SyncState {
        match (self.offset.get(), self.running.get(), self.progress.get()) {
            (ResyncOffset::Complete, _, _) => SyncState::Idle,
            (_, true, Some(progress)) => SyncState::Resync(progress),
            _ => SyncState::Pending,
        }
    }

    /// Lets the windows under way end, and no other start.
    pub async fn stop(&self) {
        self.stopping.set(true);
        self.changed.wait_until(|| !self.running.get()).await;
    }
}

/// Starts the resync of an array that needs one and may be written.
pub(crate) fn start(array: &Rc<Array>) {
    let needed = array.resync.offset.get() != ResyncOffset::Complete;
    if !needed || !array.options.write || !array.redundancy().is_any() || !level::can_resync(array) {
        return;
    }
    array.resync.running.set(true);
    let own = array.clone();
    let _running = spawn(async move {
        run(&own).await;
        own.resync.running.set(false);
        own.resync.changed.notify();
    });
}

async fn run(array: &Rc<Array>) {
    let resync = &array.resync;
    let from = starting_point(array);
    resync.offset.set(ResyncOffset::At(from.0));
    resync.next.set(from);
    let started_ns = runtime::now().0;
    let total = array.sync_size();
    resync.progress.set(Some(Progress { done: from, total, written: Sectors::ZERO, started_ns, from }));
    array.happen(Happening::ResyncStarted { from: from.0 });

    // A power cut may have left superblocks that lie an event apart: before anything is written, each must say that what
    // is resynced may differ (S5).
    array.metadata.require();
    if array.metadata.settled().await.is_err() {
        return;
    }
    // All members of a window, or the parity of each of its stripes.
    block::reserve(RESYNC_WINDOWS * (array.members.len() + 2 * RESYNC_WINDOW / FINEST as usize));
    let memory = Arena::new(RESYNC_WINDOWS * window_bytes(array) * array.shape.slots as usize);
    let workers: Vec<Task<Outcome>> = (0..RESYNC_WINDOWS)
        .map(|lane| {
            let (array, memory) = (array.clone(), memory.clone());
            spawn(async move { work(&array, &memory, lane).await })
        })
        .collect();
    let mut outcome = Ok(());
    for worker in workers {
        outcome = outcome.and(worker.join().await);
    }
    let position = resync.position();
    if outcome.is_ok() && position >= total && array.broken().is_none() {
        complete(array).await;
    } else {
        resync.advance(array, position);
    }
}

/// Bytes of each member that are looked at in one piece: less where there are many, so that the memory stays the same.
fn window_bytes(array: &Array) -> usize {
    let share = RESYNC_WINDOW * 8 / (array.shape.slots as usize).next_power_of_two();
    share.clamp(FINEST as usize, RESYNC_WINDOW)
}

/// Where the recorded position says to begin.
fn starting_point(array: &Array) -> Sectors {
    match array.resync.offset.get() {
        ResyncOffset::At(position) => Sectors(position).round_down(Sectors::from_bytes(FINEST)),
        ResyncOffset::Complete => Sectors::ZERO,
    }
}

/// Everything is equal: flush it, then say so.
async fn complete(array: &Array) {
    if !plant::is(Plant::CompleteBeforeFlush) && array.flush_members(0).await.is_err() {
        return;
    }
    array.metadata.require_resync(ResyncOffset::Complete);
    if array.metadata.settled().await.is_ok() {
        array.resync.offset.set(ResyncOffset::Complete);
        if let Some(bitmap) = &array.bitmap {
            bitmap.synced_up_to(array.sync_size());
        }
        array.happen(Happening::ResyncComplete);
    }
}

impl Resync {
    /// Everything below is done: the start of the first window under way, or the next one to start.
    fn position(&self) -> Sectors {
        let under_way = self.active.borrow().iter().flatten().min().copied();
        under_way.unwrap_or(self.next.get())
    }

    fn take_window(&self, lane: usize, array: &Array) -> Option<Range> {
        let total = array.sync_size();
        if level::has_nothing_to_compare(array) {
            self.next.set(total); // one copy is equal to itself
        }
        let start = self.next.get();
        let wanted = Range::new(start, total.saturating_sub(start));
        let wanted = self.bitmap.as_ref().map_or(wanted, |bitmap| marked_part(bitmap, wanted));
        let start = wanted.start;
        self.next.set(start);
        if start >= total || self.stopping.get() || !level::can_resync(array) {
            return None;
        }
        let longest = Sectors::from_bytes(window_bytes(array) as u64).min(wanted.count);
        let count = array.lanes.first_part(Range::new(start, longest)).count;
        self.next.set(start + count);
        self.active.borrow_mut()[lane] = Some(start);
        Some(Range::new(start, count))
    }

    /// Publishes how far everything is done. Durable it becomes with the next clean superblock, after a flush.
    fn advance(&self, array: &Array, position: Sectors) {
        self.offset.set(ResyncOffset::At(position.0));
        if let Some(bitmap) = &self.bitmap {
            bitmap.synced_up_to(position);
        }
        array.metadata.note_resync(ResyncOffset::At(position.0));
        if let Some(progress) = self.progress.get() {
            self.progress.set(Some(Progress { done: position, ..progress }));
        }
    }
}

/// The first part of `range` that a bitmap marks, in whole pages; the end of the range if there is none.
fn marked_part(bitmap: &Bitmap, range: Range) -> Range {
    let Some(needed) = bitmap.next_needed(range.start, range.count) else {
        return Range::new(range.end(), Sectors::ZERO);
    };
    let page = Sectors::from_bytes(FINEST);
    let start = needed.start.round_down(page).max(range.start);
    let end = Sectors(needed.end().0.next_multiple_of(page.0)).min(range.end());
    Range::new(start, end - start)
}

/// One lane of the resync: window after window.
async fn work(array: &Array, memory: &Rc<Arena>, lane: usize) -> Outcome {
    let resync = &array.resync;
    let mut checkpoint = runtime::now().after_ms(array.options.checkpoint_ms);
    while let Some(window) = resync.take_window(lane, array) {
        if array.clients.get() > 0 {
            sleep_ms(RESYNC_YIELD_MS).await;
        }
        let outcome = level::sync_window(array, memory, window).await;
        if outcome.is_err() {
            resync.stopping.set(true);
            return outcome; // the window stays under way: the position never passes it
        }
        resync.active.borrow_mut()[lane] = None;
        resync.advance(array, resync.position());
        if lane == 0 && runtime::now() >= checkpoint {
            checkpoint = runtime::now().after_ms(array.options.checkpoint_ms);
            record_checkpoint(array).await?;
        }
    }
    Ok(())
}

/// Records the position while no client writes: a dirty superblock has no place for it.
async fn record_checkpoint(array: &Array) -> Outcome {
    if array.is_dirty() {
        return Ok(());
    }
    let position = array.resync.offset.get();
    array.flush_members(0).await?;
    array.metadata.require_resync(position);
    array.metadata.settled().await
}

/// The request as the sync engine's.
pub(crate) fn on_behalf_of_sync(request: Request) -> Request {
    Request { origin: Origin::Sync, priority: Priority::Idle, ..request }
}

/// Counts sectors that differed and were written.
pub(crate) fn count_written(array: &Array, count: Sectors) {
    if let Some(progress) = array.resync.progress.get() {
        array.resync.progress.set(Some(Progress { written: progress.written + count, ..progress }));
    }
}
