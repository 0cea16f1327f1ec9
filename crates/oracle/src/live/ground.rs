//! What a live guest is given: a disk with the programs and what they are linked with, and the members.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Named;
use crate::host::{installed, output_of};
use crate::{Error, Missing};

/// Three members of the raid5, and the cache. More is written than the cache has room for.
const MEMBERS: [(&str, u64); 4] =
    [("b1.img", 384 << 20), ("b2.img", 384 << 20), ("b3.img", 384 << 20), ("c.img", 192 << 20)];

/// Room for the programs.
const PROGRAMS_BYTES: u64 = 256 << 20;

/// Programs of this machine that the guest needs beside ours, and their packages.
const TOOLS: [(&str, &str); 3] = [("losetup", "mount"), ("mkfs.ext4", "e2fsprogs"), ("e2fsck", "e2fsprogs")];

/// How long our server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// The guest's own root has these, as new as any.
const OF_THE_GUEST: [&str; 2] = ["ld-linux-x86-64.so.2", "libc.so.6"];

pub(super) fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}

/// An image of a file system with the programs in `bin/` and their libraries in `lib/`: they lie on a disk, so that the
/// kernel can drop their pages when memory is short, as on any machine.
pub(super) fn programs(
    folder: &Path,
    ashlar: &Path,
    peer: Option<(&'static str, &'static str)>,
) -> Result<PathBuf, Error> {
    let (root, image) = (folder.join("programs"), folder.join("programs.img"));
    for part in ["bin", "lib"] {
        fs::create_dir_all(root.join(part)).named("create", &root)?;
    }
    let mut libraries = BTreeSet::new();
    let mut programs = vec![("ashlar", ashlar.to_owned())];
    for (program, package) in TOOLS.into_iter().chain(peer) {
        programs.push((program, found(program, package)?));
    }
    for (name, source) in programs {
        let target = root.join("bin").join(name);
        fs::copy(&source, &target).named("copy", &source)?;
        // Without what debuggers want it is a fifth as large; with it, it runs as well.
        let _ = Command::new("strip").arg(&target).stderr(Stdio::null()).status();
        libraries.extend(libraries_of(&source)?);
    }
    for library in libraries {
        let name = library.file_name().unwrap_or_default();
        if !OF_THE_GUEST.iter().any(|own| name == *own) {
            fs::copy(&library, root.join("lib").join(name)).named("copy", &library)?;
        }
    }
    sparse(&image, PROGRAMS_BYTES)?;
    let mkfs = found("mkfs.ext4", "e2fsprogs")?;
    output_of(Command::new(mkfs).args(["-q", "-F", "-d"]).arg(&root).arg(&image))?;
    Ok(image)
}

/// The members' images: a raid5, on it a backing device, and a cache for it with write-back.
pub(super) fn members(folder: &Path, ashlar: &Path) -> Result<Vec<PathBuf>, Error> {
    let paths: Vec<PathBuf> = MEMBERS.iter().map(|(name, _)| folder.join(name)).collect();
    for (path, (_, bytes)) in paths.iter().zip(MEMBERS) {
        sparse(path, bytes)?;
    }
    let (cache, disks) = paths.split_last().expect("four");
    let mut create = Command::new(ashlar);
    create.args(["create", "slow", "--level", "5", "--assume-clean", "--homehost", "none"]);
    output_of(create.args(disks))?;
    let socket = folder.join("socket");
    let mut server = Server::start(folder, ashlar, disks, &socket)?;
    let uri = format!("nbd+unix:///slow?socket={}", socket.display());
    let mut create = Command::new(ashlar);
    create.args(["cache", "create", "--bucket", "128K", "--mode", "writeback", "--label", "home", "--cache"]);
    output_of(create.arg(cache).arg("--backing").arg(uri))?;
    server.stop(folder, ashlar)?;
    Ok(paths)
}

/// Our server, for as long as the backing device is made.
struct Server(Child);

impl Server {
    fn start(folder: &Path, ashlar: &Path, disks: &[PathBuf], socket: &Path) -> Result<Server, Error> {
        let mut run = Command::new(ashlar);
        run.arg("run").args(disks).args(["--name", "making", "--nbd"]).arg(socket);
        run.arg("--run-dir").arg(folder).arg("--state-dir").arg(folder);
        let child = run.stdin(Stdio::null()).stderr(Stdio::null()).spawn().named("start", ashlar)?;
        let (server, begin) = (Server(child), Instant::now());
        while !socket.exists() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server) // where it does not listen, who connects says so
    }

    fn stop(&mut self, folder: &Path, ashlar: &Path) -> Result<(), Error> {
        output_of(Command::new(ashlar).args(["stop", "making", "--run-dir"]).arg(folder))?;
        self.0.wait().named("wait for", ashlar)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it has ended, unless something failed
        let _ = self.0.wait();
    }
}

fn sparse(path: &Path, bytes: u64) -> Result<(), Error> {
    File::create(path).and_then(|file| file.set_len(bytes)).named("create", path)
}

/// A program, also where only root's path leads.
fn found(program: &'static str, package: &str) -> Result<PathBuf, Missing> {
    let other = Path::new("/usr/sbin").join(program);
    if other.is_file() { Ok(other) } else { installed(program, package) }
}

/// What the loader would load for a program.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>, Error> {
    let text = output_of(Command::new("ldd").arg(program))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once("=> "))
        .filter_map(|(_, rest)| rest.split_whitespace().next())
        .map(PathBuf::from)
        .collect())
}
