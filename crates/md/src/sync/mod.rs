//! The sync engine: what makes an array whole, and keeps it so.
//!
//! `decide` says what comes next, and is pure; one task ([`keep`]) does it, so that two actions never run at once. An
//! action goes through its space in windows, several under way at once (`windows`): a resync and the scrubs through the
//! space in which the array is synced, a recovery through the rows of the members. What is done to a window is its
//! level's business: `level/*/{resync,recover,scrub}.rs`. How fast that goes beside clients is decided in `pace`.
//!
//! Positions are states, not numbers: the end is [`ResyncOffset::Complete`], or a member in sync, recorded only after the
//! members were flushed; a number found on a disk that equals the end is synced again (S4).

pub mod decide;
mod pace;
mod recover;
mod resync;
mod rewritten;
mod scrub;
mod windows;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use block::{Origin, Outcome, Priority, Range, Request, Sectors};
use md_format::ResyncOffset;
use runtime::{Event, spawn_freely};

pub use decide::Scrub;
pub use pace::Speed;
pub use scrub::{Mismatch, ScrubBounds, ScrubReport, Verdict};

use self::decide::{Next, Standing, View};
use self::pace::Pace;
pub(crate) use self::recover::{Rebuilt, Target};
pub(crate) use self::rewritten::Rewritten;
use self::scrub::Findings;
use self::windows::Windows;
use crate::array::Array;
use crate::bitmap::Kept;
use crate::level;
use crate::limits::MEMBERS_ADDED;
use crate::member::{Condition, Flusher};

/// A sync begins and ends at multiples of this many bytes, but for the end of the array: a page of the kernel's.
pub(crate) const FINEST: u64 = 4096;

/// What the sync engine can do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Making consistent what a crash may have left otherwise.
    Resync,
    /// Giving members the data of their slots.
    Recover,
    /// Comparing everything.
    Check,
    /// The same, and making what differs agree.
    Repair,
}

impl Action {
    /// One word, as md's `sync_action` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Resync => "resync",
            Action::Recover => "recover",
            Action::Check => "check",
            Action::Repair => "repair",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the sync engine is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncState {
    /// Nothing, and nothing is needed.
    Idle,
    /// Something is needed and does not run: the array is open for reading, a person has forbidden it, or what it would
    /// take is missing.
    Pending(Action),
    /// An action runs.
    Running(Action, Progress),
}

/// How far a sync action has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Sectors behind it.
    pub done: Sectors,
    /// Sectors in all.
    pub total: Sectors,
    /// Sectors that were written, or, by a check, would have to be.
    pub written: Sectors,
    /// When it started, on the driver's clock in nanoseconds, and where.
    pub started_ns: u64,
    /// Where it started from.
    pub from: Sectors,
}

/// The state of an array's sync engine.
pub(crate) struct Sync {
    /// How far the array is consistent.
    offset: Cell<ResyncOffset>,
    /// What is consistent beyond that.
    rewritten: Rewritten,
    running: Cell<Option<Action>>,
    progress: Cell<Option<Progress>>,
    windows: Windows,
    /// The running action is to end where it is.
    interrupted: Cell<bool>,
    /// The array stops.
    stopping: Cell<bool>,
    stopped: Cell<bool>,
    frozen: Cell<bool>,
    /// Somebody changes what the array looks like: nothing is begun, and nobody is seated.
    held: Cell<bool>,
    /// The engine's task does something.
    busy: Cell<bool>,
    scrub: Cell<Option<Scrub>>,
    /// Where a scrub that was interrupted goes on.
    scrub_from: Cell<Option<Sectors>>,
    scrub_bounds: Cell<ScrubBounds>,
    findings: RefCell<Findings>,
    /// An action that could not go on, and the epoch in which that was.
    stuck: Cell<Option<(Action, u64)>>,
    /// What parity says is believed also where it may not belong to the data.
    trusting: Cell<bool>,
    speed: Cell<Speed>,
    pace: Pace,
    changed: Event,
    /// What it marks as not different needs no resync.
    bitmap: Rc<Kept>,
    standings: RefCell<Vec<Standing>>,
}

impl Sync {
    /// The state that goes on from what [`decide::believed`] says.
    pub fn new(
        offset: ResyncOffset,
        bitmap: Rc<Kept>,
        rewritten: Rewritten,
        members: usize,
        trusting: bool,
    ) -> Sync {
        Sync {
            offset: Cell::new(offset),
            rewritten,
            running: Cell::new(None),
            progress: Cell::new(None),
            windows: Windows::default(),
            interrupted: Cell::new(false),
            stopping: Cell::new(false),
            stopped: Cell::new(true),
            frozen: Cell::new(false),
            held: Cell::new(false),
            busy: Cell::new(false),
            scrub: Cell::new(None),
            scrub_from: Cell::default(),
            scrub_bounds: Cell::default(),
            findings: RefCell::default(),
            stuck: Cell::new(None),
            trusting: Cell::new(trusting),
            speed: Cell::default(),
            pace: Pace::default(),
            changed: Event::with_capacity(16),
            bitmap,
            standings: RefCell::new(Vec::with_capacity(members + MEMBERS_ADDED)),
        }
    }

    /// Whether everything in `range` is known to be consistent.
    pub fn covers(&self, range: Range) -> bool {
        self.first_uncovered_in(range).is_none()
    }

    /// The first part of `range` that may not be consistent.
    pub fn first_uncovered_in(&self, range: Range) -> Option<Range> {
        let ResyncOffset::At(position) = self.offset.get() else { return None };
        let is_behind = range.end().0 <= position;
        if is_behind || self.bitmap.now().is_some_and(|bitmap| bitmap.covers(range)) {
            return None;
        }
        let start = range.start.max(Sectors(position));
        self.rewritten.first_gap(Range::new(start, range.end() - start))
    }

    /// The parts of `range` that may not be consistent, in order.
    pub fn uncovered(&self, range: Range) -> impl Iterator<Item = Range> {
        let mut left = range;
        std::iter::from_fn(move || {
            let gap = self.first_uncovered_in(left)?;
            left = Range::new(gap.end(), left.end() - gap.end());
            Some(gap)
        })
    }

    /// The first part of `range` of which the same is known: that it is consistent, or that it may not be.
    pub fn first_alike(&self, range: Range) -> Range {
        match self.first_uncovered_in(range) {
            None => range,
            Some(gap) if gap.start == range.start => gap,
            Some(gap) => Range::new(range.start, gap.start - range.start),
        }
    }

    /// From now on it is noted which of so many rows get parity from their data.
    pub fn track_rewritten(&self, rows: Sectors) {
        self.rewritten.cover(rows);
    }

    /// Parity was made from the data in these rows.
    pub fn note_rewritten(&self, rows: Range) {
        if self.offset.get() != ResyncOffset::Complete {
            self.rewritten.add(rows);
        }
    }

    /// Where what may not be consistent begins; `None` where everything is.
    pub fn first_uncovered(&self) -> Option<Sectors> {
        match self.offset.get() {
            ResyncOffset::Complete => None,
            ResyncOffset::At(position) => Some(Sectors(position)),
        }
    }

    /// How far everything is known to be consistent.
    pub fn position(&self) -> ResyncOffset {
        self.offset.get()
    }

    /// What lies behind this position may not be consistent any more.
    pub fn reopen(&self, from: Sectors) {
        self.offset.set(ResyncOffset::At(from.0));
        self.stuck.set(None);
    }

    /// Whether what parity says is believed also where it may not belong to the data.
    pub fn is_trusting(&self) -> bool {
        self.trusting.get()
    }

    /// Everything, of this size, was made consistent by a log.
    pub fn set_recovered(&self, size: Sectors) {
        self.offset.set(ResyncOffset::Complete);
        if let Some(bitmap) = self.bitmap.now() {
            bitmap.synced_up_to(size);
        }
    }

    /// Nothing is known to be consistent any more, in an array that is open for reading.
    pub fn doubt(&self) {
        self.offset.set(ResyncOffset::At(0));
    }

    /// Something may have changed that decides what comes next.
    pub fn wake(&self) {
        self.changed.notify();
    }

    /// What a scrub has found so far.
    pub fn findings(&self) -> &RefCell<Findings> {
        &self.findings
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.get() || self.stopping.get() || self.held.get()
    }

    /// Ends the action that runs where it is, and begins nothing until [`Sync::release`]. False while somebody else has
    /// done so, or the array stops.
    pub async fn hold(&self) -> bool {
        if self.held.get() || self.stopping.get() {
            return false;
        }
        self.held.set(true);
        self.changed.wait_until(|| !self.busy.get()).await;
        true
    }

    /// Goes on, from where it was.
    pub fn release(&self) {
        self.held.set(false);
        self.wake();
    }

    fn set_stuck(&self, action: Action, epoch: u64) {
        self.stuck.set(Some((action, epoch)));
    }

    fn is_stuck(&self, action: Action, epoch: u64) -> bool {
        self.stuck.get() == Some((action, epoch))
    }
}

impl Array {
    /// What the sync engine is doing.
    pub fn sync_state(&self) -> SyncState {
        let sync = &self.sync;
        if let (Some(action), Some(progress)) = (sync.running.get(), sync.progress.get()) {
            return SyncState::Running(action, progress);
        }
        let wanted = self.with_view(|view| {
            let anybody = |member: &Standing| matches!(member, Standing::Recovering { .. });
            if view.resync != decide::Resync::Complete {
                Some(Action::Resync)
            } else if view.members.iter().any(anybody) {
                Some(Action::Recover)
            } else {
                self.sync.scrub.get().map(Scrub::action)
            }
        });
        wanted.map_or(SyncState::Idle, SyncState::Pending)
    }

    /// Whether the sync engine has nothing to do that it could do.
    pub fn is_sync_settled(&self) -> bool {
        self.sync.running.get().is_none()
            && !self.sync.held.get()
            && self.with_view(|view| decide::next(view) == Next::Wait && !view.pending)
    }

    /// Waits until the sync engine has nothing to do that it could do.
    pub async fn sync_settled(&self) {
        self.replayed().await;
        self.sync.changed.wait_until(|| self.is_sync_settled() || self.sync.stopped.get()).await;
    }

    /// Whether a person has forbidden every action.
    pub fn is_frozen(&self) -> bool {
        self.sync.frozen.get()
    }

    /// Forbids every action, and ends the one that runs where it is; or allows them again. What was under way goes on from
    /// there. Returns when nothing runs any more.
    pub async fn freeze(&self, frozen: bool) {
        self.sync.frozen.set(frozen);
        if frozen {
            self.interrupt().await;
        }
        self.sync.wake();
    }

    /// Ends the action that runs where it is. A scrub is over; what the array needs begins anew from where it was.
    pub async fn idle(&self) {
        self.sync.scrub.set(None);
        self.sync.scrub_from.set(None);
        self.interrupt().await;
        self.sync.findings.borrow_mut().end(false); // also of one that does not run at the moment
        self.sync.wake();
    }

    async fn interrupt(&self) {
        if self.sync.running.get().is_some() {
            self.sync.interrupted.set(true);
            self.sync.changed.wait_until(|| !self.sync.interrupted.get()).await;
        }
    }

    /// Asks for a scrub, which runs when nothing more urgent does. False where there is one already.
    pub fn scrub(&self, scrub: Scrub) -> bool {
        if self.sync.scrub.get().is_some() || !self.options.write || !self.redundancy().is_any() {
            return false;
        }
        self.sync.scrub.set(Some(scrub));
        self.sync.scrub_from.set(None);
        self.sync.wake();
        true
    }

    /// Where scrubs begin and end: md's `sync_min` and `sync_max`.
    pub fn scrub_bounds(&self) -> ScrubBounds {
        self.sync.scrub_bounds.get()
    }

    /// Sets that: a scrub that waits at its bound goes on if that lies behind it now. One that runs goes as far as it was to.
    /// False where a scrub would end before it begins.
    pub fn set_scrub_bounds(&self, bounds: ScrubBounds) -> bool {
        let is_sound = bounds.to.is_none_or(|to| bounds.from < to);
        if is_sound {
            self.sync.scrub_bounds.set(bounds);
            self.sync.wake();
        }
        is_sound
    }

    /// Whether a scrub has come to its bound, and waits until that moves.
    pub fn is_scrub_waiting(&self) -> bool {
        let sync = &self.sync;
        sync.running.get().is_none() && sync.scrub.get().is_some() && scrub::is_at_its_bound(self)
    }

    /// What the scrub that runs, or the last one, has found.
    pub fn scrub_report(&self) -> Option<ScrubReport> {
        self.sync.findings.borrow().report()
    }

    /// From now on what parity says is believed also where it may not belong to the data: `--dirty-degraded`.
    pub fn trust_parity(&self) {
        self.sync.trusting.set(true);
        self.sync.stuck.set(None);
        self.sync.wake();
    }

    /// Whether a rebuild cannot go on, because what it would need is in doubt and there is no room to list it.
    pub fn is_recovery_stuck(&self) -> bool {
        self.sync.is_stuck(Action::Recover, self.epoch())
    }

    /// How fast a sync goes beside clients: md's `sync_speed_min` and `sync_speed_max`.
    pub fn speed(&self) -> Speed {
        self.sync.speed.get()
    }

    /// Sets that.
    pub fn set_speed(&self, speed: Speed) {
        self.sync.speed.set(speed);
    }

    /// Lets `look` see the array as [`decide::next`] does.
    fn with_view<R>(&self, look: impl FnOnce(&View<'_>) -> R) -> R {
        let (sync, epoch) = (&self.sync, self.epoch());
        let mut members = sync.standings.borrow_mut();
        members.clear();
        members.extend(self.members.iter().map(|member| match (member.condition(), member.slot.get()) {
            (Condition::InSync, Some(slot)) => Standing::InSync { slot, unwanted: member.unwanted.get() },
            (Condition::Recovering(recovering), Some(slot)) => {
                Standing::Recovering { slot, replaces: recovering.replaces }
            }
            (Condition::Spare, _) => {
                Standing::Spare { fits: member.room.get() >= self.member_size(), want: member.want.get() }
            }
            _ => Standing::Faulty,
        }));
        let resync = match sync.offset.get() {
            ResyncOffset::Complete => decide::Resync::Complete,
            _ if !self.redundancy().is_any() => decide::Resync::Impossible,
            ResyncOffset::At(position) if position < level::resync_limit(self).0 => {
                match sync.is_stuck(Action::Resync, epoch) {
                    true => decide::Resync::Impossible,
                    false => decide::Resync::Possible,
                }
            }
            ResyncOffset::At(_) => decide::Resync::Impossible,
        };
        look(&View {
            writable: self.options.write && self.broken().is_none() && !sync.stopping.get(),
            frozen: sync.frozen.get() || sync.held.get(),
            running: sync.running.get().is_some(),
            pending: !self.metadata.is_membership_recorded(),
            slots: self.slots() as u16,
            enough: self.has_enough(),
            resync,
            stuck: sync.is_stuck(Action::Recover, epoch),
            scrub: sync.scrub.get().filter(|_| !scrub::is_at_its_bound(self)),
            members: &members,
        })
    }
}

/// Starts the engine of an array that may be written and keeps anything more than once.
pub(crate) fn start(array: &Array, own: Rc<Array>) {
    if !array.options.write || !array.redundancy().is_any() {
        return;
    }
    array.sync.stopped.set(false);
    let _running = spawn_freely(async move {
        keep(&own).await;
        own.sync.stopped.set(true);
        own.sync.wake();
    });
}

/// Lets the windows under way end, and nothing else start.
pub(crate) async fn stop(array: &Array) {
    let sync = &array.sync;
    sync.stopping.set(true);
    sync.wake();
    sync.changed.wait_until(|| sync.stopped.get() && !sync.held.get()).await;
}

/// Does what `decide` says, one thing after the other.
async fn keep(array: &Rc<Array>) {
    let sync = &array.sync;
    let ends = || sync.stopping.get() || array.broken().is_some();
    loop {
        let mut chosen = Next::Wait;
        sync.changed
            .wait_until(|| {
                chosen = array.with_view(decide::next);
                chosen != Next::Wait || ends()
            })
            .await;
        if ends() {
            return;
        }
        sync.busy.set(true);
        match chosen {
            Next::Wait => {}
            Next::Seat { member, slot, replaces } => {
                let _ = array.seat_member(member, slot, replaces).await; // what fails is a member's failure, and on record
            }
            Next::Start(action) => run(array, action).await,
        }
        sync.busy.set(false);
        sync.wake();
    }
}

/// Runs an action to its end, or to where it is interrupted.
async fn run(array: &Rc<Array>, action: Action) {
    array.sync.running.set(Some(action));
    array.sync.wake();
    match action {
        Action::Resync => resync::run(array).await,
        Action::Recover => recover::run(array).await,
        Action::Check => scrub::run(array, Scrub::Check).await,
        Action::Repair => scrub::run(array, Scrub::Repair).await,
    }
    array.sync.running.set(None);
    array.sync.progress.set(None);
    array.sync.interrupted.set(false);
}

/// Records how far everything is that was flushed: positions of a resync only while no client writes, because a dirty
/// superblock has no place for them; those of members always.
async fn record_checkpoint(array: &Array) -> Outcome {
    array.flush_positions(Flusher::Checkpoint).await?;
    array.metadata.require();
    array.metadata.settled().await
}

/// The request as the sync engine's.
pub(crate) fn on_behalf_of_sync(request: Request) -> Request {
    Request { origin: Origin::Sync, priority: Priority::Idle, ..request }
}

/// Counts sectors that differed and were written.
pub(crate) fn count_written(array: &Array, count: Sectors) {
    if let Some(progress) = array.sync.progress.get() {
        array.sync.progress.set(Some(Progress { written: progress.written + count, ..progress }));
    }
}
