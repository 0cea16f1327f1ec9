//! io_uring: one ring for a core, with registered files and arenas.
//!
//! The ring belongs to one thread and runs its completions only when that thread asks (SINGLE_ISSUER, DEFER_TASKRUN),
//! so nothing interrupts the engine. Requests are gathered while tasks run and handed over in one system call, which
//! also picks up what has completed and, if there is nothing to do, waits.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use block::{Arena, Moment, Op};
use io_uring::register::Restriction;
use io_uring::{IoUring, Submitter, opcode, squeue, types};

use super::Os;
use super::inflight::{Completions, Job};
use super::readiness::Direction;
use crate::executor::{Driver, Wait};

/// Entries of the submission queue; the completion queue has twice as many. Fuller than this, it is submitted early.
const ENTRIES: u32 = 1024;

/// Files that can be registered: more members than any stack has.
const FILES: u32 = 512;

/// Arenas that can be registered.
const ARENAS: u32 = 64;

/// How long the ring is looked at again and again before the core sleeps, when something has just happened. Falling
/// asleep and waking up cost tens of microseconds, more than a request from a client that waits for each answer: looking
/// for as long makes such a client a good deal faster, and an idle core still sleeps.
const LOOK_AGAIN_NS: u64 = 50_000;

/// The kernel takes registered buffers of at most 1 GiB.
const ARENA_LIMIT: usize = 1 << 30;

// What a completion is for stands in the upper half of its user data.
const IO: u64 = 0;
const POLL: u64 = 1 << 32;
const BELL: u64 = 2 << 32;
const IGNORED: u64 = 3 << 32;

/// The entry for a job on `$file`, whose type only the ring's crate can name.
macro_rules! rw_entry {
    ($file:expr, $job:expr, $len:expr, $flags:expr) => {{
        let (file, job, len, flags) = ($file, $job, $len, $flags);
        match (job.op, job.registered_arena) {
            (Op::Read, Some(arena)) => opcode::ReadFixed::new(file, job.memory, len, arena)
                .offset(job.offset)
                .rw_flags(flags)
                .build(),
            (Op::Read, None) => {
                opcode::Read::new(file, job.memory, len).offset(job.offset).rw_flags(flags).build()
            }
            (_, Some(arena)) => opcode::WriteFixed::new(file, job.memory, len, arena)
                .offset(job.offset)
                .rw_flags(flags)
                .build(),
            (_, None) => opcode::Write::new(file, job.memory, len).offset(job.offset).rw_flags(flags).build(),
        }
    }};
}

pub(super) struct Uring {
    ring: RefCell<IoUring>,
    waiting_for_kernel: Cell<u32>,
    files: RefCell<Vec<bool>>,
    arenas: Cell<Option<u16>>,
    bell: Arc<Completions>,
    bell_armed: Cell<bool>,
    last_happened: Cell<Moment>,
    /// Looking again would only keep others from the one processor.
    may_look_again: bool,
}

impl Uring {
    pub fn new(completions: &Arc<Completions>) -> io::Result<Uring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_r_disabled() // until it is restricted
            .build(ENTRIES)
            .map_err(|error| named("io_uring_setup", error))?;
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(io::Error::other("the kernel's io_uring is too old (5.11 is needed)"));
        }
        let submitter = ring.submitter();
        submitter.register_files_sparse(FILES).map_err(|error| named("registering files", error))?;
        let arenas = submitter.register_buffers_sparse(ARENAS).is_ok();
        restrict(&submitter).map_err(|error| named("restricting the ring", error))?;
        submitter.register_enable_rings().map_err(|error| named("enabling the ring", error))?;
        Ok(Uring {
            ring: RefCell::new(ring),
            waiting_for_kernel: Cell::new(0),
            files: RefCell::new(vec![false; FILES as usize]),
            arenas: Cell::new(arenas.then_some(0)),
            bell: completions.clone(),
            bell_armed: Cell::new(false),
            last_happened: Cell::new(Moment(0)),
            may_look_again: std::thread::available_parallelism().is_ok_and(|count| count.get() > 1),
        })
    }

    pub fn register(&self, arena: &Arena) {
        let (memory, len) = arena.memory();
        let Some(number) = self.arenas.get().filter(|number| u32::from(*number) < ARENAS) else { return };
        if len > ARENA_LIMIT || arena.registration().is_some() {
            return;
        }
        let vector = libc::iovec { iov_base: memory.cast(), iov_len: len };
        // SAFETY: the kernel pins the pages themselves, so an arena that is dropped leaves a registration behind that
        // nobody names any more, not a dangling one.
        let done =
            unsafe { self.ring.borrow().submitter().register_buffers_update(number.into(), &[vector], None) };
        if done.is_ok() {
            arena.set_registration(Some(number));
            self.arenas.set(Some(number + 1));
        }
    }

    /// Registers a file; `None` when the table is full.
    pub fn register_file(&self, fd: RawFd) -> Option<u32> {
        let number = self.files.borrow().iter().position(|used| !used)? as u32;
        self.ring.borrow().submitter().register_files_update(number, &[fd]).ok()?;
        self.files.borrow_mut()[number as usize] = true;
        Some(number)
    }

    pub fn unregister_file(&self, number: u32) {
        let _ = self.ring.borrow().submitter().register_files_update(number, &[-1]);
        self.files.borrow_mut()[number as usize] = false;
    }

    pub fn submit(&self, id: u32, job: Job) {
        let len = u32::try_from(job.len).expect("a buffer is at most 1 MiB");
        let flags = if job.fua { libc::RWF_DSYNC } else { 0 };
        let entry = match (job.registered_file, job.fd) {
            (Some(number), _) => rw_entry!(types::Fixed(number), job, len, flags),
            (None, fd) => rw_entry!(types::Fd(fd), job, len, flags),
        };
        self.push(entry.user_data(IO | u64::from(id)));
    }

    /// Asks to be told once when a socket is ready.
    pub fn poll_once(&self, fd: RawFd, number: u32, direction: Direction) {
        let events = match direction {
            Direction::Read => libc::POLLIN | libc::POLLRDHUP,
            Direction::Write => libc::POLLOUT,
        };
        let entry = opcode::PollAdd::new(types::Fd(fd), events as u32).build();
        self.push(entry.user_data(POLL | u64::from(number) << 1 | direction as u64));
    }

    fn push(&self, entry: squeue::Entry) {
        let mut ring = self.ring.borrow_mut();
        self.waiting_for_kernel.set(self.waiting_for_kernel.get() + 1);
        // SAFETY: the memory an entry points to is kept by the table of requests in flight until it is answered.
        while unsafe { ring.submission().push(&entry) }.is_err() {
            // Interrupted or busy: the queue was taken at least in part, or will be at the next try.
            let _ = ring.submit();
        }
    }

    pub fn turn(&self, wait: Wait, now: Moment, os: &Os) {
        if !self.bell_armed.replace(true) {
            let bell = types::Fd(self.bell.bell().as_raw_fd());
            let entry = opcode::PollAdd::new(bell, libc::POLLIN as u32).build();
            self.push(entry.user_data(BELL));
        }
        if wait == Wait::No {
            self.enter(wait, now);
        } else if !self.look_again(wait, now, os) {
            self.enter(wait, os.now()); // what was spent on looking is not waited for again
        }
        let mut happened = false;
        loop {
            let next = self.ring.borrow_mut().completion().next();
            let Some(completion) = next else { break };
            happened = true;
            self.waiting_for_kernel.set(self.waiting_for_kernel.get() - 1);
            let (data, result) = (completion.user_data(), completion.result());
            let low = data as u32;
            match data & !u64::from(u32::MAX) {
                IO => os.completed(low, result),
                POLL => os.readiness.fired(low >> 1, low & 1 == 0, low & 1 == 1),
                BELL => self.bell_armed.set(false),
                IGNORED => {}
                other => unreachable!("user data {other:#x} was never submitted"),
            }
        }
        if happened {
            self.last_happened.set(os.now());
        }
    }

    /// Looks at the ring until something is there, for a while after the last time something was. True when there is.
    fn look_again(&self, wait: Wait, now: Moment, os: &Os) -> bool {
        let mut until = self.last_happened.get().after_ns(LOOK_AGAIN_NS);
        if let Wait::Until(moment) = wait {
            until = until.min(moment);
        }
        let mut now = now;
        while self.may_look_again && now < until {
            self.enter(Wait::No, now);
            if !self.ring.borrow_mut().completion().is_empty() {
                return true;
            }
            std::hint::spin_loop();
            now = os.now();
        }
        false
    }

    fn enter(&self, wait: Wait, now: Moment) {
        const GETEVENTS: u32 = 1;
        let mut ring = self.ring.borrow_mut();
        let queued = ring.submission().len();
        let entered = match wait {
            Wait::No => {
                // SAFETY: no argument is passed; entries are covered by `push`.
                unsafe { ring.submitter().enter::<libc::sigset_t>(queued as u32, 0, GETEVENTS, None) }
            }
            Wait::Forever => ring.submit_and_wait(1),
            Wait::Until(moment) => {
                let ns = moment.since(now);
                let timeout =
                    types::Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32);
                ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&timeout))
            }
        };
        match entered.map_err(|error| error.raw_os_error()) {
            Ok(_) | Err(Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            Err(errno) => panic!("io_uring_enter on our own ring fails: errno {errno:?}"),
        }
    }
}

/// The ring takes what `Uring` asks of it and nothing else, ever: what it does is no system call, so no filter of those would
/// see it (ADR 24).
fn restrict(submitter: &Submitter<'_>) -> io::Result<()> {
    const FIXED_FILE: u8 = 1;
    // The numbers of `enum io_uring_register_op`, which the ring's crate keeps to itself.
    const FILES_UPDATE: u8 = 6;
    const BUFFERS_UPDATE: u8 = 16;
    let requests = [
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::ReadFixed::CODE,
        opcode::WriteFixed::CODE,
        opcode::PollAdd::CODE,
    ];
    let mut allowed: Vec<Restriction> = requests.into_iter().map(Restriction::sqe_op).collect();
    allowed.extend([FILES_UPDATE, BUFFERS_UPDATE].map(Restriction::register_op));
    allowed.push(Restriction::sqe_flags_allowed(FIXED_FILE));
    submitter.register_restrictions(&mut allowed)
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_refuses_what_nobody_asks_of_it() {
        let Ok(uring) = Uring::new(&Completions::new(8).unwrap()) else { return }; // there is none here
        for refused in [opcode::Nop::new().build(), opcode::Close::new(types::Fd(-1)).build()] {
            uring.push(refused.user_data(IGNORED));
            let mut ring = uring.ring.borrow_mut();
            ring.submit_and_wait(1).unwrap();
            assert_eq!(ring.completion().next().unwrap().result(), -libc::EACCES);
        }
    }
}
