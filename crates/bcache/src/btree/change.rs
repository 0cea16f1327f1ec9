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

use bcache_format::{BucketNo, Key, Pointer, Position};
use runtime::random;

use super::log;
use super::node::new_keys;
use crate::buckets::Purpose;
use crate::error::SetError;
use crate::set::CacheSet;

/// Nodes that one node is replaced by at most.
const PIECES: usize = 2;

/// What a change owns, and what it has made.
struct Change {
    buckets: Vec<BucketNo>,
    frames: Vec<usize>,
    /// Frames of new nodes.
    made: Vec<usize>,
    /// Frames of nodes that are replaced.
    replaced: Vec<usize>,
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
        let levels = usize::from(self.root().1) + 1;
        let mut change = self.own(PIECES * levels + 1).await?;
        let done = match self.hold_path(at).await {
            Ok(path) => {
                let done = self.replace_path(&mut change, &path).await;
                self.release_path(&path);
                done
            }
            Err(error) => Err(error),
        };
        self.give_back(change);
        if let Err(error) = done {
            self.fail(error);
        }
        done
    }

    /// Buckets and frames, as many as a change can take.
    async fn own(&self, count: usize) -> Result<Change, SetError> {
        let mut change = Change {
            buckets: Vec::with_capacity(count),
            frames: Vec::with_capacity(count),
            made: Vec::with_capacity(count),
            replaced: Vec::with_capacity(count),
        };
        while change.buckets.len() < count {
            change.buckets.push(self.wait_bucket(Purpose::Nodes).await?);
        }
        while change.frames.len() < count {
            change.frames.push(self.nodes.wait_frame().await);
        }
        Ok(change)
    }

    /// What was not used goes back.
    fn give_back(&self, change: Change) {
        for bucket in change.buckets {
            self.buckets.borrow_mut().put_free(bucket);
        }
        for frame in change.frames {
            self.nodes.give_back(frame);
        }
        self.engine().allocator.changed.notify();
    }

    /// The frames from the leaf up to the root, held.
    async fn hold_path(&self, at: Position) -> Result<Vec<usize>, SetError> {
        let mut path = Vec::new();
        for level in (0..=self.root().1).rev() {
            match self.nodes.place(self.root(), &self.buckets, at, level).await {
                Ok(frame) => {
                    self.nodes.frame(frame).borrow_mut().is_held = true;
                    path.push(frame);
                }
                Err(error) => {
                    self.release_path(&path);
                    return Err(error);
                }
            }
        }
        path.reverse();
        Ok(path)
    }

    fn release_path(&self, path: &[usize]) {
        for frame in path {
            let mut frame = self.nodes.frame(*frame).borrow_mut();
            (frame.is_held, frame.is_frozen) = (false, false);
        }
        self.nodes.changed.notify();
    }

    async fn replace_path(&self, change: &mut Change, path: &[usize]) -> Result<(), SetError> {
        self.nodes.frame(path[0]).borrow_mut().is_frozen = true;
        let mut new = Vec::with_capacity(PIECES);
        for (level, frame) in path.iter().enumerate() {
            if level > 0 && self.has_room_above(*frame, new.len() + change.replaced.len()) {
                self.name_in(*frame, &new, change).await?;
                return self.settle(change).await;
            }
            let keys = self.keys_of(*frame, &new);
            change.replaced.push(*frame);
            let end = self.nodes.frame(*frame).borrow().node.key.end();
            new = self.make_nodes(change, level as u16, &keys, end).await?;
        }
        let top = path.len() as u16;
        let (root, level) = match new[..] {
            [root] => (root, top - 1),
            _ => (self.make_nodes(change, top, &new, Position::MAX).await?[0], top),
        };
        self.roots.set(bcache_format::jset::Roots { root, level, ..self.roots() });
        let old = self.switch(change).await;
        if let Some(deferred) = self.engine().deferred.borrow_mut().as_mut() {
            deferred.extend(old);
            return Ok(());
        }
        self.engine().journal.commit_roots(self).await?;
        self.retire(&old);
        Ok(())
    }

    /// Whether so many keys fit behind a node's others.
    fn has_room_above(&self, frame: usize, keys: usize) -> bool {
        self.nodes.frame(frame).borrow().node.has_room(&self.geometry, 3 * keys, PIECES)
    }

    /// The keys that go into what replaces a node: its own that count, and `new` ones over them.
    fn keys_of(&self, frame: usize, new: &[Key]) -> Vec<Key> {
        let frame = self.nodes.frame(frame).borrow();
        let buckets = self.buckets.borrow();
        // What is stale only in memory may still be in the journal: then it has to be known, to be overridden there.
        let counts = |key: &&Key| key.pointer().is_some_and(|pointer| !buckets.is_gone(pointer));
        let mut keys: Vec<Key> = frame.node.keys.keys().iter().filter(counts).copied().collect();
        for key in new {
            let at = keys.partition_point(|other| other.end() < key.end());
            match keys.get(at).is_some_and(|other| other.end() == key.end()) {
                true => keys[at] = *key,
                false => keys.insert(at, *key),
            }
        }
        keys
    }

    /// Makes nodes with these keys, durably: one if it is not too full, otherwise two. The keys that name them.
    async fn make_nodes(
        &self,
        change: &mut Change,
        level: u16,
        keys: &[Key],
        end: Position,
    ) -> Result<Vec<Key>, SetError> {
        let first = match keys.len() <= new_keys(&self.geometry) {
            true => keys.len(),
            false => keys.len() * 3 / 5,
        };
        let mut named = Vec::with_capacity(PIECES);
        for part in [&keys[..first], &keys[first..]] {
            let is_last = named.len() + 1 == if first == keys.len() { 1 } else { PIECES };
            let end = if is_last { end } else { part[part.len() - 1].end() };
            named.push(self.make_node(change, level, part, end).await?);
            if is_last {
                break;
            }
        }
        Ok(named)
    }

    async fn make_node(
        &self,
        change: &mut Change,
        level: u16,
        keys: &[Key],
        end: Position,
    ) -> Result<Key, SetError> {
        let bucket = change.buckets.pop().expect("as many as the worst case takes");
        let frame = change.frames.pop().expect("as many as the worst case takes");
        let generation = self.buckets.borrow().get(bucket).generation;
        let pointer = Pointer::new(self.geometry.sector(bucket), generation);
        let key = Key::node(end, self.geometry.node_sectors(), pointer);
        change.made.push(frame);
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
        self.write_durably("node", sector, buf).await?;
        Ok(key)
    }

    /// Names new nodes, and those that they replace, at the end of the log of the node above.
    async fn name_in(&self, above: usize, new: &[Key], change: &Change) -> Result<(), SetError> {
        let mut keys: Vec<Key> = change.replaced.iter().map(|frame| self.dead_key(*frame)).collect();
        keys.extend(new);
        let whole = self.engine().node_buffers.wait_take(self.geometry.node_sectors() as usize * 512).await;
        let (sector, buf) = {
            let frame = self.nodes.frame(above).borrow();
            let words = keys.iter().map(Key::words).sum();
            let buf = whole.slice(0, log::set_bytes(&self.geometry, words));
            (self.lay_out(&frame.node, &keys, &buf), buf)
        };
        self.write_set(sector, &buf).await?;
        let mut frame = self.nodes.frame(above).borrow_mut();
        frame.node.blocks += buf.sectors().0 / self.geometry.block_sectors;
        new.iter().for_each(|key| frame.node.keys.put_node(*key));
        Ok(())
    }

    /// What a node that is replaced leaves: the next generation of its bucket.
    fn dead_key(&self, frame: usize) -> Key {
        let key = self.nodes.frame(frame).borrow().node.key;
        let pointer = key.pointer().expect("a node has a place");
        let next = Pointer::new(pointer.sector(), pointer.generation().wrapping_add(1));
        Key::node(Position::default(), key.sectors(), next)
    }

    /// The new nodes, which are named durably, are those of the tree.
    async fn settle(&self, change: &mut Change) -> Result<(), SetError> {
        let old = self.switch(change).await;
        self.retire(&old);
        Ok(())
    }

    /// The new nodes are those of the tree in memory; the buckets of the old ones.
    async fn switch(&self, change: &mut Change) -> Vec<BucketNo> {
        for frame in change.made.drain(..) {
            self.nodes.settle(frame);
        }
        let mut old = Vec::with_capacity(change.replaced.len());
        for frame in change.replaced.drain(..) {
            let is_written = || self.nodes.frame(frame).borrow().writing.is_none();
            self.nodes.changed.wait_until(is_written).await;
            let key = self.nodes.frame(frame).borrow().node.key;
            old.push(key.pointer().expect("a node has a place").bucket(self.geometry.bucket_sectors));
            self.nodes.forget(frame);
        }
        old
    }

    /// Nothing names the nodes in these buckets any more.
    pub(crate) fn retire(&self, old: &[BucketNo]) {
        let mut buckets = self.buckets.borrow_mut();
        old.iter().for_each(|bucket| buckets.next_life(*bucket));
        self.engine().allocator.changed.notify();
    }
}
