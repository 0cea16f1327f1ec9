//! Everything a person runs by hand: `cargo xtask test`, `bench`, `tidy`, `oracle`, `sim`, `fuzz`, `man`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod dispatch;
mod house;
mod oracle;
mod programs;
mod shell;
mod test;
mod tidy;

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that has to pass: form, lints, house rules, all tests, a real kernel, a little fuzzing.
    Test,
    /// Measure our NBD server beside its peers, or our arrays beside btrfs, in one run, as ratios.
    Bench(bench::Arguments),
    /// Check the rules of the house: imports, forbidden words, lengths, paths, the change log.
    Tidy,
    /// Boot real Linux kernels on disk images.
    #[command(subcommand)]
    Oracle(oracle::Command),
    /// Run scenarios in the simulator, or replay one by its seed.
    Sim(dispatch::Words),
    /// Throw hostile bytes at the formats, the protocols and the assembly.
    Fuzz(dispatch::Words),
    /// Write the manual pages into a folder.
    Man {
        /// The folder; it is made if need be.
        folder: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test => test::run(),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Tidy => tidy::run(),
        Task::Oracle(command) => oracle::run(command),
        Task::Sim(words) => dispatch::sim(&words),
        Task::Fuzz(words) => dispatch::fuzz(&words),
        Task::Man { folder } => dispatch::man(&folder),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
