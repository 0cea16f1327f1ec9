//! What the tree says of a place, for those who keep the set going.

use bcache_format::{Key, Position};

use crate::backing::BackingDisk;
use crate::error::SetError;
use crate::set::CacheSet;
use crate::writeback::stripes::Stripes;

impl CacheSet {
    /// Counts how much of each stripe of a backing device is dirty, and goes on counting.
    pub(crate) async fn know_stripes(&self, inode: u32, disk: &BackingDisk) -> Result<(), SetError> {
        let geometry = disk.dev.geometry();
        let mut stripes = Stripes::of(&geometry);
        let (mut at, dirty) = (Position::new(inode, 0), &self.engine().dirty);
        while stripes.sectors() < dirty.get(inode)
            && let Some(key) = self.next_dirty(at, u64::MAX).await?
        {
            if key.end().offset > geometry.size.0 {
                return Err(SetError::BehindEnd { found: key, sectors: geometry.size.0 });
            }
            stripes.add(key.start().offset, key.sectors());
            at = key.end();
        }
        dirty.know_stripes(inode, stripes);
        Ok(())
    }

    /// The next extent of the volume of `at`, from there on, that only the cache has; of it at most so many sectors.
    pub(crate) async fn next_dirty(&self, at: Position, most: u64) -> Result<Option<Key>, SetError> {
        let mut from = at;
        loop {
            let leaf = self.nodes.leaf(&self.roots, &self.buckets, from).await?;
            let behind = leaf.keys.keys()[leaf.keys.first_behind(from)..].iter();
            let mut own = behind.take_while(|key| key.inode() == at.inode);
            let found = own.find(|key| key.is_dirty() && key.pointer().is_some_and(|to| self.is_there(to)));
            if let Some(key) = found {
                let rest = key.cut_front(key.start().max(from).offset);
                let end = rest.start().offset + rest.sectors().min(most);
                return Ok(Some(rest.cut_back(end)));
            }
            let end = leaf.key.end();
            if end.inode > at.inode || end <= from {
                return Ok(None);
            }
            from = end;
        }
    }

    /// Whether the tree says what this key says, of all of its sectors.
    pub(crate) async fn says(&self, key: &Key) -> bool {
        let found = self.find(key.start(), key.sectors()).await;
        found.is_ok_and(|found| {
            found.sectors == key.sectors()
                && found.at == key.pointer().map(|pointer| (pointer, key.is_dirty()))
        })
    }
}
