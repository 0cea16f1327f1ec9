//! A simulated world, made from one seed.
//!
//! Time is a number that jumps to the next event. Which of two requests completes first, which write survives a power
//! cut, which sector cannot be read: all of it is drawn from the seed, so a run is played again exactly by giving the
//! seed again. A world outlives the runtimes that run over it: after [`World::power_cut`] a new runtime finds the
//! disks as the cut left them.

mod disk;
mod net;
mod random;
#[cfg(test)]
mod tests;

pub use disk::{Disk, Fate, Faults, WriteSeen};
pub use random::Random;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use block::{Moment, Sectors};

use crate::executor::{Driver, Wait};

/// The wall clock of a new world: a date that people recognise as made up (2020-01-01).
const EPOCH_SECONDS: u64 = 1_577_836_800;

/// Everything outside the engine: clock, chance, disks, network.
pub struct World {
    random: RefCell<Random>,
    now: Cell<Moment>,
    events: RefCell<BinaryHeap<Reverse<Scheduled>>>,
    arrivals: Cell<u64>,
    events_done: Cell<u64>,
    disks: RefCell<Vec<Rc<Disk>>>,
    listeners: RefCell<BTreeMap<String, Rc<net::Backlog>>>,
    era: Cell<u32>,
    stuck: Cell<bool>,
}

struct Scheduled {
    moment: Moment,
    arrival: u64,
    era: u32,
    event: Box<dyn FnOnce()>,
}

impl World {
    /// A world from `seed`.
    pub fn new(seed: u64) -> Rc<World> {
        Rc::new(World {
            random: RefCell::new(Random::new(seed)),
            now: Cell::new(Moment(1_000_000_000)),
            events: RefCell::default(),
            arrivals: Cell::new(0),
            events_done: Cell::new(0),
            disks: RefCell::default(),
            listeners: RefCell::default(),
            era: Cell::new(0),
            stuck: Cell::new(false),
        })
    }

    /// Adds a disk of `size` sectors, full of zeroes, with blocks of `logical_block` bytes.
    pub fn add_disk(self: &Rc<World>, size: Sectors, logical_block: u32) -> Rc<Disk> {
        let number = self.disks.borrow().len();
        let disk = Disk::new(self, number, size, logical_block);
        self.disks.borrow_mut().push(disk.clone());
        disk
    }

    /// All disks, in the order in which they were added.
    pub fn disks(&self) -> Vec<Rc<Disk>> {
        self.disks.borrow().clone()
    }

    /// Draws from the world's chance.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.random.borrow_mut())
    }

    /// How many events have happened: the scale on which a scenario places its power cuts.
    pub fn events_done(&self) -> u64 {
        self.events_done.get()
    }

    /// Lets `event` happen `ns` nanoseconds from now, unless the power is cut before.
    pub fn after_ns(&self, ns: u64, event: impl FnOnce() + 'static) {
        let arrival = self.arrivals.get();
        self.arrivals.set(arrival + 1);
        let moment = self.now.get().after_ns(ns);
        let scheduled = Scheduled { moment, arrival, era: self.era.get(), event: Box::new(event) };
        self.events.borrow_mut().push(Reverse(scheduled));
    }

    /// Cuts the power: whatever is under way ends nowhere, and each disk keeps of its unflushed writes what chance
    /// lets it keep. Call it when the runtime has been dropped.
    pub fn power_cut(&self) {
        self.era.set(self.era.get() + 1);
        self.events.borrow_mut().clear();
        self.listeners.borrow_mut().clear();
        for disk in self.disks() {
            disk.lose_power();
        }
        self.stuck.set(false);
    }

    /// Ends the runtime's time without a cut: what was in flight is lost, what was cached stays. A program that was
    /// killed leaves its disks so.
    pub fn kill(&self) {
        self.era.set(self.era.get() + 1);
        self.events.borrow_mut().clear();
        self.listeners.borrow_mut().clear();
        for disk in self.disks() {
            disk.drop_in_flight();
        }
        self.stuck.set(false);
    }
}

impl Driver for World {
    fn now(&self) -> Moment {
        self.now.get()
    }

    fn wall_seconds(&self) -> u64 {
        EPOCH_SECONDS + self.now.get().0 / 1_000_000_000
    }

    fn random(&self) -> u64 {
        self.draw(Random::word)
    }

    /// A runtime waited for ever with nothing left to happen: requests pending, nobody to complete them (P3).
    fn is_stuck(&self) -> bool {
        self.stuck.get()
    }

    fn turn(&self, wait: Wait) {
        let next = self.events.borrow().peek().map(|Reverse(scheduled)| scheduled.moment);
        match (wait, next) {
            (Wait::No, Some(next)) if next <= self.now.get() => {}
            (Wait::No, _) => return,
            (Wait::Until(until), Some(next)) if next <= until => {}
            (Wait::Until(until), _) => return self.now.set(self.now.get().max(until)),
            (Wait::Forever, Some(_)) => {}
            (Wait::Forever, None) => return self.stuck.set(true),
        }
        let Reverse(scheduled) = self.events.borrow_mut().pop().expect("just seen");
        self.now.set(self.now.get().max(scheduled.moment));
        self.events_done.set(self.events_done.get() + 1);
        if scheduled.era == self.era.get() {
            (scheduled.event)();
        }
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.moment, self.arrival) == (other.moment, other.arrival)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.moment, self.arrival).cmp(&(other.moment, other.arrival))
    }
}
