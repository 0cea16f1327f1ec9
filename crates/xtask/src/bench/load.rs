//! Our engines, driven by the program `load`: one process for each measurement.

use std::path::PathBuf;

use anyhow::{Context, ensure};

use super::job::Job;
use crate::shell;

/// What a load came to.
pub struct Load {
    /// Requests a second, or bytes.
    pub rate: f64,
    /// What 99 of 100 requests stay below, in nanoseconds; nothing where nobody asked.
    pub p99_ns: f64,
    /// Bytes written to all devices for each byte that was asked for, where that is measured.
    pub written: f64,
}

/// Builds it.
pub fn build() -> anyhow::Result<()> {
    let release =
        shell::succeeds(shell::cargo().args(["build", "--release", "--quiet", "--package", "load"]))?;
    ensure!(release, "the release build failed");
    Ok(())
}

/// What it prints of each job that is a load.
pub fn run(
    what: &str,
    chunk_kib: u32,
    milliseconds: u32,
    jobs: &str,
    devices: &[PathBuf],
) -> anyhow::Result<Vec<Load>> {
    let mut load = shell::command(shell::built("load"));
    load.arg(what).arg(chunk_kib.to_string()).arg(milliseconds.to_string()).arg(jobs);
    let printed = shell::output(load.args(devices))?;
    printed.lines().map(|line| parse(line).with_context(|| format!("load printed {line}"))).collect()
}

fn parse(line: &str) -> Option<Load> {
    let mut words = line.split_whitespace().skip(1);
    let rate = words.next()?.parse().ok()?;
    let mut more = || words.next().map_or(Some(0.0), |word| word.parse().ok());
    Some(Load { rate, p99_ns: more()?, written: more()? })
}

/// A job as it is told of it.
pub fn word(job: Job) -> String {
    let shape = job.shape();
    let pattern = if job == Job::Stripes { "stripes" } else { shape.pattern };
    format!("{pattern}-{}-{}", shape.kib, shape.depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_rate_and_what_else_was_measured() {
        let all = parse("randwrite-4-32 90000 4100 1.031").expect("it is one");
        assert_eq!((all.rate, all.p99_ns, all.written), (90_000.0, 4100.0, 1.031));
        let rate = parse("check 5000000").expect("it is one");
        assert_eq!((rate.rate, rate.p99_ns), (5_000_000.0, 0.0));
        assert!(parse("check").is_none() && parse("check soon").is_none());
    }
}
