//! Going through a space in windows, several under way at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Outcome, Range, Sectors};
use runtime::{Task, now, spawn, yield_now};

use super::{FINEST, Progress, record_checkpoint};
use crate::array::Array;
use crate::limits::{RESYNC_BUSY_SHARE, RESYNC_WINDOW, RESYNC_WINDOWS};

/// What is under way of an action.
#[derive(Default)]
pub(super) struct Windows {
    next: Cell<Sectors>,
    end: Cell<Sectors>,
    active: RefCell<[Option<Sectors>; RESYNC_WINDOWS]>,
    failed: Cell<bool>,
}

/// How an action goes through its space: the same engine for all, each with its own idea of what a window is.
pub(super) trait Walk: 'static {
    /// The part of `wanted` that is worth looking at next, beginning at or behind its start; empty at its end when there is
    /// none. `None` ends the walk where it is: it cannot go on.
    fn next_part(&self, array: &Array, wanted: Range) -> Option<Range>;

    /// Does what is to be done to a window.
    fn window(&self, array: &Array, memory: &Rc<Arena>, window: Range) -> impl Future<Output = Outcome>;

    /// Everything before `position` is done.
    fn advance(&self, array: &Array, position: Sectors);
}

/// How a walk has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// Every window was looked at.
    AtTheEnd,
    /// Somebody has ended it, or it cannot go on.
    At(Sectors),
    /// A window has failed.
    Failed(Sectors),
}

impl Windows {
    /// Everything below is done: the start of the first window under way, or the next one to start.
    fn position(&self) -> Sectors {
        let under_way = self.active.borrow().iter().flatten().min().copied();
        under_way.unwrap_or(self.next.get())
    }
}

impl Windows {
    /// Whether no further window will start.
    pub fn is_through(&self) -> bool {
        self.failed.get() || self.next.get() >= self.end.get()
    }
}

/// Walks from `from` to `end`.
pub(super) async fn walk<W: Walk>(array: &Rc<Array>, walk: Rc<W>, from: Sectors, end: Sectors) -> Ended {
    let windows = &array.sync.windows;
    windows.next.set(from);
    windows.end.set(end);
    windows.failed.set(false);
    let (started_ns, written) = (now().0, Sectors::ZERO);
    array.sync.progress.set(Some(Progress { done: from, total: end, written, started_ns, from }));
    // All members of a window, or the parity of each of its stripes.
    block::reserve(RESYNC_WINDOWS * (array.members.len() + 2 * RESYNC_WINDOW / FINEST as usize));
    let memory = Arena::new(RESYNC_WINDOWS * window_bytes(array) * (array.slots() as usize + 1));
    let workers: Vec<Task<Outcome>> = (0..RESYNC_WINDOWS)
        .map(|lane| {
            let (array, memory, walk) = (array.clone(), memory.clone(), walk.clone());
            spawn(async move { work(&array, &memory, &*walk, lane).await })
        })
        .collect();
    for worker in workers {
        let _ = worker.join().await; // what failed is noted in the windows
    }
    let position = windows.position();
    walk.advance(array, position);
    *windows.active.borrow_mut() = [None; RESYNC_WINDOWS];
    match position >= end && !windows.failed.get() && array.broken().is_none() {
        true => Ended::AtTheEnd,
        false if windows.failed.get() => Ended::Failed(position),
        false => Ended::At(position),
    }
}

/// Bytes of each member that are looked at in one piece: less where there are many, so that the memory stays the same.
pub(crate) fn window_bytes(array: &Array) -> usize {
    let share = RESYNC_WINDOW * 8 / (array.slots() as usize).next_power_of_two();
    share.clamp(FINEST as usize, RESYNC_WINDOW)
}

/// One lane of a walk: window after window.
async fn work<W: Walk>(array: &Array, memory: &Rc<Arena>, walk: &W, lane: usize) -> Outcome {
    let windows = &array.sync.windows;
    let mut checkpoint = now().after_ms(array.options.checkpoint_ms);
    loop {
        // Members that answer at once would leave nobody else a turn, and clients that get none are never seen.
        yield_now().await;
        let is_busy = super::pace::give_way(array, lane).await;
        let Some(window) = take_window(array, walk, lane, is_busy) else { return Ok(()) };
        let began = now();
        array.sync.pace.begin(window.count, began, array.sync.speed.get());
        let outcome = walk.window(array, memory, window).await;
        if outcome.is_err() {
            windows.failed.set(true);
            return outcome; // the window stays under way: the position never passes it
        }
        array.sync.pace.end(began, now());
        windows.active.borrow_mut()[lane] = None;
        let position = windows.position();
        walk.advance(array, position);
        if let Some(progress) = array.sync.progress.get() {
            array.sync.progress.set(Some(Progress { done: position, ..progress }));
        }
        if lane == 0 && now() >= checkpoint {
            checkpoint = now().after_ms(array.options.checkpoint_ms);
            if let Err(failed) = record_checkpoint(array).await {
                windows.failed.set(true);
                return Err(failed);
            }
        }
    }
}

fn take_window<W: Walk>(array: &Array, walk: &W, lane: usize, is_busy: bool) -> Option<Range> {
    let windows = &array.sync.windows;
    let (start, end) = (windows.next.get(), windows.end.get());
    if windows.failed.get() || array.sync.is_interrupted() || array.broken().is_some() {
        return None;
    }
    let part = walk.next_part(array, Range::new(start, end.saturating_sub(start)))?;
    windows.next.set(part.start);
    if part.count.is_zero() {
        return None;
    }
    let share = if is_busy { RESYNC_BUSY_SHARE } else { 1 };
    let longest =
        Sectors::from_bytes((window_bytes(array) / share).max(FINEST as usize) as u64).min(part.count);
    let count = array.lanes.first_part(Range::new(part.start, longest)).count;
    windows.next.set(part.start + count);
    windows.active.borrow_mut()[lane] = Some(part.start);
    Some(Range::new(part.start, count))
}
