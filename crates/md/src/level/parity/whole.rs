//! Making rows whole: everything of them on every member that should have it, and parity that belongs to the data.
//!
//! Resync, recovery and repair come down to this. What a member lacks is recovered from the others, as long as what parity
//! says can be believed: where parity is known to be in sync, or where raid6's two parities say the same. Elsewhere, and
//! where too much is lost, the lost blocks and all parities of the rows are put on their members' lists of bad blocks, so
//! that a read of those blocks fails, and of no other; a write of them makes all of it whole again (S6). Where a list has
//! no room, that is the error.

use std::rc::Rc;

use block::{Arena, Buf, Cause, Failed, Outcome, Range, Request, Sectors};

use super::map::Stripe;
use super::settle::settle_copies;
use super::slots::Slots;
use super::stripe::write_out;
use super::work::Work;
use super::{Striped, arithmetic};
use crate::array::Array;
use crate::member::Condition;
use crate::plant::{self, Plant};
use crate::sync::{Target, count_written, on_behalf_of_sync};

/// What is done to rows.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Members that are to be given their data.
    pub targets: &'a [Target],
    /// Parity is looked at, and made to belong to the data, also where nothing is missing.
    pub agree: bool,
}

/// Rows of all members, as far as they could be read.
pub(super) struct Rows {
    pub range: Range,
    blocks: Vec<Buf>,
    /// Slots whose block is there.
    pub good: Slots,
    /// Slots with a member that should have it and could not read it.
    pub unreadable: Slots,
}

impl Rows {
    /// The block of a slot in some of the rows.
    pub fn block(&self, slot: u16, part: Range) -> Buf {
        let at = (part.start - self.range.start).byte_len();
        self.blocks[usize::from(slot)].slice(at, part.count.byte_len())
    }

    /// The memory is free; what listed it is used again, so that a walk allocates nothing.
    pub fn give_back(mut self, work: &mut Work) {
        self.blocks.clear();
        work.rows = self.blocks;
    }
}

/// Makes a window whole, under a lock of its stripes: in one piece, and where something cannot be read, block by block.
pub(super) async fn make_window_whole(
    array: &Array,
    level: &Striped,
    memory: &Rc<Arena>,
    window: Range,
    wanted: Wanted<'_>,
) -> Outcome {
    let stripes = level.stripes_of_rows(window);
    let _rows = level.lock(array, stripes).await;
    let mut work = level.works.take().await;
    // What is read here is what the members have.
    write_out(array, level, stripes, &mut work).await?;
    let rows = read_rows(array, level, memory, &mut work, window).await?;
    match rows.unreadable.is_empty() {
        true => {
            make_whole(array, level, &mut work, &rows, wanted).await?;
            rows.give_back(&mut work);
        }
        false => {
            // One bad block does not leave its neighbours as they are.
            rows.give_back(&mut work);
            let block = Sectors::from_bytes(runtime::Engine::geometry(array).logical_block.into());
            let mut at = window.start;
            while at < window.end() {
                let block = Range::new(at, block);
                // Even a repair is a write to a member: torn by a power cut, it must find the array marked dirty (S5).
                let _writing = array.begin_write(block).await?;
                let rows = read_rows(array, level, memory, &mut work, block).await?;
                make_whole(array, level, &mut work, &rows, wanted).await?;
                rows.give_back(&mut work);
                at = block.end();
            }
        }
    }
    array.recorded().await
}

/// Reads rows from every member that holds them: as one piece from each, whatever the chunk, because disks stream.
pub(super) async fn read_rows(
    array: &Array,
    level: &Striped,
    memory: &Rc<Arena>,
    work: &mut Work,
    range: Range,
) -> Result<Rows, Failed> {
    let slots = level.map.slots();
    let mut rows =
        Rows { range, blocks: std::mem::take(&mut work.rows), good: Slots::NONE, unreadable: Slots::NONE };
    for slot in 0..slots {
        let buf = memory.wait_take(range.count.byte_len()).await;
        if let Some(member) = array.holder(slot, range) {
            if member.is_bad(range) {
                rows.unreadable.add(slot);
            } else {
                let read = Request::read(member.place_of(range.start), buf.clone());
                let at = array.seats[usize::from(slot)].get().expect("it has a member");
                work.push(slot, at, member.dev.start(array.to_member(on_behalf_of_sync(read))));
                rows.good.add(slot);
            }
        }
        rows.blocks.push(buf);
    }
    let mut fatal = None;
    let failed = work
        .settle(|slot, at, failed| {
            if failed.cause == Cause::Medium {
                rows.unreadable.add(slot);
            } else if !array.fail(&array.members[at], failed) {
                fatal = Some(failed);
            }
        })
        .await;
    rows.good = rows.good - failed;
    fatal.map_or(Ok(rows), Err)
}

/// Makes rows that were read whole, stripe by stripe.
pub(super) async fn make_whole(
    array: &Array,
    level: &Striped,
    work: &mut Work,
    rows: &Rows,
    wanted: Wanted<'_>,
) -> Outcome {
    let mut outcome = Ok(());
    for mut left in level.parts_of_rows(rows.range) {
        let stripe = level.map.stripe(left.start.0 / level.map.chunk().0);
        while !left.count.is_zero() {
            // What is in doubt takes nothing else with it.
            let range = array.sync.first_alike(left);
            left = Range::new(range.end(), left.count - range.count);
            let part = Part { array, level, stripe, rows, range, wanted };
            outcome = outcome.and(part.make_whole(work));
            if work.is_nearly_full() {
                outcome = outcome.and(settle_copies(array, level, work).await);
            }
        }
    }
    outcome.and(settle_copies(array, level, work).await)
}

/// Rows of one stripe.
struct Part<'a> {
    array: &'a Array,
    level: &'a Striped,
    stripe: Stripe,
    rows: &'a Rows,
    range: Range,
    wanted: Wanted<'a>,
}

impl Part<'_> {
    fn block(&self, slot: u16) -> Buf {
        self.rows.block(slot, self.range)
    }

    fn make_whole(&self, work: &mut Work) -> Outcome {
        let (stripe, good) = (&self.stripe, self.rows.good);
        let lost = stripe.data() - good;
        let parities = stripe.parities() & good;
        let is_believed = self.level.known(self.array, self.range, Slots::NONE).consistent;
        self.copy_to_replacements(work, good);
        if lost.count() > parities.count() {
            return self.give_up();
        }
        if !lost.is_empty() {
            self.recover(work, lost, parities);
            let is_verified = parities.count() > lost.count() && self.belongs(work, parities);
            if !is_believed && !is_verified && !plant::is(Plant::DoubtBelieved) {
                return self.give_up();
            }
            self.write(work, lost);
        }
        let made = stripe.parities() - good;
        let rest_may_differ = self.wanted.agree || !is_believed;
        if rest_may_differ && !self.belongs(work, parities) {
            self.generate(work);
            self.write(work, stripe.parities());
            count_written(self.array, self.range.count);
        } else if !made.is_empty() && self.has_anybody(made) {
            // What is there is right already, and stays.
            self.generate(work);
            self.write(work, made);
        }
        Ok(())
    }

    /// Members whose slot has its data in somebody who works get it from there.
    fn copy_to_replacements(&self, work: &mut Work, good: Slots) {
        for target in self.wanted.targets.iter().filter(|target| target.from < self.range.end()) {
            let member = &self.array.members[target.member];
            let Some(recovering) = member.recovering() else { continue };
            let slot = member.slot.get().expect("it is being rebuilt for one");
            if recovering.replaces && good.has(slot) {
                self.start(work, slot, target.member, self.block(slot));
            }
        }
    }

    fn has_anybody(&self, slots: Slots) -> bool {
        slots.iter().any(|slot| self.array.written(slot).next().is_some())
    }

    /// Writes the blocks of some slots to everybody who is written to there.
    fn write(&self, work: &mut Work, slots: Slots) {
        for slot in slots.iter() {
            for at in self.array.written(slot) {
                self.start(work, slot, at, self.block(slot));
            }
        }
    }

    fn start(&self, work: &mut Work, slot: u16, at: usize, block: Buf) {
        let member = &self.array.members[at];
        let start = member.place_of(self.range.start);
        work.write(self.array, slot, at, on_behalf_of_sync(Request::write(start, block)));
    }

    fn recover(&self, work: &mut Work, lost: Slots, parities: Slots) {
        let order = self.stripe.by_index();
        work.indices.clear();
        work.sources.clear();
        for (index, slot) in order.clone().filter(|(_, slot)| !lost.has(*slot)) {
            work.indices.push(index);
            work.sources.push(self.block(slot));
        }
        // As few parities as are needed; P first, which is cheaper.
        let mut left = lost.count();
        let mut used =
            [Some(self.stripe.p), self.stripe.q].map(|slot| slot.filter(|slot| parities.has(*slot)));
        for slot in &mut used {
            *slot = slot.filter(|_| left > 0);
            left -= u32::from(slot.is_some());
        }
        used.iter().flatten().for_each(|slot| work.sources.push(self.block(*slot)));
        let mut gone =
            order.filter(|(_, slot)| lost.has(*slot)).map(|(index, slot)| (index, self.block(slot)));
        let (has_p, has_q) = (used[0].is_some(), used[1].is_some());
        match (gone.next(), gone.next()) {
            (Some(one), Some(two)) => {
                arithmetic::recover(&[one, two], &work.indices, &work.sources, has_p, has_q);
            }
            (Some(one), None) => arithmetic::recover(&[one], &work.indices, &work.sources, has_p, has_q),
            _ => {}
        }
        work.sources.clear();
    }

    /// Whether some parities belong to the data, all of which is there or recovered.
    fn belongs(&self, work: &mut Work, parities: Slots) -> bool {
        self.list_data(work);
        let p = Some(self.stripe.p).filter(|slot| parities.has(*slot));
        let q = self.stripe.q.filter(|slot| parities.has(*slot));
        let belongs = match (p, q) {
            (None, Some(q)) => arithmetic::belongs_to_q(&work.indices, &work.sources, &self.block(q)),
            _ => {
                work.sources.extend(p.into_iter().chain(q).map(|slot| self.block(slot)));
                arithmetic::belongs(&work.indices, &work.sources)
            }
        };
        work.sources.clear();
        belongs
    }

    fn generate(&self, work: &mut Work) {
        self.list_data(work);
        let (p, q) = (self.block(self.stripe.p), self.stripe.q.map(|slot| self.block(slot)));
        arithmetic::generate(&work.indices, &work.sources, Some(&p), q.as_ref());
        work.sources.clear();
    }

    fn list_data(&self, work: &mut Work) {
        work.indices.clear();
        work.sources.clear();
        for (index, slot) in self.stripe.by_index() {
            work.indices.push(index);
            work.sources.push(self.block(slot));
        }
    }

    /// What is lost here stays lost: it and all parity is listed as bad. Nothing is done where nobody is to be given
    /// anything, and parity was in sync before.
    fn give_up(&self) -> Outcome {
        let is_believed = self.level.known(self.array, self.range, Slots::NONE).consistent;
        let lost = self.stripe.data() - self.rows.good;
        let listed = if is_believed { lost } else { lost | self.stripe.parities() };
        let missing = self.stripe.parities() - self.rows.good;
        for slot in (listed | missing).iter() {
            for at in self.array.written(slot) {
                let member = &self.array.members[at];
                // Who is in sync and could not read a block of a stripe that was in sync says so himself.
                if !is_believed || member.condition() != Condition::InSync {
                    self.array.list_bad_rows(member, self.range)?;
                }
            }
        }
        Ok(())
    }
}
