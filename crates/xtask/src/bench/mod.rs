//! `cargo xtask bench`: our NBD server beside its peers, in one run, as ratios.
//!
//! The machine's speed changes from minute to minute, so every target does the same job within each round, one after the
//! other, and what is compared is always the same minute. A figure is the median of the rounds; a ratio is the median of
//! the rounds' own ratios to nbdkit's. Never a test: no threshold fails anything.

mod fio;
mod peers;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};

use crate::shell;
use fio::Job;
use peers::{Bench, Target};

/// How the measurement is made.
#[derive(clap::Args)]
pub struct Arguments {
    /// Rounds; each target does each job once in a round.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Milliseconds that a job runs.
    #[arg(long, default_value_t = 2000)]
    milliseconds: u32,
    /// Where members live: memory by default, so that the servers are measured and not a disk.
    #[arg(long, default_value = "/dev/shm")]
    members: PathBuf,
    /// Where the report goes.
    #[arg(long, default_value = "target/bench")]
    report: PathBuf,
}

/// One measurement.
#[derive(Clone, Copy)]
struct Sample {
    target: Target,
    job: Job,
    round: u32,
    /// Requests a second.
    rate: f64,
}

/// Measures, prints a table, and writes `bench.json` and `bench.svg`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let release =
        shell::succeeds(shell::cargo().args(["build", "--release", "--quiet", "--package", "ashlar"]))?;
    ensure!(release, "the release build failed");
    let bench = Bench::new(&arguments.members).context("preparing the members")?;
    let mut samples = Vec::new();
    for round in 0..arguments.rounds {
        for job in Job::ALL {
            for target in bench.targets() {
                let rate = bench.measure(target, job, arguments.milliseconds);
                let rate = rate.with_context(|| format!("{} {}", target.name(), job.name()))?;
                samples.push(Sample { target, job, round, rate });
            }
        }
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    let summary = Summary::of(&samples);
    print!("{}", report::table(&summary, bench.left_out()));
    let folder = shell::root().join(&arguments.report);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("bench.json"), report::json(&summary))?;
    std::fs::write(folder.join("bench.svg"), report::svg(&summary))?;
    println!("\n{}", folder.join("bench.svg").display());
    Ok(ExitCode::SUCCESS)
}

/// The medians.
struct Summary {
    targets: Vec<Target>,
    cells: BTreeMap<(Job, Target), Cell>,
}

/// What came of one target at one job.
#[derive(Clone, Copy)]
struct Cell {
    rate: f64,
    /// To nbdkit's file plugin, round by round.
    ratio: f64,
    least: f64,
    most: f64,
}

impl Summary {
    fn of(samples: &[Sample]) -> Summary {
        let mut targets: Vec<Target> = samples.iter().map(|sample| sample.target).collect();
        targets.sort();
        targets.dedup();
        let mut cells = BTreeMap::new();
        for job in Job::ALL {
            for target in &targets {
                let own = samples.iter().filter(|sample| sample.job == job && sample.target == *target);
                let ratios = own.clone().filter_map(|sample| {
                    let same = |peer: &&Sample| {
                        peer.job == job && peer.round == sample.round && peer.target == Target::Nbdkit
                    };
                    samples.iter().find(same).map(|peer| sample.rate / peer.rate)
                });
                let rates: Vec<f64> = own.map(|sample| sample.rate).collect();
                let (rate, ratio) = (median(rates.clone()), median(ratios.collect()));
                let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
                let most = rates.iter().copied().fold(0.0, f64::max);
                cells.insert((job, *target), Cell { rate, ratio, least, most });
            }
        }
        Summary { targets, cells }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => (figures[even / 2 - 1] + figures[even / 2]) / 2.0,
    }
}
