//! A member of an open array: its device, its condition, its superblock.

use std::cell::{Cell, OnceCell, RefCell};

use block::{Dev, Failed, Moment, Range, Sectors};
use md_format::limits::SUPERBLOCK_BYTES;
use md_format::private_log::fingerprint;
use md_format::superblock::{Summary, Superblock};
use md_format::{MemberFlags, Place};

use crate::assembly::Candidate;
use crate::badblocks::BadBlocks;

/// How a member stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Holds all of its slot's data (S1).
    InSync,
    /// Is in a slot, and gets its data: every write reaches it, what it holds is read only where it was rebuilt.
    Recovering(Recovering),
    /// Waits for a slot.
    Spare,
    /// Holds the write journal.
    Journal,
    /// Has failed: no request reaches it any more.
    Faulty,
    /// Was let go of: the array knows nothing of it any more.
    Removed,
}

/// How far a member has its data. The end is no position: a member that has all of it is [`Condition::InSync`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recovering {
    /// Rows below this one, from the data offset, are there.
    pub done: Sectors,
    /// It was in this slot before: only what the bitmap marks is missing.
    pub by_bitmap: bool,
    /// It is to take the place of a member that is in the slot and works.
    pub replaces: bool,
}

impl Recovering {
    /// Nothing is there yet.
    pub const NOTHING: Recovering = Recovering { done: Sectors::ZERO, by_bitmap: false, replaces: false };
}

/// What a spare waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Want {
    /// Any slot.
    Any,
    /// The slot that was its own: but for what the bitmap marks it has that slot's data.
    Former(u16),
    /// The place of the member that is in this slot.
    Replace(u16),
}

/// A member of an open array.
pub struct Member {
    /// What people call it.
    pub name: String,
    /// The disk.
    pub dev: Dev,
    /// Its permanent number.
    pub dev_number: u32,
    /// First sector of its data.
    pub data_offset: Sectors,
    /// Sectors that hold data.
    pub data_size: Sectors,
    /// Write-mostly, failfast.
    pub flags: MemberFlags,
    pub(crate) slot: Cell<Option<u16>>,
    pub(crate) condition: Cell<Condition>,
    /// Somebody wants it replaced.
    pub(crate) unwanted: Cell<bool>,
    /// Sectors of its own for data.
    pub(crate) room: Cell<Sectors>,
    /// What it waits for, as a spare.
    pub(crate) want: Cell<Want>,
    /// How far a recovery had come when a flush of its device began, for each who flushes: their flushes may overlap.
    pub(crate) noted: [Cell<Sectors>; 2],
    /// How much of a recovery was durable when its device was last flushed: what superblocks may say (S4).
    pub(crate) recovered_durably: Cell<Sectors>,
    /// It is in sync, and its own superblock does not say so yet.
    pub(crate) promoted: Cell<bool>,
    pub(crate) failure: Cell<Option<Failed>>,
    /// Who has taken its place while it still worked.
    pub(crate) replaced_by: OnceCell<String>,
    pub(crate) place: Cell<Place>,
    pub(crate) superblock: RefCell<Box<[u8; SUPERBLOCK_BYTES]>>,
    /// The fingerprint of the superblock that is on its disk.
    pub(crate) recorded: Cell<u64>,
    pub(crate) bad: BadBlocks,
    pub(crate) corrected_reads: Cell<u32>,
    pub(crate) read_errors: Cell<u32>,
    pub(crate) last_read_error: Cell<Moment>,
    pub(crate) reads_in_flight: Cell<u32>,
    pub(crate) last_read_end: Cell<Sectors>,
}

/// Who flushes members to record positions. Each does one such flush at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flusher {
    /// The writer of superblocks, before a clean mark.
    Writer = 0,
    /// The sync engine, for a checkpoint.
    Checkpoint = 1,
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
    /// A replacement for it is wanted.
    pub unwanted: bool,
    /// Why it has failed.
    pub failure: Option<Failed>,
    /// Who has taken its place while it still worked, if that is why.
    pub replaced_by: Option<String>,
    /// Read errors that were repaired.
    pub corrected_reads: u32,
    /// Read only if nothing else can answer.
    pub write_mostly: bool,
    /// First sector of its data.
    pub data_offset: Sectors,
    /// Runs of sectors that its bad-block log lists.
    pub bad_blocks: usize,
}

impl Member {
    /// A member that was examined, under this number and in this slot.
    pub(crate) fn new(
        candidate: &Candidate,
        dev: Dev,
        dev_number: u32,
        slot: Option<u16>,
        condition: Condition,
    ) -> Member {
        let examined = &candidate.examined;
        let done = match condition {
            Condition::Recovering(recovering) => recovering.done,
            _ => Sectors::ZERO,
        };
        Member {
            name: candidate.name.clone(),
            dev,
            dev_number,
            data_offset: Sectors(examined.summary.data_offset),
            data_size: Sectors(examined.summary.used_sectors()),
            flags: MemberFlags::default(),
            slot: Cell::new(slot),
            condition: Cell::new(condition),
            unwanted: Cell::new(false),
            room: Cell::new(Sectors(examined.summary.data_size)),
            want: Cell::new(Want::Any),
            noted: [Cell::new(done), Cell::new(done)],
            recovered_durably: Cell::new(done),
            promoted: Cell::new(false),
            failure: Cell::new(None),
            replaced_by: OnceCell::new(),
            place: Cell::new(examined.place),
            superblock: RefCell::new(examined.bytes.clone()),
            recorded: Cell::new(fingerprint(&examined.bytes)),
            bad: BadBlocks::new(std::iter::empty(), examined.summary.bad_block_log),
            corrected_reads: Cell::new(0),
            read_errors: Cell::new(0),
            last_read_error: Cell::default(),
            reads_in_flight: Cell::new(0),
            last_read_end: Cell::new(Sectors::ZERO),
        }
    }

    /// Notes how far it is rebuilt, before its device is flushed.
    pub(crate) fn note_position(&self, by: Flusher) {
        self.noted[by as usize].set(self.recovering().map_or(Sectors::ZERO, |recovering| recovering.done));
    }

    /// What was noted is durable.
    pub(crate) fn keep_position(&self, by: Flusher) {
        self.recovered_durably.set(self.noted[by as usize].get().max(self.recovered_durably.get()));
    }

    /// What its superblock said when it was last written.
    pub(crate) fn summary(&self) -> Summary {
        let bytes = self.superblock.borrow();
        let view = Superblock::view(self.place.get(), &bytes[..]).expect("it was examined, or made");
        view.summary().expect("it was examined, or made")
    }

    /// How it stands now.
    pub fn condition(&self) -> Condition {
        self.condition.get()
    }

    /// How far it is rebuilt, if it is being rebuilt.
    pub fn recovering(&self) -> Option<Recovering> {
        match self.condition.get() {
            Condition::Recovering(recovering) => Some(recovering),
            _ => None,
        }
    }

    /// Whether writes go to it.
    pub(crate) fn is_written(&self) -> bool {
        matches!(self.condition.get(), Condition::InSync | Condition::Recovering(_))
    }

    /// Whether it holds the data of these rows (from the data offset).
    pub(crate) fn holds(&self, rows: Range) -> bool {
        match self.condition.get() {
            Condition::InSync => true,
            Condition::Recovering(recovering) => rows.end() <= recovering.done,
            Condition::Spare | Condition::Journal | Condition::Faulty | Condition::Removed => false,
        }
    }

    /// Whether it holds anything.
    pub(crate) fn has_any_rows(&self) -> bool {
        self.holds(Range::new(Sectors::ZERO, Sectors(1)))
    }

    /// Whether it holds some of these rows, and not all of them.
    pub(crate) fn holds_a_part_of(&self, rows: Range) -> bool {
        !self.holds(rows) && self.holds(Range::new(rows.start, Sectors(1)))
    }

    /// Where a range of its data lies on the disk.
    pub(crate) fn place_of(&self, start: Sectors) -> Sectors {
        self.data_offset + start
    }

    /// Whether a range of its data (from the data offset) is known to be unreadable in part.
    pub(crate) fn is_bad(&self, range: Range) -> bool {
        self.bad.overlap(Range::new(self.place_of(range.start), range.count))
    }

    /// What is listed as bad of these rows (from the data offset).
    pub(crate) fn bad_rows(&self, rows: Range) -> impl Iterator<Item = Range> + Clone + use<> {
        let (on_disk, offset) = (Range::new(self.place_of(rows.start), rows.count), self.data_offset);
        let listed = self.bad.within(on_disk);
        listed.into_iter().map(move |run| Range::new(run.start - offset, run.count))
    }

    pub(crate) fn status(&self) -> MemberStatus {
        MemberStatus {
            name: self.name.clone(),
            slot: self.slot.get(),
            dev_number: self.dev_number,
            condition: self.condition.get(),
            unwanted: self.unwanted.get(),
            failure: self.failure.get(),
            replaced_by: self.replaced_by.get().cloned(),
            corrected_reads: self.corrected_reads.get(),
            write_mostly: self.flags.write_mostly,
            data_offset: self.data_offset,
            bad_blocks: self.bad.runs(),
        }
    }
}
