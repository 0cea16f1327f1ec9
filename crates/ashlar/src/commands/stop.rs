//! `ashlar stop`: ends what runs, and returns when its members are free.

use std::time::Duration;

use anyhow::{Result, bail};
use control::Client;

use super::status::place;
use crate::cli::Stop;
use crate::dirs;
use crate::text::print;

/// How long a process may take to end once everything is written.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs the command.
pub fn run(args: &Stop) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let place = place(&dir, &args.name)?;
    let told = Client::new(&place.socket()).stop();
    if !place.wait_until_free(PATIENCE) {
        bail!("{} has written everything but does not end; see what its process waits for", args.name);
    }
    told?;
    Ok(print(&format!("{} has stopped\n", args.name))?)
}
