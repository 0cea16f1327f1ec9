//! Our arrays, loaded within one process, beside one raw member and beside btrfs with the same profile.
//!
//! One level after the other has its turn in a round: whoever serves it does each job, one straight after the other, and
//! only figures of the same turn are compared. What btrfs does after it has lost a device comes at the end of the turn.

mod btrfs;
mod engine;
mod figures;
mod sync;

use anyhow::{Context, ensure};

use super::Arguments;
use super::ground::Ground;
use super::job::Job;
use super::load;
use super::report::{Report, Unit};
use super::summary::{Contender, Sample, cells};
use crate::shell;
use btrfs::Btrfs;
use engine::Engine;
use sync::Syncs;

/// Milliseconds that a job runs unless told.
const MILLISECONDS: u32 = 500;

/// One member, without an array.
const RAW: &str = "raw member";

/// A level as it is measured.
#[derive(Clone, Copy)]
pub struct Level {
    /// For md and for btrfs.
    name: &'static str,
    members: usize,
    /// How many of a stripe's chunks are parity.
    parities: usize,
    /// How many members' worth of data it holds.
    data: usize,
    /// KiB of our chunks; nothing to choose where there are none.
    chunks_kib: &'static [u32],
}

const LEVELS: [Level; 5] = [
    Level { name: "raid1", members: 2, parities: 0, data: 1, chunks_kib: &[0] },
    Level { name: "raid10", members: 4, parities: 0, data: 2, chunks_kib: &[64, 512] },
    Level { name: "raid5", members: 5, parities: 1, data: 4, chunks_kib: &[64, 512] },
    Level { name: "raid6", members: 6, parities: 2, data: 4, chunks_kib: &[64, 512] },
    // With a private log: what closing the write hole costs.
    Level { name: "raid6-log", members: 6, parities: 2, data: 4, chunks_kib: &[64, 512] },
];

impl Level {
    fn ours(self, chunk_kib: u32) -> String {
        match chunk_kib {
            0 => format!("ashlar {}", self.name),
            chunk => format!("ashlar {} {chunk}K", self.name),
        }
    }

    fn btrfs(self, is_in_place: bool) -> String {
        format!("btrfs {}{}", self.name, if is_in_place { " nodatacow" } else { "" })
    }

    /// Whether there is anything of the kind elsewhere.
    fn has_peers(self) -> bool {
        !self.name.ends_with("-log")
    }

    /// Whether btrfs is also measured without copy on write and checksums: where that is what makes it slow.
    fn has_in_place(self) -> bool {
        self.parities > 0
    }

    fn jobs(self) -> impl Iterator<Item = Job> {
        Job::HEALTHY.into_iter().filter(move |job| *job != Job::Stripes || self.parities > 0)
    }

    fn contenders(self) -> Vec<Contender> {
        let modes = [false, true].into_iter().filter(move |in_place| !in_place || self.has_in_place());
        let modes = modes.filter(|_| self.has_peers());
        let peers: Vec<String> = modes.map(|in_place| self.btrfs(in_place)).collect();
        let raw = [RAW.to_owned()];
        let ours = self.chunks_kib.iter().map(|chunk| {
            let colour = if *chunk == 512 { "#3f9ad6" } else { "#1b6ca8" };
            let against = raw.iter().chain(&peers).cloned().collect();
            Contender { name: self.ours(*chunk), colour, against }
        });
        let theirs = peers.iter().map(|peer| {
            let colour = "#bbbbbb";
            Contender { name: peer.clone(), colour, against: raw.to_vec() }
        });
        ours.chain(theirs).collect()
    }
}

/// Measures arrays.
pub fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let mut build = shell::cargo();
    build.args(["build", "--release", "--quiet", "--package", "parity", "--example", "throughput"]);
    ensure!(shell::succeeds(&mut build)?, "the release build failed");
    load::build()?;
    let ground = Ground::new(&arguments.members)?;
    let milliseconds = arguments.milliseconds.unwrap_or(MILLISECONDS);
    let bytes = arguments.member_mib << 20;
    let engine = Engine::new(&ground, bytes, milliseconds).context("preparing the members")?;
    let mut left_out = btrfs::missing(&ground);
    let has_btrfs = left_out.is_empty();
    let mut samples = Samples::default();
    let mut syncs = Syncs::default();
    for round in 0..arguments.rounds {
        for level in LEVELS {
            samples.turn += 1;
            let mut peers = match has_btrfs && level.has_peers() {
                true => peers(&ground, level, bytes)?,
                false => Vec::new(),
            };
            turn(level, &engine, &mut peers, milliseconds, &mut samples)
                .with_context(|| format!("measuring {}", level.name))?;
            for chunk in level.chunks_kib {
                let measured = syncs.measure(&engine, level, *chunk);
                measured.with_context(|| format!("measuring syncs of {}", level.name))?;
            }
        }
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    let raw = Contender { name: RAW.to_owned(), colour: "#999999", against: Vec::new() };
    let contenders: Vec<Contender> =
        [raw].into_iter().chain(LEVELS.into_iter().flat_map(Level::contenders)).collect();
    let mut jobs: Vec<Job> = [Job::HEALTHY.as_slice(), Job::DEGRADED.as_slice()].concat();
    jobs.sort();
    let (parity, no_parity) = figures::parity()?;
    left_out.extend(no_parity);
    Ok(Report {
        title: "Rates as ratios to one raw member's in the same round",
        unit: Unit::Bytes,
        cells: cells(&jobs, &contenders, &samples.all),
        contenders,
        figures: figures::of_arrays(&samples.all)
            .into_iter()
            .chain(syncs.figures())
            .chain([parity])
            .collect(),
        left_out,
    })
}

#[derive(Default)]
struct Samples {
    all: Vec<Sample>,
    turn: u32,
}

impl Samples {
    fn add(&mut self, contender: String, job: Job, rate: f64) {
        self.all.push(Sample { contender, job, round: self.turn, rate });
    }
}

/// btrfs with a level's profile, in every mode it is measured in.
fn peers<'a>(ground: &'a Ground, level: Level, bytes: u64) -> anyhow::Result<Vec<Btrfs<'a>>> {
    let modes = [false, true].into_iter().filter(|in_place| !in_place || level.has_in_place());
    let make = |in_place| {
        Btrfs::new(ground, level, bytes, in_place)
            .with_context(|| format!("making {}", level.btrfs(in_place)))
    };
    modes.map(make).collect()
}

/// Everybody does every job once.
fn turn(
    level: Level,
    engine: &Engine,
    peers: &mut [Btrfs<'_>],
    milliseconds: u32,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    for job in level.jobs() {
        let raw = engine.raw(job)?;
        samples.add(RAW.to_owned(), job, raw);
        // A raw member has nothing to lose: what it does healthy is what all are compared with.
        job.degraded().into_iter().for_each(|degraded| samples.add(RAW.to_owned(), degraded, raw));
        for chunk in level.chunks_kib {
            samples.add(level.ours(*chunk), job, engine.healthy(level, *chunk, job)?);
            if let Some(degraded) = job.degraded() {
                samples.add(level.ours(*chunk), degraded, engine.degraded(level, *chunk, job)?);
            }
        }
        for peer in &*peers {
            samples.add(level.btrfs(peer.is_in_place()), job, peer.measure(job, milliseconds)?);
        }
    }
    for peer in peers {
        peer.lose_one()?;
        for job in Job::DEGRADED {
            samples.add(level.btrfs(peer.is_in_place()), job, peer.measure(job, milliseconds)?);
        }
    }
    Ok(())
}
