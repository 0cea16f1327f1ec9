//! The documents of the control interface, version 1. Fields are only ever added; a change of meaning is version 2.

mod cache;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use cache::{BucketStatus, CacheStatus, CachedStatus, CountsStatus, SpanStatus, WritebackStatus};

/// The version of the interface.
pub const API_VERSION: u32 = 1;

/// All about a stack: `GET /v1/status`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct StackStatus {
    /// The version of this document.
    pub api_version: u32,
    /// The stack's name.
    pub name: String,
    /// The version of the program that runs it.
    pub program_version: String,
    /// Its process.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started_s: u64,
    /// How members are read and written.
    pub driver: String,
    /// Nothing is written to the members.
    pub read_only: bool,
    /// Where the metadata was kept aside.
    pub snapshot: Option<String>,
    /// What is done so that it goes on when the machine has no memory left; empty where nothing is to be.
    #[serde(default)]
    pub armour: Vec<ArmourPiece>,
    /// Its arrays.
    pub arrays: Vec<ArrayStatus>,
    /// Its caches.
    #[serde(default)]
    pub caches: Vec<CacheStatus>,
    /// Its volumes of bcache.
    #[serde(default)]
    pub cached: Vec<CachedStatus>,
    /// Where it is served over NBD.
    pub servers: Vec<ServerStatus>,
    /// Where it is mounted.
    #[serde(default)]
    pub mounts: Vec<MountStatus>,
}

/// Pieces of doubt that a status lists at most: where there are more, copying around them is no way out.
pub const MOST_DOUBTFUL: usize = 1024;

/// An array.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct ArrayStatus {
    /// Its name, which is also that of its export.
    pub name: String,
    /// Its uuid.
    pub uuid: String,
    /// Its level.
    pub level: String,
    /// Its metadata version.
    pub metadata: String,
    /// Its chunk: none for raid1, what members are rounded down to for linear.
    #[serde(default)]
    pub chunk_bytes: u64,
    /// Its layout as the superblock numbers it; what it means depends on the level.
    #[serde(default)]
    pub layout: u32,
    /// Its size.
    pub bytes: u64,
    /// The update counter as last recorded.
    pub events: u64,
    /// Whether it is consistent.
    pub state: ArrayState,
    /// Why nothing can be written any more, if so.
    pub broken_by: Option<String>,
    /// Slots in all.
    pub slots: u32,
    /// Members in sync.
    pub in_sync: u32,
    /// What the sync engine does.
    pub sync: SyncStatus,
    /// It runs, or is about to without anybody's doing.
    #[serde(default)]
    pub settling: bool,
    /// A person has forbidden every action of it.
    #[serde(default)]
    pub frozen: bool,
    /// A rebuild cannot go on: what it would need may not be right, and there is no room to list it as bad.
    #[serde(default)]
    pub stuck: bool,
    /// The bounds of its speed, in bytes a second of each member; a maximum of 0 is none.
    #[serde(default)]
    pub speed_bounds: (u64, u64),
    /// Where scrubs begin and end, in bytes of the space that is synced; no end is that of the space.
    #[serde(default)]
    pub scrub_bounds: (u64, Option<u64>),
    /// Read errors that are repaired before a member is failed.
    #[serde(default)]
    pub max_read_errors: u32,
    /// What the scrub that runs, or the last one, also of an earlier run, has found.
    #[serde(default)]
    pub scrub: Option<ScrubStatus>,
    /// What cannot be read, because only parity could give it back and may not belong to the data: first byte and length of
    /// each piece, as many as [`MOST_DOUBTFUL`].
    #[serde(default)]
    pub doubtful: Vec<(u64, u64)>,
    /// Its write-intent bitmap, if it keeps one.
    #[serde(default)]
    pub bitmap: Option<BitmapStatus>,
    /// Its write journal, if it has one that is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalStatus>,
    /// What is done with the private log of a raid6, if it has one: `kept` says that every write is in it before.
    #[serde(default)]
    pub private_log: Option<PrivateLog>,
    /// Its members.
    pub members: Vec<MemberStatus>,
    /// What clients did.
    pub export: ExportStatus,
    /// What the array itself was asked, by kind; kinds that never came are left out.
    #[serde(default)]
    pub io: Vec<IoStatus>,
}

/// What is done with a private log.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum PrivateLog {
    /// Parity is being made right by what it says.
    Replaying,
    /// Nothing was written yet.
    Idle,
    /// It is not kept before everything is known to be consistent.
    Waiting,
    /// Every write is in it before.
    Kept,
    /// It was taken away.
    Ended,
    /// What it held counts no more: others have written superblocks since. It begins anew when everything is consistent.
    Void,
}

/// The write-intent bitmap of an array.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitmapStatus {
    /// What one bit stands for.
    pub chunk_bytes: u64,
    /// How many bits there are.
    pub chunks: u64,
    /// How many of them mark something that may differ between members.
    pub marked: u64,
    /// Runs of 2048 bits, and how many of them have a mark: what the kernel calls pages.
    #[serde(default)]
    pub pages: u64,
    /// See `pages`.
    #[serde(default)]
    pub marked_pages: u64,
}

/// The write journal of an array.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalStatus {
    /// What md's `journal_mode` says.
    pub mode: JournalMode,
    /// Bytes of it.
    pub bytes: u64,
    /// How many of them a crash now would have looked at.
    pub used_bytes: u64,
    /// Rows that it made whole when the array was opened.
    pub replayed_rows: u64,
    /// Bytes that it has, in memory too, and no member yet.
    #[serde(default)]
    pub cached_bytes: u64,
}

/// When a write is answered.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum JournalMode {
    /// When the members have it.
    WriteThrough,
    /// When the journal has it.
    WriteBack,
}

/// Whether an array is consistent.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum ArrayState {
    /// Its superblocks say so.
    Clean,
    /// Writes are under way, or were a moment ago.
    Dirty,
    /// The last copy has failed: nothing can be written any more.
    Broken,
}

/// What the sync engine of an array does.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum SyncStatus {
    /// Nothing, and nothing is needed.
    Idle,
    /// Something is needed and does not run.
    Pending {
        /// What: the name of one of the actions below.
        #[serde(default)]
        of: String,
    },
    /// What is kept more than once is being made consistent.
    Resync(SyncProgress),
    /// Members are being given the data of their slots.
    Recover(SyncProgress),
    /// Everything is being compared.
    Check(SyncProgress),
    /// The same, and what differs is made to agree.
    Repair(SyncProgress),
}

/// How far an action has come.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncProgress {
    /// Bytes behind it.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that differed and were written.
    pub written_bytes: u64,
    /// How fast, since it started.
    pub bytes_per_second: u64,
    /// How long it will take at this speed.
    pub seconds_left: Option<u64>,
}

impl SyncStatus {
    /// The action that runs, by its name, and how far it has come.
    pub fn progress(&self) -> Option<(&'static str, SyncProgress)> {
        match self {
            SyncStatus::Idle | SyncStatus::Pending { .. } => None,
            SyncStatus::Resync(progress) => Some(("resync", *progress)),
            SyncStatus::Recover(progress) => Some(("recover", *progress)),
            SyncStatus::Check(progress) => Some(("check", *progress)),
            SyncStatus::Repair(progress) => Some(("repair", *progress)),
        }
    }
}

/// What a scrub has found.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ScrubStatus {
    /// `check` or `repair`.
    pub action: String,
    /// When it began, in seconds since 1970.
    pub started_s: u64,
    /// When it ended; none while it runs.
    pub ended_s: Option<u64>,
    /// It came to the end of what was asked for.
    pub complete: bool,
    /// What was asked for, of the space that is synced: first byte and length. The array's where it is copied, a member's
    /// where it has parity.
    #[serde(default)]
    pub bytes: Option<(u64, u64)>,
    /// Bytes of a member that did not agree.
    pub mismatched_bytes: u64,
    /// Of them, those that were made to.
    pub repaired_bytes: u64,
    /// Bytes that some member could not read.
    pub unreadable_bytes: u64,
    /// Where, as far as they are listed.
    pub places: Vec<MismatchStatus>,
}

/// A place where something did not agree.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct MismatchStatus {
    /// First byte of the array concerned, and how many.
    pub array_bytes: (u64, u64),
    /// First byte from the data offset of each member, and how many.
    pub member_bytes: (u64, u64),
    /// The member that is wrong, or could not read, if one is known.
    pub member: Option<String>,
    /// `wrong`, `unreadable`, `unknown` (nothing tells who is wrong) or `several` (more than one must be).
    pub verdict: String,
    /// It was made to agree.
    pub repaired: bool,
}

/// A member.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct MemberStatus {
    /// As it was named.
    pub name: String,
    /// Its slot; spares have none.
    pub slot: Option<u16>,
    /// Its permanent number.
    pub number: u32,
    /// How it stands.
    pub state: MemberState,
    /// Why it has failed.
    pub failure: Option<String>,
    /// Read errors that were repaired.
    pub corrected_reads: u32,
    /// Read only if nothing else can answer.
    pub write_mostly: bool,
    /// How much of it is rebuilt, if it is being rebuilt.
    #[serde(default)]
    pub recovered_bytes: Option<u64>,
    /// A replacement for it is wanted.
    #[serde(default)]
    pub unwanted: bool,
    /// Runs of sectors that its bad-block log lists.
    #[serde(default)]
    pub bad_blocks: u64,
    /// What the member was asked, by kind; kinds that never came are left out.
    #[serde(default)]
    pub io: Vec<IoStatus>,
}

/// What became of one kind of requests to a layer or a member since it was opened.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct IoStatus {
    /// `read`, `write`, `flush`, `discard`, `write_zeroes` or `status`.
    pub op: String,
    /// Requests begun.
    pub begun: u64,
    /// Requests that ended well.
    pub done: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that have not ended yet.
    pub in_flight: u64,
    /// Bytes in the ranges of those that ended well.
    pub bytes: u64,
    /// Nanoseconds that those which ended took, in all.
    pub total_ns: u64,
    /// How long they took; empty buckets are left out.
    pub latency: Vec<LatencyBucket>,
}

/// A bucket of a latency histogram.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct LatencyBucket {
    /// What is counted here took less than so many nanoseconds, and at least half as many; none in the last one, which
    /// has no end.
    pub below_ns: Option<u64>,
    /// How many.
    pub count: u64,
}

/// How a member stands.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Holds all of its slot's data.
    InSync,
    /// Is in a slot, and is being given its data.
    Recovering,
    /// The same, to take the place of the member that is in it.
    Replacing,
    /// Waits for a slot.
    Spare,
    /// Holds the write journal.
    Journal,
    /// Has failed.
    Faulty,
    /// Was let go of.
    Removed,
}

/// What the clients of an export did.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExportStatus {
    /// Reads answered with data.
    pub reads: u64,
    /// Bytes of them.
    pub read_bytes: u64,
    /// Writes carried out.
    pub writes: u64,
    /// Bytes of them.
    pub written_bytes: u64,
    /// Flushes carried out.
    pub flushes: u64,
    /// Trims carried out.
    pub trims: u64,
    /// Requests answered with an error.
    pub errors: u64,
}

/// A place where a stack is served.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ServerStatus {
    /// Where.
    pub address: String,
    /// Connections accepted so far.
    pub accepted: u64,
    /// Connections now.
    pub connections: u64,
    /// Connections that never chose an export.
    pub failed_handshakes: u64,
}

/// A piece of armour.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ArmourPiece {
    /// Which: `io-flusher`, `oom-score`, `memory-locked`, `direct-io`, `landlock` or `seccomp`.
    pub piece: String,
    /// Whether it is on.
    pub on: bool,
    /// Why not.
    pub why: Option<String>,
}

/// A place where the volumes of a stack are files.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct MountStatus {
    /// Where.
    pub path: String,
    /// Messages of the kernel so far.
    pub messages: u64,
    /// How often the files are open now.
    pub opens: u64,
    /// Somebody has taken the mount away.
    pub ended: bool,
}

/// Something that happened: a line of `GET /v1/events`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The version of this document.
    pub api_version: u32,
    /// When, in seconds since 1970.
    pub time_s: u64,
    /// To which array, cache or cached volume.
    pub array: String,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happened {
    /// A member, or the backing device of a volume, has failed, or was failed.
    MemberFailed {
        /// Which.
        member: String,
        /// Why.
        error: String,
    },
    /// A member was let go of.
    MemberRemoved {
        /// Which.
        member: String,
    },
    /// A read error was repaired from another copy.
    ReadRepaired {
        /// On which member.
        member: String,
        /// Array sector.
        sector: u64,
    },
    /// A sync action has started, or goes on.
    SyncStarted {
        /// `resync`, `recover`, `check` or `repair`.
        action: String,
        /// From which sector.
        sector: u64,
    },
    /// A sync action has come to its end.
    SyncComplete {
        /// Which.
        action: String,
    },
    /// A member was added.
    MemberAdded {
        /// Which.
        member: String,
    },
    /// A spare takes a slot, and is to be rebuilt.
    SpareTaken {
        /// Which.
        member: String,
        /// The slot.
        slot: u16,
        /// The member whose place it is to take.
        replaces: Option<String>,
    },
    /// A member has all of its slot's data.
    MemberInSync {
        /// Which.
        member: String,
        /// Its slot.
        slot: u16,
    },
    /// Sectors could not be rebuilt, and are on the member's list of bad blocks.
    BadBlocks {
        /// Which member.
        member: String,
        /// First sector, from its data offset.
        sector: u64,
        /// How many.
        sectors: u64,
    },
    /// A cache has failed: nothing is written to it any more.
    CacheFailed {
        /// How.
        error: String,
    },
    /// The cache of a volume has failed, and had nothing that is not on the backing device: the volume goes on without.
    Uncached {
        /// How the cache has failed.
        error: String,
    },
    /// The last copy, or the cache of a volume that has something dirty, has failed: nothing can be written any more.
    Broken {
        /// How.
        error: String,
    },
    /// Whoever listens was too slow and has missed events.
    Missed {
        /// How many.
        count: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.array)?;
        match &self.what {
            Happened::MemberFailed { member, error } => write!(f, "{member} has failed: {error}"),
            Happened::MemberRemoved { member } => write!(f, "{member} was removed"),
            Happened::ReadRepaired { member, sector } => {
                write!(f, "a read error of {member} at sector {sector} was repaired from another copy")
            }
            Happened::SyncStarted { action, sector } => write!(f, "{action} started at sector {sector}"),
            Happened::SyncComplete { action } => write!(f, "{action} complete"),
            Happened::MemberAdded { member } => write!(f, "{member} was added"),
            Happened::SpareTaken { member, slot, replaces: None } => {
                write!(f, "{member} takes slot {slot} and is rebuilt")
            }
            Happened::SpareTaken { member, slot, replaces: Some(other) } => {
                write!(f, "{member} is rebuilt beside {other}, to replace it in slot {slot}")
            }
            Happened::MemberInSync { member, slot } => write!(f, "{member} is in sync in slot {slot}"),
            Happened::BadBlocks { member, sector, sectors } => {
                write!(
                    f,
                    "{sectors} sectors of {member} from {sector} on could not be written or rebuilt and are listed as bad"
                )
            }
            Happened::Broken { error } => write!(f, "broken, nothing can be written any more: {error}"),
            Happened::CacheFailed { error } => {
                write!(f, "the cache has failed, and what only it has stays there: {error}")
            }
            Happened::Uncached { error } => {
                write!(
                    f,
                    "goes on without its cache, which had nothing that is not below and has failed: {error}"
                )
            }
            Happened::Missed { count } => write!(f, "{count} events were missed"),
        }
    }
}
