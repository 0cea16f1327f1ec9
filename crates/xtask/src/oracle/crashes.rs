//! `cargo xtask oracle crashes`: what random power cuts left of caches in the simulator, given to a real kernel, seed after seed.

use std::ops::Range;
use std::process::{ExitCode, Stdio};

use ::oracle::{Kernel, ready};
use anyhow::Context;

use crate::programs::{self, Program};
use crate::shell;

/// The words of the command line.
#[derive(clap::Args)]
pub struct Arguments {
    /// Seeds, as FROM..TO.
    #[arg(long, default_value = "0..200", value_parser = seeds)]
    seeds: Range<u64>,
    /// uml, 6.1, 6.12 or 7.2.
    #[arg(long, default_value = "uml")]
    kernel: Kernel,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let both = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    both.filter(|seeds| !seeds.is_empty())
        .ok_or_else(|| format!("{text} is no range of seeds, expected FROM..TO"))
}

/// Goes on after a seed that fails: what it said lies in `target/crashes`, and the seed makes the same disks again.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    ready(arguments.kernel)?;
    let programs = programs::build(&["--quiet", "--package", "simulation", "--test", "kernel_cache"])?;
    let Program { mut command, .. } =
        programs.and_then(|them| them.into_iter().next()).context("nothing was built")?;
    command.env("ASHLAR_KERNEL", arguments.kernel.name()).stdin(Stdio::null());
    let folder = shell::root().join("target/crashes");
    std::fs::create_dir_all(&folder)?;
    let (mut passed, mut failed) = (0, Vec::new());
    for seed in arguments.seeds.clone() {
        command.env("ASHLAR_SEEDS", format!("{seed}..{}", seed + 1));
        let ended = command.output().context("cannot start the test")?;
        if ended.status.success() {
            passed += 1;
        } else {
            let said = folder.join(format!("{seed}.txt"));
            std::fs::write(&said, [ended.stdout, ended.stderr].concat())?;
            println!("seed {seed} failed: {}", said.display());
            failed.push(seed.to_string());
        }
        eprint!(
            "\r{} of {} seeds, {} failed ",
            passed + failed.len(),
            arguments.seeds.clone().count(),
            failed.len()
        );
    }
    eprintln!();
    println!(
        "under the {} kernel: {passed} passed, {} failed {}",
        arguments.kernel,
        failed.len(),
        failed.join(" ")
    );
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
