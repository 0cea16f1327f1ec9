//! Mounting, and taking the mount away.
//!
//! Who may mount does so by the system call; who may not asks `fusermount3`, which is allowed to for all users' own folders.
//! The thread that takes the mount away is made at the start: making one needs memory, and that may be what the mount's users
//! wait for.

mod dead;
mod helper;
mod holder;
mod place;

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use runtime::mailbox::{Receiver, mailbox};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::Error;
use crate::limits::{BETWEEN_TRIES, TRIES_TO_LET_GO};
pub use holder::{Holder, hold};
use place::Place;

/// The device by which a server and the kernel speak.
const DEVICE: &str = "/dev/fuse";

/// What mounts call themselves: `mount` and `findmnt -t fuse.ashlar` show it.
const SOURCE: &str = "ashlar";
const TYPE: &str = "fuse.ashlar";

/// Rights are checked by the kernel, against what the files say: only their owner may open them. With `allow_other` root
/// may, too, whoever mounts.
const OPTIONS: &str = "default_permissions";
const FOR_ROOT: &str = "allow_other";

/// How to mount.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many volumes there are.
    pub volumes: usize,
    /// Hears what is done that a person wants to know.
    pub tell: fn(&str),
}

/// A mount. Dropping it takes it away, at once also where it is used.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
    is_folder: bool,
    hands: Hands,
}

/// Who takes it away.
#[derive(Debug)]
enum Hands {
    Own(Own),
    Holder(Holder),
}

impl Mount {
    /// Mounts at `path`, and hands out the device by which the kernel speaks to the server. A mount that a killed process has
    /// left there is taken away first.
    pub fn new(path: &Path, options: Options) -> Result<(Mount, OwnedFd), Error> {
        let (own, device) = Own::new(path, options)?;
        let (path, is_folder) = (own.place.path.clone(), own.place.is_folder);
        Ok((Mount { path, is_folder, hands: Hands::Own(own) }, device))
    }

    /// Lets another process mount, for `volumes` volumes, and take the mount away: for one that will not be allowed to.
    pub fn held(holder: Holder, volumes: usize) -> Result<(Mount, OwnedFd), Error> {
        let (holder, held) = holder.mount(volumes)?;
        let mount = Mount { path: held.path, is_folder: held.is_folder, hands: Hands::Holder(holder) };
        Ok((mount, held.device))
    }

    /// Whether it is a folder with a file for each volume; a single file otherwise.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// Gives the mount to a thread that takes it away when it is told to.
    pub(crate) fn keep(self) -> Result<Kept, Error> {
        let path = self.path.clone();
        let (order, orders) = sync_channel(1);
        let (done, outcome) = mailbox(1);
        let janitor = thread::Builder::new().name("fuse-unmount".to_owned()).stack_size(256 << 10);
        let work = move || match orders.recv() {
            Ok(()) => drop(done.send(self.unmount())),
            Err(_) => drop(self), // nobody will say so any more
        };
        match janitor.spawn(work) {
            Ok(_) => Ok(Kept { path, order, outcome }),
            Err(error) => Err(Error::Io { path, what: "making a thread", error }),
        }
    }

    fn unmount(self) -> Option<String> {
        match self.hands {
            Hands::Own(own) => own.unmount(),
            Hands::Holder(holder) => holder.unmount(&self.path),
        }
    }
}

/// A mount of this process's own.
#[derive(Debug)]
struct Own {
    place: Place,
    is_mounted: bool,
}

impl Own {
    fn new(path: &Path, options: Options) -> Result<(Own, OwnedFd), Error> {
        let path = &dead::clear(path, options.tell)?;
        let mut own = Own { place: Place::find(path, options.volumes)?, is_mounted: false };
        let device = own.attach()?;
        own.is_mounted = true;
        Ok((own, device))
    }

    fn attach(&self) -> Result<OwnedFd, Error> {
        let path = &self.place.path;
        let device: OwnedFd =
            File::options().read(true).write(true).open(DEVICE).map_err(Error::NoDevice)?.into();
        let mode = if self.place.is_folder { 0o040000 } else { 0o100000 };
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let fd = device.as_raw_fd();
        let words = format!("fd={fd},rootmode={mode:o},user_id={uid},group_id={gid},{OPTIONS},{FOR_ROOT}");
        let words = CString::new(words).expect("words and numbers");
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        match rustix::mount::mount(SOURCE, path, TYPE, flags, Some(words.as_c_str())) {
            Ok(()) => Ok(device),
            Err(Errno::PERM) => helper::mount(path),
            Err(errno) => Err(Error::Io { path: path.clone(), what: "mounting", error: errno.into() }),
        }
    }

    /// Takes the mount away. A word where somebody uses it still.
    fn unmount(mut self) -> Option<String> {
        self.is_mounted = false;
        let path = &self.place.path;
        match detach_unless_used(path) {
            Ok(()) => None,
            Err(Errno::INVAL) => None, // somebody has done so already
            Err(Errno::BUSY) => {
                let lazily = detach(path, true);
                let failed = lazily.err().map(|errno| format!(" (it cannot be hidden either: {errno})"));
                let failed = failed.unwrap_or_default();
                Some(format!("{}: still in use; its users get errors from now on{failed}", path.display()))
            }
            Err(errno) => Some(format!("{}: cannot be unmounted: {errno}", path.display())),
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = detach(&self.place.path, true); // a process that dies leaves it, too
        }
        match (self.place.made, self.place.is_folder) {
            (true, true) => drop(fs::remove_dir(&self.place.path)), // the next start takes what it finds
            (true, false) => drop(fs::remove_file(&self.place.path)),
            (false, _) => {}
        }
    }
}

/// A mount in the hands of the thread that takes it away.
pub(crate) struct Kept {
    path: PathBuf,
    order: SyncSender<()>,
    outcome: Receiver<Option<String>>,
}

impl Kept {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the mount away while the core goes on. A word where somebody uses it still.
    pub(crate) async fn unmount(self) -> Option<String> {
        self.order.send(()).ok()?;
        self.outcome.recv().await
    }
}

/// Takes the mount at `path` away, unless somebody uses it still. Who has just closed the file, or taken a loop device off it,
/// may use it for a moment longer: the kernel lets go of both later.
fn detach_unless_used(path: &Path) -> Result<(), Errno> {
    for _ in 0..TRIES_TO_LET_GO {
        match detach(path, false) {
            Err(Errno::BUSY) => thread::sleep(BETWEEN_TRIES),
            outcome => return outcome,
        }
    }
    detach(path, false)
}

/// Takes the mount at `path` away; `lazily`: out of sight at once, and for good when its last user has gone.
fn detach(path: &Path, lazily: bool) -> Result<(), Errno> {
    let flags = if lazily { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(path, flags | UnmountFlags::NOFOLLOW) {
        Err(Errno::PERM) => helper::unmount(path, lazily),
        outcome => outcome,
    }
}
