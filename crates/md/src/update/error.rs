//! Why metadata is not changed.

use std::fmt;

use crate::assembly::Reason;
use crate::error::Hindrance;

/// Why an update is refused. Nothing was written then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpdateError {
    /// It is no array that could be opened, or some of what was named does not belong to it.
    Hindered {
        /// What forbids opening it.
        hindrances: Vec<Hindrance>,
        /// Who does not belong to it, and why.
        strangers: Vec<(String, Reason)>,
    },
    /// Members are missing.
    Missing {
        /// Slots that have a member.
        present: usize,
        /// Slots in all.
        slots: usize,
    },
    /// One of the changes makes no sense here.
    Change {
        /// Which, as a person says it.
        word: &'static str,
        /// Why.
        why: String,
    },
    /// A member cannot be changed so.
    Member {
        /// Which.
        member: String,
        /// Why.
        why: String,
    },
    /// Something else.
    Refused(String),
}

impl UpdateError {
    pub(super) fn refused(why: &str) -> UpdateError {
        UpdateError::Refused(why.to_owned())
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateError::Hindered { hindrances, strangers } => {
                let mut lines: Vec<String> = hindrances.iter().map(ToString::to_string).collect();
                lines.extend(strangers.iter().map(|(name, reason)| {
                    format!(
                        "{name} is no part of it: {reason}; do not name it (--degraded, where it is missed)"
                    )
                }));
                f.write_str(&lines.join("\n  "))
            }
            UpdateError::Missing { present, slots } => write!(
                f,
                "{present} of {slots} members are here; the others will not belong to the array any more, or be stale; \
                 --degraded goes on without them"
            ),
            UpdateError::Change { word, why } => write!(f, "{word}: {why}"),
            UpdateError::Member { member, why } => write!(f, "{member}: {why}"),
            UpdateError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for UpdateError {}
