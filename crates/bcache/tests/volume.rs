//! A cached volume is read from where it is newest, and from elsewhere only where that is the same.

use std::rc::Rc;

use bcache::{CacheSet, Options, Volume, examine};
use bcache_format::Position;
use bcache_format::superblock::Kind;
use block::{Arena, Cause, Dev, Request, Sectors};
use runtime::Runtime;
use runtime::sim::{Disk, World};

/// A set that a kernel left, on simulated disks: the cache and its backing device, whose data begins at sector 16.
struct Bench {
    world: Rc<World>,
    cache: Rc<Disk>,
    backing: Rc<Disk>,
}

const DATA_OFFSET: u64 = 16;

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let paths = oracle::golden::unpack("bcache-writeback", folder.path()).unwrap();
        let world = World::new(1);
        let disk = |path| {
            let bytes = std::fs::read(path).unwrap();
            let disk = world.add_disk(Sectors::from_bytes(bytes.len() as u64), 512);
            disk.poke(Sectors::ZERO, &bytes);
            disk
        };
        let (cache, backing) = (disk(&paths[0]), disk(&paths[1]));
        Bench { world, cache, backing }
    }

    fn run(self, test: impl AsyncFnOnce(&Bench, Rc<CacheSet>, Dev, Rc<Arena>)) {
        let runtime = Runtime::new(self.world.clone());
        runtime.block_on(async {
            let arena = Arena::new(4 << 20);
            let (cache, backing): (Dev, Dev) = (self.cache.clone(), self.backing.clone());
            let examined = examine(&cache, &arena).await.unwrap();
            let set = CacheSet::open(cache, &examined, &arena, Options::default()).await.unwrap();
            let set = Rc::new(set);
            let Kind::Backing(facts) = examine(&backing, &arena).await.unwrap().summary.kind else {
                panic!()
            };
            let volume = Volume::of_backing("it", backing, &facts, 1, Some((set.clone(), 0)));
            test(&self, set, volume, arena).await;
            assert_eq!((self.cache.writes(), self.backing.writes()), (0, 0), "nothing is written");
        });
    }
}

/// The first sector of the volume that is in the cache, dirty or not as asked, and where it lies there.
async fn first(set: &CacheSet, is_dirty: bool) -> (Sectors, u64) {
    let mut at = DATA_OFFSET;
    loop {
        let found = set.find(Position::new(0, at), 1 << 20).await.unwrap();
        match found.at {
            Some((pointer, dirty)) if dirty == is_dirty => {
                return (Sectors(at - DATA_OFFSET), pointer.sector());
            }
            _ => at += found.sectors,
        }
    }
}

#[test]
fn clean_data_that_the_cache_cannot_give_is_read_from_below() {
    Bench::new().run(async |bench, set, volume, arena| {
        let (sector, at) = first(&set, false).await;
        bench.cache.set_faults(|faults| faults.bad_sectors.extend([at]));
        let buf = arena.wait_take(512).await;
        assert_eq!(volume.start(Request::read(sector, buf.clone())).await, Ok(()));
        let mut read = [0; 512];
        buf.copy_to_slice(0, &mut read);
        let below = bench.backing.peek(block::Range::new(sector + Sectors(DATA_OFFSET), Sectors(1)));
        assert_eq!(read[..], below[..]);
    });
}

#[test]
fn data_that_only_the_cache_has_is_not_made_up() {
    Bench::new().run(async |bench, set, volume, arena| {
        let (sector, at) = first(&set, true).await;
        bench.cache.set_faults(|faults| faults.bad_sectors.extend([at]));
        let buf = arena.wait_take(512).await;
        let failed = volume.start(Request::read(sector, buf)).await.unwrap_err();
        assert_eq!(failed.cause, Cause::Medium);
    });
}

#[test]
fn reads_of_any_length_are_those_of_single_sectors() {
    Bench::new().run(async |_, _, volume, arena| {
        let (whole, one) = (arena.wait_take(1 << 20).await, arena.wait_take(512).await);
        volume.start(Request::read(Sectors(256), whole.clone())).await.unwrap();
        for at in 0..2048 {
            volume.start(Request::read(Sectors(256 + at), one.clone())).await.unwrap();
            assert!(one.same_bytes(&whole.slice(at as usize * 512, 512)), "sector {at}");
        }
    });
}

#[test]
fn nothing_is_written_and_nothing_lies_behind_the_end() {
    Bench::new().run(async |_, _, volume, arena| {
        let buf = arena.wait_take(512).await;
        for request in [Request::write(Sectors(0), buf.clone()), Request::read(volume.geometry().size, buf)] {
            assert_eq!(volume.start(request).await.unwrap_err().cause, Cause::Refused);
        }
    });
}
