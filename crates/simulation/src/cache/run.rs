//! Playing a seed: make the cache and its backing devices, then era after era of load, faults and an end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bcache::plant::{self, Plant};
use bcache::{CacheSet, Examined, Options, Reader, Volume, check, examine};
use bcache_format::superblock::{CachePlan, Kind};
use bcache_format::{CacheMode, Label, Position, Replacement, State};
use block::{Arena, Dev, Range, SECTOR, Sectors};
use runtime::sim::{Disk, Fate, Random, World};
use runtime::{Runtime, sleep_ms, spawn};

use super::devices::{self, DATA_OFFSET};
use super::passing::Passing;
use super::scenario::{Deaths, End, Scenario, come_and_go};
use crate::era::{Era, Patience};
use crate::load::{Copies, Load};
use crate::model::Model;
use crate::run::Violation;

/// The number of the volume that lies in the cache alone.
const FLASH: u32 = 99;
/// An era that has not ended by then stands still.
const PATIENCE: Patience = Patience { events: 2_000_000, ns: 1_800_000_000_000 };

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the seed stood for.
    pub scenario: Scenario,
    /// The first things that must not be.
    pub violations: Vec<Violation>,
    /// Events that happened, in all eras.
    pub events: u64,
}

/// A volume, and what may be in it.
#[derive(Clone)]
struct Known {
    model: Rc<RefCell<Model>>,
    backing: Option<Rc<Disk>>,
}

struct Run {
    world: Rc<World>,
    scenario: Scenario,
    cache: Rc<Disk>,
    backing: Vec<Rc<Disk>>,
    known: RefCell<BTreeMap<u32, Known>>,
    violations: Rc<RefCell<Vec<Violation>>>,
    crashed: bool,
}

/// What a seed left on the disks after its last era, as it would be found after a power cut.
pub struct Images {
    /// The cache.
    pub cache: Vec<u8>,
    /// Its backing devices.
    pub backing: Vec<Vec<u8>>,
}

/// Plays a seed.
pub fn run_seed(seed: u64, plant: Option<Plant>) -> Report {
    plant::set(plant);
    let report = play(seed).0;
    plant::set(None);
    report
}

/// Plays a seed; what it left on the disks too.
pub fn play_to_images(seed: u64) -> (Report, Images) {
    let (report, run) = play(seed);
    let images =
        Images { cache: run.cache.image(), backing: run.backing.iter().map(|disk| disk.image()).collect() };
    (report, images)
}

fn play(seed: u64) -> (Report, Run) {
    let world = World::new(seed);
    let scenario = world.draw(|random| Scenario::of(seed, random));
    let deaths = if scenario.is_tight { Deaths::default() } else { Deaths::of(seed) };
    let scenario = Scenario { deaths, come_and_go: come_and_go(seed), ..scenario };
    let block = SECTOR as u32; // of the disks: those of the cache are larger, or not
    let cache = world.add_disk(Sectors(scenario.buckets * scenario.bucket_sectors), block);
    cache.set_latency_ns(20_000, scenario.slowest_ns);
    let backing = scenario.backing.iter();
    let backing = backing.map(|(size, _)| world.add_disk(Sectors(size + DATA_OFFSET), block)).collect();
    let mut run = Run {
        world,
        scenario,
        cache,
        backing,
        known: RefCell::default(),
        violations: Rc::default(),
        crashed: false,
    };
    run.make();
    for end in run.scenario.eras.clone() {
        run.era(end);
        if !run.violations.borrow().is_empty() {
            break;
        }
        run.check();
    }
    let events = run.world.events_done();
    let violations = run.violations.take();
    (Report { scenario: run.scenario.clone(), violations, events }, run)
}

impl Run {
    fn complain(&self, invariant: &'static str, what: String) {
        self.violations.borrow_mut().push(Violation { invariant, what });
    }

    /// Makes the cache and its backing devices.
    fn make(&self) {
        let runtime = Runtime::new(self.world.clone());
        let scenario = &self.scenario;
        let cache = CachePlan {
            device_sectors: scenario.buckets * scenario.bucket_sectors,
            bucket_sectors: scenario.bucket_sectors,
            block_sectors: scenario.block_sectors as u16,
            uuid: runtime::random_uuid(),
            set_uuid: runtime::random_uuid(),
            replacement: self.world.draw(|random: &mut Random| *random.choose(&Replacement::ALL)),
        };
        let backing = self.backing.iter().zip(&scenario.backing);
        let backing = backing.map(|(disk, (_, mode))| (disk.clone() as Dev, *mode));
        let made = devices::make(cache, scenario.journal_buckets, self.cache.clone(), backing);
        runtime.block_on(made);
    }

    /// One era: open, take stock, load, end.
    fn era(&mut self, end: End) {
        let limit = match end {
            End::PowerCut(events) | End::Kill(events) => Some(events),
            End::Stop => None,
        };
        let era = Era::begin(&self.world);
        let played = era.play(self.live(end), limit, PATIENCE);
        let ended = played.unwrap_or_else(|violation| {
            self.violations.borrow_mut().push(violation);
            None
        });
        era.end(matches!(end, End::PowerCut(_)));
        for known in self.known.borrow().values() {
            known.model.borrow_mut().forget_readers();
        }
        self.crashed = ended != Some(true);
    }

    /// Opens everything, loads it, and ends it as planned. Whether it was stopped, and nothing is lost by that.
    async fn live(&self, end: End) -> bool {
        let arena = Arena::new(16 << 20);
        let (set, volumes) = match self.open(&arena).await {
            Ok(opened) => opened,
            Err(error) => {
                self.complain("C5", format!("the set cannot be opened: {error}"));
                return false;
            }
        };
        let loads: Vec<Rc<Load>> =
            volumes.iter().map(|(inode, volume)| Rc::new(self.load(*inode, volume, &arena))).collect();
        for load in &loads {
            load.take_stock(self.scenario.appetite, self.crashed).await;
        }
        self.set_faults();
        self.let_die();
        let appetite = self.scenario.appetite;
        let mut tasks = Vec::new();
        for (_, volume) in &volumes {
            self.tune(volume).await;
        }
        let is_over = Rc::new(Cell::new(false));
        if self.scenario.meddles {
            for (_, volume) in volumes.clone() {
                let (world, is_over) = (self.world.clone(), is_over.clone());
                let _running = spawn(async move { meddle(&world, &volume, &is_over).await });
            }
        }
        for load in &loads {
            for _ in 0..self.scenario.clients {
                let load = load.clone();
                tasks.push(spawn(async move { load.client(appetite).await }));
            }
        }
        let passing = self.scenario.come_and_go.then(|| {
            let passing = Passing {
                world: self.world.clone(),
                set: set.clone(),
                arena: arena.clone(),
                kept: volumes.iter().map(|(_, volume)| volume.inode()).collect(),
                violations: self.violations.clone(),
                may_fail: self.has_faults() || self.scenario.deaths != Deaths::default(),
            };
            let is_over = is_over.clone();
            spawn(async move { passing.run(&is_over).await })
        });
        for task in tasks {
            task.join().await;
        }
        is_over.set(true);
        if let Some(passing) = passing {
            passing.join().await;
        }
        if end != End::Stop {
            // What is still to be written is, or is cut.
            sleep_ms(self.world.draw(|random| random.below(1000))).await;
            return false;
        }
        let stopped = set.stop().await;
        if let (Err(error), false) = (stopped, self.has_faults() || self.scenario.deaths.cache) {
            self.complain("C1", format!("the set cannot be stopped: {error}"));
        }
        stopped.is_ok()
    }

    /// Lets write-back be busy or idle.
    async fn tune(&self, volume: &Volume) {
        let (delay, percent, cutoff) = self.world.draw(|random| {
            (*random.choose(&["0", "1"]), *random.choose(&["0", "10"]), *random.choose(&["0", "16K", "4M"]))
        });
        let wishes =
            [("writeback_delay", delay), ("writeback_percent", percent), ("sequential_cutoff", cutoff)];
        for (name, value) in wishes {
            volume.set_tunable(name, value).await.expect("all of these can be set");
        }
    }

    fn has_faults(&self) -> bool {
        self.scenario.cache_errors + self.scenario.backing_errors > 0
    }

    fn set_faults(&self) {
        let set = |disk: &Disk, one_in: u64| {
            disk.set_faults(|faults| {
                (faults.read_error_one_in, faults.write_error_one_in) = (one_in, one_in);
            });
        };
        set(&self.cache, self.scenario.cache_errors);
        self.backing.iter().for_each(|disk| set(disk, self.scenario.backing_errors));
    }

    /// Disks die while they are used, sooner or later, or not in this era.
    fn let_die(&self) {
        let Deaths { cache, backing } = self.scenario.deaths;
        let doomed = [cache.then(|| self.cache.clone()), backing.then(|| self.backing[0].clone())];
        for disk in doomed.into_iter().flatten() {
            let after_ms = self.world.draw(|random| random.below(200));
            let _dying = spawn(async move {
                sleep_ms(after_ms).await;
                disk.set_fate(Fate::Dead);
            });
        }
    }

    /// Whether requests to a volume may fail. One of which nothing is ever dirty outlives its cache.
    fn may_fail(&self, number: u32) -> bool {
        let Scenario { deaths, meddles, backing, .. } = &self.scenario;
        let mode = backing.get(number as usize).map(|(_, mode)| *mode);
        let is_ever_dirty = *meddles || mode.is_none_or(|mode| mode == CacheMode::Writeback);
        let is_beside_dead = number == 0 || mode.is_none();
        self.has_faults() || deaths.cache && is_ever_dirty || deaths.backing && is_beside_dead
    }

    async fn open(&self, arena: &Rc<Arena>) -> Result<(Rc<CacheSet>, Vec<(u32, Rc<Volume>)>), String> {
        let options = Options { node_cache_bytes: 0, ..Options::default() };
        let set = devices::open_set(self.cache.clone(), options, arena).await?;
        let mut volumes = Vec::new();
        for (number, disk) in self.backing.iter().enumerate() {
            let name = format!("volume {number}");
            let volume = devices::open_volume(&name, disk.clone(), &set, arena).await?;
            volumes.push((number as u32, volume));
        }
        if let Some(sectors) = self.scenario.flash {
            let known = set.flash().first().copied();
            let inode = match known {
                Some((inode, _)) => inode,
                None => set
                    .create_flash(runtime::random_uuid(), Label([0; 32]), sectors)
                    .await
                    .map_err(|error| error.to_string())?,
            };
            volumes.push((FLASH, Volume::start_flash("flash", set.clone(), inode, sectors)));
        }
        Ok((set, volumes))
    }

    /// The clients' view of a volume.
    fn load(&self, number: u32, volume: &Rc<Volume>, arena: &Rc<Arena>) -> Load {
        let mut all = self.known.borrow_mut();
        let known = all.entry(number).or_insert_with(|| Known {
            model: Rc::default(),
            backing: self.backing.get(number as usize).cloned(),
        });
        let (backing, model) = (known.backing.clone(), known.model.clone());
        // After a cut a clean copy in the cache and the backing device may differ in what nobody flushed: either may be read.
        let copies = move |sector: u64| -> Vec<Vec<u8>> {
            let Some(disk) = &backing else { return Vec::new() };
            let bytes = disk.peek(Range::new(Sectors(sector + DATA_OFFSET), Sectors(1)));
            let value = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
            match model.borrow().may_survive(sector, value) {
                Ok(()) => vec![bytes],
                Err(_) => Vec::new(),
            }
        };
        let may_fail = self.may_fail(number);
        Load {
            dev: volume.device(),
            model: known.model.clone(),
            arena: arena.clone(),
            world: self.world.clone(),
            unrecorded: Rc::new(Vec::new),
            violations: self.violations.clone(),
            copies: Copies::At(Box::new(copies)),
            is_cached: true,
            tolerates_errors: Box::new(move || may_fail),
        }
    }

    /// What lies on the cache is as it should be, as it would be found now.
    fn check(&self) {
        let runtime = Runtime::new(self.world.clone());
        runtime.block_on(async {
            let arena = Arena::new(4 << 20);
            let cache: Dev = self.cache.clone();
            let examined = examine(&cache, &arena).await.expect("nobody writes over it");
            let Kind::Cache(facts) = examined.summary.kind else { return };
            let reader = Reader::new(cache, facts.geometry, arena.clone()).expect("it is small");
            let report = check(&reader).await;
            for finding in report.findings.iter().take(3) {
                self.complain("C4", format!("cache check: {finding}"));
            }
            if report.findings.is_empty() {
                self.check_marks(&examined, &arena).await;
            }
        });
    }
}

/// Changes things that do not change what is read.
async fn meddle(world: &World, volume: &Volume, is_over: &Cell<bool>) {
    while !is_over.get() && volume.is_cached() {
        sleep_ms(world.draw(|random| random.below(20))).await;
        let (what, mode) = world.draw(|random| (random.below(8), *random.choose(&CacheMode::ALL)));
        // With errors anything of this may fail, and nothing is lost by that.
        match what {
            0..5 => drop(volume.set_mode(mode).await),
            5 => drop(volume.set_label(Label([b'x'; 32])).await),
            6 => drop(volume.drain().await),
            _ if volume.state().is_some() => drop(volume.detach().await),
            _ => {}
        }
    }
}

impl Run {
    /// Backing devices whose cache has something dirty say so.
    async fn check_marks(&self, cache: &Examined, arena: &Rc<Arena>) {
        let set = CacheSet::open(self.cache.clone(), cache, arena, Options::default()).await;
        let Ok(set) = set else {
            return self.complain("C5", "a set without a fault cannot be opened".to_owned());
        };
        for disk in &self.backing {
            let dev: Dev = disk.clone();
            let examined = examine(&dev, arena).await.expect("nobody writes over it");
            let Some(inode) = set.inode_of(&examined.summary.uuid) else { continue };
            if state(&examined) == State::Clean && is_dirty(&set, inode, dev.geometry().size.0).await {
                let name = state(&examined).name();
                self.complain("C2", format!("a backing device with dirty data says {name:?}"));
            }
        }
    }
}

/// Whether a volume has something dirty.
async fn is_dirty(set: &CacheSet, inode: u32, sectors: u64) -> bool {
    let mut at = 0;
    while at < sectors {
        let found = set.find(Position::new(inode, at), sectors - at).await;
        let Ok(found) = found else { return false };
        if found.at.is_some_and(|(_, is_dirty)| is_dirty) {
            return true;
        }
        at += found.sectors;
    }
    false
}

fn state(examined: &Examined) -> State {
    match examined.summary.kind {
        Kind::Backing(backing) => backing.state,
        Kind::Cache(_) => State::Detached,
    }
}
