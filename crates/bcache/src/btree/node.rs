//! A node in memory: what the sets of its log come to. Pure.

use bcache_format::bset::HEADER_BYTES;
use bcache_format::{FormatError, Geometry, Key, Position};

use super::content::Content;
use super::log::{self, Log, LogError};

/// A node.
#[derive(Debug)]
pub struct Node {
    /// The key that names it.
    pub key: Key,
    /// 0 of a leaf.
    pub level: u16,
    /// What it holds: of a leaf without ranges that are not cached; of others the nodes below it.
    pub keys: Content,
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
    pub fn room(geometry: &Geometry) -> Node {
        let keys = Content::new(most_keys(geometry), false, geometry.bucket_sectors);
        Node { key: Key::default(), level: 0, keys }
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
        (self.key, self.level) = (key, level);
        self.keys.clear();
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
