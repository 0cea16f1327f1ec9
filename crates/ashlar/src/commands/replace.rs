//! `ashlar replace`: copies a member that still works to a spare, which then takes its place.

use anyhow::Result;
use control::Client;

use super::status::place;
use crate::cli::Replace;
use crate::dirs;
use crate::text::print;

/// Runs the command.
pub fn run(args: &Replace) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let place = place(&dir, &args.name)?;
    Client::new(&place.socket()).replace(&args.member, args.with.as_deref())?;
    Ok(print(&format!("{} is being replaced; it works on until that is done\n", args.member))?)
}
