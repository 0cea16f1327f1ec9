//! Writing the journal: keys are gathered in an entry while the one before it is written; one is written at a time, so that
//! there is never a hole (C5).
//!
//! The writer owns everything it needs: two buffers, its task, and the bucket behind the one that is filled, which is always
//! free. What it waits for is the device, and leaves that are written into room of their own (see `btree/write.rs`): nothing
//! that ever waits for the journal (P2).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bcache_format::jset::{HEADER_BYTES, Jset};
use bcache_format::{Geometry, Key};
use block::{Arena, Buf, Failed, Origin, Priority, Request, Sectors};
use runtime::waits::doing;
use runtime::{Event, sleep_ms, spawn};

use super::ring::{Place, Ring};
use crate::counters::count;
use crate::error::SetError;
use crate::limits::WAITERS;
use crate::plant::{self, Plant};
use crate::set::CacheSet;
use crate::waits;

/// The journal of a set that is written.
pub(crate) struct Journal {
    geometry: Geometry,
    open: RefCell<Open>,
    /// The other buffer, while nothing is being written.
    spare: RefCell<Option<Buf>>,
    ring: RefCell<Ring>,
    /// Entries up to this one are durable.
    durable: Cell<u64>,
    /// Somebody waits for entries up to this one.
    wanted: Cell<u64>,
    /// The entry that waits to be written needs that no older ones are needed.
    needed: Cell<u64>,
    /// Entries from this one on are kept while they are laid into the tree.
    replaying: Cell<u64>,
    changed: Event,
}

/// The entry that is gathered.
struct Open {
    seq: u64,
    words: usize,
    buf: Buf,
}

impl Journal {
    /// The journal behind the entry `newest`, in this ring.
    pub async fn new(geometry: Geometry, ring: Ring, newest: u64) -> Journal {
        let bytes = geometry.journal_entry_bytes();
        let arena = Arena::new(2 * bytes.next_power_of_two());
        let (first, second) = (arena.wait_take(bytes).await, arena.wait_take(bytes).await);
        let journal = Journal {
            geometry,
            open: RefCell::new(Open { seq: newest + 1, words: 0, buf: first }),
            spare: RefCell::new(Some(second)),
            ring: RefCell::new(ring),
            durable: Cell::new(newest),
            wanted: Cell::new(0),
            needed: Cell::new(0),
            replaying: Cell::new(u64::MAX),
            changed: Event::with_capacity(WAITERS),
        };
        journal.begin();
        journal
    }

    fn begin(&self) {
        let open = self.open.borrow();
        block::lend(&[], std::slice::from_ref(&open.buf), |_, bytes| {
            bytes[0].fill(0);
            Jset::create(bytes[0], self.geometry.set_magic).expect("as long as an entry");
        });
    }

    /// Whether the entry that is gathered takes one more key.
    pub fn has_room(&self) -> bool {
        HEADER_BYTES + 8 * (self.open.borrow().words + 3) <= self.geometry.journal_entry_bytes()
    }

    /// Waits until one more key is taken.
    pub async fn wait_room(&self, set: &CacheSet) -> Result<(), SetError> {
        self.ask(self.open.borrow().seq);
        self.changed.wait_for(waits::ROOM, || self.has_room() || set.failure().is_some()).await;
        set.failure().map_or(Ok(()), Err)
    }

    /// Adds a key, for which there is room. The number of the entry that will have it.
    pub fn add(&self, key: &Key) -> u64 {
        debug_assert!(key.sectors() > 0, "a kernel that replays an extent of nothing stops");
        let mut open = self.open.borrow_mut();
        let mut bytes = [0; 24];
        key.write(&mut bytes);
        open.buf.copy_from_slice(HEADER_BYTES + 8 * open.words, &bytes[..8 * key.words()]);
        open.words += key.words();
        open.seq
    }

    /// The number of the newest entry that has a key, written or not.
    pub fn newest(&self) -> u64 {
        let open = self.open.borrow();
        if open.words > 0 { open.seq } else { open.seq - 1 }
    }

    /// Whether all keys are durable.
    pub fn is_settled(&self) -> bool {
        self.newest() <= self.durable.get()
    }

    /// Waits until entries up to this one are durable.
    pub async fn commit(&self, set: &CacheSet, seq: u64) -> Result<(), SetError> {
        if seq > self.durable.get() {
            if !plant::is(Plant::LeftToTheTimer) {
                self.ask(seq);
            }
            self.changed
                .wait_for(waits::ENTRY, || self.durable.get() >= seq || set.failure().is_some())
                .await;
        }
        match self.durable.get() >= seq {
            true => Ok(()),
            false => Err(set.failure().expect("waited for")),
        }
    }

    /// Writes an entry that names the roots as they are now, with or without keys, and waits for it.
    pub async fn commit_roots(&self, set: &CacheSet) -> Result<(), SetError> {
        let seq = self.open.borrow().seq;
        self.commit(set, seq).await
    }

    fn ask(&self, seq: u64) {
        self.wanted.set(self.wanted.get().max(seq));
        self.changed.notify();
    }

    /// Entries from this one on are kept, whatever leaves say; `u64::MAX` ends it.
    pub fn keep_from(&self, seq: u64) {
        self.replaying.set(seq);
        self.changed.notify();
    }

    /// Entries older than this are to be let go of: leaves that keep them are written.
    pub fn let_go_before(&self) -> u64 {
        self.needed.get().max(self.ring.borrow().oldest_wanted())
    }

    /// Something was let go of, or went wrong: who waits looks again.
    pub fn look_again(&self) {
        self.changed.notify();
    }

    fn sectors(&self, words: usize) -> u64 {
        self.geometry.whole_blocks(HEADER_BYTES + 8 * words) as u64 / 512
    }

    /// The oldest entry that is needed if the one that is gathered is the newest.
    fn oldest_kept(&self, set: &CacheSet) -> u64 {
        let seq = self.open.borrow().seq;
        set.nodes.oldest_pin().unwrap_or(seq).min(self.replaying.get()).min(seq)
    }

    /// Whether the entry that is gathered can be written now. If not, what it waits for is known to whoever writes leaves.
    fn can_be_written(&self, set: &CacheSet) -> bool {
        let needed = self.ring.borrow().oldest_needed(self.sectors(self.open.borrow().words));
        let can = self.oldest_kept(set) >= needed;
        if !can && self.needed.replace(needed) != needed {
            set.nodes.changed.notify();
        }
        can
    }

    /// Takes the entry that was gathered; the next one is begun.
    fn close(&self) -> Open {
        let spare = self.spare.borrow_mut().take().expect("one entry is written at a time");
        let mut open = self.open.borrow_mut();
        let next = Open { seq: open.seq + 1, words: 0, buf: spare };
        let closed = std::mem::replace(&mut *open, next);
        drop(open);
        self.begin();
        self.changed.notify();
        closed
    }

    /// Makes an entry's bytes final, with the roots and the oldest needed entry as they are now; where it goes.
    fn seal(&self, set: &CacheSet, entry: &Open) -> (Place, Buf) {
        let mut last_seq = self.oldest_kept(set).min(entry.seq);
        if plant::is(Plant::JournalLetsGo) {
            last_seq = entry.seq;
        }
        let sectors = self.sectors(entry.words);
        let place = self.ring.borrow_mut().place(entry.seq, sectors, last_seq);
        let buf = entry.buf.slice(0, sectors as usize * 512);
        block::lend(&[], std::slice::from_ref(&buf), |_, bytes| {
            Jset::seal(bytes[0], entry.seq, last_seq, &set.roots(), entry.words)
                .expect("as long as an entry");
        });
        (place, buf)
    }

    async fn write(&self, set: &CacheSet, entry: &Open) -> Result<(), SetError> {
        if !plant::is(Plant::JournalBeforeFlush) {
            set.flush_data().await?;
        }
        if let Some(error) = set.failure() {
            return Err(error);
        }
        let (place, buf) = self.seal(set, entry);
        count(&set.engine().counters.other_sectors, buf.sectors().0);
        let bucket = self.geometry.journal_bucket(place.index);
        let sector = self.geometry.sector(bucket) + place.offset;
        let write = Request { priority: Priority::Urgent, ..Request::write(Sectors(sector), buf) };
        let failed = |failed: Failed| SetError::Device { what: "journal", sector, failed };
        let write = write.with_fua().from_origin(Origin::Metadata);
        set.counted(set.dev.start(write)).await.map_err(failed)
    }
}

/// Starts the writing of a set's journal.
pub(crate) fn start(set: &Rc<CacheSet>) {
    let writer = set.clone();
    let _running = spawn(async move { run(&writer).await });
    let timer = set.clone();
    let _running = spawn(async move { write_in_time(&timer).await });
}

/// Writes entries one after the other.
async fn run(set: &Rc<CacheSet>) {
    let journal = set.journal();
    let _doing = doing(waits::JOURNAL);
    loop {
        let is_asked = || journal.wanted.get() > journal.durable.get();
        journal.changed.wait_until(|| set.is_over() || is_asked()).await;
        let can_be = || set.is_over() || journal.can_be_written(set);
        journal.changed.wait_for(waits::OLD_ENTRIES, can_be).await;
        if set.is_over() {
            return;
        }
        if plant::is(Plant::JournalOnASharedQueue) {
            plant::worker().await;
        }
        let entry = journal.close();
        let written = journal.write(set, &entry).await;
        *journal.spare.borrow_mut() = Some(entry.buf);
        match written {
            Ok(()) => {
                journal.durable.set(entry.seq);
                journal.needed.set(0);
            }
            Err(error) => set.fail(error),
        }
        journal.changed.notify();
        set.nodes.changed.notify(); // more can be let go of
    }
}

/// Nobody waits for keys of writes that nobody flushes: they are written in time all the same.
async fn write_in_time(set: &Rc<CacheSet>) {
    let journal = set.journal();
    while !set.is_over() {
        sleep_ms(set.engine().tunables.journal_delay_ms.get().max(1)).await;
        if journal.open.borrow().words > 0 {
            journal.ask(journal.newest());
        }
    }
}
