//! `cargo xtask oracle`: fetching kernels, building their guests, running scripts under them.

mod golden;
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
    /// Make golden images anew from their recipes, with the kernels that these name.
    Golden {
        /// The folder below golden/; all of them without it.
        name: Option<String>,
    },
}

/// One kernel or all of them.
#[derive(Clone)]
pub struct Kernels(Vec<Kernel>);

/// Does what was asked; the exit code is the script's where one ran.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    let say = |line: &str| eprintln!("oracle: {line}");
    match command {
        Command::Fetch { kernels: Kernels(kernels) } => {
            prepare::fetch(&kernels, &say)?;
            for kernel in kernels {
                prepare::build(kernel, &say)?;
            }
        }
        Command::Build { kernels: Kernels(kernels) } => {
            for kernel in kernels {
                prepare::build(kernel, &say)?;
            }
        }
        Command::Run(arguments) => return run::run(&arguments),
        Command::Golden { name } => golden::run(name.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn kernels(name: &str) -> Result<Kernels, String> {
    if name == "all" {
        return Ok(Kernels(Kernel::ALL.to_vec()));
    }
    name.parse().map(|kernel| Kernels(vec![kernel]))
}
