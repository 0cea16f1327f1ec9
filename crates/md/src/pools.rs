//! How much an open array has of what its requests wait for. It is taken when the array is opened; whoever finds none left
//! waits until one is given back. So more makes an array faster, and one of each is enough for everything to end: the simulator
//! plays whole stacks that way.

use block::MAX_BUFFER;

use crate::limits::{JOURNAL_WRITE_OUTS, JOURNAL_WRITERS, PARITY_WORKS, REPAIR_BYTES, SLOTS};

/// So much of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pools {
    /// Requests that are served at once.
    pub slots: usize,
    /// Groups of writes and recoveries of an array with parity.
    pub works: usize,
    /// Groups of writes to an array with a write journal.
    pub journal_writers: usize,
    /// Rows that are written out of such a journal's memory.
    pub journal_write_outs: usize,
    /// Memory for repairs and zeroes, in bytes.
    pub repair_bytes: usize,
}

impl Pools {
    /// The least that there can be.
    pub const LEAST: Pools =
        Pools { slots: 1, works: 1, journal_writers: 1, journal_write_outs: 1, repair_bytes: MAX_BUFFER };
}

impl Default for Pools {
    fn default() -> Pools {
        Pools {
            slots: SLOTS,
            works: PARITY_WORKS,
            journal_writers: JOURNAL_WRITERS,
            journal_write_outs: JOURNAL_WRITE_OUTS,
            repair_bytes: REPAIR_BYTES,
        }
    }
}
