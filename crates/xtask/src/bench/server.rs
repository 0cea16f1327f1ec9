//! A server that runs while it is measured.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take until its socket or file is there.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server; dropping it ends it.
pub struct Server {
    child: Child,
    /// Its socket, or the file that it serves.
    pub place: PathBuf,
}

impl Server {
    /// Starts a server and waits until `is_there` says so of its place.
    ///
    /// # Errors
    /// When it cannot be started, ends, or takes too long: with what it complained of.
    pub fn start(mut run: Command, place: PathBuf, is_there: fn(&Path) -> bool) -> anyhow::Result<Server> {
        let name = run.get_program().to_string_lossy().into_owned();
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = run.spawn().with_context(|| format!("{name} cannot be started"))?;
        let mut server = Server { child, place };
        let deadline = Instant::now() + PATIENCE;
        while !is_there(&server.place) {
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                let mut complaint = String::new();
                let _ = server.child.kill(); // it may have ended
                server.child.stderr.take().context("stderr is piped")?.read_to_string(&mut complaint)?;
                bail!("{name} does not serve: {}", complaint.trim());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM); // it takes its mount away, or has ended
        let _ = self.child.wait();
    }
}
