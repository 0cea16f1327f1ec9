//! Planted defects: known ways of being wrong, some of them the kernel's own of some time, to prove that the simulation would
//! find them.
//!
//! A plant is chosen for the running thread, and only builds with debug assertions listen to it: in a release build [`is`] is
//! constantly false and every plant is gone.

use std::cell::Cell;

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
}

impl Plant {
    /// Every defect, in the order of the variants.
    pub const ALL: [Plant; 9] = [
        Plant::CleanBeforeFlush,
        Plant::DirtyAfterAdmission,
        Plant::FillOverWrite,
        Plant::ReuseBeforeDurable,
        Plant::JournalBeforeFlush,
        Plant::FuaOfOwnKeys,
        Plant::JournalLetsGo,
        Plant::RootsWhileReplaying,
        Plant::RootLeafUnwritten,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// Plants a defect for this thread, or none.
pub fn set(plant: Option<Plant>) {
    PLANTED.set(plant);
}

/// Whether this defect is planted. Never in a release build.
pub fn is(plant: Plant) -> bool {
    cfg!(debug_assertions) && PLANTED.get() == Some(plant)
}
