//! Our volume as a file beside qemu-storage-daemon's, each driven by fio with direct I/O.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::Arguments;
use super::fio::{self, Subject};
use super::ground::{Ground, fill};
use super::job::Job;
use super::report::{Report, Unit};
use super::server::Server;
use super::summary::{Contender, Sample, cells};
use crate::shell;

/// Bytes that every target serves.
const BYTES: u64 = 1 << 30;

/// Milliseconds that a job runs unless told.
const MILLISECONDS: u32 = 2000;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The file itself: the limit.
    Raw,
    /// qemu-storage-daemon's export of a file that it reads and writes by threads.
    Threads,
    /// The same by io_uring.
    Uring,
    /// Ours, a linear array of one member.
    Plain,
    /// Ours, two members.
    Raid1,
}

/// Measures files.
pub fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let release =
        shell::succeeds(shell::cargo().args(["build", "--release", "--quiet", "--package", "ashlar"]))?;
    ensure!(release, "the release build failed");
    let bench = Bench::new(&arguments.members).context("preparing the members")?;
    let milliseconds = arguments.milliseconds.unwrap_or(MILLISECONDS);
    let mut samples = Vec::new();
    for round in 0..arguments.rounds {
        for job in Job::NBD {
            for (target, file) in bench.files() {
                let rate = fio::run(job, &Subject::Direct(&file), milliseconds, BYTES);
                let rate = rate.with_context(|| format!("{} {}", target.name(), job.name()))?;
                samples.push(Sample { contender: target.name().to_owned(), job, round, rate });
            }
        }
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    let contenders: Vec<Contender> = bench.files().map(|(target, _)| target.contender()).collect();
    Ok(Report {
        title: "Requests a second, as a ratio to qemu-storage-daemon's in the same round",
        unit: Unit::Requests,
        cells: cells(&Job::NBD, &contenders, &samples),
        contenders,
        figures: Vec::new(),
        left_out: bench.left_out,
    })
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::Raw => "raw file",
            Target::Threads => "qemu threads",
            Target::Uring => "qemu io_uring",
            Target::Plain => "ashlar plain",
            Target::Raid1 => "ashlar raid1",
        }
    }

    fn contender(self) -> Contender {
        let against = match self {
            Target::Raw | Target::Threads | Target::Uring => Vec::new(),
            _ => [Target::Threads, Target::Uring].map(|peer| peer.name().to_owned()).to_vec(),
        };
        let colour = match self {
            Target::Raw | Target::Threads | Target::Uring => "#999999",
            Target::Plain => "#1b6ca8",
            Target::Raid1 => "#8cc4ea",
        };
        Contender { name: self.name().to_owned(), colour, against }
    }
}

/// Everything that runs while it is measured.
struct Bench {
    // Ended before the ground is cleared.
    servers: Vec<(Target, Server)>,
    ground: Ground,
    left_out: Vec<String>,
}

impl Bench {
    fn new(members: &Path) -> anyhow::Result<Bench> {
        let mut bench = Bench { servers: Vec::new(), ground: Ground::new(members)?, left_out: Vec::new() };
        fill(&bench.ground.path("raw.img"), BYTES)?;
        bench.peer(Target::Threads, "threads")?;
        bench.peer(Target::Uring, "io_uring")?;
        bench.ours(Target::Plain, "linear", &["plain.img"])?;
        bench.ours(Target::Raid1, "raid1", &["copy0.img", "copy1.img"])?;
        Ok(bench)
    }

    fn files(&self) -> impl Iterator<Item = (Target, PathBuf)> {
        let raw = [(Target::Raw, self.ground.path("raw.img"))];
        raw.into_iter().chain(self.servers.iter().map(|(target, server)| (*target, server.place.clone())))
    }

    fn peer(&mut self, target: Target, aio: &str) -> anyhow::Result<()> {
        let [image, place] = ["img", "mount"].map(|end| self.ground.path(&format!("{aio}.{end}")));
        std::fs::copy(self.ground.path("raw.img"), &image)?;
        File::create(&place)?;
        let mut run = self.command("qemu-storage-daemon");
        run.arg("--blockdev");
        run.arg(format!("driver=file,node-name=file,filename={},cache.direct=on,aio={aio}", image.display()));
        run.args(["--blockdev", "driver=raw,node-name=raw,file=file", "--export"]);
        run.arg(format!("type=fuse,id=export,node-name=raw,writable=on,mountpoint={}", place.display()));
        self.start(target, run, &place)
    }

    fn ours(&mut self, target: Target, level: &str, names: &[&str]) -> anyhow::Result<()> {
        let ashlar = shell::built("ashlar");
        let members: Vec<PathBuf> = names.iter().map(|name| self.ground.path(name)).collect();
        for member in &members {
            fill(member, BYTES + (16 << 20))?;
        }
        let mut create = shell::command(&ashlar);
        create.args(["create", "bench", "--level", level, "--assume-clean", "--overwrite"]).args(&members);
        shell::output(&mut create)?;
        let place = self.ground.path(&format!("{level}.mount"));
        let state = self.ground.path(&format!("{level}.state"));
        let mut run = self.command(&ashlar.to_string_lossy());
        run.arg("run").args(&members).arg("--fuse").arg(&place);
        run.arg("--run-dir").arg(&state).arg("--state-dir").arg(&state);
        self.start(target, run, &place)
    }

    /// Where our mounts are, if we may have a place of our own for them.
    fn command(&self, program: &str) -> Command {
        match self.ground.can_mount() {
            true => self.ground.command(program),
            false => shell::command(program),
        }
    }

    fn start(&mut self, target: Target, run: Command, place: &Path) -> anyhow::Result<()> {
        let file = match self.ground.can_mount() {
            true => self.ground.seen_from_outside(place),
            false => place.to_owned(),
        };
        let is_there = |file: &Path| std::fs::metadata(file).is_ok_and(|found| found.len() >= BYTES);
        match Server::start(run, file, is_there) {
            Ok(server) => self.servers.push((target, server)),
            Err(error) if matches!(target, Target::Threads | Target::Uring) => {
                let needs = "(Debian: apt install qemu-system-common fuse3)";
                self.left_out.push(format!("{}: {error:#} {needs}", target.name()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
