//! The tree changes its nodes: a full one is replaced by one or two that are not.
//!
//! One change at a time. It owns the buckets and the frames that the worst case takes before it begins; then it goes up from
//! the leaf. New nodes are durable before anything names them. What names them is one set of keys at the end of the log of a
//! node that has room for it, or, where all nodes up to the root are replaced, the next entry of the journal. Until then the
//! old nodes are those of the tree: a leaf whose keys are going elsewhere takes no keys meanwhile, is read as before, and can
//! be written, so that the journal can let go of what it keeps.
//!
//! The node that names the new ones also gets a key at 0:0 for each old one, with the next generation of its bucket, as a
//! kernel leaves it.

use std::ops::Range;

use bcache_format::jset::Roots;
use bcache_format::limits::MOST_LEVELS;
use bcache_format::{BucketNo, Geometry, Key, Pointer, Position};
use runtime::random;

use super::log;
use super::node::{most_keys, new_keys};
use crate::buckets::Purpose;
use crate::error::SetError;
use crate::plant::{self, Plant};
use crate::set::CacheSet;

/// Nodes that one node is replaced by at most.
const PIECES: usize = 2;

/// What a change owns, and what it has made. The memory is taken when the set is started, and lent to each in turn.
pub(crate) struct Change {
    buckets: Vec<BucketNo>,
    frames: Vec<usize>,
    /// Frames from the leaf up to the root.
    path: Vec<usize>,
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
            keys: Vec::with_capacity(most_keys(geometry) + PIECES),
            named: Vec::with_capacity(PIECES + levels),
            below: Vec::with_capacity(PIECES + levels),
            made: Vec::with_capacity(most),
            replaced: Vec::with_capacity(levels),
            old: Vec::with_capacity(levels),
        }
    }
}

impl CacheSet {
    /// Replaces the leaf in which `at` lies, if its log is full, and what is above it as far as needed.
    pub(crate) async fn make_room(&self, at: Position) -> Result<(), SetError> {
        let engine = self.engine();
        engine.changing.wait_until(|| !engine.is_changing.replace(true)).await;
        let made = self.make_room_alone(at).await;
        engine.is_changing.set(false);
        engine.changing.notify();
        made
    }

    async fn make_room_alone(&self, at: Position) -> Result<(), SetError> {
        let leaf = self.nodes.place(self.root(), &self.buckets, at, 0).await?;
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
        let levels = usize::from(self.root().1) + 1;
        if plant::is(Plant::LeafHeldForBuckets) {
            self.hold_path(change, at).await?;
            self.nodes.frame(change.path[0]).borrow_mut().is_frozen = true;
        }
        self.own(change, PIECES * levels + 1).await?;
        if change.path.is_empty() {
            self.hold_path(change, at).await?;
        }
        self.replace_path(change).await
    }

    /// Buckets and frames, as many as a change can take.
    async fn own(&self, change: &mut Change, count: usize) -> Result<(), SetError> {
        while change.buckets.len() < count {
            change.buckets.push(self.wait_bucket(Purpose::Nodes).await?);
        }
        while change.frames.len() < count {
            change.frames.push(self.nodes.wait_frame().await?);
        }
        Ok(())
    }

    /// What was not used goes back, and what was held is anybody's.
    fn give_back(&self, change: &mut Change) {
        for frame in change.path.drain(..) {
            let mut frame = self.nodes.frame(frame).borrow_mut();
            (frame.is_held, frame.is_frozen) = (false, false);
        }
        change.buckets.drain(..).for_each(|bucket| self.buckets.borrow_mut().put_free(bucket));
        change.frames.drain(..).for_each(|frame| self.nodes.give_back(frame));
        self.nodes.changed.notify();
        self.engine().allocator.changed.notify();
    }

    /// Holds the frames from the leaf up to the root.
    async fn hold_path(&self, change: &mut Change, at: Position) -> Result<(), SetError> {
        for level in (0..=self.root().1).rev() {
            let frame = self.nodes.place(self.root(), &self.buckets, at, level).await?;
            self.nodes.frame(frame).borrow_mut().is_held = true;
            change.path.push(frame);
        }
        change.path.reverse();
        Ok(())
    }

    async fn replace_path(&self, change: &mut Change) -> Result<(), SetError> {
        self.nodes.frame(change.path[0]).borrow_mut().is_frozen = true;
        change.named.clear();
        for level in 0..change.path.len() {
            let frame = change.path[level];
            if level > 0 && self.has_room_above(frame, change.named.len() + change.replaced.len()) {
                self.name_in(change, frame).await?;
                self.switch(change).await;
                self.retire(&change.old);
                return Ok(());
            }
            self.gather_keys(change, frame);
            change.replaced.push(frame);
            let end = self.nodes.frame(frame).borrow().node.key.end();
            self.make_nodes(change, level as u16, end).await?;
        }
        if change.named.len() > 1 {
            change.keys.clone_from(&change.named);
            self.make_nodes(change, change.path.len() as u16, Position::MAX).await?;
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
        self.retire(old);
        Ok(())
    }

    /// Whether so many keys fit behind a node's others.
    fn has_room_above(&self, frame: usize, keys: usize) -> bool {
        self.nodes.frame(frame).borrow().node.has_room(&self.geometry, 3 * keys, PIECES)
    }

    /// The keys that go into what replaces a node: its own that count, and those that name what is new below it.
    fn gather_keys(&self, change: &mut Change, frame: usize) {
        let Change { keys, named, .. } = change;
        let frame = self.nodes.frame(frame).borrow();
        let buckets = self.buckets.borrow();
        // What is stale only in memory may still be in the journal: then it has to be known, to be overridden there.
        let counts = |key: &&Key| key.pointer().is_some_and(|pointer| !buckets.is_gone(pointer));
        keys.clear();
        keys.extend(frame.node.keys.keys().iter().filter(counts));
        for key in named {
            let at = keys.partition_point(|other| other.end() < key.end());
            match keys.get(at).is_some_and(|other| other.end() == key.end()) {
                true => keys[at] = *key,
                false => keys.insert(at, *key),
            }
        }
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
        keys.extend(change.replaced.iter().map(|frame| self.dead_key(*frame)));
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
        Ok(())
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
            self.nodes.changed.wait_until(is_written).await;
            let key = self.nodes.frame(frame).borrow().node.key;
            change.old.push(key.pointer().expect("a node has a place").bucket(self.geometry.bucket_sectors));
            self.nodes.forget(frame);
        }
    }

    /// Nothing names the nodes in these buckets any more.
    pub(crate) fn retire(&self, old: &[BucketNo]) {
        let mut buckets = self.buckets.borrow_mut();
        old.iter().for_each(|bucket| buckets.next_life(*bucket));
        self.engine().allocator.changed.notify();
    }
}
