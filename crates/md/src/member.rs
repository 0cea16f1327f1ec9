//! A member of an open array: its device, its condition, its superblock.

use std::cell::{Cell, RefCell};

use block::{Dev, Failed, Range, Sectors};
use md_format::limits::SUPERBLOCK_BYTES;
use md_format::{MemberFlags, Place};

/// How a member stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Holds all of its slot's data (S1).
    InSync,
    /// Waits for a slot.
    Spare,
    /// Has failed: no request reaches it any more.
    Faulty,
}

/// A member of an open array.
pub struct Member {
    /// What people call it.
    pub name: String,
    /// The disk.
    pub dev: Dev,
    /// Its slot; spares have none.
    pub slot: Option<u16>,
    /// Its permanent number.
    pub dev_number: u32,
    /// First sector of its data.
    pub data_offset: Sectors,
    /// Sectors that hold data.
    pub data_size: Sectors,
    /// Write-mostly, failfast.
    pub flags: MemberFlags,
    pub(crate) condition: Cell<Condition>,
    pub(crate) failure: Cell<Option<Failed>>,
    pub(crate) place: Place,
    pub(crate) superblock: RefCell<Box<[u8; SUPERBLOCK_BYTES]>>,
    pub(crate) bad: Vec<Range>,
    pub(crate) corrected_reads: Cell<u32>,
    pub(crate) read_errors: Cell<u32>,
    pub(crate) reads_in_flight: Cell<u32>,
    pub(crate) last_read_end: Cell<Sectors>,
}

/// A member as `status` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberStatus {
    /// What people call it.
    pub name: String,
    /// Its slot.
    pub slot: Option<u16>,
    /// Its permanent number.
    pub dev_number: u32,
    /// How it stands.
    pub condition: Condition,
    /// Why it has failed.
    pub failure: Option<Failed>,
    /// Read errors that were repaired.
    pub corrected_reads: u32,
    /// Read only if nothing else can answer.
    pub write_mostly: bool,
    /// First sector of its data.
    pub data_offset: Sectors,
}

impl Member {
    /// How it stands now.
    pub fn condition(&self) -> Condition {
        self.condition.get()
    }

    /// Where a range of its data lies on the disk.
    pub(crate) fn place_of(&self, start: Sectors) -> Sectors {
        self.data_offset + start
    }

    /// Whether a range of its data (from the data offset) is known to be unreadable in part.
    pub(crate) fn is_bad(&self, range: Range) -> bool {
        let on_disk = Range::new(self.place_of(range.start), range.count);
        self.bad.iter().any(|bad| bad.overlaps(on_disk))
    }

    pub(crate) fn status(&self) -> MemberStatus {
        MemberStatus {
            name: self.name.clone(),
            slot: self.slot,
            dev_number: self.dev_number,
            condition: self.condition.get(),
            failure: self.failure.get(),
            corrected_reads: self.corrected_reads.get(),
            write_mostly: self.flags.write_mostly,
            data_offset: self.data_offset,
        }
    }
}
