//! What is in flight: the table of requests that the kernel, or a thread, has in its hands.
//!
//! An entry holds the request and with it the buffer, until the answer is there. When a deadline passes first, the
//! caller is told and the entry stays: its buffer is quarantined until the late answer comes.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use block::{Cause, Failed, Moment, Op, Outcome, Request};
use rustix::event::{EventfdFlags, eventfd};

use crate::meter::Answer;

/// How often deadlines are looked at: they are seconds, so late by this much is on time.
const DEADLINE_STEP_MS: u64 = 100;

/// One system call's worth of work. The memory stays valid until it is answered: the table holds the buffer.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub fd: RawFd,
    /// The file's place among those registered with the ring.
    pub registered_file: Option<u32>,
    /// The buffer's arena among those registered with the ring.
    pub registered_arena: Option<u16>,
    pub op: Op,
    pub memory: *mut u8,
    pub len: usize,
    pub offset: u64,
    pub fua: bool,
    pub may_unmap: bool,
}

impl Job {
    /// So much of it is done.
    pub fn advance(&mut self, moved: usize) {
        assert!(moved <= self.len, "more was moved than was asked for");
        // SAFETY: `moved` bytes are within the job's memory (asserted).
        self.memory = unsafe { self.memory.add(moved) };
        self.len -= moved;
        self.offset += moved as u64;
    }
}

// SAFETY: the memory is kept alive by the table until the job is answered, and nobody else touches it meanwhile.
unsafe impl Send for Job {}

/// The table.
pub(super) struct Inflight {
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<u32>>,
    deadlines: Cell<u32>,
    look_again: Cell<Moment>,
}

struct Entry {
    answer: Option<Answer>,
    request: Option<(Request, Job)>,
    _file: Option<Rc<dyn std::any::Any>>,
    deadline: Option<Moment>,
}

impl Inflight {
    pub fn new(capacity: usize) -> Inflight {
        let entry = || Entry { answer: None, request: None, _file: None, deadline: None };
        Inflight {
            entries: RefCell::new((0..capacity).map(|_| entry()).collect()),
            free: RefCell::new((0..capacity as u32).rev().collect()),
            deadlines: Cell::new(0),
            look_again: Cell::new(Moment(0)),
        }
    }

    /// Enters a request. `file` stays open until the answer is there.
    pub fn enter(&self, request: Request, job: Job, answer: Answer, file: Rc<dyn std::any::Any>) -> u32 {
        let mut entries = self.entries.borrow_mut();
        // Full: more arrays at work than the table was made for. Growing it allocates, failing a member would be worse.
        let id = self.free.borrow_mut().pop().unwrap_or_else(|| {
            entries.push(Entry { answer: None, request: None, _file: None, deadline: None });
            u32::try_from(entries.len() - 1).expect("fewer than 2^32 requests in flight")
        });
        let deadline = request.deadline;
        self.deadlines.set(self.deadlines.get() + u32::from(deadline.is_some()));
        let entry =
            Entry { answer: Some(answer), request: Some((request, job)), _file: Some(file), deadline };
        entries[id as usize] = entry;
        id
    }

    /// Takes a result; what is left to do after a short transfer comes back.
    pub fn completed(&self, id: u32, result: i32) -> Option<Job> {
        let mut entries = self.entries.borrow_mut();
        let entry = &mut entries[id as usize];
        let (_, job) = entry.request.as_mut().expect("a job in flight has an entry");
        let moves_data = matches!(job.op, Op::Read | Op::Write);
        let outcome = match usize::try_from(result) {
            Err(_) if moves_data && (result == -libc::EINTR || result == -libc::EAGAIN) => return Some(*job),
            Err(_) => Err(Failed::from_errno(-result)),
            Ok(0) if moves_data => Err(Failed::new(Cause::Medium)), // the file has become shorter
            Ok(moved) if moves_data && moved < job.len => {
                job.advance(moved);
                return Some(*job);
            }
            Ok(_) => Ok(()),
        };
        let done =
            std::mem::replace(entry, Entry { answer: None, request: None, _file: None, deadline: None });
        drop(entries);
        self.free.borrow_mut().push(id);
        self.deadlines.set(self.deadlines.get() - u32::from(done.deadline.is_some()));
        give(done.answer, outcome);
        None
    }

    /// When deadlines should be looked at next.
    pub fn earliest_deadline(&self) -> Option<Moment> {
        (self.deadlines.get() > 0).then(|| self.look_again.get())
    }

    /// Tells the callers of requests whose deadline has passed.
    pub fn expire(&self, now: Moment) {
        if self.deadlines.get() == 0 || now < self.look_again.get() {
            return;
        }
        self.look_again.set(now.after_ms(DEADLINE_STEP_MS));
        let count = self.entries.borrow().len();
        for at in 0..count {
            let mut entries = self.entries.borrow_mut();
            let entry = &mut entries[at];
            if entry.deadline.is_some_and(|deadline| deadline <= now) {
                entry.deadline = None;
                self.deadlines.set(self.deadlines.get() - 1);
                let answer = entry.answer.take();
                drop(entries);
                give(answer, Err(Failed::new(Cause::Timeout)));
            }
        }
    }
}

fn give(answer: Option<Answer>, outcome: Outcome) {
    if let Some(answer) = answer {
        answer.finish(outcome);
    }
}

/// Where other threads put results for the core, and the bell they ring.
pub(super) struct Completions {
    done: Mutex<Vec<(u32, i32)>>,
    rung: AtomicBool,
    bell: OwnedFd,
}

impl Completions {
    pub fn new(capacity: usize) -> io::Result<Arc<Completions>> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Completions {
            done: Mutex::new(Vec::with_capacity(capacity)),
            rung: AtomicBool::new(false),
            bell,
        }))
    }

    /// For a worker: job `id` ended with `result`.
    pub fn put(&self, id: u32, result: i32) {
        lock(&self.done).push((id, result));
        self.kick();
    }

    /// Wakes the core.
    pub fn kick(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Only a full counter can fail, and then the bell is rung already.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// The file that becomes readable when the bell is rung.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// For the core: takes all results.
    pub fn drain(&self, mut each: impl FnMut(u32, i32)) {
        if !self.rung.load(Ordering::Acquire) {
            return;
        }
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.bell, &mut count);
        self.rung.store(false, Ordering::Release);
        loop {
            let next = lock(&self.done).pop();
            match next {
                Some((id, result)) => each(id, result),
                None => break,
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use block::Ticket;

    use super::*;
    use crate::meter::Meter;

    fn enter(table: &Inflight, deadline: Option<Moment>) -> (u32, Ticket) {
        let job = Job {
            fd: -1,
            registered_file: None,
            registered_arena: None,
            op: Op::Flush,
            memory: std::ptr::null_mut(),
            len: 0,
            offset: 0,
            fua: false,
            may_unmap: false,
        };
        let request = Request { deadline, ..Request::flush() };
        let (ticket, answer) = Meter::new("m", 0).begin(&request);
        (table.enter(request, job, answer, Rc::new(())), ticket)
    }

    fn outcome(ticket: Ticket) -> Poll<Outcome> {
        pin!(ticket).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_full_table_grows_and_every_request_gets_its_own_answer() {
        let table = Inflight::new(2);
        let (ids, tickets): (Vec<_>, Vec<_>) = (0..7).map(|_| enter(&table, None)).unzip();
        let mut apart = ids.clone();
        apart.sort_unstable();
        apart.dedup();
        assert_eq!(apart.len(), 7, "no two share an entry");
        for (n, id) in ids.iter().enumerate().rev() {
            assert!(table.completed(*id, if n % 2 == 0 { 0 } else { -libc::EIO }).is_none());
        }
        for (n, ticket) in tickets.into_iter().enumerate() {
            let expected = if n % 2 == 0 { Ok(()) } else { Err(Failed::from_errno(libc::EIO)) };
            assert_eq!(outcome(ticket), Poll::Ready(expected), "request {n}");
        }
        (0..7).for_each(|_| drop(enter(&table, None)));
        assert_eq!(table.entries.borrow().len(), 7, "what it has grown by is used again");
    }

    #[test]
    fn an_overdue_request_in_an_entry_that_grew_is_answered_and_stays_until_its_late_answer() {
        let table = Inflight::new(1);
        let (_, patient) = enter(&table, None);
        let (late, ticket) = enter(&table, Some(Moment(1000)));
        assert!(table.earliest_deadline().is_some());
        table.expire(Moment(1_000_000_000));
        assert_eq!(outcome(ticket), Poll::Ready(Err(Failed::new(Cause::Timeout))));
        assert!(table.entries.borrow()[late as usize].request.is_some(), "its buffer is in quarantine");
        assert!(table.completed(late, 0).is_none());
        assert!(table.entries.borrow()[late as usize].request.is_none());
        assert!(table.earliest_deadline().is_none());
        drop(patient);
    }
}
