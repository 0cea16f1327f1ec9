//! P1, P2: after its start an array allocates nothing and makes no thread, however it is loaded. Over real files, with
//! both ways of reading and writing them.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use block::counting::Counting;
use block::{Arena, Cause, Dev, Device, Failed, Geometry, Request, Sectors, Ticket};
use md::{
    Array, BitmapWish, Candidate, Creation, JournalMode, Options, PrivateLogState, SyncState, assemble,
    create, examine, plan_creation,
};
use md_format::{Level, Version};
use runtime::os::{Choice, OpenMode, Os};
use runtime::sim::Random;
use runtime::{Runtime, Task, sleep_ms, spawn};

/// The tests by their names. They run one after the other in a process of their own and without the usual harness: its
/// thread allocates when a test takes long, and what is counted is all that the process allocates.
const TESTS: [(&str, fn()); 6] = [
    (
        "a_loaded_array_allocates_nothing_and_makes_no_thread",
        a_loaded_array_allocates_nothing_and_makes_no_thread,
    ),
    (
        "an_array_with_a_write_journal_allocates_nothing_and_makes_no_thread",
        an_array_with_a_write_journal_allocates_nothing_and_makes_no_thread,
    ),
    (
        "a_journal_in_write_back_mode_allocates_nothing_either",
        a_journal_in_write_back_mode_allocates_nothing_either,
    ),
    (
        "an_array_with_a_private_log_allocates_nothing_either",
        an_array_with_a_private_log_allocates_nothing_either,
    ),
    (
        "an_array_that_is_loaded_while_it_resyncs_allocates_nothing",
        an_array_that_is_loaded_while_it_resyncs_allocates_nothing,
    ),
    (
        "a_member_that_fails_under_load_costs_no_allocation_but_its_name_for_people",
        a_member_that_fails_under_load_costs_no_allocation_but_its_name_for_people,
    ),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let (run, left): (Vec<_>, Vec<_>) = TESTS.into_iter().partition(|(name, _)| is_wanted(name));
    for (name, test) in &run {
        println!("test {name} ...");
        test(); // one that fails ends the process
    }
    let (passed, filtered) = (run.len(), left.len());
    println!("\ntest result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; {filtered} filtered out");
}

#[global_allocator]
static COUNTING: Counting = Counting::new();

/// Tasks that use the array at once.
const CLIENTS: u64 = 24;

/// Requests of each before counting begins, and counted.
const WARM: u64 = 60;
const COUNTED: u64 = 250;

/// Bytes of a member.
const MEMBER: u64 = 16 << 20;

/// Bytes of a member whose resync takes longer than the load.
const LARGE_MEMBER: u64 = 2 << 30;

/// Requests of a member after which it dies.
const HALF_WAY: u64 = CLIENTS * COUNTED / 4;

/// A member that dies when told to.
struct Mortal {
    inner: Dev,
    dead: Cell<bool>,
    requests: Cell<u64>,
}

impl Device for Mortal {
    fn start(&self, request: Request) -> Ticket {
        self.requests.set(self.requests.get() + 1);
        match self.dead.get() {
            true => Ticket::ready(Err(Failed::new(Cause::Gone))),
            false => self.inner.start(request),
        }
    }

    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }
}

fn a_loaded_array_allocates_nothing_and_makes_no_thread() {
    for level in [Level::Raid1, Level::Raid10, Level::Raid5, Level::Raid6, Level::Raid0, Level::Linear] {
        each_way(|os, folder, choice| load(os, folder, level, false, &format!("{level} over {choice:?}")));
    }
}

fn an_array_with_a_write_journal_allocates_nothing_and_makes_no_thread() {
    journaled(Made { has_journal: true, ..MADE });
}

fn a_journal_in_write_back_mode_allocates_nothing_either() {
    journaled(Made { has_journal: true, writes_back: true, ..MADE });
}

/// A raid5 whose journal goes around several times.
fn journaled(made: Made) {
    each_way(|os, folder, choice| {
        let (runtime, mut devs, arena) = stage(&os, folder, MEMBER);
        devs.push(member(&os, &folder.join("journal"), 4 << 20));
        runtime.block_on(async {
            let array = open_with(Level::Raid5, &devs, &arena, made).await;
            let device = array.device();
            block::reserve(CLIENTS as usize);
            run_counted(&device, &arena, WARM).await;
            sleep_ms(300).await;
            let short = block::tickets_short();
            let (allocations, threads) = run_counted(&device, &arena, COUNTED).await;
            assert_eq!((allocations, threads), (0, 0), "{choice:?}: allocations, threads");
            assert_eq!(block::tickets_short(), short, "{choice:?}");
            assert_eq!(array.journal().unwrap().cached_bytes > 0, made.writes_back, "{choice:?}");
            array.stop().await.unwrap();
        });
    });
}

fn an_array_with_a_private_log_allocates_nothing_either() {
    each_way(|os, folder, choice| load(os, folder, Level::Raid6, true, &format!("logged over {choice:?}")));
}

/// Runs a test with each way of reading and writing files that there is here.
fn each_way(test: impl Fn(Rc<Os>, &Path, Choice)) {
    for choice in [Choice::Uring, Choice::Threads] {
        match Os::new(choice) {
            Ok(os) => test(os, tempfile::tempdir().unwrap().path(), choice),
            Err(error) => println!("left out: {choice:?} ({error})"),
        }
    }
}

/// Rounds of load in which a resync beside it must come further.
const ROUNDS: u32 = 50;

/// A runtime, four members and memory.
fn stage(os: &Rc<Os>, folder: &Path, bytes: u64) -> (Runtime, Vec<Dev>, Rc<Arena>) {
    let runtime = Runtime::new(os.clone());
    let devs = (0..4).map(|number| member(os, &folder.join(number.to_string()), bytes)).collect();
    let arena = Arena::new(8 << 20);
    os.register(&arena);
    (runtime, devs, arena)
}

fn load(os: Rc<Os>, folder: &Path, level: Level, logged: bool, what: &str) {
    let (runtime, devs, arena) = stage(&os, folder, MEMBER);
    runtime.block_on(async {
        let array = open(level, &devs, &arena, true, logged).await;
        let device = array.device();
        block::reserve(CLIENTS as usize);
        run_counted(&device, &arena, WARM).await;
        assert_eq!(array.private_log(), logged.then_some(PrivateLogState::Kept), "{what}");
        // Superblocks are marked clean, and dirty again: a part of the load too.
        sleep_ms(300).await;
        let short = block::tickets_short();
        let (allocations, threads) = run_counted(&device, &arena, COUNTED).await;
        assert_eq!(allocations, 0, "{what}: allocations over {} requests", CLIENTS * COUNTED);
        assert_eq!(threads, 0, "{what}: threads made under load");
        assert_eq!(block::tickets_short(), short, "{what}");
        array.stop().await.unwrap();
    });
}

fn an_array_that_is_loaded_while_it_resyncs_allocates_nothing() {
    each_way(|os, folder, choice| {
        let (runtime, devs, arena) = stage(&os, folder, LARGE_MEMBER);
        runtime.block_on(async {
            let array = open(Level::Raid1, &devs, &arena, false, false).await;
            let device = array.device();
            block::reserve(CLIENTS as usize);
            run_counted(&device, &arena, WARM).await;
            let SyncState::Running(_, before) = array.sync_state() else { panic!("the resync has begun") };
            let short = block::tickets_short();
            // Beside clients a resync is slow, but it goes on.
            for round in 0.. {
                let (allocations, threads) = run_counted(&device, &arena, WARM).await;
                assert_eq!((allocations, threads), (0, 0), "{choice:?}: allocations, threads");
                let SyncState::Running(_, after) = array.sync_state() else {
                    panic!("the resync has not ended")
                };
                if after.done > before.done {
                    break;
                }
                assert!(round < ROUNDS, "{choice:?}: the resync goes on meanwhile");
            }
            assert_eq!(block::tickets_short(), short, "{choice:?}");
            array.stop().await.unwrap();
        });
    });
}

fn a_member_that_fails_under_load_costs_no_allocation_but_its_name_for_people() {
    each_way(|os, folder, choice| {
        let (runtime, mut devs, arena) = stage(&os, folder, MEMBER);
        let mortal =
            Rc::new(Mortal { inner: devs[1].clone(), dead: Cell::new(false), requests: Cell::new(0) });
        devs[1] = mortal.clone();
        runtime.block_on(async {
            let array = open(Level::Raid1, &devs, &arena, true, false).await;
            let device = array.device();
            block::reserve(CLIENTS as usize);
            run_counted(&device, &arena, WARM).await;
            sleep_ms(300).await;
            let dies = mortal.clone();
            // In the middle of the load: half of the requests come before it.
            let dying = spawn(async move {
                while dies.requests.get() < HALF_WAY {
                    sleep_ms(1).await;
                }
                dies.dead.set(true);
            });
            mortal.requests.set(0);
            let (allocations, threads) = run_counted(&device, &arena, COUNTED).await;
            assert!(dying.is_done() && array.in_sync() == 3, "{choice:?}: it has failed");
            assert!(allocations <= 1, "{choice:?}: {allocations} allocations");
            assert_eq!(threads, 0, "{choice:?}: threads made");
            array.stop().await.unwrap();
        });
    });
}

fn member(os: &Rc<Os>, path: &Path, bytes: u64) -> Dev {
    File::create(path).unwrap().set_len(bytes).unwrap();
    os.open(path, OpenMode::Write).unwrap().device
}

/// What is not the same in every test.
#[derive(Clone, Copy)]
struct Made {
    assume_clean: bool,
    /// The last of the devices is a write journal.
    has_journal: bool,
    /// In write-back mode.
    writes_back: bool,
    /// It keeps a private log.
    logged: bool,
}

const MADE: Made = Made { assume_clean: true, has_journal: false, writes_back: false, logged: false };

async fn open(level: Level, devs: &[Dev], arena: &Rc<Arena>, assume_clean: bool, logged: bool) -> Rc<Array> {
    open_with(level, devs, arena, Made { assume_clean, logged, ..MADE }).await
}

async fn open_with(level: Level, devs: &[Dev], arena: &Rc<Arena>, made: Made) -> Rc<Array> {
    let Made { assume_clean, has_journal, writes_back, logged } = made;
    let (slots, others) = devs.split_at(devs.len() - usize::from(has_journal));
    let has_redundancy = !matches!(level, Level::Linear | Level::Raid0);
    let creation = Creation {
        name: "counted".to_owned(),
        host: None,
        level,
        version: Version::V1_2,
        chunk_sectors: (!matches!(level, Level::Raid1 | Level::Linear)).then_some(8),
        layout: None,
        size: None,
        // Bits of small chunks: set and cleared all the time.
        bitmap: (has_redundancy && !has_journal).then_some(BitmapWish { chunk_bytes: Some(256 << 10) }),
        ppl: false,
        journal: others.first().map(|dev| dev.geometry()),
        assume_clean,
        slots: slots.iter().map(|dev| Some(dev.geometry())).collect(),
        write_mostly: Vec::new(),
        spares: Vec::new(),
        uuid: [7; 16],
        device_uuids: (0..devs.len()).map(|number| [number as u8; 16]).collect(),
        now_s: runtime::wall_seconds(),
    };
    let plans = plan_creation(&creation).unwrap();
    let all: Vec<Option<Dev>> = devs.iter().cloned().map(Some).collect();
    create(&plans, &all, arena).await.unwrap();
    let mut candidates = Vec::new();
    for (number, dev) in devs.iter().enumerate() {
        let examined = examine(dev, arena).await.unwrap();
        candidates.push(Candidate { name: number.to_string(), examined });
    }
    let sets = assemble(&candidates);
    let private_log = logged.then_some(true);
    let journal_mode = if writes_back { JournalMode::WriteBack } else { JournalMode::WriteThrough };
    let options =
        Options { write: true, bitmap_round_ms: Some(1), private_log, journal_mode, ..Options::default() };
    Array::open(&sets[0], &candidates, devs, options).unwrap()
}

/// Allocations, and threads that came, while clients are at work: making the clients and joining them is not counted.
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
    let after = COUNTING.allocations();
    (after - before, self::threads() - threads)
}

async fn work(device: &Dev, arena: &Rc<Arena>, mut random: Random, requests: u64) {
    let size = device.geometry().size.0;
    for _ in 0..requests {
        let sectors = 1 + random.below(128);
        let start = Sectors(random.below(size - sectors));
        let done = match random.below(16) {
            0 => device.start(Request::flush()).await,
            1..=7 => {
                let buf = arena.wait_take(Sectors(sectors).byte_len()).await;
                device.start(Request::read(start, buf)).await
            }
            kind => {
                let buf = arena.wait_take(Sectors(sectors).byte_len()).await;
                let write = Request::write(start, buf);
                device.start(if kind == 8 { write.with_fua() } else { write }).await
            }
        };
        assert_eq!(done, Ok(()));
    }
}

fn threads() -> isize {
    std::fs::read_dir("/proc/self/task").unwrap().count() as isize
}
