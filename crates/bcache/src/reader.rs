//! Reading what lies on a cache, as it lies there: entries of the journal, priorities, uuids, nodes. Never writes.

use std::rc::Rc;

use bcache_format::jset::Jset;
use bcache_format::prio::{Prio, PrioSet};
use bcache_format::uuids::UuidEntry;
use bcache_format::{BucketNo, FormatError, Geometry, Key};
use block::{Arena, Dev, Origin, Request, Sectors};

use crate::error::SetError;
use crate::journal::chain::Entry;
use crate::limits::{MOST_BUCKETS, READ_BYTES};

/// A cache that is read.
pub struct Reader {
    dev: Dev,
    geometry: Geometry,
    arena: Rc<Arena>,
}

impl Reader {
    /// Reads from `dev`, a cache of this shape, through buffers of `arena`.
    pub fn new(dev: Dev, geometry: Geometry, arena: Rc<Arena>) -> Result<Reader, SetError> {
        match geometry.buckets <= MOST_BUCKETS {
            true => Ok(Reader { dev, geometry, arena }),
            false => Err(SetError::Buckets { found: geometry.buckets, most: MOST_BUCKETS }),
        }
    }

    /// The cache's shape.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Bytes from a sector on.
    pub async fn bytes(&self, what: &'static str, sector: u64, bytes: usize) -> Result<Vec<u8>, SetError> {
        let mut all = vec![0; bytes];
        for (piece, at) in all.chunks_mut(READ_BYTES).zip((sector..).step_by(READ_BYTES / 512)) {
            let buf = self.arena.wait_take(piece.len()).await;
            let read = Request::read(Sectors(at), buf.clone()).from_origin(Origin::Metadata);
            let failed = |failed| SetError::Device { what, sector: at, failed };
            self.dev.start(read).await.map_err(failed)?;
            buf.copy_to_slice(0, piece);
        }
        Ok(all)
    }

    /// All entries of the journal that are whole.
    pub async fn journal(&self) -> Result<Vec<Entry>, SetError> {
        let mut entries = Vec::new();
        for index in 0..self.geometry.journal_buckets {
            self.journal_bucket(index, &mut entries).await?;
        }
        Ok(entries)
    }

    /// The entries of one of its buckets, up to the first that is none.
    async fn journal_bucket(&self, index: u64, entries: &mut Vec<Entry>) -> Result<(), SetError> {
        let geometry = &self.geometry;
        let start = geometry.sector(geometry.journal_bucket(index));
        let (mut read, mut read_at) = (Vec::new(), 0);
        let mut offset = 0;
        while offset < geometry.bucket_sectors {
            // What is read ahead has the longest entry in it, or ends where the bucket does.
            let left = (geometry.bucket_sectors - offset) as usize * 512;
            let at = (offset - read_at) as usize * 512;
            if read.len().saturating_sub(at) < left.min(geometry.journal_entry_bytes()) {
                read = self.bytes("journal", start + offset, left.min(READ_BYTES)).await?;
                read_at = offset;
            }
            let bytes = &read[(offset - read_at) as usize * 512..];
            let bytes = &bytes[..bytes.len().min(geometry.journal_entry_bytes())];
            if Jset::check(bytes, geometry.set_magic).is_err() {
                return Ok(());
            }
            let Ok(jset) = Jset::view(bytes, geometry.set_magic) else { return Ok(()) };
            let sectors = (geometry.whole_blocks(jset.bytes()) / 512) as u64;
            let (seq, last_seq) = (jset.seq.get(), jset.last_seq.get());
            entries.push(Entry { seq, last_seq, index, offset, sectors });
            offset += sectors;
        }
        Ok(())
    }

    /// The bytes of an entry.
    pub async fn entry(&self, entry: &Entry) -> Result<Vec<u8>, SetError> {
        let start = self.geometry.sector(self.geometry.journal_bucket(entry.index)) + entry.offset;
        self.bytes("journal entry", start, entry.sectors as usize * 512).await
    }

    /// The priorities, bucket by bucket of the chain that begins there; which buckets those are.
    pub async fn prios(
        &self,
        first: u64,
        mut take: impl FnMut(BucketNo, &Prio),
    ) -> Result<Vec<BucketNo>, SetError> {
        let geometry = &self.geometry;
        let (mut next, mut chain) = (first, Vec::new());
        for part in 0..geometry.prio_buckets() {
            let bucket = BucketNo(next);
            if !geometry.is_pool(bucket) || chain.contains(&bucket) {
                return Err(SetError::PrioBucket { found: next });
            }
            chain.push(bucket);
            let sector = geometry.sector(bucket);
            let bytes = self.bytes("priorities", sector, geometry.meta_bucket_bytes()).await?;
            let wrong = |error| SetError::Form { what: "priorities", sector, error };
            let (prios, follows) = PrioSet::check(&bytes, geometry.set_magic).map_err(wrong)?;
            let numbers = part * geometry.prios_per_bucket()..geometry.buckets;
            prios.iter().zip(numbers).for_each(|(prio, number)| take(BucketNo(number), prio));
            next = follows;
        }
        Ok(chain)
    }

    /// The uuids in the bucket that this key names.
    pub async fn uuids(&self, key: &Key) -> Result<Vec<UuidEntry>, SetError> {
        let geometry = &self.geometry;
        let wrong = |sector, error| SetError::Form { what: "uuids", sector, error };
        let pointer = key.pointer().ok_or(wrong(0, FormatError::KeyOfNode { found: *key }))?;
        let bucket = pointer.bucket(geometry.bucket_sectors);
        if !geometry.is_pool(bucket) {
            return Err(wrong(pointer.sector(), FormatError::KeyPointer { found: *key }));
        }
        let sector = geometry.sector(bucket);
        let bytes = self.bytes("uuids", sector, geometry.meta_bucket_bytes()).await?;
        let entries = UuidEntry::view(&bytes).map_err(|error| wrong(sector, error))?;
        Ok(entries.to_vec())
    }

    /// The bytes of the node that this key names, which was checked.
    pub async fn node(&self, key: &Key) -> Result<Vec<u8>, SetError> {
        let pointer = key.pointer().expect("checked");
        self.bytes("node", pointer.sector(), key.sectors() as usize * 512).await
    }
}
