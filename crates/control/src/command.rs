//! What a stack can be told, and how it says no.

use thiserror::Error;
use tokio::sync::oneshot;

use crate::document::StackStatus;

/// A message from the control interface to the stack's core, with the way back.
pub enum Command {
    /// Tell all about yourself.
    Status(oneshot::Sender<StackStatus>),
    /// Fail a member.
    Fail {
        /// Which.
        member: String,
        /// What came of it, once it is recorded.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Let go of a member.
    Remove {
        /// Which.
        member: String,
        /// What came of it.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Stop; signals ask for no reply.
    Stop(Option<oneshot::Sender<Result<(), Refusal>>>),
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
