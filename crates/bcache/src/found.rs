//! The first use of a cache that was made: an empty set is put on it, as the kernel does.
//!
//! The superblock says last that there is a set, after everything else is durable: a power cut before leaves a cache that was
//! never used.

use std::rc::Rc;

use bcache_format::jset::{HEADER_BYTES, Jset, Roots};
use bcache_format::limits::SUPERBLOCK_SECTOR;
use bcache_format::prio::{METADATA, Prio, PrioSet};
use bcache_format::superblock::{self, Cache, Kind};
use bcache_format::{BucketNo, FormatError, Geometry, Key, Pointer, Position, Superblock};
use block::{Arena, Dev, Failed, Origin, Request, Sectors};
use runtime::{random, wall_seconds};

use crate::btree::log;
use crate::error::SetError;
use crate::examine::Examined;
use crate::limits::READ_BYTES;

/// A cache on which a set is put.
struct Founder<'a> {
    dev: &'a Dev,
    geometry: Geometry,
    arena: &'a Rc<Arena>,
}

/// Puts an empty set on the cache that was examined, which was never used. Its journal gets so many buckets, or as many as a
/// kernel would give it.
pub async fn found(
    dev: &Dev,
    examined: &Examined,
    arena: &Rc<Arena>,
    journal_buckets: Option<u16>,
) -> Result<(), SetError> {
    let Kind::Cache(Cache { geometry, is_read_only, .. }) = examined.summary.kind else {
        return Err(SetError::NotUsed);
    };
    if is_read_only {
        return Err(SetError::ReadOnly);
    }
    let journal = journal_buckets.unwrap_or_else(|| superblock::journal_buckets(geometry.buckets));
    let geometry = Geometry { journal_buckets: journal.into(), ..geometry };
    let founder = Founder { dev, geometry, arena };
    founder.clear_journal().await?;
    let first = geometry.first_free().0;
    let prios = geometry.prio_buckets();
    let (uuids, root) = (BucketNo(first + prios), BucketNo(first + prios + 1));
    founder.write_prios(first, root).await?;
    founder.write("uuids", geometry.sector(uuids), &vec![0; geometry.meta_bucket_bytes()]).await?;
    let pointer = |bucket| Pointer::new(geometry.sector(bucket), 0);
    let roots = Roots {
        uuids: Key::node(Position::default(), geometry.bucket_sectors & 0xffff, pointer(uuids)),
        root: Key::node(Position::MAX, geometry.node_sectors(), pointer(root)),
        level: 0,
        prios: first,
    };
    let mut bytes = vec![0; log::set_bytes(&geometry, 0)];
    log::write(&mut bytes, &geometry, &roots.root, random().max(1), &[]);
    founder.write("node", geometry.sector(root), &bytes).await?;
    founder.flush().await?;
    founder.write_journal(&roots).await?;
    founder.flush().await?;
    founder.write_superblock(examined, journal).await?;
    founder.flush().await
}

impl Founder<'_> {
    async fn write(&self, what: &'static str, sector: u64, bytes: &[u8]) -> Result<(), SetError> {
        for (piece, at) in bytes.chunks(READ_BYTES).zip((sector..).step_by(READ_BYTES / 512)) {
            let buf = self.arena.wait_take(piece.len()).await;
            buf.copy_from_slice(0, piece);
            let failed = |failed: Failed| SetError::Device { what, sector: at, failed };
            let write = Request::write(Sectors(at), buf).from_origin(Origin::Metadata);
            self.dev.start(write).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), SetError> {
        let failed = |failed: Failed| SetError::Device { what: "flush", sector: 0, failed };
        self.dev.start(Request::flush()).await.map_err(failed)
    }

    /// What another set of the same uuid may have left in the journal's buckets is not to be found in them.
    async fn clear_journal(&self) -> Result<(), SetError> {
        let block = vec![0; self.geometry.block_sectors as usize * 512];
        for index in 0..self.geometry.journal_buckets {
            let sector = self.geometry.sector(self.geometry.journal_bucket(index));
            self.write("journal", sector, &block).await?;
        }
        Ok(())
    }

    /// All generations are 0; buckets up to `last` are metadata.
    async fn write_prios(&self, first: u64, last: BucketNo) -> Result<(), SetError> {
        let geometry = &self.geometry;
        let mut bytes = vec![0; geometry.meta_bucket_bytes()];
        for part in 0..geometry.prio_buckets() {
            let wrong = |error: FormatError| SetError::Form { what: "priorities", sector: 0, error };
            let next = (first + part + 1).min(first + geometry.prio_buckets() - 1);
            let prios = PrioSet::create(&mut bytes, geometry.set_magic, 1, next).map_err(wrong)?;
            for (prio, number) in prios.iter_mut().zip(part * geometry.prios_per_bucket()..geometry.buckets) {
                let priority = if number <= last.0 { METADATA } else { 0 };
                *prio = Prio { priority: priority.into(), generation: 0 };
            }
            PrioSet::seal(&mut bytes);
            self.write("priorities", geometry.sector(BucketNo(first + part)), &bytes).await?;
        }
        Ok(())
    }

    /// The first entry, in the second bucket, where the kernel begins too.
    async fn write_journal(&self, roots: &Roots) -> Result<(), SetError> {
        let geometry = &self.geometry;
        let mut bytes = vec![0; geometry.whole_blocks(HEADER_BYTES)];
        let sector = geometry.sector(geometry.journal_bucket(1));
        let wrong = |error| SetError::Form { what: "journal", sector, error };
        Jset::create(&mut bytes, geometry.set_magic).map_err(wrong)?;
        Jset::seal(&mut bytes, 1, 1, roots, 0).map_err(wrong)?;
        self.write("journal", sector, &bytes).await
    }

    async fn write_superblock(&self, examined: &Examined, journal: u16) -> Result<(), SetError> {
        let mut bytes = examined.bytes.clone();
        let wrong = |error| SetError::Form { what: "superblock", sector: SUPERBLOCK_SECTOR, error };
        let superblock = Superblock::edit(&mut bytes[..]).map_err(wrong)?;
        superblock.set_used(journal);
        superblock.seq = (superblock.seq.get() + 1).into();
        superblock.last_mount = (wall_seconds() as u32).into();
        superblock.seal();
        self.write("superblock", SUPERBLOCK_SECTOR, &bytes[..]).await
    }
}
