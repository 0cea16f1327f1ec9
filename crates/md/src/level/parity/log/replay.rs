//! Opening an array that was not stopped: parity of the rows that were being written is made right by what the logs say.
//!
//! Follows Linux 6.12's raid5-ppl.c: on each member the newest record counts; parity becomes the sum of the blocks found
//! in what was written and of the partial parity; rows of which a written block is missing are left; the array is
//! consistent if anything was recovered and no log failed to say its part. Beyond that: where all data is there, parity is
//! made from that, and the log says no more than where; parity is compared before it is written; with a member missing a torn record counts as one that was never written, for its rows were not touched yet,
//! and the blocks of rows that were left are in doubt (S6).

use std::rc::Rc;

use block::{Arena, Buf, Cause, Failed, Origin, Range, Request, Sectors, lend};
use md_format::ResyncOffset;
use md_format::checksum::Crc32c;
use md_format::ppl::{HEADER_BYTES, HEADER_SECTORS, MAX_ENTRIES, PplEntry, PplHeader};
use md_format::private_log::LogPlace;

use super::super::Striped;
use super::super::slots::Slots;
use super::entry::{Piece, pieces};
use super::{Doubt, Log, State};
use crate::array::Array;
use crate::member::Member;

/// Bytes that are read or summed at a time.
const PART: usize = 64 << 10;

/// Runs of rows in doubt that the log of one member carries on, at most: half of what a record has room for.
const MOST_IN_DOUBT: usize = MAX_ENTRIES / 2;

/// Makes parity right, says so where that is proven, and says what is done with the logs next.
pub(super) async fn run(array: &Array, level: &Striped, log: &Log) -> State {
    let is_dirty = array.shape().summary.resync == ResyncOffset::At(0);
    // What is clean has nothing to make right. What somebody else has written to meanwhile is not what the log is about.
    if is_dirty && log.private.as_ref().is_none_or(|private| private.is_valid()) {
        make_right(array, level, log).await;
    }
    let Some(private) = log.private.as_ref().filter(|_| array.options.write) else { return State::Opened };
    let is_certain = log.doubts.borrow().is_empty();
    match (is_certain, private.is_ending) {
        // The logs that say what is in doubt go on as they are: while they begin anew, nothing would say it.
        (false, _) => State::Kept,
        (true, false) => State::Opened,
        (true, true) => match private.erase(array).await {
            Ok(()) => State::Ended,
            Err(_) => State::Opened,
        },
    }
}

async fn make_right(array: &Array, level: &Striped, log: &Log) {
    let memory = Arena::new(8 * PART);
    let take = |bytes| memory.take(bytes).expect("the arena was made for them");
    let mut replay = Replay {
        array,
        level,
        log,
        parts: [take(PART), take(PART), take(PART), take(PART)],
        zeroes: memory.take_zeroed(PART).expect("the arena was made for them"),
        header: take(HEADER_BYTES),
        recovered: 0,
        torn: 0,
        lost: 0,
        is_marked: false,
    };
    let mut found = Vec::new();
    for slot in 0..level.map.slots() {
        if let Some(member) = array.occupant(slot).filter(|member| member.is_written()).cloned() {
            replay.member(slot, &member, &mut found).await;
        }
    }
    for at in 0..found.len() {
        replay.entry(&found, at).await;
    }
    let too_many = (0..level.map.slots()).any(|slot| log.carried(slot) > MOST_IN_DOUBT);
    let is_told = replay.recovered > 0 && replay.lost == 0 && !too_many;
    // As the kernel, of its own log; of raid6's a torn entry proves as much as any that the log was kept.
    let is_torn = replay.torn > 0 && !array.is_degraded() && log.private.is_none();
    if !is_told || is_torn || array.flush_members(0).await.is_err() {
        // All of it may be wrong, then.
        log.doubts.borrow_mut().clear();
        return;
    }
    array.sync.set_recovered(array.sync_size());
    // While something is in doubt the superblocks go on calling everything so, and the logs say what it is.
    if array.options.write && log.doubts.borrow().is_empty() {
        array.metadata.require_resync(ResyncOffset::Complete);
        let _ = array.metadata.settled().await; // what fails is a member's failure, and on record
    }
}

/// An entry of a newest record.
pub(super) struct Found {
    /// The slot whose log has it, and whose parity it is about.
    pub slot: u16,
    pub member: Rc<Member>,
    pub entry: PplEntry,
    /// Where its partial parity lies.
    pub payload: Sectors,
    /// Its partial parity is not what was to be written.
    pub is_torn: bool,
}

pub(super) struct Replay<'a> {
    pub array: &'a Array,
    pub level: &'a Striped,
    log: &'a Log,
    pub parts: [Buf; 4],
    /// Never written.
    pub zeroes: Buf,
    header: Buf,
    recovered: u32,
    /// Entries whose partial parity is not what was to be written.
    torn: u32,
    /// Logs or blocks that could not be read, or made no sense.
    lost: u32,
    /// Every superblock says that parity may be wrong.
    is_marked: bool,
}

impl Replay<'_> {
    /// Reads the newest record of one member.
    async fn member(&mut self, slot: u16, member: &Rc<Member>, into: &mut Vec<Found>) {
        let Some(area) = self.log.place(member) else {
            self.lost += 1;
            return;
        };
        let Some((header, at)) = self.newest(member, &area).await else {
            self.lost += 1;
            return;
        };
        let header = PplHeader::view(&header[..]).expect("as long as a header");
        let mut payload = at + HEADER_SECTORS;
        for entry in header.entries() {
            match self.crc(member, entry, Sectors(payload)).await {
                Ok(crc) => {
                    let (entry, member, is_torn) = (*entry, member.clone(), crc != entry.checksum.get());
                    into.push(Found { slot, member, entry, payload: Sectors(payload), is_torn });
                }
                Err(_) => self.lost += 1,
            }
            payload += entry.pp_sectors();
        }
        // Where the log goes on.
        let own = &self.log.members[usize::from(slot)];
        own.owner.set(Some(member.dev_number));
        own.next.set(payload - area.sector);
        self.log.generation.set(self.log.generation.get().max(header.generation.get()));
    }

    /// The newest record: the last that can be reached from the start of the area.
    async fn newest(&self, member: &Member, area: &LogPlace) -> Option<(Box<[u8; HEADER_BYTES]>, u64)> {
        let mut newest: Option<(Box<[u8; HEADER_BYTES]>, u64)> = None;
        let mut at = 0;
        while at + HEADER_SECTORS < area.sectors {
            self.read(member, Sectors(area.sector + at), &self.header).await.ok()?;
            let mut bytes = Box::new([0; HEADER_BYTES]);
            self.header.copy_to_slice(0, &mut bytes[..]);
            let found = PplHeader::view(&bytes[..]).expect("as long as a header");
            let previous = newest.as_ref().map(|(bytes, _)| PplHeader::view(&bytes[..]).expect("as before"));
            let is_next = previous.is_none_or(|previous| found.follows(previous));
            if found.check(self.log.signature.get()).is_err() || !is_next {
                break;
            }
            let sectors = HEADER_SECTORS + found.payload_sectors();
            newest = Some((bytes, area.sector + at));
            at += sectors;
        }
        newest
    }

    async fn entry(&mut self, all: &[Found], at: usize) {
        let found = &all[at];
        self.torn += u32::from(found.is_torn);
        let is_pair = self.log.private.is_some();
        if found.is_torn && !is_pair {
            return; // its rows were not touched yet
        }
        let Ok(pieces) = pieces(&self.level.map, &found.entry, found.slot) else {
            self.lost += 1;
            return;
        };
        for piece in pieces {
            // Of a member that is being rebuilt only the rows below its position count, of none those that it lists.
            let members = || self.array.members.iter().filter(|member| member.is_written());
            let listed = members().flat_map(|member| member.bad_rows(piece.rows));
            let ends: Vec<Sectors> = members()
                .filter_map(|member| Some(member.recovering()?.done))
                .chain(listed.flat_map(|run| [run.start, run.end()]))
                .collect();
            for part in piece.cut_at(&ends) {
                match is_pair {
                    true => self.paired(all, found, &part).await,
                    false => self.piece(found, &part).await,
                }
            }
        }
        self.recovered += 1;
    }

    /// The sum of an entry's partial parity as it is found.
    async fn crc(&self, member: &Member, entry: &PplEntry, payload: Sectors) -> Result<u32, Failed> {
        let mut sum = Crc32c::new();
        let (mut at, mut left) = (payload, entry.pp_sectors());
        let size = member.dev.geometry().size;
        if at.checked_add(Sectors(left)).is_none_or(|end| end > size) {
            return Err(Failed::new(Cause::Refused));
        }
        while left > 0 {
            let buf = self.parts[0].slice(0, Sectors(left).byte_len().min(PART));
            self.read(member, at, &buf).await?;
            lend(std::slice::from_ref(&buf), &[], |read, _| sum.add(read[0]));
            at += buf.sectors();
            left -= buf.sectors().0;
        }
        Ok(sum.finish())
    }

    /// Makes the parity of some rows right, or says what is in doubt.
    async fn piece(&mut self, found: &Found, piece: &Piece) {
        let absent = self.level.gone(self.array, piece.rows) | self.level.void(self.array, piece.rows);
        if found.member.is_bad(piece.rows) {
            return; // its parity counts for nothing as it is
        }
        if (piece.written - absent).is_empty() {
            return; // what exists in parity alone is there as a whole, old or new
        }
        if !(piece.written & absent).is_empty() {
            self.doubt(piece.rows);
            return;
        }
        // With all data there nothing else counts: a member that came back, and nobody recorded that it was away, brings a
        // log of blocks that may have been written since.
        let data = self.level.map.stripe(piece.rows.start.0 / self.level.map.chunk().0).data();
        let whole = Piece { written: data, partial: None, ..*piece };
        if (data & absent).is_empty() && self.make_sum(found, &whole).await.is_ok() {
            return;
        }
        if self.make_sum(found, piece).await.is_err() {
            self.not_made(piece.rows, absent);
        }
    }

    /// Rows whose parity could not be made right, where these slots have nobody.
    pub fn not_made(&mut self, rows: Range, absent: Slots) {
        self.lost += u32::from(absent.is_empty());
        self.doubt(rows);
    }

    /// Parts of a piece that are read or summed at a time, and where their partial parity lies.
    pub fn parts_of(piece: &Piece, payload: Sectors) -> impl Iterator<Item = (Range, Option<Sectors>)> {
        let (rows, partial) = (piece.rows, piece.partial);
        (0..rows.count.0).step_by(PART / 512).map(move |done| {
            let count = Sectors::from_bytes(PART as u64).min(rows.count - Sectors(done));
            let part = Range::new(rows.start + Sectors(done), count);
            (part, partial.map(|at| payload + at + Sectors(done)))
        })
    }

    /// Parity becomes the sum of the partial parity and of the blocks found in what was written.
    async fn make_sum(&mut self, found: &Found, piece: &Piece) -> Result<(), Failed> {
        for (rows, partial) in Replay::parts_of(piece, found.payload) {
            let [sum, block, ..] = self.parts.each_ref().map(|part| part.slice(0, rows.count.byte_len()));
            sum.fill_zero();
            if let Some(at) = partial {
                self.read(&found.member, at, &sum).await?;
            }
            for slot in piece.written.iter() {
                self.read_slot(slot, rows, &block).await?;
                add(&sum, &block);
            }
            self.put(found.slot, rows, &sum).await?;
        }
        Ok(())
    }

    /// Reads rows of a slot.
    pub async fn read_slot(&self, slot: u16, rows: Range, block: &Buf) -> Result<(), Failed> {
        let member = self.array.holder(slot, rows).cloned().ok_or(Failed::new(Cause::Gone))?;
        self.read(&member, member.place_of(rows.start), block).await
    }

    /// Writes rows of a slot's parity, unless they are there already.
    pub async fn put(&mut self, slot: u16, rows: Range, parity: &Buf) -> Result<(), Failed> {
        let member = self.array.holder(slot, rows).cloned().ok_or(Failed::new(Cause::Gone))?;
        let there = self.parts[3].slice(0, rows.count.byte_len());
        self.read(&member, member.place_of(rows.start), &there).await?;
        if there.same_bytes(parity) {
            return Ok(());
        }
        self.mark().await?;
        let write = Request::write(member.place_of(rows.start), parity.clone()).from_origin(Origin::Sync);
        let written = member.dev.start(self.array.to_member(write)).await;
        written.inspect_err(|failed| self.fail(&member, *failed))
    }

    /// A power cut may have left superblocks that lie an event apart: before anything is written, each must say that it may
    /// be inconsistent (S5).
    async fn mark(&mut self) -> Result<(), Failed> {
        if self.array.options.write && !self.is_marked {
            self.array.metadata.require();
            self.array.metadata.settled().await?;
            self.is_marked = true;
        }
        Ok(())
    }

    pub async fn read(&self, member: &Member, at: Sectors, buf: &Buf) -> Result<(), Failed> {
        let read = Request::read(at, buf.clone()).from_origin(Origin::Sync);
        let outcome = member.dev.start(self.array.to_member(read)).await;
        outcome.inspect_err(|failed| {
            if failed.cause != Cause::Medium {
                self.fail(member, *failed);
            }
        })
    }

    fn fail(&self, member: &Member, failed: Failed) {
        if !self.array.fail(member, failed) {
            self.array.set_broken(failed);
        }
    }

    /// The blocks of members that are missing are in doubt in these rows. Those that are listed as bad can be written where
    /// they are: they stay lost until then, and all parity with them (ADR 15).
    pub fn doubt(&mut self, rows: Range) {
        let map = &self.level.map;
        let stripe = map.stripe(rows.start.0 / map.chunk().0);
        if !(self.level.void(self.array, rows) & stripe.data()).is_empty() {
            for member in stripe.parities().iter().filter_map(|slot| self.array.holder(slot, rows)) {
                let has_room = self.array.list_bad_rows(member, rows).is_ok();
                self.lost += u32::from(!has_room);
            }
        }
        let absent = self.level.gone(self.array, rows) & stripe.data();
        let mut doubts = self.log.doubts.borrow_mut();
        for slot in absent.iter() {
            if !doubts.iter().any(|doubt| (doubt.slot, doubt.rows) == (slot, rows)) {
                doubts.push(Doubt { slot, rows, logs: stripe.parities() });
            }
        }
    }
}

/// Adds a block to a sum.
pub(super) fn add(sum: &Buf, block: &Buf) {
    lend(std::slice::from_ref(block), std::slice::from_ref(sum), |read, written| {
        written[0].iter_mut().zip(read[0]).for_each(|(sum, byte)| *sum ^= byte);
    });
}
