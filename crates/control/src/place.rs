//! Places in the run directory: a stack's name, held by a lock for as long as it runs, and its control socket.
//!
//! Two files a stack: `NAME.lock`, which says by its lock alone whether the stack runs (and inside, as which process),
//! and `NAME.sock`. A socket whose lock is free was left by a process that died, and is replaced.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use thiserror::Error;

/// Bytes of a socket's path that the system takes, beside the zero at its end.
const SOCKET_PATH_BYTES: usize = 107;

/// How often to look whether a stack has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long a look at a lock may last.
const A_LOOK: Duration = Duration::from_millis(200);

/// A name in a run directory, taken or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    dir: PathBuf,
    name: String,
}

/// A name that this process has taken. Dropping it takes the socket away and frees the name.
pub struct Taken {
    place: Place,
    lock: File,
}

/// Why a place cannot be had.
#[derive(Error, Debug)]
pub enum PlaceError {
    /// A name that cannot be that of a file.
    #[error(
        "{name:?} cannot be the name of what runs: it is empty, begins with a dot, or has a slash in it; say --name"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A path too long for a socket.
    #[error("{}: is too long for a socket ({} bytes, at most {SOCKET_PATH_BYTES}); say --name or --run-dir", path.display(), path.as_os_str().len())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Somebody has it.
    #[error("{name} runs already{}; stop it first (ashlar stop {name}), or say --name", by(*pid))]
    Runs {
        /// The name.
        name: String,
        /// As which process, if known.
        pid: Option<u32>,
    },
    /// The system refuses.
    #[error("{}: {error}", path.display())]
    System {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" as process {pid}")).unwrap_or_default()
}

impl Place {
    /// The place of `name` in `dir`.
    pub fn new(dir: &Path, name: &str) -> Result<Place, PlaceError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(PlaceError::Name { name: name.to_owned() });
        }
        let place = Place { dir: dir.to_owned(), name: name.to_owned() };
        match place.socket() {
            path if path.as_os_str().len() > SOCKET_PATH_BYTES => Err(PlaceError::TooLong { path }),
            _ => Ok(place),
        }
    }

    /// The stack's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join(format!("{}.sock", self.name))
    }

    fn lock_file(&self) -> PathBuf {
        self.dir.join(format!("{}.lock", self.name))
    }

    /// Takes the name and listens on its socket.
    pub fn take(&self) -> Result<(Taken, UnixListener), PlaceError> {
        let system = |path: &Path| {
            let path = path.to_owned();
            move |error| PlaceError::System { path, error }
        };
        // Whoever reaches the socket can stop the stack: the folder is its owner's.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(system(&self.dir))?;
        let path = self.lock_file();
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(system(&path))?;
        if !lock_soon(&lock).map_err(system(&path))? {
            return Err(PlaceError::Runs { name: self.name.clone(), pid: self.pid() });
        }
        let pid = std::process::id();
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "{pid}"))
            .map_err(system(&path))?;
        let socket = self.socket();
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(&socket)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&socket).map_err(system(&socket))?;
        Ok((Taken { place: self.clone(), lock }, listener))
    }

    /// Whether a stack of this name runs.
    pub fn is_taken(&self) -> bool {
        match File::open(self.lock_file()) {
            Ok(lock) => matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)),
            Err(_) => false,
        }
    }

    /// Waits until no stack of this name runs any more; false if it still does after `patience`.
    pub fn wait_until_free(&self, patience: Duration) -> bool {
        let start = Instant::now();
        while self.is_taken() {
            if start.elapsed() >= patience {
                return false;
            }
            sleep(LOOK_AGAIN);
        }
        true
    }

    fn pid(&self) -> Option<u32> {
        let mut text = String::new();
        File::open(self.lock_file()).ok()?.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

/// Locks the file, unless a stack holds it. Whoever only looks whether one does holds it too, for a moment.
fn lock_soon(lock: &File) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if start.elapsed() < A_LOOK => sleep(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

impl Taken {
    /// The place.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // What cannot be taken away here is replaced by the next to come. The lock file stays: taking it away would
        // let two processes lock two files of one name.
        let _ = fs::remove_file(self.place.socket());
        let _ = self.lock.unlock();
    }
}

/// The places of all stacks that run now, by name.
pub fn running(dir: &Path) -> Result<Vec<Place>, PlaceError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PlaceError::System { path: dir.to_owned(), error }),
    };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.strip_suffix(".lock").map(str::to_owned)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    let places = names.iter().filter_map(|name| Place::new(dir, name).ok());
    Ok(places.filter(Place::is_taken).collect())
}
