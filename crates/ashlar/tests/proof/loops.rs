//! Loop devices and file systems on them, which go when a test ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::mounted::is_possible;

/// A loop device; let go of when dropped.
pub struct Loop(pub String);

/// A mounted file system; taken away when dropped.
pub struct Mounted(pub PathBuf);

/// What a program prints, or why it fails.
pub fn run(words: &[&str]) -> Result<String, String> {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", words[0]))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

pub fn must(words: &[&str]) -> String {
    run(words).unwrap_or_else(|error| panic!("{error}"))
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test's own")
}

impl Loop {
    pub fn new(file: &Path, direct: bool) -> Result<Loop, String> {
        let direct = if direct { "--direct-io=on" } else { "--direct-io=off" };
        run(&["losetup", "--find", "--show", direct, text(file)]).map(Loop)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = run(&["losetup", "--detach", &self.0]);
    }
}

impl Mounted {
    pub fn new(device: &Loop, at: PathBuf) -> Mounted {
        fs::create_dir_all(&at).unwrap();
        must(&["mount", &device.0, text(&at)]);
        Mounted(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run(&["umount", text(&self.0)]);
    }
}

/// Whether file systems can live on loop devices here, with all these programs.
pub fn is_everything_there(what: &str, programs: &[(&str, &str)]) -> bool {
    if !is_possible(what) {
        return false;
    }
    let root = rustix::process::geteuid().is_root();
    let missing = if !root { Some("this is not root".to_owned()) } else { no_loop() };
    let missing = missing.or_else(|| {
        let mut missing =
            programs.iter().filter_map(|(program, package)| oracle::installed(program, package).err());
        missing.next().map(|missing| missing.to_string())
    });
    if let Some(missing) = &missing {
        oracle::left_out::record(what, missing);
    }
    missing.is_none()
}

fn no_loop() -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    Loop::new(file.path(), false).err()
}
