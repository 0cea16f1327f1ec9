//! Buffers: one arena of aligned memory, taken at start, dealt out in runs of 4 KiB blocks.
//!
//! The arena is a buddy allocator: a run is a power of two of blocks, found and merged in a handful of steps, with
//! its free lists threaded through arrays of fixed size. A [`Buf`] is a counted view of a run; whatever has the
//! memory in flight holds a `Buf`, so a late answer of a device never lands in memory that was given to another.
//!
//! Memory is reached by copying and by raw pointer only: while a device fills it, no `&[u8]` of it may exist.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::Sectors;

/// Bytes in the smallest run, and the alignment of every run: a page, which O_DIRECT wants on any disk.
const BLOCK: usize = 4096;

/// Orders of runs: 4 KiB (order 0) up to 1 MiB (order 8).
const ORDERS: usize = 9;

/// The longest buffer: larger requests are served in pieces. 1 MiB amortises a system call a hundredfold and still
/// lets a dozen requests share a small arena.
pub const MAX_BUFFER: usize = BLOCK << (ORDERS - 1);

/// Tasks that can wait for a buffer before the queue has to grow: more than a layer has slots.
const WAITERS: usize = 1024;

const NIL: u32 = u32::MAX;

/// Memory for buffers.
pub struct Arena {
    memory: NonNull<u8>,
    base: NonNull<u8>,
    bytes: usize,
    layout: Layout,
    runs: RefCell<Runs>,
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    arrivals: Cell<u64>,
    counts: Box<[Cell<u16>]>,
    registration: Cell<Option<u16>>,
}

/// The buddy bookkeeping: for each block, whether it heads a free run and of which order, and its list neighbours.
struct Runs {
    heads: [u32; ORDERS],
    next: Box<[u32]>,
    previous: Box<[u32]>,
    free_order: Box<[u8]>,
    free_blocks: usize,
}

const NOT_FREE: u8 = u8::MAX;

impl Arena {
    /// An arena of `bytes`, rounded up to whole runs of 1 MiB, all zero. Takes the addresses now; pages are
    /// the system's when they are first touched.
    pub fn new(bytes: usize) -> Rc<Arena> {
        let bytes = bytes.next_multiple_of(MAX_BUFFER).max(MAX_BUFFER);
        // An alignment of more than 16 would make the allocator touch every page to zero it; so the system's own zero
        // pages are taken, with a block to spare, and aligned here.
        let layout = Layout::from_size_align(bytes + BLOCK, 16).expect("an arena's size is sane");
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: at most BLOCK bytes further, which were allocated to spare.
        let base = unsafe { memory.add(memory.as_ptr().align_offset(BLOCK)) };
        let blocks = bytes / BLOCK;
        let mut runs = Runs {
            heads: [NIL; ORDERS],
            next: vec![NIL; blocks].into(),
            previous: vec![NIL; blocks].into(),
            free_order: vec![NOT_FREE; blocks].into(),
            free_blocks: 0,
        };
        for first in (0..blocks).step_by(1 << (ORDERS - 1)).rev() {
            runs.insert(first as u32, ORDERS - 1);
            runs.free_blocks += 1 << (ORDERS - 1);
        }
        Rc::new(Arena {
            memory,
            base,
            bytes,
            layout,
            runs: RefCell::new(runs),
            waiting: RefCell::new(VecDeque::with_capacity(WAITERS)),
            arrivals: Cell::new(0),
            counts: vec![Cell::new(0); blocks].into(),
            registration: Cell::new(None),
        })
    }

    /// A buffer of `bytes` (at most [`MAX_BUFFER`]); `None` when no run that long is free now. Its content is
    /// whatever was there before.
    pub fn take(self: &Rc<Arena>, bytes: usize) -> Option<Buf> {
        assert!(bytes <= MAX_BUFFER, "a buffer holds at most {MAX_BUFFER} bytes, not {bytes}");
        let order = bytes.div_ceil(BLOCK).max(1).next_power_of_two().trailing_zeros() as usize;
        let run = self.runs.borrow_mut().take(order)?;
        self.counts[run as usize].set(1);
        Some(Buf { arena: self.clone(), run, order: order as u8, offset: 0, len: bytes as u32 })
    }

    /// The same, and waits until there is one. First come, first served: a long buffer is not starved by short
    /// ones. Whoever waits here may hold no buffer of this arena, or nobody could be sure of ever getting one.
    pub async fn wait_take(self: &Rc<Arena>, bytes: usize) -> Buf {
        let mut place = None;
        poll_fn(|cx| self.poll_take(bytes, &mut place, cx)).await
    }

    fn poll_take(self: &Rc<Arena>, bytes: usize, place: &mut Option<u64>, cx: &mut Context<'_>) -> Poll<Buf> {
        let front = self.waiting.borrow().front().map(|(arrival, _)| *arrival);
        if front == *place
            && let Some(buf) = self.take(bytes)
        {
            if place.is_some() {
                self.waiting.borrow_mut().pop_front();
                self.wake_first();
            }
            return Poll::Ready(buf);
        }
        let mut waiting = self.waiting.borrow_mut();
        match place {
            None => {
                let arrival = self.arrivals.get() + 1;
                self.arrivals.set(arrival);
                waiting.push_back((arrival, cx.waker().clone()));
                *place = Some(arrival);
            }
            Some(arrival) => {
                let known = waiting.iter_mut().find(|(known, _)| known == arrival);
                known.expect("a waiter stays queued until it is served").1.clone_from(cx.waker());
            }
        }
        Poll::Pending
    }

    fn wake_first(&self) {
        if let Some((_, waker)) = self.waiting.borrow().front() {
            waker.wake_by_ref();
        }
    }

    /// [`Arena::take`], of zeroes.
    pub fn take_zeroed(self: &Rc<Arena>, bytes: usize) -> Option<Buf> {
        let buf = self.take(bytes)?;
        buf.fill_zero();
        Some(buf)
    }

    /// Bytes not in use.
    pub fn free_bytes(&self) -> usize {
        self.runs.borrow().free_blocks * BLOCK
    }

    /// Where the arena lies, for a driver that registers it with the kernel.
    pub fn memory(&self) -> (*mut u8, usize) {
        (self.base.as_ptr(), self.bytes)
    }

    /// The number under which a driver has registered the arena.
    pub fn registration(&self) -> Option<u16> {
        self.registration.get()
    }

    /// Remembers the number under which a driver has registered the arena.
    pub fn set_registration(&self, number: Option<u16>) {
        self.registration.set(number);
    }

    fn give_back(&self, run: u32, order: usize) {
        self.runs.borrow_mut().give_back(run, order);
        self.wake_first();
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`; every `Buf` holds the `Rc`, so none is left.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

impl Runs {
    fn insert(&mut self, run: u32, order: usize) {
        let head = self.heads[order];
        self.next[run as usize] = head;
        self.previous[run as usize] = NIL;
        if head != NIL {
            self.previous[head as usize] = run;
        }
        self.heads[order] = run;
        self.free_order[run as usize] = order as u8;
    }

    fn remove(&mut self, run: u32, order: usize) {
        let (next, previous) = (self.next[run as usize], self.previous[run as usize]);
        match previous {
            NIL => self.heads[order] = next,
            _ => self.next[previous as usize] = next,
        }
        if next != NIL {
            self.previous[next as usize] = previous;
        }
        self.free_order[run as usize] = NOT_FREE;
    }

    fn take(&mut self, order: usize) -> Option<u32> {
        let found = (order..ORDERS).find(|&order| self.heads[order] != NIL)?;
        let run = self.heads[found];
        self.remove(run, found);
        for smaller in (order..found).rev() {
            self.insert(run + (1 << smaller), smaller);
        }
        self.free_blocks -= 1 << order;
        Some(run)
    }

    fn give_back(&mut self, run: u32, order: usize) {
        self.free_blocks += 1 << order;
        let (mut run, mut order) = (run, order);
        while order < ORDERS - 1 {
            let buddy = run ^ (1 << order);
            if self.free_order[buddy as usize] != order as u8 {
                break;
            }
            self.remove(buddy, order);
            run = run.min(buddy);
            order += 1;
        }
        self.insert(run, order);
    }
}

/// A counted view of a run of an [`Arena`]. Clones and slices share the memory.
pub struct Buf {
    arena: Rc<Arena>,
    run: u32,
    order: u8,
    offset: u32,
    len: u32,
}

impl Buf {
    /// Bytes in view.
    #[allow(clippy::len_without_is_empty)] // an empty buffer has no use
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The same in sectors. Panics if it is not whole sectors: then it is no buffer for a disk.
    pub fn sectors(&self) -> Sectors {
        let sectors = Sectors::from_bytes(u64::from(self.len));
        assert_eq!(sectors.byte_len(), self.len(), "a disk buffer is whole sectors");
        sectors
    }

    /// A view of `len` bytes from `from` within this one.
    pub fn slice(&self, from: usize, len: usize) -> Buf {
        self.assert_within(from, len);
        let mut view = self.clone();
        view.offset += from as u32;
        view.len = len as u32;
        view
    }

    /// Copies `source` into the buffer at `at`.
    pub fn copy_from_slice(&self, at: usize, source: &[u8]) {
        self.assert_within(at, source.len());
        // SAFETY: within the run (asserted), and `source` cannot overlap it: no reference into an arena exists.
        unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), self.as_ptr().add(at), source.len()) }
    }

    /// Copies from the buffer at `at` into all of `target`.
    pub fn copy_to_slice(&self, at: usize, target: &mut [u8]) {
        self.assert_within(at, target.len());
        // SAFETY: within the run (asserted), and `target` cannot overlap it: no reference into an arena exists.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr().add(at), target.as_mut_ptr(), target.len()) }
    }

    /// Copies all of `source` into this buffer at `at`. The two may be views of one run.
    pub fn copy_from(&self, at: usize, source: &Buf) {
        self.assert_within(at, source.len());
        // SAFETY: both within their runs (asserted); `copy` allows them to overlap.
        unsafe { std::ptr::copy(source.as_ptr(), self.as_ptr().add(at), source.len()) }
    }

    /// Sets every byte to zero.
    pub fn fill_zero(&self) {
        // SAFETY: the view lies within its run.
        unsafe { std::ptr::write_bytes(self.as_ptr(), 0, self.len()) }
    }

    /// Whether the two hold the same bytes.
    pub fn same_bytes(&self, other: &Buf) -> bool {
        // SAFETY: both are views within their runs; the slices live only for this comparison, on one thread, and
        // no device has them in flight: a buffer is compared by its owner after its request was answered.
        let (a, b) = unsafe {
            (
                std::slice::from_raw_parts(self.as_ptr(), self.len()),
                std::slice::from_raw_parts(other.as_ptr(), other.len()),
            )
        };
        a == b
    }

    /// Where the view begins: for drivers, which hand it to the kernel while they hold the `Buf`.
    pub fn as_ptr(&self) -> *mut u8 {
        crate::lend::assert_not_lent();
        self.raw()
    }

    /// The same, for whoever lends the bytes.
    pub(crate) fn raw(&self) -> *mut u8 {
        let at = self.run as usize * BLOCK + self.offset as usize;
        // SAFETY: a run lies within the arena, and a view within its run.
        unsafe { self.arena.base.as_ptr().add(at) }
    }

    /// The arena this is a part of.
    pub fn arena(&self) -> &Rc<Arena> {
        &self.arena
    }

    fn assert_within(&self, at: usize, len: usize) {
        let end = at.checked_add(len).expect("a view's end fits");
        assert!(end <= self.len(), "{at}+{len} is beyond a buffer of {} bytes", self.len);
    }
}

impl Clone for Buf {
    fn clone(&self) -> Buf {
        let count = &self.arena.counts[self.run as usize];
        count.set(count.get().checked_add(1).expect("fewer than 65536 views of one buffer"));
        Buf { arena: self.arena.clone(), ..*self }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        let count = &self.arena.counts[self.run as usize];
        count.set(count.get() - 1);
        if count.get() == 0 {
            self.arena.give_back(self.run, usize::from(self.order));
        }
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes of run {})", self.len, self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_given_back_merges_into_the_whole_again() {
        let arena = Arena::new(4 << 20);
        let mut seed = 7u64;
        for _ in 0..200 {
            let mut held = Vec::new();
            loop {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                match arena.take(((seed >> 33) as usize % MAX_BUFFER).max(1)) {
                    Some(buf) => held.push(buf),
                    None => break,
                }
            }
            while !held.is_empty() {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                held.swap_remove((seed >> 33) as usize % held.len());
            }
            assert_eq!(arena.free_bytes(), 4 << 20);
            let whole: Vec<_> = (0..4).map(|_| arena.take(MAX_BUFFER).expect("merged to 1 MiB")).collect();
            assert!(arena.take(1).is_none());
            drop(whole);
        }
    }

    #[test]
    fn a_slice_keeps_the_run_alive() {
        let arena = Arena::new(MAX_BUFFER);
        let buf = arena.take(8192).unwrap();
        let slice = buf.slice(4096, 512);
        drop(buf);
        assert_eq!(arena.free_bytes(), MAX_BUFFER - 8192);
        drop(slice);
        assert_eq!(arena.free_bytes(), MAX_BUFFER);
    }

    #[test]
    fn runs_in_use_never_share_memory() {
        let arena = Arena::new(MAX_BUFFER);
        let bufs: Vec<_> = (0..256).map(|_| arena.take(4096).unwrap()).collect();
        for (n, buf) in bufs.iter().enumerate() {
            buf.copy_from_slice(0, &[n as u8; 4096]);
        }
        for (n, buf) in bufs.iter().enumerate() {
            let mut bytes = [0; 4096];
            buf.copy_to_slice(0, &mut bytes);
            assert!(bytes.iter().all(|&byte| byte == n as u8));
        }
    }

    #[test]
    #[should_panic(expected = "beyond a buffer")]
    fn copying_past_the_end_is_a_bug() {
        let arena = Arena::new(MAX_BUFFER);
        arena.take(512).unwrap().copy_from_slice(1, &[0; 512]);
    }
}
