//! The md engine: which disks make which array, how each level serves a request, and what is recorded when.
//!
//! [`examine()`] reads what a disk says it is. [`assemble`] is pure: from any pile of examined disks to sets, each with
//! its members by slot, what was left out and why, and what forbids opening it. [`Array`] is a set that serves requests:
//! one [`block::Device`], with an engine for each level behind it, and one writer for the superblocks. [`create()`] makes
//! new ones.
//!
//! The order of every change of state is decision 5 of the design: no member write is issued before its dirty mark is
//! durable; a clean mark is written only after every member was flushed; a failed member is recorded before the request
//! that noticed is answered; a failed flush is never retried into success.

pub mod admission;
pub mod array;
mod assembly;
mod badblocks;
mod bitmap;
mod create;
mod error;
mod examine;
mod grow;
mod happening;
mod lane;
mod level;
pub mod limits;
mod member;
mod membership;
mod metadata;
mod narrow;
pub mod plant;
mod pools;
mod redundancy;
mod repair;
mod roster;
mod snapshot;
mod still;
pub mod sync;
mod update;
mod waits;
mod wipe;

pub use admission::{Admission, NotAdmitted};
pub use array::{Array, Options, Shape, StripePlaces};
pub use assembly::{Candidate, LeftOut, Reason, Seat, Set, SetKey, Short, assemble};
pub use bitmap::{BitmapState, CHUNKS_OF_A_PAGE};
pub use create::{BitmapWish, CreateError, Creation, NewMemberPlan, create, plan_creation};
pub use error::{Hindrance, OpenError};
pub use examine::{BindingFacts, ExamineError, Examined, PrivateLogFacts, examine};
pub use grow::{GrowError, Growth};
pub use level::parity::journal::{JournalMode, JournalState};
pub use level::parity::log::PrivateLogState;
pub use member::{Condition, Member, MemberStatus, Recovering};
pub use membership::{MembershipError, Newcomer};
pub use pools::Pools;
pub use snapshot::{Area, metadata_areas};
pub use sync::{Action, Mismatch, Progress, Scrub, ScrubBounds, ScrubReport, Speed, SyncState, Verdict};
pub use update::{Change, Flag, MemberChange, MetadataWrite, Update, UpdateError, plan_update, update};
pub use wipe::wipe_all;
