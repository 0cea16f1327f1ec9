//! Where things are kept when nobody says where: root's in the system's folders, everybody else's in their own.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

/// Control sockets.
pub fn run_dir(asked: Option<&Path>) -> Result<PathBuf> {
    choose(asked, "/run/ashlar", "XDG_RUNTIME_DIR", None, "--run-dir")
}

/// Metadata kept aside.
pub fn state_dir(asked: Option<&Path>) -> Result<PathBuf> {
    choose(asked, "/var/lib/ashlar", "XDG_STATE_HOME", Some(".local/state"), "--state-dir")
}

fn choose(
    asked: Option<&Path>,
    of_root: &str,
    variable: &str,
    in_home: Option<&str>,
    option: &str,
) -> Result<PathBuf> {
    if let Some(dir) = asked {
        return Ok(dir.to_owned());
    }
    if rustix::process::geteuid().is_root() {
        return Ok(of_root.into());
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || in_home.and_then(|folder| Some(absolute("HOME")?.join(folder)));
    let dir = absolute(variable).or_else(home).map(|dir| dir.join("ashlar"));
    dir.ok_or_else(|| anyhow!("{variable} is not set; say {option} DIR"))
}
