//! Running other programs at the root of the repository.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The root of the repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("the crate lies two folders below the root").to_owned()
}

/// A program, or `examples/NAME`, of the release build.
pub fn built(name: &str) -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or(PathBuf::from("target"), PathBuf::from);
    root().join(folder).join("release").join(name)
}

/// A program that will run at the root.
pub fn command(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    command.current_dir(root());
    command
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command whose output goes to the terminal; whether it succeeded.
pub fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    let name = command.get_program().to_owned();
    let status = command.status().with_context(|| format!("cannot start {}", name.display()))?;
    Ok(status.success())
}

/// What a command prints; anything but success is an error that shows what it complained of.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", name.display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", name.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
