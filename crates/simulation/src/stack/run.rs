//! Playing a seed: make the stack, then era after era of load, faults and an end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bcache::plant::Memory;
use block::{Arena, Dev, Range, Request, SECTOR, Sectors};
use md::Array;
use runtime::sim::World;
use runtime::{sleep_ms, spawn};

use super::open::Open;
use super::scenario::{Log, Place, Scenario};
use crate::cache::devices::DATA_OFFSET;
use crate::era::{Era, Patience};
use crate::load::{Copies, Load};
use crate::model::Model;
use crate::requests::{Asker, compare};
use crate::run::{Violation, tolerates_errors, trouble, well};
use crate::scenario::{End, has_parity};
use crate::watch::Watch;

/// A defect in one of the engines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// In arrays.
    Md(md::plant::Plant),
    /// In caches.
    Bcache(bcache::plant::Plant),
}

/// Those that the seeds of stacks must find.
pub const PLANTS: [Planted; 2] = [
    Planted::Md(md::plant::Plant::SlotsShared),
    Planted::Bcache(bcache::plant::Plant::JournalOnASharedQueue),
];

/// Pages that are free when an era begins.
const FREE_PAGES: usize = 8;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the seed stood for.
    pub scenario: Scenario,
    /// The first things that must not be.
    pub violations: Vec<Violation>,
    /// Events that happened, in all eras.
    pub events: u64,
    /// Eras that were ended as planned, or cut.
    pub eras: u32,
    /// Whether in the end it could not be opened, and rightly.
    pub is_refused: bool,
}

/// An era that has not ended by then stands still.
const PATIENCE: Patience = Patience { events: 5_000_000, ns: 3_600_000_000_000 };

/// Memory of the clients.
const ARENA_BYTES: usize = 16 << 20;

/// Plays `seed`, with a defect planted or none.
pub fn run_seed(seed: u64, planted: Option<Planted>) -> Report {
    match planted {
        Some(Planted::Md(plant)) => md::plant::set(Some(plant)),
        Some(Planted::Bcache(plant)) => bcache::plant::set(Some(plant)),
        None => {}
    }
    let world = World::new(seed);
    let scenario = world.draw(Scenario::draw);
    let mut play = Play::new(world, scenario);
    play.make();
    for end in play.scenario.eras.clone().into_iter().chain([End::Stop]) {
        if play.is_over() {
            break;
        }
        play.era(end);
    }
    if !play.is_over() {
        play.verify();
    }
    md::plant::set(None);
    bcache::plant::set(None);
    Report {
        violations: play.violations.take(),
        events: play.world.events_done(),
        eras: play.eras,
        is_refused: play.is_refused.get(),
        scenario: play.scenario,
    }
}

/// A seed that is played.
pub(super) struct Play {
    pub world: Rc<World>,
    pub scenario: Scenario,
    model: Rc<RefCell<Model>>,
    /// What watches each array.
    pub watches: Vec<Rc<Watch>>,
    pub violations: Rc<RefCell<Vec<Violation>>>,
    crashed: bool,
    eras: u32,
    /// It cannot be opened any more, and rightly.
    pub is_refused: Cell<bool>,
    /// The memory of a machine whose pages are free again when they were written to the top of the stack. Only workers that are
    /// made when they are needed take any.
    memory: Rc<Memory>,
}

impl Play {
    fn new(world: Rc<World>, scenario: Scenario) -> Play {
        let violations = Rc::new(RefCell::new(Vec::new()));
        for size in &scenario.disks {
            world.add_disk(*size, SECTOR as u32).set_latency_ns(20_000, scenario.slowest_ns);
        }
        let watch = || Rc::new(Watch { violations: violations.clone(), ..Watch::default() });
        let watches: Vec<_> = scenario.arrays.iter().map(|_| watch()).collect();
        for (tier, watch) in scenario.arrays.iter().zip(&watches) {
            for place in tier.below() {
                if let Place::Disk(disk) = place {
                    watch.look_at(&world.disks()[disk], &world);
                }
            }
        }
        Play {
            world,
            scenario,
            model: Rc::default(),
            watches,
            violations,
            crashed: false,
            eras: 0,
            is_refused: Cell::new(false),
            memory: Rc::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.is_refused.get() || !self.violations.borrow().is_empty()
    }

    pub fn complain(&self, invariant: &'static str, what: String) {
        self.violations.borrow_mut().push(Violation { invariant, what });
    }

    pub fn disks(&self) -> Vec<Dev> {
        self.world.disks().into_iter().map(|disk| disk as Dev).collect()
    }

    /// Makes the stack on empty disks, durably.
    fn make(&self) {
        let era = Era::begin(&self.world);
        if let Err(violation) = era.play(self.made(), None, PATIENCE) {
            self.violations.borrow_mut().push(violation);
        }
        self.forget_arrays();
        era.end(false);
    }

    /// One era: open, take stock, load with faults, end.
    fn era(&mut self, end: End) {
        let era = Era::begin(&self.world);
        let played = era.play(self.live(end), end.after_events(), PATIENCE);
        self.forget_arrays();
        let stopped = played.unwrap_or_else(|violation| {
            self.violations.borrow_mut().push(violation);
            None
        });
        era.end(end.is_power_cut());
        self.model.borrow_mut().forget_readers();
        self.crashed = stopped != Some(true);
        self.eras += 1;
    }

    fn forget_arrays(&self) {
        self.watches.iter().for_each(|watch| watch.set(None, Vec::new()));
    }

    /// Opens everything, loads it, and ends it as planned. Whether it was stopped, and nothing is lost by that.
    async fn live(&self, end: End) -> bool {
        let arena = Arena::new(ARENA_BYTES);
        self.memory.limit();
        (0..FREE_PAGES).for_each(|_| self.memory.give_back());
        let Some(open) = self.open(&arena).await else { return false };
        let load = Rc::new(self.load(&open, &arena).await);
        load.take_stock(self.scenario.appetite, self.crashed).await;
        let troubled = self.trouble(&open);
        let asked = self.ask(&open);
        let clients = (0..self.scenario.clients).map(|_| {
            let (load, appetite) = (load.clone(), self.scenario.appetite);
            spawn(async move { load.client(appetite).await })
        });
        for client in clients.collect::<Vec<_>>() {
            client.join().await;
        }
        match end {
            End::Stop => {
                for task in troubled.into_iter().chain(asked) {
                    task.join().await;
                }
                self.stop(&open).await
            }
            End::PowerCutLater(ms) => {
                sleep_ms(ms).await;
                false
            }
            // What is still to be written is, or is cut.
            End::PowerCut(_) | End::Kill(_) => {
                sleep_ms(self.world.draw(|random| random.below(1000))).await;
                false
            }
        }
    }

    /// At the very end: what is called in sync is.
    fn verify(&self) {
        let era = Era::begin(&self.world);
        let verified = era.play(
            async {
                let arena = Arena::new(ARENA_BYTES);
                let Some(open) = self.open(&arena).await else { return };
                for array in &open.arrays {
                    if let Some(violation) = compare(array).await {
                        self.violations.borrow_mut().push(violation);
                    }
                }
                self.stop(&open).await;
            },
            None,
            PATIENCE,
        );
        if let Err(violation) = verified {
            self.violations.borrow_mut().push(violation);
        }
        self.forget_arrays();
        era.end(false);
    }
}

impl Play {
    /// Whether something goes wrong in this seed that not every stack survives: parity that is not known to belong to its data,
    /// and a member missing.
    pub fn may_fail(&self) -> bool {
        let Scenario { troubled, asked, arrays, .. } = &self.scenario;
        let is_touched = troubled.is_some() || asked.is_some();
        is_touched && arrays.iter().any(|tier| has_parity(tier.wanted.level))
    }

    /// The clients' view.
    async fn load(&self, open: &Open, arena: &Rc<Arena>) -> Load {
        let copies = match self.scenario.troubled.or(self.scenario.asked) {
            Some(_) if self.crashed => Copies::Somewhere,
            _ => Copies::At(self.copies(open, arena).await),
        };
        let memory = self.memory.clone();
        Load {
            dev: open.top.clone(),
            model: self.model.clone(),
            arena: arena.clone(),
            world: self.world.clone(),
            unrecorded: Rc::new(move || {
                memory.give_back();
                Vec::new()
            }),
            violations: self.violations.clone(),
            copies,
            is_cached: open.cached.is_some(),
            tolerates_errors: self.tolerance(open),
        }
    }

    /// Whether a request may fail. A cache remembers errors of what lies below it, so it may for longer.
    fn tolerance(&self, open: &Open) -> Box<dyn Fn() -> bool> {
        let (may_fail, is_cached) = (self.may_fail(), open.cached.is_some());
        let with_parity = open.arrays.iter().filter(|array| has_parity(array.shape().summary.level));
        let tolerant: Vec<_> = with_parity.map(|array| tolerates_errors(array, false)).collect();
        Box::new(move || may_fail && (is_cached || tolerant.iter().any(|tolerates| tolerates())))
    }

    /// Where else a sector lies: a clean copy in a cache and the backing device may differ, after a cut, in what nobody flushed.
    async fn copies(&self, open: &Open, arena: &Rc<Arena>) -> Box<dyn Fn(u64) -> Vec<Vec<u8>>> {
        let Some(cached) = &self.scenario.cached else { return Box::new(|_| Vec::new()) };
        let backing = &open.devs[self.scenario.number(cached.backing)];
        let appetite = self.scenario.appetite;
        let end = (DATA_OFFSET + appetite.playground + appetite.longest).min(backing.geometry().size.0);
        let mut bytes = vec![0; (end * SECTOR) as usize];
        for at in (0..end).step_by(512) {
            let range = Range::new(Sectors(at), Sectors(512.min(end - at)));
            let buf = arena.wait_take(range.count.byte_len()).await;
            if backing.start(Request::read(range.start, buf.clone())).await.is_ok() {
                buf.copy_to_slice(0, &mut bytes[(at * SECTOR) as usize..][..range.count.byte_len()]);
            }
        }
        let model = self.model.clone();
        Box::new(move |sector| {
            let at = ((sector + DATA_OFFSET) * SECTOR) as usize;
            let Some(bytes) = bytes.get(at..at + SECTOR as usize) else { return Vec::new() };
            let value = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
            match model.borrow().may_survive(sector, value) {
                Ok(()) => vec![bytes.to_vec()],
                Err(_) => Vec::new(),
            }
        })
    }

    /// Devices that stay well, by their numbers, when `array` has to do without others of its own.
    fn all_but_some_of(&self, number: usize, array: &Array) -> Vec<usize> {
        let well = well(&self.world, array, false);
        let own: Vec<usize> =
            self.scenario.arrays[number].below().map(|place| self.scenario.number(place)).collect();
        let all = 0..self.scenario.disks.len() + self.scenario.arrays.len();
        all.filter(|device| !own.contains(device) || well.contains(device)).collect()
    }

    /// What goes wrong in an era, as a task of its own.
    fn trouble(&self, open: &Open) -> Option<runtime::Task<()>> {
        let number = self.scenario.troubled?;
        let array = open.arrays[number].clone();
        let well = self.all_but_some_of(number, &array);
        Some(spawn(trouble(self.world.clone(), array, well, |_, _| {})))
    }

    /// What people ask for in an era, as a task of its own.
    fn ask(&self, open: &Open) -> Option<runtime::Task<()>> {
        let number = self.scenario.asked?;
        let (tier, array) = (&self.scenario.arrays[number], open.arrays[number].clone());
        let journal = tier.journal().filter(|_| matches!(tier.log, Log::Back(_)));
        let asker = Asker {
            world: self.world.clone(),
            well: self.all_but_some_of(number, &array),
            array,
            devs: open.devs.clone(),
            watch: self.watches[number].clone(),
            grown: false,
            journal: journal.map(|place| self.scenario.number(place)),
            ppl: false,
        };
        let violations = self.violations.clone();
        Some(spawn(async move {
            let found = asker.ask().await;
            violations.borrow_mut().extend(found);
        }))
    }
}
