//! A node in memory: its keys, those of them that are not on disk yet, and how much of its log is used. Pure.

use bcache_format::bset::HEADER_BYTES;
use bcache_format::{FormatError, Geometry, Key, Position};

use super::content::Content;
use super::log::{self, Log, LogError};
use crate::limits::OPEN_KEYS;

/// Keys by which one more can make a content grow: two pieces of the one it is laid over, and itself.
const GROWTH: usize = 2;
/// Words of as many keys.
const GROWTH_WORDS: usize = 9;

/// A node.
#[derive(Debug)]
pub struct Node {
    /// The key that names it.
    pub key: Key,
    /// 0 of a leaf.
    pub level: u16,
    /// What its sets on disk have in common.
    pub seq: u64,
    /// Blocks of its log that are used.
    pub blocks: u64,
    /// What it holds: of a leaf without ranges that are not cached; of others the nodes below it.
    pub keys: Content,
    /// What of it is not on disk.
    pub open: Content,
    /// The oldest entry of the journal that has something of `open`.
    pub pin: Option<u64>,
}

/// Whether a leaf takes one more key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// It does.
    Enough,
    /// When what of it is not on disk was written.
    OpenFull,
    /// Not in this node.
    LogFull,
}

/// Why what lies on disk is no node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeError {
    /// It is no log.
    Log(LogError),
    /// A key lies behind the end of the node.
    Behind {
        /// The key.
        found: Key,
        /// Where the node ends.
        end: Position,
    },
}

impl Node {
    /// Memory for a node of a cache of this shape.
    pub fn room(geometry: &Geometry, open_keys: usize) -> Node {
        let most = most_keys(geometry);
        Node {
            key: Key::default(),
            level: 0,
            seq: 0,
            blocks: 0,
            keys: Content::new(most + GROWTH, false, geometry.bucket_sectors),
            open: Content::new(open_keys + GROWTH, true, geometry.bucket_sectors),
            pin: None,
        }
    }

    /// Makes it a node that nothing of is on disk yet.
    pub fn begin(&mut self, key: Key, level: u16, seq: u64) {
        (self.key, self.level, self.seq, self.blocks, self.pin) = (key, level, seq, 0, None);
        self.keys.clear();
        self.open.clear();
    }

    /// Makes it the node that these bytes are. `seen` is told of every key on disk, also of those that others override.
    pub fn read(
        &mut self,
        bytes: &[u8],
        geometry: &Geometry,
        key: Key,
        level: u16,
        mut seen: impl FnMut(&Key),
    ) -> Result<Log, NodeError> {
        self.begin(key, level, 0);
        let keys = &mut self.keys;
        let log = log::read(bytes, geometry, &key, |set| {
            for found in set {
                let found = found?;
                match level {
                    0 => {
                        geometry.check_extent(&found)?;
                        seen(&found);
                        if found.sectors() > 0 {
                            keys.lay(found, |_| ());
                        }
                    }
                    _ => take_node(keys, geometry, &found, &mut seen)?,
                }
            }
            Ok(())
        });
        let log = log.map_err(NodeError::Log)?;
        (self.seq, self.blocks) = (log.seq, log.blocks);
        match self.keys.keys().last().filter(|last| last.end() > key.end()) {
            Some(found) => Err(NodeError::Behind { found: *found, end: key.end() }),
            None => Ok(log),
        }
    }

    /// The node below in which `at` lies, of those that are `fresh`.
    pub fn child(&self, at: Position, fresh: impl Fn(&Key) -> bool) -> Option<Key> {
        let keys = &self.keys.keys()[self.keys.first_behind(at)..];
        keys.iter().find(|key| fresh(key)).copied()
    }

    /// Whether one more key can be laid into it, and be written some day without moving anything.
    pub fn room_for_a_key(&self, geometry: &Geometry) -> Room {
        match self.open.keys().len() + GROWTH <= OPEN_KEYS {
            _ if !self.has_room(geometry, self.open.words() + GROWTH_WORDS, GROWTH) => Room::LogFull,
            false => Room::OpenFull,
            true => Room::Enough,
        }
    }

    /// Whether keys can go on being laid into it, sooner or later.
    pub fn has_room_for_some(&self, geometry: &Geometry) -> bool {
        self.room_for_a_key(geometry) != Room::LogFull
    }

    /// Whether its log has room for a set of so many words, and it itself for so many more keys.
    pub fn has_room(&self, geometry: &Geometry, words: usize, keys: usize) -> bool {
        let blocks = self.key.sectors() / geometry.block_sectors;
        self.blocks + blocks_of(geometry, words) <= blocks
            && self.keys.keys().len() + keys <= divisible_keys(geometry)
    }

    /// Lays an extent into a leaf. `gone` is told of what is not there any more.
    pub fn lay(&mut self, key: Key, gone: impl FnMut(Key)) {
        self.keys.lay(key, gone);
        self.open.lay(key, |_| ());
    }
}

/// Blocks that a set of so many words takes in a log.
pub fn blocks_of(geometry: &Geometry, words: usize) -> u64 {
    log::set_bytes(geometry, words) as u64 / 512 / geometry.block_sectors
}

/// Keys that a node that is made gets at most: they take no more than two thirds of its log, so that there is room for more.
pub fn new_keys(geometry: &Geometry) -> usize {
    let blocks = geometry.node_sectors() / geometry.block_sectors;
    ((blocks * 2 / 3).max(1) * geometry.block_sectors * 512) as usize / 24 - HEADER_BYTES.div_ceil(24)
}

/// Keys up to which a node can be made two, the first of which gets three fifths.
fn divisible_keys(geometry: &Geometry) -> usize {
    most_keys(geometry).min(new_keys(geometry) * 5 / 3)
}

/// Keys that a node has room for when it was written anew.
pub fn most_keys(geometry: &Geometry) -> usize {
    (geometry.node_sectors() as usize * 512 - HEADER_BYTES) / 24
}

/// One key of a node that has nodes below it.
fn take_node(
    keys: &mut Content,
    geometry: &Geometry,
    found: &Key,
    seen: &mut impl FnMut(&Key),
) -> Result<(), FormatError> {
    if found.end() == Position::default() || found.sectors() == 0 {
        geometry.check_place(found)?;
        seen(found); // what a node left behind that is not there any more: the generation of its bucket
        return Ok(());
    }
    geometry.check_node(found)?;
    seen(found);
    keys.put_node(*found);
    Ok(())
}
