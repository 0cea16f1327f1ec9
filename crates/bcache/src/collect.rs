//! Collection: a pass over the tree, leaf by leaf, that finds out how old the oldest pointer into each bucket is. What is free
//! is known without it; only buckets whose pointers are too old to be given up wait for it.

use std::rc::Rc;

use bcache_format::{BucketNo, Key, Position};
use runtime::{sleep_ms, spawn, yield_now};

use crate::buckets::ahead;
use crate::error::SetError;
use crate::limits::COLLECT_LOOK_MS;
use crate::set::CacheSet;

/// Starts the collection.
pub(crate) fn start(set: &Rc<CacheSet>) {
    let generations = vec![0; set.geometry.buckets as usize].into_boxed_slice();
    let set = set.clone();
    let _running = spawn(async move { run(&set, generations).await });
}

async fn run(set: &Rc<CacheSet>, mut oldest: Box<[u8]>) {
    while !set.is_over() {
        sleep_ms(COLLECT_LOOK_MS).await;
        if !set.is_over() && set.buckets.borrow().has_stuck() {
            let _failed = collect(set, &mut oldest).await; // what cannot be read now may be read next time
        }
    }
}

/// One pass. What comes into the tree meanwhile is as new as its bucket.
async fn collect(set: &CacheSet, oldest: &mut [u8]) -> Result<(), SetError> {
    for (at, generation) in oldest.iter_mut().enumerate() {
        *generation = set.buckets.borrow().get(BucketNo(at as u64)).generation;
    }
    let mut at = Position::default();
    loop {
        for level in (0..=set.root().1).rev() {
            let frame = set.nodes.place(set.root(), &set.buckets, at, level).await?;
            let frame = set.nodes.frame(frame).borrow();
            see(set, frame.node.keys.keys(), oldest);
            if level == 0 {
                let end = frame.node.key.end();
                if end == Position::MAX || end <= at {
                    drop(frame);
                    return settle(set, oldest);
                }
                at = end;
            }
        }
        yield_now().await;
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

fn settle(set: &CacheSet, oldest: &[u8]) -> Result<(), SetError> {
    let mut buckets = set.buckets.borrow_mut();
    for (at, generation) in oldest.iter().enumerate() {
        buckets.set_oldest(BucketNo(at as u64), *generation);
    }
    drop(buckets);
    set.engine().allocator.changed.notify();
    Ok(())
}
