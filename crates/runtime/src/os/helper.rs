//! A member's helper thread: flush, discard, zeroing, the map of holes.
//!
//! Made once, when the member is opened. io_uring would carry these out on kernel workers made on demand, at the very
//! moment when memory may be short; a thread that exists already waits for nobody. It also carries out reads and writes
//! of nobody: a flush never stands behind them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use block::{Op, SECTOR};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, fdatasync, seek};
use rustix::io::Errno;

use super::inflight::{Completions, Job};
use super::queue::JobQueue;

/// Jobs that can wait for one helper without allocating.
const QUEUE: usize = 1024;

/// Zeroes to write where the file system cannot make them any other way.
static ZEROES: Zeroes = Zeroes([0; 64 << 10]);

#[repr(align(4096))]
struct Zeroes([u8; 64 << 10]);

/// The thread and its inbox. Dropping it ends the thread: a member is dropped only when nothing is in flight.
pub(super) struct Helper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    file: OwnedFd,
    is_block: bool,
    queue: JobQueue,
    completions: Arc<Completions>,
}

impl Helper {
    /// Makes the thread for `file`. `name` is seen in process listings.
    pub fn new(
        name: &str,
        file: OwnedFd,
        is_block: bool,
        completions: &Arc<Completions>,
    ) -> io::Result<Helper> {
        let completions = completions.clone();
        let shared = Arc::new(Shared { file, is_block, queue: JobQueue::new(QUEUE), completions });
        let own = shared.clone();
        let builder = thread::Builder::new().name(name.to_owned()).stack_size(128 << 10);
        let thread = Some(builder.spawn(move || own.work())?);
        Ok(Helper { shared, thread })
    }

    pub fn submit(&self, id: u32, job: Job) {
        self.shared.queue.push(id, job);
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // its panic was printed already
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some((id, job)) = self.queue.next() {
            let result = match rustix::io::retry_on_intr(|| self.carry_out(job)) {
                Ok(()) => 0,
                Err(errno) => -errno.raw_os_error(),
            };
            self.completions.put(id, result);
        }
    }

    fn carry_out(&self, job: Job) -> Result<(), Errno> {
        let file = self.file.as_fd();
        match job.op {
            Op::Flush => return fdatasync(file),
            Op::Status => return map_holes(file, job),
            Op::Discard => discard(file, job, self.is_block)?,
            Op::WriteZeroes => zero(file, job)?,
            Op::Read | Op::Write => return Err(Errno::INVAL), // these never come here
        }
        if job.fua { fdatasync(file) } else { Ok(()) }
    }
}

fn discard(file: BorrowedFd<'_>, job: Job, is_block: bool) -> Result<(), Errno> {
    if is_block {
        return super::open::block_discard(file, job.offset, job.len as u64);
    }
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(file, punch, job.offset, job.len as u64)
}

fn zero(file: BorrowedFd<'_>, job: Job) -> Result<(), Errno> {
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let in_place = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    let ways: &[FallocateFlags] = if job.may_unmap { &[punch, in_place] } else { &[in_place] };
    for way in ways {
        match fallocate(file, *way, job.offset, job.len as u64) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            other => return other,
        }
    }
    let (mut offset, end) = (job.offset, job.offset + job.len as u64);
    while offset < end {
        let some = (end - offset).min(ZEROES.0.len() as u64) as usize;
        offset += rustix::io::pwrite(file, &ZEROES.0[..some], offset)? as u64;
    }
    Ok(())
}

/// Writes the extents of `job.offset` and `job.len` into the job's memory, in the form of [`block::Extents`]. The
/// length of the memory is a page at least; the caller made sure.
fn map_holes(file: BorrowedFd<'_>, job: Job) -> Result<(), Errno> {
    const WORDS: usize = 256;
    let end = job.offset + job.len as u64;
    let (mut at, mut words) = (job.offset, 0);
    while at < end && words < WORDS {
        let data = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.min(end),
            Err(Errno::NXIO) => end,
            Err(errno) => return Err(errno),
        };
        let (next, hole) = match data > at {
            true => (data, true),
            false => (seek(file, SeekFrom::Hole(at))?.min(end), false),
        };
        // A hole begins where whole sectors of it do.
        let next = if next == end { end } else { next.next_multiple_of(SECTOR) };
        let word = ((next - at) / SECTOR) << 1 | u64::from(hole);
        put_word(job, words, word);
        (at, words) = (next, words + 1);
    }
    if words < WORDS {
        put_word(job, words, 0);
    }
    Ok(())
}

fn put_word(job: Job, at: usize, word: u64) {
    // SAFETY: the memory is a page at least, `at` is below 256, and the job owns the memory.
    unsafe { std::ptr::write_unaligned(job.memory.cast::<u64>().add(at), word.to_le()) }
}
