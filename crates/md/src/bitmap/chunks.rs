//! The chunks of a bitmap: which bits should be set, which are so durably, and which may go. Pure.
//!
//! Bits live in an image of the bitmap as it should be on the members, its superblock first; pages of it wait to be written
//! under a number that grows with every change. Beside the image stands for each chunk how many writes it has under way,
//! whether it has to be synced, and for how many rounds it was left alone.

use std::cell::{Cell, RefCell};

use block::{Range, Sectors};
use md_format::ResyncOffset;
use md_format::bitmap::{BitmapSuper, SUPER_BYTES, bit};

/// Bytes that are written together.
pub(super) const PAGE: usize = 4096;

/// What a chunk waits for; see [`Chunk`].
const WRITES: u16 = 0x0fff;
const AGE: u16 = 0x3000;
const NEEDED: u16 = 0x8000;

/// One chunk: writes under way, rounds left alone (the third means that its bit is about to go), has to be synced.
#[derive(Clone, Copy, Default)]
struct Chunk(u16);

impl Chunk {
    fn writes(self) -> u16 {
        self.0 & WRITES
    }

    fn age(self) -> u16 {
        (self.0 & AGE) >> 12
    }

    fn is_needed(self) -> bool {
        self.0 & NEEDED != 0
    }

    fn with_age(self, age: u16) -> Chunk {
        Chunk(self.0 & !AGE | age << 12)
    }
}

/// The age of a chunk whose bit goes when the members are flushed.
const LEAVING: u16 = 3;

/// What is known of rows that an array gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NewRows {
    /// They are the same on all members.
    Same,
    /// They are consistent, and who is missing does not have them.
    Missed,
    /// They have to be synced.
    Differ,
}

/// A bitmap as it was found.
pub(super) struct Found<'a> {
    /// Superblock and bits, whole blocks.
    pub image: &'a [u8],
    /// It is out of date: everything may differ.
    pub stale: bool,
    /// The array's events.
    pub events: u64,
}

pub(super) struct Chunks {
    image: RefCell<Vec<u8>>,
    /// Bits that are set durably on every member in sync, in the same places.
    durable: RefCell<Vec<u8>>,
    states: Vec<Cell<Chunk>>,
    pages: Vec<Page>,
    wanted: Cell<u64>,
    /// Chunks whose bit is set, and those of them that have to be synced.
    marked: Cell<u64>,
    needed: Cell<u64>,
    synced: Cell<Sectors>,
    closed: Cell<bool>,
    chunk: Sectors,
    size: Sectors,
}

/// A page's changes, by number: the last one that is wanted, and the last one that is written.
#[derive(Default)]
struct Page {
    wanted: Cell<u64>,
    written: Cell<u64>,
}

impl Chunks {
    /// The chunks of a bitmap of `size` sectors. `copies` are the bitmaps of the members in sync. Of the bits that are
    /// set, those behind `resync` stand for something that may differ (`md_bitmap_init_from_disk`).
    pub fn new<'a>(
        found: Found<'_>,
        copies: impl Iterator<Item = &'a [u8]>,
        chunk: Sectors,
        size: Sectors,
        resync: ResyncOffset,
    ) -> Chunks {
        let mut image = found.image.to_vec();
        let count = size.0.div_ceil(chunk.0);
        if found.stale {
            image[SUPER_BYTES..].fill(0xff);
        }
        let pages = image.len().div_ceil(PAGE);
        let mut durable = image.clone();
        let chunks = |image: Vec<u8>, durable: Vec<u8>| Chunks {
            image: RefCell::new(image),
            durable: RefCell::new(durable),
            states: vec![Cell::default(); count as usize],
            pages: (0..pages).map(|_| Page::default()).collect(),
            wanted: Cell::new(0),
            marked: Cell::new(0),
            needed: Cell::new(0),
            synced: Cell::new(Sectors::ZERO),
            closed: Cell::new(false),
            chunk,
            size,
        };
        let mut differs = vec![found.stale; pages];
        for copy in copies {
            for (page, differs) in differs.iter_mut().enumerate() {
                let range = page * PAGE..image.len().min((page + 1) * PAGE);
                *differs |= copy.get(range.clone()).is_none_or(|there| there != &image[range]);
            }
            for (at, byte) in durable.iter_mut().enumerate() {
                *byte &= copy.get(at).copied().unwrap_or(0);
            }
        }
        if found.stale {
            durable.fill(0); // as long as it is called stale, what its bits say counts for nobody
        }
        let chunks = chunks(image, durable);
        for number in (0..count).filter(|number| chunks.is_set(*number)) {
            let end = Sectors((number + 1).saturating_mul(chunk.0));
            let needed = match resync {
                ResyncOffset::Complete => false,
                ResyncOffset::At(position) => end.0 > position,
            };
            chunks.marked.set(chunks.marked.get() + 1);
            chunks.needed.set(chunks.needed.get() + u64::from(needed));
            chunks.state(number).set(Chunk(if needed { NEEDED } else { 0 }));
        }
        for page in differs.into_iter().enumerate().filter(|(_, differs)| *differs).map(|(page, _)| page) {
            chunks.want(page);
        }
        if found.stale {
            let mut image = chunks.image.borrow_mut();
            superblock(&mut image).events_cleared = found.events.into();
        }
        chunks
    }

    /// The chunks of a bitmap in `bytes` bytes, each `chunk_bytes` long, over `size` sectors, with the marks of this one; and of
    /// what is new. Nothing of it is durable, and nobody writes.
    pub fn grown(&self, bytes: usize, chunk_bytes: u32, size: Sectors, new: NewRows) -> Chunks {
        let mut image = self.image.borrow()[..SUPER_BYTES].to_vec();
        image.resize(bytes, 0);
        let bitmap = superblock(&mut image);
        bitmap.sync(bitmap.events.get(), bitmap.events_cleared.get(), false);
        bitmap.sync_size = size.0.into();
        bitmap.chunk_bytes = chunk_bytes.into();
        let (chunk, events) = (Sectors::from_bytes(chunk_bytes.into()), bitmap.events.get());
        let found = Found { image: &image, stale: false, events };
        let nobody: &[u8] = &[];
        let grown = Chunks::new(found, std::iter::once(nobody), chunk, size, ResyncOffset::Complete);
        for number in self.numbers_set() {
            let start = Sectors(number * self.chunk.0);
            let state = self.state(number).get();
            assert!(state.writes() == 0, "nobody writes while a bitmap grows");
            let end = (start + self.chunk).min(self.size);
            grown.mark(Range::new(start, end - start), state.is_needed());
        }
        if new != NewRows::Same {
            grown.mark(Range::new(self.size, size - self.size), new == NewRows::Differ);
        }
        grown
    }

    /// Sets the bits of a range, and says whether it has to be synced.
    fn mark(&self, range: Range, needed: bool) {
        for number in self.numbers(range) {
            self.set(number);
            let state = self.state(number);
            let known = state.get();
            if needed && !known.is_needed() {
                self.needed.set(self.needed.get() + 1);
                state.set(Chunk(known.0 | NEEDED));
            }
        }
    }

    /// Lets `look` see superblock and bits.
    pub fn look<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        look(&self.image.borrow())
    }

    /// From the next write of it on, who reads the bitmap takes everything for different.
    pub fn set_stale(&self) {
        let mut image = self.image.borrow_mut();
        let bitmap = superblock(&mut image);
        bitmap.sync(bitmap.events.get(), bitmap.events_cleared.get(), true);
        drop(image);
        self.want(0);
    }

    pub fn chunk(&self) -> Sectors {
        self.chunk
    }

    pub fn count(&self) -> u64 {
        self.states.len() as u64
    }

    /// Chunks whose bit is set.
    pub fn marked(&self) -> u64 {
        self.marked.get()
    }

    /// How many runs of `chunks` chunks have a bit that is set.
    pub fn marked_runs(&self, chunks: u64) -> u64 {
        if self.marked() == 0 {
            return 0;
        }
        let starts = (0..self.count()).step_by(chunks as usize);
        let is_marked =
            |start: u64| (start..self.count().min(start + chunks)).any(|chunk| self.is_set(chunk));
        starts.filter(|start| is_marked(*start)).count() as u64
    }

    fn state(&self, number: u64) -> &Cell<Chunk> {
        &self.states[number as usize]
    }

    fn numbers(&self, range: Range) -> std::ops::Range<u64> {
        let end = range.end().0.min(self.size.0);
        range.start.0 / self.chunk.0..end.div_ceil(self.chunk.0)
    }

    fn is_set(&self, number: u64) -> bool {
        let (byte, mask) = bit(number);
        self.image.borrow()[byte as usize] & mask != 0
    }

    fn is_durably_set(&self, number: u64) -> bool {
        let (byte, mask) = bit(number);
        self.durable.borrow()[byte as usize] & mask != 0
    }

    fn want(&self, page: usize) {
        self.wanted.set(self.wanted.get() + 1);
        self.pages[page].wanted.set(self.wanted.get());
    }

    /// Every page is to be written: there is somebody who has none.
    pub fn want_all(&self) {
        (0..self.pages.len()).for_each(|page| self.want(page));
    }

    /// Whether the bit of some chunk of `range` is set.
    pub fn any_set(&self, range: Range) -> bool {
        self.numbers(range).any(|number| self.is_set(number))
    }

    /// A write to `range` begins. True when a page has to be written before it can go on.
    pub fn begin_write(&self, range: Range) -> bool {
        let mut waits = false;
        for number in self.numbers(range) {
            let state = self.state(number);
            let known = state.get();
            assert!(known.writes() < WRITES, "more writes under way than an array serves");
            state.set(Chunk(known.with_age(0).0 + 1));
            if !self.is_durably_set(number) {
                self.set(number);
                waits = true;
            }
        }
        waits
    }

    fn set(&self, number: u64) {
        let (byte, mask) = bit(number);
        let mut image = self.image.borrow_mut();
        if image[byte as usize] & mask == 0 {
            image[byte as usize] |= mask;
            self.marked.set(self.marked.get() + 1);
        }
        drop(image);
        self.want(byte as usize / PAGE);
    }

    /// A write to `range` has ended.
    pub fn end_write(&self, range: Range) {
        for number in self.numbers(range) {
            let state = self.state(number);
            state.set(Chunk(state.get().0 - 1));
        }
    }

    /// Whether the bits of all chunks of `range` are durable.
    pub fn is_durable(&self, range: Range) -> bool {
        self.numbers(range).all(|number| self.is_durably_set(number))
    }

    pub fn any_needed(&self, range: Range) -> bool {
        self.numbers(range).any(|number| self.state(number).get().is_needed())
    }

    /// The first run from `start` on, of at most `longest`, whose chunks have to be synced.
    pub fn next_needed(&self, start: Sectors, longest: Sectors) -> Option<Range> {
        let is_needed = |number: &u64| self.state(*number).get().is_needed();
        let from = start.0 / self.chunk.0;
        let first = (from..self.count()).find(is_needed)?;
        let start = start.max(Sectors(first * self.chunk.0));
        let last = start.0.saturating_add(longest.0).min(self.size.0).div_ceil(self.chunk.0);
        let behind = (first..last).find(|number| !is_needed(number)).unwrap_or(last);
        let end = (behind * self.chunk.0).min(self.size.0);
        (end > start.0).then(|| Range::new(start, longest.min(Sectors(end) - start)))
    }

    /// The chunks that lie wholly below `position` need no sync any more; their bits go in time.
    pub fn synced_up_to(&self, position: Sectors) {
        let from = self.synced.get().0 / self.chunk.0;
        let end = if position >= self.size { self.count() } else { position.0 / self.chunk.0 };
        for number in from..end {
            let state = self.state(number);
            let known = state.get();
            self.needed.set(self.needed.get() - u64::from(known.is_needed()));
            state.set(Chunk(known.0 & !NEEDED).with_age(0));
        }
        self.synced.set(position.max(self.synced.get()));
    }

    // What is written.

    /// The superblock says so from the next write of it on.
    pub fn set_events(&self, events: u64, events_cleared: u64) {
        let mut image = self.image.borrow_mut();
        let bitmap = superblock(&mut image);
        bitmap.sync(events, events_cleared, false);
        bitmap.sync_size = self.size.0.into();
        drop(image);
        self.want(0);
    }

    pub fn events_cleared(&self) -> u64 {
        superblock(&mut self.image.borrow_mut()).events_cleared.get()
    }

    /// The number of the last change.
    pub fn wanted(&self) -> u64 {
        self.wanted.get()
    }

    /// Whether all changes up to a number are written.
    pub fn is_written(&self, number: u64) -> bool {
        // What a page waits for may be older or newer than that; after its next write it does not matter.
        let is_behind = |page: &Page| page.written.get() < page.wanted.get() && page.written.get() < number;
        !self.pages.iter().any(is_behind)
    }

    /// The page to be written next: the first one last, because its superblock vouches for the others.
    pub fn next_page(&self) -> Option<usize> {
        self.pages.iter().rposition(|page| page.wanted.get() > page.written.get())
    }

    /// The bytes of a page, and the number of the last change to it.
    pub fn page(&self, page: usize, copy: impl FnOnce(&[u8])) -> u64 {
        let image = self.image.borrow();
        copy(&image[page * PAGE..image.len().min((page + 1) * PAGE)]);
        self.pages[page].wanted.get()
    }

    pub fn page_bytes(&self, page: usize) -> usize {
        (self.image.borrow().len() - page * PAGE).min(PAGE)
    }

    /// A page was written as it was at change `number`, on every member in sync. What has been cleared since counts as
    /// set no more.
    pub fn page_written(&self, page: usize, number: u64, written: &[u8]) {
        let image = self.image.borrow();
        let mut durable = self.durable.borrow_mut();
        let start = page * PAGE;
        for (at, byte) in written.iter().enumerate() {
            durable[start + at] = byte & image[start + at];
        }
        self.pages[page].written.set(number);
    }

    /// Nothing more will be written when all is.
    pub fn close(&self) {
        self.closed.set(true);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    // What is cleared.

    /// One round more in which nobody wrote. True when there are bits to go: those of chunks that were left alone for
    /// `rounds` rounds before, and need no sync.
    pub fn grow_older(&self, rounds: u16) -> bool {
        let mut any = false;
        for state in self.numbers_set().map(|number| self.state(number)) {
            let known = state.get();
            if known.writes() > 0 || known.is_needed() {
                continue;
            }
            let leaves = known.age() >= rounds;
            state.set(known.with_age(if leaves { LEAVING } else { known.age() + 1 }));
            any |= leaves;
        }
        any
    }

    /// The members were flushed since [`Chunks::grow_older`]: clears the bits that were to go and that nobody has used
    /// since.
    pub fn clear(&self) {
        for number in self.numbers_set() {
            let state = self.state(number);
            if state.get().age() != LEAVING {
                continue;
            }
            state.set(Chunk::default());
            let (byte, mask) = bit(number);
            self.image.borrow_mut()[byte as usize] &= !mask;
            self.durable.borrow_mut()[byte as usize] &= !mask;
            self.marked.set(self.marked.get() - 1);
            self.want(byte as usize / PAGE);
        }
    }

    /// Chunks whose bit is set.
    fn numbers_set(&self) -> impl Iterator<Item = u64> {
        (0..self.count()).filter(|number| self.is_set(*number))
    }

    /// Whether some bit may go in time.
    pub fn has_anything_to_clear(&self) -> bool {
        self.marked.get() > self.needed.get()
    }
}

fn superblock(image: &mut [u8]) -> &mut BitmapSuper {
    BitmapSuper::edit(image).expect("looked at when it was opened")
}

#[cfg(test)]
mod tests;
