//! What carrying out a group of writes, or a recovery, needs: memory for a window of every member, and lists. Made at
//! the start and handed around.

use std::cell::RefCell;
use std::rc::Rc;

use block::{Arena, Buf, Cause, Failed, MAX_BUFFER, Outcome, Request, Sectors, Ticket};
use runtime::Event;
use runtime::rank::{Holding, Rank};

use super::cut::Segment;
use super::group::{Part, PartId};
use super::map::Map;
use super::slots::Slots;
use crate::array::Array;
use crate::limits::{JOURNAL_WRITTEN_OUT, PARITY_WINDOW, SLOTS};

/// Requests under way for each slot; half of them are for members that are to replace others.
const TICKETS: usize = 8;

/// A request under way.
struct UnderWay {
    slot: u16,
    /// The member's place.
    at: usize,
    ticket: Ticket,
    /// What is written, if anything is.
    write: Option<Request>,
}

/// A write that a member did not take.
pub(super) struct Refused {
    pub slot: u16,
    /// The member's place.
    pub at: usize,
    pub write: Request,
    pub failed: Failed,
}

/// Memory and lists of one piece of work on one stripe.
pub(crate) struct Work {
    arena: Rc<Arena>,
    /// A window of each slot.
    pub blocks: Vec<Buf>,
    /// A block of each slot of an array with a journal, for new content that is old in part.
    pub fresh: Vec<Buf>,
    /// Requests under way.
    tickets: Vec<UnderWay>,
    /// Writes that members did not take: lent to whoever settles them, and given back.
    pub refused: Vec<Refused>,
    /// The parts of the group.
    pub parts: Vec<(PartId, Part)>,
    /// What is written out before the group, or beside it.
    pub out: Lists,
    /// What came of each of them.
    pub outcomes: Vec<Outcome>,
    /// For cutting.
    pub cuts: Vec<u64>,
    /// What the group was cut into.
    pub segments: Vec<Segment>,
    /// The same, cut so that a log can tell it.
    pub split: Vec<Segment>,
    /// Rows that are made whole: lent to them, and given back.
    pub rows: Vec<Buf>,
    /// Buffers that arithmetic reads.
    pub sources: Vec<Buf>,
    /// The indices that go with them.
    pub indices: Vec<u8>,
    /// Buffers that arithmetic writes.
    pub targets: Vec<Buf>,
}

/// What blocks that a journal has are listed in while they are written out.
#[derive(Default)]
pub(crate) struct Lists {
    pub parts: Vec<(PartId, Part)>,
    pub cuts: Vec<u64>,
    pub segments: Vec<Segment>,
}

impl Lists {
    /// With room for so many blocks.
    pub fn new(map: &Map, window: Sectors, blocks: usize) -> Lists {
        let cuts = 4 * blocks + (map.chunk().0 / window.0) as usize + 1;
        Lists {
            parts: Vec::with_capacity(blocks),
            cuts: Vec::with_capacity(cuts),
            segments: Vec::with_capacity(cuts),
        }
    }
}

impl Work {
    fn new(map: &Map, arena: &Rc<Arena>, window: Sectors) -> Work {
        let slots = usize::from(map.slots());
        let take = |_| arena.take(window.byte_len()).expect("the arena was made for this");
        Work {
            arena: arena.clone(),
            blocks: (0..slots).map(take).collect(),
            fresh: Vec::new(),
            tickets: Vec::with_capacity(TICKETS * slots),
            refused: Vec::with_capacity(TICKETS * slots),
            parts: Vec::with_capacity(2 * SLOTS),
            out: Lists::default(),
            outcomes: Vec::with_capacity(2 * SLOTS),
            cuts: Vec::with_capacity(8 * SLOTS + (map.chunk().0 / window.0) as usize + 1),
            segments: Vec::with_capacity(8 * SLOTS + (map.chunk().0 / window.0) as usize + 1),
            split: Vec::with_capacity(8 * SLOTS + (map.chunk().0 / window.0) as usize + 1),
            rows: Vec::with_capacity(slots),
            sources: Vec::with_capacity(2 * slots),
            indices: Vec::with_capacity(2 * slots),
            targets: Vec::with_capacity(slots),
        }
    }

    /// Lets go of a slot's block, into which a late answer may still come: the driver has it until then.
    fn replace(&mut self, slot: u16) {
        let bytes = self.blocks[usize::from(slot)].len();
        let fresh = self.arena.take(bytes);
        // A member that does not answer gets no more requests, so there is a block left for each it still has, unless
        // several members hang at once: then memory is taken in the middle of it.
        let fresh = fresh.or_else(|| Arena::new(bytes).take(bytes));
        self.blocks[usize::from(slot)] = fresh.expect("an arena has room for what it was made for");
    }

    /// A read from a member is under way.
    pub fn push(&mut self, slot: u16, member: usize, ticket: Ticket) {
        self.tickets.push(UnderWay { slot, at: member, ticket, write: None });
    }

    /// Starts a write to the member in place `at`. What comes of it says [`super::settle::settle_writes`].
    pub fn write(&mut self, array: &Array, slot: u16, at: usize, write: Request) {
        let ticket = array.members[at].dev.start(array.to_member(write.clone()));
        self.tickets.push(UnderWay { slot, at, ticket, write: Some(write) });
    }

    /// Whether there is no room for a request to every member of a stripe, and its replacement.
    pub fn is_nearly_full(&self) -> bool {
        self.tickets.len() + 2 * self.blocks.len() > self.tickets.capacity()
    }

    /// Whether anything is under way.
    pub fn is_busy(&self) -> bool {
        !self.tickets.is_empty()
    }

    /// Waits for all reads under way. `failed` is told of each that failed: the slot, the member's place, and how; the slots
    /// concerned come back.
    pub async fn settle(&mut self, mut failed: impl FnMut(u16, usize, Failed)) -> Slots {
        let mut slots = Slots::NONE;
        while let Some(UnderWay { slot, at, ticket, write }) = self.tickets.pop() {
            debug_assert!(write.is_none(), "writes are settled by themselves");
            if let Err(failure) = ticket.await {
                slots.add(slot);
                if failure.cause == Cause::Timeout {
                    self.replace(slot);
                }
                failed(slot, at, failure);
            }
        }
        slots
    }

    /// Waits for all writes under way: `done` is told of each that a member took, those that it did not are `refused`.
    pub async fn await_writes(&mut self, mut done: impl FnMut(usize, &Request)) {
        while let Some(UnderWay { slot, at, ticket, write }) = self.tickets.pop() {
            let write = write.expect("reads are settled by themselves");
            match ticket.await {
                Ok(()) => done(at, &write),
                Err(failed) => {
                    if failed.cause == Cause::Timeout {
                        self.replace(slot);
                    }
                    self.refused.push(Refused { slot, at, write, failed });
                }
            }
        }
    }
}

/// The works of an array.
pub(crate) struct Works {
    free: RefCell<Vec<Work>>,
    returned: Event,
    rank: Rank,
    window: Sectors,
}

impl Works {
    /// Makes so many; waiting for one has this rank.
    pub fn new(map: &Map, count: usize, rank: Rank) -> Works {
        let window = window(map);
        // One block more than there are slots: for a member that does not answer.
        let each = window.byte_len().next_power_of_two().max(4096) * (usize::from(map.slots()) + 1);
        block::reserve(count * TICKETS * usize::from(map.slots()));
        let arena = Arena::new(count * each);
        Works {
            free: RefCell::new((0..count).map(|_| Work::new(map, &arena, window)).collect()),
            returned: Event::with_capacity(2 * SLOTS),
            rank,
            window,
        }
    }

    /// Gives every work a block of each of so many slots.
    pub fn add_fresh(&self, slots: u16, bytes: usize) {
        let mut free = self.free.borrow_mut();
        let arena = Arena::new(free.len() * usize::from(slots) * bytes);
        let take = |_| arena.take(bytes).expect("the arena was made for this");
        free.iter_mut().for_each(|work| work.fresh = (0..slots).map(take).collect());
    }

    /// Gives every work what it needs to write out what a journal has.
    pub fn add_lists(&self, map: &Map) {
        let blocks = JOURNAL_WRITTEN_OUT + usize::from(map.slots());
        self.free.borrow_mut().iter_mut().for_each(|work| work.out = Lists::new(map, self.window, blocks));
    }

    /// Rows that are worked on at a time.
    pub fn window(&self) -> Sectors {
        self.window
    }

    /// Waits for one that is free.
    pub async fn take(&self) -> Taken<'_> {
        self.rank.wait();
        self.returned.wait_until(|| !self.free.borrow().is_empty()).await;
        let work = self.free.borrow_mut().pop();
        Taken { works: self, work, _holding: self.rank.hold() }
    }
}

/// Rows of a window: all of a chunk where memory allows it, so that what is computed is still in the cache.
fn window(map: &Map) -> Sectors {
    let most = (MAX_BUFFER / usize::from(map.slots())).next_power_of_two() / 2;
    let bytes = PARITY_WINDOW.min(most).max(4096) as u64;
    Sectors::from_bytes(bytes).min(map.chunk())
}

/// A work that is in use; it is free again when this is dropped.
pub(crate) struct Taken<'a> {
    works: &'a Works,
    work: Option<Work>,
    _holding: Holding,
}

impl std::ops::Deref for Taken<'_> {
    type Target = Work;
    fn deref(&self) -> &Work {
        self.work.as_ref().expect("held until dropped")
    }
}

impl std::ops::DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Work {
        self.work.as_mut().expect("held until dropped")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut work = self.work.take().expect("held until dropped");
        if !work.tickets.is_empty() {
            return; // the world ends in the middle of it: the memory is still in flight
        }
        work.parts.clear();
        work.sources.clear();
        work.targets.clear();
        self.works.free.borrow_mut().push(work);
        self.works.returned.notify();
    }
}
