//! Planted defects: known ways of being wrong, to prove that the simulation would find them.
//!
//! A plant is chosen for the running thread, and only builds with debug assertions listen to it: in a release build
//! [`is`] is constantly false and every plant is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use runtime::Event;
use runtime::waits::{ANYBODY, Awaited};

/// A defect that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// The dirty mark is written beside the data instead of before it (S5).
    MarkAfterWrite,
    /// A flush is answered without having reached the members (C1).
    FlushSwallowed,
    /// The clean mark is written without flushing the members first (S6).
    CleanBeforeFlush,
    /// A mirror in resync is read from any copy (S8).
    StaleCopyRead,
    /// A failed member is recorded after the request that noticed it is answered (S5).
    FailureUnrecorded,
    /// A resync is called complete before its last writes are durable (S4).
    CompleteBeforeFlush,
    /// Parity that may not belong to the data is modified instead of made anew (S8).
    ModifyUnsynced,
    /// A block of data goes into Q with another one's coefficient (S6).
    WrongCoefficient,
    /// Parity is written as it was before the data changed (S6).
    StaleParity,
    /// A write is issued before the bits of its chunks are durable (S5).
    BitAfterWrite,
    /// A chunk's bit is cleared without flushing the members first (S6).
    BitClearedBeforeFlush,
    /// A bitmap that is added is announced before its bits are durable (S5).
    BitmapBeforeBits,
    /// What parity says of a lost block is believed, and rebuilt, though it may not belong to the data (S6).
    DoubtBelieved,
    /// Rows of a stripe are written before their record is durable in the log (S5).
    LogAfterWrite,
    /// A log's record is written over before its rows were flushed on all members (S6).
    LogOverUnsafeRows,
    /// Rows of a stripe are written to the members before they are durable in the journal (S5).
    JournalAfterWrite,
    /// A journal's tail moves before what lies behind it was flushed on the members (S6).
    TailBeforeFlush,
    /// In write-back mode a write is answered before the journal has it, durably (C1).
    AnsweredBeforeJournal,
    /// A journal's tail moves past what is in it and in memory alone (C1).
    TailBeforeWriteOut,
    /// A block that is in the journal and in memory is read from its member (C1).
    ReadBeneathCache,
    /// A private log is replayed although somebody else has written superblocks since (S6).
    ReplayUnbound,
    /// The bindings of a private log are written after the superblocks that they name.
    BoundTooLate,
    /// A block of data goes into the partial Q of a log with another one's coefficient (S6).
    WrongPartialQ,
    /// A block that a member did not take is not listed as bad (S6).
    WriteErrorUnlisted,
    /// It is listed, and put on record after the request is answered (S5).
    ListedAfterAnswer,
    /// All arrays serve their requests from the same few slots: those of the upper ones have them, and wait for lower ones that
    /// get none (P3).
    SlotsShared,
}

impl Plant {
    /// Those that the simulation must find. [`Plant::DoubtBelieved`] takes more than it meets by chance: `tests/recovery.rs`
    /// has it. [`Plant::SlotsShared`] takes an array on another one: the seeds of stacks find it.
    pub const ALL: [Plant; 24] = [
        Plant::MarkAfterWrite,
        Plant::FlushSwallowed,
        Plant::CleanBeforeFlush,
        Plant::StaleCopyRead,
        Plant::FailureUnrecorded,
        Plant::CompleteBeforeFlush,
        Plant::ModifyUnsynced,
        Plant::WrongCoefficient,
        Plant::StaleParity,
        Plant::BitAfterWrite,
        Plant::BitClearedBeforeFlush,
        Plant::BitmapBeforeBits,
        Plant::LogAfterWrite,
        Plant::LogOverUnsafeRows,
        Plant::JournalAfterWrite,
        Plant::TailBeforeFlush,
        Plant::AnsweredBeforeJournal,
        Plant::TailBeforeWriteOut,
        Plant::ReadBeneathCache,
        Plant::ReplayUnbound,
        Plant::BoundTooLate,
        Plant::WrongPartialQ,
        Plant::WriteErrorUnlisted,
        Plant::ListedAfterAnswer,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    static SHARED: RefCell<Rc<Shared>> = RefCell::default();
}

/// Slots of all arrays of a thread.
struct Shared {
    free: Cell<usize>,
    given_back: Event,
}

/// What is waited for in them. Any request may bring it: that is the defect.
const SHARED_SLOT: Awaited = Awaited::kept("a slot that all arrays share", ANYBODY);

impl Default for Shared {
    fn default() -> Shared {
        Shared { free: Cell::new(2), given_back: Event::with_capacity(64) }
    }
}

/// One of these slots, until it is dropped.
pub(crate) struct SharedSlot(Rc<Shared>);

impl Drop for SharedSlot {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        self.0.given_back.notify();
    }
}

/// Waits for a slot that all arrays share, if that is planted.
pub(crate) async fn shared_slot() -> Option<SharedSlot> {
    if !is(Plant::SlotsShared) {
        return None;
    }
    let shared = SHARED.with_borrow(Rc::clone);
    shared.given_back.wait_for(SHARED_SLOT, || shared.free.get() > 0).await;
    shared.free.set(shared.free.get() - 1);
    Some(SharedSlot(shared))
}

/// Plants a defect in this thread's arrays, or takes it out again.
pub fn set(plant: Option<Plant>) {
    SHARED.take();
    PLANTED.set(plant);
}

/// Whether `plant` is in.
pub(crate) fn is(plant: Plant) -> bool {
    cfg!(debug_assertions) && PLANTED.get() == Some(plant)
}
