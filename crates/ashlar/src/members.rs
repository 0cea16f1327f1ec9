//! Opening members: files, block devices and remote disks, by the names that people type.
//!
//! A disk named twice is refused, also under two names. All that is wrong with any of them is said at once.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use block::{Dev, Device};
use control::Hold;
use runtime::os::{LockError, OpenError, OpenMode, Opened, Os};

use crate::remote;
use crate::world::World;

/// How long a lock is waited for: the locks of a process that was killed end a moment after it, when the kernel has
/// taken its ring apart, and whoever starts the next one at once should not have to know that.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// An opened member.
pub struct Member {
    /// As it was typed.
    pub name: String,
    /// Its device, which can be let go of.
    pub hold: Rc<Hold>,
    /// What it is asked to do waits in no cache of this machine.
    pub is_direct: bool,
}

impl Member {
    /// The device.
    pub fn device(&self) -> Dev {
        self.hold.clone()
    }
}

/// How members are opened.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// For reading or writing.
    pub mode: OpenMode,
    /// Somebody promised that nobody else writes to remote members.
    pub sole_writer: bool,
}

impl How {
    /// For reading; with `live` even while others write.
    pub fn read(live: bool) -> How {
        How { mode: if live { OpenMode::ReadLive } else { OpenMode::Read }, sole_writer: false }
    }

    /// For reading and writing.
    pub fn write(sole_writer: bool) -> How {
        How { mode: OpenMode::Write, sole_writer }
    }
}

/// Opens all of `names`, or says what is wrong with each that cannot be.
pub fn open(world: &World, names: &[String], how: How) -> Result<Vec<Member>> {
    refuse_twins(names)?;
    let give_up = Instant::now() + PATIENCE;
    let mut members = Vec::with_capacity(names.len());
    let mut errors = Vec::new();
    for name in names {
        match open_one(world, name, how, give_up) {
            Ok(member) => members.push(member),
            Err(error) => errors.push(format!("{error:#}")),
        }
    }
    match errors.len() {
        0 => Ok(members),
        1 => Err(anyhow!(errors.remove(0))),
        count => Err(anyhow!("{count} members cannot be opened:\n  {}", errors.join("\n  "))),
    }
}

fn open_one(world: &World, name: &str, how: How, give_up: Instant) -> Result<Member> {
    match remote::is_url(name) {
        true => world.runtime.block_on(remote::open(&world.os, name, how)),
        false => open_disk(&world.os, name, how, give_up),
    }
}

/// Opens one disk while everything runs: nobody is waited for, not even the end of a process that was killed.
pub async fn open_now(os: &Rc<Os>, name: &str, how: How) -> Result<Member> {
    match remote::is_url(name) {
        true => remote::open(os, name, how).await,
        false => open_disk(os, name, how, Instant::now()),
    }
}

fn open_disk(os: &Rc<Os>, name: &str, how: How, give_up: Instant) -> Result<Member> {
    let opened = open_local(os, Path::new(name), how.mode, give_up)?;
    if opened.device.geometry().size.is_zero() {
        bail!("{name}: is empty; a member holds at least a superblock");
    }
    if let Some(disk) = opened.disk_of_another.filter(|_| how.mode == OpenMode::Write) {
        eprintln!("ashlar: warning: {name}: {disk}");
    }
    let (is_direct, hold) = (opened.is_direct, Hold::new(opened.device, opened.disk));
    Ok(Member { name: name.to_owned(), hold, is_direct })
}

/// Opens a file or a block device; one that is locked is tried again for a moment.
fn open_local(os: &Rc<Os>, path: &Path, mode: OpenMode, give_up: Instant) -> Result<Opened, OpenError> {
    loop {
        match os.open(path, mode) {
            Err(OpenError::Locked { why: LockError::Process { .. }, .. }) if Instant::now() < give_up => {
                sleep(TRY_AGAIN);
            }
            other => return other,
        }
    }
}

/// A member as a person names it in this folder, for what runs, which may run in another one.
pub fn in_this_folder(name: &str) -> Result<String> {
    if remote::is_url(name) {
        return Ok(name.to_owned());
    }
    let here = std::env::current_dir().context("the folder that this runs in")?;
    Ok(here.join(name).to_string_lossy().into())
}

/// What makes two names the same disk.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Block(u64),
    File(u64, u64),
    Remote(String),
}

/// Looked for before anything is opened: a disk that is open already would only say that it is in use, by ourselves.
fn refuse_twins(names: &[String]) -> Result<()> {
    let mut seen: BTreeMap<Identity, &String> = BTreeMap::new();
    for name in names {
        // What cannot be looked at is told when it is opened.
        let Some(identity) = identify(name) else { continue };
        match seen.insert(identity, name) {
            Some(first) if first == name => bail!("{name}: is named twice"),
            Some(first) => bail!("{first} and {name} are the same disk; name it once"),
            None => {}
        }
    }
    Ok(())
}

fn identify(name: &str) -> Option<Identity> {
    if remote::is_url(name) {
        return remote::identity(name).map(Identity::Remote);
    }
    let metadata = std::fs::metadata(name).ok()?;
    match metadata.file_type().is_block_device() {
        true => Some(Identity::Block(metadata.rdev())),
        false => Some(Identity::File(metadata.dev(), metadata.ino())),
    }
}
