//! A folder with disks in it, and the program run there as a person would run it.

#![allow(dead_code, reason = "each test file uses a part")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use runtime::os::{Choice, Os, connect};
use runtime::{Address, Runtime};
use tempfile::TempDir;

/// How long something may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder to work in.
pub struct Bench {
    folder: TempDir,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { folder: tempfile::Builder::new().prefix("ashlar-").tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes disks full of zeroes.
    pub fn disks<const N: usize>(&self, names: [&str; N], bytes: u64) -> [String; N] {
        names.map(|name| {
            File::create_new(self.path().join(name)).unwrap().set_len(bytes).unwrap();
            name.to_owned()
        })
    }

    /// Makes a mirror named `data` of two disks of 8 MiB, `a` and `b`, whose copies are equal.
    pub fn mirror(&self) {
        self.disks(["a", "b"], 8 << 20);
        self.ok("create data --level 1 --assume-clean --homehost none a b");
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ashlar"));
        command.args(line.split_whitespace()).current_dir(self.path()).stdin(Stdio::null());
        for variable in ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "NOTIFY_SOCKET"] {
            command.env_remove(variable);
        }
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let is_one_of = |words: &str, word: &str| words.split(' ').any(|it| it == word);
        let talks = match first {
            "cache" => is_one_of(
                "attach volume grow delete detach mode flush stats set",
                words.next().unwrap_or_default(),
            ),
            _ => {
                is_one_of("run status watch monitor fail remove add replace grow scrub sync wait stop", first)
            }
        };
        if talks && !line.contains("--run-dir") {
            command.args(["--run-dir", "run"]);
        }
        if ["run", "update"].contains(&first) {
            command.args(["--state-dir", "state"]);
        }
        command
    }

    /// Runs a command to its end.
    pub fn ashlar(&self, line: &str) -> Done {
        self.finish(line, self.command(line).output().unwrap())
    }

    /// Runs a command with names that have anything in them.
    pub fn ashlar_with(&self, line: &str, names: &[PathBuf]) -> Done {
        self.finish(line, self.command(line).args(names).output().unwrap())
    }

    fn finish(&self, line: &str, output: Output) -> Done {
        let done = Done {
            code: output.status.code(),
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert!(!done.err.contains("panicked"), "ashlar {line}: {}", done.err);
        done
    }

    /// Runs a command that must succeed; what it printed.
    pub fn ok(&self, line: &str) -> String {
        let done = self.ashlar(line);
        assert_eq!(done.code, Some(0), "ashlar {line}: {}", done.err);
        String::from_utf8(done.out).unwrap()
    }

    /// Runs a command that must fail, with these words in its error.
    pub fn refused(&self, line: &str, words: &[&str]) {
        let done = self.ashlar(line);
        assert_eq!(done.code, Some(1), "ashlar {line}: {}", done.err);
        for word in words {
            assert!(done.err.contains(word), "ashlar {line}: {word:?} is not in {:?}", done.err);
        }
    }

    /// Runs a command that is wrong in itself.
    pub fn misused(&self, line: &str, word: &str) {
        let done = self.ashlar(line);
        assert_eq!(done.code, Some(2), "ashlar {line}: {}", done.err);
        assert!(done.err.contains(word), "ashlar {line}: {word:?} is not in {:?}", done.err);
    }

    /// Serves `line`'s members on ./sock under the name `name`, and waits until it does.
    pub fn serve(&self, line: &str, name: &str) -> Serving {
        let log = File::create(self.path().join("log")).unwrap();
        let mut command = self.command(line);
        command.stdout(Stdio::null()).stderr(log);
        let mut serving = Serving { child: command.spawn().unwrap() };
        let start = Instant::now();
        while self.ashlar(&format!("status {name}")).code != Some(0) {
            let ended = serving.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "ashlar {line}: {}", self.log());
        }
        serving
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap()
    }

    /// The status of what runs, as JSON.
    pub fn status(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(&format!("status {name} --json"))).unwrap()
    }

    /// What the control socket answers to a GET, head and body.
    pub fn get(&self, name: &str, path: &str) -> String {
        let socket = self.path().join("run").join(format!("{name}.sock"));
        let mut stream = UnixStream::connect(socket).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until no array is being synced.
    pub fn settle(&self, name: &str) {
        let start = Instant::now();
        let idle = |status: &serde_json::Value| {
            status["arrays"].as_array().unwrap().iter().all(|array| array["sync"]["action"] == "idle")
        };
        while !idle(&self.status(name)) {
            assert!(start.elapsed() < PATIENCE, "{}", self.log());
        }
    }

    /// Hash, and the moments of the last change, of a file.
    pub fn print_of(&self, name: impl AsRef<Path>) -> (String, i64, i64) {
        let path = self.path().join(name);
        let metadata = fs::metadata(&path).unwrap();
        (oracle::golden::sha256(&fs::read(path).unwrap()), metadata.mtime(), metadata.mtime_nsec())
    }

    /// Changes bytes of a disk.
    pub fn poke(&self, name: &str, at: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt;
        let file = File::options().write(true).open(self.path().join(name)).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    /// A client of the export on ./sock.
    pub fn client<T>(
        &self,
        export: &str,
        work: impl AsyncFnOnce(block::Dev, std::rc::Rc<block::Arena>) -> T,
    ) -> T {
        let os = Os::new(Choice::Threads).unwrap();
        let runtime = Runtime::new(os.clone());
        let stream = connect(&os, &Address::Unix(self.path().join("sock"))).unwrap();
        let arena = block::Arena::new(4 << 20);
        runtime.block_on(async {
            let client = nbd::Client::connect(stream, export).await.unwrap();
            work(client.device(), arena).await
        })
    }

    /// Writes `byte` all over the first MiB of an export, and flushes.
    pub fn write(&self, export: &str, byte: u8) {
        self.client(export, async |device, arena| {
            let buf = arena.take(1 << 20).unwrap();
            buf.copy_from_slice(0, &vec![byte; 1 << 20]);
            device.start(block::Request::write(block::Sectors(0), buf)).await.unwrap();
            device.start(block::Request::flush()).await.unwrap();
        });
    }
}

/// A process that serves; killed when dropped.
pub struct Serving {
    child: Child,
}

impl Serving {
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// How it ended.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}
