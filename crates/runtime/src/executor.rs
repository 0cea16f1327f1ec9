//! The executor: a ring of ready tasks on one thread, polled one after the other, and a driver to wait in.
//!
//! Order is fixed by the order of wake-ups alone, so a driver that is deterministic makes the whole run so. A task is
//! either a slot of a [`Layer`](crate::Layer) or a future given to [`spawn`]. Wakers are one machine word: the core's
//! number and the task's; waking a task of another core goes through that core's inbox.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use block::{Moment, trap};

use crate::event::Event;
use crate::rank::Ranks;
use crate::timer::Timers;
use crate::waits::{Waiting, Waits};

/// Tasks polled between two looks at the driver: completions are picked up soon, and a look is paid for by many.
const POLLS_PER_TURN: usize = 64;

/// How long a driver may wait for something to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Only look.
    No,
    /// At most until then.
    Until(Moment),
    /// As long as it takes.
    Forever,
}

/// The world as a runtime sees it: a clock, a source of randomness, and something to wait in.
pub trait Driver {
    /// The monotonic clock.
    fn now(&self) -> Moment;
    /// Seconds since 1970, for what is written to disks and shown to people.
    fn wall_seconds(&self) -> u64;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Keeps the promises of what has completed, and waits for something to complete if `wait` says so.
    fn turn(&self, wait: Wait);
    /// Whether a wait without end has begun that nothing can end: only a simulated world can know.
    fn is_stuck(&self) -> bool {
        false
    }
    /// What another thread calls to end a wait of this driver early; `None` where there are no other threads.
    fn kick(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        None
    }
}

/// What the executor polls.
pub(crate) trait Pollable {
    fn poll_slot(&self, slot: usize, cx: &mut Context<'_>);
}

pub(crate) struct Core {
    id: u32,
    tasks: RefCell<Vec<TaskEntry>>,
    free_tasks: RefCell<Vec<u32>>,
    ready: RefCell<VecDeque<u32>>,
    pub(crate) timers: Timers,
    pub(crate) driver: Rc<dyn Driver>,
    remote: Arc<Remote>,
    current: Cell<u32>,
    traces: Cell<u32>,
}

struct TaskEntry {
    body: Option<(Rc<dyn Pollable>, u32)>,
    queued: bool,
    ranks: Rc<Ranks>,
    waits: Rc<Waits>,
}

/// A core as other threads see it.
struct Remote {
    inbox: Mutex<Vec<u32>>,
    kick: Option<Arc<dyn Fn() + Send + Sync>>,
}

static NEXT_CORE: AtomicU32 = AtomicU32::new(1);
static REMOTES: Mutex<BTreeMap<u32, Arc<Remote>>> = Mutex::new(BTreeMap::new());

thread_local! {
    static CORE: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

pub(crate) fn core() -> Rc<Core> {
    CORE.with_borrow(|core| core.clone()).expect("called on a thread that runs a Runtime")
}

fn try_core() -> Option<Rc<Core>> {
    CORE.try_with(|core| core.borrow().clone()).ok().flatten()
}

/// The executor of this thread. One at a time; dropping it drops all its tasks.
pub struct Runtime {
    core: Rc<Core>,
}

impl Runtime {
    /// Makes this thread a core over `driver`.
    pub fn new(driver: Rc<dyn Driver>) -> Runtime {
        let id = NEXT_CORE.fetch_add(1, Ordering::Relaxed);
        let remote = Arc::new(Remote { inbox: Mutex::default(), kick: driver.kick() });
        lock(&REMOTES).insert(id, remote.clone());
        let core = Rc::new(Core {
            id,
            tasks: RefCell::default(),
            free_tasks: RefCell::default(),
            ready: RefCell::default(),
            timers: Timers::default(),
            driver,
            remote,
            current: Cell::new(u32::MAX),
            traces: Cell::new(0),
        });
        CORE.with_borrow_mut(|slot| {
            assert!(slot.is_none(), "one runtime a thread");
            *slot = Some(core.clone());
        });
        Runtime { core }
    }

    /// Runs `future`, and every other task, until `future` ends.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let go_on = |driver: &dyn Driver| {
            assert!(!driver.is_stuck(), "requests are pending and nothing will ever complete (P3)");
            true
        };
        self.run_until(future, go_on).expect("the driver waits for ever if need be")
    }

    /// Runs `future`, and every other task, until `future` ends or `go_on` says no; it is asked before each turn of
    /// the driver. The simulator cuts the power there.
    pub fn run_until<F: Future>(
        &self,
        future: F,
        mut go_on: impl FnMut(&dyn Driver) -> bool,
    ) -> Option<F::Output> {
        let mut future = pin!(future);
        let root = self.core.adopt(Rc::new(Root), 0);
        let waker = self.core.waker(root);
        self.core.wake(root);
        let output = loop {
            for _ in 0..POLLS_PER_TURN {
                self.core.take_inbox();
                let Some(task) = self.core.next_ready() else { break };
                if task != root {
                    self.core.poll(task);
                    continue;
                }
                self.core.current.set(root);
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                self.core.current.set(u32::MAX);
                if let Poll::Ready(output) = polled {
                    self.core.dismiss(root);
                    return Some(output);
                }
            }
            if !go_on(&*self.core.driver) {
                break None;
            }
            self.core.turn();
        };
        self.core.dismiss(root);
        output
    }

    /// Those who wait for somebody else's work now, as far as they have said so; nobody in a release build.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.core.tasks.borrow().iter().filter_map(|entry| entry.waits.get()).collect()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        lock(&REMOTES).remove(&self.core.id);
        // Futures may wake others or spawn while they are dropped: let them, until none is left.
        loop {
            let tasks = std::mem::take(&mut *self.core.tasks.borrow_mut());
            self.core.free_tasks.borrow_mut().clear();
            if tasks.is_empty() {
                break;
            }
            drop(tasks);
        }
        self.core.timers.clear();
        CORE.with_borrow_mut(|slot| *slot = None);
    }
}

/// Stands in the task table for the future of `run_until`, which lives on the stack.
struct Root;

impl Pollable for Root {
    fn poll_slot(&self, _: usize, _: &mut Context<'_>) {}
}

impl Core {
    /// Gives `body`'s `slot` a task number.
    pub(crate) fn adopt(&self, body: Rc<dyn Pollable>, slot: u32) -> u32 {
        let mut tasks = self.tasks.borrow_mut();
        if let Some(task) = self.free_tasks.borrow_mut().pop() {
            tasks[task as usize].body = Some((body, slot));
            return task;
        }
        tasks.push(TaskEntry {
            body: Some((body, slot)),
            queued: false,
            ranks: Rc::default(),
            waits: Rc::default(),
        });
        let (count, mut ready) = (tasks.len(), self.ready.borrow_mut());
        let missing = count.saturating_sub(ready.len());
        ready.reserve(missing); // a task is queued at most once, so the ring never grows later
        let mut free = self.free_tasks.borrow_mut();
        let missing = count.saturating_sub(free.len());
        free.reserve(missing); // nor does the list of numbers that are free
        (count - 1) as u32
    }

    pub(crate) fn dismiss(&self, task: u32) {
        let body = match self.tasks.borrow_mut().get_mut(task as usize) {
            Some(entry) => {
                entry.waits.clear();
                entry.body.take()
            }
            None => None, // the runtime is being dropped
        };
        if body.is_some() {
            self.free_tasks.borrow_mut().push(task);
        }
        drop(body);
    }

    pub(crate) fn wake(&self, task: u32) {
        let mut tasks = self.tasks.borrow_mut();
        let Some(entry) = tasks.get_mut(task as usize) else { return };
        if !std::mem::replace(&mut entry.queued, true) {
            self.ready.borrow_mut().push_back(task);
        }
    }

    pub(crate) fn ranks(&self) -> Option<Rc<Ranks>> {
        self.tasks.borrow().get(self.current.get() as usize).map(|entry| entry.ranks.clone())
    }

    pub(crate) fn waits(&self) -> Option<Rc<Waits>> {
        self.tasks.borrow().get(self.current.get() as usize).map(|entry| entry.waits.clone())
    }

    fn next_ready(&self) -> Option<u32> {
        let task = self.ready.borrow_mut().pop_front()?;
        self.tasks.borrow_mut()[task as usize].queued = false;
        Some(task)
    }

    fn poll(&self, task: u32) {
        let body = self.tasks.borrow()[task as usize].body.clone();
        let Some((body, slot)) = body else { return };
        let waker = self.waker(task);
        self.current.set(task);
        body.poll_slot(slot as usize, &mut Context::from_waker(&waker));
        self.current.set(u32::MAX);
    }

    fn turn(&self) {
        self.timers.fire(self.driver.now());
        let wait = match (self.ready.borrow().is_empty(), self.timers.next()) {
            (false, _) => Wait::No,
            (true, Some(moment)) => Wait::Until(moment),
            (true, None) => Wait::Forever,
        };
        self.driver.turn(wait);
        self.timers.fire(self.driver.now());
    }

    fn take_inbox(&self) {
        if let Ok(mut inbox) = self.remote.inbox.try_lock() {
            for task in inbox.drain(..) {
                self.wake(task);
            }
        }
    }

    fn waker(&self, task: u32) -> Waker {
        // SAFETY: the vtable's functions take the word apart as `word` put it together, and own nothing.
        unsafe { Waker::from_raw(RawWaker::new(word(self.id, task), &VTABLE)) }
    }
}

/// Takes a task out of the table, if this thread still has one.
pub(crate) fn dismiss_task(task: u32) {
    if let Some(core) = try_core() {
        core.dismiss(task);
    }
}

fn word(core: u32, task: u32) -> *const () {
    std::ptr::without_provenance((u64::from(core) << 32 | u64::from(task)) as usize)
}

static VTABLE: RawWakerVTable =
    RawWakerVTable::new(|word| RawWaker::new(word, &VTABLE), wake_word, wake_word, |_| ());

fn wake_word(word: *const ()) {
    let word = word.addr() as u64;
    let (core, task) = ((word >> 32) as u32, word as u32);
    match try_core() {
        Some(own) if own.id == core => own.wake(task),
        _ => {
            // Another thread's core, or one that has ended: then there is nobody to wake.
            let Some(remote) = lock(&REMOTES).get(&core).cloned() else { return };
            lock(&remote.inbox).push(task);
            if let Some(kick) = &remote.kick {
                kick();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The monotonic clock of this core's driver.
pub fn now() -> Moment {
    core().driver.now()
}

/// The clock, where there is one: outside of a runtime there is none.
pub(crate) fn try_now() -> Option<Moment> {
    CORE.try_with(|core| core.borrow().as_ref().map(|core| core.driver.now())).ok().flatten()
}

/// A number for a client's request: every layer below it sees it in [`block::Request::trace`]. Never 0.
pub fn next_trace() -> u32 {
    let core = core();
    let number = core.traces.get().checked_add(1).unwrap_or(1);
    core.traces.set(number);
    number
}

/// Seconds since 1970 by this core's driver.
pub fn wall_seconds() -> u64 {
    core().driver.wall_seconds()
}

/// 64 random bits of this core's driver.
pub fn random() -> u64 {
    core().driver.random()
}

/// A random UUID (version 4) of this core's driver.
pub fn random_uuid() -> [u8; 16] {
    let (low, high) = (random().to_le_bytes(), random().to_le_bytes());
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&low);
    uuid[8..].copy_from_slice(&high);
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// Lets every other ready task run first.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs `future` on this core beside everything else. It serves, so it may not allocate: what it needs is there when it is
/// made, and whoever allocates in it is caught if the trap is set ([`block::trap`]). Spawning itself allocates, so it belongs
/// to the building of a stack.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_by(future, trap::strictly)
}

/// As [`spawn`], for rare work that nobody's writing back waits for, and that may allocate: what people ask for, the handshake
/// of a client, the start of a resync. May be called by such work alone.
pub fn spawn_freely<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_by(future, trap::freely)
}

fn spawn_by<F>(future: F, guard: fn() -> trap::Strictly) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let core = core();
    let shared = Rc::new(Shared { output: RefCell::new(None), done: Event::default() });
    let cell = Rc::new(Spawned {
        future: RefCell::new(Some(Box::pin(future))),
        shared: shared.clone(),
        task: Cell::new(0),
        guard,
    });
    let task = core.adopt(cell.clone(), 0);
    cell.task.set(task);
    core.wake(task);
    Task { shared }
}

/// A spawned task. Dropping this lets the task run on.
pub struct Task<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Task<T> {
    /// Waits for the task to end.
    pub async fn join(self) -> T {
        self.shared.done.wait_until(|| self.shared.output.borrow().is_some()).await;
        self.shared.output.borrow_mut().take().expect("only `join` takes the output")
    }

    /// Whether the task has ended.
    pub fn is_done(&self) -> bool {
        self.shared.output.borrow().is_some()
    }
}

struct Shared<T> {
    output: RefCell<Option<T>>,
    done: Event,
}

struct Spawned<F: Future> {
    future: RefCell<Option<Pin<Box<F>>>>,
    shared: Rc<Shared<F::Output>>,
    task: Cell<u32>,
    guard: fn() -> trap::Strictly,
}

impl<F: Future> Pollable for Spawned<F> {
    fn poll_slot(&self, _: usize, cx: &mut Context<'_>) {
        let _guard = (self.guard)();
        let mut place = self.future.borrow_mut();
        let Some(future) = place.as_mut() else { return };
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            *place = None;
            drop(place);
            *self.shared.output.borrow_mut() = Some(output);
            self.shared.done.notify();
            core().dismiss(self.task.get());
        }
    }
}
