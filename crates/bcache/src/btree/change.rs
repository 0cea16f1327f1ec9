//! The tree changes its nodes: a full one is replaced by one or two that are not, two that hold little by one (`join.rs`).
//!
//! One change at a time. It owns the buckets and the frames that the worst case takes before it begins; then it goes up from
//! what is to be replaced. New nodes are durable before anything names them. What names them is one set of keys at the end of the log of a
//! node that has room for it, or, where all nodes up to the root are replaced, the next entry of the journal. Until then the
//! old nodes are those of the tree: a leaf whose keys are going elsewhere takes no keys meanwhile, is read as before, and can
//! be written, so that the journal can let go of what it keeps.
//!
//! The node that names the new ones also gets a key at 0:0 for each old one, with the next generation of its bucket, as a
//! kernel leaves it. That alone makes stale what named the left one of two that are joined: no new key ends where it does.

use std::ops::Range;

use bcache_format::jset::Roots;
use bcache_format::limits::MOST_LEVELS;
use bcache_format::{BucketNo, Geometry, Key, Pointer, Position};
use runtime::random;
use runtime::waits::doing;

use super::log;
use super::node::{most_keys, new_keys};
use crate::buckets::{Buckets, Purpose};
use crate::error::SetError;
use crate::plant::{self, Plant};
use crate::set::CacheSet;
use crate::waits;

/// Nodes that one node is replaced by at most.
const PIECES: usize = 2;

/// What a change owns, and what it has made. The memory is taken when the set is started, and lent to each in turn.
pub(crate) struct Change {
    buckets: Vec<BucketNo>,
    frames: Vec<usize>,
    /// Frames from the node that is replaced up to the root.
    path: Vec<usize>,
    /// The one behind the first of them, which is replaced together with it.
    neighbour: Option<usize>,
    /// Keys of a node that is replaced.
    keys: Vec<Key>,
    /// Keys that name what it is replaced by, and the same of the level below.
    named: Vec<Key>,
    below: Vec<Key>,
    /// Frames of new nodes.
    made: Vec<usize>,
    /// Frames of nodes that are replaced, and their buckets.
    replaced: Vec<usize>,
    old: Vec<BucketNo>,
}

impl Change {
    /// Memory for any change of the tree of a cache of this shape.
    pub fn new(geometry: &Geometry) -> Change {
        let levels = usize::from(MOST_LEVELS) + 1;
        let most = PIECES * levels + 1;
        Change {
            buckets: Vec::with_capacity(most),
            frames: Vec::with_capacity(most),
            path: Vec::with_capacity(levels),
            neighbour: None,
            keys: Vec::with_capacity(most_keys(geometry) + PIECES),
            named: Vec::with_capacity(PIECES + levels + 1),
            below: Vec::with_capacity(PIECES + levels + 1),
            made: Vec::with_capacity(most),
            replaced: Vec::with_capacity(levels + 1),
            old: Vec::with_capacity(levels + 1),
        }
    }
}

impl CacheSet {
    /// Replaces the leaf in which `at` lies, if its log is full, and what is above it as far as needed.
    pub(crate) async fn make_room(&self, at: Position) -> Result<(), SetError> {
        let engine = self.engine();
        engine.changing.wait_for(waits::TURN, || !engine.is_changing.replace(true)).await;
        let _doing = doing(waits::CHANGE);
        let made = self.make_room_alone(at).await;
        self.end_change();
        made
    }

    /// Somebody else may change the tree.
    pub(super) fn end_change(&self) {
        self.engine().is_changing.set(false);
        self.engine().changing.notify();
    }

    async fn make_room_alone(&self, at: Position) -> Result<(), SetError> {
        let leaf = self.nodes.place(&self.roots, &self.buckets, at, 0).await?;
        if self.nodes.frame(leaf).borrow().node.has_room_for_some(&self.geometry) {
            return Ok(()); // somebody else has made it meanwhile
        }
        let mut change = self.engine().change.take().expect("one change at a time");
        let changed = self.carry_out(&mut change, at).await;
        self.give_back(&mut change);
        self.engine().change.replace(Some(change));
        changed.inspect_err(|error| self.fail(*error))
    }

    async fn carry_out(&self, change: &mut Change, at: Position) -> Result<(), SetError> {
        if plant::is(Plant::LeafHeldForBuckets) {
            self.hold_path(change, at, 0).await?;
            self.nodes.frame(change.path[0]).borrow_mut().is_frozen = true;
        }
        while change.buckets.len() < self.most_new_nodes() {
            change.buckets.push(self.wait_bucket(Purpose::Nodes).await?);
        }
        self.own_frames(change).await?;
        if change.path.is_empty() {
            self.hold_path(change, at, 0).await?;
        }
        self.replace_path(change).await
    }

    /// Nodes that a change can make: as many buckets and frames it owns before it begins.
    fn most_new_nodes(&self) -> usize {
        PIECES * (usize::from(self.root().1) + 1) + 1
    }

    async fn own_frames(&self, change: &mut Change) -> Result<(), SetError> {
        while change.frames.len() < self.most_new_nodes() {
            change.frames.push(self.nodes.wait_frame().await?);
        }
        Ok(())
    }

    /// Replaces the node of a level in which `at` lies and the one behind it by one, if `are_few` says so of how many keys
    /// both have when nobody lays keys into them any more. Whether it did: it waits neither for another change nor for
    /// buckets.
    pub(super) async fn join_with_next(
        &self,
        change: &mut Change,
        at: Position,
        level: u16,
        are_few: impl Fn(usize) -> bool,
    ) -> Result<bool, SetError> {
        for _ in 0..self.most_new_nodes() {
            match self.try_bucket(Purpose::Nodes) {
                Some(bucket) => change.buckets.push(bucket),
                None => return Ok(false),
            }
        }
        self.own_frames(change).await?;
        self.hold_path(change, at, level).await?;
        let (end, end_above) =
            (self.end_of(change.path[0]), change.path.get(1).map(|above| self.end_of(*above)));
        if end_above.is_none_or(|end_above| end >= end_above) {
            return Ok(false);
        }
        let neighbour = self.nodes.place(&self.roots, &self.buckets, end, level).await?;
        self.nodes.frame(neighbour).borrow_mut().is_held = true;
        change.neighbour = Some(neighbour);
        if !are_few(self.live_keys(change.path[0]) + self.live_keys(neighbour)) {
            return Ok(false);
        }
        self.replace_path(change).await.map(|()| true)
    }

    /// Where the node in a frame ends.
    pub(super) fn end_of(&self, frame: usize) -> Position {
        self.nodes.frame(frame).borrow().node.key.end()
    }

    /// Keys of the node in a frame that count.
    pub(super) fn live_keys(&self, frame: usize) -> usize {
        let frame = self.nodes.frame(frame).borrow();
        let buckets = self.buckets.borrow();
        frame.node.keys.keys().iter().filter(|key| counts(&buckets, frame.node.level, key)).count()
    }

    /// What was not used goes back, and what was held is anybody's.
    pub(super) fn give_back(&self, change: &mut Change) {
        for frame in change.path.drain(..).chain(change.neighbour.take()) {
            let mut frame = self.nodes.frame(frame).borrow_mut();
            (frame.is_held, frame.is_frozen) = (false, false);
        }
        change.buckets.drain(..).for_each(|bucket| self.buckets.borrow_mut().put_free(bucket));
        change.frames.drain(..).for_each(|frame| self.nodes.give_back(frame));
        self.nodes.changed.notify();
        self.engine().allocator.changed.notify();
    }

    /// Holds the frames from that of a level up to the root.
    async fn hold_path(&self, change: &mut Change, at: Position, level: u16) -> Result<(), SetError> {
        for level in (level..=self.root().1).rev() {
            let frame = self.nodes.place(&self.roots, &self.buckets, at, level).await?;
            self.nodes.frame(frame).borrow_mut().is_held = true;
            change.path.push(frame);
        }
        change.path.reverse();
        Ok(())
    }

    async fn replace_path(&self, change: &mut Change) -> Result<(), SetError> {
        for frame in change.path.first().into_iter().chain(&change.neighbour) {
            self.nodes.frame(*frame).borrow_mut().is_frozen = true;
        }
        let lowest = self.nodes.frame(change.path[0]).borrow().node.level;
        change.named.clear();
        for (step, level) in (0..change.path.len()).zip(lowest..) {
            let frame = change.path[step];
            if step > 0 && self.has_room_above(frame, change.named.len() + change.replaced.len()) {
                self.name_in(change, frame).await?;
                self.switch(change).await;
                self.retire(&change.old, Buckets::retire);
                return Ok(());
            }
            self.gather_keys(change, frame);
            change.replaced.push(frame);
            let mut end = self.end_of(frame);
            if let Some(neighbour) = change.neighbour.filter(|_| step == 0) {
                self.add_keys(change, neighbour);
                change.replaced.push(neighbour);
                end = self.end_of(neighbour);
            }
            self.make_nodes(change, level, end).await?;
        }
        if change.named.len() > 1 {
            change.keys.clone_from(&change.named);
            self.make_nodes(change, lowest + change.path.len() as u16, Position::MAX).await?;
        }
        let root = change.named[0];
        let level = self.nodes.frame(change.made[change.made.len() - 1]).borrow().node.level;
        self.roots.set(Roots { root, level, ..self.roots() });
        self.switch(change).await;
        self.name_root(&change.old).await
    }

    /// Has the journal name the new root, or, while it is replayed, leaves that for the end.
    async fn name_root(&self, old: &[BucketNo]) -> Result<(), SetError> {
        let defers = !plant::is(Plant::RootsWhileReplaying);
        if let Some(deferred) = self.engine().deferred.borrow_mut().as_mut().filter(|_| defers) {
            deferred.extend(old);
            return Ok(());
        }
        self.engine().journal.commit_roots(self).await?;
        self.retire(old, Buckets::next_life);
        Ok(())
    }

    /// Whether so many keys fit behind a node's others.
    fn has_room_above(&self, frame: usize, keys: usize) -> bool {
        self.nodes.frame(frame).borrow().node.has_room(&self.geometry, 3 * keys, PIECES)
    }

    /// The keys that go into what replaces a node: its own that count, and those that name what is new below it.
    fn gather_keys(&self, change: &mut Change, frame: usize) {
        change.keys.clear();
        self.add_keys(change, frame);
        let Change { keys, named, .. } = change;
        for key in named {
            let at = keys.partition_point(|other| other.end() < key.end());
            match keys.get(at).is_some_and(|other| other.end() == key.end()) {
                true => keys[at] = *key,
                false => keys.insert(at, *key),
            }
        }
    }

    /// Adds the keys of a node that count, without those of nodes that are replaced.
    fn add_keys(&self, change: &mut Change, frame: usize) {
        let Change { keys, replaced, .. } = change;
        let frame = self.nodes.frame(frame).borrow();
        let is_replaced =
            |key: &Key| replaced.iter().any(|old| self.nodes.frame(*old).borrow().node.key == *key);
        let buckets = self.buckets.borrow();
        let own = frame.node.keys.keys().iter().filter(|key| counts(&buckets, frame.node.level, key));
        keys.extend(own.filter(|key| frame.node.level == 0 || !is_replaced(key)));
    }

    /// Makes nodes with the keys that were gathered, durably: one if it is not too full, otherwise two. What names them is in
    /// `named` then.
    async fn make_nodes(&self, change: &mut Change, level: u16, end: Position) -> Result<(), SetError> {
        let count = change.keys.len();
        change.named.clear();
        let first = if count <= new_keys(&self.geometry) { count } else { count * 3 / 5 };
        if first < count {
            let middle = change.keys[first - 1].end();
            self.make_node(change, level, 0..first, middle).await?;
        }
        let rest = if first < count { first..count } else { 0..count };
        self.make_node(change, level, rest, end).await
    }

    async fn make_node(
        &self,
        change: &mut Change,
        level: u16,
        keys: Range<usize>,
        end: Position,
    ) -> Result<(), SetError> {
        let bucket = change.buckets.pop().expect("as many as the worst case takes");
        let frame = change.frames.pop().expect("as many as the worst case takes");
        let generation = self.buckets.borrow().get(bucket).generation;
        let pointer = Pointer::new(self.geometry.sector(bucket), generation);
        let key = Key::node(end, self.geometry.node_sectors(), pointer);
        change.made.push(frame);
        change.named.push(key);
        let keys = &change.keys[keys];
        let whole = self.engine().node_buffers.wait_take(self.geometry.node_sectors() as usize * 512).await;
        let (sector, buf) = {
            let mut frame = self.nodes.frame(frame).borrow_mut();
            let node = &mut frame.node;
            node.begin(key, level, random().max(1));
            let words = keys.iter().map(Key::words).sum();
            let buf = whole.slice(0, log::set_bytes(&self.geometry, words));
            let sector = self.lay_out(node, keys, &buf);
            node.keys.extend(keys);
            node.blocks = buf.sectors().0 / self.geometry.block_sectors;
            (sector, buf)
        };
        self.flush_data().await?;
        self.write_durably("node", sector, buf).await
    }

    /// Names new nodes, and those that they replace, at the end of the log of the node above.
    async fn name_in(&self, change: &mut Change, above: usize) -> Result<(), SetError> {
        let keys = &mut change.below;
        keys.clear();
        let leaves_keys = change.neighbour.is_none() || !plant::is(Plant::JoinedLeaveNoKey);
        keys.extend(change.replaced.iter().filter(|_| leaves_keys).map(|frame| self.dead_key(*frame)));
        keys.extend(&change.named);
        let whole = self.engine().node_buffers.wait_take(self.geometry.node_sectors() as usize * 512).await;
        let (sector, buf) = {
            let frame = self.nodes.frame(above).borrow();
            let words = keys.iter().map(Key::words).sum();
            let buf = whole.slice(0, log::set_bytes(&self.geometry, words));
            (self.lay_out(&frame.node, keys, &buf), buf)
        };
        self.write_set(sector, &buf).await?;
        let mut frame = self.nodes.frame(above).borrow_mut();
        frame.node.blocks += buf.sectors().0 / self.geometry.block_sectors;
        change.named.iter().for_each(|key| frame.node.keys.put_node(*key));
        drop(frame);
        let mut buckets = self.buckets.borrow_mut();
        change.replaced.iter().for_each(|frame| buckets.outdate(self.bucket_in(*frame)));
        Ok(())
    }

    fn bucket_in(&self, frame: usize) -> BucketNo {
        let key = self.nodes.frame(frame).borrow().node.key;
        key.pointer().expect("a node has a place").bucket(self.geometry.bucket_sectors)
    }

    /// What a node that is replaced leaves: the next generation of its bucket.
    fn dead_key(&self, frame: usize) -> Key {
        let key = self.nodes.frame(frame).borrow().node.key;
        let pointer = key.pointer().expect("a node has a place");
        let next = Pointer::new(pointer.sector(), pointer.generation().wrapping_add(1));
        Key::node(Position::default(), key.sectors(), next)
    }

    /// The new nodes are those of the tree in memory; the buckets of the old ones are in `old` then.
    async fn switch(&self, change: &mut Change) {
        for frame in change.made.drain(..) {
            self.nodes.settle(frame);
        }
        change.old.clear();
        for frame in change.replaced.drain(..) {
            let is_written =
                || self.nodes.frame(frame).borrow().writing.is_none() || self.failure().is_some();
            self.nodes.changed.wait_for(waits::LEAF, is_written).await;
            change.old.push(self.bucket_in(frame));
            self.nodes.forget(frame);
        }
    }

    /// Nothing names the nodes in these buckets any more: each begins its next life in this way.
    pub(crate) fn retire(&self, old: &[BucketNo], next: impl Fn(&mut Buckets, BucketNo)) {
        let mut buckets = self.buckets.borrow_mut();
        old.iter().for_each(|bucket| next(&mut buckets, *bucket));
        self.engine().allocator.changed.notify();
    }
}

/// Whether a key of a node goes where the node's keys go. What is stale only in memory may still be in the journal if it is
/// an extent: then it has to be known, to be overridden there. The journal has no keys of nodes.
fn counts(buckets: &Buckets, level: u16, key: &Key) -> bool {
    key.pointer().is_some_and(|pointer| match level {
        0 => !buckets.is_gone(pointer),
        _ => buckets.is_fresh(pointer),
    })
}
