//! An allocator that counts, for tests of the rule that serving allocates nothing.
//!
//! A test program makes it its own: `#[global_allocator] static COUNTING: Counting = Counting;`. Counts are kept for each
//! thread, so that what the test itself does elsewhere is not mistaken for the core's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count.
pub struct Counting;

impl Counting {
    /// Allocations of the calling thread so far.
    pub fn on_this_thread() -> u64 {
        ALLOCATIONS.with(Cell::get)
    }
}

// SAFETY: everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(memory, layout) }
    }
}
