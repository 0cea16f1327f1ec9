//! The command line of `ashlar watch`.

use clap::Args;

use super::RunDir;

/// Watch what runs, live
///
/// Draws how everything that runs stands, or what runs under NAME, each second: members, sync actions, speeds, latencies, and
/// charts of the last two minutes. `q` leaves, the arrow keys go through the arrays. Where standard output is no terminal, a
/// line for each array is printed instead.
#[derive(Args, Debug)]
pub struct Watch {
    /// What to watch; everything that runs if not given
    pub name: Option<String>,
    /// End after so many looks
    #[arg(long, value_name = "LOOKS")]
    pub count: Option<u64>,
    #[command(flatten)]
    pub run_dir: RunDir,
}
