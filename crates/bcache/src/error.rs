//! Why a cache set cannot be opened or goes on no longer.

use std::fmt;

use bcache_format::{FormatError, Key, Position, State};
use block::Failed;

use crate::btree::log::LogError;
use crate::btree::node::NodeError;

/// Something that was to be read of a cache, and is not as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetError {
    /// The device did not give or take it.
    Device {
        /// What it was.
        what: &'static str,
        /// Where, on the cache device.
        sector: u64,
        /// How it failed.
        failed: Failed,
    },
    /// It is not of the form it should have.
    Form {
        /// What it was.
        what: &'static str,
        /// Where, on the cache device.
        sector: u64,
        /// What is wrong.
        error: FormatError,
    },
    /// The journal has no entry.
    JournalEmpty,
    /// Entries of the journal that are needed are not there.
    JournalGap {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// The journal is full to its last bucket: to write the next entry one would have to go that is needed.
    JournalFull,
    /// A node of the tree is not one.
    Node {
        /// The key that names it.
        key: Key,
        /// Its level.
        level: u16,
        /// What is wrong.
        error: NodeError,
    },
    /// Two keys name what lies in one bucket as nodes.
    NodeTwice {
        /// The one by which it was read.
        first: Key,
        /// The other.
        second: Key,
    },
    /// A node has no node below it for a place that it covers.
    NoNode {
        /// The place.
        at: Position,
        /// The node.
        parent: Key,
    },
    /// The tree is deeper than any tree.
    TooDeep {
        /// Levels.
        found: u16,
        /// The most there are.
        most: u16,
    },
    /// The priorities lead to a bucket that is none of the pool, or in a circle.
    PrioBucket {
        /// The bucket.
        found: u64,
    },
    /// The cache has more buckets than are opened.
    Buckets {
        /// How many it has.
        found: u64,
        /// How many are opened.
        most: u64,
    },
    /// The cache has failed too often.
    TooManyErrors {
        /// What failed last.
        what: &'static str,
        /// Errors that count.
        found: u64,
        /// Errors at which the set fails.
        limit: u64,
        /// How the last one failed.
        failed: Failed,
    },
    /// There is no set on the cache yet.
    NotUsed,
    /// The cache was made by something that nobody is to write to.
    ReadOnly,
    /// Dirty data of a volume that lies behind the end of its backing device.
    BehindEnd {
        /// Its key.
        found: Key,
        /// Sectors of the device.
        sectors: u64,
    },
    /// Nodes of the tree have too few blocks to be added to.
    NodeBlocks {
        /// Blocks that they have.
        found: u64,
        /// Blocks that they need.
        least: u64,
    },
    /// The table of volumes has no free place.
    NoInode {
        /// Places.
        most: usize,
    },
    /// The backing device has a cache: it would lose what that has of it.
    Attached {
        /// What it says of its cache.
        state: State,
    },
    /// The blocks of the backing device are smaller than those of the cache.
    Block {
        /// Sectors of a block of the backing device.
        found: u64,
        /// Sectors of a block of the cache.
        least: u64,
    },
    /// It was left in a form that is only read here.
    OldForm {
        /// What it is.
        what: &'static str,
    },
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Device { what, sector, failed } => write!(f, "{what} at sector {sector}: {failed}"),
            SetError::Form { what, sector, error } => write!(f, "{what} at sector {sector}: {error}"),
            SetError::JournalEmpty => {
                f.write_str("the journal has no entry of this set, expected at least one")
            }
            SetError::JournalGap { from, to } => {
                write!(f, "the journal's entries {from} to {to} are needed and missing")
            }
            SetError::JournalFull => {
                f.write_str(
                    "the journal is full to its last bucket, as Linux before 5.19 could leave it, expected a bucket that nothing \
                     needs: the set can be read (ashlar cat), and is not written to",
                )
            }
            SetError::Node { key, level, error } => {
                let sector = key.pointer().map_or(0, |pointer| pointer.sector());
                write!(f, "node of level {level} at sector {sector}, for keys up to {}: {error}", key.end())
            }
            SetError::NodeTwice { first, second } => {
                write!(f, "the keys {first} and {second} name nodes in one bucket")
            }
            SetError::NoNode { at, parent } => {
                write!(f, "the node {parent} names no node for {at}, which lies in it")
            }
            SetError::TooDeep { found, most } => {
                write!(f, "the tree has {found} levels, expected at most {most}")
            }
            SetError::PrioBucket { found } => {
                write!(f, "the priorities go on in bucket {found}, which cannot have them")
            }
            SetError::Buckets { found, most } => {
                write!(f, "the cache has {found} buckets, at most {most} are opened here")
            }
            SetError::TooManyErrors { what, found, limit, failed } => {
                write!(
                    f,
                    "{what}: {failed}; {found} errors of the cache, and at {limit} (io_error_limit) it has failed"
                )
            }
            SetError::NotUsed => f.write_str("the cache was made and never used: there is no set on it"),
            SetError::ReadOnly => f.write_str("the cache has a feature for which it is only read"),
            SetError::BehindEnd { found, sectors } => write!(
                f,
                "{found} is dirty and lies behind the end of its backing device, which has {sectors} sectors"
            ),
            SetError::NodeBlocks { found, least } => write!(
                f,
                "buckets of {found} block are too small to write to, expected at least {least}: the cache can be read, \
                 and has to be made anew with larger buckets or smaller blocks"
            ),
            SetError::NoInode { most } => {
                write!(f, "all {most} places for volumes of the set were used, and none is used twice")
            }
            SetError::Attached { state } => write!(
                f,
                "the backing device is attached already and says that it is {}, expected one that is not: detach it from \
                 its cache first",
                state.name()
            ),
            SetError::Block { found, least } => write!(
                f,
                "the backing device has blocks of {found} sectors, expected at least the {least} of the cache"
            ),
            SetError::OldForm { what } => write!(f, "{what}: a form of before Linux 3.10, which is not read"),
        }
    }
}

impl std::error::Error for SetError {}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Log(LogError::Set { sector, error }) => {
                write!(f, "set of keys at its sector {sector}: {error}")
            }
            NodeError::Log(LogError::Leftover { sector }) => {
                write!(f, "a set of keys at its sector {sector}, behind the end of its log")
            }
            NodeError::Behind { found, end } => {
                write!(f, "key {found} lies behind the end of the node, {end}")
            }
        }
    }
}
