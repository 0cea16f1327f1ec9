//! Collection: passes over the tree, leaf by leaf, so that nobody waits for more than one of them.
//!
//! What is free is known without it. One pass finds out how old the oldest pointer into each bucket is, for buckets whose
//! pointers are too old to be given up. Another moves what is left in buckets that hold little but cannot be given up,
//! because it is dirty, so that they are free then. The third joins nodes of the tree that hold little. What a volume left that
//! is not in the set any more is forgotten (`collect/gone.rs`).

mod gone;
mod moving;

use std::rc::Rc;

use bcache_format::{BucketNo, Key, Position};
use block::Arena;
use runtime::{sleep_ms, spawn, yield_now};

use crate::buckets::ahead;
use crate::error::SetError;
use crate::limits::{COLLECT_LOOK_MS, MOVE_BYTES, MOVED_AT_ONCE};
use crate::set::CacheSet;
use moving::Memory;

/// Starts the collection.
pub(crate) fn start(set: &Rc<CacheSet>) {
    let generations = vec![0; set.geometry.buckets as usize].into_boxed_slice();
    let victims = vec![false; set.geometry.buckets as usize].into_boxed_slice();
    let memory = Memory { buffers: Arena::new(MOVE_BYTES), keys: Vec::with_capacity(MOVED_AT_ONCE) };
    let set = set.clone();
    let _running = spawn(async move { run(&set, generations, victims, memory).await });
}

async fn run(set: &Rc<CacheSet>, mut oldest: Box<[u8]>, mut victims: Box<[bool]>, mut memory: Memory) {
    while !set.is_over() {
        sleep_ms(COLLECT_LOOK_MS).await;
        // What cannot be read or written now may be next time.
        if !set.is_over() && set.has_gone() {
            let _failed = set.forget_gone().await;
        }
        if !set.is_over() && set.buckets.borrow().has_stuck() {
            let _failed = set.collect(&mut oldest).await;
        }
        let mut has_moved = false;
        if !set.is_over() && set.is_fragmented() {
            has_moved = set.empty_sparse(&mut victims, &mut memory).await.unwrap_or(false);
        }
        set.looked(has_moved);
        if !set.is_over() && set.has_changed_much() {
            let _failed = set.join_sparse().await;
        }
    }
}

impl CacheSet {
    /// It was looked for what could be moved: who waits for room looks whether there is some, or will be.
    fn looked(&self, has_moved: bool) {
        let engine = self.engine();
        if !has_moved {
            engine.vain_looks.set(engine.vain_looks.get() + 1);
        }
        if self.is_starving() {
            engine.allocator.changed.notify();
        }
    }

    /// Finds out how old pointers are. What comes into the tree meanwhile is as new as its bucket.
    async fn collect(&self, oldest: &mut [u8]) -> Result<(), SetError> {
        for (at, generation) in oldest.iter_mut().enumerate() {
            *generation = self.buckets.borrow().get(BucketNo(at as u64)).generation;
        }
        let mut at = Some(Position::default());
        while let Some(from) = at {
            for level in (1..=self.root().1).rev() {
                let frame = self.nodes.place(&self.roots, &self.buckets, from, level).await?;
                see(self, self.nodes.frame(frame).borrow().node.keys.keys(), oldest);
            }
            at = self.look_at_leaf(from, |keys| see(self, keys, oldest)).await?;
            yield_now().await;
        }
        let mut buckets = self.buckets.borrow_mut();
        for (at, generation) in oldest.iter().enumerate() {
            buckets.set_oldest(BucketNo(at as u64), *generation);
        }
        drop(buckets);
        self.engine().allocator.changed.notify();
        Ok(())
    }

    /// Looks at the keys of the leaf in which `at` lies. Where the next leaf begins, if there is one.
    async fn look_at_leaf(
        &self,
        at: Position,
        look: impl FnOnce(&[Key]),
    ) -> Result<Option<Position>, SetError> {
        let leaf = self.nodes.leaf(&self.roots, &self.buckets, at).await?;
        look(leaf.keys.keys());
        let end = leaf.key.end();
        Ok((end != Position::MAX && end > at).then_some(end))
    }
}

fn see(set: &CacheSet, keys: &[Key], oldest: &mut [u8]) {
    for pointer in keys.iter().filter_map(Key::pointer) {
        let bucket = pointer.bucket(set.geometry.bucket_sectors).0 as usize;
        if ahead(oldest[bucket], pointer.generation()) > 0 {
            oldest[bucket] = pointer.generation();
        }
    }
}
