//! Our NBD server beside its peers, each driven by fio.

use anyhow::{Context, ensure};

use super::Arguments;
use super::job::Job;
use super::peers::Bench;
use super::report::{Report, Unit};
use super::summary::{Contender, Sample, cells};
use crate::shell;

/// Milliseconds that a job runs unless told.
const MILLISECONDS: u32 = 2000;

/// Measures servers.
pub fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let release =
        shell::succeeds(shell::cargo().args(["build", "--release", "--quiet", "--package", "ashlar"]))?;
    ensure!(release, "the release build failed");
    let bench = Bench::new(&arguments.members).context("preparing the members")?;
    let milliseconds = arguments.milliseconds.unwrap_or(MILLISECONDS);
    let mut samples = Vec::new();
    for round in 0..arguments.rounds {
        for job in Job::NBD {
            for target in bench.targets() {
                let rate = bench.measure(target, job, milliseconds);
                let rate = rate.with_context(|| format!("{} {}", target.name(), job.name()))?;
                samples.push(Sample { contender: target.name().to_owned(), job, round, rate });
            }
        }
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    let contenders: Vec<Contender> = bench.targets().map(|target| target.contender()).collect();
    Ok(Report {
        title: "Requests a second, as a ratio to nbdkit's file plugin in the same round",
        unit: Unit::Requests,
        cells: cells(&Job::NBD, &contenders, &samples),
        contenders,
        figures: Vec::new(),
        left_out: bench.left_out().to_vec(),
    })
}
