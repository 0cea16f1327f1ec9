//! Plays seeds: `simulation --seeds 0..1000`, or one again: `simulation --seed 17`.

use std::process::ExitCode;

use clap::Parser;
use md::plant::Plant;
use simulation::stack::{self, Planted};
use simulation::{Violation, has_journal, has_log, run_seed};

/// Plays seeds of the simulated world and says which of them broke an invariant.
#[derive(Parser)]
struct Arguments {
    /// How many seeds to play.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only those whose array has a log against the write hole.
    #[arg(long)]
    logs: bool,
    /// Only those whose array has a write journal.
    #[arg(long)]
    journals: bool,
    /// Those of caches instead of arrays.
    #[arg(long)]
    caches: bool,
    /// Those of stacks of arrays and caches.
    #[arg(long)]
    stacks: bool,
    /// Play this one alone, and say what it stands for.
    #[arg(long)]
    seed: Option<u64>,
    /// Plant a defect (by its name), to see it found.
    #[arg(long)]
    plant: Option<String>,
    /// Plant each defect in turn, and fail if one is not found.
    #[arg(long)]
    plants: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.caches {
        let good = match arguments.seed {
            Some(seed) => play_cache(seed, true),
            None if arguments.plants => {
                let wanted = |plant: &bcache::plant::Plant| {
                    arguments.plant.as_ref().is_none_or(|name| format!("{plant:?}") == *name)
                };
                let plants = bcache::plant::Plant::BY_SEEDS.into_iter().filter(wanted);
                plants.map(|plant| finds_in_cache(plant, seeds(&arguments))).filter(|found| !found).count()
                    == 0
            }
            None => play_caches(seeds(&arguments)),
        };
        return if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let plant = match arguments.plant.as_deref().map(by_name).transpose() {
        Ok(plant) => plant,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    if (plant.is_some() || arguments.plants) && !cfg!(debug_assertions) {
        eprintln!("planted defects need debug assertions: cargo run --profile sim -p simulation -- ...");
        return ExitCode::from(2);
    }
    if arguments.stacks {
        let plant = plant.map(Planted::Md);
        let good = match (arguments.seed, arguments.plants) {
            (Some(seed), _) => play_stack(seed, plant, true),
            (None, true) => stack::PLANTS.into_iter().all(|plant| finds_in_stack(plant, seeds(&arguments))),
            (None, false) => play_stacks(seeds(&arguments), plant),
        };
        return if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let good = match (arguments.seed, arguments.plants) {
        (Some(seed), _) => play_one(seed, plant),
        (None, true) => Plant::ALL.into_iter().all(|plant| finds(plant, seeds(&arguments))),
        (None, false) => play(seeds(&arguments), plant),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The seeds that were asked for.
fn seeds(arguments: &Arguments) -> impl Iterator<Item = u64> + use<> {
    let (logs, journals) = (arguments.logs, arguments.journals);
    let all = arguments.from..arguments.from.saturating_add(arguments.seeds);
    all.filter(move |seed| (!logs || has_log(*seed)) && (!journals || has_journal(*seed)))
}

fn by_name(name: &str) -> Result<Plant, String> {
    let known = || Plant::ALL.iter().map(|plant| format!("{plant:?}")).collect::<Vec<_>>().join(", ");
    let found = Plant::ALL
        .into_iter()
        .chain([Plant::SlotsShared])
        .find(|plant| format!("{plant:?}").eq_ignore_ascii_case(name));
    found.ok_or_else(|| format!("no defect is called {name}; there are {}", known()))
}

fn play_one(seed: u64, plant: Option<Plant>) -> bool {
    let report = run_seed(seed, plant);
    println!("seed {seed}: {}", report.scenario.describe());
    println!(
        "{} events, {} members failed, {} resyncs, {} recoveries, {} connections broken",
        report.events, report.failures, report.resyncs, report.recoveries, report.breaks
    );
    for violation in &report.violations {
        println!("  {violation}");
    }
    report.violations.is_empty()
}

fn play(seeds: impl Iterator<Item = u64>, plant: Option<Plant>) -> bool {
    let mut count = 0;
    let (mut bad, mut events, mut failures, mut resyncs, mut recoveries, mut breaks) = (0, 0, 0, 0, 0, 0);
    let (mut replays, mut degraded_replays, mut rows) = (0, 0, 0);
    for seed in seeds {
        count += 1;
        let report = run_seed(seed, plant);
        events += report.events;
        failures += report.failures;
        resyncs += report.resyncs;
        recoveries += report.recoveries;
        breaks += report.breaks;
        replays += report.replays;
        degraded_replays += report.degraded_replays;
        rows += report.rows_replayed;
        if let Some(violation) = report.violations.first() {
            bad += 1;
            println!("seed {seed}: {violation}");
            println!("  again: cargo xtask sim --seed {seed}");
        }
    }
    println!(
        "{count} seeds, {bad} bad; {events} events, {failures} members failed, {resyncs} resyncs and {recoveries} \
         recoveries completed, {breaks} connections broken, {replays} and {degraded_replays} degraded arrays made \
         right by a log, {rows} rows by a journal"
    );
    bad == 0
}

/// Plays a seed of caches; says what it stands for if asked to, or if it is bad.
fn play_cache(seed: u64, says: bool) -> bool {
    let report = simulation::cache::run_seed(seed, None);
    if says || !report.violations.is_empty() {
        println!("seed {seed}: {}, {} events", report.scenario.describe(), report.events);
    }
    for violation in report.violations.iter().take(5) {
        println!("  {violation}");
    }
    report.violations.is_empty()
}

fn finds_in_cache(plant: bcache::plant::Plant, seeds: impl Iterator<Item = u64>) -> bool {
    let play = |seed| simulation::cache::run_seed(seed, Some(plant)).violations;
    found(&format!("{plant:?}"), seeds, play)
}

fn play_caches(seeds: impl Iterator<Item = u64>) -> bool {
    let (mut count, mut bad) = (0, 0);
    for seed in seeds {
        count += 1;
        bad += u64::from(!play_cache(seed, false));
    }
    println!("{count} seeds of caches, {bad} bad");
    bad == 0
}

/// Plays a seed of stacks; says what it stands for if asked to, or if it is bad.
fn play_stack(seed: u64, plant: Option<Planted>, says: bool) -> bool {
    let report = stack::run_seed(seed, plant);
    if says || !report.violations.is_empty() {
        println!("seed {seed}: {}", report.scenario.describe());
        let refused = if report.is_refused { ", refused in the end" } else { "" };
        println!("  {} events in {} eras{refused}", report.events, report.eras);
    }
    for violation in report.violations.iter().take(5) {
        println!("  {violation}");
    }
    report.violations.is_empty()
}

fn play_stacks(seeds: impl Iterator<Item = u64>, plant: Option<Planted>) -> bool {
    let (mut count, mut bad) = (0, 0);
    for seed in seeds {
        count += 1;
        bad += u64::from(!play_stack(seed, plant, false));
    }
    println!("{count} seeds of stacks, {bad} bad");
    bad == 0
}

fn finds_in_stack(plant: Planted, seeds: impl Iterator<Item = u64>) -> bool {
    let play = |seed| stack::run_seed(seed, Some(plant)).violations;
    found(&format!("{plant:?}"), seeds, play)
}

fn finds(plant: Plant, seeds: impl Iterator<Item = u64>) -> bool {
    found(&format!("{plant:?}"), seeds, |seed| run_seed(seed, Some(plant)).violations)
}

/// Whether one of the seeds finds a planted defect.
fn found(plant: &str, seeds: impl Iterator<Item = u64>, mut play: impl FnMut(u64) -> Vec<Violation>) -> bool {
    let mut count = 0;
    for seed in seeds {
        count += 1;
        if let Some(violation) = play(seed).first() {
            println!("{plant}: found by seed {seed}, after {count} seeds: {violation}");
            return true;
        }
    }
    println!("{plant}: NOT found by {count} seeds");
    false
}
