//! placeholder
use crate::cli::OfMember;
use anyhow::{Result, bail};
/// Runs the command.
pub fn run(_args: &OfMember) -> Result<()> {
    bail!("not yet")
}
