//! placeholder
use crate::cli::Status;
use anyhow::{Result, bail};
/// Runs the command.
pub fn run(_args: &Status) -> Result<()> {
    bail!("not yet")
}
