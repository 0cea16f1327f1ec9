//! Whatever lies on a cache, it is an error or data; never a panic, never a write, never without an end.

use std::rc::Rc;

use bcache::{CacheSet, Options, Reader, SetError, Volume, check, examine};
use bcache_format::bset::Bset;
use bcache_format::jset::{HEADER_BYTES, Jset};
use bcache_format::superblock::{Cache, CachePlan, Kind, journal_buckets};
use bcache_format::uuids::Use;
use bcache_format::{Geometry, Replacement, Superblock, bset};
use block::{Arena, Buf, Dev, Request, Sectors};
use runtime::Runtime;
use runtime::sim::World;

/// Numbers that follow from a seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ z >> 27
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Where forms begin on the cache: most of it is data, which nothing depends on.
fn forms(bytes: &[u8], geometry: &Geometry) -> Vec<usize> {
    let magics = [
        bset::magic(geometry.set_magic),
        bcache_format::jset::magic(geometry.set_magic),
        bcache_format::prio::magic(geometry.set_magic),
    ];
    let is_form =
        |at: &usize| magics.contains(&u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap()));
    (0..bytes.len()).step_by(512).filter(is_form).collect()
}

/// Changes a few bytes where it matters, and sometimes makes the checksum true again.
fn damage(bytes: &mut [u8], forms: &[usize], geometry: &Geometry, draw: &mut Draw) {
    for _ in 0..1 + draw.below(3) {
        let at = match draw.below(8) {
            0 => 4096,
            _ => forms[draw.below(forms.len())],
        };
        let reach = if draw.below(2) == 0 { 48 } else { 600 };
        let place = at + 8 + draw.below(reach);
        let value = match draw.below(3) {
            0 => draw.next() as u8,
            1 => bytes[place] ^ 1 << draw.below(8),
            _ => [0, 255, 128, 16][draw.below(4)],
        };
        bytes[place] = value;
        if draw.below(4) > 0 {
            seal(bytes, at, geometry);
        }
    }
}

/// Makes the checksum of the form at `at` true, if that can be.
fn seal(bytes: &mut [u8], at: usize, geometry: &Geometry) {
    if at == 4096 {
        let _ = Superblock::edit(&mut bytes[4096..8192]).map(Superblock::seal);
        return;
    }
    let set_magic = geometry.set_magic;
    if let Ok(jset) = Jset::view(&bytes[at..], set_magic) {
        let end = (at + HEADER_BYTES + 8 * jset.keys.get() as usize).min(bytes.len());
        let sum = bcache_format::checksum::checksum(bcache_format::checksum::SEED, &bytes[at + 8..end]);
        bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
    } else if Bset::view(&bytes[at..]).is_ok_and(|set| set.magic.get() == bset::magic(set_magic)) {
        let words = Bset::view(&bytes[at..]).map_or(0, |set| set.keys.get() as usize);
        // The pointer of the node that it begins; of later sets it stays wrong.
        let pointer = bcache_format::Pointer::new((at / 512) as u64, 0);
        let _ = Bset::seal(&mut bytes[at..], words, pointer);
    } else {
        let end = at + geometry.meta_bucket_bytes();
        bcache_format::prio::PrioSet::seal(&mut bytes[at..end]);
    }
}

/// Checks the cache, opens it, and reads all of its first volume.
async fn looks(cache: Dev, backing: Dev) {
    let arena = Arena::new(8 << 20);
    let Ok(examined) = examine(&cache, &arena).await else { return };
    let Kind::Cache(Cache { geometry, is_used: true, .. }) = examined.summary.kind else { return };
    for finding in check(&Reader::new(cache.clone(), geometry, arena.clone()).unwrap()).await.findings {
        assert!(!finding.to_string().is_empty());
    }
    let options = Options { node_cache_bytes: 0, ..Options::default() };
    let Ok(set) = CacheSet::open(cache.clone(), &examined, &arena, options).await else { return };
    let below = examine(&backing, &arena).await.unwrap();
    let Kind::Backing(facts) = below.summary.kind else { panic!("a backing device") };
    let used = |entry: &bcache_format::uuids::UuidEntry| !matches!(entry.usage(), Use::Free | Use::Detached);
    let inode = set.uuids().iter().position(used).unwrap_or(0) as u32;
    let volume = Volume::of_backing("it", backing, &facts, 1, Some((Rc::new(set), inode)));
    let buf: Buf = arena.wait_take(1 << 20).await;
    for start in (0..volume.geometry().size.0 - 2048).step_by(2048) {
        let _ = volume.start(Request::read(Sectors(start), buf.clone())).await;
    }
}

#[test]
fn a_cache_that_was_damaged_anywhere_is_an_error_or_data() {
    for image in ["bcache-writeback", "bcache-deep-cut"] {
        let folder = tempfile::tempdir().unwrap();
        let paths = oracle::golden::unpack(image, folder.path()).unwrap();
        let (cache, backing) = (std::fs::read(&paths[0]).unwrap(), std::fs::read(&paths[1]).unwrap());
        let summary =
            Superblock::view(&cache[4096..]).unwrap().check((cache.len() / 512) as u64, 512).unwrap();
        let Kind::Cache(Cache { geometry, .. }) = summary.kind else { panic!("a cache") };
        let forms = forms(&cache, &geometry);
        for seed in 0..60 {
            let mut damaged = cache.clone();
            damage(&mut damaged, &forms, &geometry, &mut Draw(seed));
            println!("{image}, seed {seed}");
            let world = World::new(seed);
            let disks = [&damaged, &backing].map(|bytes| {
                let disk = world.add_disk(Sectors::from_bytes(bytes.len() as u64), 512);
                disk.poke(Sectors::ZERO, bytes);
                disk
            });
            let runtime = Runtime::new(world.clone());
            let [cache, backing] = &disks;
            runtime.block_on(looks(cache.clone(), backing.clone()));
            disks.iter().for_each(|disk| assert_eq!(disk.writes(), 0, "nothing is written"));
        }
    }
}

#[test]
fn a_superblock_that_speaks_of_too_many_buckets_takes_no_memory() {
    let world = World::new(1);
    let (most, arena) = (bcache::limits::MOST_BUCKETS, Arena::new(1 << 20));
    let disk = world.add_disk(Sectors(8 * (most + 1)), 512);
    let mut superblock = vec![0; 4096];
    let plan = CachePlan {
        uuid: [1; 16],
        set_uuid: [2; 16],
        device_sectors: 8 * (most + 1),
        block_sectors: 1,
        bucket_sectors: 8,
        replacement: Replacement::Lru,
    };
    Superblock::create_cache(&mut superblock, &plan).unwrap();
    let edited = Superblock::edit(&mut superblock).unwrap();
    edited.set_used(journal_buckets(most));
    edited.seal();
    disk.poke(Sectors(8), &superblock);
    Runtime::new(world.clone()).block_on(async {
        let dev: Dev = disk.clone();
        let examined = examine(&dev, &arena).await.unwrap();
        let opened = CacheSet::open(dev, &examined, &arena, Options::default()).await.err();
        assert_eq!(opened, Some(SetError::Buckets { found: most + 1, most }));
    });
}
