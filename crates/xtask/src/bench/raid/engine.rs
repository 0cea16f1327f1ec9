//! Our engine, driven by the example `load` of the crate `md`: one process for each measurement, over members that all
//! arrays share in turn.

use std::path::PathBuf;

use anyhow::Context;

use super::super::ground::{Ground, fill};
use super::super::job::Job;
use super::Level;
use crate::shell;

/// Members of the widest array.
const MEMBERS: usize = 6;

/// The members, and how they are driven.
pub struct Engine {
    members: Vec<PathBuf>,
    milliseconds: u32,
}

impl Engine {
    /// Fills the members.
    pub fn new(ground: &Ground, bytes: u64, milliseconds: u32) -> anyhow::Result<Engine> {
        let members: Vec<PathBuf> =
            (0..MEMBERS).map(|number| ground.path(&format!("member{number}.img"))).collect();
        members.iter().try_for_each(|member| fill(member, bytes))?;
        Ok(Engine { members, milliseconds })
    }

    /// One member alone; bytes a second. For whole stripes it writes 1 MiB at a time.
    pub fn raw(&self, job: Job) -> anyhow::Result<f64> {
        let job = if job == Job::Stripes { Job::Write1m } else { job };
        let rate = self.load("raw", 0, &word(job), 1)?;
        Ok(rate * f64::from(job.shape().kib) * 1024.0)
    }

    /// An array with all its members; bytes a second.
    pub fn healthy(&self, level: Level, chunk_kib: u32, job: Job) -> anyhow::Result<f64> {
        let rate = self.load(level.name, chunk_kib, &word(job), level.members)?;
        let kib = match job {
            Job::Stripes => level.data as u32 * chunk_kib,
            _ => job.shape().kib,
        };
        Ok(rate * f64::from(kib) * 1024.0)
    }

    /// The same when a member has failed.
    pub fn degraded(&self, level: Level, chunk_kib: u32, job: Job) -> anyhow::Result<f64> {
        let rate = self.load(level.name, chunk_kib, &format!("fail,{}", word(job)), level.members)?;
        Ok(rate * f64::from(job.shape().kib) * 1024.0)
    }

    /// The requests a second of the last job.
    fn load(&self, level: &str, chunk_kib: u32, jobs: &str, members: usize) -> anyhow::Result<f64> {
        let mut load = shell::command(shell::built("examples/load"));
        load.arg(level).arg(chunk_kib.to_string()).arg(self.milliseconds.to_string()).arg(jobs);
        let printed = shell::output(load.args(&self.members[..members]))?;
        let rate = printed.split_whitespace().last().context("load printed nothing")?;
        rate.parse().with_context(|| format!("load printed {printed}"))
    }
}

/// A job as `load` is told of it.
fn word(job: Job) -> String {
    let shape = job.shape();
    let pattern = if job == Job::Stripes { "stripes" } else { shape.pattern };
    format!("{pattern}-{}-{}", shape.kib, shape.depth)
}
