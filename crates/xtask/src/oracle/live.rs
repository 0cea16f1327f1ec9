//! `cargo xtask oracle live`: a file system of a machine on a volume of its own, while memory runs out.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ::oracle::Kernel;
use ::oracle::live::{Live, Report, Subject};
use anyhow::{Context, ensure};

use crate::shell;

/// The words of the command line.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long the writers write.
    #[arg(long, default_value_t = 20)]
    minutes: u64,
    /// 6.1, 6.12 or 7.2.
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
    /// A piece of the armour that is left off (see `ashlar run --help`), or `all`.
    #[arg(long, value_name = "PIECE")]
    without: Vec<String>,
    /// Who shows the volume as a file instead of our own server: nbdfuse or qsd; or `disk`: no server at all.
    #[arg(long, value_parser = peer)]
    peer: Option<Subject>,
    /// Memory of the guest.
    #[arg(long, default_value_t = 384)]
    memory_mib: u32,
    /// The longest time in seconds in which nothing may go on. An emulated machine is many times slower than a real one.
    #[arg(long, default_value_t = 20)]
    longest_s: u64,
    /// A program built before, instead of the release build.
    #[arg(long)]
    ashlar: Option<std::path::PathBuf>,
}

/// Runs it, prints what is seen, and writes it to `target/live/`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    ensure!(arguments.kernel != Kernel::Uml, "the guest needs memory of its own kind: name 6.1, 6.12 or 7.2");
    let ashlar = match &arguments.ashlar {
        Some(ashlar) => std::path::absolute(ashlar)?,
        None => {
            let words = ["build", "--release", "--quiet", "--package", "ashlar"];
            ensure!(shell::succeeds(shell::cargo().args(words))?, "the release build failed");
            shell::built("ashlar")
        }
    };
    let subject = arguments.peer.unwrap_or(Subject::Ashlar);
    let words = match arguments.without.iter().any(|piece| piece == "all") {
        true => vec!["--armour=off".to_owned()],
        false => arguments.without.iter().map(|piece| format!("--armour-without={piece}")).collect(),
    };
    let name = [subject.name().to_owned()].into_iter().chain(arguments.without.iter().cloned());
    let name = name.collect::<Vec<_>>().join("-without-");
    let live = Live {
        kernel: arguments.kernel,
        ashlar,
        subject,
        words,
        time: Duration::from_secs(60 * arguments.minutes),
        memory_mib: arguments.memory_mib,
        hear: Some(|line| println!("{line}")),
    };
    let report = live.run()?;
    let faults = report.faults(Duration::from_secs(arguments.longest_s));
    let text = text(&name, &live, &report, &faults);
    println!("\n{text}");
    write(&name, &text, &json(&live, &report, &faults))?;
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(name: &str, live: &Live, report: &Report, faults: &[String]) -> String {
    let minutes = live.time.as_secs() / 60;
    let mut text =
        format!("{name}: {minutes} min under {}, {} MiB of memory\n", live.kernel, live.memory_mib);
    for (name, value) in &report.results {
        text += &format!("  {name}: {value}\n");
    }
    text += &format!("  hung tasks: {}\n", report.hung_tasks.len());
    text += &format!("  killed for want of memory: {}\n", report.killed.len());
    match faults {
        [] => text += "  everything went on\n",
        faults => faults.iter().for_each(|fault| text += &format!("  FAULT: {fault}\n")),
    }
    text
}

fn json(live: &Live, report: &Report, faults: &[String]) -> serde_json::Value {
    serde_json::json!({
        "subject": live.subject.name(),
        "words": live.words,
        "kernel": live.kernel.name(),
        "memory_mib": live.memory_mib,
        "seconds": live.time.as_secs(),
        "ending": report.outcome.ending.to_string(),
        "results": report.results,
        "hung_tasks": report.hung_tasks,
        "killed": report.killed,
        "faults": faults,
        "script": report.outcome.stdout,
        "kernel_log": report.outcome.kernel_log,
    })
}

fn write(name: &str, text: &str, json: &serde_json::Value) -> anyhow::Result<()> {
    let folder = shell::root().join("target/live");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let put = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    put(&folder.join(format!("{name}.txt")), text.as_bytes())?;
    put(&folder.join(format!("{name}.json")), serde_json::to_string_pretty(json)?.as_bytes())
}

fn peer(name: &str) -> Result<Subject, String> {
    match name {
        "nbdfuse" => Ok(Subject::Nbdfuse),
        "qsd" => Ok(Subject::Qsd),
        "disk" => Ok(Subject::Disk),
        _ => Err(format!("`{name}` is none of nbdfuse, qsd and disk")),
    }
}
