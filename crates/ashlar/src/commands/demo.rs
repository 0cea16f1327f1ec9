//! placeholder
use crate::cli::{Demo, Driver};
use anyhow::{Result, bail};
/// Runs the command.
pub fn run(_args: &Demo, _driver: Driver) -> Result<()> {
    bail!("not yet")
}
