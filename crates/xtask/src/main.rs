//! Everything a person runs by hand: `cargo xtask test`, `oracle`, `sim`, `fuzz`, `man`, `tidy`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod oracle;

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Boot real Linux kernels on disk images.
    #[command(subcommand)]
    Oracle(oracle::Command),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Oracle(command) => oracle::run(command),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
