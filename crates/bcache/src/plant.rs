//! Planted defects: known ways of being wrong, some of them the kernel's own of some time, to prove that the simulation would
//! find them.
//!
//! A plant is chosen for the running thread, and only builds with debug assertions listen to it: in a release build [`is`] is
//! constantly false and every plant is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use runtime::Event;
use runtime::waits::{ANYBODY, Awaited};

/// A defect that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// Data that was written back is called clean before the backing device was flushed (C1). The kernel's to this day.
    CleanBeforeFlush,
    /// Dirty data is admitted before the backing device says that there is any (C2). The kernel's to this day.
    DirtyAfterAdmission,
    /// A miss is put into the cache whatever was written meanwhile (C3). The kernel's race of bypassing writes.
    FillOverWrite,
    /// A bucket is used again before its new generation is durable (C4).
    ReuseBeforeDurable,
    /// A write is told of in the journal before its data is flushed (C1).
    JournalBeforeFlush,
    /// A FUA makes durable only what it has laid itself (C1).
    FuaOfOwnKeys,
    /// Entries are let go of that leaves still need (C5).
    JournalLetsGo,
    /// While the journal is replayed, roots are named by entries of it: a full one can never be replayed (P3). The kernel's
    /// until 5.19.
    RootsWhileReplaying,
    /// A root that is a leaf is never written for the journal's sake (P3). The kernel's to this day, for half a minute at a time.
    RootLeafUnwritten,
    /// A volume whose cache has failed goes on before its backing device says that it belongs to no set (C3).
    UncachedBeforeRecorded,
    /// What was read in the cache is answered, whatever its bucket was used for meanwhile (C4).
    StaleRead,
    /// A key is believed whose bucket has had another life since, before and after it was read there (C4).
    StaleKeyRead,
    /// What is stale in memory alone is not overridden: after a power cut it is right again (C4).
    StaleKept,
    /// Two nodes that are joined leave no word of it behind: after a power cut the left one is still named (C4).
    JoinedLeaveNoKey,
    /// A bucket is given up although a pointer into it is too old to be told from one ahead of it (C4).
    GenerationWraps,
    /// Keys are joined to one that is longer than a key can say. The kernel's in 5.12.
    KeysTooLong,
    /// The backing device says CLEAN before the journal does (C2).
    CleanBeforeJournal,
    /// What is dirty is forgotten while what took its place is not durable on the backing device (C1).
    ForgottenBeforeFlush,
    /// When the cache is lost, writes go to the backing device, whatever is dirty (C2). The kernel's to this day.
    PastALostCache,
    /// Nodes take the buckets without which no bucket ever becomes free (P3).
    NodesTakePrios,
    /// A change of the tree holds its leaf while it waits for buckets: the journal, on which these wait, cannot be let go of (P3).
    /// The kernel's until 6.16.
    LeafHeldForBuckets,
    /// Entries of the journal are written by whoever works through a queue that others use too, and makes workers as it needs
    /// them: that takes memory, which may only come when the entry was written (P1). The kernel's until 4.20.
    JournalOnASharedQueue,
    /// Who waits for an entry leaves it to the timer that one is written (P3). The kernel's until 5.12, in another form.
    LeftToTheTimer,
}

impl Plant {
    /// Those that the simulation's seeds find, in the order of the variants.
    pub const BY_SEEDS: [Plant; 9] = [
        Plant::CleanBeforeFlush,
        Plant::DirtyAfterAdmission,
        Plant::FillOverWrite,
        Plant::ReuseBeforeDurable,
        Plant::JournalBeforeFlush,
        Plant::FuaOfOwnKeys,
        Plant::JournalLetsGo,
        Plant::RootLeafUnwritten,
        Plant::UncachedBeforeRecorded,
    ];

    /// Those that take a moment, or a number of steps, at which no seed arrives: each has a test of its own.
    pub const BY_HAND: [Plant; 14] = [
        Plant::RootsWhileReplaying,
        Plant::StaleRead,
        Plant::StaleKeyRead,
        Plant::StaleKept,
        Plant::JoinedLeaveNoKey,
        Plant::GenerationWraps,
        Plant::KeysTooLong,
        Plant::CleanBeforeJournal,
        Plant::ForgottenBeforeFlush,
        Plant::PastALostCache,
        Plant::NodesTakePrios,
        Plant::LeafHeldForBuckets,
        Plant::JournalOnASharedQueue,
        Plant::LeftToTheTimer,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    static MEMORY: RefCell<Option<Rc<Memory>>> = const { RefCell::new(None) };
}

/// Memory as a kernel has it when there is none: it comes back when what is written to make room has been written.
#[derive(Default)]
pub struct Memory {
    pages: Cell<u64>,
    given_back: Event,
}

impl Memory {
    /// From now on workers are made from this.
    pub fn limit(self: &Rc<Memory>) {
        MEMORY.replace(Some(self.clone()));
    }

    /// A page was written, and is anybody's.
    pub fn give_back(&self) {
        self.pages.set(self.pages.get() + 1);
        self.given_back.notify();
    }

    async fn take(&self) {
        let takes = || {
            self.pages.get().checked_sub(1).is_some_and(|left| {
                self.pages.set(left);
                true
            })
        };
        self.given_back.wait_for(MEMORY_OF_A_WORKER, takes).await;
    }
}

/// What a page that is written back gives back.
const MEMORY_OF_A_WORKER: Awaited = Awaited::kept("memory for a worker", ANYBODY);

/// A worker that is made when it is needed.
pub(crate) async fn worker() {
    let memory = MEMORY.with_borrow(Clone::clone);
    if let Some(memory) = memory {
        memory.take().await;
    }
}

/// Plants a defect for this thread, or none.
pub fn set(plant: Option<Plant>) {
    PLANTED.set(plant);
}

/// Whether this defect is planted. Never in a release build.
pub fn is(plant: Plant) -> bool {
    cfg!(debug_assertions) && PLANTED.get() == Some(plant)
}
