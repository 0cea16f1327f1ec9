//! Playing a seed: make the array, then era after era of load, faults and an end, with everything watched.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use block::{Arena, Dev, Range, Sectors};
use md::plant::{self, Plant};
use md::{
    Action, Array, Condition, Hindrance, JournalMode, MemberStatus, OpenError, Options, PrivateLogState,
    SyncState, assemble,
};
use md_format::{Level, Version};
use runtime::sim::{Fate, Random, World};
use runtime::{Runtime, now, sleep_ms, sleep_until, spawn};

use crate::arrays::{self, Looked};
use crate::era::{Era, Patience};
use crate::load::{Copies, Load};
use crate::model::Model;
use crate::remote::Remote;
use crate::requests;
use crate::scenario::{End, Scenario, has_parity, has_redundancy};
use crate::watch::{Watch, compare};

/// Something that must never be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the seed stood for.
    pub scenario: Scenario,
    /// The first things that must not be.
    pub violations: Vec<Violation>,
    /// Events that happened, in all eras.
    pub events: u64,
    /// Members that failed.
    pub failures: u32,
    /// Resyncs that were completed.
    pub resyncs: u32,
    /// Recoveries that were completed.
    pub recoveries: u32,
    /// Connections to members that broke.
    pub breaks: u32,
    /// Arrays that were dirty and needed no resync, because of a log.
    pub replays: u32,
    /// Of those, with a member missing.
    pub degraded_replays: u32,
    /// Rows that a journal made whole.
    pub rows_replayed: u64,
}

/// Memory of the clients: what eight of them need at most, and stock-taking.
const ARENA_BYTES: usize = 16 << 20;

/// An era that does not end by itself by then has surely gone wrong (P3). It may be long: nothing happens for most of it.
const PATIENCE: Patience = Patience { events: 5_000_000, ns: u64::MAX };

/// What tells the chance of remote members from all other: `remote` as a number.
const REMOTE: u64 = 0x7265_6d6f_7465;

/// The same for what people ask for: `asked`.
const ASKED: u64 = 0x61_736b_6564;

/// The same for what is changed: `grown`.
const GROWN: u64 = 0x67_726f_776e;

/// What tells the chance of logs from all other: `log` as a number.
const LOG: u64 = 0x6c_6f67;

/// The same for journals: `journal`.
const JOURNAL: u64 = 0x6a_6f75_726e_616c;

/// The same for rows that are not taken: `rows`.
const ROWS: u64 = 0x726f_7773;

/// The same for their mode: `back`.
const WRITE_BACK: u64 = 0x6261_636b;

fn scenario(world: &World, seed: u64) -> Scenario {
    let mut scenario = world.draw(Scenario::draw);
    scenario.draw_remote(&mut Random::new(seed ^ REMOTE));
    scenario.draw_asked(&mut Random::new(seed ^ ASKED));
    scenario.draw_grown(&mut Random::new(seed ^ GROWN));
    scenario.draw_log(&mut Random::new(seed ^ LOG));
    scenario.draw_journal(&mut Random::new(seed ^ JOURNAL));
    scenario.draw_bad_rows(&mut Random::new(seed ^ ROWS));
    scenario.draw_write_back(&mut Random::new(seed ^ WRITE_BACK));
    scenario
}

/// Whether the array that `seed` stands for has a log against the write hole.
pub fn has_log(seed: u64) -> bool {
    let scenario = scenario(&World::new(seed), seed);
    scenario.ppl || scenario.private_log
}

/// Whether it has a write journal.
pub fn has_journal(seed: u64) -> bool {
    scenario(&World::new(seed), seed).journal.is_some()
}

/// Plays `seed`, with a defect planted or none.
pub fn run_seed(seed: u64, planted: Option<Plant>) -> Report {
    plant::set(planted);
    let world = World::new(seed);
    let scenario = scenario(&world, seed);
    let mut play = Play::new(world, scenario);
    play.make();
    let eras = play.scenario.eras.clone();
    for (number, end) in eras.into_iter().chain([End::Stop]).enumerate() {
        if play.has_violations() {
            break;
        }
        play.is_stranger = play.scenario.strangers.get(number).copied().unwrap_or(false);
        play.era(end);
    }
    if !play.has_violations() {
        play.verify();
    }
    plant::set(None);
    play.report()
}

struct Play {
    world: Rc<World>,
    scenario: Scenario,
    model: Rc<RefCell<Model>>,
    watch: Rc<Watch>,
    violations: Rc<RefCell<Vec<Violation>>>,
    crashed: bool,
    /// The array is opened by somebody who knows of no private log.
    is_stranger: bool,
    /// The array of this era.
    current: RefCell<Option<Rc<Array>>>,
    /// The private log was kept when the last era ended: whatever was left, it says what may be wrong.
    was_kept: Cell<bool>,
    failures: Rc<Cell<u32>>,
    resyncs: Rc<Cell<u32>>,
    recoveries: Rc<Cell<u32>>,
    breaks: Rc<Cell<u32>>,
    replays: Cell<u32>,
    degraded_replays: Cell<u32>,
    rows_replayed: Cell<u64>,
    /// The members behind NBD in this era, by disk.
    remotes: Remotes,
}

type Remotes = Rc<RefCell<BTreeMap<usize, Remote>>>;

impl Play {
    fn new(world: Rc<World>, scenario: Scenario) -> Play {
        let violations = Rc::new(RefCell::new(Vec::new()));
        let watch = Rc::new(Watch { violations: violations.clone(), ..Watch::default() });
        for size in scenario.members.iter().chain(&scenario.journal) {
            let disk = world.add_disk(*size, scenario.logical_block);
            watch.look_at(&disk, &world);
        }
        Play {
            world,
            scenario,
            model: Rc::default(),
            watch,
            violations,
            crashed: false,
            is_stranger: false,
            current: RefCell::default(),
            was_kept: Cell::new(false),
            failures: Rc::default(),
            resyncs: Rc::default(),
            recoveries: Rc::default(),
            breaks: Rc::default(),
            replays: Cell::default(),
            degraded_replays: Cell::default(),
            rows_replayed: Cell::default(),
            remotes: Rc::default(),
        }
    }

    fn has_violations(&self) -> bool {
        !self.violations.borrow().is_empty()
    }

    fn report(self) -> Report {
        Report {
            violations: self.violations.borrow().clone(),
            events: self.world.events_done(),
            failures: self.failures.get(),
            resyncs: self.resyncs.get(),
            recoveries: self.recoveries.get(),
            breaks: self.breaks.get(),
            replays: self.replays.get(),
            degraded_replays: self.degraded_replays.get(),
            rows_replayed: self.rows_replayed.get(),
            scenario: self.scenario,
        }
    }

    fn complain(&self, invariant: &'static str, what: String) {
        self.violations.borrow_mut().push(Violation { invariant, what });
    }

    fn devs(&self) -> Vec<Dev> {
        self.world.disks().into_iter().map(|disk| disk as Dev).collect()
    }

    /// Creates the array on empty disks, durably.
    fn make(&self) {
        let (scenario, devs) = (&self.scenario, self.devs());
        let runtime = Runtime::new(self.world.clone());
        runtime.block_on(arrays::make(
            &scenario.wanted(),
            &devs,
            scenario.spares,
            scenario.journal.is_some(),
        ));
    }

    /// One era: open, take stock, load with faults, end.
    fn era(&mut self, end: End) {
        let era = Era::begin(&self.world);
        let played = era.play(self.live(end), end.after_events(), PATIENCE);
        self.watch.set(None, Vec::new());
        let array = self.current.take();
        self.was_kept.set(array.is_some_and(|array| array.private_log() == Some(PrivateLogState::Kept)));
        self.remotes.borrow_mut().clear();
        let ended = played.unwrap_or_else(|violation| {
            self.violations.borrow_mut().push(violation);
            None
        });
        era.end(end.is_power_cut());
        self.model.borrow_mut().forget_readers();
        // What a crash has left is there until somebody opens the array.
        self.crashed = end != End::Stop || (self.crashed && ended == Some(false));
    }

    /// At the very end: what is on the disks is what it is called.
    fn verify(&self) {
        let runtime = Runtime::new(self.world.clone());
        runtime.block_on(async {
            let devs = self.devs();
            let Some(array) = self.open_with(&devs, false).await else { return };
            if let Err(violation) = compare(&self.world, &array) {
                self.violations.borrow_mut().push(violation);
            }
            self.watch.set(None, Vec::new());
        });
    }

    /// Whether the array could be opened.
    async fn live(&self, end: End) -> bool {
        let devs = self.connected().await;
        let Some(array) = self.open(&devs).await else { return false };
        self.current.replace(Some(array.clone()));
        array.replayed().await;
        self.count_replay(&array);
        let all = Range::new(Sectors::ZERO, Sectors(array.shape().summary.size_sectors));
        if self.was_kept.get() && !self.is_stranger && !array.is_consistent(all) {
            self.complain("log", "a private log was kept, and does not know what may be wrong".into());
            return true;
        }
        if let Err(violation) = compare(&self.world, &array) {
            self.violations.borrow_mut().push(violation);
            return true;
        }
        let load = Rc::new(self.load(&array));
        load.take_stock(self.scenario.appetite(), self.crashed).await;
        let well = well(&self.world, &array, self.scenario.journal_fails);
        self.break_rows(&array, &well);
        let faults = spawn(self.trouble(array.clone(), well.clone()));
        let asked = self.scenario.asked.then(|| {
            let asker = requests::Asker {
                world: self.world.clone(),
                array: array.clone(),
                devs: devs.clone(),
                well,
                watch: self.watch.clone(),
                grown: self.scenario.grown,
                journal: self.scenario.write_back.map(|_| devs.len() - 1),
                ppl: self.scenario.grown && self.scenario.ppl,
            };
            let asked = asker.ask();
            let violations = self.violations.clone();
            spawn(async move {
                let found = asked.await;
                violations.borrow_mut().extend(found);
            })
        });
        // Sometimes nobody comes: then no flush of a client covers up what a resync forgot to flush.
        let idle = self.world.draw(|random| random.one_in(4));
        let clients = if idle { 0 } else { self.scenario.clients };
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                let (load, scenario) = (load.clone(), self.scenario.clone());
                spawn(async move { load.client(scenario.appetite()).await })
            })
            .collect();
        for client in clients {
            client.join().await;
        }
        if end == End::Stop {
            faults.join().await;
            if let Some(asked) = asked {
                asked.join().await;
            }
            // Sometimes what was begun is brought to its end.
            if self.world.draw(|random| random.one_in(2)) {
                array.freeze(false).await;
                sleep_ms(5_000).await;
            }
            if let Err(failed) = array.stop().await {
                self.complain("redundancy", format!("stopping failed though a copy is well: {failed}"));
            }
            self.watch.see_end(&array);
        } else if let End::PowerCutLater(ms) = end {
            sleep_ms(ms).await;
        } else {
            // The cut may come while nothing happens: clean marks, timers, a resync going on.
            sleep_ms(3_600_000).await;
        }
        self.count(&array);
        for (disk, remote) in &*self.remotes.borrow() {
            if remote.connections() != 1 {
                self.complain(
                    "fence",
                    format!("disk {disk} was connected to {} times", remote.connections()),
                );
            }
        }
        true
    }

    /// Rows that members do not take in this era, but for those that stay well.
    fn break_rows(&self, array: &Array, well: &[usize]) {
        for member in array.members() {
            let (disk, data) = (disk_of(&member), member.data_offset.0);
            let own = self.scenario.bad_rows.iter().filter(|(number, _)| *number == disk);
            if own.clone().next().is_some() && !well.contains(&disk) {
                self.world.disks()[disk].set_faults(|faults| {
                    faults.bad_sectors = own.map(|(_, row)| data + row).collect();
                    faults.bad_for_good = true;
                });
            }
        }
    }

    /// What goes wrong in an era, as a task of its own.
    fn trouble(&self, array: Rc<Array>, well: Vec<usize>) -> impl Future<Output = ()> + use<> {
        let (world, watch) = (self.world.clone(), self.watch.clone());
        let (remotes, breaks) = (self.remotes.clone(), self.breaks.clone());
        trouble(world, array, well, move |world, disk| {
            if let Some(remote) = remotes.borrow().get(&disk) {
                watch.see_break(world, disk);
                breaks.set(breaks.get() + 1);
                remote.break_off();
            }
        })
    }

    /// Whether a log made a resync superfluous.
    fn count_replay(&self, array: &Array) {
        self.rows_replayed
            .set(self.rows_replayed.get() + array.journal().map_or(0, |journal| journal.replayed));
        let was_dirty = !array.shape().was_clean();
        let is_whole = array.sync_state() == SyncState::Idle;
        if (self.scenario.ppl || self.scenario.private_log) && was_dirty && is_whole {
            let degraded = array.in_sync() < array.shape().slots;
            let counter = if degraded { &self.degraded_replays } else { &self.replays };
            counter.set(counter.get() + 1);
        }
    }

    fn count(&self, array: &Array) {
        let members = array.members();
        let faulty = members.iter().filter(|member| member.condition == Condition::Faulty).count() as u32;
        self.failures.set(self.failures.get() + faulty);
        let happenings = array.take_happenings();
        let complete = |action| happenings.contains(&md::array::Happening::SyncComplete { action });
        self.resyncs.set(self.resyncs.get() + u32::from(complete(Action::Resync)));
        self.recoveries.set(self.recoveries.get() + u32::from(complete(Action::Recover)));
    }

    /// The disks, and clients of their servers in place of those that are remote.
    async fn connected(&self) -> Vec<Dev> {
        let mut devs = self.devs();
        for (disk, dev) in self.world.disks().into_iter().zip(&mut devs) {
            if self.scenario.is_remote(disk.number()) {
                let number = disk.number();
                let remote = Remote::new(&self.world, disk).await;
                *dev = remote.device();
                self.remotes.borrow_mut().insert(number, remote);
            }
        }
        devs
    }

    async fn open(&self, devs: &[Dev]) -> Option<Rc<Array>> {
        self.open_with(devs, true).await
    }

    async fn open_with(&self, devs: &[Dev], write: bool) -> Option<Rc<Array>> {
        let Looked { mut candidates, devs: used, layout, flaws } =
            arrays::look(devs.iter().cloned().enumerate()).await;
        flaws.into_iter().for_each(|flaw| self.complain("assembly", flaw));
        if self.is_stranger {
            candidates.iter_mut().for_each(|candidate| candidate.examined.private_log = None);
        }
        let sets = assemble(&candidates);
        let [set] = &sets[..] else {
            self.complain("assembly", format!("one array became {}", sets.len()));
            return None;
        };
        let checkpoint_ms = self.scenario.checkpoint_ms;
        let lanes = self.scenario.lanes;
        let options = Options {
            write,
            degraded: true,
            checkpoint_ms,
            lanes,
            bitmap_round_ms: Some(self.scenario.bitmap_round_ms),
            private_log: (self.scenario.private_log && write && !self.is_stranger).then_some(true),
            journal_mode: match self.scenario.write_back {
                Some(_) => JournalMode::WriteBack,
                None => JournalMode::WriteThrough,
            },
            ..Options::default()
        };
        let memory = self.scenario.write_back.unwrap_or(options.journal_cache_bytes);
        let options = Options { journal_cache_bytes: memory, ..options };
        match Array::open(set, &candidates, &used, options) {
            Ok(array) => {
                self.watch.set(Some(array.clone()), layout);
                Some(array)
            }
            // Missing members and parity that may not belong to the data: refused, and rightly.
            Err(OpenError::Hindered(why)) if why == [Hindrance::DirtyDegraded] => {
                if self.was_kept.get() && !self.is_stranger {
                    self.complain("log", "a private log was kept, and is not believed".into());
                }
                None
            }
            // The same of blocks that are listed as bad.
            Err(OpenError::Hindered(why)) if why == [Hindrance::DirtyBadBlocks] => None,
            // The journal has failed: what is left is read, and not written.
            Err(OpenError::Hindered(_)) if self.scenario.journal_fails && set.journal.is_none() => None,
            // A superblock of several sectors, torn on a member that cannot be done without: the price of 0.90 (ADR 4).
            Err(_) if self.scenario.version == Version::V0_90 && self.crashed && has_torn(set) => None,
            Err(error) => {
                let left: Vec<String> =
                    set.left_out.iter().map(|left| format!("{}: {}", left.candidate, left.reason)).collect();
                let left = left.join("; ");
                self.complain("assembly", format!("the array is not opened any more: {error} ({left})"));
                None
            }
        }
    }

    fn load(&self, array: &Rc<Array>) -> Load {
        let (world, watch) = (self.world.clone(), self.watch.clone());
        Load {
            dev: array.device(),
            model: self.model.clone(),
            arena: Arena::new(ARENA_BYTES),
            world: self.world.clone(),
            unrecorded: Rc::new(move || watch.unrecorded(&world)),
            violations: self.violations.clone(),
            copies: Copies::At(copies_of(&self.world, array)),
            is_cached: false,
            tolerates_errors: tolerates_errors(array, self.scenario.journal_fails),
        }
    }
}

/// Whether a request may fail: without redundancy, where a journal may fail, and where parity is not known to belong to the data yet, or never will
/// be, and is listed as bad (S6).
pub(crate) fn tolerates_errors(array: &Rc<Array>, journal_fails: bool) -> Box<dyn Fn() -> bool> {
    let array = array.clone();
    let level = array.shape().summary.level;
    Box::new(move || {
        let lists_bad_blocks = || array.members().iter().any(|member| member.bad_blocks > 0);
        let is_known = || array.sync_state() == SyncState::Idle && array.doubtful(1).is_empty();
        !has_redundancy(level) || has_parity(level) && (!is_known() || lists_bad_blocks() || journal_fails)
    })
}

/// Looks a sector up on every copy that is in sync, as it reads and as a power cut would leave it: a resync may have
/// come by a moment ago, and what it wrote is not durable yet. On none where the level has no copies.
fn copies_of(world: &Rc<World>, array: &Rc<Array>) -> Box<dyn Fn(u64) -> Vec<Vec<u8>>> {
    let (world, array) = (world.clone(), array.clone());
    Box::new(move |sector| {
        let (disks, members) = (world.disks(), array.members());
        let on_disk = |(member, at): (usize, Sectors)| {
            let (disk, range) = (&disks[disk_of(&members[member])], Range::new(at, Sectors(1)));
            [disk.peek(range), disk.peek_durable(range)]
        };
        array.copies_of(Sectors(sector)).flat_map(on_disk).collect()
    })
}

/// Whether the superblock of some member was torn.
fn has_torn(set: &md::Set) -> bool {
    set.left_out.iter().any(|left| matches!(left.reason, md::Reason::Flawed(_)))
}

/// The disk of a member: members are named by it.
pub(crate) fn disk_of(member: &MemberStatus) -> usize {
    member.name.parse().expect("members are named by their disk")
}

/// Disks that stay well, so that no client ever sees an error: some of those in sync that are enough together, also without
/// those that list bad blocks, which others have.
pub(crate) fn well(world: &World, array: &Array, journal_fails: bool) -> Vec<usize> {
    let members = array.members();
    let mut well: Vec<usize> =
        (0..members.len()).filter(|at| members[*at].condition == Condition::InSync).collect();
    let mut candidates = well.clone();
    while !candidates.is_empty() {
        let spared =
            candidates.swap_remove(world.draw(|random| random.below(candidates.len() as u64)) as usize);
        if array.is_enough(|at| at != spared && well.contains(&at) && members[at].bad_blocks == 0) {
            well.retain(|at| *at != spared);
        }
    }
    // Without its journal an array takes no writes.
    let journal = members.iter().position(|member| member.condition == Condition::Journal);
    well.into_iter().chain(journal.filter(|_| !journal_fails)).map(|at| disk_of(&members[at])).collect()
}

/// What goes wrong in an era: to every member of an array with redundancy but some that are enough.
pub(crate) async fn trouble(
    world: Rc<World>,
    array: Rc<Array>,
    well: Vec<usize>,
    break_off: impl Fn(&World, usize),
) {
    if !has_redundancy(array.shape().summary.level) {
        return;
    }
    for disk in world.disks().into_iter().filter(|disk| !well.contains(&disk.number())) {
        // Most of the load is over after some milliseconds; a clean mark or a resync may come much later.
        let (kind, latest) = world.draw(|random| (random.below(10), *random.choose(&[1, 2, 10, 400])));
        sleep_until(now().after_ns(world.draw(|random| random.below(latest * 1_000_000)))).await;
        let rarely = world.draw(|random: &mut Random| 1 + random.below(200));
        match kind {
            0 => disk.set_faults(|faults| faults.read_error_one_in = rarely),
            1 => disk.set_faults(|faults| faults.write_error_one_in = rarely),
            2 => disk.set_faults(|faults| faults.flush_error_one_in = rarely),
            3 => disk.set_faults(|faults| faults.transport_error_one_in = rarely),
            4 => disk.set_fate(Fate::Dead),
            5 => {
                disk.set_fate(Fate::Hung);
                sleep_ms(100_000).await;
                disk.set_fate(Fate::Alive);
            }
            6 => {
                let bad = world.draw(|random| (0..20).map(|_| random.below(10_000)).collect());
                disk.set_faults(|faults| {
                    faults.bad_sectors = bad;
                    faults.bad_for_good = rarely.is_multiple_of(2);
                });
            }
            7 => {
                let failed =
                    array.members().iter().rposition(|member| member.name == disk.number().to_string());
                if let Some(at) = failed {
                    let _ = array.fail_member(at).await; // the last copy is refused, and rightly
                }
            }
            _ => break_off(&world, disk.number()), // nothing, but to those that are remote
        }
    }
}

impl Scenario {
    fn layout_text(&self) -> String {
        let (chunk, layout) = (self.chunk_sectors, self.layout);
        let layout = match self.level {
            Level::Raid5 | Level::Raid6 | Level::Raid10 => format!(" (layout {layout:#x}, chunk {chunk})"),
            _ => String::new(),
        };
        let bitmap =
            self.bitmap_chunk.map(|bytes| format!(" with a bitmap ({bytes}, {} ms)", self.bitmap_round_ms));
        let log = match (self.ppl, self.private_log) {
            (true, _) => " with a partial parity log",
            (_, true) => " with a private log",
            _ => "",
        };
        let mode = self.write_back.map(|bytes| format!(" that writes back from {bytes} bytes"));
        let mode = mode.unwrap_or_default();
        let journal = self.journal.map(|size| format!(" with a journal on a disk of {size} sectors{mode}"));
        layout + &bitmap.unwrap_or_default() + log + &journal.unwrap_or_default()
    }

    /// A line for people.
    pub fn describe(&self) -> String {
        let blocks = self.logical_block;
        let asked = match (self.asked, self.grown) {
            (false, _) => "",
            (true, false) => ", people ask",
            (true, true) => ", people ask and change it",
        };
        let eras: Vec<String> = self.eras.iter().map(|end| format!("{end:?}")).collect();
        format!(
            "{}{} on {} with {} members, {} spares and {} of them remote{asked}, blocks of {blocks}, {} clients, eras: {}",
            self.level,
            self.layout_text(),
            self.version,
            self.slots(),
            self.spares,
            self.remote.iter().filter(|remote| **remote).count(),
            self.clients,
            eras.join(", ")
        )
    }
}
