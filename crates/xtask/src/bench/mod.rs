//! `cargo xtask bench`: our NBD server beside its peers; with `--raid`, our arrays beside a raw member and
//! btrfs; with `--fuse`, our volume as a file beside qemu-storage-daemon's; with `--cache`, a cache beside nbdkit's.
//!
//! The machine's speed changes from minute to minute, so all do the same job within each round, one after the other, and
//! what is compared is always the same minute. A figure is the median of the rounds; a ratio is the median of the rounds'
//! own ratios. Never a test: no threshold fails anything.

mod cache;
mod fio;
mod fuse;
mod ground;
mod job;
mod load;
mod nbd;
mod peers;
mod raid;
mod report;
mod server;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::shell;
use report::Report;

/// How the measurement is made.
#[derive(clap::Args)]
pub struct Arguments {
    /// Measure arrays within one process, without a server: beside a raw member and btrfs.
    #[arg(long)]
    raid: bool,
    /// Measure volumes as files: beside qemu-storage-daemon's FUSE export.
    #[arg(long, conflicts_with = "raid")]
    fuse: bool,
    /// Measure a cache: beside nbdkit's cache filter.
    #[arg(long, conflicts_with_all = ["raid", "fuse"])]
    cache: bool,
    /// Rounds; each contender does each job once in a round.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Milliseconds that a job runs: 2000, or 500 with --raid, which has many.
    #[arg(long)]
    milliseconds: Option<u32>,
    /// Where members live: memory by default, so that the program is measured and not a disk; --cache also measures where
    /// the report goes.
    #[arg(long, default_value = "/dev/shm")]
    members: PathBuf,
    /// MiB of a member of an array; there are six, and as many again for each btrfs that is measured.
    #[arg(long, default_value_t = 512, requires = "raid")]
    member_mib: u64,
    /// Where the report goes.
    #[arg(long, default_value = "target/bench")]
    report: PathBuf,
}

/// Measures, prints a table, and writes it as JSON and as SVG.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (name, report) = match (arguments.raid, arguments.fuse, arguments.cache) {
        (true, ..) => ("raid", raid::run(arguments)?),
        (_, true, _) => ("fuse", fuse::run(arguments)?),
        (.., true) => ("cache", cache::run(arguments)?),
        _ => ("bench", nbd::run(arguments)?),
    };
    write(arguments, name, &report)?;
    Ok(ExitCode::SUCCESS)
}

fn write(arguments: &Arguments, name: &str, report: &Report) -> anyhow::Result<()> {
    print!("{}", report.table());
    let folder = shell::root().join(&arguments.report);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name).with_extension("json"), report.json())?;
    let picture = folder.join(name).with_extension("svg");
    std::fs::write(&picture, report.svg())?;
    println!("\n{}", picture.display());
    Ok(())
}
