//! Why an array is not changed.

use std::fmt;

use block::{Failed, Sectors};
use md_format::{FormatError, Level};

use crate::error::Hindrance;
use crate::membership::MembershipError;

/// Why something about an array was not changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GrowError {
    /// It is open for reading.
    ReadOnly,
    /// The level keeps nothing twice.
    NoRedundancy,
    /// Somebody else is changing it, or it stops.
    Busy,
    /// It has a bitmap.
    HasBitmap,
    /// It has none.
    NoBitmap,
    /// A partial parity log does the same, and excludes it.
    HasLog,
    /// It has no partial parity log.
    NoLog,
    /// A member has no room for one.
    NoRoomForLog {
        /// Which.
        member: String,
        /// Why, and what would help.
        why: String,
    },
    /// Its log knows what parity does not say any more, as long as a member is missing.
    Doubtful,
    /// It has had too many logs since it was opened.
    TooManyLogs,
    /// It has a write journal, which excludes what was asked for.
    HasJournal,
    /// It has no write journal.
    NoJournal,
    /// Members of this level come and go only by moving data.
    MovesData(Level),
    /// It is so already.
    Unchanged,
    /// A number outside of what there can be.
    Copies {
        /// What was asked for.
        found: u32,
        /// The most.
        most: u32,
    },
    /// So many copies are in use, and would have no slot.
    InUse(u32),
    /// A member is being replaced.
    Replacing,
    /// Members would give less.
    Shrinks {
        /// What was asked for.
        found: Sectors,
        /// What they give.
        now: Sectors,
    },
    /// A member has less.
    NoRoom {
        /// Which.
        member: String,
        /// What it has.
        found: Sectors,
        /// What was asked for.
        expected: Sectors,
    },
    /// A superblock behind the data would have to move, and the bitmap beside it with it.
    BitmapInTheWay {
        /// Whose.
        member: String,
    },
    /// Copies that lie apart would have to move.
    FarCopies,
    /// A member of a raid6 is missing, and what is new could not be made consistent.
    Degraded(u32),
    /// Something of it has no room, or cannot be recorded.
    Hindered(Hindrance),
    /// A disk cannot become what it was to be.
    Newcomer(MembershipError),
    /// The metadata cannot express it.
    Format(FormatError),
    /// Nothing can be recorded any more.
    Failed(Failed),
}

impl fmt::Display for GrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrowError::ReadOnly => f.write_str("it is read-only"),
            GrowError::NoRedundancy => {
                f.write_str("a level without redundancy cannot be changed while it runs")
            }
            GrowError::Busy => f.write_str("something else is being changed, or it is about to stop"),
            GrowError::HasBitmap => f.write_str("it has a bitmap already; remove that first (--bitmap none)"),
            GrowError::NoBitmap => f.write_str("it has no bitmap"),
            GrowError::HasLog => {
                f.write_str("it has a partial parity log or a private one, which excludes this")
            }
            GrowError::NoLog => f.write_str("it has no partial parity log"),
            GrowError::NoRoomForLog { member, why } => write!(f, "{member}: {why}"),
            GrowError::Doubtful => f.write_str(
                "a member is missing, and the log knows which of its blocks nobody can give back; rebuild it first",
            ),
            GrowError::TooManyLogs => f.write_str("it has had too many logs since it was opened"),
            GrowError::HasJournal => f.write_str(
                "it has a write journal, which excludes this; take that away first (--remove-journal)",
            ),
            GrowError::NoJournal => f.write_str("it has no write journal"),
            GrowError::MovesData(level) => {
                write!(
                    f,
                    "the number of members of a {level} changes only by moving its data, which is not done yet"
                )
            }
            GrowError::Unchanged => f.write_str("it is so already"),
            GrowError::Copies { found, most } => {
                write!(f, "{found} copies cannot be; a mirror has from 1 to {most} of them here")
            }
            GrowError::InUse(used) => {
                write!(f, "{used} members are in use; fail and remove those that are to go")
            }
            GrowError::Replacing => f.write_str("a member is being replaced; wait for that to end"),
            GrowError::Shrinks { found, now } => {
                write!(f, "members give {now} sectors now, and {found} are fewer; none is made smaller")
            }
            GrowError::NoRoom { member, found, expected } => {
                write!(f, "{member} has {found} sectors for data, and {expected} are asked for")
            }
            GrowError::BitmapInTheWay { member } => write!(
                f,
                "{member} has grown, and its superblock has to move to its end, which it cannot beside a bitmap; remove \
                 the bitmap first (--bitmap none)"
            ),
            GrowError::FarCopies => f.write_str("copies that lie far apart would have to move"),
            GrowError::Degraded(missing) => write!(
                f,
                "members are missing ({missing}), so what is new could not be made consistent; add them first, or say \
                 --assume-clean"
            ),
            GrowError::Hindered(hindrance) => hindrance.fmt(f),
            GrowError::Newcomer(error) => error.fmt(f),
            GrowError::Format(error) => error.fmt(f),
            GrowError::Failed(failed) => failed.fmt(f),
        }
    }
}

impl std::error::Error for GrowError {}

impl From<Failed> for GrowError {
    fn from(failed: Failed) -> GrowError {
        GrowError::Failed(failed)
    }
}

impl From<MembershipError> for GrowError {
    fn from(error: MembershipError) -> GrowError {
        GrowError::Newcomer(error)
    }
}

impl From<FormatError> for GrowError {
    fn from(error: FormatError) -> GrowError {
        GrowError::Format(error)
    }
}

impl From<Hindrance> for GrowError {
    fn from(hindrance: Hindrance) -> GrowError {
        GrowError::Hindered(hindrance)
    }
}
