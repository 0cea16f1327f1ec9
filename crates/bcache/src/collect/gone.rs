//! What volumes left that are not in the set any more: nobody reads it, and where it is dirty it would stay for ever.

use bcache_format::key::MOST_SECTORS;
use bcache_format::{Key, Position};
use runtime::yield_now;

use crate::error::SetError;
use crate::set::CacheSet;

/// Sectors that one hole takes at most: whole blocks.
const HOLE_SECTORS: u64 = MOST_SECTORS / 8 * 8;

impl CacheSet {
    /// Whether a volume has left something.
    pub(crate) fn has_gone(&self) -> bool {
        !self.engine().gone.borrow().is_empty()
    }

    /// Forgets what they left. Where that cannot be read it stays until the next start.
    pub(crate) async fn forget_gone(&self) -> Result<(), SetError> {
        let gone = || self.engine().gone.borrow().first().copied();
        while let Some(inode) = gone().filter(|_| !self.is_over()) {
            let forgotten = self.forget_from(Position::new(inode, 0)).await;
            self.engine().gone.borrow_mut().retain(|left| *left != inode);
            forgotten?;
        }
        Ok(())
    }

    /// Forgets all that the cache has of the volume of `from`, from there on. Nobody else lays keys there.
    pub(crate) async fn forget_from(&self, from: Position) -> Result<(), SetError> {
        let mut at = Some(from);
        while let Some(from) = at.filter(|_| !self.is_over()) {
            let (hole, next) = self.hole_from(from).await?;
            if let Some(hole) = hole {
                self.insert(hole).await?;
                self.engine().allocator.changed.notify();
            }
            at = next;
            yield_now().await;
        }
        Ok(())
    }

    /// A hole over what the leaf in which `from` lies has of its volume from there on, as long as one can be; where to go on.
    async fn hole_from(&self, from: Position) -> Result<(Option<Key>, Option<Position>), SetError> {
        let leaf = self.nodes.leaf(&self.roots, &self.buckets, from).await?;
        let behind = leaf.keys.keys()[leaf.keys.first_behind(from)..].iter();
        let mut own = behind.take_while(|key| key.inode() == from.inode);
        let end = leaf.key.end();
        let Some(first) = own.next() else {
            return Ok((None, (end.inode == from.inode && end > from).then_some(end)));
        };
        let start = first.start().max(from);
        let last = own.last().unwrap_or(first).end();
        let sectors = (last.offset - start.offset).min(HOLE_SECTORS);
        Ok((Some(Key::hole(start, sectors)), Some(Position::new(from.inode, start.offset + sectors))))
    }
}
