//! A disk with a defect: a sector that cannot be read until it is written again, as disks have them.
//!
//! Served over NBD by a thread of this process, since a file has no such sectors.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use block::{Cause, Dev, Device, Failed, Geometry, Op, Request, SECTOR, Sectors, Ticket};
use nbd::{Export, Exports, Room, Server, limits};
use runtime::mailbox::{Receiver, Sender, mailbox};
use runtime::os::{Choice, OpenMode, Os, listen};
use runtime::{Address, Runtime};

/// The disk. When it is dropped, it is served no more.
pub struct DefectiveDisk {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl DefectiveDisk {
    /// Takes a sector's content away from the disk at `path`.
    pub fn damage(path: &Path, sector: Sectors) -> Result<()> {
        let file = File::options().write(true).open(path);
        let lost = file.and_then(|file| file.write_all_at(&[0; SECTOR as usize], sector.bytes()));
        lost.with_context(|| path.display().to_string())
    }

    /// Serves the disk at `path`, of which this sector cannot be read, at `socket`.
    pub fn serve(path: &Path, socket: &Path, sector: Sectors) -> Result<DefectiveDisk> {
        let (stop, stopped) = mailbox(1);
        let (ready, is_ready) = mpsc::channel();
        let (path, socket) = (path.to_owned(), socket.to_owned());
        let thread = std::thread::spawn(move || {
            let told = ready.clone();
            if let Err(error) = run(path, socket, sector, stopped, move || ready.send(Ok(())).is_ok()) {
                let _ = told.send(Err(error)); // unless it served, and nobody listens any more
            }
        });
        let disk = DefectiveDisk { stop, thread: Some(thread) };
        is_ready.recv().map_err(|_| anyhow!("the disk's thread has ended"))??;
        Ok(disk)
    }
}

impl Drop for DefectiveDisk {
    fn drop(&mut self) {
        let _ = self.stop.send(()); // it may have ended
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread, from its start to its stop.
fn run(
    path: PathBuf,
    socket: PathBuf,
    sector: Sectors,
    stopped: Receiver<()>,
    serving: impl FnOnce() -> bool,
) -> Result<()> {
    let os = Os::new(Choice::Threads)?;
    Runtime::new(os.clone()).block_on(async {
        let opened = os.open(&path, OpenMode::Write)?;
        let disk = Defective { below: opened.device, sector, lost: Cell::new(true) };
        let exports = Exports::new();
        if !exports.add(Export::new("disk", "a disk with a defect", Rc::new(disk), false)) {
            bail!("the only export of its server");
        }
        let room = Room { connections: 2, connection_bytes: limits::LEAST_CONNECTION_BYTES };
        let server = Server::new(listen(&os, &Address::Unix(socket))?, Rc::new(exports), room);
        if serving() {
            stopped.recv().await;
        }
        server.stop().await;
        Ok(())
    })
}

/// A device of which one sector is lost until it is written.
struct Defective {
    below: Dev,
    sector: Sectors,
    lost: Cell<bool>,
}

impl Device for Defective {
    fn start(&self, request: Request) -> Ticket {
        let meets = request.range.start <= self.sector && self.sector < request.range.end();
        match request.op {
            Op::Read if meets && self.lost.get() => return Ticket::ready(Err(Failed::new(Cause::Medium))),
            Op::Write if meets => self.lost.set(false),
            _ => {}
        }
        self.below.start(request)
    }

    fn geometry(&self) -> Geometry {
        self.below.geometry()
    }

    fn height(&self) -> u8 {
        self.below.height()
    }
}
