//! What an export has served.

use std::cell::Cell;

/// What an export has served so far, over all front ends.
#[derive(Default)]
pub struct Counters {
    /// Reads answered with data.
    pub reads: Cell<u64>,
    /// Bytes of them.
    pub read_bytes: Cell<u64>,
    /// Writes carried out, zeroes included.
    pub writes: Cell<u64>,
    /// Bytes of them.
    pub written_bytes: Cell<u64>,
    /// Flushes carried out.
    pub flushes: Cell<u64>,
    /// Trims carried out.
    pub trims: Cell<u64>,
    /// Requests answered with an error.
    pub errors: Cell<u64>,
}

impl Counters {
    /// Counts a read.
    pub fn read(&self, bytes: u64) {
        count(&self.reads, 1);
        count(&self.read_bytes, bytes);
    }

    /// Counts a write, or the making of zeroes.
    pub fn wrote(&self, bytes: u64) {
        count(&self.writes, 1);
        count(&self.written_bytes, bytes);
    }

    /// Counts a flush.
    pub fn flushed(&self) {
        count(&self.flushes, 1);
    }

    /// Counts a trim.
    pub fn trimmed(&self) {
        count(&self.trims, 1);
    }

    /// Counts a request that was answered with an error.
    pub fn failed(&self) {
        count(&self.errors, 1);
    }
}

fn count(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}
