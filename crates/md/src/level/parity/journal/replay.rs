//! Reading a journal from its tail to its end, and bringing what it holds to the members.

use block::{Arena, Buf, Cause, Failed, Outcome, Range, Request, Sectors, lend};
use md_format::journal::{BLOCK_BYTES, BLOCK_SECTORS, MetaBlock, Payload, block_checksum, ring_add};

use super::super::{Striped, write};
use super::Journal;
use super::plan::{DataOnly, Position, Rows, Whole};
use crate::array::Array;

const BLOCK: Sectors = Sectors(BLOCK_SECTORS);

/// Replays the journal, and lets requests go on.
pub(in super::super) async fn run(array: &Array, level: &Striped, journal: &Journal) {
    let arena = Arena::new(2 * BLOCK_BYTES);
    let take = || arena.take(BLOCK_BYTES).expect("the arena was made for it");
    let replay = Replay { array, level, journal, meta: take(), block: take() };
    let outcome = replay.all().await;
    journal.set_replayed(outcome);
}

struct Replay<'a> {
    array: &'a Array,
    level: &'a Striped,
    journal: &'a Journal,
    meta: Buf,
    block: Buf,
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
        let mut position = self.journal.tail;
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
        let (whole, open) = rows.finish();
        for row in &whole {
            self.write_out(row).await?;
        }
        for block in &open {
            self.write(block).await?;
        }
        Ok(())
    }

    /// The meta block at a position, if there is one that is whole.
    async fn meta_block(&self, position: Position) -> Result<Option<Box<[u8; BLOCK_BYTES]>>, Failed> {
        if position + BLOCK_SECTORS > self.journal.ring {
            return Ok(None);
        }
        self.read(position, &self.meta).await?;
        let mut bytes = Box::new([0; BLOCK_BYTES]);
        self.meta.copy_to_slice(0, &mut bytes[..]);
        let checked = MetaBlock::view(&bytes[..]).and_then(|meta| meta.check(self.journal.seed, position));
        Ok(checked.is_ok().then_some(bytes))
    }

    /// Takes in the payloads of a meta block. As in the kernel, one whose blocks are not all whole counts for nothing, and
    /// the next one is looked for right behind it.
    async fn take_in(&self, meta: &MetaBlock, position: Position, rows: &mut Rows) -> Result<Step, Failed> {
        let ring = self.journal.ring;
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
                self.read(at, &self.block).await?;
                let seed = self.journal.seed;
                let found =
                    lend(std::slice::from_ref(&self.block), &[], |read, _| block_checksum(seed, read[0]));
                let Some(next) = ring_add(at, BLOCK_SECTORS, self.journal.ring) else { return Ok(false) };
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

    /// A row that is whole goes to the members that are there.
    async fn write_out(&self, whole: &Whole) -> Outcome {
        for (slot, at) in &whole.blocks {
            let Some(member) = self.array.occupant(*slot).filter(|member| member.is_written()) else {
                continue;
            };
            self.read(*at, &self.block).await?;
            let write = Request::write(member.place_of(Sectors(whole.row)), self.block.clone());
            member.dev.start(self.array.to_member(write)).await?;
        }
        Ok(())
    }

    /// A block that is in the journal alone is written as any write is.
    async fn write(&self, block: &DataOnly) -> Outcome {
        let rows = Range::new(Sectors(block.row), BLOCK);
        let range = self.level.map.range_at(block.slot, rows).ok_or(Failed::new(Cause::Refused))?;
        self.read(block.at, &self.block).await?;
        write::write(self.array, self.level, Request::write(range.start, self.block.clone())).await
    }

    async fn read(&self, position: Position, buf: &Buf) -> Outcome {
        let at = self.journal.data_offset + Sectors(position);
        self.journal.dev.start(self.array.to_member(Request::read(at, buf.clone()))).await
    }
}
