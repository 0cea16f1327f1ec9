//! The whole disk under a partition: its node is flocked while a partition of it is a member.
//!
//! udev takes a shared lock on a whole disk's node (never on a partition's) while it looks at the disk or at a partition of
//! it, and leaves both alone when it cannot (<https://systemd.io/BLOCK_DEVICE_LOCKING/>). So a member that is written to
//! needs the lock exclusively; one that is only read needs it shared, to keep partitioning programs away.
//!
//! Several partitions of one disk may be members. Those of one process share one lock. Where another process of this program
//! has the disk already, udev is kept away by that one for as long as it runs: then the member is used without the lock, and
//! its user is told. Anybody else who has the disk is a reason not to use its partitions.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, major, minor};
use rustix::io::Errno;

use super::holder::Holder;
use super::inflight::lock;
use super::lock::LockError;

/// A disk whose lock belongs to another process of this program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskOfAnother {
    /// The disk's node.
    pub node: PathBuf,
    /// Who has it.
    pub holder: Holder,
}

impl fmt::Display for DiskOfAnother {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, holder) = (self.node.display(), &self.holder);
        write!(
            f,
            "{holder} keeps udev away from {node}; when it ends, udev may look at the disk while it is in use here"
        )
    }
}

/// What came of locking a disk.
pub(super) enum Taken {
    /// The lock, shared with the other members of this process.
    Own(Arc<OwnedFd>),
    /// None is needed as long as that process runs.
    Another(DiskOfAnother),
}

/// The disks that this process has locked, by their nodes' file systems and inodes.
static LOCKED: Mutex<BTreeMap<(u64, u64), Weak<OwnedFd>>> = Mutex::new(BTreeMap::new());

/// Locks the disk behind `node`, exclusively for `writing`.
pub(super) fn take(node: &Path, writing: bool) -> Result<Taken, LockError> {
    let system = |errno| LockError::System { errno };
    let file = rustix::fs::open(node, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(system)?;
    let file = fs::File::from(file);
    let metadata =
        file.metadata().map_err(|error| system(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    let mut locked = lock(&LOCKED);
    locked.retain(|_, known| known.strong_count() > 0);
    let key = (metadata.dev(), metadata.ino());
    let known = locked.get(&key).and_then(Weak::upgrade);
    // A lock is changed through the open file that has it.
    let held = known.unwrap_or_else(|| Arc::new(OwnedFd::from(file)));
    let asked = match writing {
        true => flock(&*held, FlockOperation::NonBlockingLockExclusive),
        false if Arc::strong_count(&held) > 1 => Ok(()), // as strong as the others need it
        false => flock(&*held, FlockOperation::NonBlockingLockShared),
    };
    match asked {
        Ok(()) => {
            locked.insert(key, Arc::downgrade(&held));
            Ok(Taken::Own(held))
        }
        Err(Errno::AGAIN) => {
            // Asking for more has cost what the others had: they get it back, unless somebody was faster.
            if Arc::strong_count(&held) > 1 {
                let _ = flock(&*held, FlockOperation::NonBlockingLockShared);
            }
            match Holder::find(&metadata, &["FLOCK"]).filter(Holder::is_one_of_us) {
                Some(holder) => Ok(Taken::Another(DiskOfAnother { node: node.to_owned(), holder })),
                None => Err(LockError::Flock { node: node.to_owned(), holder: None }),
            }
        }
        Err(errno) => Err(system(errno)),
    }
}

/// The node of the disk that a partition is on; `None` for a whole disk.
pub(super) fn under(number: u64) -> Option<PathBuf> {
    let own = format!("/sys/dev/block/{}:{}", major(number), minor(number));
    if !Path::new(&own).join("partition").exists() {
        return None;
    }
    let parent = fs::canonicalize(own).ok()?.parent()?.file_name()?.to_owned();
    Some(Path::new("/dev").join(parent))
}

/// With files in place of nodes: the locks are the same.
#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn node(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ashlar-disk-{name}-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        path
    }

    /// Whether udev would look at the disk.
    fn udev_may_look(node: &Path) -> bool {
        let file = fs::File::open(node).unwrap();
        flock(&file, FlockOperation::NonBlockingLockShared).is_ok()
    }

    /// Another process that has the lock, when this returns.
    fn another(mut command: Command) -> Child {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("locked")));
        child
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    const NODE: &str = "ASHLAR_TEST_NODE";

    /// Nothing by itself: the process that the next but one runs.
    #[test]
    fn hold_a_disk_until_killed() {
        let Some(node) = std::env::var_os(NODE) else { return };
        let _taken = take(Path::new(&node), true).unwrap_or_else(|error| panic!("{error}"));
        println!("\nlocked");
        let _ = std::io::stdin().read_line(&mut String::new());
    }

    #[test]
    fn members_on_one_disk_share_a_lock_that_keeps_udev_away_until_the_last_is_closed() {
        let node = node("shared");
        let Ok(Taken::Own(reader)) = take(&node, false) else { panic!("nobody else has it") };
        assert!(udev_may_look(&node), "who only reads keeps nobody from looking");
        let Ok(Taken::Own(one)) = take(&node, true) else { panic!("it is our own") };
        let Ok(Taken::Own(other)) = take(&node, true) else { panic!("it is our own") };
        assert!(!udev_may_look(&node));
        let Ok(Taken::Own(late)) = take(&node, false) else { panic!("it is our own") };
        drop((one, late));
        assert!(!udev_may_look(&node), "a reader takes nothing from a writer");
        drop((reader, other));
        assert!(udev_may_look(&node));
        fs::remove_file(node).unwrap();
    }

    #[test]
    fn a_disk_that_another_process_of_ours_has_is_used_and_its_holder_is_named() {
        let node = node("another");
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = "os::whole_disk::tests::hold_a_disk_until_killed";
        command.args(["--exact", test, "--nocapture"]).env(NODE, &node);
        let child = another(command);
        for writing in [false, true] {
            let Ok(Taken::Another(found)) = take(&node, writing) else { panic!("the other one has it") };
            assert_eq!(found.holder.pid, child.id());
            let said = found.to_string();
            assert!(said.contains(&format!("process {}", child.id())) && said.contains("udev"), "{said}");
        }
        end(child);
        assert!(matches!(take(&node, true), Ok(Taken::Own(_))));
        fs::remove_file(node).unwrap();
    }

    #[test]
    fn a_disk_that_another_program_has_is_refused_and_the_program_is_named() {
        let node = node("stranger");
        let mut command = Command::new("flock");
        command.arg("--exclusive").arg("--no-fork").arg(&node).args(["sh", "-c", "echo locked; read line"]);
        if Command::new("flock").arg("--version").output().is_err() {
            return println!("left out: no flock program here");
        }
        let child = another(command);
        for writing in [false, true] {
            let Err(refused) = take(&node, writing) else { panic!("somebody else has it") };
            let said = refused.with_holder(&node).to_string();
            assert!(said.contains(&format!("process {} (sh)", child.id())), "{said}");
        }
        end(child);
        fs::remove_file(node).unwrap();
    }
}
