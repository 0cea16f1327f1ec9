//! The load: clients that write, read, flush and discard at random, and judge what they are given.

use std::cell::RefCell;
use std::rc::Rc;

use block::{Arena, Buf, Dev, Outcome, Range, Request, SECTOR, Sectors};
use runtime::sim::{Random, World};

use crate::answer::{Look, answered};
use crate::model::{Left, Model, Value};
use crate::run::Violation;

/// What clients share.
pub struct Load {
    /// The array.
    pub dev: Dev,
    /// What may be where.
    pub model: Rc<RefCell<Model>>,
    /// Memory for the clients.
    pub arena: Rc<Arena>,
    /// The world, for chance.
    pub world: Rc<World>,
    /// Failures that are not on record, looked for when a write or a flush is answered.
    pub unrecorded: Look,
    /// What was found wrong.
    pub violations: Rc<RefCell<Vec<Violation>>>,
    /// The bytes of a sector on each copy that is in sync: more than one may be right while a resync has not come by.
    pub copies: Copies,
    /// A cache has some of it. What is clean there after a crash may differ from what lies below in what nobody flushed, and be
    /// given up at any time: then another of those that may have survived is read.
    pub is_cached: bool,
    /// Whether a request that begins now may fail.
    pub tolerates_errors: Box<dyn Fn() -> bool>,
}

/// Where else a sector lies.
pub enum Copies {
    /// There, by sector.
    At(Box<dyn Fn(u64) -> Vec<Vec<u8>>>),
    /// Nobody can say: whatever a crash may have left may come to light.
    Somewhere,
}

/// What clients ask for.
#[derive(Clone, Copy, Default, Debug)]
pub struct Appetite {
    /// Requests of each.
    pub requests: u64,
    /// The longest request, in blocks.
    pub longest: u64,
    /// The part of the device that they use, in sectors.
    pub playground: u64,
    /// Whether they discard; otherwise they ask for zeroes instead.
    pub discards: bool,
}

/// The bytes of one sector that holds `value`.
fn content(value: Value, sector: u64) -> [u8; SECTOR as usize] {
    let mut bytes = [0; SECTOR as usize];
    if value != 0 {
        for pair in bytes.chunks_exact_mut(16) {
            pair[..8].copy_from_slice(&value.to_le_bytes());
            pair[8..].copy_from_slice(&sector.to_le_bytes());
        }
    }
    bytes
}

/// The value in a sector's bytes; an error if no write ever left that there.
fn value_of(bytes: &[u8], sector: u64) -> Result<Value, String> {
    let value = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    if content(value, sector) == bytes {
        Ok(value)
    } else {
        Err(format!("holds a mixture that begins with {value}"))
    }
}

impl Load {
    /// One client: `requests` random requests, one after the other.
    pub async fn client(&self, scenario: Appetite) {
        for _ in 0..scenario.requests {
            let geometry = self.dev.geometry(); // it may have grown
            let block = u64::from(geometry.logical_block) / SECTOR;
            let room = (geometry.size.0 / block).min(scenario.playground.max(block) / block).max(1);
            let (kind, at, blocks, fua) = self.world.draw(|random: &mut Random| {
                let at = random.below(room);
                let longest = scenario.longest.min(room - at);
                (random.below(100), at, 1 + random.below(longest), random.one_in(5))
            });
            let range = Range::new(Sectors(at * block), Sectors(blocks * block));
            match kind {
                0..45 => self.write(range, fua).await,
                45..80 => drop(self.read(range).await),
                80..90 => self.flush().await,
                95.. if scenario.discards => self.discard(range).await,
                _ => self.zeroes(range, fua).await,
            }
        }
    }

    async fn write(&self, range: Range, fua: bool) {
        let excused = (self.tolerates_errors)();
        let token = self.model.borrow_mut().begin_write(range.start.0, range.count.0, None);
        let buf = self.arena.wait_take(range.count.byte_len()).await;
        for (n, sector) in (range.start.0..range.end().0).enumerate() {
            buf.copy_from_slice(n * SECTOR as usize, &content(token.value(), sector));
        }
        let request = Request { fua, ..Request::write(range.start, buf) };
        let (outcome, unrecorded) = answered(self.dev.start(request), &self.unrecorded).await;
        self.model.borrow_mut().end_write(token, outcome.is_ok(), fua);
        self.judge_failure("write", range, outcome, excused);
        self.judge_record(outcome, unrecorded);
    }

    async fn zeroes(&self, range: Range, fua: bool) {
        let excused = (self.tolerates_errors)();
        let left = Some(Left::Value(0));
        let token = self.model.borrow_mut().begin_write(range.start.0, range.count.0, left);
        let outcome = self.dev.start(Request { fua, ..Request::write_zeroes(range) }).await;
        self.model.borrow_mut().end_write(token, outcome.is_ok(), fua);
        self.judge_failure("write-zeroes", range, outcome, excused);
    }

    async fn discard(&self, range: Range) {
        let excused = (self.tolerates_errors)();
        let left = Some(Left::Anything);
        let token = self.model.borrow_mut().begin_write(range.start.0, range.count.0, left);
        let outcome = self.dev.start(Request::discard(range)).await;
        self.model.borrow_mut().end_write(token, outcome.is_ok(), false);
        self.judge_failure("discard", range, outcome, excused);
    }

    async fn flush(&self) {
        let excused = (self.tolerates_errors)();
        let began = self.model.borrow_mut().begin_flush();
        let (outcome, unrecorded) = answered(self.dev.start(Request::flush()), &self.unrecorded).await;
        self.judge_failure("flush", Range::default(), outcome, excused);
        self.judge_record(outcome, unrecorded);
        if outcome.is_ok() {
            self.model.borrow_mut().end_flush(began);
        }
    }

    async fn read(&self, range: Range) -> Option<Buf> {
        let excused = (self.tolerates_errors)();
        let began = self.model.borrow_mut().begin_read();
        let buf = self.arena.wait_take(range.count.byte_len()).await;
        let outcome = self.dev.start(Request::read(range.start, buf.clone())).await;
        if outcome.is_ok() {
            self.judge(range, &buf, |model, sector, value| model.may_hold(sector, value, began));
        }
        self.model.borrow_mut().end_read(began);
        self.judge_failure("read", range, outcome, excused);
        outcome.ok().map(|()| buf)
    }

    /// Reads everything the clients may have touched, twice, after a crash: what survived must be allowed, and the same
    /// both times (S8). From then on that is what the disk holds; a flush comes first, because after a mere kill the
    /// disks still have in their caches what nobody ever flushed.
    pub async fn take_stock(&self, scenario: Appetite, crashed: bool) {
        // What is asked of here is asked for at once; and what was not in sync is not so soon.
        let excused = (self.tolerates_errors)();
        let geometry = self.dev.geometry();
        let block = u64::from(geometry.logical_block) / SECTOR;
        let end = geometry.size.0.min(scenario.playground + scenario.longest * block).next_multiple_of(block);
        let end = end.min(geometry.size.0);
        let flushed = self.dev.start(Request::flush()).await;
        self.judge_failure("flush", Range::default(), flushed, excused);
        let (mut at, mut by_block) = (0, 0);
        while at < end {
            let count = if at < by_block { block } else { (end - at).min(512) };
            let range = Range::new(Sectors(at), Sectors(count));
            at += count;
            let first = self.arena.wait_take(range.count.byte_len()).await;
            let second = self.arena.wait_take(range.count.byte_len()).await;
            // At once, so that a reader that goes where there is least to do would go to two copies.
            let one = self.dev.start(Request::read(range.start, first.clone()));
            let two = self.dev.start(Request::read(range.start, second.clone()));
            let (one, two) = (one.await, two.await);
            if one.is_err() || two.is_err() {
                self.judge_failure("read", range, one.and(two), excused);
                if count > block {
                    (at, by_block) = (range.start.0, range.end().0); // what can be read is judged, block by block
                } else {
                    let mut model = self.model.borrow_mut();
                    (range.start.0..range.end().0).for_each(|sector| model.lose(sector));
                }
                continue;
            }
            let may_differ = crashed && self.is_cached;
            if !may_differ && !first.same_bytes(&second) {
                self.complain("S8", format!("{range} read differently a second time"));
            }
            if crashed {
                let survives = |model: &Model, sector, value| model.may_survive(sector, value);
                self.judge(range, &first, survives);
                self.judge(range, &second, survives);
            } else {
                let began = self.model.borrow_mut().begin_flush();
                self.judge(range, &first, |model, sector, value| model.may_hold(sector, value, began));
            }
            self.settle(range, &first);
        }
    }

    fn settle(&self, range: Range, buf: &Buf) {
        let mut bytes = [0; SECTOR as usize];
        for (n, sector) in (range.start.0..range.end().0).enumerate() {
            let Copies::At(copies) = &self.copies else {
                self.model.borrow_mut().lose(sector);
                continue;
            };
            buf.copy_to_slice(n * SECTOR as usize, &mut bytes);
            // Until a resync has come by, the copy that is read can fail and another take its place: what nobody was
            // ever told is there may then be as it is on the other.
            let copies = copies(sector);
            let values = copies.iter().map(|copy| &copy[..]).chain([&bytes[..]]);
            let values = values.filter_map(|bytes| value_of(bytes, sector).ok()).collect();
            self.model.borrow_mut().settle(sector, values);
        }
    }

    fn judge(&self, range: Range, buf: &Buf, allowed: impl Fn(&Model, u64, Value) -> Result<(), String>) {
        let model = self.model.borrow();
        let mut bytes = [0; SECTOR as usize];
        for (n, sector) in (range.start.0..range.end().0).enumerate() {
            buf.copy_to_slice(n * SECTOR as usize, &mut bytes);
            let verdict = value_of(&bytes, sector).and_then(|value| allowed(&model, sector, value));
            if let Err(found) = verdict {
                self.complain("C1", format!("array sector {sector} {found}"));
                return;
            }
        }
    }

    fn judge_failure(&self, what: &str, range: Range, outcome: Outcome, excused: bool) {
        if let (Err(failed), false) = (outcome, excused) {
            self.complain("redundancy", format!("{what} of {range} failed though a copy is well: {failed}"));
        }
    }

    fn judge_record(&self, outcome: Outcome, unrecorded: Vec<String>) {
        if outcome.is_ok() {
            unrecorded.into_iter().for_each(|what| self.complain("S5", what));
        }
    }

    fn complain(&self, invariant: &'static str, what: String) {
        self.violations.borrow_mut().push(Violation { invariant, what });
    }
}
