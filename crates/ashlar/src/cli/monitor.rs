//! The command line of `ashlar monitor`, and its options for `ashlar run`.

use std::path::PathBuf;

use clap::Args;

use super::{Json, RunDir};

/// Tell a program, or somebody by mail, what happens to arrays
///
/// Looks at everything that runs, or at what runs under each NAME, again and again, and tells what changed. The events have
/// mdadm's names: Fail, FailSpare, SpareActive, RebuildStarted, RebuildNN, RebuildFinished, DegradedArray, NewArray,
/// DeviceDisappeared, SparesMissing, TestMessage. Each is a line on standard output. Ends by a signal, or after one look
/// with --once.
#[derive(Args, Debug)]
pub struct Monitor {
    /// What to look at; everything that runs if not given
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub telling: Telling,
    /// How many percent of a sync action are worth an event
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=99))]
    pub increment: u8,
    /// How often to look
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub delay: u64,
    /// Look once and end
    #[arg(long)]
    pub once: bool,
    /// Begin with a TestMessage about each array
    #[arg(long)]
    pub test: bool,
    #[command(flatten)]
    pub run_dir: RunDir,
    #[command(flatten)]
    pub json: Json,
}

/// Who is told of events.
#[derive(Args, Debug, Clone, Default)]
pub struct Telling {
    /// Call PROGRAM EVENT ARRAY [MEMBER] with each event
    #[arg(long, value_name = "PROGRAM")]
    pub program: Option<PathBuf>,
    /// Send mail to ADDRESS, by sendmail, with Fail, FailSpare, DegradedArray, SparesMissing and TestMessage
    #[arg(long, value_name = "ADDRESS")]
    pub mail: Option<String>,
    /// Spares that each array should have: SparesMissing tells where there are fewer
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    pub spares: u32,
}
