//! `ashlar remove`: lets go of a failed member or a spare.

use anyhow::Result;
use control::Client;

use super::status::place;
use crate::cli::OfMember;
use crate::dirs;
use crate::text::print;

/// Runs the command.
pub fn run(args: &OfMember) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let place = place(&dir, &args.name)?;
    Client::new(&place.socket()).remove(&args.member)?;
    Ok(print(&format!("{} is closed and unlocked\n", args.member))?)
}
