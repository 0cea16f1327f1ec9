//! What a stack is asked to serve, as a TOML file says it.
//!
//! ```toml
//! version = 1
//! name = "data"                                   # default: the array's name
//! members = ["/dev/sdb", "/dev/sdc"]
//! nbd = ["/run/data.sock", "127.0.0.1:10809"]
//! fuse = ["/run/data"]                            # a file, or a folder with a file for each volume
//! arrays = false                                  # the arrays themselves, whatever lies on them
//! degraded = false                                # the words of risk, as on the command line
//! private-log = true                              # of a raid6; without the key it is kept if there is one
//! journal-mode = "write-back"                     # of a write journal; default: write-through
//! armour = "on"                                   # against a lack of memory: on, off or trap
//! armour-without = ["landlock"]                   # pieces that are left off
//! program = "/usr/local/bin/on-event"             # called with event, array and member
//! mail = "root"                                   # by sendmail, for what has to be attended to
//! spares = 1                                      # that each array should have
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::document::JournalMode;

/// The version of the file that this program reads.
const VERSION: u32 = 1;

/// What to serve. Every field but the first has the meaning of the option of that name.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The version of the file's format: 1.
    pub version: u32,
    /// The name under which it runs.
    pub name: Option<String>,
    /// Disks, in any order. Paths are relative to the folder of the file.
    #[serde(default)]
    pub members: Vec<String>,
    /// Where to serve: unix sockets (with a slash in them; relative to the folder of the file) or HOST:PORT.
    #[serde(default)]
    pub nbd: Vec<String>,
    /// Where to show the volumes as files: relative to the folder of the file.
    #[serde(default)]
    pub fuse: Vec<PathBuf>,
    /// Serve on addresses that other hosts can reach.
    #[serde(default)]
    pub nbd_anywhere: bool,
    /// Run with members missing.
    #[serde(default)]
    pub degraded: bool,
    /// Serve the arrays themselves, whatever lies on them.
    #[serde(default)]
    pub arrays: bool,
    /// Export read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Nobody else writes to remote members.
    #[serde(default)]
    pub sole_writer: bool,
    /// Use members that are out of date where nothing newer holds their place.
    #[serde(default)]
    pub accept_stale: bool,
    /// Take what parity says where it may not belong to the data: members are missing, or blocks are listed as bad, and the others were not in sync.
    #[serde(default)]
    pub dirty_degraded: bool,
    /// Whether a raid6 keeps a private log; without a word, if it has one.
    pub private_log: Option<bool>,
    /// When writes to arrays with a write journal are answered; without a word, when the members have them.
    pub journal_mode: Option<JournalMode>,
    /// Layout of a raid0 that does not say which one it has.
    pub layout: Option<Layout>,
    /// What is done so that serving goes on when the machine has no memory left.
    pub armour: Option<Armour>,
    /// Pieces of it that are left off.
    #[serde(default)]
    pub armour_without: Vec<String>,
    /// A program that is called with each event: the event, the array and the member. Relative to the folder of the file.
    pub program: Option<PathBuf>,
    /// Who gets mail of what has to be attended to.
    pub mail: Option<String>,
    /// Spares that each array should have.
    #[serde(default)]
    pub spares: u32,
}

/// The two layouts of a raid0 whose members differ in size.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Kernels before 3.14.
    Original,
    /// Kernels from 3.14 on.
    Alternate,
}

/// What is done against a lack of memory.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Armour {
    /// What can be.
    On,
    /// Nothing.
    Off,
    /// What can be, and whoever allocates while serving ends the program.
    Trap,
}

/// Why a file cannot be used.
#[derive(Error, Debug)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no TOML, or says something that has no meaning here.
    #[error("{}: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where.
        error: toml::de::Error,
    },
    /// It is of another version.
    #[error("{}: found version = {found}, expected version = {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// It names no members.
    #[error("{}: names no members; expected members = [\"PATH\", ...]", path.display())]
    NoMembers {
        /// The file.
        path: PathBuf,
    },
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        let mut config: Config =
            toml::from_str(&text).map_err(|error| ConfigError::Parse { path: path.to_owned(), error })?;
        if config.version != VERSION {
            return Err(ConfigError::Version { path: path.to_owned(), found: config.version });
        }
        if config.members.is_empty() {
            return Err(ConfigError::NoMembers { path: path.to_owned() });
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        for name in &mut config.members {
            if !name.contains("://") {
                *name = folder.join(&name).to_string_lossy().into_owned();
            }
        }
        config.program = config.program.map(|program| Path::new(".").join(folder).join(program));
        for place in &mut config.fuse {
            *place = folder.join(&place);
        }
        for address in config.nbd.iter_mut().filter(|address| address.contains('/')) {
            *address = folder.join(&address).to_string_lossy().into_owned();
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_nobody_knows_is_refused() {
        let error = toml::from_str::<Config>("version = 1\nmembers = []\ndegarded = true").unwrap_err();
        assert!(error.to_string().contains("degarded"), "{error}");
    }

    #[test]
    fn the_example_above_is_read() {
        let text = include_str!("config.rs");
        let example: String = text
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| format!("{}\n", line.trim_start_matches("//!")))
            .collect();
        let config: Config = toml::from_str(&example).unwrap();
        assert_eq!((config.version, config.members.len(), config.nbd.len()), (1, 2, 2));
        assert_eq!(config.fuse, [Path::new("/run/data")]);
    }
}
