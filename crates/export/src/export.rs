//! Exports: devices under the names by which clients ask for them.

use std::cell::RefCell;
use std::rc::Rc;

use block::{Dev, Request, SECTOR, Sectors, Ticket};

use crate::Counters;
use crate::limits::{NAME_BYTES, TEXT_BYTES, WRITERS};
use crate::unaligned::WriteTurns;

/// One export.
pub struct Export {
    name: String,
    description: String,
    device: Dev,
    block: u64,
    read_only: bool,
    pub(crate) writes: WriteTurns,
    counters: Counters,
}

impl Export {
    /// An export of `device`. Read-only if said so, or if the device is. Names and descriptions are cut at 4096
    /// bytes.
    pub fn new(name: &str, description: &str, device: Dev, read_only: bool) -> Export {
        Export {
            name: name[..name.floor_char_boundary(NAME_BYTES)].to_owned(),
            description: description[..description.floor_char_boundary(TEXT_BYTES)].to_owned(),
            writes: WriteTurns::new(WRITERS, device.height()),
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
    pub fn start(&self, request: Request, trace: u32) -> Ticket {
        self.device.start(request.for_trace(trace))
    }

    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.device.geometry().read_only
    }

    /// Bytes in a logical block of the device. Unlike its size, this never changes while it is in use.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// Bytes that clients can reach: whole logical blocks.
    pub fn size(&self) -> u64 {
        self.device.geometry().size.round_down(Sectors::from_bytes(self.block)).bytes()
    }
}

/// The exports of a stack. More can come while it is served.
#[derive(Default)]
pub struct Exports {
    exports: RefCell<Vec<Rc<Export>>>,
}

impl Exports {
    /// No exports yet.
    pub fn new() -> Exports {
        Exports::default()
    }

    /// Adds an export; the first one is the default. False, and nothing is added, when the name is taken.
    #[must_use]
    pub fn add(&self, export: Export) -> bool {
        let mut exports = self.exports.borrow_mut();
        let free = exports.iter().all(|known| known.name != export.name);
        if free {
            exports.push(Rc::new(export));
        }
        free
    }

    /// Takes an export away: who comes from now on does not find it.
    pub fn remove(&self, export: &Rc<Export>) {
        self.exports.borrow_mut().retain(|known| !Rc::ptr_eq(known, export));
    }

    /// The exports as they are now, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = Rc<Export>> {
        self.exports.borrow().clone().into_iter()
    }

    /// The export of that name; the empty name stands for the first one unless it is itself a name.
    pub fn find(&self, name: &[u8]) -> Option<Rc<Export>> {
        let exports = self.exports.borrow();
        let named = exports.iter().find(|export| export.name.as_bytes() == name);
        named.or_else(|| exports.first().filter(|_| name.is_empty())).cloned()
    }
}
