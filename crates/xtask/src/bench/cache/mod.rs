//! Our cache beside nbdkit's, each driven by fio over NBD, and the file that the cache lies on. What it costs by itself is
//! measured without a server (`engine.rs`).
//!
//! Everything that is read was written before and is in the cache, so reads are hits; writes stay in it. Nothing goes past
//! ours for being sequential, and nothing is written back meanwhile: nbdkit does neither.

mod engine;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, ensure};

use super::Arguments;
use super::fio::{self, Subject};
use super::ground::{Ground, fill};
use super::job::Job;
use super::report::{Report, Unit};
use super::server::Server;
use super::summary::{Contender, Sample, cells};
use crate::shell;
use engine::Engine;

/// Bytes of the volume. The cache is four times as large: more than two fifths of it in use, and writes go to both devices.
const BYTES: u64 = 256 << 20;
const CACHE_BYTES: u64 = 4 * BYTES;

/// Milliseconds that a job runs unless told.
const MILLISECONDS: u32 = 2000;

const RAW: &str = "raw file";
const FILE: &str = "nbdkit file";
const PEER: &str = "nbdkit cache";
const OURS: &str = "ashlar cache";

/// Measures caches.
pub fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let release =
        shell::succeeds(shell::cargo().args(["build", "--release", "--quiet", "--package", "ashlar"]))?;
    ensure!(release, "the release build failed");
    let ground = Ground::new(&arguments.members)?;
    let raw = ground.path("raw.img");
    fill(&raw, BYTES)?;
    let servers = [(FILE, file(&ground)?), (PEER, peer(&ground)?), (OURS, ours(&ground)?)];
    let milliseconds = arguments.milliseconds.unwrap_or(MILLISECONDS);
    let mut samples = Vec::new();
    let mut engine =
        Engine::new(arguments, milliseconds).context("preparing the engine's own measurement")?;
    for round in 0..arguments.rounds {
        engine.measure()?;
        for job in Job::NBD {
            let mut measure = |name: &str, subject: Subject<'_>| -> anyhow::Result<()> {
                let rate = fio::run(job, &subject, milliseconds, BYTES);
                let rate = rate.with_context(|| format!("{name} {}", job.name()))?;
                samples.push(Sample { contender: name.to_owned(), job, round, rate });
                Ok(())
            };
            measure(RAW, Subject::File(&raw))?;
            for (name, server) in &servers {
                measure(name, Subject::Nbd(&server.place))?;
            }
        }
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    let contenders = Vec::from([RAW, FILE, PEER, OURS].map(contender));
    Ok(Report {
        title: "Requests a second, as a ratio to nbdkit's cache filter in the same round",
        unit: Unit::Requests,
        cells: cells(&Job::NBD, &contenders, &samples),
        contenders,
        figures: engine.figures(),
        left_out: Vec::new(),
    })
}

fn contender(name: &'static str) -> Contender {
    let against: &[&str] = if name == OURS { &[PEER, FILE] } else { &[] };
    let colour = if name == OURS { "#1b6ca8" } else { "#999999" };
    Contender {
        name: name.to_owned(),
        colour,
        against: against.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// What serving by NBD costs alone.
fn file(ground: &Ground) -> anyhow::Result<Server> {
    let socket = ground.path("file.sock");
    let mut run = shell::command("nbdkit");
    run.args(["-f", "-U"]).arg(&socket).arg("file").arg(ground.path("raw.img"));
    Server::start(run, socket, Path::exists)
}

fn peer(ground: &Ground) -> anyhow::Result<Server> {
    let (socket, slow) = (ground.path("peer.sock"), ground.path("slow.img"));
    File::create(&slow)?.set_len(BYTES)?;
    let mut run = shell::command("nbdkit");
    run.env("TMPDIR", ground.path("")).args(["-f", "-U"]).arg(&socket).arg("--filter=cache").arg("file");
    run.arg(&slow).args(["cache=writeback", "cache-on-read=true"]);
    let server = Server::start(run, socket, Path::exists)?;
    warm(ground, &server.place)?;
    Ok(server)
}

fn ours(ground: &Ground) -> anyhow::Result<Server> {
    let ashlar = shell::built("ashlar");
    let [cache, backing, socket, places] =
        ["cache.img", "backing.img", "ours.sock", "ours.state"].map(|name| ground.path(name));
    File::create(&cache)?.set_len(CACHE_BYTES)?;
    File::create(&backing)?.set_len(BYTES + (1 << 20))?;
    let mut create = shell::command(&ashlar);
    create.args(["cache", "create", "--bucket", "512K", "--mode", "writeback", "--cache"]).arg(&cache);
    shell::output(create.arg("--backing").arg(&backing))?;
    let mut run = shell::command(&ashlar);
    run.arg("run").args([&cache, &backing]).args(["--name", "bench", "--nbd"]).arg(&socket);
    run.arg("--run-dir").arg(&places).arg("--state-dir").arg(&places);
    let server = Server::start(run, socket, Path::exists)?;
    let set = |words: &[&str]| {
        let mut set = shell::command(&ashlar);
        shell::output(set.args(["cache", "set", "bench"]).args(words).arg("--run-dir").arg(&places))
    };
    set(&["sequential_cutoff=0", "writeback_running=0"])?;
    set(&["--cache", "congested_read_threshold_us=0", "congested_write_threshold_us=0"])?;
    warm(ground, &server.place)?;
    Ok(server)
}

/// Writes everything, so that it is in the cache.
fn warm(ground: &Ground, socket: &Path) -> anyhow::Result<()> {
    let mut copy = shell::command("nbdcopy");
    copy.arg(ground.path("raw.img")).arg(format!("nbd+unix:///?socket={}", socket.display()));
    shell::output(&mut copy).context("filling a volume with nbdcopy")?;
    Ok(())
}
