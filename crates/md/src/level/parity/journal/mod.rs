//! The write journal of an array with parity: what is written to a stripe is durable in it, data and parity, before any of
//! it goes to the members; so after a crash the journal makes every row whole, and nothing has to be synced.
//!
//! Follows Linux 6.12's raid5-cache.c. The journal is a ring of units (`ring`, pure). What is to be written gathers in a
//! unit (`unit`), one task writes units one after the other (`writer`), and another one moves the tail when what lies
//! behind it is safe on the members (`reclaim`): members flushed, failures on record, the new tail in the superblock, and
//! only then is the space used again. Neither of the two ever needs the journal, and whoever waits for space in it holds
//! none, so it may be as small as it likes (P2). `replay` brings what an earlier life left to the members.

mod plan;
mod reclaim;
mod replay;
mod ring;
mod unit;
mod writer;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Buf, Failed, Outcome, Range, Sectors};
use md_format::journal::{BLOCK_BYTES, BLOCK_SECTORS, MOST_BLOCKS, payload_bytes};
use md_format::superblock::Summary;
use runtime::rank::{Rank, Step};
use runtime::{Event, spawn};

use self::ring::Ring;
use self::unit::{UNIT_BYTES, Unit};
use super::Striped;
use super::map::Map;
use super::slots::Slots;
use crate::array::Array;
use crate::error::Hindrance;
use crate::examine::Examined;
use crate::limits::{JOURNAL_RECLAIM_SECTORS, JOURNAL_RECLAIM_SHARE, JOURNAL_ROWS, SLOTS};
use crate::member::{Condition, Member};
use crate::plant::{self, Plant};

/// Rows that are journaled in one piece: a block of every member.
pub(super) const BLOCK: Sectors = Sectors(BLOCK_SECTORS);

/// An array's journal.
pub(crate) struct Journal {
    member: Rc<Member>,
    map: Map,
    /// Sectors of the device.
    size: u64,
    /// Where the superblock said at opening that the oldest block lies that is needed.
    found: u64,
    /// What the superblock is to say.
    tail: Cell<u64>,
    /// What checksums start from.
    seed: u32,
    state: Cell<State>,
    /// Rows that the replay made whole.
    rows_replayed: Cell<u64>,
    ring: RefCell<Ring>,
    /// Gathers what comes.
    open: RefCell<Unit>,
    /// Is being written.
    closed: RefCell<Unit>,
    /// The writer waits for space.
    is_full: Cell<bool>,
    /// All that can be free is to be.
    emptying: Cell<bool>,
    stopping: Cell<bool>,
    changed: Event,
    rank: Rank,
}

/// A write journal as `status` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalState {
    /// Sectors of the ring.
    pub size: Sectors,
    /// Sectors of it that are in use: what a crash now would have to look at.
    pub used: Sectors,
    /// Rows that it made whole when the array was opened.
    pub replayed: u64,
    /// Why it takes nothing any more, if so.
    pub failure: Option<Failed>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Replaying,
    Replayed(Outcome),
}

/// While this lives, a unit of the journal is needed: its rows are not all on the members.
pub(crate) struct Held<'a> {
    journal: &'a Journal,
    number: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.journal.release(self.number);
    }
}

/// What is new in some rows of a stripe.
pub(super) struct New<'a, F: Fn(u16, Sectors) -> Buf> {
    /// Which rows, from the members' data offsets: whole blocks.
    pub rows: Range,
    /// Slots of data that are new.
    pub covered: Slots,
    /// The block of a slot in the row that begins there.
    pub block: F,
    /// P, and Q, of all the rows; `None` where parity is listed as bad and stays so.
    pub parity: Option<(&'a Buf, Option<&'a Buf>)>,
}

/// What forbids writing to an array whose freshest member says this, with a journal that says that.
pub(crate) fn hindrance(freshest: &Summary, journal: &Examined) -> Option<Hindrance> {
    let shape = |what| Some(Hindrance::Shape(what));
    if freshest.bitmap.is_some() || freshest.ppl.is_some() {
        return shape("a write journal beside a bitmap or a partial parity log");
    }
    if freshest.raid_disks as usize > MOST_BLOCKS {
        return shape("a write journal of more than 203 members");
    }
    if size(&journal.summary) < JOURNAL_ROWS * BLOCK_SECTORS * (1 + u64::from(freshest.raid_disks)) {
        return shape("the write journal is too small for a few rows of blocks");
    }
    let block = journal.geometry.logical_block;
    let is_aligned = (journal.summary.data_offset * 512).is_multiple_of(block.into());
    if block as usize > BLOCK_BYTES || !is_aligned {
        return shape("the write journal does not lie on blocks of its device");
    }
    None
}

/// Sectors of the ring.
fn size(summary: &Summary) -> u64 {
    summary.data_size / BLOCK_SECTORS * BLOCK_SECTORS
}

/// Blocks of one unit behind its meta block: [`JOURNAL_ROWS`] units fit into a ring of this size.
fn most_blocks(size: u64) -> usize {
    MOST_BLOCKS.min((size / BLOCK_SECTORS / JOURNAL_ROWS).saturating_sub(1) as usize)
}

impl Journal {
    /// The journal on this device, of an array of this height.
    pub fn new(member: Rc<Member>, map: &Map, height: u8) -> Journal {
        let summary = member.summary();
        let (size, seed) = (size(&summary), md_format::journal::seed(&summary.array_uuid));
        let found = md_format::journal::tail(summary.journal_tail.unwrap_or(0), size);
        let arena = Arena::new(2 * UNIT_BYTES.next_power_of_two());
        Journal {
            member,
            map: map.clone(),
            size,
            found,
            tail: Cell::new(found),
            seed,
            state: Cell::new(State::Replaying),
            rows_replayed: Cell::new(0),
            ring: RefCell::new(Ring::new(size, 0, 0)),
            open: RefCell::new(Unit::new(&arena, most_blocks(size), seed)),
            closed: RefCell::new(Unit::new(&arena, most_blocks(size), seed)),
            is_full: Cell::new(false),
            emptying: Cell::new(false),
            stopping: Cell::new(false),
            changed: Event::with_capacity(2 * SLOTS),
            rank: Rank::new(height, Step::Log),
        }
    }

    /// Waits until what it held when the array was opened is on the members.
    pub async fn replayed(&self) -> Outcome {
        self.changed.wait_until(|| self.state.get() != State::Replaying).await;
        match self.state.get() {
            State::Replayed(outcome) => outcome,
            State::Replaying => Err(Failed::new(block::Cause::Refused)),
        }
    }

    /// Rows that fit into one unit, a power of two.
    pub fn longest(&self) -> Sectors {
        let rows = (most_blocks(self.size) / usize::from(self.map.slots())).max(1);
        Sectors(BLOCK_SECTORS << rows.ilog2())
    }

    /// Whether its device is this member.
    pub fn is_on(&self, member: &Member) -> bool {
        std::ptr::eq(&*self.member, member)
    }

    /// For people.
    pub fn state(&self) -> JournalState {
        JournalState {
            size: Sectors(self.size),
            used: Sectors(self.ring.borrow().used()),
            replayed: self.rows_replayed.get(),
            failure: self.failure(),
        }
    }

    /// What its superblock is to say.
    pub fn tail(&self) -> u64 {
        self.tail.get()
    }

    /// Why it takes nothing any more, if so.
    pub fn failure(&self) -> Option<Failed> {
        match self.member.condition() {
            Condition::Journal => None,
            _ => Some(self.member.failure.get().unwrap_or(Failed::new(block::Cause::Gone))),
        }
    }

    /// Why nothing can be written, if so.
    fn hitch(&self, array: &Array) -> Option<Failed> {
        self.failure().or(array.broken())
    }

    /// Makes what is about to be written to rows of a stripe durable in the journal. They are needed there until what comes
    /// back is dropped. Nothing comes back of an array that is open for reading: what it writes goes to overlays.
    pub(super) async fn record<F: Fn(u16, Sectors) -> Buf>(
        &self,
        array: &Array,
        new: New<'_, F>,
    ) -> Result<Option<Held<'_>>, Failed> {
        if !array.options.write {
            return Ok(None);
        }
        let rows = (new.rows.count.0 / BLOCK_SECTORS) as usize;
        let data = rows * new.covered.count() as usize;
        let parities = new.parity.map_or(0, |(_, q)| 1 + usize::from(q.is_some()));
        let (blocks, bytes) = (data + rows * parities, payload_bytes(data, rows, parities));
        self.rank.wait();
        let has_room = || self.open.borrow().has_room(blocks, bytes);
        self.changed.wait_until(|| has_room() || self.hitch(array).is_some()).await;
        self.hitch(array).map_or(Ok(()), Err)?;
        let held = self.hold_open();
        self.gather(&new);
        if !plant::is(Plant::JournalAfterWrite) {
            self.durable(array, &held).await?;
        }
        Ok(Some(held))
    }

    /// Whoever asks needs the open unit.
    fn hold_open(&self) -> Held<'_> {
        let number = self.ring.borrow().next();
        self.open.borrow_mut().holders += 1;
        self.changed.notify();
        Held { journal: self, number }
    }

    /// Puts rows into the open unit.
    fn gather<F: Fn(u16, Sectors) -> Buf>(&self, new: &New<'_, F>) {
        let mut open = self.open.borrow_mut();
        let mut row = new.rows.start;
        while row < new.rows.end() {
            for slot in new.covered.iter() {
                let place = self.map.range_at(slot, Range::new(row, BLOCK)).expect("a slot of data");
                open.push_data(place.start.0, &(new.block)(slot, row));
            }
            if let Some((p, q)) = new.parity {
                let at = (row - new.rows.start).byte_len();
                let block = |parity: &Buf| parity.slice(at, BLOCK_BYTES);
                open.push_parity(row.0, &block(p), q.map(block).as_ref());
            }
            row += BLOCK;
        }
    }

    /// Waits until a unit is durable.
    async fn durable(&self, array: &Array, held: &Held<'_>) -> Outcome {
        let is_durable = || self.ring.borrow().is_durable(held.number);
        self.changed.wait_until(|| is_durable() || self.hitch(array).is_some()).await;
        match is_durable() {
            true => Ok(()),
            false => Err(self.hitch(array).expect("what was waited for")),
        }
    }

    fn release(&self, number: u64) {
        let mut ring = self.ring.borrow_mut();
        match number == ring.next() {
            true => self.open.borrow_mut().holders -= 1,
            false => ring.release(number),
        }
        drop(ring);
        self.changed.notify();
    }

    /// Sectors that are enough to move the tail for.
    fn enough(&self) -> u64 {
        (self.size / JOURNAL_RECLAIM_SHARE).min(JOURNAL_RECLAIM_SECTORS)
    }

    /// Nobody waits any longer for what cannot come.
    pub fn wake_all(&self) {
        self.changed.notify();
    }

    /// No write is under way any more: leaves as little as possible to replay, and ends the tasks.
    pub async fn stop(&self, array: &Array) {
        if array.options.write && self.state.get() == State::Replayed(Ok(())) {
            self.emptying.set(true);
            self.changed.notify();
            let is_empty = || self.ring.borrow().reclaimable().is_none();
            self.changed.wait_until(|| is_empty() || self.hitch(array).is_some()).await;
        }
        self.stopping.set(true);
        self.changed.notify();
    }
}

/// Starts the replay and the tasks of an array that has a journal, and what is to begin after the replay.
pub(super) fn start(array: &Rc<Array>, then: impl FnOnce(&Rc<Array>) + 'static) {
    let own = array.clone();
    let _running = spawn(async move {
        let (level, journal) = of(&own).expect("looked at before");
        let outcome = replay::run(&own, level, journal).await;
        journal.state.set(State::Replayed(outcome));
        journal.changed.notify();
        if outcome.is_ok() {
            then(&own); // nothing is believed of rows that are not what the journal says
        }
    });
    if !array.options.write {
        return;
    }
    block::reserve(4);
    let (writer, reclaimer) = (array.clone(), array.clone());
    let _running = spawn(async move { writer::run(&writer, of(&writer).expect("looked at before").1).await });
    let _running =
        spawn(async move { reclaim::run(&reclaimer, of(&reclaimer).expect("looked at before").1).await });
}

fn of(array: &Array) -> Option<(&Striped, &Journal)> {
    let crate::level::Mapping::Parity(level) = &array.mapping else { return None };
    level.journal().map(|journal| (&**level, journal))
}
