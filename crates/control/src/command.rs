//! What a stack can be told, and how it says no.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::document::{JournalMode, StackStatus};

/// A message from the control interface to the stack's core, with the way back.
pub enum Command {
    /// Tell all about yourself.
    Status(oneshot::Sender<StackStatus>),
    /// Change something.
    Manage {
        /// What.
        order: Order,
        /// What came of it, once it is recorded.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Add a disk.
    Add {
        /// Which, and how.
        wish: AddWish,
        /// What it was taken for.
        reply: oneshot::Sender<Result<Added, Refusal>>,
    },
    /// Stop; signals ask for no reply.
    Stop(Option<oneshot::Sender<Result<(), Refusal>>>),
}

/// A change that a person asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Fail a member.
    Fail(String),
    /// Let go of a member.
    Remove(String),
    /// Replace a member, by this spare or by any.
    Replace {
        /// Which.
        member: String,
        /// The spare.
        with: Option<String>,
    },
    /// Change what an array looks like; the only one, if none is named.
    Grow {
        /// The array.
        array: Option<String>,
        /// How.
        order: GrowOrder,
    },
    /// Something about a cache or a cached volume.
    Cache(CacheWish),
    /// Something about the sync engine of an array; of the only one, if none is named.
    Sync {
        /// The array.
        array: Option<String>,
        /// What.
        order: SyncOrder,
    },
}

/// What a raid5 is made right by after a crash, in mdadm's words.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum ConsistencyPolicy {
    /// Everything is synced.
    Resync,
    /// A partial parity log says what may be wrong.
    Ppl,
}

/// How an array is to be changed while it runs.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum GrowOrder {
    /// An internal bitmap.
    AddBitmap {
        /// What one bit stands for, in bytes; the usual, if not given.
        chunk_bytes: Option<u32>,
    },
    /// No bitmap.
    RemoveBitmap,
    /// So many copies of everything.
    Copies {
        /// How many.
        copies: u32,
    },
    /// Members give more.
    Size {
        /// So many bytes; as much as the smallest has, if not given.
        bytes: Option<u64>,
        /// What is new is the same on all of them.
        assume_clean: bool,
    },
    /// When writes to an array with a write journal are answered.
    JournalMode {
        /// When.
        mode: JournalMode,
    },
    /// No write journal.
    RemoveJournal,
    /// How parity is made right after a crash.
    Consistency {
        /// How.
        policy: ConsistencyPolicy,
    },
}

/// What is to be done about a cache or a cached volume.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct CacheWish {
    /// Which.
    pub target: CacheTarget,
    /// What.
    pub order: CacheOrder,
}

/// A cache, or a cached volume; the only one, if none is named.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum CacheTarget {
    /// A volume, by its name.
    Volume(Option<String>),
    /// A cache, by its name.
    Cache(Option<String>),
}

/// What can be done about a cache or a cached volume while it runs.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum CacheOrder {
    /// A volume without a cache gets one; the only one, if none is named.
    Attach {
        /// The cache.
        cache: Option<String>,
    },
    /// What only the cache has goes to the backing device, which needs no cache then.
    Detach,
    /// What only the cache has goes to the backing device.
    Flush,
    /// Something is set.
    Set {
        /// bcache's name for it.
        name: String,
        /// What was typed.
        value: String,
    },
    /// A backing device that does not run here is opened, and attached to a cache.
    Adopt {
        /// Its disk.
        disk: String,
        /// Nobody else writes to it, though it is remote.
        sole_writer: bool,
    },
    /// A volume that lies in a cache alone is made.
    CreateVolume {
        /// Its size.
        bytes: u64,
        /// What people are to call it.
        label: Option<String>,
    },
    /// A volume that lies in a cache alone is made larger.
    GrowVolume {
        /// Its size.
        bytes: u64,
    },
    /// A volume that lies in a cache alone is deleted, with everything in it.
    DeleteVolume,
    /// The total counts begin anew.
    ClearStats,
}

/// What the sync engine of an array can be told.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum SyncOrder {
    /// Compare everything.
    Check,
    /// Compare everything, and make what differs agree.
    Repair,
    /// End what runs where it is; what the array needs begins again from there, a scrub does not.
    Idle,
    /// End what runs, and start nothing until told otherwise.
    Freeze,
    /// Go on with what was forbidden.
    Resume,
    /// Believe what parity says also where it may not belong to the data.
    TrustParity,
    /// Where scrubs begin and end from now on; what is not given stays.
    ScrubBounds {
        /// First byte, of the array's where it is copied, of a member's where it has parity.
        from: Option<u64>,
        /// The byte behind the last; 0 for the end.
        to: Option<u64>,
    },
    /// Fail a member that has had more read errors than this, though they were repaired.
    MaxReadErrors {
        /// How many.
        count: u32,
    },
    /// Set the bounds of its speed, in bytes a second of each member; what is not given stays.
    Speed {
        /// It gives way to clients only above this.
        min: Option<u64>,
        /// It is never faster; 0 for no bound.
        max: Option<u64>,
    },
}

/// A disk that is to be added.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AddWish {
    /// Its name.
    pub member: String,
    /// The array; the only one, if none is named.
    pub array: Option<String>,
    /// What it holds may be lost.
    pub overwrite: bool,
    /// It is to be the write journal.
    #[serde(default)]
    pub journal: bool,
    /// Nobody else writes to it, though it is remote.
    pub sole_writer: bool,
}

/// What a disk that was added was taken for.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Added {
    /// The slot that was its own, if it came back: only what it has missed is copied. Otherwise it is a spare.
    pub former_slot: Option<u16>,
}

/// Why a stack does not do what it was told.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Conflict(String),
    /// It was tried and has failed.
    #[error("{0}")]
    Failed(String),
}
