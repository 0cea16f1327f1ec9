//! The log of one member: a record that collects entries, and the one before, which counts until its rows are safe.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Buf, Range};
use md_format::ppl;
use runtime::Event;

use super::super::slots::Slots;
use crate::limits::SLOTS;

/// Rows of a stripe that are about to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The stripe's number.
    pub stripe: u64,
    /// Rows, from the start of the chunk.
    pub rows: Range,
    /// Slots of data that are written.
    pub written: Slots,
    /// Bytes of partial parity.
    pub bytes: usize,
    /// Their CRC-32C.
    pub crc: u32,
}

/// A record: its bytes, and who waits for it or writes its rows.
pub(super) struct Record {
    /// Header and partial parity.
    pub buf: Buf,
    /// What it speaks of.
    pub entries: Vec<Entry>,
    /// Bytes of partial parity so far.
    pub bytes: usize,
    /// Writes that it is for and that have not ended.
    pub holders: u32,
}

/// The log of the member in one slot.
pub(super) struct MemberLog {
    pub slot: u16,
    /// The permanent number of the member that the log was prepared on.
    pub owner: Cell<Option<u32>>,
    /// The permanent number of the member whose log was emptied last, when it got the slot.
    pub admitted: Cell<Option<u32>>,
    open: RefCell<Record>,
    closed: RefCell<Record>,
    /// The open record's number; all before it are closed.
    number: Cell<u64>,
    /// Records below this number are durable.
    durable: Cell<u64>,
    /// Slots that were written under the closed record, and are to be flushed before the next one is written.
    pub touched: Cell<Slots>,
    /// Where the next record goes, in sectors from the start of the area.
    pub next: Cell<u64>,
    pub changed: Event,
}

impl MemberLog {
    pub fn new(slot: u16, arena: &Rc<Arena>, most: usize) -> MemberLog {
        let record = || {
            let buf = arena.take(ppl::HEADER_BYTES + most).expect("the arena was made for it");
            RefCell::new(Record { buf, entries: Vec::with_capacity(ppl::MAX_ENTRIES), bytes: 0, holders: 0 })
        };
        MemberLog {
            slot,
            owner: Cell::new(None),
            admitted: Cell::new(None),
            open: record(),
            closed: record(),
            number: Cell::new(1),
            durable: Cell::new(1),
            touched: Cell::new(Slots::NONE),
            next: Cell::new(0),
            changed: Event::with_capacity(2 * SLOTS),
        }
    }

    /// Whether the open record takes another entry with so many bytes, where `most` fit and `carried` entries have to.
    pub fn has_room(&self, bytes: usize, most: usize, carried: usize) -> bool {
        let open = self.open.borrow();
        open.entries.len() + carried < ppl::MAX_ENTRIES && open.bytes + bytes <= most
    }

    /// Where the next entry's partial parity goes.
    pub fn payload(&self, bytes: usize) -> Buf {
        let open = self.open.borrow();
        open.buf.slice(ppl::HEADER_BYTES + open.bytes, bytes)
    }

    /// Adds an entry; the number of the record that has it.
    pub fn push(&self, entry: Entry) -> u64 {
        let mut open = self.open.borrow_mut();
        open.bytes += entry.bytes;
        open.entries.push(entry);
        open.holders += 1;
        self.changed.notify();
        self.number.get()
    }

    pub fn is_durable(&self, number: u64) -> bool {
        number < self.durable.get()
    }

    /// Whether no record is being written.
    pub fn is_written(&self) -> bool {
        self.durable.get() == self.number.get()
    }

    /// Whether there is anything to be written.
    pub fn has_entries(&self) -> bool {
        !self.open.borrow().entries.is_empty()
    }

    /// Whether rows of the closed record are still being written.
    pub fn is_held(&self) -> bool {
        self.closed.borrow().holders > 0
    }

    /// Whether the closed record names blocks that nobody has, beside others: who opened the array by it would take what
    /// parity says of them for half of one write and half of another. Which slots nobody has, `gone` says of an entry.
    pub fn is_doubting(&self, gone: impl Fn(&Entry) -> Slots) -> bool {
        let is_torn = |entry: &Entry| {
            let gone = gone(entry);
            !(entry.written & gone).is_empty() && !(entry.written - gone).is_empty()
        };
        self.closed.borrow().entries.iter().any(is_torn)
    }

    /// A write has ended whose rows were in record `number`, and which went to the slots `touched`.
    pub fn end(&self, number: u64, touched: Slots) {
        let record = if number == self.number.get() { &self.open } else { &self.closed };
        let left = record.borrow().holders - 1;
        record.borrow_mut().holders = left;
        self.touched.set(self.touched.get() | touched);
        if left == 0 {
            self.changed.notify();
        }
    }

    /// Closes the open record and opens the other one. Nobody holds that any more.
    pub fn close(&self) {
        self.open.swap(&self.closed);
        let mut open = self.open.borrow_mut();
        debug_assert_eq!(open.holders, 0, "a record is written over while its rows are being written");
        open.entries.clear();
        open.bytes = 0;
        self.number.set(self.number.get() + 1);
    }

    /// The record that was closed last.
    pub fn with_closed<R>(&self, look: impl FnOnce(&Record) -> R) -> R {
        look(&self.closed.borrow())
    }

    /// Gives up the closed record's memory, into which a late answer may still reach: the driver has it until then.
    pub fn forget_memory(&self) {
        let mut closed = self.closed.borrow_mut();
        let bytes = closed.buf.len();
        if let Some(fresh) = Arena::new(bytes.next_power_of_two()).take(bytes) {
            closed.buf = fresh;
        }
    }

    /// All closed records are durable, or there is no member any more for which they matter.
    pub fn set_durable(&self) {
        self.durable.set(self.number.get());
        self.changed.notify();
    }
}
