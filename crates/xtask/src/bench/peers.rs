//! Who is measured: the raw file, nbdkit, qemu-nbd, and ours on a plain member, a stripe and a mirror.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::fio::{self, Subject};
use super::ground::{Ground, fill};
use super::job::Job;
use super::server::Server;
use super::summary::Contender;
use crate::shell;

/// Bytes that every target serves.
const BYTES: u64 = 1 << 30;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The file itself, by io_uring: the limit.
    Raw,
    /// nbdkit's file plugin: the peer that counts.
    Nbdkit,
    /// qemu-nbd.
    QemuNbd,
    /// Ours, a linear array of one member.
    Plain,
    /// Ours, two members.
    Raid0,
    /// Ours, two members.
    Raid1,
}

impl Target {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Target::Raw => "raw file",
            Target::Nbdkit => "nbdkit file",
            Target::QemuNbd => "qemu-nbd",
            Target::Plain => "ashlar plain",
            Target::Raid0 => "ashlar raid0",
            Target::Raid1 => "ashlar raid1",
        }
    }

    /// As the report has it: all beside nbdkit's file plugin.
    pub fn contender(self) -> Contender {
        let against = match self {
            Target::Raw => Vec::new(),
            _ => vec![Target::Nbdkit.name().to_owned()],
        };
        let colour = match self {
            Target::Raw | Target::Nbdkit => "#999999",
            Target::QemuNbd => "#bbbbbb",
            Target::Plain => "#1b6ca8",
            Target::Raid0 => "#3f9ad6",
            Target::Raid1 => "#8cc4ea",
        };
        Contender { name: self.name().to_owned(), colour, against }
    }
}

/// Everything that runs while it is measured. Dropping it ends the servers and removes the members.
pub struct Bench {
    // Ended before the ground is cleared.
    servers: Vec<(Target, Server)>,
    ground: Ground,
    left_out: Vec<String>,
}

impl Bench {
    /// Makes the members in a folder below `members` and starts the servers.
    pub fn new(members: &Path) -> anyhow::Result<Bench> {
        let ground = Ground::new(members)?;
        let mut bench = Bench { servers: Vec::new(), ground, left_out: Vec::new() };
        let raw = bench.path("raw.img");
        fill(&raw, BYTES)?;
        bench.start(Target::Nbdkit, "nbdkit", |run, socket| {
            run.args(["-f", "-U"]).arg(socket).arg("file").arg(&raw);
        })?;
        bench.start(Target::QemuNbd, "qemu-nbd", |run, socket| {
            run.args(["-t", "-e", "8", "-f", "raw", "-k"]).arg(socket).arg(&raw);
        })?;
        bench.ours(Target::Plain, "linear", &["plain.img"], BYTES)?;
        bench.ours(Target::Raid0, "raid0", &["stripe0.img", "stripe1.img"], BYTES / 2)?;
        bench.ours(Target::Raid1, "raid1", &["copy0.img", "copy1.img"], BYTES)?;
        Ok(bench)
    }

    /// What could not be started, and why.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// What is measured.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        [Target::Raw].into_iter().chain(self.servers.iter().map(|(target, _)| *target))
    }

    /// Lets fio do a job on a target.
    pub fn measure(&self, target: Target, job: Job, milliseconds: u32) -> anyhow::Result<f64> {
        let raw = self.path("raw.img");
        let server = self.servers.iter().find(|(running, _)| *running == target);
        let subject = match server {
            Some((_, server)) => Subject::Nbd(&server.place),
            None => Subject::File(&raw),
        };
        fio::run(job, &subject, milliseconds, BYTES)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.ground.path(name)
    }

    fn ours(&mut self, target: Target, level: &str, names: &[&str], bytes: u64) -> anyhow::Result<()> {
        let ashlar = shell::built("ashlar");
        let members: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        for member in &members {
            File::create(member)?.set_len(bytes + (16 << 20))?;
        }
        let mut create = shell::command(&ashlar);
        create.args(["create", "bench", "--level", level, "--assume-clean"]).args(&members);
        shell::output(&mut create)?;
        let places = self.path(names[0]).with_extension("state");
        self.start(target, ashlar, |run, socket| {
            run.arg("run").args(&members).arg("--nbd").arg(socket);
            run.arg("--run-dir").arg(&places).arg("--state-dir").arg(&places);
        })?;
        let (_, server) = self.servers.last().context("ours is started")?;
        let uri = format!("nbd+unix:///?socket={}", server.place.display());
        let mut copy = shell::command("nbdcopy");
        copy.arg(self.path("raw.img")).arg(uri);
        shell::output(&mut copy).context("filling our volume with nbdcopy")?;
        Ok(())
    }

    fn start(
        &mut self,
        target: Target,
        program: impl Into<std::ffi::OsString>,
        words: impl FnOnce(&mut Command, &Path),
    ) -> anyhow::Result<()> {
        let socket = self.path(&format!("{}.sock", target as u8));
        let mut run = shell::command(program);
        words(&mut run, &socket);
        match Server::start(run, socket, Path::exists) {
            Ok(server) => self.servers.push((target, server)),
            Err(error) if matches!(target, Target::Nbdkit | Target::QemuNbd) => {
                self.left_out.push(format!("{}: {error:#}", target.name()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
