//! What is done to a set by request, and how it stands.

use bcache_format::limits::{SUPERBLOCK_BYTES, SUPERBLOCK_SECTOR};
use bcache_format::{Replacement, Superblock};
use runtime::wall_seconds;

use crate::buckets::Purpose;
use crate::error::SetError;
use crate::set::CacheSet;
use crate::tunables::TunableError;
use crate::volume::NotSet;

/// How a set stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Buckets of the cache.
    pub buckets: u64,
    /// Sectors of each.
    pub bucket_sectors: u64,
    /// Sectors of a block.
    pub block_sectors: u64,
    /// Buckets that could be used now.
    pub free_buckets: u64,
    /// Buckets that cannot be given up: of metadata, or with something dirty.
    pub buckets_in_use: u64,
    /// Buckets with something dirty.
    pub dirty_buckets: u64,
    /// Sectors that only the cache has.
    pub dirty_sectors: u64,
    /// Levels of the tree.
    pub levels: u64,
    /// Nodes that are in memory at most.
    pub node_frames: u64,
    /// Errors of the cache that count.
    pub io_errors: u64,
    /// Why it is not written any more, if so.
    pub failure: Option<SetError>,
}

impl CacheSet {
    /// How a set that was started stands.
    pub fn status(&self) -> Status {
        let buckets = self.buckets.borrow();
        Status {
            buckets: self.geometry.buckets,
            bucket_sectors: self.geometry.bucket_sectors,
            block_sectors: self.geometry.block_sectors,
            free_buckets: buckets.available(Purpose::Prios) as u64,
            buckets_in_use: buckets.in_use(),
            dirty_buckets: buckets.dirty_buckets(),
            dirty_sectors: self.engine().dirty.all(),
            levels: u64::from(self.root().1) + 1,
            node_frames: self.nodes.count() as u64,
            io_errors: self.engine().errors.count(),
            failure: self.failure(),
        }
    }

    /// Sets what has that name to what was typed. Which bucket is given up first is kept in the superblock.
    pub async fn set_tunable(&self, name: &str, text: &str) -> Result<(), NotSet> {
        let tunables = &self.engine().tunables;
        let before = tunables.replacement();
        tunables.set(name, text).map_err(|error: TunableError| NotSet::Tunable(error))?;
        let policy = tunables.replacement();
        if policy == before {
            return Ok(());
        }
        self.buckets.borrow_mut().set_policy(policy);
        self.write_policy(policy).await.map_err(|error| NotSet::Failed(crate::volume::failed(error)))
    }

    async fn write_policy(&self, policy: Replacement) -> Result<(), SetError> {
        self.write_superblock(|superblock| superblock.set_replacement(policy)).await
    }

    /// Says durably that the set is used again, as a kernel does at each registration: whoever remembers the superblock of before
    /// can tell.
    pub async fn note_use(&self) -> Result<(), SetError> {
        self.write_superblock(|superblock| superblock.last_mount = (wall_seconds() as u32).into()).await
    }

    async fn write_superblock(&self, edit: impl FnOnce(&mut Superblock)) -> Result<(), SetError> {
        let buf = self.engine().leaf_buffers.wait_take(SUPERBLOCK_BYTES).await;
        {
            let mut bytes = self.superblock.borrow_mut();
            let superblock = Superblock::edit(&mut bytes[..]).expect("it was checked");
            edit(superblock);
            superblock.seq = (superblock.seq.get() + 1).into();
            superblock.seal();
            buf.copy_from_slice(0, &bytes[..]);
        }
        self.write_durably("superblock", SUPERBLOCK_SECTOR, buf).await
    }
}
