//! The stage of the demo: a folder, disks in it, and the program itself as a child process.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use block::Sectors;
use control::{Client, StackStatus};
use runtime::Address;

use super::client::Connection;
use super::content::{Content, sha256};
use super::defect::DefectiveDisk;
use crate::cli::Driver;
use crate::text::print;
use crate::world::World;

/// The name under which it runs.
const NAME: &str = "demo";

/// How long the program may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that the demo plays with. When it is dropped, nothing runs and the temporary folder is gone.
pub struct Stage {
    world: World,
    binary: PathBuf,
    folder: PathBuf,
    disks: PathBuf,
    child: Option<Child>,
}

impl Stage {
    /// Makes the folder. Disks that are to be kept are made where they are kept.
    pub fn new(keep: Option<&Path>, driver: Driver) -> Result<Stage> {
        let world = World::new(driver)?;
        world.tell_if_slower(driver);
        let folder = std::env::temp_dir().join(format!("ashlar-demo-{}", std::process::id()));
        let disks = keep.map_or_else(|| folder.join("disks"), Path::to_owned);
        let binary = std::env::current_exe().context("finding the program itself")?;
        let mut stage = Stage { world, binary, folder, disks, child: None };
        stage.make_folders(keep)?;
        Ok(stage)
    }

    fn make_folders(&mut self, keep: Option<&Path>) -> Result<()> {
        fs::create_dir(&self.folder).with_context(|| self.folder.display().to_string())?;
        fs::create_dir_all(&self.disks).with_context(|| self.disks.display().to_string())?;
        self.disks = fs::canonicalize(&self.disks)?;
        let is_empty = fs::read_dir(&self.disks)?.next().is_none();
        match keep {
            Some(dir) if !is_empty => bail!("{}: is not empty; name a new folder", dir.display()),
            _ => Ok(()),
        }
    }

    /// Makes an empty disk.
    pub fn make_disk(&self, name: &str, bytes: u64) -> Result<()> {
        let path = self.disks.join(name);
        File::create_new(&path)
            .and_then(|file| file.set_len(bytes))
            .with_context(|| path.display().to_string())
    }

    /// Runs a command, shown as a person would type it.
    pub fn ashlar(&self, line: &str) -> Result<()> {
        show(line)?;
        let output = self.output(line)?;
        ensure!(output.status.success(), "ashlar {line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Runs a command, and shows the lines of what it prints that have `word` in them.
    pub fn ashlar_shows(&self, line: &str, word: &str) -> Result<()> {
        show(line)?;
        let output = self.output(line)?;
        ensure!(output.status.success(), "ashlar {line}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(word)).collect();
        ensure!(!lines.is_empty(), "ashlar {line}: says nothing of {word:?}");
        print(&format!("  {}\n", lines.join("\n  "))).map_err(|error| anyhow!(error))
    }

    /// Takes a sector away from a disk.
    pub fn damage(&self, disk: &str, sector: Sectors) -> Result<()> {
        DefectiveDisk::damage(&self.disks.join(disk), sector)
    }

    /// Serves a disk of which this sector cannot be read as `DISK@nbd`.
    pub fn serve_damaged(&self, disk: &str, sector: Sectors) -> Result<DefectiveDisk> {
        DefectiveDisk::serve(&self.disks.join(disk), &self.remote(disk), sector)
    }

    /// Runs a command that must be refused; what it says.
    pub fn refused(&self, line: &str) -> Result<String> {
        show(line)?;
        let output = self.output(line)?;
        ensure!(!output.status.success(), "ashlar {line}: was not refused");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts serving, and waits until it does.
    pub fn start(&mut self, disks: &[&str], options: &[&str]) -> Result<()> {
        let mut words = vec!["run"];
        words.extend(disks);
        words.extend(["--name", NAME, "--nbd", "./demo.sock"]);
        words.extend(options);
        let line = words.join(" ");
        show(&format!("{line} &"))?;
        let log = File::options().create(true).append(true).open(self.folder.join("log"))?;
        self.child = Some(self.command(&line).stdout(log.try_clone()?).stderr(log).spawn()?);
        let start = Instant::now();
        while self.status().is_err() {
            let child = self.child.as_mut().context("just started")?;
            if let Some(status) = child.try_wait()? {
                bail!("ashlar {line}: ended at once: {status}");
            }
            ensure!(start.elapsed() < PATIENCE, "ashlar {line}: does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Stops serving, in an orderly way.
    pub fn stop(&mut self) -> Result<()> {
        self.ashlar("stop demo")?;
        let mut child = self.child.take().context("something runs")?;
        let status = child.wait()?;
        ensure!(status.success(), "what ran ended with {status}");
        Ok(())
    }

    /// Kills the process in the midst of a client's writes.
    pub fn kill_while_writing(&mut self, export: &str, content: &Content, range: Range<u64>) -> Result<()> {
        let mut child = self.child.take().context("something runs")?;
        let struck = self.client(export)?.write_until(content, range, || Ok(child.kill()?));
        let _ = child.kill(); // also if the writes went wrong before
        child.wait()?;
        struck
    }

    /// How what runs stands.
    pub fn status(&self) -> Result<StackStatus> {
        Ok(Client::new(&self.run_dir().join("demo.sock")).status()?)
    }

    /// Our own NBD client.
    pub fn client(&self, export: &str) -> Result<Connection<'_>> {
        Connection::new(&self.world, &Address::Unix(self.socket()), export)
    }

    /// The content of a volume, as `ashlar cat` gives it.
    pub fn cat(&self, volume: &str, disks: &[&str]) -> Result<Content> {
        let line = format!("cat {} --volume {volume}", disks.join(" "));
        show(&format!("{line} | sha256sum"))?;
        let output = self.output(&line)?;
        ensure!(output.status.success(), "ashlar {line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Content::of(output.stdout))
    }

    /// The disks' own hashes.
    pub fn hashes(&self, disks: &[&str]) -> Result<Vec<String>> {
        let hash = |disk: &&str| Ok(sha256(&fs::read(self.disks.join(disk))?));
        disks.iter().map(hash).collect()
    }

    /// What the processes that ran said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn output(&self, line: &str) -> io::Result<Output> {
        self.command(line).stdin(Stdio::null()).output()
    }

    /// The command, in the folder of the disks. Its sockets and what it keeps aside stay in the temporary folder.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.binary);
        let socket = self.socket().display().to_string();
        let words = line.split(' ').map(|word| match word.split_once('@') {
            Some((disk, "nbd")) => url("disk", &self.remote(disk)),
            Some((array, NAME)) => url(array, &self.socket()),
            _ if word == "./demo.sock" => socket.clone(),
            _ => word.to_owned(),
        });
        command.args(words).current_dir(&self.disks);
        let first = line.split(' ').next().unwrap_or_default();
        let talks = ["run", "status", "fail", "add", "sync", "scrub", "stop"].contains(&first);
        if talks || line.starts_with("cache detach") {
            command.arg("--run-dir").arg(self.run_dir());
        }
        if first == "run" {
            command.arg("--state-dir").arg(self.folder.join("state"));
        }
        command
    }

    /// Where a disk is served.
    fn remote(&self, disk: &str) -> PathBuf {
        self.folder.join(format!("{disk}.sock"))
    }

    fn run_dir(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("demo.sock")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder); // nothing to be done about it
    }
}

/// What is served there under that name, as a member.
fn url(export: &str, socket: &Path) -> String {
    let socket = socket.display().to_string().replace('%', "%25").replace(' ', "%20");
    format!("nbd+unix:///{export}?socket={socket}")
}

fn show(line: &str) -> Result<()> {
    print(&format!("  $ ashlar {line}\n")).map_err(|error| anyhow!(error))
}
