//! `ashlar sync`: holds up, ends and bounds what an array does to itself.

use anyhow::Result;
use control::{Client, SyncOrder};

use super::status::place;
use crate::cli::{Sync, SyncAction};
use crate::dirs;
use crate::text::print;

/// Runs the command.
pub fn run(args: &Sync) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let place = place(&dir, &args.name)?;
    let client = Client::new(&place.socket());
    let tell = |order| client.sync(args.array.as_deref(), order);
    if args.speed_min.is_some() || args.speed_max.is_some() {
        tell(SyncOrder::Speed { min: args.speed_min, max: args.speed_max })?;
    }
    if args.from.is_some() || args.to.is_some() {
        tell(SyncOrder::ScrubBounds { from: args.from, to: args.to })?;
    }
    if let Some(count) = args.max_read_errors {
        tell(SyncOrder::MaxReadErrors { count })?;
    }
    let Some(action) = args.action else { return Ok(()) };
    let (order, done) = match action {
        SyncAction::Pause => (SyncOrder::Freeze, "nothing is synced until `resume`"),
        SyncAction::Resume => (SyncOrder::Resume, "syncs go on"),
        SyncAction::Idle => (SyncOrder::Idle, "what ran has ended"),
        SyncAction::Check => (SyncOrder::Check, "comparing"),
        SyncAction::Repair => (SyncOrder::Repair, "comparing and repairing"),
        SyncAction::TrustParity => {
            (SyncOrder::TrustParity, "what parity says of lost data is taken as it is")
        }
    };
    tell(order)?;
    Ok(print(&format!("{}: {done}\n", args.name))?)
}
