//! Exports: devices under the names by which clients ask for them.

use std::cell::Cell;
use std::rc::Rc;

use block::{Dev, Request, SECTOR, Sectors, Ticket};

use super::plan::Command;
use super::unaligned::WriteTurns;
use crate::limits::{CONNECTIONS, NAME_BYTES, REQUEST_BYTES, SLOTS, TEXT_BYTES};
use crate::wire::export_flag as flag;

/// The preferred block that is told of a device which prefers nothing itself: a page.
const PAGE: u32 = 4096;

/// One export.
pub struct Export {
    name: String,
    description: String,
    device: Dev,
    block: u64,
    read_only: bool,
    pub(super) writes: WriteTurns,
    counters: Counters,
}

/// What an export has served so far.
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
    /// Counts a command that was carried out.
    pub(super) fn served(&self, command: Command) {
        match command {
            Command::Read { span } => {
                count(&self.reads, 1);
                count(&self.read_bytes, span.len);
            }
            Command::Write { span, .. } | Command::Zero { span, .. } => {
                count(&self.writes, 1);
                count(&self.written_bytes, span.len);
            }
            Command::Trim { .. } => count(&self.trims, 1),
            Command::Flush => count(&self.flushes, 1),
            Command::Cache { .. } | Command::Status { .. } | Command::Disconnect => {}
        }
    }
}

pub(super) fn count(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

impl Export {
    /// An export of `device`. Read-only if said so, or if the device is. Names and descriptions are cut at the 4096
    /// bytes that the protocol allows.
    pub fn new(name: &str, description: &str, device: Dev, read_only: bool) -> Export {
        Export {
            name: name[..name.floor_char_boundary(NAME_BYTES)].to_owned(),
            description: description[..description.floor_char_boundary(TEXT_BYTES)].to_owned(),
            writes: WriteTurns::new(CONNECTIONS * SLOTS, device.height()),
            block: u64::from(device.geometry().logical_block).max(SECTOR),
            device,
            read_only,
            counters: Counters::default(),
        }
    }

    /// The name by which clients ask for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A text for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What it has served so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The device behind it.
    pub fn device(&self) -> &Dev {
        &self.device
    }

    /// Starts a request on the device, as a part of what is done for the client's request numbered `trace`.
    pub(super) fn start(&self, request: Request, trace: u32) -> Ticket {
        self.device.start(request.for_trace(trace))
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only || self.device.geometry().read_only
    }

    /// Bytes in a logical block of the device. Unlike its size, this never changes while it is in use.
    pub(super) fn block(&self) -> u64 {
        self.block
    }

    /// Bytes that clients can reach: whole logical blocks.
    pub(super) fn size(&self) -> u64 {
        self.device.geometry().size.round_down(Sectors::from_bytes(self.block)).bytes()
    }

    /// What clients are told that it offers.
    pub(super) fn flags(&self, structured: bool) -> u16 {
        let always =
            flag::HAS_FLAGS | flag::SEND_FLUSH | flag::SEND_FUA | flag::CAN_MULTI_CONN | flag::SEND_CACHE;
        let structured = if structured { flag::SEND_DF } else { 0 };
        let writes = match (self.is_read_only(), self.device.geometry().discards) {
            (true, _) => flag::READ_ONLY,
            (false, false) => flag::SEND_WRITE_ZEROES,
            (false, true) => flag::SEND_WRITE_ZEROES | flag::SEND_FAST_ZERO | flag::SEND_TRIM,
        };
        always | structured | writes
    }

    /// The smallest block (a byte: unaligned requests are served), the preferred one, and the longest request.
    pub(super) fn block_sizes(&self) -> (u32, u32, u32) {
        let wish = self.device.geometry().optimal_io.clamp(PAGE, REQUEST_BYTES);
        (1, 1 << wish.ilog2(), REQUEST_BYTES)
    }
}

/// The exports of a server.
#[derive(Default)]
pub struct Exports {
    exports: Vec<Rc<Export>>,
}

impl Exports {
    /// No exports yet.
    pub fn new() -> Exports {
        Exports::default()
    }

    /// Adds an export; the first one is the default. False, and nothing is added, when the name is taken.
    #[must_use]
    pub fn add(&mut self, export: Export) -> bool {
        let free = self.exports.iter().all(|known| known.name != export.name);
        if free {
            self.exports.push(Rc::new(export));
        }
        free
    }

    /// The exports, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Export>> {
        self.exports.iter()
    }

    /// The export of that name; the empty name stands for the first one unless it is itself a name.
    pub fn find(&self, name: &[u8]) -> Option<&Rc<Export>> {
        let named = self.exports.iter().find(|export| export.name.as_bytes() == name);
        named.or_else(|| self.exports.first().filter(|_| name.is_empty()))
    }
}
