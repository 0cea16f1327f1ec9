//! placeholder
use crate::cli::Stop;
use anyhow::{Result, bail};
/// Runs the command.
pub fn run(_args: &Stop) -> Result<()> {
    bail!("not yet")
}
