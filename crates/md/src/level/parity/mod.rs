//! raid4, raid5, raid6: data and parity in stripes.
//!
//! `map` says where everything lies, `plan` what has to be read, `cut` which rows are written in one piece: those three
//! are pure. Writes gather in `group` and are carried out by `write` and `stripe`, and `settle` says what came of them; `read`
//! gives back also what is lost;
//! `zero` frees and zeroes whole stripes; `resync` makes parity belong to the data; `log` and `journal` are the two ways of
//! closing the write hole. All of them hold a lock on the rows of
//! the stripes they work on, so that data and parity are never seen, or left, halfway.

mod arithmetic;
mod cut;
mod group;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod map;
mod offers;
mod plan;
mod read;
mod recover;
mod resync;
mod scrub;
mod settle;
mod slots;
mod stripe;
mod whole;
mod work;
mod write;
mod zero;

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use block::{Arena, Buf, Cause, Failed, Op, Outcome, Range, Request, Sectors};
use md_format::superblock::Summary;
use runtime::rank::{Rank, Step};

pub(super) use recover::recover_window;
pub(super) use resync::sync_window;
pub(super) use scrub::scrub_window;

use self::group::Groups;
use self::journal::Journal;
use self::log::Log;
use self::map::{Map, Stripe};
use self::offers::Offers;
use self::plan::{Known, NoPlan};
use self::slots::Slots;
use self::work::Works;
use crate::array::{Array, Options};
use crate::level::Mapping;
use crate::limits::{JOURNALS, OFFERS, SLOTS, STRIPES_JOINED};
use crate::member::Member;
use crate::plant::{self, Plant};

/// An array with parity: its map, and what its lanes work with.
pub(crate) struct Striped {
    pub map: Map,
    /// By lane.
    groups: Vec<Groups>,
    /// By lane.
    offers: Vec<Offers>,
    works: Works,
    /// A window of zeroes, never written.
    zeroes: Buf,
    /// What closes the write hole.
    logs: InTurn<Log>,
    /// What everything is written to before it is written to the members.
    journals: InTurn<Journal>,
}

impl Striped {
    /// Makes what an array of this height needs that is opened with these options.
    pub fn new(map: Map, options: &Options, height: u8, log: Option<Log>) -> Striped {
        let works = Works::new(&map, options.pools.works, Rank::new(height, Step::Buffers));
        let bytes = works.window().byte_len();
        let zeroes = Arena::new(bytes).take_zeroed(bytes).expect("the arena was made for it");
        let groups = || Groups::new(SLOTS * STRIPES_JOINED);
        let lanes = 0..options.lanes.max(1);
        let offers = lanes.clone().map(|_| Offers::new(OFFERS)).collect();
        let groups = lanes.map(|_| groups()).collect();
        let (logs, journals) = (InTurn::default(), InTurn::default());
        let level = Striped { map, groups, offers, works, zeroes, logs, journals };
        log.map(|log| level.set_log(log));
        level
    }

    /// The array, of this height, has its journal on this device from now on. Nothing is under way. False when it has had
    /// too many.
    pub fn set_journal(&self, member: Rc<Member>, height: u8, options: &Options) -> bool {
        self.works.add_lists(&self.map);
        self.journals.push(Journal::new(member, &self.map, height, options))
    }

    /// The array has no journal any more. Nothing is under way.
    pub fn forget_journal(&self) {
        self.journals.now.set(None);
    }

    /// The array has this log from now on. Nothing is under way. False when it has had too many.
    pub fn set_log(&self, log: Log) -> bool {
        self.logs.push(log)
    }

    /// The array has no log any more. Nothing is under way.
    pub fn forget_log(&self) {
        self.logs.now.set(None);
    }

    /// The array, a raid6, has a private log.
    pub fn set_private_log(&self, start: &log::private::Start, summary: &Summary, height: u8) {
        self.set_log(Log::open_private(start, summary, &self.map, height));
    }

    /// Waits until what logs and journal hold is on the members.
    pub async fn replayed(&self) -> Outcome {
        if let Some(log) = self.log() {
            log.replayed().await;
        }
        match self.journal() {
            Some(journal) => journal.replayed().await,
            None => Ok(()),
        }
    }

    /// What closes the write hole, if there is anything.
    pub fn log(&self) -> Option<&Log> {
        self.logs.now()
    }

    /// The write journal, if there is one.
    pub fn journal(&self) -> Option<&Journal> {
        self.journals.now()
    }

    /// Rows that are written in one piece.
    fn window(&self) -> Sectors {
        let window = self.works.window();
        let window = self.log().map_or(window, |log| window.min(log.longest()));
        self.journal().map_or(window, |journal| window.min(journal.longest()))
    }

    /// What pieces are multiples of: a journal knows whole blocks alone.
    fn unit(&self) -> Sectors {
        if self.journal().is_some() { journal::BLOCK } else { Sectors(1) }
    }

    /// The slots whose member, if there is one, does not have these rows.
    fn gone(&self, array: &Array, rows: Range) -> Slots {
        (0..self.map.slots()).filter(|slot| array.holder(*slot, rows).is_none()).collect()
    }

    /// The slots that have no member in sync.
    fn unseated(&self, array: &Array) -> Slots {
        (0..self.map.slots()).filter(|slot| array.seat(*slot).is_none()).collect()
    }

    /// The array's blocks that only parity could give back, where parity may not belong to the data (S6). In order.
    pub fn doubtful<'a>(&'a self, array: &'a Array) -> impl Iterator<Item = Range> + 'a {
        let first = array.sync.first_uncovered().filter(|_| !array.sync.is_trusting() && !array.is_whole());
        let stripes = first.map_or(0..0, |row| row.0 / self.map.chunk().0..self.map.stripes());
        let doubted = stripes.filter(|stripe| !array.sync.covers(self.map.rows_of(*stripe)));
        let logged = self.log().into_iter().flat_map(|log| log.doubts());
        let logged = logged.filter_map(|(slot, rows)| self.map.range_at(slot, rows));
        doubted
            .flat_map(move |number| {
                let stripe = self.map.stripe(number);
                let rows = self.map.rows_of(number);
                let gone = self.gone(array, rows);
                let data = (0..stripe.data().count() as u16).map(move |number| stripe.slot_of(number));
                let lost = data.filter(move |slot| gone.has(*slot));
                lost.flat_map(move |slot| {
                    array.sync.uncovered(rows).filter_map(move |gap| self.map.range_at(slot, gap))
                })
            })
            .chain(logged)
    }

    /// Whether blocks are listed as bad that only parity could give back, where it may not belong to the data: a resync would
    /// list that as well (ADR 15), and nobody could choose any more to believe it. What has a log is made right by that.
    pub fn would_give_up(&self, array: &Array) -> bool {
        if self.log().is_some() || self.journal().is_some() {
            return false;
        }
        let written = array.members.iter().filter(|member| member.is_written());
        let listed = written.flat_map(|member| member.bad_rows(Range::new(Sectors::ZERO, array.sync_size())));
        listed.flat_map(|run| self.parts_of_rows(run)).any(|part| {
            array.sync.uncovered(part).any(|gap| {
                let (stripe, known) =
                    (self.map.stripe(gap.start.0 / self.map.chunk().0), self.known(array, gap, Slots::NONE));
                let unreadable = known.absent | known.unreadable | known.void;
                let (lost, good) = (stripe.data() & unreadable, stripe.parities() - unreadable);
                !lost.is_empty() && lost.count() == good.count()
            })
        })
    }

    /// Whether rows hold what was half written when the power failed, on a member that is missing.
    fn is_in_doubt(&self, rows: Range) -> bool {
        self.log().is_some_and(|log| log.is_doubtful(rows))
    }

    /// The slots that list a part of these rows as bad: what they should hold is in the others alone.
    fn void(&self, array: &Array, rows: Range) -> Slots {
        if !array.has_bad_blocks() {
            return Slots::NONE;
        }
        let is_void = |slot: &u16| array.occupant(*slot).is_some_and(|m| m.is_written() && m.is_bad(rows));
        (0..self.map.slots()).filter(is_void).collect()
    }

    /// Locks rows, waiting for everybody who came before.
    async fn lock<'a>(&'a self, array: &'a Array, rows: Range) -> Locked<'a> {
        let lock = array.lanes.of(rows.start).ranges.lock(rows).await;
        Locked { level: self, lock: Some(lock) }
    }

    /// Locks rows if nobody has, or waits for, any of them.
    fn try_lock<'a>(&'a self, array: &'a Array, rows: Range) -> Option<runtime::Held<'a>> {
        array.lanes.of(rows.start).ranges.try_lock(rows)
    }

    /// Whether new blocks of these rows may stay in a journal and in memory for a while: everything is there that writing
    /// them out will need.
    fn may_cache(&self, array: &Array, rows: Range) -> bool {
        if !array.is_whole() || !array.sync.covers(rows) || array.broken().is_some() {
            return false;
        }
        let known = self.known(array, rows, Slots::NONE);
        (known.absent | known.unreadable | known.void).is_empty()
    }

    /// What is known of some rows of a stripe.
    fn known(&self, array: &Array, rows: Range, unreadable: Slots) -> Known {
        let is_believed = array.sync.is_trusting() || plant::is(Plant::ModifyUnsynced);
        let (mut absent, mut unreadable, mut void) = (Slots::NONE, unreadable, Slots::NONE);
        if !array.is_intact() {
            for slot in 0..self.map.slots() {
                match array.occupant(slot).filter(|member| member.is_written()) {
                    None => absent.add(slot),
                    Some(member) if !member.holds(rows) => unreadable.add(slot),
                    Some(member) if member.is_bad(rows) => void.add(slot),
                    Some(_) => {}
                }
            }
        }
        // A write that failed halfway on the last members there are leaves parity that belongs to nobody knows what.
        let is_known = array.sync.covers(rows) && array.broken().is_none() && !self.is_in_doubt(rows);
        let consistent = is_believed || is_known;
        Known { absent, unreadable, void, consistent, all_parity: self.journal().is_some() }
    }

    /// The offers of the lane in which a row lies.
    fn offers_at(&self, array: &Array, row: Sectors) -> &Offers {
        &self.offers[array.lanes.number_of(row)]
    }

    /// The rows of a part of one stripe: its own where it lies in one chunk, all of them where it does not.
    fn rows_of_part(&self, part: Range) -> Range {
        let number = self.map.stripe_of(part.start);
        let piece = self.map.first_piece(&self.map.stripe(number), part);
        match piece.range == part {
            true => piece.rows(),
            false => self.map.rows_of(number),
        }
    }

    /// All rows of the stripes in which some rows lie: what is locked for them.
    fn stripes_of_rows(&self, rows: Range) -> Range {
        let chunk = self.map.chunk();
        let start = rows.start.round_down(chunk);
        Range::new(start, Sectors(rows.end().0.next_multiple_of(chunk.0)) - start)
    }

    /// Rows, in parts that lie in one stripe each and are no longer than a window.
    fn parts_of_rows(&self, rows: Range) -> impl Iterator<Item = Range> + use<> {
        let unit = self.works.window().min(self.map.chunk());
        let mut left = rows;
        std::iter::from_fn(move || {
            let within = Sectors(left.start.0 % unit.0);
            let part = Range::new(left.start, left.count.min(unit - within));
            left = Range::new(part.end(), left.count - part.count);
            (!part.count.is_zero()).then_some(part)
        })
    }
}

/// The journals, or logs, that an array has had, in places that never change, and which of them it has.
struct InTurn<T> {
    all: [OnceCell<Box<T>>; JOURNALS],
    now: Cell<Option<usize>>,
}

impl<T> Default for InTurn<T> {
    fn default() -> InTurn<T> {
        InTurn { all: Default::default(), now: Cell::new(None) }
    }
}

impl<T> InTurn<T> {
    fn now(&self) -> Option<&T> {
        self.all[self.now.get()?].get().map(|one| &**one)
    }

    fn push(&self, one: T) -> bool {
        let place = self.all.iter().position(|place| place.get().is_none());
        if let Some(at) = place {
            let _ = self.all[at].set(Box::new(one)); // it is free
            self.now.set(place);
        }
        place.is_some()
    }
}

/// Rows that are locked until this is dropped.
struct Locked<'a> {
    level: &'a Striped,
    lock: Option<runtime::Held<'a>>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.lock = None;
        // What is written out of memory beside requests takes only rows that are free.
        if let Some(journal) = self.level.journal() {
            journal.unlocked();
        }
    }
}

/// Starts the replay of logs and journal, what keeps them, and what is to begin after the replay.
pub(crate) fn start(array: &Rc<Array>, then: impl FnOnce(&Rc<Array>) + 'static) {
    match &array.mapping {
        Mapping::Parity(level) if level.journal().is_some() => journal::start(array, then),
        _ => log::start(array, then),
    }
}

pub(super) async fn serve(array: &Rc<Array>, level: &Striped, request: Request) -> Outcome {
    level.replayed().await?;
    let reads = matches!(request.op, Op::Read | Op::Status);
    if let (Some(failed), false) = (array.broken(), reads) {
        return Err(failed);
    }
    let without_journal = level.journal().and_then(|journal| journal.failure());
    if let (Some(failed), false) = (without_journal, reads || request.op == Op::Flush) {
        return Err(failed);
    }
    match request.op {
        Op::Read => read::read(array, level, request).await,
        Op::Status => read::status(array, level, request).await,
        Op::Write => write::write(array, level, request).await,
        Op::Discard | Op::WriteZeroes => zero::zero(array, level, request).await,
        // What was answered is durable in the journal.
        Op::Flush if level.journal().is_some() && without_journal.is_none() => array.recorded().await,
        Op::Flush => {
            if let Some(journal) = level.journal() {
                journal.drained(array).await?;
            }
            array.flush_members(request.trace).await?;
            array.recorded().await
        }
    }
}

/// Why something could not be read or written, for the client.
fn failure(why: NoPlan) -> Failed {
    match why {
        NoPlan::TooMuchLost | NoPlan::Doubtful => Failed::new(Cause::Degraded),
    }
}

/// A run of the array's sectors that lies in one piece on one member.
#[derive(Clone, Copy, Debug)]
struct Piece {
    slot: u16,
    /// The array's sectors.
    range: Range,
    /// The first row, in sectors from the member's data offset.
    row: Sectors,
}

impl Map {
    /// The array's sectors in the rows (from the data offset, in one stripe) of a slot; `None` where it has parity.
    fn range_at(&self, slot: u16, rows: Range) -> Option<Range> {
        let stripe = self.stripe(rows.start.0 / self.chunk().0);
        let within = rows.start - self.rows_of(stripe.number).start;
        let chunks = Sectors(u64::from(stripe.number_of(slot)?) * self.chunk().0);
        Some(Range::new(self.range_of(stripe.number).start + chunks + within, rows.count))
    }

    /// The first piece of `range`, which begins in `stripe`.
    fn first_piece(&self, stripe: &Stripe, range: Range) -> Piece {
        let within = (range.start - self.range_of(stripe.number).start).0;
        let (number, in_chunk) = (within / self.chunk().0, within % self.chunk().0);
        let count = range.count.min(Sectors(self.chunk().0 - in_chunk));
        Piece {
            slot: stripe.slot_of(number as u16),
            range: Range::new(range.start, count),
            row: self.rows_of(stripe.number).start + Sectors(in_chunk),
        }
    }

    /// The pieces of `range`, in order.
    fn pieces(&self, range: Range) -> impl Iterator<Item = Piece> + use<'_> {
        let mut left = range;
        std::iter::from_fn(move || {
            if left.count.is_zero() {
                return None;
            }
            let piece = self.first_piece(&self.stripe(self.stripe_of(left.start)), left);
            left = Range::new(piece.range.end(), left.count - piece.range.count);
            Some(piece)
        })
    }

    /// The parts of `range` that lie in one stripe each, in order.
    fn parts(&self, range: Range) -> impl Iterator<Item = (u64, Range)> {
        let mut left = range;
        std::iter::from_fn(move || {
            if left.count.is_zero() {
                return None;
            }
            let stripe = self.stripe_of(left.start);
            let count = left.count.min(self.range_of(stripe).end() - left.start);
            let part = Range::new(left.start, count);
            left = Range::new(part.end(), left.count - count);
            Some((stripe, part))
        })
    }
}
