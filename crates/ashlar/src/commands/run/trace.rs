//! `run --trace`: every request of every layer, when it begins and when it ends, as a line of JSON in a file.
//!
//! A tool for a person who looks for where the time goes: the file is written from the core itself, which is slower, and
//! its last lines are written when the stack stops.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use runtime::{Phase, Probe, Seen, set_probe};
use serde::Serialize;

/// While this lives, requests are traced.
pub struct Trace;

/// A line. Those with the same `trace` belong to one request of a client; 0 is work that no client asked for.
#[derive(Serialize)]
struct Line<'a> {
    at_ns: u64,
    event: &'static str,
    trace: u32,
    height: u8,
    layer: &'a str,
    op: &'static str,
    origin: &'static str,
    sector: u64,
    sectors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Trace {
    /// Traces into a new file, from now on.
    pub fn start(path: &Path) -> Result<Trace> {
        let file = File::create(path).with_context(|| format!("{}: tracing", path.display()))?;
        let (mut file, path) = (BufWriter::new(file), path.to_owned());
        let mut failed = false;
        let probe: Probe = Box::new(move |seen| {
            if failed {
                return;
            }
            if let Err(error) = write(&mut file, seen) {
                failed = true;
                eprintln!("ashlar: warning: {}: tracing ends here: {error}", path.display());
            }
        });
        set_probe(Some(probe));
        Ok(Trace)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        set_probe(None); // which writes what is left
    }
}

fn write(file: &mut impl Write, seen: &Seen<'_>) -> std::io::Result<()> {
    let (event, took_ns, error) = match seen.phase {
        Phase::Begun => ("begin", None, None),
        Phase::Ended { outcome, took_ns } => {
            ("end", Some(took_ns), outcome.err().map(|failed| failed.to_string()))
        }
    };
    let line = Line {
        at_ns: seen.at.0,
        event,
        trace: seen.trace,
        height: seen.height,
        layer: seen.name,
        op: seen.op.name(),
        origin: seen.origin.name(),
        sector: seen.range.start.0,
        sectors: seen.range.count.0,
        took_ns,
        error,
    };
    serde_json::to_writer(&mut *file, &line)?;
    file.write_all(b"\n")
}
