//! The allocator of the running program: the system's, and a trap that can be set.
//!
//! What serves requests says so with [`strictly`]; once the trap is [`set`], whoever asks for memory there ends the program
//! with a backtrace. Until then it costs a look at one flag.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

static IS_SET: AtomicBool = AtomicBool::new(false);

thread_local! {
    static STRICT: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, with the trap.
pub struct Trapping;

/// From now on an allocation where [`strictly`] holds is the end of the program.
pub fn set() {
    IS_SET.store(true, Ordering::Relaxed);
}

/// Nothing may be allocated on this thread until the guard is dropped.
pub fn strictly() -> Strictly {
    Strictly { before: STRICT.replace(true) }
}

/// Lifts [`strictly`] until the guard is dropped: for what happens once in the life of a stack.
pub fn freely() -> Strictly {
    Strictly { before: STRICT.replace(false) }
}

/// See [`strictly`].
pub struct Strictly {
    before: bool,
}

impl Drop for Strictly {
    fn drop(&mut self) {
        STRICT.set(self.before);
    }
}

fn look(bytes: usize) {
    if IS_SET.load(Ordering::Relaxed) && STRICT.try_with(Cell::get).unwrap_or(false) {
        spring(bytes);
    }
}

#[cold]
fn spring(bytes: usize) -> ! {
    STRICT.set(false); // what follows allocates
    eprintln!("ashlar: {bytes} bytes were allocated while serving; --armour=trap ends the program here");
    eprintln!("{}", Backtrace::force_capture());
    std::process::abort()
}

// SAFETY: every call is handed on to the system's allocator as it came, or the program ends.
unsafe impl GlobalAlloc for Trapping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        look(layout.size());
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        look(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        look(size);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
