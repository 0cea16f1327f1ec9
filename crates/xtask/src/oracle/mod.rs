//! `cargo xtask oracle`: fetching kernels, building their guests, running scripts under them.

mod crashes;
mod golden;
mod live;
mod run;

use std::process::ExitCode;

use ::oracle::{Kernel, prepare};
use clap::Subcommand;

use crate::shell;

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
    /// Give a kernel what random power cuts left of caches in the simulator.
    Crashes(crashes::Arguments),
    /// Let a guest with little memory write to a file system on its own volume, and report every stall.
    Live(live::Arguments),
    /// Repeat every test that boots a kernel (their names say `kernel`) under one kernel or all of them.
    Test {
        /// uml, 6.1, 6.12, 7.2 or all.
        #[arg(default_value = "all", value_parser = kernels)]
        kernels: Kernels,
    },
    /// Everything by hand: fetch all kernels, and repeat every test that boots one under each.
    All,
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
    match command {
        Command::Fetch { kernels: Kernels(kernels) } => fetch(&kernels)?,
        Command::Build { kernels: Kernels(kernels) } => build(&kernels)?,
        Command::Run(arguments) => return run::run(&arguments),
        Command::Crashes(arguments) => return crashes::run(&arguments),
        Command::Live(arguments) => return live::run(&arguments),
        Command::Test { kernels: Kernels(kernels) } => return judge(&kernels),
        Command::All => {
            fetch(&Kernel::ALL)?;
            return judge(&Kernel::ALL);
        }
        Command::Golden { name } => golden::run(name.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn fetch(kernels: &[Kernel]) -> anyhow::Result<()> {
    prepare::fetch(kernels, &say)?;
    build(kernels)
}

fn build(kernels: &[Kernel]) -> anyhow::Result<()> {
    for &kernel in kernels {
        prepare::build(kernel, &say)?;
    }
    Ok(())
}

/// Runs the tests that boot a kernel under each of `kernels`, with all the cases for which `cargo xtask test` has no
/// time, and goes on after a failure.
fn judge(kernels: &[Kernel]) -> anyhow::Result<ExitCode> {
    let mut failed = Vec::new();
    for &kernel in kernels {
        println!("\n== tests under the {kernel} kernel");
        let mut tests = shell::cargo();
        tests.args(["test", "--workspace", "--no-fail-fast", "--tests", "--", "kernel"]);
        tests.env("ASHLAR_KERNEL", kernel.name()).env("ASHLAR_THOROUGH", "1");
        if !shell::succeeds(&mut tests)? {
            failed.push(kernel.name());
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("oracle: tests failed under {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn say(line: &str) {
    eprintln!("oracle: {line}");
}

fn kernels(name: &str) -> Result<Kernels, String> {
    if name == "all" {
        return Ok(Kernels(Kernel::ALL.to_vec()));
    }
    name.parse().map(|kernel| Kernels(vec![kernel]))
}
