//! A counting allocator: how tests know that the data path allocates nothing.
//!
//! It does what the system's does. A test declares it as its `#[global_allocator]`; nothing else uses it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static ON_THIS_THREAD: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count of what all threads have asked of it.
pub struct Counting {
    allocations: AtomicU64,
}

impl Counting {
    /// One that has counted nothing yet.
    #[allow(clippy::new_without_default)] // a global allocator is made by a `const fn`
    pub const fn new() -> Counting {
        Counting { allocations: AtomicU64::new(0) }
    }

    /// How often memory was asked for so far, growing included.
    pub fn allocations(&self) -> u64 {
        self.allocations.load(Ordering::Relaxed)
    }

    /// The same, of the calling thread alone.
    pub fn on_this_thread() -> u64 {
        ON_THIS_THREAD.with(Cell::get)
    }

    fn count(&self) {
        // A thread that is ending has no count any more.
        let _ = ON_THIS_THREAD.try_with(|count| count.set(count.get() + 1));
        self.allocations.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count();
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
