//! What closes the write hole of an array with parity: before the rows of a stripe are written, what their parity is made
//! of is durable in a log, so that after a crash the parity can be made right without reading anything else.
//!
//! raid5 has the kernel's partial parity log. raid6 has the same twice, P's on the member that has P and Q's on the member
//! that has Q, in a place of its own that no other program knows of (`private`).
//!
//! Records follow Linux 6.12's raid5-ppl.c: a record lies on the member that has the parity of its rows; while its rows
//! are not safe on all members no newer one is written there; the newest alone counts. What entries mean is in `entry`,
//! which is pure; how records are gathered in `record`; one task for each slot writes them (`writer`); `replay` makes
//! parity right when an array that was not stopped is opened, of raid6 by `pairs` of entries.
//!
//! Rows are logged only while the whole array is known to be consistent. Until a first resync has come by, the logs are
//! empty, and an empty log proves nothing: after a crash everything is synced. Afterwards each log has at least an entry
//! about nothing ([`md_format::ppl::PplEntry::nothing`]), so that whoever opens the array, the kernel too, knows that the
//! log was kept.

mod entry;
mod pairs;
pub(crate) mod private;
mod record;
mod replay;
mod writer;

use crate::waits;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Buf, Failed, Outcome, Range, Sectors, lend};
use md_format::Level;
use md_format::checksum::crc32c;
use md_format::ppl;
use md_format::private_log::LogPlace;
use md_format::superblock::{PplPlace, Summary};
use runtime::rank::{Rank, Step};
use runtime::{Event, spawn, spawn_freely};

use self::entry::describe;
pub(super) use self::entry::split;
use self::private::{Private, Start};
use self::record::{Entry, MemberLog};
use super::Striped;
use super::map::{Map, Stripe};
use super::slots::Slots;
use crate::array::Array;
use crate::error::Hindrance;
use crate::examine::Examined;
use crate::member::Member;
use crate::plant::{self, Plant};

/// The logs of an array's members.
pub(crate) struct Log {
    /// What marks its records.
    signature: Cell<u32>,
    /// What it has of its own in raid6.
    private: Option<Private>,
    map: Map,
    /// By slot.
    members: Vec<MemberLog>,
    /// The newest record's, on any member.
    generation: Cell<u64>,
    /// Most bytes of partial parity in a record.
    most: usize,
    /// What areas are emptied with, and room for the first header of each: the first write empties them, and takes no memory.
    zeroes: Buf,
    headers: Rc<Arena>,
    state: Cell<State>,
    /// Writes under way that are not logged, because not everything was known to be consistent when they began.
    unlogged: Cell<u32>,
    /// Blocks that were being written when the power failed and whose member is missing: what parity says of them may be
    /// half of one write and half of another.
    doubts: RefCell<Vec<Doubt>>,
    stopping: Cell<bool>,
    changed: Event,
    rank: Rank,
}

/// What is done with the logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The array was just opened: parity is being made right by what the logs say.
    Replaying,
    /// That is over; nothing was written to the logs yet.
    Opened,
    /// They are being emptied, or given their first entry.
    Preparing,
    /// They are empty, and writes are not logged.
    Empty,
    /// They are kept.
    Kept,
    /// There are none any more.
    Ended,
}

/// What is done with a private log, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrivateLogState {
    /// Parity is being made right by what it says.
    Replaying,
    /// Nothing was written yet since the array was opened.
    Idle,
    /// It is not kept before the whole array is known to be consistent.
    Waiting,
    /// Whatever is written is in the log before.
    Kept,
    /// It was taken away.
    Ended,
    /// What it held counts no more: others have written superblocks since. It begins anew when everything is consistent.
    Void,
}

/// Rows of a slot whose content nobody knows.
#[derive(Clone, Copy)]
struct Doubt {
    slot: u16,
    rows: Range,
    /// The slots whose logs are told about it.
    logs: Slots,
}

impl Doubt {
    /// How the log of one of them is told.
    fn entry(&self, map: &Map, log: u16) -> ppl::PplEntry {
        let stripe = map.stripe(self.rows.start.0 / map.chunk().0);
        let within = Range::new(self.rows.start - map.rows_of(stripe.number).start, self.rows.count);
        describe(map, &stripe, within, stripe.data(), crc32c(&[]), log)
    }
}

/// While this lives, rows are being written whose record is durable.
pub(crate) struct Logged<'a> {
    log: &'a Log,
    /// The records that have them, by slot and number.
    at: [Option<(u16, u64)>; 2],
    touched: Slots,
    is_unlogged: bool,
}

impl Drop for Logged<'_> {
    fn drop(&mut self) {
        if self.is_unlogged {
            self.log.unlogged.set(self.log.unlogged.get() - 1);
            self.log.changed.notify();
        }
        for (slot, number) in self.at.into_iter().flatten() {
            self.log.members[usize::from(slot)].end(number, self.touched);
        }
    }
}

/// Where a member keeps its partial parity log.
fn ppl_place(member: &Member) -> Option<LogPlace> {
    let ppl = member.summary().ppl?;
    Some(LogPlace { sector: ppl.sector, sectors: ppl.sectors.into() })
}

/// What a member's superblock is to say of its log: as the kernel, that it is a ring, if it is one.
pub(crate) fn recorded(found: Option<PplPlace>) -> Option<PplPlace> {
    found.map(|place| PplPlace { multiple: place.multiple || ppl::is_ring(place.sectors.into()), ..place })
}

/// What forbids writing to an array whose freshest member says this, and whose members in sync say that.
pub(crate) fn hindrance(freshest: &Summary, members: &[&Examined]) -> Option<Hindrance> {
    freshest.ppl?;
    shape_hindrance(freshest).or_else(|| {
        members.iter().find_map(|member| match member.summary.ppl {
            Some(place) => place_hindrance(place, member.geometry.logical_block),
            None => Some(Hindrance::Shape(
                "a member has no place for the partial parity log that the others have",
            )),
        })
    })
}

/// What forbids a partial parity log on an array like this.
pub(crate) fn shape_hindrance(summary: &Summary) -> Option<Hindrance> {
    if summary.level != Level::Raid5 {
        return Some(Hindrance::Shape("a partial parity log on another level than raid5"));
    }
    (summary.raid_disks > ppl::MAX_MEMBERS)
        .then_some(Hindrance::Shape("a partial parity log of more than 64 members"))
}

/// What forbids it in this place, on a member whose blocks have so many bytes.
pub(crate) fn place_hindrance(place: PplPlace, logical_block: u32) -> Option<Hindrance> {
    if ppl::record_bytes(place.sectors.into()).is_none() {
        return Some(Hindrance::Shape("the partial parity log has no room for one page"));
    }
    let block = u64::from(logical_block) / 512;
    let is_aligned = place.sector.is_multiple_of(block) && u64::from(place.sectors).is_multiple_of(block);
    (!is_aligned).then_some(Hindrance::Shape("the partial parity log does not lie on the member's blocks"))
}

/// The log that counts, of what the freshest member says and the others do: none that was being added when the power failed.
/// Then some know of no place for it yet, and have missed an event. Nothing was ever logged, and the array was clean.
pub(crate) fn counted<'a>(
    freshest: &Summary,
    mut others: impl Iterator<Item = &'a Summary>,
) -> Option<PplPlace> {
    let has_missed_it = |other: &Summary| other.ppl.is_none() && other.events < freshest.events;
    freshest.ppl.filter(|_| !others.any(has_missed_it))
}

impl Log {
    /// The partial parity logs of an array that has them, in these places on its members.
    pub fn open(
        summary: &Summary,
        map: &Map,
        places: impl Iterator<Item = PplPlace>,
        height: u8,
    ) -> Option<Log> {
        summary.ppl?;
        let rooms = places.filter_map(|place| ppl::record_bytes(place.sectors.into()));
        let most = rooms.min()?;
        Some(Log::new(ppl::signature(&summary.array_uuid), None, map, most, height))
    }

    /// The private log of a raid6.
    pub fn open_private(start: &Start, summary: &Summary, map: &Map, height: u8) -> Log {
        let private = Private::new(summary, start);
        Log::new(private.signature(), Some(private), map, ppl::RING_RECORD_BYTES, height)
    }

    fn new(signature: u32, private: Option<Private>, map: &Map, most: usize, height: u8) -> Log {
        let arena = Arena::new(2 * usize::from(map.slots()) * (ppl::HEADER_BYTES + most).next_power_of_two());
        Log {
            signature: Cell::new(signature),
            private,
            map: map.clone(),
            zeroes: Arena::new(writer::ZEROES)
                .take_zeroed(writer::ZEROES)
                .expect("the arena was made for it"),
            headers: Arena::new(usize::from(map.slots()) * ppl::HEADER_BYTES),
            members: (0..map.slots()).map(|slot| MemberLog::new(slot, &arena, most)).collect(),
            generation: Cell::new(0),
            most,
            state: Cell::new(State::Replaying),
            unlogged: Cell::new(0),
            doubts: RefCell::default(),
            stopping: Cell::new(false),
            changed: Event::with_capacity(2 * crate::limits::SLOTS),
            rank: Rank::new(height, Step::Log),
        }
    }

    /// Where a member keeps its records.
    fn place(&self, member: &Member) -> Option<LogPlace> {
        match &self.private {
            Some(private) => private.records(member),
            None => ppl_place(member),
        }
    }

    /// What is done with it, if it is a private one.
    pub fn private_state(&self) -> Option<PrivateLogState> {
        let was_void = self.private.as_ref()?.was_void;
        Some(match self.state.get() {
            State::Opened | State::Preparing | State::Empty if was_void => PrivateLogState::Void,
            State::Replaying => PrivateLogState::Replaying,
            State::Opened => PrivateLogState::Idle,
            State::Preparing | State::Empty => PrivateLogState::Waiting,
            State::Kept => PrivateLogState::Kept,
            State::Ended => PrivateLogState::Ended,
        })
    }

    /// Sectors of rows that one entry can speak of: a power of two.
    pub fn longest(&self) -> Sectors {
        Sectors::from_bytes(1 << self.most.ilog2())
    }

    /// Waits until parity was made right by what the logs say.
    pub async fn replayed(&self) {
        self.changed.wait_until(|| self.state.get() != State::Replaying).await;
    }

    /// Whether nobody knows what parity says of a missing member in these rows.
    pub fn is_doubtful(&self, rows: Range) -> bool {
        self.doubts.borrow().iter().any(|doubt| doubt.rows.overlaps(rows))
    }

    /// What is in doubt, by slot and rows.
    pub fn doubts(&self) -> Vec<(u16, Range)> {
        self.doubts.borrow().iter().map(|doubt| (doubt.slot, doubt.rows)).collect()
    }

    /// Before the array is marked dirty: gives the logs their first entry, or empties them.
    pub async fn prepare(&self, array: &Array) -> Outcome {
        self.replayed().await;
        if self.state.get() == State::Opened {
            self.state.set(State::Preparing);
            if let Some(private) = &self.private {
                private.begin_session();
                self.signature.set(private.signature());
            }
            let next = if array.sync.first_uncovered().is_none() { State::Kept } else { State::Empty };
            writer::prepare(array, self, next == State::Kept).await;
            self.state.set(next);
            self.changed.notify();
        }
        self.changed.wait_until(|| self.state.get() != State::Preparing).await;
        array.broken().map_or(Ok(()), Err)
    }

    /// Makes what is about to be written to rows of a stripe (from the start of its chunk) durable in the logs of the
    /// members that have parity of them. `fill` puts the partial parity of a slot into the buffer that it is given; it is
    /// not asked where all data is written.
    pub async fn record(
        &self,
        array: &Array,
        stripe: &Stripe,
        rows: Range,
        written: Slots,
        mut fill: impl FnMut(u16, &Buf),
    ) -> Result<Logged<'_>, Failed> {
        let touched = written | stripe.parities();
        let mut logged = Logged { log: self, at: [None; 2], touched, is_unlogged: false };
        if self.state.get() != State::Kept && !self.keep(array).await? {
            self.unlogged.set(self.unlogged.get() + 1);
            logged.is_unlogged = true;
            return Ok(logged);
        }
        // Without a member that has the parity, of the first row at least, there is none to make right.
        let first = Range::new(self.map.rows_of(stripe.number).start + rows.start, Sectors(1));
        let holds = |slot: &u16| array.holder(*slot, first).is_some();
        let logs: Slots = stripe.parities().iter().filter(holds).collect();
        let bytes = if written == stripe.data() { 0 } else { rows.count.byte_len() };
        if !logs.is_empty() {
            self.rank.wait();
            self.wait_for_room(array, logs, bytes).await?;
        }
        // No await between the first entry and the last: who waits for room then waits for records that are older than his.
        for (at, slot) in logged.at.iter_mut().zip(logs.iter()) {
            let own = &self.members[usize::from(slot)];
            let mut crc = crc32c(&[]);
            if bytes > 0 {
                let buf = own.payload(bytes);
                fill(slot, &buf);
                crc = lend(&[buf], &[], |read, _| crc32c(read[0]));
            }
            *at = Some((slot, own.push(Entry { stripe: stripe.number, rows, written, bytes, crc })));
        }
        if !plant::is(Plant::LogAfterWrite) {
            for (slot, number) in logged.at.iter().flatten() {
                let own = &self.members[usize::from(*slot)];
                own.changed
                    .wait_for(waits::RECORD, || own.is_durable(*number) || array.broken().is_some())
                    .await;
            }
        }
        // Who has parity of these rows and goes gets neither record nor parity: it must not be able to come back.
        if !stripe.parities().iter().all(|slot| holds(&slot)) {
            array.metadata.membership_settled().await?;
        }
        array.broken().map_or(Ok(logged), Err)
    }

    /// Waits until the records of all these slots take an entry with so many bytes of partial parity.
    async fn wait_for_room(&self, array: &Array, logs: Slots, bytes: usize) -> Outcome {
        let has_room = |own: &MemberLog| own.has_room(bytes, self.most, self.carried(own.slot));
        while let Some(full) =
            logs.iter().map(|slot| &self.members[usize::from(slot)]).find(|own| !has_room(own))
        {
            array.broken().map_or(Ok(()), Err)?;
            full.changed.wait_for(waits::RECORD_ROOM, || has_room(full) || array.broken().is_some()).await;
        }
        array.broken().map_or(Ok(()), Err)
    }

    /// Whether writes are logged from now on: once everything is known to be consistent, and no write that was not logged
    /// is under way any more.
    async fn keep(&self, array: &Array) -> Result<bool, Failed> {
        self.changed.wait_until(|| self.state.get() != State::Preparing).await;
        if array.sync.first_uncovered().is_some() || self.state.get() == State::Ended {
            return Ok(false);
        }
        if self.state.get() == State::Empty {
            self.state.set(State::Preparing);
            self.rank.wait();
            self.changed.wait_until(|| self.unlogged.get() == 0).await;
            let flushed = array.flush_members(0).await;
            if flushed.is_ok() {
                writer::prepare(array, self, true).await;
            }
            self.state.set(if flushed.is_ok() { State::Kept } else { State::Empty });
            self.changed.notify();
            flushed?;
        }
        self.changed.wait_until(|| self.state.get() != State::Preparing).await;
        Ok(self.state.get() == State::Kept)
    }

    /// A member gets a slot: its log is emptied, for whatever it holds is of another life.
    pub async fn admit(&self, array: &Array, member: &Member, slot: u16) -> Outcome {
        self.replayed().await;
        self.changed.wait_until(|| self.state.get() != State::Preparing).await;
        let own = &self.members[usize::from(slot)];
        if self.state.get() == State::Ended {
            return Ok(());
        }
        writer::refresh(array, self, own, member, self.state.get() == State::Kept).await?;
        own.admitted.set(Some(member.dev_number));
        Ok(())
    }

    /// A slot has a member again that has all of its data: nothing of it is in doubt any more. Whether nothing is at all.
    pub fn is_whole_again(&self, slot: u16) -> bool {
        let mut doubts = self.doubts.borrow_mut();
        let before = doubts.len();
        doubts.retain(|doubt| doubt.slot != slot);
        before > 0 && doubts.is_empty()
    }

    /// Whether a slot's newest record puts in doubt what is whole, because a member went since, or some block is listed.
    fn is_doubting(&self, array: &Array, own: &MemberLog) -> bool {
        if self.state.get() != State::Kept || array.written(own.slot).next().is_none() || array.is_intact() {
            return false;
        }
        own.is_doubting(|entry| {
            let first = self.map.rows_of(entry.stripe).start;
            let rows = Range::new(first + entry.rows.start, entry.rows.count);
            let is_gone = |slot: &u16| array.seat(*slot).is_none_or(|member| member.is_bad(rows));
            (0..self.map.slots()).filter(is_gone).collect()
        })
    }

    /// Waits until no log puts in doubt what was written as a whole: nobody is told of a write before.
    pub async fn undoubted(&self, array: &Array) {
        // With all members there, and no block listed, nothing can be in doubt.
        for own in self.members.iter().filter(|_| !array.is_intact()) {
            let is_certain = || !self.is_doubting(array, own) && own.is_written();
            own.changed.wait_until(|| is_certain() || self.stopping.get() || array.broken().is_some()).await;
        }
    }

    /// Entries that every record on a slot's member has to have, about what is in doubt.
    fn carried(&self, slot: u16) -> usize {
        self.doubts.borrow().iter().filter(|doubt| doubt.logs.has(slot)).count()
    }

    /// Nobody waits any longer for what cannot come.
    pub fn wake_all(&self) {
        self.changed.notify();
        self.members.iter().for_each(|own| own.changed.notify());
    }

    /// Empties the place of a log that is being added, on one member: then it may be spoken of.
    pub async fn empty(&self, array: &Array, member: &Member, place: PplPlace) -> Outcome {
        let area = LogPlace { sector: place.sector, sectors: place.sectors.into() };
        writer::empty(array, self, member, area).await
    }

    /// Whether it is a partial parity log, which other programs know too.
    pub fn is_public(&self) -> bool {
        self.private.is_none()
    }

    /// Ends the tasks. No write is under way any more.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.wake_all();
    }
}

/// Starts the replay and the writers of an array that has logs, and what is to begin after the replay.
pub(crate) fn start(array: &Rc<Array>, then: impl FnOnce(&Rc<Array>) + 'static) {
    if of(array).is_none() {
        return then(array);
    }
    let own = array.clone();
    // Nothing is served before it has ended.
    let _running = spawn_freely(async move {
        let (level, log) = of(&own).expect("looked at before");
        let next = replay::run(&own, level, log).await;
        log.state.set(next);
        log.changed.notify();
        then(&own);
    });
    if array.options.write {
        start_writers(array);
    }
}

/// Starts keeping a log that was added, and that is empty on all members.
pub(crate) fn begin(array: &Rc<Array>) {
    let (_, log) = of(array).expect("it was added a moment ago");
    log.state.set(State::Opened);
    start_writers(array);
}

fn start_writers(array: &Rc<Array>) {
    let slots = of(array).expect("looked at before").1.map.slots();
    block::reserve(2 * usize::from(slots));
    for slot in 0..slots {
        let own = array.clone();
        let _running = spawn(async move {
            let (_, log) = of(&own).expect("looked at before");
            writer::run(&own, log, slot).await;
        });
    }
}

fn of(array: &Array) -> Option<(&Striped, &Log)> {
    let crate::level::Mapping::Parity(level) = &array.mapping else { return None };
    level.log().map(|log| (&**level, log))
}
