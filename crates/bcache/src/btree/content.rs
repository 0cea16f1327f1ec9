//! The keys of a node as they are after all sets were laid over each other: in order, none overlapping another. Pure.
//!
//! Extents are laid over each other sector by sector. Keys of nodes are told apart by where they end: a later one takes the
//! place of an earlier one.

use bcache_format::key::MOST_SECTORS;
use bcache_format::{Key, Position};

use crate::plant::{self, Plant};

/// Keys in order. What is laid over others cuts them.
#[derive(Debug)]
pub struct Content {
    keys: Vec<Key>,
    /// Whether ranges that are not cached are kept: they have to override what lies below.
    keeps_holes: bool,
    /// No key lies across a bucket's end.
    bucket_sectors: u64,
    /// 64-bit words of all keys.
    words: usize,
}

impl Content {
    /// No keys; room for so many without allocating.
    pub fn new(capacity: usize, keeps_holes: bool, bucket_sectors: u64) -> Content {
        Content { keys: Vec::with_capacity(capacity), keeps_holes, bucket_sectors, words: 0 }
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Words that they take on disk.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.words = 0;
    }

    /// Index of the first key that ends behind `at`.
    pub fn first_behind(&self, at: Position) -> usize {
        self.keys.partition_point(|key| key.end() <= at)
    }

    /// Lays `key` over what is there. `gone` is told of every piece that is not there any more.
    pub fn lay(&mut self, key: Key, mut gone: impl FnMut(Key)) {
        debug_assert!(key.sectors() > 0);
        let (start, end) = (key.start(), key.end());
        let first = self.first_behind(start);
        let overlapped = self.keys[first..].iter().take_while(|old| old.start() < end).count();
        let old = &self.keys[first..first + overlapped];
        let before = old.first().filter(|old| old.start() < start).map(|old| old.cut_back(start.offset));
        let behind = old.last().filter(|old| old.end() > end).map(|old| old.cut_front(end.offset));
        for old in old {
            let from = old.start().max(start).offset;
            let to = old.end().min(end).offset;
            gone(old.cut_front(from).cut_back(to));
        }
        let own = (self.keeps_holes || key.pointer().is_some()).then_some(key);
        self.replace(first, overlapped, before, own, behind);
    }

    /// Puts the key of a node in place of the one that ends where it does.
    pub fn put_node(&mut self, key: Key) {
        let at = self.keys.partition_point(|other| other.end() < key.end());
        let is_there = self.keys.get(at).is_some_and(|other| other.end() == key.end());
        self.replace_run(at, usize::from(is_there), &[key]);
    }

    /// Puts up to three keys in place of `count` others.
    fn replace(
        &mut self,
        first: usize,
        count: usize,
        before: Option<Key>,
        own: Option<Key>,
        behind: Option<Key>,
    ) {
        let mut new = [Key::default(); 3];
        let mut fresh = 0;
        for key in [before, own, behind].into_iter().flatten() {
            new[fresh] = key;
            fresh += 1;
        }
        self.replace_run(first, count, &new[..fresh]);
        if own.is_some() {
            self.join(first + usize::from(before.is_some()));
        }
    }

    fn replace_run(&mut self, first: usize, count: usize, new: &[Key]) {
        let words = |keys: &[Key]| keys.iter().map(Key::words).sum::<usize>();
        self.words = self.words - words(&self.keys[first..first + count]) + words(new);
        let (old_len, tail) = (self.keys.len(), first + count);
        if new.len() > count {
            self.keys.resize(old_len + new.len() - count, Key::default());
        }
        self.keys.copy_within(tail..old_len, first + new.len());
        self.keys.truncate(old_len + new.len() - count);
        self.keys[first..first + new.len()].copy_from_slice(new);
    }

    /// Makes the key at `at` one with its neighbours where they continue each other.
    fn join(&mut self, at: usize) {
        for left in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            let Some([a, b]) = self.keys.get(left..left + 2) else { continue };
            if let Some(joined) = joined(a, b, self.bucket_sectors) {
                self.replace_run(left, 2, &[joined]);
            }
        }
    }

    /// Adds keys that lie behind all that are there, in their order.
    pub fn extend(&mut self, keys: &[Key]) {
        self.keys.extend_from_slice(keys);
        self.words += keys.iter().map(Key::words).sum::<usize>();
    }
}

/// One key for two that continue each other, in one bucket as in the volume.
fn joined(a: &Key, b: &Key, bucket_sectors: u64) -> Option<Key> {
    let sectors = a.sectors() + b.sectors();
    let (Some(at), Some(next)) = (a.pointer(), b.pointer()) else { return None };
    let continues = a.end() == b.start()
        && a.is_dirty() == b.is_dirty()
        && at.generation() == next.generation()
        && at.sector() + a.sectors() == next.sector()
        && at.bucket(bucket_sectors) == next.bucket(bucket_sectors)
        && (sectors <= MOST_SECTORS || plant::is(Plant::KeysTooLong));
    continues.then(|| Key::extent(a.start(), sectors, at, a.is_dirty()))
}

#[cfg(test)]
mod tests;
