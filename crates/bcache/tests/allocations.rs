//! P1, P2: after its start a cache allocates nothing and makes no thread, however it is loaded: hits, misses, writes in every
//! mode, leaves and nodes that are written, buckets that are given up and used again. Over real files.
//!
//! Without the usual harness: its thread allocates when a test takes long, and what is counted is all that the process
//! allocates.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use bcache::{CacheSet, Examined, Options, Plan, Volume, create, examine, found};
use bcache_format::superblock::{BackingPlan, CachePlan};
use bcache_format::{CacheMode, Label, Replacement};
use block::counting::Counting;
use block::{Arena, Dev, Request, Sectors};
use runtime::os::{Choice, OpenMode, Os};
use runtime::sim::Random;
use runtime::{Runtime, Task, sleep_ms, spawn};

#[global_allocator]
static COUNTING: Counting = Counting::new();

/// Tasks that use the volume at once.
const CLIENTS: u64 = 24;
/// Requests of each before counting begins, and counted: more than the cache holds, so that buckets are used again.
const WARM: u64 = 60;
const COUNTED: u64 = 250;
/// Bytes of the cache and of the backing device.
const CACHE: u64 = 8 << 20;
const BACKING: u64 = 24 << 20;

fn main() {
    for choice in [Choice::Uring, Choice::Threads] {
        match Os::new(choice) {
            Ok(os) => CacheMode::ALL.into_iter().for_each(|mode| load(&os, mode, choice)),
            Err(error) => println!("left out: {choice:?} ({error})"),
        }
    }
    println!("\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

fn load(os: &Rc<Os>, mode: CacheMode, choice: Choice) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(os.clone());
    let devs =
        [disk(os, &folder.path().join("cache"), CACHE), disk(os, &folder.path().join("backing"), BACKING)];
    let arena = Arena::new(8 << 20);
    os.register(&arena);
    runtime.block_on(async {
        let (set, volume) = start(&devs, &arena, mode).await;
        let device = volume.device();
        block::reserve(CLIENTS as usize);
        run_counted(&device, &arena, WARM).await;
        let given_up = set.status().free_buckets;
        let counted = run_counted(&device, &arena, COUNTED).await;
        assert_eq!(counted, (0, 0), "{} over {choice:?}: allocations, threads", mode.name());
        println!("{} over {choice:?}: nothing; {given_up} buckets were free before", mode.name());
        set.stop().await.unwrap();
    });
}

fn disk(os: &Rc<Os>, path: &Path, bytes: u64) -> Dev {
    File::create(path).unwrap().set_len(bytes).unwrap();
    os.open(path, OpenMode::Write).unwrap().device
}

/// A cache with one volume, in use.
async fn start(devs: &[Dev; 2], arena: &Rc<Arena>, mode: CacheMode) -> (Rc<CacheSet>, Rc<Volume>) {
    let cache = Plan::Cache(CachePlan {
        device_sectors: CACHE / 512,
        bucket_sectors: 16,
        block_sectors: 1,
        uuid: runtime::random_uuid(),
        set_uuid: runtime::random_uuid(),
        replacement: Replacement::Lru,
    });
    let backing = Plan::Backing(BackingPlan {
        block_sectors: 1,
        bucket_sectors: 16,
        data_offset: 16,
        uuid: runtime::random_uuid(),
        set_uuid: [0; 16],
        label: Label([0; 32]),
        mode,
    });
    let superblocks = [cache, backing].map(|plan| plan.superblock().unwrap());
    create(&superblocks, devs, arena).await.unwrap();
    found(&devs[0], &examined(&devs[0], arena).await, arena, None).await.unwrap();
    let options = Options { node_cache_bytes: 0, ..Options::default() };
    let set =
        CacheSet::open(devs[0].clone(), &examined(&devs[0], arena).await, arena, options).await.unwrap();
    let set = Rc::new(set);
    set.start(Replacement::Lru).await.unwrap();
    let inode = Volume::attach(&devs[1], &examined(&devs[1], arena).await, &set, arena).await.unwrap();
    let now = examined(&devs[1], arena).await;
    let volume = Volume::start_backed("it", devs[1].clone(), &now, set.clone(), inode, arena).await.unwrap();
    for (name, value) in [("writeback_delay", "0"), ("writeback_percent", "0")] {
        volume.set_tunable(name, value).await.unwrap();
    }
    (set, volume)
}

async fn examined(dev: &Dev, arena: &Rc<Arena>) -> Examined {
    examine(dev, arena).await.unwrap()
}

/// What is allocated, and how many threads are made, while all clients are at work.
async fn run_counted(device: &Dev, arena: &Rc<Arena>, requests: u64) -> (u64, isize) {
    let start = Rc::new(Cell::new(false));
    let client = |number: u64| {
        let (start, device, arena) = (start.clone(), device.clone(), arena.clone());
        spawn(async move {
            while !start.get() {
                sleep_ms(1).await;
            }
            work(&device, &arena, Random::new(number), requests).await;
        })
    };
    let clients: Vec<Task<()>> = (0..CLIENTS).map(client).collect();
    sleep_ms(5).await;
    let threads = threads();
    let before = COUNTING.allocations();
    assert_ne!(before, 0, "what was built so far was counted");
    start.set(true);
    while !clients.iter().all(Task::is_done) {
        sleep_ms(1).await;
    }
    (COUNTING.allocations() - before, self::threads() - threads)
}

async fn work(device: &Dev, arena: &Rc<Arena>, mut random: Random, requests: u64) {
    let size = device.geometry().size.0;
    for _ in 0..requests {
        let sectors = 1 + random.below(64);
        let start = Sectors(random.below(size - sectors));
        let buf = arena.wait_take(Sectors(sectors).byte_len()).await;
        let done = match random.below(16) {
            0 => device.start(Request::flush()).await,
            1..=7 => device.start(Request::read(start, buf)).await,
            8 => device.start(Request::write(start, buf).with_fua()).await,
            _ => device.start(Request::write(start, buf)).await,
        };
        assert_eq!(done, Ok(()));
    }
}

fn threads() -> isize {
    std::fs::read_dir("/proc/self/task").unwrap().count() as isize
}
