//! `sim`, `fuzz` and `man`: tasks whose work another crate's program does.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};

use crate::{house, shell};

/// Words that are handed on as they are.
#[derive(clap::Args)]
pub struct Words {
    /// Handed on as they are; `--help` behind `--` asks the program itself.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// `cargo xtask sim`: the simulator, optimised, for a slow one finds fewer bugs in an hour, and with every assertion.
pub fn sim(words: &Words) -> anyhow::Result<ExitCode> {
    hand_on("simulation", &["--profile", "sim"], words.words.iter().map(OsString::from))
}

/// `cargo xtask fuzz`: with the checks of the ordinary build.
pub fn fuzz(words: &Words) -> anyhow::Result<ExitCode> {
    hand_on("fuzz", &[], words.words.iter().map(OsString::from))
}

/// `cargo xtask man`: the manual pages that the binary generates from its own command line.
pub fn man(folder: &Path) -> anyhow::Result<ExitCode> {
    let folder = std::path::absolute(folder)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    hand_on("ashlar", &[], ["generate".into(), "man".into(), folder.into()].into_iter())
}

/// Whether a crate builds a program at all.
pub fn has_program(name: &str) -> anyhow::Result<bool> {
    Ok(house::crates()?.get(name).is_some_and(|found| !found.programs.is_empty()))
}

/// Runs the program of a crate with these words; its success is ours.
fn hand_on(name: &str, options: &[&str], words: impl Iterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    ensure!(has_program(name)?, "the crate {name} builds no program");
    let mut run = shell::cargo();
    run.args(["run", "--quiet", "--package", name]).args(options).arg("--").args(words);
    Ok(if shell::succeeds(&mut run)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
