//! The write-intent bitmap of an open array: after a crash only what it marks can differ between members.
//!
//! The chunk's bit is set, durably and on every member that is in sync, before a member write is issued ([`Bitmap::mark`],
//! [`Marked::durable`]); a write to a chunk whose bit is set already costs a counter and no wait. One task writes the
//! pages (`writer`), so that setting and clearing never pass each other. Bits of chunks that are left alone are cleared
//! after a flush (`clearing`). What a bit means and when it may go is decided in `chunks`, which is pure.
//!
//! Follows Linux 6.12's md-bitmap.c, but that it flushes the members before a bit is cleared. Positions count in
//! [`Array::sync_size`]'s space.

mod change;
mod chunks;
mod clearing;
mod writer;

use crate::waits;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Outcome, Range, Sectors};
use md_format::bitmap::{BitmapSuper, Kind};
use md_format::superblock::Summary;
use md_format::{FormatError, ResyncOffset};
use runtime::rank::Step;
use runtime::{Event, spawn};

pub(crate) use self::chunks::NewRows;
use self::chunks::{Chunks, Found};
use crate::array::Array;
use crate::error::Hindrance;
use crate::examine::{BitmapFacts, Examined};
use crate::limits::{BITMAP_BYTES, FAN_OUT, SLOTS};
use crate::plant::{self, Plant};

/// Tasks that can wait for a page at once without allocating.
const WAITERS: usize = 2 * SLOTS;

/// An open array's bitmap.
pub(crate) struct Bitmap {
    chunks: Chunks,
    /// Sectors from a member's superblock to its bitmap.
    offset: i64,
    /// Bytes of a member's block: what is written is a multiple of it.
    block: usize,
    round_ms: u64,
    arena: Rc<Arena>,
    /// Something has to be written, was written, or cannot be any more.
    changed: Event,
    /// There may be bits to clear.
    used: Event,
    stopping: Cell<bool>,
    clearing: Cell<bool>,
}

/// The bitmap that an open array has now: one can be added to it, and taken away.
#[derive(Default)]
pub(crate) struct Kept(RefCell<Option<Rc<Bitmap>>>);

impl Kept {
    /// To begin with.
    pub fn new(bitmap: Option<Bitmap>) -> Kept {
        Kept(RefCell::new(bitmap.map(Rc::new)))
    }

    /// The one that counts now.
    pub fn now(&self) -> Option<Rc<Bitmap>> {
        self.0.borrow().clone()
    }

    /// From now on another one counts, or none.
    pub fn set(&self, bitmap: Option<Rc<Bitmap>>) {
        self.0.replace(bitmap);
    }
}

/// What an array's bitmap looks like, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitmapState {
    /// What one bit stands for.
    pub chunk: Sectors,
    /// How many chunks there are.
    pub chunks: u64,
    /// How many are marked as possibly different.
    pub marked: u64,
    /// How many runs of [`CHUNKS_OF_A_PAGE`] chunks have a mark.
    pub marked_pages: u64,
}

/// Chunks that the kernel counts in one page of memory, which is how `/proc/mdstat` shows a bitmap.
pub const CHUNKS_OF_A_PAGE: u64 = 2048;

/// While this lives, the chunks of a range are marked and stay so.
pub(crate) struct Marked {
    bitmap: Rc<Bitmap>,
    range: Range,
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.bitmap.chunks.end_write(self.range);
        self.bitmap.used.notify();
    }
}

/// The bitmap that counts: the freshest member's, or where that cannot be read that of the first member in sync on which
/// one can. Bits are set on all of them before anything is written, so none says too little.
fn source<'a>(freshest: &'a Examined, members: &[&'a Examined]) -> Option<&'a BitmapFacts> {
    let others = members.iter().map(|member| member.bitmap.as_ref());
    std::iter::once(freshest.bitmap.as_ref()).chain(others).flatten().next()
}

/// What forbids writing to an array whose freshest member, and those in sync, say this about the bitmap.
pub(crate) fn hindrance(freshest: &Examined, members: &[&Examined]) -> Option<Hindrance> {
    freshest.summary.bitmap?;
    let facts = source(freshest, members);
    let Some(facts) = facts else { return Some(Hindrance::Shape("the bitmap cannot be read")) };
    let bitmap = match BitmapSuper::view(&facts.bytes) {
        Ok(bitmap) => bitmap,
        Err(error) => return Some(Hindrance::Format(error)),
    };
    match bitmap.kind() {
        Ok(Kind::Clustered) => return Some(Hindrance::Feature("a clustered bitmap")),
        Ok(Kind::Lockless) => return Some(Hindrance::Feature("a lockless bitmap")),
        Ok(Kind::HostEndian | Kind::Little) => {}
        Err(error) => return Some(Hindrance::Format(error)),
    }
    bitmap.check(&freshest.summary.array_uuid).err().map(Hindrance::Format)
}

impl Bitmap {
    /// The bitmap as the freshest member has it; `members` are those in sync. `size` is the space in which the array is
    /// synced, `resync` how far that is known to be consistent.
    pub fn open(
        freshest: &Examined,
        members: &[&Examined],
        size: Sectors,
        resync: ResyncOffset,
        block: usize,
        round_ms: Option<u64>,
    ) -> Result<Option<Bitmap>, Hindrance> {
        let (Some(place), Some(facts)) = (freshest.summary.bitmap, source(freshest, members)) else {
            return Ok(None);
        };
        let found = BitmapSuper::view(&facts.bytes).map_err(Hindrance::Format)?;
        let (chunk_bytes, sleep_s) = (found.chunk_bytes.get(), found.daemon_sleep_s.get());
        let written = written_bytes(size, chunk_bytes, block)?;
        if facts.bytes.len() < written {
            let (found, expected) = (facts.bytes.len(), written);
            return Err(Hindrance::Format(FormatError::TooShort { form: "bitmap", found, expected }));
        }
        for member in members {
            fits(&member.summary, member.place.sector, place.offset_sectors, written, block)?;
        }
        let stale = found.is_stale(freshest.summary.events);
        let copies =
            members.iter().map(|member| member.bitmap.as_ref().map_or(&[][..], |facts| &facts.bytes));
        let found = Found { image: &facts.bytes[..written], stale, events: freshest.summary.events };
        let chunk = Sectors::from_bytes(chunk_bytes.into());
        let chunks = Chunks::new(found, copies, chunk, size, resync);
        let round_ms = round_ms.unwrap_or(u64::from(sleep_s) * 1000);
        Ok(Some(Bitmap::of(chunks, place.offset_sectors.into(), block, round_ms)))
    }

    /// These chunks, so far from the superblocks.
    fn of(chunks: Chunks, offset: i64, block: usize, round_ms: u64) -> Bitmap {
        Bitmap {
            chunks,
            offset,
            block,
            round_ms,
            arena: Arena::new(1 << 20),
            changed: Event::with_capacity(WAITERS),
            used: Event::with_capacity(4),
            stopping: Cell::new(false),
            clearing: Cell::new(false),
        }
    }

    /// What it looks like now.
    pub fn state(&self) -> BitmapState {
        BitmapState {
            chunk: self.chunks.chunk(),
            chunks: self.chunks.count(),
            marked: self.chunks.marked(),
            marked_pages: self.chunks.marked_runs(CHUNKS_OF_A_PAGE),
        }
    }

    /// Marks the chunks of a range that is to be written. Its bits are durable after [`Marked::durable`].
    pub fn mark(self: Rc<Bitmap>, range: Range) -> Marked {
        if self.chunks.begin_write(range) {
            self.changed.notify();
        }
        Marked { bitmap: self, range }
    }

    /// Before superblocks say `events`, the bitmap does, or the next who reads it takes it for stale.
    pub async fn record(&self, array: &Array, events: u64) {
        self.chunks.set_events(events, self.chunks.events_cleared());
        self.written(array).await;
    }

    /// Writes all of it to every member that is written to.
    pub async fn write_all(&self, array: &Array) {
        self.chunks.want_all();
        self.written(array).await;
    }

    /// At which events of the array bits were last cleared: who is older has missed more than what is marked.
    pub fn events_cleared(&self) -> u64 {
        self.chunks.events_cleared()
    }

    /// The first part of `range` that is marked, from its start on; empty at its end if there is none.
    pub fn next_marked(&self, range: Range) -> Range {
        let chunk = self.chunks.chunk();
        let mut at = range.start;
        while at < range.end() {
            let end = (at + chunk).round_down(chunk).min(range.end());
            let part = Range::new(at, end - at);
            if self.chunks.any_set(part) {
                return part;
            }
            at = end;
        }
        Range::new(range.end(), Sectors::ZERO)
    }

    /// Whether something in the range is marked, whether it has to be synced or not.
    pub fn marks(&self, range: Range) -> bool {
        self.chunks.any_set(range)
    }

    /// Whether nothing in the range can differ between the copies, as far as the bitmap knows.
    pub fn covers(&self, range: Range) -> bool {
        !self.chunks.any_needed(range)
    }

    /// The first run of sectors from `start` on, of at most `longest`, that a resync has to look at.
    pub fn next_needed(&self, start: Sectors, longest: Sectors) -> Option<Range> {
        self.chunks.next_needed(start, longest)
    }

    /// Everything below `position` was made equal.
    pub fn synced_up_to(&self, position: Sectors) {
        self.chunks.synced_up_to(position);
        self.used.notify();
    }

    /// Starts its tasks: from now on it is written, and cleared.
    pub fn start(self: &Rc<Bitmap>, array: &Rc<Array>) {
        block::reserve(FAN_OUT);
        let (own, writes) = (self.clone(), array.clone());
        let _running = spawn(async move { writer::run(&writes, &own).await });
        let (own, clears) = (self.clone(), array.clone());
        let _running = spawn(async move { clearing::run(&clears, &own).await });
    }

    /// No bit is cleared any more when this returns.
    pub async fn end_clearing(&self) {
        self.stopping.set(true);
        self.used.notify();
        self.used.wait_until(|| !self.clearing.get()).await;
    }

    /// Its tasks end when everything is written.
    pub fn close(&self) {
        self.chunks.close();
        self.changed.notify();
    }

    /// Nobody waits any longer for what cannot come.
    pub fn wake_all(&self) {
        self.changed.notify();
    }

    /// Waits until everything that should be written so far is.
    async fn written(&self, array: &Array) {
        let wanted = self.chunks.wanted();
        self.changed.notify();
        self.changed
            .wait_for(waits::BITS, || self.chunks.is_written(wanted) || array.broken().is_some())
            .await;
    }
}

impl Marked {
    /// Waits until the bits of the range are durable on every member that is in sync (S5).
    pub async fn durable(&self, array: &Array) -> Outcome {
        let bitmap = &self.bitmap;
        if !plant::is(Plant::BitAfterWrite) && !bitmap.chunks.is_durable(self.range) {
            array.rank(Step::DirtyMark).wait();
            let is_durable = || bitmap.chunks.is_durable(self.range) || array.broken().is_some();
            bitmap.changed.wait_for(waits::BITS, is_durable).await;
        }
        array.broken().map_or(Ok(()), Err)
    }
}

/// Starts the tasks of an array's bitmap, if it has one.
pub(crate) fn start(array: &Rc<Array>) {
    let Some(bitmap) = array.bitmap.now() else { return };
    bitmap.start(array);
}

/// Ends the clearing, and clears what can be cleared. No write is under way any more.
pub(crate) async fn settle(array: &Array) -> Outcome {
    let Some(bitmap) = array.bitmap.now() else { return Ok(()) };
    bitmap.end_clearing().await;
    clearing::clear(array, &bitmap, 0).await;
    array.broken().map_or(Ok(()), Err)
}

/// Ends the writer. The last superblocks are written.
pub(crate) fn stop(array: &Array) {
    if let Some(bitmap) = array.bitmap.now() {
        bitmap.close();
    }
}

/// Bytes of a bitmap as it is kept and written: superblock and bits, in whole blocks.
pub(crate) fn written_bytes(size: Sectors, chunk_bytes: u32, block: usize) -> Result<usize, Hindrance> {
    let needed = bytes(size, chunk_bytes).filter(|bytes| *bytes <= BITMAP_BYTES);
    let needed = needed.ok_or(Hindrance::Shape("the bitmap has more chunks than can be kept in memory"))?;
    Ok(needed.next_multiple_of(block))
}

/// Bytes of a bitmap's superblock and bits.
fn bytes(size: Sectors, chunk_bytes: u32) -> Option<usize> {
    let chunks = md_format::bitmap::chunks(size.0, chunk_bytes)?;
    let bytes = chunks.div_ceil(8).checked_add(md_format::bitmap::SUPER_BYTES as u64)?;
    usize::try_from(bytes).ok()
}

/// Whether so many bytes lie, on this member, where neither data nor a superblock is, and on whole blocks.
pub(crate) fn fits(
    summary: &Summary,
    superblock: u64,
    offset: i32,
    len: usize,
    block: usize,
) -> Result<(), Hindrance> {
    let crowded = Hindrance::Shape("the bitmap overlaps data or other metadata");
    let start = superblock.checked_add_signed(offset.into()).ok_or(crowded.clone())?;
    if !(start * 512).is_multiple_of(block as u64) {
        return Err(Hindrance::Shape("the bitmap does not begin at a multiple of the members' block size"));
    }
    let area = |start: u64, sectors: u64| start..start.saturating_add(sectors);
    let own = area(start, (len as u64).div_ceil(512));
    let log = summary.bad_block_log.map_or(0..0, |log| area(log.sector, log.sectors.into()));
    let others = [area(summary.data_offset, summary.used_sectors()), area(superblock, 8), log];
    match others.iter().any(|other| own.start < other.end && other.start < own.end) {
        true => Err(crowded),
        false => Ok(()),
    }
}
