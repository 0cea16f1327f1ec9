//! A tiny cache over one backing device, in a simulated world: what happens when is decided by the test.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test uses a part of it")]

mod cases;
mod gate;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bcache::{CacheSet, Examined, Options, Plan, Volume, create, examine, found};
use bcache_format::superblock::{BackingPlan, CachePlan, Kind};
use bcache_format::{CacheMode, Geometry, Label, Position, Replacement, State};
use block::{Arena, Buf, Dev, Device, Op, Origin, Outcome, Range, Request, Sectors};
use runtime::sim::{Disk, World};
use runtime::waits::tell;
use runtime::{Driver, Runtime, sleep_ms};

pub use cases::Case;
pub(crate) use cases::cases;
pub use gate::Gate;

/// Where the data of the backing device begins.
pub const DATA_OFFSET: u64 = 16;
/// Buckets of the cache: as few as a kernel takes, and some.
pub const BUCKETS: u64 = 520;
/// Sectors of each, and of each node.
pub const BUCKET: u64 = 8;
/// Sectors that the cache has room for: with its metadata, too many.
pub const ROOM: u64 = BUCKETS * BUCKET;
/// Who waits for so long while no disk is asked for anything waits for ever.
const FOR_EVER_NS: u64 = 300_000_000_000;
/// By then the first buckets are free, and the timers do as they are told.
const BEGUN_MS: u64 = 200;

/// What came out that must not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// Something that was durable is not there any more.
    Lost,
    /// Something was read that is not what was last written there.
    Stale,
    /// The backing device says that nothing is dirty, and something is.
    Mark,
    /// Somebody waits, and nothing that could end it will ever happen (P3).
    Hangs,
}

/// How a case went.
pub type Verdict<T = ()> = Result<T, Wrong>;

/// Two disks.
pub struct Bench {
    pub world: Rc<World>,
    pub cache: Rc<Disk>,
    pub backing: Rc<Disk>,
    /// Who waits for whom, when nothing goes on any more.
    pub told: RefCell<String>,
    /// Of the world: another one after each cut, or numbers drawn at random would come twice, as they never do.
    seed: u64,
}

/// What a cut leaves on the disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// What was flushed.
    Durable,
    /// All that was written, flushed or not.
    Everything,
}

/// The cache and its volume, in use.
pub struct Live {
    pub world: Rc<World>,
    pub set: Rc<CacheSet>,
    pub volume: Rc<Volume>,
    pub device: Dev,
    pub arena: Rc<Arena>,
    /// Before the disks.
    pub cache: Rc<Gate>,
    pub backing: Rc<Gate>,
    pub geometry: Geometry,
}

impl Bench {
    /// A new cache with a journal of so many buckets, and a backing device three times as large, cached in this way.
    pub fn new(journal_buckets: u16, mode: CacheMode) -> Bench {
        Bench::with_blocks(BUCKETS, 1, journal_buckets, mode)
    }

    /// The same with so many buckets, in blocks of so many sectors.
    pub fn with_blocks(buckets: u64, block_sectors: u16, journal_buckets: u16, mode: CacheMode) -> Bench {
        let seed = 1;
        let world = World::new(seed);
        let cache = world.add_disk(Sectors(buckets * BUCKET), 512);
        let backing = world.add_disk(Sectors(3 * buckets * BUCKET + DATA_OFFSET), 512);
        let bench = Bench { world, cache, backing, told: RefCell::default(), seed };
        Runtime::new(bench.world.clone()).block_on(bench.make(
            buckets * BUCKET,
            block_sectors,
            journal_buckets,
            mode,
        ));
        bench
    }

    async fn make(&self, device_sectors: u64, block_sectors: u16, journal_buckets: u16, mode: CacheMode) {
        let cache = Plan::Cache(CachePlan {
            device_sectors,
            bucket_sectors: BUCKET,
            block_sectors,
            uuid: [1; 16],
            set_uuid: [2; 16],
            replacement: Replacement::Lru,
        });
        let backing = Plan::Backing(BackingPlan {
            block_sectors,
            bucket_sectors: BUCKET as u16,
            data_offset: DATA_OFFSET,
            uuid: [3; 16],
            set_uuid: [0; 16],
            label: Label([0; 32]),
            mode,
        });
        let superblocks = [cache, backing].map(|plan| plan.superblock().expect("it can be"));
        let devs: [Dev; 2] = [self.cache.clone(), self.backing.clone()];
        let arena = Arena::new(1 << 20);
        create(&superblocks, &devs, &arena).await.expect("disks without faults");
        let examined = examine(&devs[0], &arena).await.expect("just made");
        found(&devs[0], &examined, &arena, Some(journal_buckets)).await.expect("just made");
    }

    /// Opens the cache and its volume, and plays `what`; when that ends everything stops at once, wherever it is.
    pub fn era<T>(&self, what: impl AsyncFnOnce(&Live) -> Verdict<T>) -> Verdict<T> {
        let runtime = Runtime::new(self.world.clone());
        let asked = || [&self.cache, &self.backing].map(|disk| disk.reads() + disk.writes());
        let (last, since) = (Cell::new(asked()), Cell::new(self.world.now()));
        let go_on = |_: &dyn Driver| {
            if last.replace(asked()) != asked() {
                since.set(self.world.now());
            }
            let goes_on = self.world.now() < since.get().after_ns(FOR_EVER_NS);
            if !goes_on {
                self.told.replace(tell(&runtime.waiting()));
            }
            goes_on
        };
        let ended = runtime.run_until(async { what(&self.open().await).await }, go_on);
        drop(runtime);
        ended.unwrap_or(Err(Wrong::Hangs))
    }

    async fn open(&self) -> Live {
        let arena = Arena::new(8 << 20);
        let (cache, backing) = (Gate::new(&self.cache), Gate::new(&self.backing));
        let (dev, below): (Dev, Dev) = (cache.clone(), backing.clone());
        let examined = examined(&dev, &arena).await;
        let Kind::Cache(facts) = examined.summary.kind else { panic!("it is a cache") };
        let options = Options { node_cache_bytes: 0, ..Options::default() };
        let set = Rc::new(CacheSet::open(dev, &examined, &arena, options).await.expect("it can be opened"));
        set.start(facts.replacement).await.expect("it can be started");
        let found = self::examined(&below, &arena).await;
        let inode = match set.inode_of(&found.summary.uuid) {
            Some(inode) => inode,
            None => Volume::attach(&below, &found, &set, &arena).await.expect("it can be attached"),
        };
        let found = self::examined(&below, &arena).await;
        let volume = Volume::start_backed("it", below, &found, set.clone(), inode, &arena).await;
        let volume = volume.expect("it can be started");
        // Nothing goes past the cache, nothing is written back, and no entry is written, but for whoever asks for it.
        for (name, value) in [("sequential_cutoff", "0"), ("writeback_running", "0")] {
            volume.set_tunable(name, value).await.expect("it can be set");
        }
        for name in ["congested_read_threshold_us", "congested_write_threshold_us"] {
            set.set_tunable(name, "0").await.expect("it can be set");
        }
        set.set_tunable("journal_delay_ms", "65535").await.expect("it can be set");
        sleep_ms(BEGUN_MS).await;
        let (world, device) = (self.world.clone(), volume.device());
        Live { world, set, volume, device, arena, cache, backing, geometry: facts.geometry }
    }

    /// The values of so many sectors of the volume, read through a cache that is not started.
    pub fn look(&self, start: u64, sectors: u64) -> Vec<u64> {
        Runtime::new(self.world.clone()).block_on(async {
            let arena = Arena::new(8 << 20);
            let (cache, backing): (Dev, Dev) = (self.cache.clone(), self.backing.clone());
            let (found, below) = (examined(&cache, &arena).await, examined(&backing, &arena).await);
            let Kind::Backing(facts) = below.summary.kind else { panic!("it is a backing device") };
            let set = CacheSet::open(cache, &found, &arena, Options::default()).await;
            let set = Rc::new(set.expect("it can be opened"));
            let inode = set.inode_of(&below.summary.uuid).expect("it was attached");
            let volume = Volume::of_backing("it", backing, &facts, 1, Some((set, inode)));
            read(&volume, &arena, start, sectors).await
        })
    }

    /// The same disks as a cut at this moment would leave them.
    pub fn cut(&self, left: Left) -> Bench {
        let seed = self.seed + 1;
        let world = World::new(seed);
        let copy = |old: &Disk| {
            let size = old.geometry().size;
            let (disk, whole) = (world.add_disk(size, 512), Range::new(Sectors::ZERO, size));
            let bytes = if left == Left::Durable { old.peek_durable(whole) } else { old.peek(whole) };
            disk.poke(Sectors::ZERO, &bytes);
            disk
        };
        let (cache, backing) = (copy(&self.cache), copy(&self.backing));
        Bench { world, cache, backing, told: RefCell::default(), seed }
    }

    /// The values on the backing device, of so many sectors from one of the volume's on.
    pub fn below(&self, start: u64, sectors: u64) -> Vec<u64> {
        values(&self.backing.peek(Range::new(Sectors(start + DATA_OFFSET), Sectors(sectors))))
    }
}

impl Live {
    /// Writes a value to so many sectors.
    pub async fn write(&self, start: u64, sectors: u64, value: u64) -> Outcome {
        self.device.start(Request::write(Sectors(start), self.filled(sectors, value).await)).await
    }

    /// The same; it is durable then.
    pub async fn write_durably(&self, start: u64, sectors: u64, value: u64) -> Outcome {
        let buf = self.filled(sectors, value).await;
        self.device.start(Request::write(Sectors(start), buf).with_fua()).await
    }

    async fn filled(&self, sectors: u64, value: u64) -> Buf {
        let buf = self.arena.wait_take(sectors as usize * 512).await;
        buf.copy_from_slice(0, &value.to_le_bytes().repeat(sectors as usize * 64));
        buf
    }

    /// Says that the content of some sectors does not count any more.
    pub async fn discard(&self, start: u64, sectors: u64) -> Outcome {
        self.device.start(Request::discard(Range::new(Sectors(start), Sectors(sectors)))).await
    }

    pub async fn flush(&self) -> Outcome {
        self.device.start(Request::flush()).await
    }

    /// The values of so many sectors.
    pub async fn read(&self, start: u64, sectors: u64) -> Vec<u64> {
        read(&self.device, &self.arena, start, sectors).await
    }

    /// Whether so many sectors are read as one value.
    pub async fn reads(&self, start: u64, sectors: u64, value: u64) -> bool {
        self.read(start, sectors).await.iter().all(|read| *read == value)
    }

    /// What the cache says of a sector of the volume.
    pub async fn find(&self, sector: u64) -> bcache::Found {
        let at = Position::new(self.volume.inode(), sector + DATA_OFFSET);
        self.set.find(at, 1).await.expect("the tree can be read")
    }

    pub async fn is_dirty(&self, sector: u64) -> bool {
        self.find(sector).await.at.is_some_and(|(_, is_dirty)| is_dirty)
    }

    /// What the superblock of the backing device says on disk.
    pub async fn state(&self) -> State {
        let backing: Dev = self.backing.clone();
        match examined(&backing, &self.arena).await.summary.kind {
            Kind::Backing(backing) => backing.state,
            Kind::Cache(_) => panic!("it is a backing device"),
        }
    }

    /// The world's clock, in nanoseconds.
    pub fn world_ns(&self) -> u64 {
        self.world.now().0
    }

    /// Whether a request writes priorities: a bucket, whole. Nodes that are made are not as long.
    pub fn is_of_priorities(request: &Request) -> bool {
        let is_whole = request.range.count.0 == BUCKET && request.range.start.0.is_multiple_of(BUCKET);
        request.op == Op::Write && request.origin == Origin::Metadata && is_whole
    }

    /// Whether a sector of the cache device lies in the journal.
    pub fn in_journal(geometry: &Geometry, sector: u64) -> bool {
        let start = geometry.sector(geometry.journal_bucket(0));
        (start..geometry.sector(geometry.first_free())).contains(&sector)
    }
}

async fn read(device: &Dev, arena: &Rc<Arena>, start: u64, sectors: u64) -> Vec<u64> {
    let buf = arena.wait_take(sectors as usize * 512).await;
    device.start(Request::read(Sectors(start), buf.clone())).await.expect("it can be read");
    let mut bytes = vec![0; buf.len()];
    buf.copy_to_slice(0, &mut bytes);
    values(&bytes)
}

async fn examined(dev: &Dev, arena: &Rc<Arena>) -> Examined {
    examine(dev, arena).await.expect("it can be read")
}

/// The value of each sector.
fn values(bytes: &[u8]) -> Vec<u64> {
    let first = |sector: &[u8]| u64::from_le_bytes(sector[..8].try_into().expect("eight bytes"));
    bytes.chunks_exact(512).map(first).collect()
}
