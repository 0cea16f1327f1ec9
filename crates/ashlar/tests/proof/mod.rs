//! What the tests of the whole program share: running it, speaking NBD to it, and knowing what it may have kept.

#![allow(dead_code)] // each test uses a part of it

pub mod loops;
pub mod mounted;
pub mod nbd;
pub mod shapes;
pub mod unending;
pub mod versions;
pub mod volatile;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use self::nbd::Nbd;

/// How long the program may take for anything: two busy cores and a boot beside it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with members, and what the program keeps.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sparse files of these sizes in KiB.
    pub fn members(&self, name: &str, sizes_kib: &[u64]) -> Vec<PathBuf> {
        let make = |(number, kib): (usize, &u64)| {
            let path = self.path(&format!("{name}.{number}"));
            File::create(&path).unwrap().set_len(kib << 10).unwrap();
            path
        };
        sizes_kib.iter().enumerate().map(make).collect()
    }

    /// Runs a command of the program to its end.
    pub fn ashlar<W: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ashlar")).args(words).stdin(Stdio::null()).output().unwrap()
    }

    /// The same, and it has to succeed.
    pub fn succeeds<W: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Vec<u8> {
        let output = self.ashlar(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", output.status);
        output.stdout
    }

    /// `ashlar create`.
    pub fn create(&self, name: &str, options: &[&str], members: &[PathBuf]) {
        let words = ["create", name].into_iter().chain(options.iter().copied()).map(PathBuf::from);
        self.succeeds(words.chain(members.iter().cloned()));
    }

    /// `ashlar cat`, of all members in an order of its own.
    pub fn cat(&self, members: &[PathBuf]) -> Vec<u8> {
        self.succeeds([PathBuf::from("cat")].into_iter().chain(members.iter().rev().cloned()))
    }

    /// `ashlar run`, serving on a socket of its own.
    pub fn run<M: AsRef<std::ffi::OsStr>>(&self, name: &str, options: &[&str], members: &[M]) -> Running {
        let (socket, log) = (self.path(&format!("{name}.sock")), self.path(&format!("{name}.log")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_ashlar"));
        command.args(["run", "--name", name, "--nbd"]).arg(&socket).args(options).args(members);
        command.arg("--run-dir").arg(self.path("run")).arg("--state-dir").arg(self.path("state"));
        command.stdin(Stdio::null()).stderr(File::create(&log).unwrap());
        let mut running = Running { child: command.spawn().unwrap(), socket, log };
        running.wait_until_it_serves();
        running
    }

    /// A command about what runs, which has to succeed.
    pub fn manage<W: AsRef<std::ffi::OsStr>>(&self, words: &[W]) -> Vec<u8> {
        let run = self.path("run");
        let own = ["--run-dir".as_ref(), run.as_os_str()];
        self.succeeds(words.iter().map(AsRef::as_ref).chain(own))
    }

    /// `ashlar fail`.
    pub fn fail(&self, name: &str, member: impl AsRef<std::ffi::OsStr>) {
        self.manage(&["fail".as_ref(), name.as_ref(), member.as_ref()]);
    }

    /// Pauses what runs before it comes any further: it sleeps until the word waits for it.
    pub fn pause_at_once(&self, name: &str, running: &Running) {
        let pid = Pid::from_child(&running.child);
        kill_process(pid, Signal::STOP).unwrap();
        std::thread::scope(|scope| {
            let pause = scope.spawn(|| self.manage(&["sync", name, "pause"]));
            std::thread::sleep(Duration::from_millis(500));
            kill_process(pid, Signal::CONT).unwrap();
            pause.join().unwrap();
        });
    }

    /// How the only array of what runs stands.
    pub fn array(&self, name: &str) -> serde_json::Value {
        let status: serde_json::Value =
            serde_json::from_slice(&self.manage(&["status", name, "--json"])).unwrap();
        status["arrays"][0].clone()
    }

    /// Waits until the only array of what runs stands as it should.
    pub fn wait_until(&self, name: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        let start = Instant::now();
        loop {
            let array = self.array(name);
            if is_so(&array) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{array}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `examine` says of members.
    pub fn examined(&self, members: &[PathBuf]) -> Vec<serde_json::Value> {
        let words = ["examine", "--json"].into_iter().map(PathBuf::from);
        let said = self.succeeds(words.chain(members.iter().cloned()));
        let report: serde_json::Value = serde_json::from_slice(&said).unwrap();
        report["members"].as_array().unwrap().iter().map(|member| member["md"].clone()).collect()
    }
}

/// A running `ashlar run`; killed when dropped.
pub struct Running {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Running {
    fn wait_until_it_serves(&mut self) {
        let start = Instant::now();
        while Nbd::try_connect(&self.socket).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "it does not serve: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A client of the only export.
    pub fn connect(&self) -> Nbd {
        Nbd::try_connect(&self.socket).unwrap_or_else(|error| panic!("{error}: {}", self.said()))
    }

    /// The same, to the volume of that name.
    pub fn connect_to(&self, name: &str) -> Nbd {
        Nbd::try_connect_to(&self.socket, name).unwrap_or_else(|error| panic!("{error}: {}", self.said()))
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said something.
    pub fn wait_for(&mut self, words: &str) {
        let start = Instant::now();
        while !self.said().contains(words) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "no {words:?} in: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as a service manager does; it has to end well.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.said());
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// `bytes` as the oracle prints hashes.
pub fn hash(bytes: &[u8]) -> String {
    oracle::golden::sha256(bytes)
}
