//! placeholder
use crate::cli::{Driver, Undo};
use anyhow::{Result, bail};
/// Runs the command.
pub fn run(_args: &Undo, _driver: Driver) -> Result<()> {
    bail!("not yet")
}
