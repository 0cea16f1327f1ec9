//! Nodes in memory: a fixed number of them, read when they are needed, given up when others are.
//!
//! Nobody keeps a node over a wait: who has waited looks for it again, from the root. So there is nothing to lock, and
//! nobody waits for a node while holding one.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

use bcache_format::limits::MOST_LEVELS;
use bcache_format::{BucketNo, Geometry, Key, Position};
use block::{Arena, Dev, Failed, Origin, Request, Sectors};
use runtime::Event;

use super::node::{Node, most_keys};
use crate::buckets::Buckets;
use crate::error::SetError;
use crate::limits::{LEAST_NODES, WAITERS};

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
    changed: Event,
    arena: Rc<Arena>,
}

struct Frame {
    state: State,
    /// Whether it was looked at since the hand came by.
    is_used: bool,
    node: Node,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Reading,
    Ready,
}

/// Where the keys of a place are.
enum Leaf {
    /// In this frame.
    Here(usize),
    /// In or below this node, which is to be read.
    Read { key: Key, level: u16 },
}

/// Memory that each node takes, about.
pub(crate) fn node_bytes(geometry: &Geometry) -> usize {
    most_keys(geometry) * size_of::<Key>()
}

impl Nodes {
    /// Room for nodes of about `bytes` in all.
    pub fn new(dev: Dev, geometry: Geometry, bytes: usize) -> Nodes {
        let count = (bytes / node_bytes(&geometry)).max(LEAST_NODES);
        let frame = || Frame { state: State::Empty, is_used: false, node: Node::room(&geometry) };
        let room = geometry.node_sectors() as usize * 512;
        Nodes {
            dev,
            geometry,
            frames: (0..count).map(|_| RefCell::new(frame())).collect(),
            of_bucket: (0..geometry.buckets).map(|_| Cell::new(NONE)).collect(),
            hand: Cell::new(0),
            changed: Event::with_capacity(WAITERS),
            arena: Arena::new(2 * room.next_power_of_two()),
        }
    }

    /// The leaf in which `at` lies, below the root of this level.
    pub async fn leaf(
        &self,
        root: (Key, u16),
        buckets: &RefCell<Buckets>,
        at: Position,
    ) -> Result<Ref<'_, Node>, SetError> {
        loop {
            match self.find(root, buckets, at)? {
                Leaf::Here(frame) => return Ok(Ref::map(self.frames[frame].borrow(), |frame| &frame.node)),
                Leaf::Read { key, level } => self.load(key, level, buckets).await?,
            }
        }
    }

    /// Goes down from the root as far as nodes are in memory.
    fn find(&self, root: (Key, u16), buckets: &RefCell<Buckets>, at: Position) -> Result<Leaf, SetError> {
        let (mut key, mut level) = root;
        if level >= MOST_LEVELS {
            return Err(SetError::TooDeep { found: level + 1, most: MOST_LEVELS });
        }
        loop {
            let place = self.of_bucket[self.bucket(&key).0 as usize].get();
            let Some(cell) = self.frames.get(place as usize) else { return Ok(Leaf::Read { key, level }) };
            let mut frame = cell.borrow_mut();
            if frame.state != State::Ready {
                return Ok(Leaf::Read { key, level });
            }
            frame.is_used = true;
            if (frame.node.key, frame.node.level) != (key, level) {
                return Err(SetError::NodeTwice { first: frame.node.key, second: key });
            }
            if level == 0 {
                return Ok(Leaf::Here(place as usize));
            }
            let fresh = |key: &Key| key.pointer().is_some_and(|pointer| buckets.borrow().is_fresh(pointer));
            let below = frame.node.child(at, fresh);
            key = below.ok_or(SetError::NoNode { at, parent: key })?;
            level -= 1;
        }
    }

    /// Reads a node, or waits for whoever does.
    async fn load(&self, key: Key, level: u16, buckets: &RefCell<Buckets>) -> Result<(), SetError> {
        let place = &self.of_bucket[self.bucket(&key).0 as usize];
        if place.get() != NONE {
            self.changed.wait_until(|| !self.is_reading(place.get())).await;
            return Ok(());
        }
        let mut free = None;
        self.changed
            .wait_until(|| {
                free = self.take_frame();
                free.is_some()
            })
            .await;
        let frame = free.expect("waited for");
        if place.get() != NONE {
            return Ok(()); // somebody else reads it meanwhile; the frame was only looked for
        }
        place.set(frame as u32);
        self.frames[frame].borrow_mut().state = State::Reading;
        let read = self.read(frame, key, level, buckets).await;
        let state = if read.is_ok() { State::Ready } else { State::Empty };
        self.frames[frame].borrow_mut().state = state;
        if read.is_err() {
            place.set(NONE);
        }
        self.changed.notify();
        read
    }

    fn is_reading(&self, frame: u32) -> bool {
        self.frames.get(frame as usize).is_some_and(|frame| frame.borrow().state == State::Reading)
    }

    /// A frame that nobody needs: empty, or not looked at since the hand came by last.
    fn take_frame(&self) -> Option<usize> {
        for _ in 0..2 * self.frames.len() {
            let at = self.hand.get();
            self.hand.set((at + 1) % self.frames.len());
            let Ok(mut frame) = self.frames[at].try_borrow_mut() else { continue };
            match frame.state {
                State::Empty => return Some(at),
                State::Reading => {}
                State::Ready if frame.is_used => frame.is_used = false,
                State::Ready => {
                    frame.state = State::Empty;
                    self.of_bucket[self.bucket(&frame.node.key).0 as usize].set(NONE);
                    return Some(at);
                }
            }
        }
        None
    }

    async fn read(
        &self,
        frame: usize,
        key: Key,
        level: u16,
        buckets: &RefCell<Buckets>,
    ) -> Result<(), SetError> {
        let sector = key.pointer().map_or(0, |pointer| pointer.sector());
        let buf = self.arena.wait_take(key.sectors() as usize * 512).await;
        let read = Request::read(Sectors(sector), buf.clone()).from_origin(Origin::Metadata);
        let failed = |failed: Failed| SetError::Device { what: "node", sector, failed };
        self.dev.start(read).await.map_err(failed)?;
        let mut frame = self.frames[frame].borrow_mut();
        let mut buckets = buckets.borrow_mut();
        let seen = |key: &Key| key.pointer().into_iter().for_each(|pointer| buckets.learn(pointer));
        let outcome =
            block::lend(&[buf], &[], |bytes, _| frame.node.read(bytes[0], &self.geometry, key, level, seen));
        outcome.map(drop).map_err(|error| SetError::Node { key, level, error })
    }

    fn bucket(&self, key: &Key) -> BucketNo {
        key.pointer().expect("a node has a place").bucket(self.geometry.bucket_sectors)
    }
}
