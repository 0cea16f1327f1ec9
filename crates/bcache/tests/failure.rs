//! What becomes of volumes when their cache, or what is below them, fails: what is dirty waits in the cache, what is clean goes on
//! without it, and what a cache had that was gone once is never read again.

use std::rc::Rc;

use bcache::{CacheSet, Examined, Options, Plan, SetError, Standing, Volume, create, examine, found};
use bcache_format::superblock::{BackingPlan, CachePlan, Kind};
use bcache_format::{CacheMode, Label, Replacement, State};
use block::{Arena, Cause, Dev, Outcome, Request, Sectors};
use runtime::Runtime;
use runtime::sim::{Disk, Fate, World};

const CACHE: Sectors = Sectors(8 << 11);
const BACKING: Sectors = Sectors(4 << 11);
const DATA_OFFSET: u64 = 16;

/// A cache and two backing devices.
struct Bench {
    world: Rc<World>,
    arena: Rc<Arena>,
    cache: Rc<Disk>,
    backing: [Rc<Disk>; 2],
}

/// The set in use, with its volumes.
struct Running {
    set: Rc<CacheSet>,
    volumes: Vec<Rc<Volume>>,
}

impl Bench {
    fn new(mode: CacheMode) -> Bench {
        let world = World::new(1);
        let bench = Bench {
            arena: Arena::new(4 << 20),
            cache: world.add_disk(CACHE, 512),
            backing: [world.add_disk(BACKING, 512), world.add_disk(BACKING, 512)],
            world,
        };
        bench.block_on(async {
            let cache = Plan::Cache(CachePlan {
                device_sectors: CACHE.0,
                bucket_sectors: 16,
                block_sectors: 1,
                uuid: runtime::random_uuid(),
                set_uuid: runtime::random_uuid(),
                replacement: Replacement::Lru,
            });
            let backing = || {
                Plan::Backing(BackingPlan {
                    block_sectors: 1,
                    bucket_sectors: 16,
                    data_offset: DATA_OFFSET,
                    uuid: runtime::random_uuid(),
                    set_uuid: [0; 16],
                    label: Label([0; 32]),
                    mode,
                })
            };
            let superblocks = [cache, backing(), backing()].map(|plan| plan.superblock().unwrap());
            let [first, second] = bench.backing.clone();
            let devs: [Dev; 3] = [bench.cache.clone(), first, second];
            create(&superblocks, &devs, &bench.arena).await.unwrap();
            found(&devs[0], &bench.examined(&devs[0]).await, &bench.arena, None).await.unwrap();
        });
        bench
    }

    fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        Runtime::new(self.world.clone()).block_on(test)
    }

    async fn examined(&self, dev: &Dev) -> Examined {
        examine(dev, &self.arena).await.unwrap()
    }

    /// What the superblock of a backing device says: its state, and whether it belongs to a set.
    async fn says(&self, number: usize) -> (State, bool) {
        let dev: Dev = self.backing[number].clone();
        let examined = self.examined(&dev).await;
        let Kind::Backing(backing) = examined.summary.kind else { panic!() };
        (backing.state, examined.summary.set_uuid != [0; 16])
    }

    /// Runs everything; what belongs to no set is attached.
    async fn start(&self) -> Running {
        let cache: Dev = self.cache.clone();
        let options = Options { node_cache_bytes: 0, ..Options::default() };
        let set = CacheSet::open(cache.clone(), &self.examined(&cache).await, &self.arena, options).await;
        let set = Rc::new(set.unwrap());
        set.start(Replacement::Lru).await.unwrap();
        let mut volumes = Vec::new();
        for (number, disk) in self.backing.iter().enumerate() {
            let dev: Dev = disk.clone();
            let examined = self.examined(&dev).await;
            let known = set.inode_of(&examined.summary.uuid);
            let inode = match known.filter(|_| examined.summary.set_uuid == set.uuid()) {
                Some(inode) => inode,
                None => Volume::attach(&dev, &examined, &set, &self.arena).await.unwrap(),
            };
            let (name, examined) = (format!("volume {number}"), self.examined(&dev).await);
            let volume = Volume::start_backed(&name, dev, &examined, set.clone(), inode, &self.arena).await;
            let volume = volume.unwrap();
            volume.set_tunable("writeback_running", "0").await.unwrap();
            volumes.push(volume);
        }
        Running { set, volumes }
    }

    async fn write(&self, volume: &Rc<Volume>, byte: u8) -> Outcome {
        self.write_at(volume, 64, byte).await
    }

    async fn write_at(&self, volume: &Rc<Volume>, sector: u64, byte: u8) -> Outcome {
        let buf = self.arena.wait_take(4096).await;
        buf.copy_from_slice(0, &[byte; 4096]);
        volume.device().start(Request::write(Sectors(sector), buf)).await
    }

    async fn read(&self, volume: &Rc<Volume>) -> Result<u8, block::Failed> {
        let buf = self.arena.wait_take(4096).await;
        volume.device().start(Request::read(Sectors(64), buf.clone())).await?;
        let mut bytes = [0; 4096];
        buf.copy_to_slice(0, &mut bytes);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        Ok(bytes[0])
    }
}

async fn flush(volume: &Rc<Volume>) -> Outcome {
    volume.device().start(Request::flush()).await
}

#[test]
fn a_clean_volume_outlives_its_cache_and_never_reads_what_that_had() {
    let bench = Bench::new(CacheMode::Writethrough);
    bench.block_on(async {
        let Running { set, volumes } = bench.start().await;
        bench.write(&volumes[0], 1).await.unwrap();
        flush(&volumes[0]).await.unwrap();
        bench.cache.set_fate(Fate::Dead);
        bench.write(&volumes[0], 2).await.unwrap();
        flush(&volumes[0]).await.unwrap();
        assert_eq!(bench.read(&volumes[0]).await, Ok(2));
        assert!(matches!(volumes[0].standing(), Standing::Uncached(_)), "{:?}", volumes[0].standing());
        assert!(!volumes[0].is_cached());
        assert_eq!(bench.says(0).await, (State::Detached, false));
        assert!(set.stop().await.is_err());
    });
    bench.world.power_cut();
    bench.cache.set_fate(Fate::Alive);
    bench.block_on(async {
        let Running { set, volumes } = bench.start().await;
        assert_eq!(bench.read(&volumes[0]).await, Ok(2), "the cache still has what was there before");
        assert_eq!(volumes[0].standing(), Standing::Well);
        set.stop().await.unwrap();
    });
}

#[test]
fn a_dirty_volume_stops_with_its_cache_and_has_everything_when_that_is_back() {
    let bench = Bench::new(CacheMode::Writeback);
    bench.block_on(async {
        let Running { set, volumes } = bench.start().await;
        bench.write(&volumes[0], 1).await.unwrap();
        bench.write_at(&volumes[0], 128, 1).await.unwrap();
        flush(&volumes[0]).await.unwrap();
        bench.cache.set_fate(Fate::Dead);
        // It goes to the backing device, but that the cache's data does not count any more cannot be said durably.
        let answers = [bench.write(&volumes[0], 2).await, flush(&volumes[0]).await];
        assert!(answers.iter().any(Result::is_err), "only some of it is below");
        assert!(matches!(volumes[0].standing(), Standing::Stopped(_)));
        assert!(bench.write(&volumes[0], 3).await.is_err());
        // The other volume had nothing dirty.
        bench.write(&volumes[1], 4).await.unwrap();
        assert!(matches!(volumes[1].standing(), Standing::Uncached(_)));
        assert_eq!(bench.says(0).await, (State::Dirty, true));
        assert_eq!(bench.says(1).await, (State::Detached, false));
        assert!(set.stop().await.is_err());
    });
    bench.world.kill();
    bench.cache.set_fate(Fate::Alive);
    bench.block_on(async {
        let Running { set, volumes } = bench.start().await;
        // Of what was written when the cache had gone, either is right.
        assert!(bench.read(&volumes[0]).await.is_ok_and(|byte| [1, 2].contains(&byte)));
        assert_eq!(bench.read(&volumes[1]).await, Ok(4));
        set.stop().await.unwrap();
    });
}

#[test]
fn a_volume_that_is_to_stop_always_does() {
    let bench = Bench::new(CacheMode::Writethrough);
    bench.block_on(async {
        let Running { volumes, .. } = bench.start().await;
        volumes[0].set_tunable("stop_when_cache_set_failed", "always").await.unwrap();
        bench.write(&volumes[0], 1).await.unwrap();
        bench.cache.set_fate(Fate::Dead);
        let answers = [bench.write(&volumes[0], 2).await, flush(&volumes[0]).await];
        assert!(answers.iter().any(Result::is_err));
        assert!(bench.write(&volumes[0], 3).await.is_err());
        assert_eq!(bench.says(0).await, (State::Clean, true));
    });
}

#[test]
fn at_so_many_read_errors_the_set_has_failed_and_before_it_has_not() {
    let bench = Bench::new(CacheMode::Writethrough);
    bench.block_on(async {
        let Running { set, volumes } = bench.start().await;
        set.set_tunable("io_error_limit", "3").await.unwrap();
        bench.write(&volumes[0], 1).await.unwrap();
        flush(&volumes[0]).await.unwrap();
        bench.cache.set_faults(|faults| faults.read_error_one_in = 1);
        for errors in 1..3 {
            assert_eq!(bench.read(&volumes[0]).await, Ok(1), "from below");
            assert_eq!((set.status().io_errors, set.failure()), (errors, None));
        }
        assert_eq!(bench.read(&volumes[0]).await, Ok(1));
        let failed = block::Failed::new(Cause::Medium);
        let error = SetError::TooManyErrors { what: "data", found: 3, limit: 3, failed };
        assert_eq!(set.failure(), Some(error));
        bench.write(&volumes[0], 2).await.unwrap();
        assert_eq!(bench.read(&volumes[0]).await, Ok(2));
        assert_eq!(volumes[0].standing(), Standing::Uncached(error));
    });
}

#[test]
fn a_backing_device_that_dies_takes_its_own_volume_and_no_other() {
    let bench = Bench::new(CacheMode::Writeback);
    bench.block_on(async {
        let Running { set, volumes } = bench.start().await;
        for volume in &volumes {
            bench.write(volume, 1).await.unwrap();
        }
        bench.backing[0].set_fate(Fate::Dead);
        assert!(volumes[0].drain().await.is_err() && volumes[0].dirty_sectors() > 0);
        assert!(
            matches!(volumes[0].standing(), Standing::BackingFailed(failed) if failed.cause == Cause::Gone)
        );
        assert!(bench.write(&volumes[0], 2).await.is_err());
        assert_eq!(bench.read(&volumes[0]).await, Ok(1), "what the cache has is there");
        bench.write(&volumes[1], 2).await.unwrap();
        flush(&volumes[1]).await.unwrap();
        volumes[1].drain().await.unwrap();
        assert_eq!((volumes[1].standing(), set.failure()), (Standing::Well, None));
        set.stop().await.unwrap();
    });
    bench.backing[0].set_fate(Fate::Alive);
    bench.block_on(async {
        let Running { volumes, .. } = bench.start().await;
        assert_eq!(bench.read(&volumes[0]).await, Ok(1));
        volumes[0].drain().await.unwrap();
        assert_eq!(bench.backing[0].peek(block::Range::new(Sectors(64 + DATA_OFFSET), Sectors(1)))[0], 1);
    });
}

#[test]
fn a_flush_that_failed_below_is_never_followed_by_one_that_succeeds() {
    let bench = Bench::new(CacheMode::Writethrough);
    bench.block_on(async {
        let Running { set, volumes } = bench.start().await;
        bench.write(&volumes[0], 1).await.unwrap();
        bench.backing[0].set_faults(|faults| faults.flush_error_one_in = 1);
        // The journal flushes what its keys speak of: nobody waits for that, and its error must not be lost.
        runtime::sleep_ms(1000).await;
        bench.backing[0].set_faults(|faults| faults.flush_error_one_in = 0);
        assert!(flush(&volumes[0]).await.is_err());
        assert!(bench.write(&volumes[0], 2).await.is_err());
        set.stop().await.unwrap();
    });
}

#[test]
fn a_volume_whose_superblock_does_not_say_so_is_not_detached() {
    let bench = Bench::new(CacheMode::Writeback);
    bench.block_on(async {
        let Running { set, volumes } = bench.start().await;
        bench.write(&volumes[0], 1).await.unwrap();
        volumes[0].drain().await.unwrap();
        bench.backing[0].set_faults(|faults| faults.write_error_one_in = 1);
        assert!(volumes[0].detach().await.is_err());
        assert!(volumes[0].is_cached());
        bench.backing[0].set_faults(|faults| faults.write_error_one_in = 0);
        bench.write(&volumes[0], 2).await.unwrap();
        flush(&volumes[0]).await.unwrap();
        assert_eq!(bench.says(0).await, (State::Dirty, true), "whatever it said in between");
        set.stop().await.unwrap();
    });
    bench.world.power_cut();
    bench.block_on(async {
        let Running { volumes, .. } = bench.start().await;
        assert_eq!(bench.read(&volumes[0]).await, Ok(2));
    });
}
