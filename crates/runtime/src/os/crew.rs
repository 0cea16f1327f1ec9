//! A fixed crew of threads for reads and writes, where io_uring cannot be had; sockets are waited for with epoll.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use block::{Moment, Op};
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};

use super::Os;
use super::inflight::{Completions, Job};
use super::queue::JobQueue;
use crate::executor::Wait;

/// Threads in the crew: how many reads and writes are under way at once. Disks like 8 and more; threads that
/// sleep cost nothing but their stacks.
const THREADS: usize = 16;

/// Jobs that can wait for the crew without allocating.
const QUEUE: usize = 4096;

/// Events taken from epoll at a time.
const EVENTS: usize = 64;

pub(super) struct Crew {
    shared: Arc<Shared>,
    epoll: OwnedFd,
}

struct Shared {
    queue: JobQueue,
    completions: Arc<Completions>,
}

/// The number under which the bell is known to epoll; sockets have their place in the table of interests.
const BELL: u64 = u64::MAX;

impl Crew {
    pub fn new(completions: &Arc<Completions>) -> io::Result<Crew> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, completions.bell(), epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        let shared = Arc::new(Shared { queue: JobQueue::new(QUEUE), completions: completions.clone() });
        for number in 0..THREADS {
            let own = shared.clone();
            let builder = thread::Builder::new().name(format!("io-{number}")).stack_size(128 << 10);
            builder.spawn(move || own.work())?;
        }
        Ok(Crew { shared, epoll })
    }

    pub fn submit(&self, id: u32, job: Job) {
        self.shared.queue.push(id, job);
    }

    /// Lets epoll watch a socket, in both directions, from now on.
    pub fn watch(&self, fd: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(u64::from(number)), flags)?;
        Ok(())
    }

    pub fn turn(&self, wait: Wait, now: Moment, os: &Os) {
        let timeout = match wait {
            Wait::No => Some(Timespec { tv_sec: 0, tv_nsec: 0 }),
            Wait::Until(moment) => {
                let ns = moment.since(now);
                Some(Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 })
            }
            Wait::Forever => None,
        };
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        let (ready, _) = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => return,
            Err(errno) => panic!("epoll_wait on our own epoll fails: {errno}"),
        };
        for event in ready.iter() {
            let (number, flags) = (event.data.u64(), event.flags);
            if number == BELL {
                continue; // the completions are taken after every turn
            }
            let over = epoll::EventFlags::ERR | epoll::EventFlags::HUP | epoll::EventFlags::RDHUP;
            let over = flags.intersects(over);
            os.readiness.fired(
                number as u32,
                over || flags.contains(epoll::EventFlags::IN),
                over || flags.contains(epoll::EventFlags::OUT),
            );
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Shared {
    fn work(&self) {
        while let Some((id, job)) = self.queue.next() {
            self.completions.put(id, transfer(job));
        }
    }
}

/// One system call for a read or a write: bytes moved, or an error number, negative.
pub(super) fn transfer(job: Job) -> i32 {
    // SAFETY: the table of requests in flight keeps the file open and the memory alive until this is answered.
    let file = unsafe { BorrowedFd::borrow_raw(job.fd) };
    // SAFETY: as above; nobody else touches the memory meanwhile.
    let memory = unsafe { std::slice::from_raw_parts_mut(job.memory, job.len) };
    let moved = match job.op {
        Op::Read => preadv2(file, &mut [IoSliceMut::new(memory)], job.offset, ReadWriteFlags::empty()),
        _ => {
            let flags = if job.fua { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() };
            pwritev2(file, &[IoSlice::new(memory)], job.offset, flags)
        }
    };
    match moved {
        Ok(moved) => i32::try_from(moved).expect("a buffer is at most 1 MiB"),
        Err(errno) => -errno.raw_os_error(),
    }
}
