//! One boot: what goes in and what comes out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::tail;
use crate::{Error, Kernel, limits, machine};

/// A run of a shell script under a kernel, to be described step by step and then [run](Run::run).
#[derive(Debug, Clone)]
pub struct Run {
    pub(crate) kernel: Kernel,
    pub(crate) mdadm: String,
    pub(crate) disks: Vec<Disk>,
    pub(crate) share: Option<PathBuf>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) script: String,
    pub(crate) memory_mib: u32,
    pub(crate) timeout: Duration,
    pub(crate) programs: Vec<(String, PathBuf)>,
    pub(crate) hear: Option<fn(&str)>,
}

/// A disk of the guest.
#[derive(Debug, Clone)]
pub(crate) enum Disk {
    File { path: PathBuf, options: DiskOpts },
    Nbd { socket: PathBuf, export: String },
}

/// How an image file becomes a disk. By default: writable, virtio, of the size the file has.
#[derive(Debug, Clone, Default)]
pub struct DiskOpts {
    /// Make a sparse file of this many bytes first, or cut or extend the one that is there.
    pub size_bytes: Option<u64>,
    /// The serial number the guest sees (IMSM knows disks by nothing else). QEMU kernels only.
    pub serial: Option<String>,
    /// What the disk hangs on. UML has its own bus and ignores this.
    pub bus: Bus,
    /// The guest gets errors for writes.
    pub read_only: bool,
    /// The guest may write, and the file stays as it is.
    pub snapshot: bool,
}

/// The bus of a disk under QEMU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bus {
    /// The plain choice.
    #[default]
    Virtio,
    /// For tools that ask a disk for its serial number in the SCSI way.
    Scsi,
}

/// How a guest came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The script ended with this status and the guest powered off, which stops arrays cleanly.
    Exited(i32),
    /// The script called `oracle-kill`: a power cut, with the status it gave.
    Cut(i32),
    /// Time ran out and the guest was killed.
    TimedOut,
    /// The guest ended by itself without telling a status: the kernel panicked.
    Died,
    /// The guest ended before the script began: the kernel did not come up.
    NeverStarted,
}

/// What a run brought.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The kernel that ran.
    pub kernel: Kernel,
    /// How it ended.
    pub ending: Ending,
    /// What the script printed, on both of its outputs.
    pub stdout: String,
    /// The kernel's own messages.
    pub kernel_log: String,
}

impl Run {
    /// A run under `kernel` with mdadm 4.4, no disks and an empty script.
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            mdadm: "4.4".to_owned(),
            disks: Vec::new(),
            share: None,
            variables: Vec::new(),
            script: String::new(),
            memory_mib: limits::GUEST_MEMORY_MIB,
            timeout: limits::RUN_TIMEOUT,
            programs: Vec::new(),
            hear: None,
        }
    }

    /// The version of mdadm and mdmon in the guest: 4.2, 4.4, or 4.6 where the newest kernel was fetched.
    pub fn mdadm(mut self, version: impl Into<String>) -> Self {
        self.mdadm = version.into();
        self
    }

    /// Adds an image file as the next disk: `/dev/d0`, `/dev/d1`, ...
    pub fn disk(mut self, path: impl AsRef<Path>, options: DiskOpts) -> Self {
        self.disks.push(Disk::File { path: path.as_ref().to_owned(), options });
        self
    }

    /// Adds several image files with the same options.
    pub fn disks(self, paths: impl IntoIterator<Item = impl AsRef<Path>>, options: &DiskOpts) -> Self {
        paths.into_iter().fold(self, |run, path| run.disk(path, options.clone()))
    }

    /// Adds an export of an NBD server on a unix socket as the next disk. QEMU kernels only.
    pub fn nbd(mut self, socket: impl AsRef<Path>, export: impl Into<String>) -> Self {
        self.disks.push(Disk::Nbd { socket: socket.as_ref().to_owned(), export: export.into() });
        self
    }

    /// Gives the guest a folder of this machine, writable, at `/host`.
    pub fn share(mut self, folder: impl AsRef<Path>) -> Self {
        self.share = Some(folder.as_ref().to_owned());
        self
    }

    /// Sets a variable in the script's environment.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The script, run by busybox `sh` after the helpers of `guest/lib.sh`.
    pub fn script(mut self, text: impl Into<String>) -> Self {
        self.script = text.into();
        self
    }

    /// Memory of the guest.
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// After this time the guest is killed: [`Ending::TimedOut`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Puts a program of this machine into the guest's root, under this name on the path.
    pub fn program(mut self, name: impl Into<String>, source: impl Into<PathBuf>) -> Self {
        self.programs.push((name.into(), source.into()));
        self
    }

    /// Hands each line of the script over while it runs.
    pub fn hear(mut self, hear: fn(&str)) -> Self {
        self.hear = Some(hear);
        self
    }

    /// Boots, runs the script, and returns when the guest has ended.
    ///
    /// # Errors
    /// What is [missing](Error::Missing), or what the kernel cannot do. A script that fails is no error here.
    pub fn run(&self) -> Result<Outcome, Error> {
        assert!(self.disks.len() <= limits::DISKS_MAX, "a guest has at most {} disks", limits::DISKS_MAX);
        machine::run(self)
    }
}

impl DiskOpts {
    /// A sparse file of this many bytes is made first.
    pub fn size_bytes(mut self, bytes: u64) -> Self {
        self.size_bytes = Some(bytes);
        self
    }

    /// The serial number that the guest sees.
    pub fn serial(mut self, serial: impl Into<String>) -> Self {
        self.serial = Some(serial.into());
        self
    }

    /// On the SCSI bus.
    pub fn scsi(mut self) -> Self {
        self.bus = Bus::Scsi;
        self
    }

    /// The guest gets errors for writes.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// The guest may write, and the file stays as it is.
    pub fn snapshot(mut self) -> Self {
        self.snapshot = true;
        self
    }
}

impl Outcome {
    /// The status the script gave, at its end or with the power cut.
    pub fn status(&self) -> Option<i32> {
        match self.ending {
            Ending::Exited(status) | Ending::Cut(status) => Some(status),
            Ending::TimedOut | Ending::Died | Ending::NeverStarted => None,
        }
    }

    /// Whether the run ended in the power cut that the script asked for.
    pub fn killed(&self) -> bool {
        matches!(self.ending, Ending::Cut(_))
    }

    /// The outcome itself if the status is 0, else an error that quotes the last lines of script and kernel.
    pub fn success(self) -> Result<Self, Error> {
        match self.status() {
            Some(0) => Ok(self),
            _ => Err(Error::Script {
                kernel: self.kernel,
                ending: self.ending.to_string(),
                stdout: tail(&self.stdout),
                kernel_log: tail(&self.kernel_log),
            }),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited(status) => write!(f, "ended with status {status}"),
            Ending::Cut(status) => write!(f, "asked for a power cut with status {status}"),
            Ending::TimedOut => f.write_str("did not end in time and was killed"),
            Ending::Died => f.write_str("never told its status: the guest died"),
            Ending::NeverStarted => f.write_str("never began its script: the guest did not come up"),
        }
    }
}
