//! Opening an array that was not stopped: parity of the rows that were being written is made right by what the logs say.
//!
//! Follows Linux 6.12's raid5-ppl.c: on each member the newest record counts; parity becomes the sum of the blocks found
//! in what was written and of the partial parity; rows of which a written block is missing are left; the array is
//! consistent if anything was recovered and no log failed to say its part. Beyond that: parity is compared before it is
//! written; with a member missing a torn record counts as one that was never written, for its rows were not touched yet,
//! and the blocks of rows that were left are in doubt (S6).

use block::{Arena, Buf, Cause, Failed, Origin, Range, Request, Sectors, lend};
use md_format::ResyncOffset;
use md_format::checksum::Crc32c;
use md_format::ppl::{HEADER_BYTES, HEADER_SECTORS, MAX_ENTRIES, PplEntry, PplHeader};
use md_format::superblock::PplPlace;

use super::super::Striped;
use super::entry::{Piece, describe, pieces};
use super::{Doubt, Log, place};
use crate::array::Array;
use crate::member::Member;

/// Bytes that are read or summed at a time.
const PART: usize = 64 << 10;

/// Runs of rows in doubt that the log of one member carries on, at most: half of what a record has room for.
const MOST_IN_DOUBT: usize = MAX_ENTRIES / 2;

/// Makes parity right, and says so where that is proven.
pub(super) async fn run(array: &Array, level: &Striped, log: &Log) {
    if array.shape().summary.resync != ResyncOffset::At(0) {
        return; // clean: there is nothing to make right
    }
    let memory = Arena::new(4 * PART);
    let take = |bytes| memory.take(bytes).expect("the arena was made for them");
    let mut replay = Replay {
        array,
        level,
        log,
        parts: [take(PART), take(PART), take(PART)],
        header: take(HEADER_BYTES),
        recovered: 0,
        torn: 0,
        lost: 0,
        is_marked: false,
    };
    for slot in 0..level.map.slots() {
        if let Some(member) = array.occupant(slot).filter(|member| member.is_written()).cloned() {
            replay.member(slot, &member).await;
        }
    }
    let too_many = (0..level.map.slots()).any(|slot| log.carried(slot) > MOST_IN_DOUBT);
    let is_told = replay.recovered > 0 && replay.lost == 0 && !too_many;
    if !is_told || replay.torn > 0 && !array.is_degraded() || array.flush_members(0).await.is_err() {
        // All of it may be wrong, then.
        log.doubts.borrow_mut().clear();
        return;
    }
    array.sync.set_recovered();
    // While something is in doubt the superblocks go on calling everything so, and the logs say what it is.
    if array.options.write && log.doubts.borrow().is_empty() {
        array.metadata.require_resync(ResyncOffset::Complete);
        let _ = array.metadata.settled().await; // what fails is a member's failure, and on record
    }
}

struct Replay<'a> {
    array: &'a Array,
    level: &'a Striped,
    log: &'a Log,
    parts: [Buf; 3],
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
    /// Replays the newest record of one member.
    async fn member(&mut self, slot: u16, member: &Member) {
        let Some(area) = place(member) else {
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
            self.entry(slot, member, entry, Sectors(payload)).await;
            payload += entry.pp_sectors();
        }
    }

    /// The newest record: the last that can be reached from the start of the area.
    async fn newest(&self, member: &Member, area: &PplPlace) -> Option<(Box<[u8; HEADER_BYTES]>, u64)> {
        let mut newest: Option<(Box<[u8; HEADER_BYTES]>, u64)> = None;
        let mut at = 0;
        while at + HEADER_SECTORS < u64::from(area.sectors) {
            self.read(member, Sectors(area.sector + at), &self.header).await.ok()?;
            let mut bytes = Box::new([0; HEADER_BYTES]);
            self.header.copy_to_slice(0, &mut bytes[..]);
            let found = PplHeader::view(&bytes[..]).expect("as long as a header");
            let previous = newest.as_ref().map(|(bytes, _)| PplHeader::view(&bytes[..]).expect("as before"));
            let is_next = previous.is_none_or(|previous| found.follows(previous));
            if found.check(self.log.signature).is_err() || !is_next {
                break;
            }
            let sectors = HEADER_SECTORS + found.payload_sectors();
            newest = Some((bytes, area.sector + at));
            at += sectors;
        }
        newest
    }

    async fn entry(&mut self, slot: u16, member: &Member, entry: &PplEntry, payload: Sectors) {
        match self.crc(member, entry, payload).await {
            Ok(crc) if crc == entry.checksum.get() => {}
            Ok(_) => {
                self.torn += 1;
                return;
            }
            Err(_) => {
                self.lost += 1;
                return;
            }
        }
        let Ok(found) = pieces(&self.level.map, entry, slot) else {
            self.lost += 1;
            return;
        };
        for piece in found {
            // Of a member that is being rebuilt only the rows below its position count.
            let ends: Vec<Sectors> =
                self.array.members.iter().filter_map(|member| Some(member.recovering()?.done)).collect();
            for part in piece.cut_at(&ends) {
                self.piece(slot, member, &part, payload).await;
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
    async fn piece(&mut self, slot: u16, member: &Member, piece: &Piece, payload: Sectors) {
        let absent = self.level.gone(self.array, piece.rows);
        if (piece.written - absent).is_empty() {
            return; // what exists in parity alone is there as a whole, old or new
        }
        if !(piece.written & absent).is_empty() {
            self.doubt(slot, piece.rows);
            return;
        }
        let mut done = Sectors::ZERO;
        while done < piece.rows.count {
            let count = Sectors::from_bytes(PART as u64).min(piece.rows.count - done);
            let rows = Range::new(piece.rows.start + done, count);
            let partial = piece.partial.map(|at| payload + at + done);
            if self.rows(member, piece, rows, partial).await.is_err() {
                self.lost += u32::from(absent.is_empty());
                self.doubt(slot, piece.rows);
                return;
            }
            done += count;
        }
    }

    async fn rows(
        &mut self,
        member: &Member,
        piece: &Piece,
        rows: Range,
        partial: Option<Sectors>,
    ) -> Result<(), Failed> {
        let [sum, block, parity] = self.parts.each_ref().map(|part| part.slice(0, rows.count.byte_len()));
        sum.fill_zero();
        if let Some(at) = partial {
            self.read(member, at, &sum).await?;
        }
        for slot in piece.written.iter() {
            let Some(written) = self.array.holder(slot, rows).cloned() else {
                return Err(Failed::new(Cause::Gone));
            };
            self.read(&written, written.place_of(rows.start), &block).await?;
            add(&sum, &block);
        }
        self.read(member, member.place_of(rows.start), &parity).await?;
        if parity.same_bytes(&sum) {
            return Ok(());
        }
        self.mark().await?;
        let write = Request::write(member.place_of(rows.start), sum).from_origin(Origin::Sync);
        let written = member.dev.start(self.array.to_member(write)).await;
        written.inspect_err(|failed| self.fail(member, *failed))
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

    async fn read(&self, member: &Member, at: Sectors, buf: &Buf) -> Result<(), Failed> {
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

    /// The blocks of members that are missing are in doubt in these rows, whose parity is on the member in slot `log`.
    fn doubt(&self, log: u16, rows: Range) {
        let map = &self.level.map;
        let stripe = map.stripe(rows.start.0 / map.chunk().0);
        let within = Range::new(rows.start - map.rows_of(stripe.number).start, rows.count);
        let entry = describe(map, &stripe, within, stripe.data(), md_format::checksum::crc32c(&[]));
        let absent = self.level.gone(self.array, rows) & stripe.data();
        self.log.doubts.borrow_mut().extend(absent.iter().map(|slot| Doubt { slot, rows, entry, log }));
    }
}

/// Adds a block to a sum.
fn add(sum: &Buf, block: &Buf) {
    lend(std::slice::from_ref(block), std::slice::from_ref(sum), |read, written| {
        written[0].iter_mut().zip(read[0]).for_each(|(sum, byte)| *sum ^= byte);
    });
}
