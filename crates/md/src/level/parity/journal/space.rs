//! Space in the journal: who gets it, and who waits.
//!
//! Whoever puts something into the open unit has its space already, so the writer never waits for any. What writes through
//! waits in turn, with nothing cached in the rows that it has locked. What is cached owns the space that writing it out
//! takes (`account`), and is not cached where that is not there: so nobody who writes out ever waits for space (P2).

use crate::waits;
use std::cell::Ref;

use block::{Buf, Failed, Outcome, Sectors};
use md_format::journal::{BLOCK_BYTES, BLOCK_SECTORS, payload_bytes};

use super::account::{Account, Share};
use super::cache::Cache;
use super::{BLOCK, Held, Journal, JournalMode, New, State};
use crate::array::Array;
use crate::plant::{self, Plant};

/// What caching rows takes: memory, space to put them into the journal, and space to write them out.
pub(in crate::level::parity) struct Admission<'a> {
    journal: &'a Journal,
    claim: Claim,
}

#[derive(Clone, Copy)]
struct Claim {
    /// Blocks of memory.
    memory: usize,
    /// Of the journal, for the blocks themselves.
    data: Share,
    /// For writing them out.
    rows: Share,
}

impl Admission<'_> {
    /// The blocks go into the open unit now.
    fn spend(&mut self) {
        let data = std::mem::take(&mut self.claim.data);
        self.journal.with_account(|account| account.give_back(data));
    }

    /// So much is owned by rows that are cached from now on.
    fn hand_over(&mut self, share: Share) {
        self.claim.rows -= share;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let Claim { memory, data, rows } = self.claim;
        self.journal.with_account(|account| account.give_back(data + rows));
        self.journal.with_cache(|cache| cache.renounce(memory));
        self.journal.changed.notify();
    }
}

/// Blocks that go into a unit, and the bytes that name them.
#[derive(Clone, Copy)]
struct Needs {
    blocks: usize,
    bytes: usize,
}

impl Needs {
    fn of<F: Fn(u16, Sectors) -> Buf>(new: &New<'_, F>) -> Needs {
        let rows = (new.rows.count.0 / BLOCK_SECTORS) as usize;
        let data = rows * new.covered.count() as usize;
        let parities = new.parity.map_or(0, |(_, q)| 1 + usize::from(q.is_some()));
        Needs { blocks: data + rows * parities, bytes: payload_bytes(data, rows, parities) }
    }
}

impl Journal {
    /// Makes what is about to be written to rows of a stripe durable in the journal. They are needed there until what comes
    /// back is dropped. Nothing comes back of an array that is open for reading: what it writes goes to overlays.
    pub(in crate::level::parity) async fn record<F: Fn(u16, Sectors) -> Buf>(
        &self,
        array: &Array,
        new: New<'_, F>,
    ) -> Result<Option<Held<'_>>, Failed> {
        if !array.options.write {
            return Ok(None);
        }
        let needs = Needs::of(&new);
        self.rank.wait();
        let turn = self.turns.get();
        self.turns.set(turn + 1);
        let is_next = || self.turn.get() == turn && self.gets_space(needs);
        self.changed.wait_for(waits::SPACE, || is_next() || self.hitch(array).is_some()).await;
        self.hitch(array).map_or(Ok(()), Err)?;
        self.is_full.set(false);
        self.turn.set(turn + 1);
        let held = self.hold_open();
        self.gather(&new);
        if !plant::is(Plant::JournalAfterWrite) {
            self.durable(array, &held).await?;
        }
        Ok(Some(held))
    }

    /// Makes the parity of rows durable whose data is in the journal already. What is cached owns the space for it.
    pub(in crate::level::parity) async fn record_parity<F: Fn(u16, Sectors) -> Buf>(
        &self,
        array: &Array,
        new: New<'_, F>,
    ) -> Result<Option<Held<'_>>, Failed> {
        let needs = Needs::of(&new);
        let is_owned = self.cache.borrow().as_ref().is_some_and(|cache| cache.has(new.rows.start));
        self.rank.wait();
        let can = || match is_owned {
            true => self.has_room(needs),
            false => self.gets_space(needs),
        };
        self.changed.wait_for(waits::SPACE, || can() || self.hitch(array).is_some()).await;
        self.hitch(array).map_or(Ok(()), Err)?;
        match is_owned {
            true => new.each_row().for_each(|row| self.disown(row)),
            false => self.is_full.set(false),
        }
        let held = self.hold_open();
        self.gather(&new);
        if !plant::is(Plant::JournalAfterWrite) {
            self.durable(array, &held).await?;
        }
        Ok(Some(held))
    }

    /// Takes all that caching so many blocks in each of so many rows needs; `None` where any of it is not there at once.
    pub(in crate::level::parity) fn admit(&self, rows: u64, each: u64) -> Option<Admission<'_>> {
        let is_open = self.state.get() == State::Replayed(Ok(())) && self.failure().is_none();
        if !is_open || !self.keeps() {
            return None;
        }
        let blocks = rows * each;
        let share = self.cache.borrow().as_ref()?.share(each);
        let claim = Claim { memory: blocks as usize, data: Share::unit(blocks), rows: share.times(rows) };
        let share = claim.data + claim.rows;
        if !self.fits(share) || !self.cache.borrow_mut().as_mut()?.promise(claim.memory) {
            return None;
        }
        self.with_account(|account| account.promise(share));
        Some(Admission { journal: self, claim })
    }

    /// Makes new data durable in the journal, without its parity, and keeps it until it is written out.
    pub(in crate::level::parity) async fn keep<F: Fn(u16, Sectors) -> Buf>(
        &self,
        array: &Array,
        new: New<'_, F>,
        mut admission: Admission<'_>,
    ) -> Outcome {
        let needs = Needs::of(&new);
        self.rank.wait();
        self.changed.wait_for(waits::SPACE, || self.has_room(needs) || self.hitch(array).is_some()).await;
        self.hitch(array).map_or(Ok(()), Err)?;
        admission.spend();
        let held = self.hold_open();
        self.gather(&new);
        if !plant::is(Plant::AnsweredBeforeJournal) {
            self.durable(array, &held).await?;
        }
        for row in new.each_row() {
            for slot in new.covered.iter() {
                let is_new =
                    self.with_cache(|cache| cache.put(row, slot, &(new.block)(slot, row), held.number));
                if is_new && !plant::is(Plant::TailBeforeWriteOut) {
                    self.hold(held.number);
                }
            }
            admission.hand_over(self.with_cache(|cache| cache.own(row)));
        }
        drop(admission);
        self.out.notify();
        Ok(())
    }

    /// These rows are on the members.
    pub(in crate::level::parity) fn evict(&self, rows: block::Range) {
        let mut row = rows.start;
        while row < rows.end() {
            self.disown(row); // what was not needed because there was no parity to journal
            let unit = self.cache.borrow_mut().as_mut().and_then(|cache| cache.remove(row));
            if let Some(unit) = unit.filter(|_| !plant::is(Plant::TailBeforeWriteOut)) {
                self.release(unit);
            }
            row += BLOCK;
        }
        self.changed.notify();
        self.out.notify();
    }

    /// What is cached; `None` where nothing is.
    pub(in crate::level::parity) fn cached(&self) -> Option<Ref<'_, Cache>> {
        let cache = Ref::filter_map(self.cache.borrow(), Option::as_ref).ok()?;
        (!cache.is_empty()).then_some(cache)
    }

    /// Whether anything is to stay in memory.
    pub(super) fn keeps(&self) -> bool {
        let is_waited_for = self.turns.get() != self.turn.get();
        self.mode.get() == JournalMode::WriteBack && !is_waited_for && self.draining.get() == 0
    }

    /// Sectors of the journal that are in use or owned by what is cached.
    pub(super) fn taken(&self) -> u64 {
        self.ring.borrow().used() + self.account.get().promised().sectors()
    }

    /// What a row owns of the journal is put into the open unit now, or not needed any more.
    fn disown(&self, row: Sectors) {
        let share = self.cache.borrow_mut().as_mut().map_or(Share::NONE, |cache| cache.disown(row));
        self.with_account(|account| account.give_back(share));
    }

    pub(super) fn with_account<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        let mut account = self.account.get();
        let answer = change(&mut account);
        self.account.set(account);
        answer
    }

    fn with_cache<T>(&self, change: impl FnOnce(&mut Cache) -> T) -> T {
        change(self.cache.borrow_mut().as_mut().expect("something is cached, or about to be"))
    }

    /// Whether the memory of the open unit takes so much more.
    fn has_room(&self, needs: Needs) -> bool {
        self.open.borrow().has_room(needs.blocks, needs.bytes)
    }

    /// Whether both memory and ring take it. Where the ring does not, everybody who can make room is told.
    fn gets_space(&self, needs: Needs) -> bool {
        if !self.has_room(needs) {
            return false;
        }
        let fits = self.fits(self.account.get().joining(needs.blocks as u64));
        if !fits && !self.is_full.replace(true) {
            self.changed.notify();
            self.out.notify();
        }
        fits
    }

    /// Whether the ring has room for so much more beside all that is promised.
    pub(super) fn fits(&self, more: Share) -> bool {
        self.account.get().fits(&self.ring.borrow(), more)
    }

    /// So many blocks go into the open unit.
    pub(super) fn put(&self, blocks: u64) {
        self.with_account(|account| account.put(&self.ring.borrow(), blocks));
    }

    /// Puts rows into the open unit.
    fn gather<F: Fn(u16, Sectors) -> Buf>(&self, new: &New<'_, F>) {
        self.put(Needs::of(new).blocks as u64);
        let mut open = self.open.borrow_mut();
        for row in new.each_row() {
            for slot in new.covered.iter() {
                let place = self.map.range_at(slot, block::Range::new(row, BLOCK)).expect("a slot of data");
                open.push_data(place.start.0, &(new.block)(slot, row));
            }
            if let Some((p, q)) = new.parity {
                let at = (row - new.rows.start).byte_len();
                let block = |parity: &Buf| parity.slice(at, BLOCK_BYTES);
                open.push_parity(row.0, &block(p), q.map(block).as_ref());
            }
        }
    }
}

impl<F: Fn(u16, Sectors) -> Buf> New<'_, F> {
    fn each_row(&self) -> impl Iterator<Item = Sectors> + use<F> {
        let rows = self.rows;
        (0..rows.count.0 / BLOCK_SECTORS).map(move |number| rows.start + Sectors(number * BLOCK_SECTORS))
    }
}
