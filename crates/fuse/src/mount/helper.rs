//! `fusermount3`: mounts for who is not root, and hands the device over a socket.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{FOR_ROOT, OPTIONS, SOURCE};
use crate::Error;

const PROGRAM: &str = "fusermount3";

/// Under this name it finds the number of the socket. It is given the socket as its standard input, which is 0.
const SOCKET: (&str, &str) = ("_FUSE_COMMFD", "0");

/// Mounts at `path`. Others than the mount's owner, root included, are let in where the system's settings allow it.
pub(super) fn mount(path: &Path) -> Result<OwnedFd, Error> {
    match mount_with(path, &format!("{OPTIONS},{FOR_ROOT}")) {
        Err(Error::Refused { text, .. }) if text.contains("user_allow_other") => mount_with(path, OPTIONS),
        outcome => outcome,
    }
}

fn mount_with(path: &Path, options: &str) -> Result<OwnedFd, Error> {
    let (own, its) = UnixStream::pair().map_err(Error::NoHelper)?;
    let mut command = Command::new(PROGRAM);
    command.arg("-o").arg(format!("{options},noexec,fsname={SOURCE},subtype={SOURCE}")).arg("--").arg(path);
    command.env(SOCKET.0, SOCKET.1).stdin(OwnedFd::from(its)).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().map_err(Error::NoHelper)?;
    drop(command); // with its end of the socket: if the helper ends without a word, receiving does so too
    let device = receive(&own, &mut [0]).ok().and_then(|(_, device)| device);
    let ended = child.wait_with_output().map_err(Error::NoHelper)?;
    match (device, ended.status.success()) {
        (Some(device), true) => Ok(device),
        _ => {
            let text = String::from_utf8_lossy(&ended.stderr).trim().replace('\n', "; ");
            Err(Error::Refused { path: path.to_owned(), text })
        }
    }
}

/// Bytes into `room`, how many, and the file that came with them.
pub(super) fn receive(socket: impl AsFd, room: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut vectors = [IoSliceMut::new(room)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let come = rustix::io::retry_on_intr(|| recvmsg(&socket, &mut vectors, &mut control, flags))?;
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Ok((come.bytes, file))
}

/// Takes the mount at `path` away.
pub(super) fn unmount(path: &Path, lazily: bool) -> Result<(), Errno> {
    let mut command = Command::new(PROGRAM);
    command.args(if lazily { &["-u", "-z"][..] } else { &["-u"] }).arg("--").arg(path);
    let ended = command.stdin(Stdio::null()).output().map_err(|_| Errno::PERM)?;
    let text = String::from_utf8_lossy(&ended.stderr);
    match ended.status.success() {
        true => Ok(()),
        false if text.contains("busy") => Err(Errno::BUSY),
        false if text.contains("not found") || text.contains("Invalid argument") => Err(Errno::INVAL),
        false => Err(Errno::PERM),
    }
}
