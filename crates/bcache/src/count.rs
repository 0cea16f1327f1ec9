//! What the tree refers to is counted when a set is started: how much lies in each bucket, and how much of it only there.
//!
//! The tree is read level by level, each from left to right, and many nodes of a level at once: nobody changes it yet, so what is below
//! is known as soon as the level above was read. It takes as many frames as there are and goes on with the fewest: what was
//! counted is not needed again.

use std::collections::VecDeque;

use bcache_format::limits::MOST_LEVELS;
use bcache_format::{Key, Position};
use block::Arena;

use crate::btree::node::Node;
use crate::btree::nodes::{Ahead, Reading};
use crate::buckets::Use;
use crate::error::SetError;
use crate::limits::NODES_AHEAD;
use crate::set::CacheSet;

/// The nodes below those of a level.
#[derive(Default)]
struct Below {
    keys: Vec<Key>,
    /// Where the last of them ends.
    end: Position,
}

impl CacheSet {
    /// Counts everything that the tree refers to, and what is metadata.
    pub(crate) async fn count_all(&self) -> Result<(), SetError> {
        loop {
            self.count_tree().await?;
            if !self.buckets.borrow_mut().take_miscounted() {
                break;
            }
            self.buckets.borrow_mut().recount_all();
            self.engine().dirty.clear();
        }
        let metadata = self.prio_chain.iter().copied().chain(self.bucket_of(&self.roots().uuids));
        metadata.for_each(|bucket| self.buckets.borrow_mut().set_use(bucket, Use::Metadata));
        Ok(())
    }

    /// Counts what the tree refers to.
    async fn count_tree(&self) -> Result<(), SetError> {
        let (root, top) = self.root();
        self.buckets.borrow_mut().set_use(self.bucket_of(&root).expect("checked"), Use::Metadata);
        if top >= MOST_LEVELS {
            return Err(SetError::TooDeep { found: top + 1, most: MOST_LEVELS });
        }
        let mut keys = vec![root];
        for level in (1..=top).rev() {
            let mut below = Below::default();
            self.each_node(&keys, level, |node| self.count_nodes(node, &mut below)).await?;
            keys = below.keys;
        }
        let count = |leaf: &Node| {
            self.count_extents(leaf.keys.keys());
            Ok(())
        };
        self.each_node(&keys, 0, count).await
    }

    /// Shows the nodes of a level, in the order of these keys that name them.
    async fn each_node(
        &self,
        keys: &[Key],
        level: u16,
        mut look: impl FnMut(&Node) -> Result<(), SetError>,
    ) -> Result<(), SetError> {
        let most = NODES_AHEAD.min(self.nodes.count() / 2);
        let arena = Arena::new(most * (self.geometry.node_sectors() as usize * 512).next_power_of_two());
        let mut ahead: VecDeque<Option<Reading>> = VecDeque::with_capacity(most);
        let mut outcome = Ok(());
        for (at, key) in keys.iter().enumerate() {
            while let Some(next) = keys.get(at + ahead.len()).filter(|_| ahead.len() < most) {
                match self.nodes.read_ahead(*next, level, &arena) {
                    Ahead::Reading(reading) => ahead.push_back(Some(reading)),
                    Ahead::Known => ahead.push_back(None),
                    Ahead::NoRoom => break,
                }
            }
            let frame = match ahead.pop_front().flatten() {
                Some(reading) => self.nodes.end_read(reading, &self.buckets).await,
                None => self.nodes.known(*key, level, &self.buckets).await,
            };
            outcome = frame.and_then(|frame| look(&self.nodes.frame(frame).borrow().node));
            if outcome.is_err() {
                break;
            }
        }
        // What is on its way ends, wherever it was to go.
        for reading in ahead.into_iter().flatten() {
            let _not_needed = self.nodes.end_read(reading, &self.buckets).await;
        }
        outcome
    }

    /// Counts the nodes below one, and adds them to those of the level below.
    fn count_nodes(&self, node: &Node, below: &mut Below) -> Result<(), SetError> {
        let mut buckets = self.buckets.borrow_mut();
        for key in node.keys.keys() {
            let Some(pointer) = key.pointer() else { continue };
            buckets.see(pointer);
            if !buckets.is_fresh(pointer) {
                continue;
            }
            buckets.set_use(pointer.bucket(self.geometry.bucket_sectors), Use::Metadata);
            if key.end() > below.end {
                below.keys.push(*key);
                below.end = key.end();
            }
        }
        match below.end >= node.key.end() {
            true => Ok(()),
            false => Err(SetError::NoNode { at: below.end, parent: node.key }),
        }
    }

    fn count_extents(&self, keys: &[Key]) {
        let mut buckets = self.buckets.borrow_mut();
        for key in keys {
            let Some(pointer) = key.pointer() else { continue };
            buckets.see(pointer);
            if buckets.count(key) && key.is_dirty() {
                self.engine().dirty.add(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
