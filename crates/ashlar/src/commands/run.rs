//! placeholder
use crate::cli::{Driver, Run};
use anyhow::{Result, bail};
/// Runs the command.
pub fn run(_args: Run, _driver: Driver) -> Result<()> {
    bail!("not yet")
}
