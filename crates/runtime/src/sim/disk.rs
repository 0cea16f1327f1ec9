//! A simulated disk with a volatile write cache.
//!
//! Content is kept per sector: what would survive a power cut, and the versions written since. A flush makes durable
//! what had *completed* when the flush was started, not what completed meanwhile; FUA makes one write durable. At a
//! power cut every sector falls back to its durable content or to any version written since, including those of
//! writes that were still in flight: lost, kept, torn and reordered, sector by sector.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use block::{
    Buf, Cause, Counters, Device, Extents, Failed, Geometry, Op, Outcome, Range, Request, SECTOR, Sectors,
    Ticket,
};

use super::{Random, World};
use crate::meter::{Answer, Meter};

const SECTOR_BYTES: usize = SECTOR as usize;

type Content = [u8; SECTOR_BYTES];

/// Faults of a disk. All zero and false: a disk that works.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// One in so many reads fails with a medium error, once.
    pub read_error_one_in: u64,
    /// One in so many writes fails with a medium error, having written some of its sectors.
    pub write_error_one_in: u64,
    /// One in so many flushes fails, having made nothing durable.
    pub flush_error_one_in: u64,
    /// One in so many requests fails in transport: carried out or not, nobody knows.
    pub transport_error_one_in: u64,
    /// Sectors that cannot be read until they are written.
    pub bad_sectors: BTreeSet<u64>,
    /// Writes to bad sectors fail too.
    pub bad_for_good: bool,
}

/// Whether a disk answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fate {
    /// It does.
    #[default]
    Alive,
    /// Every request fails.
    Dead,
    /// Requests are accepted and not answered until the disk is alive again, but for those whose deadline passes.
    Hung,
}

/// A write that a disk has accepted, as an observer sees it: at the moment it is started.
pub struct WriteSeen<'a> {
    /// Which disk, by number.
    pub disk: usize,
    /// Where.
    pub range: Range,
    /// What; `None` for zeroes and discards.
    pub buf: Option<&'a Buf>,
}

type Observer = Box<dyn Fn(&WriteSeen<'_>)>;

/// A simulated disk. It stays as it is over power cuts and restarts.
pub struct Disk {
    itself: Weak<Disk>,
    world: Weak<World>,
    number: usize,
    geometry: Cell<Geometry>,
    state: RefCell<State>,
    faults: RefCell<Faults>,
    fate: Cell<Fate>,
    latency_ns: Cell<(u64, u64)>,
    volatile: Cell<bool>,
    observers: RefCell<Vec<Observer>>,
    meter: Meter,
}

#[derive(Default)]
struct State {
    durable: BTreeMap<u64, Content>,
    cached: BTreeMap<u64, Vec<Version>>,
    completed: u64,
    in_flight: BTreeMap<u64, (Range, Option<Buf>)>,
    /// Requests that wait for the disk to answer again, and whoever still waits for them.
    hung: BTreeMap<u64, (Request, Option<Answer>)>,
}

struct Version {
    written: u64,
    content: Content,
}

impl Disk {
    pub(super) fn new(world: &Rc<World>, number: usize, size: Sectors, logical_block: u32) -> Rc<Disk> {
        let geometry = Geometry { logical_block, physical_block: logical_block, ..Geometry::plain(size) };
        Rc::new_cyclic(|itself| Disk {
            itself: itself.clone(),
            world: Rc::downgrade(world),
            number,
            geometry: Cell::new(geometry),
            state: RefCell::default(),
            faults: RefCell::default(),
            fate: Cell::default(),
            latency_ns: Cell::new((20_000, 200_000)),
            volatile: Cell::new(true),
            observers: RefCell::default(),
            meter: Meter::new(&format!("disk {number}"), 0),
        })
    }

    /// The disk's number in its world.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Changes the disk's faults from now on.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.borrow_mut());
    }

    /// Lets the disk die, hang, or come back. Coming back from hanging, it carries out what was waiting.
    pub fn set_fate(&self, fate: Fate) {
        self.fate.set(fate);
        if fate != Fate::Hung {
            let waiting = std::mem::take(&mut self.state.borrow_mut().hung);
            for (request, answer) in waiting.into_values() {
                self.schedule(request, answer);
            }
        }
    }

    /// Requests take from `least` to `most` nanoseconds.
    pub fn set_latency_ns(&self, least: u64, most: u64) {
        self.latency_ns.set((least, most.max(least + 1)));
    }

    /// Makes the disk larger, full of zeroes behind its end of before.
    pub fn grow(&self, size: Sectors) {
        let geometry = self.geometry.get();
        assert!(size >= geometry.size, "a device never shrinks");
        self.geometry.set(Geometry { size, ..geometry });
    }

    /// Whether writes stay in a cache until they are flushed (the default), or are durable at once.
    pub fn set_volatile(&self, volatile: bool) {
        self.volatile.set(volatile);
    }

    /// Calls `observer` for every write when it is started.
    pub fn observe(&self, observer: impl Fn(&WriteSeen<'_>) + 'static) {
        self.observers.borrow_mut().push(Box::new(observer));
    }

    /// How many reads it has been asked for.
    pub fn reads(&self) -> u64 {
        self.meter.counters().of(Op::Read).begun
    }

    /// How many writes, discards and zeroes it has been asked for.
    pub fn writes(&self) -> u64 {
        let counters = self.meter.counters();
        [Op::Write, Op::WriteZeroes, Op::Discard].iter().map(|op| counters.of(*op).begun).sum()
    }

    /// What a reader would get now, without time passing or faults: for checkers.
    pub fn peek(&self, range: Range) -> Vec<u8> {
        let state = self.state.borrow();
        sectors(range).flat_map(|sector| state.current(sector)).collect()
    }

    /// What would be left of a range if the power went now and took everything that was not flushed.
    pub fn peek_durable(&self, range: Range) -> Vec<u8> {
        let state = self.state.borrow();
        let durable = |sector| state.durable.get(&sector).copied().unwrap_or([0; SECTOR_BYTES]);
        sectors(range).flat_map(durable).collect()
    }

    /// Puts bytes on the disk, durably and at once: for the making of scenarios.
    pub fn poke(&self, start: Sectors, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        for (n, content) in bytes.chunks_exact(SECTOR_BYTES).enumerate() {
            let sector = start.0 + n as u64;
            state.cached.remove(&sector);
            state.durable.insert(sector, content.try_into().expect("a chunk is a sector"));
        }
    }

    /// A copy of all that is on the disk now.
    pub fn image(&self) -> Vec<u8> {
        self.peek(Range::new(Sectors::ZERO, self.geometry.get().size))
    }

    pub(super) fn lose_power(&self) {
        let world = self.world.upgrade().expect("a disk lives in its world");
        self.drop_in_flight();
        let mut state = self.state.borrow_mut();
        let cached = std::mem::take(&mut state.cached);
        world.draw(|random| {
            let habit = *random.choose(&Habit::ALL);
            for (sector, versions) in cached {
                if let Some(content) = habit.survivor(&versions, random) {
                    state.durable.insert(sector, content);
                }
            }
        });
    }

    /// Each write in flight has happened to some of its sectors.
    pub(super) fn drop_in_flight(&self) {
        let world = self.world.upgrade().expect("a disk lives in its world");
        let mut state = self.state.borrow_mut();
        drop(std::mem::take(&mut state.hung));
        for (_, (range, buf)) in std::mem::take(&mut state.in_flight) {
            let whole = world.draw(|random| random.below(3));
            for sector in sectors(range) {
                if whole == 0 || whole == 1 && world.draw(|random| random.one_in(2)) {
                    state.write(sector, content_of(range, buf.as_ref(), sector));
                }
            }
        }
    }

    fn schedule(&self, request: Request, answer: Option<Answer>) {
        let world = self.world.upgrade().expect("a disk lives in its world");
        if self.fate.get() == Fate::Hung {
            return self.hang(&world, request, answer);
        }
        let (least, most) = self.latency_ns.get();
        let (ns, id) = world.draw(|random| (least + random.below(most - least), random.word()));
        let flushed = self.state.borrow().completed;
        if request.is_write() {
            self.state.borrow_mut().in_flight.insert(id, (request.range, request.buf.clone()));
        }
        let disk = self.itself.upgrade().expect("a disk in use is held");
        world.after_ns(ns, move || {
            disk.state.borrow_mut().in_flight.remove(&id);
            let outcome = disk.carry_out(&request, flushed);
            if let Some(answer) = answer {
                answer.finish(outcome);
            }
        });
    }

    /// Keeps a request until the disk answers again. When its deadline passes before, whoever waits is told; it may
    /// still be carried out later.
    fn hang(&self, world: &Rc<World>, request: Request, answer: Option<Answer>) {
        let id = world.draw(Random::word);
        if let Some(deadline) = request.deadline {
            let disk = self.itself.upgrade().expect("a disk in use is held");
            world.after_ns(deadline.since(world.now.get()), move || {
                let late = disk.state.borrow_mut().hung.get_mut(&id).and_then(|(_, answer)| answer.take());
                if let Some(answer) = late {
                    answer.finish(Err(Failed::new(Cause::Timeout)));
                }
            });
        }
        self.state.borrow_mut().hung.insert(id, (request, answer));
    }

    fn carry_out(&self, request: &Request, flushed: u64) -> Outcome {
        let world = self.world.upgrade().expect("a disk lives in its world");
        if self.fate.get() == Fate::Dead {
            return Err(Failed::new(Cause::Gone));
        }
        let chance = |one_in: u64| world.draw(|random| random.one_in(one_in));
        let faults = self.faults.borrow().clone();
        let transport = chance(faults.transport_error_one_in);
        if transport && chance(2) {
            return Err(Failed::new(Cause::Transport));
        }
        let outcome = match request.op {
            Op::Read => self.read(request, &faults, chance(faults.read_error_one_in)),
            Op::Write | Op::WriteZeroes | Op::Discard => {
                self.write(request, &faults, chance(faults.write_error_one_in))
            }
            Op::Flush if chance(faults.flush_error_one_in) => Err(Failed::new(Cause::Medium)),
            Op::Flush => {
                self.state.borrow_mut().flush(flushed);
                Ok(())
            }
            Op::Status => {
                let words = request.buf.as_ref().expect("a status request has a buffer");
                Extents::new(words).set(0, request.range.count, false);
                Ok(())
            }
        };
        if transport { Err(Failed::new(Cause::Transport)) } else { outcome }
    }

    fn read(&self, request: &Request, faults: &Faults, fails: bool) -> Outcome {
        let bad = sectors(request.range).any(|sector| faults.bad_sectors.contains(&sector));
        if fails || bad {
            return Err(Failed::new(Cause::Medium));
        }
        let (state, buf) = (self.state.borrow(), request.buf.as_ref().expect("a read has a buffer"));
        for (n, sector) in sectors(request.range).enumerate() {
            buf.copy_from_slice(n * SECTOR_BYTES, &state.current(sector));
        }
        Ok(())
    }

    fn write(&self, request: &Request, faults: &Faults, fails: bool) -> Outcome {
        let world = self.world.upgrade().expect("a disk lives in its world");
        let bad = sectors(request.range).any(|sector| faults.bad_sectors.contains(&sector));
        let fails = fails || bad && faults.bad_for_good;
        let mut state = self.state.borrow_mut();
        for sector in sectors(request.range) {
            if fails && world.draw(|random| random.one_in(2)) {
                continue;
            }
            state.write(sector, content_of(request.range, request.buf.as_ref(), sector));
            if (request.fua || !self.volatile.get()) && !fails {
                state.settle(sector);
            }
            if !faults.bad_for_good {
                self.faults.borrow_mut().bad_sectors.remove(&sector);
            }
        }
        if fails { Err(Failed::new(Cause::Medium)) } else { Ok(()) }
    }
}

impl Device for Disk {
    fn start(&self, request: Request) -> Ticket {
        let geometry = self.geometry.get();
        let fits =
            request.range.start.checked_add(request.range.count).is_some_and(|end| end <= geometry.size);
        let block = Sectors(u64::from(geometry.logical_block) / SECTOR);
        let aligned = request.range.start.is_multiple_of(block) && request.range.count.is_multiple_of(block);
        let (ticket, answer) = self.meter.begin(&request);
        if !fits || !aligned {
            answer.finish(Err(Failed::new(Cause::Refused)));
            return ticket;
        }
        if request.is_write() {
            let seen = WriteSeen { disk: self.number, range: request.range, buf: request.buf.as_ref() };
            self.observers.borrow().iter().for_each(|observer| observer(&seen));
        }
        self.schedule(request, Some(answer));
        ticket
    }

    fn geometry(&self) -> Geometry {
        self.geometry.get()
    }

    fn counters(&self) -> Option<Rc<Counters>> {
        Some(self.meter.counters())
    }
}

impl State {
    fn current(&self, sector: u64) -> Content {
        match self.cached.get(&sector).and_then(|versions| versions.last()) {
            Some(version) => version.content,
            None => self.durable.get(&sector).copied().unwrap_or([0; SECTOR_BYTES]),
        }
    }

    fn write(&mut self, sector: u64, content: Content) {
        self.completed += 1;
        let version = Version { written: self.completed, content };
        self.cached.entry(sector).or_default().push(version);
    }

    /// Makes the newest version of a sector durable.
    fn settle(&mut self, sector: u64) {
        if let Some(version) = self.cached.remove(&sector).and_then(|mut versions| versions.pop()) {
            self.durable.insert(sector, version.content);
        }
    }

    /// Makes durable what was written up to `flushed`.
    fn flush(&mut self, flushed: u64) {
        let durable = &mut self.durable;
        self.cached.retain(|sector, versions| {
            let old = versions.iter().take_while(|version| version.written <= flushed).count();
            if let Some(newest) = versions.drain(..old).next_back() {
                durable.insert(*sector, newest.content);
            }
            !versions.is_empty()
        });
    }
}

/// How a disk treats its cache when the power goes.
#[derive(Clone, Copy)]
enum Habit {
    LoseAll,
    KeepAll,
    KeepAny,
    KeepMost,
}

impl Habit {
    const ALL: [Habit; 4] = [Habit::LoseAll, Habit::KeepAll, Habit::KeepAny, Habit::KeepMost];

    fn survivor(self, versions: &[Version], random: &mut Random) -> Option<Content> {
        let kept = match self {
            Habit::LoseAll => 0,
            Habit::KeepAll => versions.len() as u64,
            Habit::KeepAny => random.below(versions.len() as u64 + 1),
            Habit::KeepMost if random.one_in(8) => 0,
            Habit::KeepMost => versions.len() as u64,
        };
        let newest = kept.checked_sub(1)?;
        Some(versions[newest as usize].content)
    }
}

fn sectors(range: Range) -> impl Iterator<Item = u64> {
    range.start.0..range.end().0
}

fn content_of(range: Range, buf: Option<&Buf>, sector: u64) -> Content {
    let mut content = [0; SECTOR_BYTES];
    if let Some(buf) = buf {
        buf.copy_to_slice((sector - range.start.0) as usize * SECTOR_BYTES, &mut content);
    }
    content
}
