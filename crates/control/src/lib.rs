//! One running stack: what it is asked to serve, how it is watched and told what to do, what it keeps for an undo.
//!
//! The stack itself lives on one core ([`Stack`]). Beside it a thread of its own serves a versioned HTTP and JSON
//! interface on a unix socket ([`api`]); the two speak through a mailbox, and nothing in the data path waits for it.
//! This room and the binary above it are the only ones that know tokio, the calendar, or files that are no members.

mod alerts;
pub mod api;
mod client;
mod command;
mod config;
mod delivery;
mod document;
mod foretold;
mod hold;
mod mdstat;
mod metrics;
mod monitor;
mod place;
mod progress;
mod record;
mod snapshot;
mod stack;
mod switch;
mod undo;

pub use bcache::Standing;

pub use alerts::{Alert, AlertKind, Before, Rules, alerts};
pub use client::{Client, ClientError};
pub use command::{
    AddWish, Added, CacheOrder, CacheTarget, CacheWish, Command, ConsistencyPolicy, GrowOrder, Order,
    Refusal, SyncOrder,
};
pub use config::{Armour, Config, ConfigError, Layout};
pub use delivery::{Delivery, Receivers, check_address, deliver_all};
pub use document::{
    API_VERSION, ArmourPiece, ArrayState, ArrayStatus, BitmapStatus, BucketStatus, CacheStatus, CachedStatus,
    CountsStatus, Event, ExportStatus, Happened, IoStatus, JournalMode, JournalStatus, LatencyBucket,
    MOST_DOUBTFUL, MemberState, MemberStatus, MismatchStatus, MountStatus, PrivateLog, ScrubStatus,
    ServerStatus, SpanStatus, StackStatus, SyncProgress, SyncStatus, WritebackStatus,
};
pub use hold::Hold;
pub use mdstat::mdstat;
pub use monitor::{Lookout, Monitor};
pub use place::{Place, PlaceError, Taken, running};
pub use progress::{Progress, progress};
pub use record::Records;
pub use snapshot::{AreaBytes, Keeper, MemberAreas, MemberKind, Snapshot, SnapshotError};
pub use stack::{
    Backing, Cache, Cached, Contents, Facts, Fronts, Now, Open, Opened, Outside, Stack, Volume, bcache_uuid,
};
pub use switch::Switch;
pub use undo::{Change, UndoError, plan_undo, put_back};
