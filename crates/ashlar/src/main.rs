//! `ashlar`: the one binary. It wires the rooms of the house together and speaks with people; almost no logic.
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage.

mod cli;
mod commands;
mod dirs;
mod facts;
mod holds;
mod layouts;
mod members;
mod pile;
mod remote;
mod serve;
mod stack;
mod text;
mod volumes;
mod world;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// The system's, with a trap for what must not allocate (`run --armour=trap`).
#[global_allocator]
static ALLOCATOR: block::trap::Trapping = block::trap::Trapping;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let driver = cli.driver;
    let done = match cli.command {
        Command::Examine(args) => commands::examine::run(&args, driver),
        Command::Cat(args) => commands::cat::run(&args, driver),
        Command::Create(args) => commands::create::run(&args, driver),
        Command::Cache(args) => commands::cache::run(&args, driver),
        Command::Run(args) => commands::run::run(args, driver),
        Command::Undo(args) => commands::undo::run(&args, driver),
        Command::Update(args) => commands::update::run(&args, driver),
        Command::Status(args) => commands::status::run(&args),
        Command::Watch(args) => commands::watch::run(&args),
        Command::Monitor(args) => commands::monitor::run(&args),
        Command::Fail(args) => commands::fail::run(&args),
        Command::Remove(args) => commands::remove::run(&args),
        Command::Add(args) => commands::add::run(&args),
        Command::Replace(args) => commands::replace::run(&args),
        Command::Grow(args) => commands::grow::run(&args),
        Command::Scrub(args) => commands::scrub::run(&args),
        Command::Sync(args) => commands::sync::run(&args),
        Command::Wait(args) => commands::wait::run(&args),
        Command::Stop(args) => commands::stop::run(&args),
        Command::Demo(args) => commands::demo::run(&args, driver),
        Command::Servant(args) => commands::servant::run(&args),
        Command::Generate(args) => commands::generate::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ashlar: {error:#}");
            match error.is::<Usage>() {
                true => ExitCode::from(2),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// An error in how the program was called, found out only after the command line was parsed.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
