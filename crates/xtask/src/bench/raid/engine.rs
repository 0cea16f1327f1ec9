//! Our arrays, over members that all of them share in turn.

use std::path::PathBuf;

use anyhow::Context;

use super::super::ground::{Ground, fill};
use super::super::job::Job;
use super::super::load::{self, Load, word};
use super::Level;

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

    /// `check` or `rebuild`, with nothing else to do; bytes of a member a second.
    pub fn sync(&self, level: Level, chunk_kib: u32, job: &str) -> anyhow::Result<f64> {
        self.load(level.name, chunk_kib, job, level.members)
    }

    /// Clients alone, and the same clients while a member is rebuilt, in one process.
    pub fn beside_rebuild(&self, level: Level, chunk_kib: u32, job: Job) -> anyhow::Result<[Load; 2]> {
        let (alone, beside) = (word(job), format!("beside-{}", word(job)));
        let loads = self.loads(level.name, chunk_kib, &format!("{alone},{beside}"), level.members)?;
        loads.try_into().map_err(|_| anyhow::anyhow!("two jobs do not make two lines"))
    }

    /// The rate of the last job.
    fn load(&self, level: &str, chunk_kib: u32, jobs: &str, members: usize) -> anyhow::Result<f64> {
        let loads = self.loads(level, chunk_kib, jobs, members)?;
        Ok(loads.last().context("load printed nothing")?.rate)
    }

    fn loads(&self, level: &str, chunk_kib: u32, jobs: &str, members: usize) -> anyhow::Result<Vec<Load>> {
        load::run(level, chunk_kib, self.milliseconds, jobs, &self.members[..members])
    }
}
