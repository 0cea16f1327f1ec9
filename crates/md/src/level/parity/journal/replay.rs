//! Reading a journal from its tail to its end, and bringing what it holds to the members.
//!
//! As the kernel: rows of which the journal has data and parity are written to the members. An array that is open for
//! writing then begins its journal anew: behind what was found, with a sequence that nothing older can follow, come the
//! blocks that are in the journal alone, or an empty unit if there are none; then the tail moves there, and those blocks
//! are written as any write is. Whenever the power fails, what the superblock calls the tail has all that is needed.

use std::cell::Cell;
use std::collections::VecDeque;

use block::{Arena, Buf, Cause, Failed, Outcome, Range, Request, Sectors, lend};
use md_format::journal::{
    BLOCK_BYTES, BLOCK_SECTORS, MetaBlock, Payload, RECOVERY_STEP, block_checksum, payload_bytes, ring_add,
};

use super::super::group::{Part, PartId};
use super::super::stripe::carry_out;
use super::super::work::Lists;
use super::super::{Striped, write};
use super::account::Share;
use super::plan::{DataOnly, Position, Rows, Whole};
use super::reclaim::move_tail;
use super::ring::Ring;
use super::{BLOCK, Held, Journal};
use crate::array::Array;
use crate::limits::{JOURNAL_READ_BYTES, JOURNAL_WRITTEN_OUT};

/// Replays the journal.
pub(super) async fn run(array: &Array, level: &Striped, journal: &Journal) -> Outcome {
    let arena = Arena::new(2 * BLOCK_BYTES + JOURNAL_READ_BYTES);
    let take = |bytes| arena.take(bytes).expect("the arena was made for it");
    let ahead = Ahead { buf: take(JOURNAL_READ_BYTES), holds: Cell::new(None) };
    let replay = Replay { array, level, journal, meta: take(BLOCK_BYTES), block: take(BLOCK_BYTES), ahead };
    replay.all().await
}

/// How many blocks from the first on lie in whole rows of one stripe, and are few enough for one piece of work.
fn first_rows(blocks: &[DataOnly], chunk: u64) -> usize {
    let mut count = 0;
    for row in blocks.chunk_by(|one, other| one.row == other.row) {
        let is_near = row[0].row / chunk == blocks[0].row / chunk;
        if count > 0 && (!is_near || count + row.len() > JOURNAL_WRITTEN_OUT) {
            break;
        }
        count += row.len();
    }
    count
}

struct Replay<'a> {
    array: &'a Array,
    level: &'a Striped,
    journal: &'a Journal,
    meta: Buf,
    block: Buf,
    ahead: Ahead,
}

/// What was read of the journal in one piece, because it is read from its tail to its end.
struct Ahead {
    buf: Buf,
    /// Which positions.
    holds: Cell<Option<Range>>,
}

impl Ahead {
    /// Copies a block that was read already. Whether it was.
    fn copy(&self, position: Position, buf: &Buf) -> bool {
        let block = Range::new(Sectors(position), BLOCK);
        let Some(holds) = self.holds.get().filter(|holds| holds.contains(block)) else { return false };
        buf.copy_from(0, &self.buf.slice((block.start - holds.start).byte_len(), BLOCK_BYTES));
        true
    }
}

/// What a meta block that is whole comes to.
enum Step {
    /// Its payloads were taken in; the next one is there.
    Next(Position),
    /// It makes no sense: the journal ends.
    End,
}

impl Replay<'_> {
    async fn all(&self) -> Outcome {
        let mut rows = Rows::default();
        let mut position = self.journal.found;
        let mut seq = None;
        while let Some(bytes) = self.meta_block(position).await? {
            let meta = MetaBlock::view(&bytes[..]).expect("looked at when it was read");
            let own = meta.seq.get();
            if seq.is_some_and(|seq| seq != own) {
                break;
            }
            match self.take_in(meta, position, &mut rows).await? {
                Step::Next(next) => position = next,
                Step::End => break,
            }
            seq = Some(own.wrapping_add(1));
        }
        let (mut whole, open) = rows.finish();
        // In the order in which they lie there: rows know nothing of each other.
        whole.sort_unstable_by_key(|row| row.blocks.values().min().copied());
        self.ahead.holds.set(None);
        for row in &whole {
            self.write_out(row).await?;
        }
        if self.array.options.write {
            return self.begin_anew(position, seq, open).await;
        }
        for block in &open {
            self.write(block).await?;
        }
        Ok(())
    }

    /// Begins the journal anew, where the old one has ended: at `end`, where a block with the number `seq` would have come.
    async fn begin_anew(&self, end: Position, seq: Option<u64>, open: Vec<DataOnly>) -> Outcome {
        let (array, journal) = (self.array, self.journal);
        *journal.ring.borrow_mut() = match seq {
            Some(seq) => Ring::behind(journal.size, journal.found, end, seq.wrapping_add(RECOVERY_STEP)),
            // As the kernel: there is nothing to read on from, so it begins at the start.
            None => Ring::new(journal.size, 0, runtime::random() >> 32),
        };
        let mut moved = Vec::with_capacity(open.len());
        let mut held = VecDeque::new();
        let owned = self.owned_by(&open);
        let each = self.moved_together(open.len(), owned);
        for blocks in open.chunks(each) {
            held.push_back(self.move_blocks(blocks, &mut moved).await?);
        }
        if open.is_empty() {
            self.put(0)?;
            let empty = journal.hold_open();
            journal.durable(array, &empty).await?;
        }
        if seq.is_some() {
            journal.release(0);
        }
        if !array.is_whole() {
            // Who is missing did not get what was written just now.
            array.metadata.require_membership();
        }
        match seq {
            Some(_) => move_tail(array, journal).await?,
            None => {
                journal.tail.set(0);
                array.metadata.require();
                array.metadata.settled().await?;
            }
        }
        // A journal that we left has room for it; a kernel's may have to move its tail meanwhile.
        let is_owned = journal.fits(owned);
        if is_owned {
            journal.with_account(|account| account.promise(owned));
        }
        self.write_out_moved(&moved, held, each, is_owned).await
    }

    /// What rows own whose blocks these are, one row's behind each other.
    fn owned_by(&self, blocks: &[DataOnly]) -> Share {
        let rows = blocks.chunk_by(|one, other| one.row == other.row);
        rows.fold(Share::NONE, |all, row| all + Share::row(row.len() as u64, self.parities().into()))
    }

    /// Writes out what is in the journal alone, row by row: all blocks of a row together, for their parity is one. A unit is
    /// let go of when nothing in it is needed any more; each has so many of the blocks. What the rows own, if it was promised to
    /// them, is not needed any more either as they are written out: nobody else puts anything into the journal yet.
    async fn write_out_moved(
        &self,
        moved: &[DataOnly],
        mut held: VecDeque<Held<'_>>,
        each: usize,
        is_owned: bool,
    ) -> Outcome {
        let (array, level) = (self.array, self.level);
        let most = JOURNAL_WRITTEN_OUT + usize::from(level.map.slots());
        let arena = Arena::new(most * BLOCK_BYTES);
        let mut lists = Lists::new(&level.map, level.works.window(), most);
        let mut work = level.works.take().await;
        let (mut done, mut free) = (0, 0);
        while done < moved.len() {
            let count = first_rows(&moved[done..], level.map.chunk().0);
            for block in &moved[done..done + count] {
                let buf = arena.take(BLOCK_BYTES).expect("the arena was made for them");
                self.read(block.at, &buf).await?;
                let range = self.place_of(block)?;
                lists.parts.push((PartId::NOBODY, Part { range, buf: Some(buf), fua: false, trace: 0 }));
            }
            let stripe = moved[done].row / level.map.chunk().0;
            let _writing = array.begin_write(level.map.rows_of(stripe)).await?;
            if is_owned {
                let owned = self.owned_by(&moved[done..done + count]);
                self.journal.with_account(|account| account.give_back(owned));
            }
            carry_out(array, level, stripe, &mut work, &mut lists).await?;
            lists.parts.clear();
            done += count;
            while (free + 1) * each <= done {
                held.pop_front();
                free += 1;
            }
        }
        Ok(())
    }

    /// How many blocks are moved in one unit: so few that the first unit can be let go of before the others leave no room.
    /// Where their meta blocks would leave none, now or for what the rows own once the tail has moved, as many as fit: a journal
    /// that we left has room for those.
    fn moved_together(&self, blocks: usize, owned: Share) -> usize {
        let most = self.journal.open.borrow().most();
        let few = (most / 4).max(1);
        let units = blocks.div_ceil(few);
        let moved = Share { blocks: (blocks + units) as u64, units };
        let fits_then = (moved + owned).sectors() + BLOCK_SECTORS <= self.journal.size;
        match self.journal.fits(moved) && fits_then {
            true => few,
            false => most,
        }
    }

    /// Writes blocks that are in the journal alone into a unit of their own, and notes where they are now.
    async fn move_blocks(&self, blocks: &[DataOnly], moved: &mut Vec<DataOnly>) -> Result<Held<'_>, Failed> {
        let journal = self.journal;
        self.put(blocks.len() as u64)?;
        debug_assert!(journal.open.borrow().has_room(blocks.len(), payload_bytes(blocks.len(), 0, 0)));
        for block in blocks {
            self.read(block.at, &self.block).await?;
            let place = self.place_of(block)?;
            journal.open.borrow_mut().push_data(place.start.0, &self.block);
        }
        let held = journal.hold_open();
        journal.durable(self.array, &held).await?;
        self.ahead.holds.set(None); // something else is there now
        let mut at = journal.ring.borrow().start_of(held.number);
        for block in blocks {
            at = ring_add(at, BLOCK_SECTORS, journal.size).expect("within the ring");
            moved.push(DataOnly { at, ..*block });
        }
        Ok(held)
    }

    /// So many blocks go into the open unit. Nothing is free before the tail has moved, and it moves behind what is written
    /// now. Whoever left the journal left room for that; a disk that says otherwise is not waited for.
    fn put(&self, blocks: u64) -> Outcome {
        match self.journal.fits(self.journal.account.get().joining(blocks)) {
            true => {
                self.journal.put(blocks);
                Ok(())
            }
            false => Err(Failed::new(Cause::NoSpace)),
        }
    }

    fn place_of(&self, block: &DataOnly) -> Result<Range, Failed> {
        let rows = Range::new(Sectors(block.row), BLOCK);
        self.level.map.range_at(block.slot, rows).ok_or(Failed::new(Cause::Refused))
    }

    /// The meta block at a position, if there is one that is whole.
    async fn meta_block(&self, position: Position) -> Result<Option<Box<[u8; BLOCK_BYTES]>>, Failed> {
        if position + BLOCK_SECTORS > self.journal.size {
            return Ok(None);
        }
        self.read_on(position, &self.meta).await?;
        let mut bytes = Box::new([0; BLOCK_BYTES]);
        self.meta.copy_to_slice(0, &mut bytes[..]);
        let checked = MetaBlock::view(&bytes[..]).and_then(|meta| meta.check(self.journal.seed, position));
        Ok(checked.is_ok().then_some(bytes))
    }

    /// Takes in the payloads of a meta block. As in the kernel, one whose blocks are not all whole counts for nothing, and
    /// the next one is looked for right behind it.
    async fn take_in(&self, meta: &MetaBlock, position: Position, rows: &mut Rows) -> Result<Step, Failed> {
        let ring = self.journal.size;
        let behind = |at: Position, sectors: u64| ring_add(at, sectors, ring);
        let Some(first) = behind(position, BLOCK_SECTORS) else { return Ok(Step::End) };
        if !self.is_whole(meta, first).await? {
            return Ok(Step::Next(first));
        }
        let map = &self.level.map;
        let mut at = first;
        for payload in meta.payloads(self.parities()) {
            let Ok(payload) = payload else { return Ok(Step::End) };
            match payload {
                Payload::Data { array_sector, .. } => {
                    if array_sector >= map.size().0 || !array_sector.is_multiple_of(BLOCK_SECTORS) {
                        return Ok(Step::End);
                    }
                    let piece = map.first_piece(
                        &map.stripe(map.stripe_of(Sectors(array_sector))),
                        Range::new(Sectors(array_sector), BLOCK),
                    );
                    if let Some(before) = rows.data(piece.row.0, piece.slot, at) {
                        self.write_out(&before).await?;
                    }
                }
                Payload::Parity { row, q, .. } => {
                    if row >= map.stripes() * map.chunk().0 || !row.is_multiple_of(BLOCK_SECTORS) {
                        return Ok(Step::End);
                    }
                    let stripe = map.stripe(row / map.chunk().0);
                    let Some(second) = behind(at, BLOCK_SECTORS) else { return Ok(Step::End) };
                    let q = q.and(stripe.q).map(|slot| (slot, second));
                    rows.parity(row, [(stripe.p, at)].into_iter().chain(q));
                }
                Payload::Flush { rows: flushed } => flushed.iter().for_each(|row| rows.flush(row.get())),
            }
            match behind(at, payload.sectors()) {
                Some(next) => at = next,
                None => return Ok(Step::End),
            }
        }
        Ok(Step::Next(at))
    }

    /// Whether all blocks of a meta block, the first of which is at `at`, are what was to be written.
    async fn is_whole(&self, meta: &MetaBlock, mut at: Position) -> Result<bool, Failed> {
        for payload in meta.payloads(self.parities()) {
            let sums = match payload {
                Ok(Payload::Data { checksum, .. }) => [Some(checksum), None],
                Ok(Payload::Parity { p, q, .. }) => [Some(p), q],
                Ok(Payload::Flush { .. }) => [None, None],
                Err(_) => return Ok(false),
            };
            for sum in sums.into_iter().flatten() {
                self.read_on(at, &self.block).await?;
                let seed = self.journal.seed;
                let found =
                    lend(std::slice::from_ref(&self.block), &[], |read, _| block_checksum(seed, read[0]));
                let Some(next) = ring_add(at, BLOCK_SECTORS, self.journal.size) else { return Ok(false) };
                if found != sum {
                    return Ok(false);
                }
                at = next;
            }
        }
        Ok(true)
    }

    fn parities(&self) -> u32 {
        self.level.map.stripe(0).parities().count()
    }

    /// A row that is whole goes to the members that are there. One that does not take it is failed. What is listed as bad
    /// stays so: parity may have been given up after it was journaled.
    async fn write_out(&self, whole: &Whole) -> Outcome {
        for (slot, at) in &whole.blocks {
            let mut is_read = false;
            for place in self.array.written(*slot) {
                if !is_read {
                    self.read(*at, &self.block).await?;
                    is_read = true;
                }
                let member = &self.array.members[place];
                let start = member.place_of(Sectors(whole.row));
                let write = Request::write(start, self.block.clone());
                match member.dev.start(self.array.to_member(write)).await {
                    Ok(()) => {}
                    Err(failed) if self.array.fail(member, failed) => {}
                    Err(failed) => return Err(failed),
                }
            }
        }
        self.journal.rows_replayed.set(self.journal.rows_replayed.get() + 1);
        Ok(())
    }

    /// A block that is in the journal alone is written as any write is.
    async fn write(&self, block: &DataOnly) -> Outcome {
        let range = self.place_of(block)?;
        self.read(block.at, &self.block).await?;
        write::write(self.array, self.level, Request::write(range.start, self.block.clone())).await
    }

    /// Reads the block at a position, and what lies behind it, which is looked at next.
    async fn read_on(&self, position: Position, buf: &Buf) -> Outcome {
        if self.ahead.copy(position, buf) {
            return Ok(());
        }
        let count = self.ahead.buf.sectors().min(Sectors(self.journal.size - position));
        let piece = self.ahead.buf.slice(0, count.byte_len());
        self.ahead.holds.set(None);
        if self.read_piece(position, &piece).await.is_ok() {
            self.ahead.holds.set(Some(Range::new(Sectors(position), count)));
        }
        // One bad sector further on takes nothing with it.
        match self.ahead.copy(position, buf) {
            true => Ok(()),
            false => self.read_piece(position, buf).await,
        }
    }

    /// Reads the block at a position, and what lies behind it where that goes on from what was read before.
    async fn read(&self, position: Position, buf: &Buf) -> Outcome {
        let length = self.ahead.buf.sectors().0;
        let goes_on = match self.ahead.holds.get() {
            None => true,
            Some(holds) => (holds.end().0..holds.end().0 + length).contains(&position),
        };
        match goes_on {
            true => self.read_on(position, buf).await,
            false if self.ahead.copy(position, buf) => Ok(()),
            false => self.read_piece(position, buf).await,
        }
    }

    async fn read_piece(&self, position: Position, buf: &Buf) -> Outcome {
        let member = &self.journal.member;
        let at = member.data_offset + Sectors(position);
        member.dev.start(self.array.to_member(Request::read(at, buf.clone()))).await
    }
}
