//! What an array's own work costs: checks and rebuilds with nothing else to do, beside what members or memory allow, and
//! clients beside a rebuild, beside the same clients alone.

use super::super::job::Job;
use super::super::load::Load;
use super::super::report::{Asked, Figure};
use super::super::summary::Spread;
use super::Level;
use super::engine::Engine;

/// Clients whose requests matter while something is rebuilt.
const CLIENTS: [Job; 2] = [Job::Read4kQd32, Job::Write4kQd32];

/// Ratios of all rounds, by figure and by array.
#[derive(Default)]
pub struct Syncs {
    checks: Ratios,
    rebuilds: Ratios,
    rates: Ratios,
    waits: Ratios,
}

#[derive(Default)]
struct Ratios(Vec<(String, Vec<f64>)>);

impl Ratios {
    fn add(&mut self, case: String, ratio: f64) {
        match self.0.iter_mut().find(|(name, _)| *name == case) {
            Some((_, ratios)) => ratios.push(ratio),
            None => self.0.push((case, vec![ratio])),
        }
    }

    fn figure(self, name: &'static str, asked: f64) -> Figure {
        let cases = self.0.into_iter().filter_map(|(case, ratios)| Some((case, Spread::of(ratios)?)));
        Figure { name, asked: Asked::AtLeast(asked), cases: cases.collect() }
    }
}

impl Syncs {
    /// One round of a level with one chunk size.
    pub fn measure(&mut self, engine: &Engine, level: Level, chunk_kib: u32) -> anyhow::Result<()> {
        let case = level.ours(chunk_kib);
        // Seconds that a byte takes, of all members together: a process has one thread, and they have one memory.
        let read = 1.0 / engine.raw(Job::Read1m)?;
        let write = 1.0 / engine.raw(Job::Write1m)?;
        let checked = engine.sync(level, chunk_kib, "check")?;
        self.checks.add(case.clone(), checked * level.members as f64 * read);
        let rebuilt = engine.sync(level, chunk_kib, "rebuild")?;
        let sources = if level.parities > 0 { level.data } else { 1 };
        self.rebuilds.add(case.clone(), rebuilt * (sources as f64 * read + write));
        for job in CLIENTS {
            let [alone, beside]: [Load; 2] = engine.beside_rebuild(level, chunk_kib, job)?;
            let case = format!("{case} {}", job.name());
            self.rates.add(case.clone(), beside.rate / alone.rate);
            self.waits.add(case, alone.p99_ns / beside.p99_ns);
        }
        Ok(())
    }

    /// What was found.
    pub fn figures(self) -> [Figure; 4] {
        [
            self.checks.figure("checks when idle, over what reading all members takes", 0.7),
            self.rebuilds.figure("rebuilds when idle, over what reading the others and writing takes", 0.7),
            self.rates.figure("4 KiB random load beside a rebuild, over the same alone", 0.5),
            self.waits.figure("its 99th percentile alone, over the one beside a rebuild", 0.25),
        ]
    }
}
