//! Jobs, and fio to do them.

use std::path::Path;

use anyhow::Context;

use crate::shell;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// 4 KiB random reads, one at a time.
    Read4kQd1,
    /// 4 KiB random reads, 32 at a time.
    Read4kQd32,
    /// 4 KiB random writes, one at a time.
    Write4kQd1,
    /// 4 KiB random writes, 32 at a time.
    Write4kQd32,
    /// 128 KiB sequential reads, 8 at a time.
    Read128k,
    /// 128 KiB sequential writes, 8 at a time.
    Write128k,
}

impl Job {
    /// All of them, in the order of the report.
    pub const ALL: [Job; 6] =
        [Job::Read4kQd1, Job::Read4kQd32, Job::Write4kQd1, Job::Write4kQd32, Job::Read128k, Job::Write128k];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Job::Read4kQd1 => "read 4K QD1",
            Job::Read4kQd32 => "read 4K QD32",
            Job::Write4kQd1 => "write 4K QD1",
            Job::Write4kQd32 => "write 4K QD32",
            Job::Read128k => "read 128K QD8",
            Job::Write128k => "write 128K QD8",
        }
    }

    fn shape(self) -> (&'static str, &'static str, u32) {
        match self {
            Job::Read4kQd1 => ("randread", "4k", 1),
            Job::Read4kQd32 => ("randread", "4k", 32),
            Job::Write4kQd1 => ("randwrite", "4k", 1),
            Job::Write4kQd32 => ("randwrite", "4k", 32),
            Job::Read128k => ("read", "128k", 8),
            Job::Write128k => ("write", "128k", 8),
        }
    }
}

/// What fio works on.
pub enum Subject<'a> {
    /// A file, by io_uring.
    File(&'a Path),
    /// An NBD server on a unix socket.
    Nbd(&'a Path),
}

/// Does a job; requests a second.
pub fn run(job: Job, subject: &Subject<'_>, milliseconds: u32, bytes: u64) -> anyhow::Result<f64> {
    let (pattern, block, depth) = job.shape();
    let mut fio = shell::command("fio");
    fio.args(["--name=bench", "--time_based", "--ramp_time=300ms", "--randrepeat=0", "--norandommap"])
        .args(["--output-format=json", "--random_generator=tausworthe64"])
        .arg(format!("--rw={pattern}"))
        .arg(format!("--bs={block}"))
        .arg(format!("--iodepth={depth}"))
        .arg(format!("--size={bytes}"))
        .arg(format!("--runtime={milliseconds}ms"));
    match subject {
        Subject::File(path) => fio.arg("--ioengine=io_uring").arg(format!("--filename={}", path.display())),
        Subject::Nbd(socket) => {
            fio.arg("--ioengine=nbd").arg(format!("--uri=nbd+unix:///?socket={}", socket.display()))
        }
    };
    let printed = shell::output(&mut fio)?;
    // The nbd engine says a line of its own before the document.
    let document = printed.find('{').map(|start| &printed[start..]).context("fio printed no report")?;
    let report: serde_json::Value = serde_json::from_str(document)?;
    let direction = if pattern.ends_with("read") { "read" } else { "write" };
    report["jobs"][0][direction]["iops"].as_f64().context("fio's report has no rate")
}
