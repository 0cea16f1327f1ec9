//! What forbids opening an array, said so that a person knows what to do.

use std::fmt;

use md_format::{FormatError, Level};

/// Something about a set that forbids using it in one way or at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hindrance {
    /// The level is not built yet.
    Level(Level),
    /// The metadata asks for a feature that is not built yet. Reading may be safe without it; writing is not.
    Feature(&'static str),
    /// Feature bits that nobody here knows.
    UnknownFeatures(u32),
    /// A big-endian 0.90 superblock can be read, not written.
    BigEndian,
    /// Members are missing, and without them some or all of the data is out of reach.
    TooFew {
        /// Slots that have a member.
        present: u32,
        /// Slots that are needed.
        needed: u32,
        /// Slots in all.
        slots: u32,
    },
    /// Members are missing; the data is all there.
    Degraded {
        /// Slots that have a member.
        present: u32,
        /// Slots in all.
        slots: u32,
    },
    /// Members are missing, and what parity says of their data may be wrong: it was not in sync.
    DirtyDegraded,
    /// Blocks are listed as bad that only parity could give back, and it was not in sync.
    DirtyBadBlocks,
    /// A raid0 of several zones whose layout was not recorded.
    NoLayout,
    /// Two halves of a mirror have gone their own ways.
    Diverged {
        /// A member of the one side.
        one: String,
        /// A member of the other.
        other: String,
    },
    /// The same member is there twice.
    Twice {
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// More copies than can be served.
    TooManyCopies {
        /// How many.
        found: u32,
        /// How many can be.
        limit: usize,
    },
    /// The superblock does not hold together.
    Format(FormatError),
    /// A private log was asked for, and there can be none.
    PrivateLog(&'static str),
    /// Sizes that make no array.
    Shape(&'static str),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hindrance::Level(level) => write!(f, "{level} is not built yet"),
            Hindrance::Feature(what) => {
                write!(f, "the metadata asks for {what}, which is not built yet; read it with `ashlar cat`")
            }
            Hindrance::UnknownFeatures(bits) => write!(
                f,
                "the metadata has feature bits {bits:#x} that this version does not know; use a newer one"
            ),
            Hindrance::BigEndian => {
                f.write_str("the metadata was written by a big-endian machine; it can be read but not written")
            }
            Hindrance::TooFew { present, needed, slots } => write!(
                f,
                "{present} of {slots} members are here and at least {needed} are needed; name the missing disks too"
            ),
            Hindrance::Degraded { present, slots } => write!(
                f,
                "{present} of {slots} members are here; name the missing disks too, or say --degraded to run \
                 without them (they must then be rebuilt when they come back)"
            ),
            Hindrance::DirtyDegraded => f.write_str(
                "members are missing and the others were not in sync when the array was last used: some blocks of \
                 what is missing would come out wrong, and nothing tells which; name the missing disks too, or say \
                 --dirty-degraded to take it as it is",
            ),
            Hindrance::DirtyBadBlocks => f.write_str(
                "some blocks are listed as bad and live in parity alone, which was not in sync when the array was last \
                 used: a resync would have to give them up; read them with `ashlar cat`, or say --dirty-degraded to \
                 take what parity says of them",
            ),
            Hindrance::PrivateLog(why) => {
                write!(f, "there can be no private log: {why}; run it without --private-log")
            }
            Hindrance::NoLayout => f.write_str(
                "the members differ in size and the layout was not recorded; kernels since 3.14 wrote \
                 `alternate`, older ones `original`: choose with --layout, wrong data looks like a broken file \
                 system",
            ),
            Hindrance::Diverged { one, other } => write!(
                f,
                "{one} and {other} each say that the other has failed: the two halves were used apart; name the \
                 members of one half only"
            ),
            Hindrance::Twice { one, other } => {
                write!(f, "{one} and {other} say that they are the same member; name only one of them")
            }
            Hindrance::TooManyCopies { found, limit } => {
                write!(f, "{found} copies, and at most {limit} can be served")
            }
            Hindrance::Format(error) => error.fmt(f),
            Hindrance::Shape(what) => f.write_str(what),
        }
    }
}

/// Why an array could not be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// The set has hindrances that the options do not lift.
    Hindered(Vec<Hindrance>),
    /// A member failed while the array was opened.
    Member {
        /// Which.
        name: String,
        /// How.
        failed: block::Failed,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Hindered(hindrances) => {
                let mut separator = "";
                for hindrance in hindrances {
                    write!(f, "{separator}{hindrance}")?;
                    separator = "; ";
                }
                Ok(())
            }
            OpenError::Member { name, failed } => write!(f, "{name}: {failed}"),
        }
    }
}

impl std::error::Error for OpenError {}
