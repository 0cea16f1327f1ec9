//! Every order in which a small journal can be used: what was promised can always be carried out, and what a power cut
//! leaves can always be opened.

use std::collections::HashSet;

use super::*;

/// Blocks that a unit may have behind its meta block.
const MOST: u64 = 4;

/// More units than a small ring has room for.
const MANY: usize = 64;

/// Slots of data of a row.
const SLOTS: u64 = 2;

/// Writes that go through at once.
const THROUGH: usize = 1;

/// A row, or what is about to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Row {
    /// Blocks that are cached, and the unit that has the first of them.
    kept: u64,
    unit: u64,
    /// Blocks that were admitted, and their unit once they are in one.
    admitted: u64,
    put: Option<u64>,
    /// The unit that its parity is in: it is being written out.
    out: Option<u64>,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Admit(usize, u64),
    Put(usize),
    /// The unit is durable: the blocks are cached now.
    Keep(usize),
    WriteOut(usize),
    /// The same of all rows, in one unit.
    WriteOutAll,
    Evict(usize),
    /// On the members without going through the journal: there is no parity.
    EvictAtOnce(usize),
    Through(u64),
    LetGo(usize),
    Close,
    /// What was closed is durable.
    Durable,
    MoveTail,
}

/// All that two worlds have to have in common to be the same from there on: sectors and holders of the units; the account;
/// the open unit and whether one is being written; rows, and what goes through, with their units by place.
type Key = (Vec<(u64, u32)>, Account, [u64; 3], [Row; 2], Vec<u64>);

/// A journal without disks and memory.
#[derive(Clone, Debug)]
struct World {
    parities: u64,
    blocks: u64,
    ring: Ring,
    account: Account,
    open: u64,
    holders: u32,
    rows: [Row; 2],
    /// The units of what goes through.
    through: Vec<u64>,
    /// A unit is being written.
    is_writing: bool,
}

impl World {
    /// With a ring of so many blocks, and of so many units at most.
    fn new(parities: u64, blocks: u64, units: usize) -> World {
        let ring = Ring::of_units(blocks * BLOCK_SECTORS, units);
        let (account, rows) = (Account::default(), [Row::default(); 2]);
        World {
            parities,
            blocks,
            ring,
            account,
            open: 0,
            holders: 0,
            rows,
            through: Vec::new(),
            is_writing: false,
        }
    }

    fn share(&self, blocks: u64) -> Share {
        Share::row(blocks, self.parities)
    }

    fn key(&self) -> Key {
        let first = self.ring.next() - self.ring.shape().len() as u64;
        let since = |number: u64| number.wrapping_sub(first);
        let row = |row: Row| Row {
            unit: if row.kept > 0 { since(row.unit) } else { 0 },
            put: row.put.map(since),
            out: row.out.map(since),
            ..row
        };
        let flags = [self.open, u64::from(self.holders), u64::from(self.is_writing)];
        let through = self.through.iter().map(|number| since(*number)).collect();
        (self.ring.shape(), self.account, flags, self.rows.map(row), through)
    }

    fn steps(&self) -> Vec<Step> {
        let rows = (0..self.rows.len()).flat_map(|at| {
            let admits = (1..=SLOTS).map(move |each| Step::Admit(at, each));
            let others =
                [Step::Put(at), Step::Keep(at), Step::WriteOut(at), Step::Evict(at), Step::EvictAtOnce(at)];
            admits.chain(others)
        });
        let through = (1..=MOST).map(Step::Through).chain((0..self.through.len()).map(Step::LetGo));
        rows.chain(through).chain([Step::WriteOutAll, Step::Close, Step::Durable, Step::MoveTail]).collect()
    }

    /// Takes a step; `None` where it cannot be taken.
    fn after(&self, what: Step) -> Option<World> {
        let mut world = self.clone();
        world.go(what).then_some(world)
    }

    fn go(&mut self, what: Step) -> bool {
        match what {
            Step::Admit(at, each) => self.admit(at, each),
            Step::Put(at) => self.put(at),
            Step::Keep(at) => self.keep(at),
            Step::WriteOut(at) => self.write_out(&[at]),
            Step::WriteOutAll => self.write_out(&[0, 1]),
            Step::Evict(at) => self.evict(at),
            Step::EvictAtOnce(at) => self.evict_at_once(at),
            Step::Through(blocks) => self.write_through(blocks),
            Step::LetGo(at) => self.let_go(at),
            Step::Close => self.close(),
            Step::Durable => self.durable(),
            Step::MoveTail => self.move_tail(),
        }
    }

    fn admit(&mut self, at: usize, each: u64) -> bool {
        let row = self.rows[at];
        let share = Share::unit(each) + self.share(each);
        let is_free = row.admitted == 0 && row.out.is_none() && row.kept + each <= SLOTS;
        if !is_free || !self.account.fits(&self.ring, share) {
            return false;
        }
        self.account.promise(share);
        self.rows[at].admitted = each;
        true
    }

    fn put(&mut self, at: usize) -> bool {
        let blocks = self.rows[at].admitted;
        if blocks == 0 || self.rows[at].put.is_some() || self.open + blocks > MOST {
            return false;
        }
        self.account.give_back(Share::unit(blocks));
        self.rows[at].put = Some(self.gather(blocks));
        true
    }

    fn keep(&mut self, at: usize) -> bool {
        let row = self.rows[at];
        let Some(unit) = row.put.filter(|unit| self.ring.is_durable(*unit)) else { return false };
        let before = if row.kept == 0 { Share::NONE } else { self.share(row.kept) };
        let more = self.share(row.kept + row.admitted) - before;
        self.account.give_back(self.share(row.admitted) - more);
        let first = if row.kept == 0 { unit } else { row.unit };
        self.rows[at] = Row { kept: row.kept + row.admitted, unit: first, ..Row::default() };
        if row.kept > 0 {
            self.release(unit);
        }
        true
    }

    fn write_out(&mut self, rows: &[usize]) -> bool {
        let is_idle = |row: Row| row.kept > 0 && row.admitted == 0 && row.out.is_none();
        let blocks = self.parities * rows.len() as u64;
        if !rows.iter().all(|at| is_idle(self.rows[*at])) || self.open + blocks > MOST {
            return false;
        }
        for at in rows {
            self.account.give_back(self.share(self.rows[*at].kept));
        }
        let unit = self.gather(blocks);
        self.holders += rows.len() as u32 - 1;
        rows.iter().for_each(|at| self.rows[*at].out = Some(unit));
        true
    }

    fn evict(&mut self, at: usize) -> bool {
        let Some(out) = self.rows[at].out.filter(|unit| self.ring.is_durable(*unit)) else { return false };
        self.release(out);
        self.release(self.rows[at].unit);
        self.rows[at] = Row::default();
        true
    }

    fn evict_at_once(&mut self, at: usize) -> bool {
        let row = self.rows[at];
        if row.kept == 0 || row.admitted > 0 || row.out.is_some() {
            return false;
        }
        self.account.give_back(self.share(row.kept));
        self.release(row.unit);
        self.rows[at] = Row::default();
        true
    }

    fn write_through(&mut self, blocks: u64) -> bool {
        let has_room = self.through.len() < THROUGH && self.open + blocks <= MOST;
        if !has_room || !self.account.fits(&self.ring, self.account.joining(blocks)) {
            return false;
        }
        let unit = self.gather(blocks);
        self.through.push(unit);
        true
    }

    fn let_go(&mut self, at: usize) -> bool {
        let can = self.ring.is_durable(self.through[at]);
        if can {
            let unit = self.through.remove(at);
            self.release(unit);
        }
        can
    }

    fn close(&mut self) -> bool {
        if self.holders == 0 || self.is_writing {
            return false;
        }
        let sectors = (1 + self.open) * BLOCK_SECTORS;
        assert_eq!(self.account.close().sectors(), sectors, "all that is written is accounted for");
        self.ring.place(sectors, self.holders);
        (self.open, self.holders, self.is_writing) = (0, 0, true);
        true
    }

    fn durable(&mut self) -> bool {
        if self.is_writing {
            self.ring.set_durable(self.ring.next() - 1);
        }
        std::mem::take(&mut self.is_writing)
    }

    fn move_tail(&mut self) -> bool {
        let Some(reclaim) = self.ring.reclaimable() else { return false };
        self.ring.reclaim(reclaim);
        true
    }

    fn gather(&mut self, blocks: u64) -> u64 {
        self.account.put(&self.ring, blocks);
        self.open += blocks;
        self.holders += 1;
        self.ring.next()
    }

    fn release(&mut self, unit: u64) {
        assert!(self.ring.is_durable(unit), "what is let go of was waited for");
        self.ring.release(unit);
    }

    /// Carries out all that was promised, each thing in a unit of its own, and moves the tail for none of them.
    fn carry_out(&self) {
        let mut world = self.clone();
        let mut go = |what| {
            let has_gone = world.go(what);
            world.durable();
            world.close();
            world.durable();
            has_gone
        };
        go(Step::Durable); // and whatever is open gets its place
        for at in 0..2 {
            _ = go(Step::Put(at)) | go(Step::Keep(at)) | go(Step::WriteOut(at)) | go(Step::Evict(at));
        }
        assert!(world.rows.iter().all(|row| *row == Row::default()), "all is on the members: {world:?}");
        assert_eq!(world.account, Account::default(), "and nothing is promised any more");
    }

    /// What a power cut leaves: who opens it writes what is in the journal alone once more before anything is free.
    fn can_be_opened(&self) -> bool {
        let shape = self.ring.shape();
        let durable = shape.len() - usize::from(self.is_writing);
        let used: u64 = shape.iter().take(durable).map(|(sectors, _)| sectors / BLOCK_SECTORS).sum();
        let is_durable = |unit: Option<u64>| unit.is_some_and(|unit| self.ring.is_durable(unit));
        let alone = self
            .rows
            .iter()
            .filter(|row| !is_durable(row.out))
            .map(|row| row.kept + if is_durable(row.put) { row.admitted } else { 0 });
        let again: u64 = alone.filter(|blocks| *blocks > 0).map(|blocks| Share::unit(blocks).blocks).sum();
        used + again <= self.blocks
    }
}

/// Looks at every world that can be reached.
fn walk(parities: u64, blocks: u64, units: usize) {
    let start = World::new(parities, blocks, units);
    let (mut known, mut open) = (HashSet::from([start.key()]), vec![start]);
    while let Some(world) = open.pop() {
        assert!(world.account.fits(&world.ring, Share::NONE), "{world:?}");
        assert!(world.can_be_opened(), "{world:?}");
        world.carry_out();
        let next = world.steps().into_iter().filter_map(|what| world.after(what));
        open.extend(next.filter(|next| known.insert(next.key())));
    }
    println!("{} worlds", known.len());
}

#[test]
fn what_is_promised_can_be_carried_out_whatever_comes_first() {
    walk(1, 14, MANY);
    walk(2, 16, MANY);
}

#[test]
fn units_that_are_promised_are_there_as_well() {
    walk(1, 16, 4);
}
