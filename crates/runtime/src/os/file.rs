//! A member on this machine: a file or a block device as a [`Device`].

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;

use block::{Cause, Counters, Device, Failed, Geometry, Op, Outcome, Request, SECTOR, Sectors, Ticket};
use rustix::fs::SeekFrom;

use super::helper::Helper;
use super::inflight::Job;
use super::{Os, Way, crew};
use crate::meter::Meter;

/// A file or a block device. Made by [`Os::open`](super::Os::open).
pub struct FileDevice {
    inner: Rc<Inner>,
}

/// What requests in flight keep alive: the descriptor outlives them even when the device is dropped.
struct Inner {
    os: Rc<Os>,
    file: OwnedFd,
    registered: Option<u32>,
    helper: Helper,
    geometry: Cell<Geometry>,
    meter: Meter,
    /// The file lives in memory (tmpfs): a transfer is a copy, done at once. A ring would hand it to a worker thread.
    in_memory: bool,
}

impl FileDevice {
    pub(super) fn new(
        os: &Rc<Os>,
        file: OwnedFd,
        path: &Path,
        is_block: bool,
        geometry: Geometry,
    ) -> io::Result<Rc<FileDevice>> {
        let helper = Helper::new(&thread_name(path), file.try_clone()?, is_block, &os.completions)?;
        let registered = match &os.way {
            Way::Uring(uring) => uring.register_file(file.as_raw_fd()),
            Way::Crew(_) => None,
        };
        let in_memory = is_in_memory(&file);
        let (os, meter) = (os.clone(), Meter::new(&path.to_string_lossy(), 0));
        let inner =
            Rc::new(Inner { os, file, registered, helper, geometry: Cell::new(geometry), meter, in_memory });
        Ok(Rc::new(FileDevice { inner }))
    }

    /// The descriptor, for what is asked about the member outside the data path.
    pub fn raw_fd(&self) -> RawFd {
        self.inner.file.as_raw_fd()
    }

    /// Asks the system how large the member is now, and takes what it has grown by into use. A member that has become
    /// shorter keeps its size: requests behind the end fail, as they would anyhow.
    pub fn look_at_size(&self) -> io::Result<Sectors> {
        let bytes = rustix::fs::seek(&self.inner.file, SeekFrom::End(0))?;
        let geometry = self.inner.geometry.get();
        let size = geometry.size.max(Sectors::from_bytes(bytes));
        self.inner.geometry.set(Geometry { size, ..geometry });
        Ok(size)
    }

    fn check(&self, request: &Request) -> Result<(), Failed> {
        let geometry = self.inner.geometry.get();
        let block = Sectors(u64::from(geometry.logical_block) / SECTOR);
        let range = request.range;
        let fits = range.start.checked_add(range.count).is_some_and(|end| end <= geometry.size);
        let aligned = range.start.is_multiple_of(block) && range.count.is_multiple_of(block);
        let allowed = !(geometry.read_only && request.is_write());
        if fits && aligned && allowed { Ok(()) } else { Err(Failed::new(Cause::Refused)) }
    }
}

impl Device for FileDevice {
    fn start(&self, request: Request) -> Ticket {
        let inner = &self.inner;
        let (ticket, answer) = inner.meter.begin(&request);
        if let Err(refused) = self.check(&request) {
            answer.finish(Err(refused));
            return ticket;
        }
        let job = Job {
            fd: inner.file.as_raw_fd(),
            registered_file: inner.registered,
            registered_arena: request.buf.as_ref().and_then(|buf| buf.arena().registration()),
            op: request.op,
            memory: request.buf.as_ref().map_or(std::ptr::null_mut(), |buf| buf.as_ptr()),
            len: request.range.count.byte_len(),
            offset: request.range.start.bytes(),
            fua: request.fua,
            may_unmap: request.may_unmap,
        };
        if inner.in_memory && matches!(job.op, Op::Read | Op::Write) {
            answer.finish(transfer_all(job));
            return ticket;
        }
        let id = inner.os.inflight.enter(request, job, answer, inner.clone());
        match job.op {
            Op::Read | Op::Write => inner.os.submit(id, job),
            _ => inner.helper.submit(id, job),
        }
        ticket
    }

    fn geometry(&self) -> Geometry {
        self.inner.geometry.get()
    }

    fn look_at_size(&self) {
        let _ = FileDevice::look_at_size(self); // what does not tell has not grown
    }

    fn counters(&self) -> Option<Rc<Counters>> {
        Some(self.inner.meter.counters())
    }
}

/// What the helper thread is called: the kernel keeps 15 bytes.
fn thread_name(path: &Path) -> String {
    let name = path.file_name().map_or("member".into(), |name| name.to_string_lossy());
    format!("h-{name}").chars().take(15).filter(|c| *c != '\0').collect()
}

fn is_in_memory(file: &OwnedFd) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    rustix::fs::fstatfs(file).is_ok_and(|found| [TMPFS, RAMFS].contains(&found.f_type))
}

/// Carries a job out here and now.
fn transfer_all(mut job: Job) -> Outcome {
    while job.len > 0 {
        match crew::transfer(job) {
            0 => return Err(Failed::new(Cause::Medium)), // the file has become shorter
            moved @ 1.. => job.advance(moved as usize),
            errno if errno == -libc::EINTR => {}
            errno => return Err(Failed::from_errno(-errno)),
        }
    }
    Ok(())
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let (Some(number), Way::Uring(uring)) = (self.registered, &self.os.way) {
            uring.unregister_file(number);
        }
        // The ring may let go of the file a little later; the lock ends now.
        super::lock::unlock_file(&self.file);
    }
}
