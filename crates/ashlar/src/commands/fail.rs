//! `ashlar fail`: takes a member out of use, as if it had failed.

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
    Client::new(&place.socket()).fail(&args.member)?;
    Ok(print(&format!("{} has failed; that is recorded on the others\n", args.member))?)
}
