//! What can go wrong between a test and the kernel that judges it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Kernel;

/// Something that a boot or a tool needs is not on this machine, and how to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is absent, with the place where it was looked for.
    pub what: String,
    /// The command that brings it.
    pub remedy: String,
}

impl Missing {
    /// Names what is absent and the command that brings it.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; run `{}`", self.what, self.remedy)
    }
}

impl std::error::Error for Missing {}

/// Any failure of the harness itself, or of a script that was expected to succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something has to be fetched or installed first.
    #[error(transparent)]
    Missing(#[from] Missing),

    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The verb, such as `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A tool of the host ended badly.
    #[error("`{command}` failed ({status}){}", quoted(.output))]
    Tool {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines it printed.
        output: String,
    },

    /// The chosen kernel cannot do what the run asks for.
    #[error("the {kernel} kernel cannot {what}")]
    Unsupported {
        /// The kernel of the run.
        kernel: Kernel,
        /// What was asked for.
        what: &'static str,
    },

    /// A script was expected to succeed and did not.
    #[error("the script under the {kernel} kernel {ending}{}{}", quoted(.stdout), quoted(.kernel_log))]
    Script {
        /// The kernel of the run.
        kernel: Kernel,
        /// How the guest ended.
        ending: String,
        /// The last lines of the script's output.
        stdout: String,
        /// The last lines of the kernel's own log.
        kernel_log: String,
    },

    /// A golden image is not what its manifest says.
    #[error("golden {name}: {file} has sha256 {found}, expected {expected}")]
    Golden {
        /// The folder.
        name: String,
        /// The member.
        file: String,
        /// What was unpacked.
        found: String,
        /// What members.sha256 says.
        expected: String,
    },

    /// Output of a tool or a manifest was not in the form this room knows.
    #[error("{what}: expected {expected}, found `{found}`")]
    Unexpected {
        /// Where it was found.
        what: String,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
}

/// Names the file when a file operation fails.
pub(crate) trait Named<T> {
    fn named(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> Named<T> for std::io::Result<T> {
    fn named(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}

/// The last lines of `text`, for an error that quotes it.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(crate::limits::QUOTED_LINES)..].join("\n")
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\n  | {}", text.replace('\n', "\n  | ")) }
}
