//! `cargo xtask oracle`: fetching kernels, building their guests, running scripts under them.

mod run;

use std::process::ExitCode;

use ::oracle::{Kernel, prepare};
use clap::Subcommand;

/// What to do with the kernels.
#[derive(Subcommand)]
pub enum Command {
    /// Download the packages of kernels and build their guests; installs nothing.
    Fetch {
        /// uml, 6.1, 6.12, 7.2 or all.
        #[arg(default_value = "uml", value_parser = kernels)]
        kernels: Kernels,
    },
    /// Build the guests anew from the packages that are there.
    Build {
        /// uml, 6.1, 6.12, 7.2 or all.
        #[arg(default_value = "uml", value_parser = kernels)]
        kernels: Kernels,
    },
    /// Run a shell script under a kernel.
    Run(run::Arguments),
}

/// One kernel or all of them.
#[derive(Clone)]
pub struct Kernels(Vec<Kernel>);

/// Does what was asked; the exit code is the script's where one ran.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    let say = |line: &str| eprintln!("oracle: {line}");
    match command {
        Command::Fetch { kernels: Kernels(kernels) } => {
            for kernel in kernels {
                prepare::fetch(kernel, &say)?;
                prepare::build(kernel, &say)?;
            }
        }
        Command::Build { kernels: Kernels(kernels) } => {
            for kernel in kernels {
                prepare::build(kernel, &say)?;
            }
        }
        Command::Run(arguments) => return run::run(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}

fn kernels(name: &str) -> Result<Kernels, String> {
    if name == "all" {
        return Ok(Kernels(Kernel::ALL.to_vec()));
    }
    name.parse().map(|kernel| Kernels(vec![kernel]))
}
