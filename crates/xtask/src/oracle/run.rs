//! `cargo xtask oracle run`: one script under one kernel.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ::oracle::{DiskOpts, Ending, Kernel, Run};
use anyhow::Context;

/// The words of the command line.
#[derive(clap::Args)]
pub struct Arguments {
    /// uml, 6.1, 6.12 or 7.2.
    #[arg(long, default_value = "uml")]
    kernel: Kernel,
    /// The guest's mdadm: 4.2, 4.4 or 4.6.
    #[arg(long, default_value = "4.4")]
    mdadm: String,
    /// An image file as a disk: PATH[,size=8M][,serial=S][,scsi][,ro][,snapshot]; the guest's /dev/d0, /dev/d1, ...
    #[arg(long = "disk", value_parser = disk)]
    disks: Vec<(PathBuf, DiskOpts)>,
    /// A folder that the guest sees at /host.
    #[arg(long)]
    share: Option<PathBuf>,
    /// Kill the guest after so many seconds.
    #[arg(long, default_value_t = 300)]
    timeout_s: u64,
    /// Print the kernel's own messages as well.
    #[arg(long)]
    log: bool,
    /// The shell script.
    script: PathBuf,
}

/// The script's status is ours; 124 if time ran out, 125 if the guest died.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.script;
    let script = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut run = Run::new(arguments.kernel)
        .mdadm(&arguments.mdadm)
        .script(script)
        .timeout(Duration::from_secs(arguments.timeout_s));
    for (path, options) in &arguments.disks {
        run = run.disk(path, options.clone());
    }
    if let Some(folder) = &arguments.share {
        run = run.share(folder);
    }
    let outcome = run.run()?;
    print!("{}", outcome.stdout);
    if arguments.log || matches!(outcome.ending, Ending::Died | Ending::NeverStarted) {
        eprint!("{}", outcome.kernel_log);
    }
    eprintln!("oracle: the script {}", outcome.ending);
    let status = match outcome.ending {
        Ending::Exited(status) | Ending::Cut(status) => u8::try_from(status).unwrap_or(u8::MAX),
        Ending::TimedOut => 124,
        Ending::Died | Ending::NeverStarted => 125,
    };
    Ok(ExitCode::from(status))
}

fn disk(text: &str) -> Result<(PathBuf, DiskOpts), String> {
    let mut words = text.split(',');
    let path = words.next().unwrap_or_default();
    let mut options = DiskOpts::default();
    for word in words {
        options = match word.split_once('=').unwrap_or((word, "")) {
            ("size", size) => options.size_bytes(bytes(size)?),
            ("serial", serial) => options.serial(serial),
            ("scsi", "") => options.scsi(),
            ("ro", "") => options.read_only(),
            ("snapshot", "") => options.snapshot(),
            _ => return Err(format!("`{word}` is none of size=, serial=, scsi, ro, snapshot")),
        };
    }
    Ok((path.into(), options))
}

fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) if text.ends_with('K') => (digits, 10),
        Some(digits) if text.ends_with('M') => (digits, 20),
        Some(digits) => (digits, 30),
        None => (text, 0),
    };
    digits.parse::<u64>().map(|number| number << shift).map_err(|_| format!("`{text}` is no size"))
}
