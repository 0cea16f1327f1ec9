//! fio, which does the jobs.

use std::path::Path;

use anyhow::Context;

use super::job::Job;
use crate::shell;

/// What fio works on.
pub enum Subject<'a> {
    /// A file, by io_uring.
    File(&'a Path),
    /// A file, by io_uring and past the page cache.
    Direct(&'a Path),
    /// An NBD server on a unix socket.
    Nbd(&'a Path),
}

/// Does a job; requests a second.
pub fn run(job: Job, subject: &Subject<'_>, milliseconds: u32, bytes: u64) -> anyhow::Result<f64> {
    let shape = job.shape();
    let mut fio = shell::command("fio");
    fio.args(["--name=bench", "--time_based", "--ramp_time=300ms", "--randrepeat=0", "--norandommap"])
        .args(["--output-format=json", "--random_generator=tausworthe64"])
        .arg(format!("--rw={}", shape.pattern))
        .arg(format!("--bs={}k", shape.kib))
        .arg(format!("--iodepth={}", shape.depth))
        .arg(format!("--size={bytes}"))
        .arg(format!("--runtime={milliseconds}ms"));
    let file = |path: &Path| format!("--filename={}", path.display());
    match subject {
        Subject::File(path) => fio.arg("--ioengine=io_uring").arg(file(path)),
        Subject::Direct(path) => fio.args(["--ioengine=io_uring", "--direct=1"]).arg(file(path)),
        Subject::Nbd(socket) => {
            fio.arg("--ioengine=nbd").arg(format!("--uri=nbd+unix:///?socket={}", socket.display()))
        }
    };
    let printed = shell::output(&mut fio)?;
    // The nbd engine says a line of its own before the document.
    let document = printed.find('{').map(|start| &printed[start..]).context("fio printed no report")?;
    let report: serde_json::Value = serde_json::from_str(document)?;
    let direction = if shape.pattern.ends_with("read") { "read" } else { "write" };
    report["jobs"][0][direction]["iops"].as_f64().context("fio's report has no rate")
}
