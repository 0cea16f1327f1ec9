//! The write journal of an array with parity: what is written to a stripe is durable in it, data and parity, before any of
//! it goes to the members; so after a crash the journal makes every row whole, and nothing has to be synced.
//!
//! Follows Linux 6.12's raid5-cache.c. The journal is a ring of units (`ring`, pure). What is to be written gathers in a
//! unit (`unit`), one task writes units one after the other (`writer`), and another one moves the tail when what lies
//! behind it is safe on the members (`reclaim`): members flushed, failures on record, the new tail in the superblock, and
//! only then is the space used again. Neither of the two ever needs the journal, and whoever waits for space in it holds
//! none (`space`), so it may be as small as it likes (P2). `replay` brings what an earlier life left to the members.
//!
//! In write-back mode a write is answered when its data is durable in the journal. It stays in memory (`cache`) until it is
//! written out with its parity (`out`).

mod account;
mod cache;
mod out;
mod plan;
mod reclaim;
mod replay;
mod ring;
mod space;
mod unit;
mod writer;

use crate::waits;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use block::{Arena, Buf, Failed, Outcome, Range, Sectors};
use md_format::journal::{BLOCK_BYTES, BLOCK_SECTORS, MOST_BLOCKS};
use md_format::superblock::Summary;
use runtime::rank::{Rank, Step};
use runtime::{Event, spawn, spawn_freely};

use self::account::Account;
use self::cache::Cache;
use self::ring::Ring;
use self::unit::{UNIT_BYTES, Unit};
use super::Striped;
use super::map::Map;
use super::slots::Slots;
use super::work::Works;
use crate::array::{Array, Options};
use crate::error::Hindrance;
use crate::examine::Examined;
use crate::limits::{JOURNAL_RECLAIM_SECTORS, JOURNAL_RECLAIM_SHARE, JOURNAL_ROWS, SLOTS};
use crate::member::{Condition, Member};

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
    mode: Cell<JournalMode>,
    ring: RefCell<Ring>,
    /// Gathers what comes.
    open: RefCell<Unit>,
    /// Is being written.
    closed: RefCell<Unit>,
    /// What no member has yet: there is memory for it once the mode is write-back.
    cache: RefCell<Option<Cache>>,
    cache_bytes: usize,
    /// Rows that are written out of it at once.
    write_outs: usize,
    /// What the ring is still to take.
    account: Cell<Account>,
    /// What writing out needs, taken with the memory.
    outs: OnceCell<Works>,
    /// What groups of writes need. They have it before they lock rows.
    writers: Works,
    /// Rows that need an older unit than this have been in memory for long.
    aged: Cell<u64>,
    /// How many want nothing to be in memory any more.
    draining: Cell<u32>,
    /// Who waits for space takes turns: how many have come, and whose turn it is.
    turns: Cell<u64>,
    turn: Cell<u64>,
    /// Whose turn it is waits for space.
    is_full: Cell<bool>,
    /// All that can be free is to be.
    emptying: Cell<bool>,
    stopping: Cell<bool>,
    changed: Event,
    /// Something may be there to be written out.
    out: Event,
    rank: Rank,
}

/// What `journal_mode` says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum JournalMode {
    /// A write is answered when the members have it.
    #[default]
    WriteThrough,
    /// A write is answered when the journal has it.
    WriteBack,
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
    /// When a write is answered.
    pub mode: JournalMode,
    /// Bytes that the journal has and no member yet.
    pub cached_bytes: u64,
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
    pub fn new(member: Rc<Member>, map: &Map, height: u8, options: &Options) -> Journal {
        let summary = member.summary();
        let (size, seed) = (size(&summary), md_format::journal::seed(&summary.array_uuid));
        let found = md_format::journal::tail(summary.journal_tail.unwrap_or(0), size);
        let arena = Arena::new(2 * UNIT_BYTES.next_power_of_two());
        let writers = Works::new(map, options.pools.journal_writers, Rank::new(height, Step::Work));
        writers.add_fresh(map.slots(), BLOCK.byte_len());
        writers.add_lists(map);
        let journal = Journal {
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
            mode: Cell::new(JournalMode::WriteThrough),
            cache: RefCell::new(None),
            cache_bytes: options.journal_cache_bytes,
            write_outs: options.pools.journal_write_outs,
            account: Cell::default(),
            outs: OnceCell::new(),
            writers,
            aged: Cell::new(0),
            draining: Cell::new(0),
            turns: Cell::new(0),
            turn: Cell::new(0),
            is_full: Cell::new(false),
            emptying: Cell::new(false),
            stopping: Cell::new(false),
            changed: Event::with_capacity(2 * SLOTS),
            out: Event::with_capacity(2 * options.pools.journal_write_outs),
            rank: Rank::new(height, Step::Log),
        };
        if options.write {
            journal.set_mode(options.journal_mode);
        }
        journal
    }

    /// Answers writes in this mode from now on. Memory is taken when that is needed for the first time.
    pub fn set_mode(&self, mode: JournalMode) {
        if mode == JournalMode::WriteBack && self.cache.borrow().is_none() {
            let parities = self.map.stripe(0).parities().count();
            // No more than the journal could hold.
            let bytes = self.cache_bytes.min(Sectors(self.size).byte_len());
            *self.cache.borrow_mut() = Some(Cache::new(bytes, parities));
            let rank = Rank::new(self.rank.height, Step::Buffers);
            let outs = Works::new(&self.map, self.write_outs, rank);
            outs.add_lists(&self.map);
            let _ = self.outs.set(outs);
        }
        self.mode.set(mode);
        self.out.notify();
    }

    fn outs(&self) -> &Works {
        self.outs.get().expect("taken with the memory for what is cached")
    }

    /// What groups of writes take before they lock anything.
    pub(super) fn writers(&self) -> &Works {
        &self.writers
    }

    /// Waits until everything that is in memory alone is on the members; nothing more is kept meanwhile.
    pub async fn drained(&self, array: &Array) -> Outcome {
        self.draining.set(self.draining.get() + 1);
        self.out.notify();
        let is_empty = || self.cached().is_none();
        self.changed.wait_for(waits::DRAINED, || is_empty() || array.broken().is_some()).await;
        self.draining.set(self.draining.get() - 1);
        match is_empty() {
            true => Ok(()),
            false => Err(array.broken().expect("what was waited for")),
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

    /// Its device.
    pub fn member(&self) -> &Member {
        &self.member
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
            mode: self.mode.get(),
            cached_bytes: self.cached().map_or(0, |cache| cache.used() as u64) * BLOCK_BYTES as u64,
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

    /// Whoever asks needs the open unit.
    fn hold_open(&self) -> Held<'_> {
        let number = self.ring.borrow().next();
        self.open.borrow_mut().holders += 1;
        self.changed.notify();
        Held { journal: self, number }
    }

    /// Waits until a unit is durable.
    async fn durable(&self, array: &Array, held: &Held<'_>) -> Outcome {
        let is_durable = || self.ring.borrow().is_durable(held.number);
        self.changed.wait_for(waits::UNIT, || is_durable() || self.hitch(array).is_some()).await;
        match is_durable() {
            true => Ok(()),
            false => Err(self.hitch(array).expect("what was waited for")),
        }
    }

    /// One more needs a unit that somebody holds.
    fn hold(&self, number: u64) {
        let mut ring = self.ring.borrow_mut();
        match number == ring.next() {
            true => self.open.borrow_mut().holders += 1,
            false => ring.hold(number),
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
        self.out.notify();
    }

    /// Rows were unlocked.
    pub(super) fn unlocked(&self) {
        if self.cached().is_some() {
            self.out.notify();
        }
    }

    /// No write is under way any more: leaves as little as possible to replay, and ends the tasks.
    pub async fn stop(&self, array: &Array) {
        if array.options.write && self.state.get() == State::Replayed(Ok(())) {
            let _ = self.drained(array).await; // what cannot be written out stays in the journal
            self.emptying.set(true);
            self.changed.notify();
            let is_empty = || self.ring.borrow().reclaimable().is_none();
            self.changed.wait_for(waits::SPACE, || is_empty() || self.hitch(array).is_some()).await;
        }
        self.stopping.set(true);
        self.wake_all();
    }
}

/// Starts the replay and the tasks of an array that has a journal, and what is to begin after the replay.
pub(crate) fn start(array: &Rc<Array>, then: impl FnOnce(&Rc<Array>) + 'static) {
    let own = array.clone();
    // Nothing is served before it has ended.
    let _running = spawn_freely(async move {
        let (level, journal) = of(&own).expect("looked at before");
        let outcome = match replay::run(&own, level, journal).await {
            Err(failed) => go_on_without(&own, journal, failed),
            Ok(()) => Ok(()),
        };
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
    for _ in 0..array.options.pools.journal_write_outs {
        let own = array.clone();
        let _running = spawn(async move {
            let (level, journal) = of(&own).expect("looked at before");
            out::run(&own, level, journal).await;
        });
    }
    let aging = array.clone();
    let _running = spawn(async move { out::age(&aging, of(&aging).expect("looked at before").1).await });
    let (writer, reclaimer) = (array.clone(), array.clone());
    let _running = spawn(async move { writer::run(&writer, of(&writer).expect("looked at before").1).await });
    let _running =
        spawn(async move { reclaim::run(&reclaimer, of(&reclaimer).expect("looked at before").1).await });
}

/// A journal that cannot be read to its end: an array that is open for reading is read by what its members hold, as without
/// the journal, but for what only parity could give back.
fn go_on_without(array: &Array, journal: &Journal, failed: Failed) -> Outcome {
    if array.options.write || !(array.is_whole() || array.options.dirty_degraded) {
        return Err(failed);
    }
    array.fail(&journal.member, failed);
    array.sync.doubt();
    Ok(())
}

fn of(array: &Array) -> Option<(&Striped, &Journal)> {
    let crate::level::Mapping::Parity(level) = &array.mapping else { return None };
    level.journal().map(|journal| (&**level, journal))
}
