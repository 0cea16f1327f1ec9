//! Joining: two neighbours that hold little become one node, as far as their keys are named by the same node.
//!
//! A pass looks at one pair after the other, level by level, and lets others have their turn in between. It waits neither for
//! a change of the tree that is under way nor for buckets: a pair that cannot be joined now can be at the next pass. So those
//! who make buckets free never wait for it (P2).

use bcache_format::Position;
use runtime::yield_now;

use super::node::new_keys;
use crate::error::SetError;
use crate::set::CacheSet;

/// A pass begins when keys of a sixteenth of the cache were laid since the last: the kernel's measure for its collection.
const CHANGED_PART: u64 = 16;

/// What two nodes hold together is little when it is no more than half of what one gets that is made: enough can come before
/// that one is full again.
const LITTLE: usize = 2;

impl CacheSet {
    /// Whether so much was laid into the tree that joining may be worth a pass.
    pub(crate) fn has_changed_much(&self) -> bool {
        self.engine().laid.get() >= self.geometry.buckets * self.geometry.bucket_sectors / CHANGED_PART
    }

    /// Joins what can be joined.
    pub(crate) async fn join_sparse(&self) -> Result<(), SetError> {
        self.engine().laid.set(0);
        let mut level = 0;
        while level < self.root().1 {
            let mut at = Some(Position::default());
            while let Some(from) = at.filter(|_| !self.is_over()) {
                at = self.join_behind(from, level).await?;
                yield_now().await;
            }
            level += 1;
        }
        Ok(())
    }

    /// Joins the node of a level in which `at` lies with the one behind it, if they hold little. Where to go on.
    async fn join_behind(&self, at: Position, level: u16) -> Result<Option<Position>, SetError> {
        let first = self.nodes.place(&self.roots, &self.buckets, at, level).await?;
        let (end, keys) = (self.end_of(first), self.live_keys(first));
        let behind = (end != Position::MAX && end > at).then_some(end);
        if behind.is_none() || !self.are_few(keys) {
            return Ok(behind);
        }
        let next = self.nodes.place(&self.roots, &self.buckets, end, level).await?;
        if !self.are_few(keys + self.live_keys(next)) || !self.try_join(at, level).await? {
            return Ok(behind);
        }
        Ok(Some(at)) // what is one node now may be joined with the next
    }

    fn are_few(&self, keys: usize) -> bool {
        keys <= new_keys(&self.geometry) / LITTLE
    }

    async fn try_join(&self, at: Position, level: u16) -> Result<bool, SetError> {
        let engine = self.engine();
        if engine.is_changing.replace(true) {
            return Ok(false);
        }
        let mut change = engine.change.take().expect("one change at a time");
        let joined = self.join_with_next(&mut change, at, level, |keys| self.are_few(keys)).await;
        self.give_back(&mut change);
        engine.change.replace(Some(change));
        self.end_change();
        joined
    }
}
