//! What lies on a cache, piece by piece, for people who want to look. Reads, never writes.

use std::collections::BTreeSet;

use bcache_format::jset::{Jset, Roots};
use bcache_format::prio::Prio;
use bcache_format::uuids::{Use, UuidEntry};
use bcache_format::{BucketNo, Key};

use crate::btree::content::Content;
use crate::btree::node::Node;
use crate::buckets::Buckets;
use crate::error::SetError;
use crate::journal::chain::{self, Entry};
use crate::journal::replay;
use crate::reader::Reader;

/// A set whose journal, priorities and uuids were read.
pub struct Dump {
    reader: Reader,
    entries: Vec<Entry>,
    roots: Roots,
    prios: Vec<Prio>,
    buckets: Buckets,
    uuids: Vec<UuidEntry>,
}

/// How much of a node is used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// Sets of keys.
    pub sets: u32,
    /// Sectors up to the end of the last of them.
    pub sectors: u64,
}

impl Dump {
    /// Reads what everything else is found by.
    pub async fn open(reader: Reader) -> Result<Dump, SetError> {
        let geometry = *reader.geometry();
        let entries = chain::choose(reader.journal().await?)?;
        let mut pending = Content::new(0, true, geometry.bucket_sectors);
        let (roots, _) = replay::read(&reader, &entries, &mut pending).await?;
        let mut prios = Vec::with_capacity(geometry.buckets as usize);
        let mut buckets = Buckets::new(&geometry);
        let take = |bucket, prio: &Prio| {
            buckets.load(bucket, prio.priority.get(), prio.generation);
            prios.push(*prio);
        };
        reader.prios(roots.prios, take).await?;
        let uuids = reader.uuids(&roots.uuids).await?;
        Ok(Dump { reader, entries, roots, prios, buckets, uuids })
    }

    /// The volumes, by inode.
    pub fn volumes(&self) -> impl Iterator<Item = (usize, &UuidEntry)> {
        self.uuids.iter().enumerate().filter(|(_, entry)| entry.usage() != Use::Free)
    }

    /// Buckets of which something is known.
    pub fn buckets(&self) -> impl Iterator<Item = (BucketNo, &Prio)> {
        let numbered = (0..).map(BucketNo).zip(&self.prios);
        numbered.filter(|(_, prio)| prio.generation != 0 || prio.priority.get() != 0)
    }

    /// The entries of the journal that count, the oldest first.
    pub async fn journal(&mut self, mut show: impl FnMut(&Entry, &[Key])) -> Result<(), SetError> {
        let geometry = *self.reader.geometry();
        for entry in &self.entries {
            let sector = geometry.sector(geometry.journal_bucket(entry.index)) + entry.offset;
            let wrong = |error| SetError::Form { what: "journal entry", sector, error };
            let bytes = self.reader.entry(entry).await?;
            let keys = Jset::check(&bytes, geometry.set_magic).map_err(wrong)?;
            let keys: Vec<Key> = keys.collect::<Result<_, _>>().map_err(wrong)?;
            show(entry, &keys);
        }
        Ok(())
    }

    /// The nodes of the tree, each before those below it, in the order of their keys.
    pub async fn tree(&mut self, mut show: impl FnMut(u16, &Key, Used, &[Key])) -> Result<(), SetError> {
        let geometry = *self.reader.geometry();
        let mut node = Node::room(&geometry, 0);
        let mut next = vec![(self.roots.root, self.roots.level)];
        let mut shown = BTreeSet::new();
        while let Some((key, level)) = next.pop() {
            if !shown.insert(key.pointer().map(|pointer| pointer.sector())) {
                continue; // or a circle of nodes would never end
            }
            let bytes = self.reader.node(&key).await?;
            let buckets = &mut self.buckets;
            let seen = |key: &Key| {
                if let Some(pointer) = key.pointer() {
                    buckets.learn(pointer);
                }
            };
            let log = node.read(&bytes, &geometry, key, level, seen);
            let log = log.map_err(|error| SetError::Node { key, level, error })?;
            show(
                level,
                &key,
                Used { sets: log.sets, sectors: log.blocks * geometry.block_sectors },
                node.keys.keys(),
            );
            if level > 0 {
                let fresh = |key: &&Key| key.pointer().is_some_and(|at| self.buckets.is_fresh(at));
                next.extend(node.keys.keys().iter().rev().filter(fresh).map(|key| (*key, level - 1)));
            }
        }
        Ok(())
    }
}
