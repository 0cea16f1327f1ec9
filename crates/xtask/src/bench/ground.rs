//! The folder in which members lie for as long as they are measured, and who clears it away.
//!
//! A shell waits for us at the other end of a pipe. Whatever ends us, the pipe closes then; it unmounts what is mounted
//! in the folder, detaches loop devices over files in it, and removes it. As root it lives in a mount namespace of its
//! own, in which all our mounts are made: they end with it in any case, and nobody else ever sees them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use crate::shell;

/// `$1` is the folder. The shell and what it starts do not listen to Ctrl-C, of which every process at a terminal is told.
/// A mount may still be in use by a program that is ending together with us.
const CLEAR: &str = r#"
trap '' INT TERM HUP
echo
cat
for mount in "$1"/*.mount; do
    [ -d "$mount" ] && umount --lazy "$mount"
done
if command -v losetup > /dev/null; then
    losetup --list --noheadings --output NAME,BACK-FILE | while read -r device file; do
        case "$file" in "$1"/*) losetup --detach "$device" ;; esac
    done
fi
rm -rf -- "$1"
"#;

/// A folder that is cleared away when this is dropped, or when the process ends however it may.
pub struct Ground {
    folder: PathBuf,
    keeper: Child,
    can_mount: bool,
}

impl Ground {
    /// Makes the folder below `members`.
    pub fn new(members: &Path) -> anyhow::Result<Ground> {
        let folder = tempfile::Builder::new().prefix("ashlar-bench-").tempdir_in(members)?.keep();
        let can_mount = rustix::process::geteuid().is_root();
        let mut keeper = match can_mount {
            true => shell::command("unshare"),
            false => shell::command("sh"),
        };
        if can_mount {
            keeper.args(["--mount", "sh"]);
        }
        keeper.args(["-c", CLEAR, "sh"]).arg(&folder);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = keeper.spawn().context("starting the shell that clears away")?;
        // Its line says that it is there, and its mount namespace with it.
        let line = keeper.stdout.as_mut().map(|said| said.read_exact(&mut [0]));
        line.context("its output is piped")?.context("the shell that clears away did not start")?;
        Ok(Ground { folder, keeper, can_mount })
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether anything can be mounted here.
    pub fn can_mount(&self) -> bool {
        self.can_mount
    }

    /// A program that runs where our mounts are.
    pub fn command(&self, program: &str) -> Command {
        let mut command = shell::command("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id())).arg(program);
        command
    }

    /// A path below one of our mounts, as it is called from outside.
    pub fn seen_from_outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A file of bytes that do not compress, all allocated.
pub fn fill(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut block = vec![0; 1 << 20];
    for _ in 0..bytes / block.len() as u64 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_gone_when_the_pipe_closes() {
        let ground = Ground::new(&std::env::temp_dir()).expect("a shell runs");
        let file = ground.path("member.img");
        std::fs::write(&file, "content").expect("the folder is there");
        drop(ground);
        assert!(!file.parent().expect("it lies in the folder").exists());
    }
}
