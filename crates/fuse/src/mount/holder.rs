//! Another process that mounts, holds the mount, and takes it away: the one that serves may be forbidden to (ADR 24).
//!
//! They speak by packets on a socket, which is the holder's standard input. The number of volumes goes there; the place comes
//! back, with the device, or why it cannot be had. Then one word: to unmount, what came of it being the answer, or to drop the
//! mount as it is. A holder whose master has died does nothing: the next start finds a dead mount and takes it away, as ever.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, send,
    sendmsg, socketpair,
};

use super::helper::receive;
use super::{Options, Own};
use crate::Error;

// What begins a packet.
const FILE: u8 = b'f';
const FOLDER: u8 = b'd';
const REFUSED: u8 = b'e';
const UNMOUNT: u8 = b'u';
const DROP: u8 = b'x';

/// The longest packet: a path, or a sentence with one.
const PACKET_BYTES: usize = 16 << 10;

/// The other process, as the one that serves sees it.
#[derive(Debug)]
pub struct Holder {
    path: PathBuf,
    socket: OwnedFd,
    child: Child,
}

/// What it mounted.
pub(super) struct Held {
    pub path: PathBuf,
    pub is_folder: bool,
    pub device: OwnedFd,
}

impl Holder {
    /// Starts `program`, which is to call [`hold`] with this path. Nothing is mounted yet.
    pub fn start(mut program: Command, path: &Path) -> Result<Holder, Error> {
        let failed = |error| Error::Holder { path: path.to_owned(), error };
        let (own, its) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|errno| failed(errno.into()))?;
        // A group of its own: who stops the server by the keyboard does not mean it.
        program.stdin(its).process_group(0);
        let child = program.spawn().map_err(failed)?;
        Ok(Holder { path: path.to_owned(), socket: own, child })
    }

    pub(super) fn mount(mut self, volumes: usize) -> Result<(Holder, Held), Error> {
        let failed = |error| Error::Holder { path: self.path.clone(), error };
        let mut room = vec![0; PACKET_BYTES];
        let asked = send(&self.socket, &(volumes as u64).to_le_bytes(), SendFlags::NOSIGNAL);
        let (bytes, device) = asked
            .and_then(|_| receive(&self.socket, &mut room))
            .map_err(|errno| failed(io::Error::from(errno)))?;
        match (room[..bytes].split_first(), device) {
            (Some((&kind @ (FILE | FOLDER), path)), Some(device)) => {
                let path = PathBuf::from(OsStr::from_bytes(path));
                Ok((self, Held { path, is_folder: kind == FOLDER, device }))
            }
            (Some((&REFUSED, text)), _) => {
                let _ = self.child.wait(); // it ends after that
                Err(Error::Said(String::from_utf8_lossy(text).into_owned()))
            }
            _ => Err(failed(io::Error::from(io::ErrorKind::UnexpectedEof))),
        }
    }

    /// Takes the mount away. A word where somebody uses it still.
    pub(super) fn unmount(mut self, path: &Path) -> Option<String> {
        let mut room = vec![0; PACKET_BYTES];
        let asked = send(&self.socket, &[UNMOUNT], SendFlags::NOSIGNAL);
        let answer = asked.and_then(|_| receive(&self.socket, &mut room));
        let _ = self.child.wait(); // it has said what there is to say
        match answer {
            Ok((bytes, _)) if bytes > 0 => {
                let text = String::from_utf8_lossy(&room[1..bytes]).into_owned();
                Some(text).filter(|text| !text.is_empty())
            }
            _ => Some(format!("{}: the process that was to unmount it has ended", path.display())),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = send(&self.socket, &[DROP], SendFlags::NOSIGNAL); // one that has unmounted is gone
        let _ = self.child.wait();
    }
}

/// What the holder's process does: mounts at `path` when it is told for how many volumes, and takes it away when it is told
/// to. `socket` is its standard input.
pub fn hold(socket: impl AsFd, path: &Path, tell: fn(&str)) -> io::Result<()> {
    let mut word = [0; 8];
    let (8, _) = receive(&socket, &mut word)? else { return Ok(()) }; // nobody wants a mount any more
    let options = Options { volumes: u64::from_le_bytes(word) as usize, tell };
    let (own, device) = match Own::new(path, options) {
        Ok(mounted) => mounted,
        Err(error) => return Ok(answer(&socket, REFUSED, error.to_string().as_bytes(), None)?),
    };
    let kind = if own.place.is_folder { FOLDER } else { FILE };
    answer(&socket, kind, own.place.path.as_os_str().as_bytes(), Some(&device))?;
    drop(device); // it is the server's: the mount is dead when the server is
    match receive(&socket, &mut word[..1])? {
        (1, _) if word[0] == UNMOUNT => {
            let said = own.unmount().unwrap_or_default();
            answer(&socket, UNMOUNT, said.as_bytes(), None)?;
        }
        (1, _) => drop(own),
        _ => std::mem::forget(own),
    }
    Ok(())
}

fn answer(socket: impl AsFd, kind: u8, text: &[u8], device: Option<&OwnedFd>) -> Result<(), Errno> {
    let text = &text[..text.len().min(PACKET_BYTES - 1)];
    let files = device.map(|device| [device.as_fd()]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(files) = &files {
        control.push(SendAncillaryMessage::ScmRights(files));
    }
    sendmsg(socket, &[IoSlice::new(&[kind]), IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
