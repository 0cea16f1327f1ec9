//! What a running stack leaves to other processes, because it is not allowed to do it itself (ADR 24): mounting and unmounting,
//! and starting programs. They are this program again, started before the stack gives its rights up; each does one thing, for
//! the place or the receivers it was started with, and ends with its master.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use control::{Delivery, Receivers, deliver_all};
use fuse::Holder;

use super::monitor::complain;
use crate::cli::{Servant, ServantWork};

/// This very program, whatever has become of its file.
const OURSELVES: &str = "/proc/self/exe";

/// Runs the command.
pub fn run(args: &Servant) -> Result<()> {
    match &args.work {
        ServantWork::Hold { path } => {
            fuse::hold(io::stdin(), path, |text| eprintln!("ashlar: {text}")).context("holding a mount")
        }
        ServantWork::Deliver { program, mail } => {
            let receivers = Receivers { program: program.clone(), mail: mail.clone() };
            deliver_all(&receivers, io::stdin().lock(), complain).context("delivering alerts")
        }
    }
}

/// A process that will mount at `path`.
pub fn holder(path: &Path) -> Result<Holder> {
    let mut program = Command::new(OURSELVES);
    program.args(["servant", "hold"]).arg(path);
    Ok(Holder::start(program, path)?)
}

/// A process that delivers to `receivers`.
pub fn courier(receivers: &Receivers) -> io::Result<Delivery> {
    let mut program = Command::new(OURSELVES);
    program.args(["servant", "deliver"]);
    if let Some(path) = &receivers.program {
        program.arg("--program").arg(path);
    }
    if let Some(address) = &receivers.mail {
        program.arg("--mail").arg(address);
    }
    // A group of its own: who stops the stack by the keyboard still wants to be told of its end.
    let child = program.stdin(Stdio::piped()).process_group(0).spawn()?;
    Delivery::through(child, complain)
}
