//! Nodes in memory: a fixed number of them, read when they are needed, given up when others are.
//!
//! Nobody keeps a node over a wait: who has waited looks for it again, from the root. So there is nothing to lock, and
//! nobody waits for a node while holding one. A node is not given up while it has something that is not on disk, or while
//! somebody who changes the tree holds it.

pub(crate) mod frame;

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

use bcache_format::jset::Roots;
use bcache_format::limits::MOST_LEVELS;
use bcache_format::{BucketNo, Geometry, Key, Position};
use block::{Arena, Buf, Dev, Failed, Origin, Request, Sectors, Ticket};
use runtime::Event;

use super::node::{Node, most_keys};
use crate::buckets::Buckets;
use crate::error::SetError;
use crate::limits::{LEAST_NODES, WAITERS};
use crate::waits;

pub(crate) use frame::{Frame, State};

/// Nodes of the longest path.
const PATH: usize = MOST_LEVELS as usize + 1;

/// No node.
const NONE: u32 = u32::MAX;

/// The nodes of a tree that are in memory.
pub(crate) struct Nodes {
    dev: Dev,
    geometry: Geometry,
    frames: Box<[RefCell<Frame>]>,
    /// Which frame has the node of a bucket.
    of_bucket: Box<[Cell<u32>]>,
    /// Where the next frame to be given up is looked for.
    hand: Cell<usize>,
    /// Whether somebody wants a frame, and too many have something that is not on disk.
    is_short: Cell<bool>,
    failure: Cell<Option<SetError>>,
    /// A frame is read, written, free, or taken back from whoever changed the tree.
    pub changed: Event,
    arena: Rc<Arena>,
}

/// Where the node of a place is.
enum Place {
    /// In this frame.
    Here(usize),
    /// In or below this node, which is to be read.
    Read { key: Key, level: u16 },
}

/// A node that is being read.
pub(crate) struct Reading {
    frame: usize,
    key: Key,
    level: u16,
    buf: Buf,
    ticket: Ticket,
}

/// What came of reading a node ahead.
pub(crate) enum Ahead {
    /// It is being read.
    Reading(Reading),
    /// It is known already.
    Known,
    /// There is no frame for it now, or no buffer.
    NoRoom,
}

/// Memory that each node takes, about.
pub(crate) fn node_bytes(geometry: &Geometry) -> usize {
    most_keys(geometry) * size_of::<Key>()
}

impl Nodes {
    /// Room for nodes of about `bytes` in all, each of which has up to `open_keys` that are not on disk.
    pub fn new(dev: Dev, geometry: Geometry, bytes: usize, open_keys: usize) -> Nodes {
        let count = (bytes / node_bytes(&geometry)).max(LEAST_NODES);
        let room = geometry.node_sectors() as usize * 512;
        Nodes {
            dev,
            geometry,
            frames: (0..count).map(|_| RefCell::new(Frame::new(Node::room(&geometry, open_keys)))).collect(),
            of_bucket: (0..geometry.buckets).map(|_| Cell::new(NONE)).collect(),
            hand: Cell::new(0),
            is_short: Cell::new(false),
            failure: Cell::new(None),
            changed: Event::with_capacity(WAITERS),
            arena: Arena::new(2 * room.next_power_of_two()),
        }
    }

    /// The leaf in which `at` lies.
    pub async fn leaf(
        &self,
        roots: &Cell<Roots>,
        buckets: &RefCell<Buckets>,
        at: Position,
    ) -> Result<Ref<'_, Node>, SetError> {
        let frame = self.place(roots, buckets, at, 0).await?;
        Ok(Ref::map(self.frames[frame].borrow(), |frame| &frame.node))
    }

    /// The frame of the node of a level in which `at` lies. It is right until the next wait.
    ///
    /// Who has waited looks again from the root, which may be another one: a node that was replaced meanwhile is not one of the
    /// tree any more, its bucket may have another one, and neither is read nor known here.
    pub async fn place(
        &self,
        roots: &Cell<Roots>,
        buckets: &RefCell<Buckets>,
        at: Position,
        level: u16,
    ) -> Result<usize, SetError> {
        loop {
            let (key, found) = match self.find(roots, buckets, at, level)? {
                Place::Here(frame) => return Ok(frame),
                Place::Read { key, level } => (key, level),
            };
            let place = self.place_of(&key);
            if place.get() != NONE {
                self.changed.wait_until(|| !self.is_reading(place.get())).await;
                continue;
            }
            let frame = self.wait_frame().await?;
            match self.find(roots, buckets, at, level) {
                Ok(Place::Read { key: again, .. }) if again == key && place.get() == NONE => {
                    self.load(frame, key, found, buckets).await?;
                }
                _ => self.give_back(frame), // it is known by now, or is not to be
            }
        }
    }

    /// One of the frames.
    pub fn frame(&self, at: usize) -> &RefCell<Frame> {
        &self.frames[at]
    }

    /// How many frames there are.
    pub fn count(&self) -> usize {
        self.frames.len()
    }

    /// Goes down from the root as far as nodes are in memory.
    fn find(
        &self,
        roots: &Cell<Roots>,
        buckets: &RefCell<Buckets>,
        at: Position,
        to: u16,
    ) -> Result<Place, SetError> {
        let Roots { root: mut key, mut level, .. } = roots.get();
        if level >= MOST_LEVELS {
            return Err(SetError::TooDeep { found: level + 1, most: MOST_LEVELS });
        }
        loop {
            let place = self.place_of(&key).get();
            let Some(cell) = self.frames.get(place as usize) else { return Ok(Place::Read { key, level }) };
            let mut frame = cell.borrow_mut();
            if frame.state != State::Ready {
                return Ok(Place::Read { key, level });
            }
            frame.is_used = true;
            if (frame.node.key, frame.node.level) != (key, level) {
                return Err(SetError::NodeTwice { first: frame.node.key, second: key });
            }
            if level <= to {
                return Ok(Place::Here(place as usize));
            }
            let fresh = |key: &Key| key.pointer().is_some_and(|pointer| buckets.borrow().is_fresh(pointer));
            let below = frame.node.child(at, fresh);
            key = below.ok_or(SetError::NoNode { at, parent: key })?;
            level -= 1;
        }
    }

    /// Reads a node into a frame of one's own.
    async fn load(
        &self,
        frame: usize,
        key: Key,
        level: u16,
        buckets: &RefCell<Buckets>,
    ) -> Result<(), SetError> {
        self.place_of(&key).set(frame as u32);
        let buf = self.arena.wait_take(key.sectors() as usize * 512).await;
        self.end_read(self.begin_read(frame, key, level, buf), buckets).await.map(drop)
    }

    /// Begins to read a node that somebody will ask for, if it is not there and a frame can be had at once; through a buffer of
    /// `arena`.
    pub fn read_ahead(&self, key: Key, level: u16, arena: &Rc<Arena>) -> Ahead {
        if self.place_of(&key).get() != NONE {
            return Ahead::Known;
        }
        let Some(buf) = arena.take(key.sectors() as usize * 512) else { return Ahead::NoRoom };
        match self.take_frame() {
            Some(frame) => Ahead::Reading(self.begin_read(frame, key, level, buf)),
            None => Ahead::NoRoom,
        }
    }

    /// The frame of a node of a tree that nobody changes, and of which nobody else reads anything. It is right until the next
    /// wait.
    pub async fn known(&self, key: Key, level: u16, buckets: &RefCell<Buckets>) -> Result<usize, SetError> {
        let place = self.place_of(&key).get();
        let Some(cell) = self.frames.get(place as usize) else {
            let frame = self.wait_frame().await?;
            return self.load(frame, key, level, buckets).await.map(|()| frame);
        };
        let mut frame = cell.borrow_mut();
        frame.is_used = true;
        match (frame.state, frame.node.key, frame.node.level) {
            (State::Ready, found, of) if (found, of) == (key, level) => Ok(place as usize),
            (State::Ready, first, _) => Err(SetError::NodeTwice { first, second: key }),
            _ => Err(SetError::NodeTwice { first: key, second: key }), // it is read for another key
        }
    }

    fn begin_read(&self, frame: usize, key: Key, level: u16, buf: Buf) -> Reading {
        self.place_of(&key).set(frame as u32);
        let sector = key.pointer().map_or(0, |pointer| pointer.sector());
        let read = Request::read(Sectors(sector), buf.clone()).from_origin(Origin::Metadata);
        Reading { frame, key, level, buf, ticket: self.dev.start(read) }
    }

    /// Waits until a node is read; its frame.
    pub async fn end_read(&self, reading: Reading, buckets: &RefCell<Buckets>) -> Result<usize, SetError> {
        let Reading { frame, key, level, buf, ticket } = reading;
        let sector = key.pointer().map_or(0, |pointer| pointer.sector());
        let failed = |failed: Failed| SetError::Device { what: "node", sector, failed };
        let read = ticket.await.map_err(failed).and_then(|()| self.take(frame, key, level, buf, buckets));
        let state = if read.is_ok() { State::Ready } else { State::Empty };
        self.frames[frame].borrow_mut().state = state;
        if read.is_err() {
            self.place_of(&key).set(NONE);
        }
        self.changed.notify();
        read.map(|()| frame)
    }

    /// Takes what was read as the node of a frame.
    fn take(
        &self,
        frame: usize,
        key: Key,
        level: u16,
        buf: Buf,
        buckets: &RefCell<Buckets>,
    ) -> Result<(), SetError> {
        let mut frame = self.frames[frame].borrow_mut();
        let mut buckets = buckets.borrow_mut();
        let seen = |key: &Key| {
            if let Some(pointer) = key.pointer() {
                buckets.learn(pointer);
            }
        };
        let outcome =
            block::lend(&[buf], &[], |bytes, _| frame.node.read(bytes[0], &self.geometry, key, level, seen));
        outcome.map(drop).map_err(|error| SetError::Node { key, level, error })
    }

    fn is_reading(&self, frame: u32) -> bool {
        self.frames.get(frame as usize).is_some_and(|frame| frame.borrow().state == State::Reading)
    }

    /// Nothing is written any more: who waits for a frame would wait for ever.
    pub fn fail(&self, error: SetError) {
        self.failure.set(Some(error));
        self.changed.notify();
    }

    /// A frame of one's own, for a node that is read or made.
    pub async fn wait_frame(&self) -> Result<usize, SetError> {
        let mut free = None;
        self.changed
            .wait_for(waits::FRAME, || {
                free = self.take_frame();
                if !self.has_a_path() && !self.is_short.replace(true) {
                    self.changed.notify(); // whoever writes nodes looks again
                }
                free.is_some() || self.failure.get().is_some()
            })
            .await;
        free.ok_or_else(|| self.failure.get().expect("waited for"))
    }

    /// Whether as many frames could be had as a path through the tree takes: whoever goes down it with fewer gives up the upper
    /// nodes for the lower ones, and begins again, for ever.
    fn has_a_path(&self) -> bool {
        let can_be_had = |frame: &&RefCell<Frame>| frame.try_borrow().is_ok_and(|frame| frame.can_be_had());
        self.frames.iter().filter(can_be_had).take(PATH).count() == PATH
    }

    /// A frame that nobody needs: empty, or not looked at since the hand came by last.
    fn take_frame(&self) -> Option<usize> {
        for _ in 0..2 * self.frames.len() {
            let at = self.hand.get();
            self.hand.set((at + 1) % self.frames.len());
            let Ok(mut frame) = self.frames[at].try_borrow_mut() else { continue };
            if !frame.can_be_had() {
                continue;
            }
            if frame.state == State::Ready {
                if std::mem::take(&mut frame.is_used) {
                    continue;
                }
                self.place_of(&frame.node.key).set(NONE);
            }
            frame.begin_reading();
            return Some(at);
        }
        None
    }

    /// A frame that nothing was put into, or whose node is not one of the tree any more, is anybody's.
    pub fn give_back(&self, frame: usize) {
        self.frames[frame].borrow_mut().clear();
        self.changed.notify();
    }

    /// The node that was made in a frame is one of the tree.
    pub fn settle(&self, frame: usize) {
        let mut borrowed = self.frames[frame].borrow_mut();
        borrowed.state = State::Ready;
        let before = self.place_of(&borrowed.node.key).replace(frame as u32);
        assert_eq!(before, NONE, "a bucket has one node, and that is known once");
    }

    /// The node in a frame is not one of the tree any more.
    pub fn forget(&self, frame: usize) {
        self.place_of(&self.frames[frame].borrow().node.key).set(NONE);
        self.give_back(frame);
    }

    /// The oldest journal entry that has something which is in a node and not on disk.
    pub fn oldest_pin(&self) -> Option<u64> {
        self.frames.iter().filter_map(|frame| frame.borrow().oldest_pin()).min()
    }

    /// A leaf that is to be written next, if any is to be: one that keeps an entry older than `before`, or, if somebody
    /// waits for a frame, any that has something to write.
    pub fn next_to_write(&self, before: u64) -> Option<usize> {
        let before = if self.is_short.get() { u64::MAX } else { before };
        let pins = self.frames.iter().map(|frame| frame.borrow().pin_to_write()).enumerate();
        let oldest = pins.filter_map(|(at, pin)| Some((pin?, at))).min()?;
        (oldest.0 < before).then_some(oldest.1)
    }

    /// Something was written: who waits for a frame may look again.
    pub fn written(&self) {
        self.is_short.set(false);
        self.changed.notify();
    }

    /// Which frame has the node that a key names.
    fn place_of(&self, key: &Key) -> &Cell<u32> {
        &self.of_bucket[self.bucket(key).0 as usize]
    }

    fn bucket(&self, key: &Key) -> BucketNo {
        key.pointer().expect("a node has a place").bucket(self.geometry.bucket_sectors)
    }
}
