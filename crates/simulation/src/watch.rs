//! Watching the disks: what the superblocks say, at every moment, against what is done and what is there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use block::{Moment, Range, Sectors};
use md::{Array, Condition, MemberStatus};
use md_format::badblocks;
use md_format::bitmap::{BitmapSuper, bit};
use md_format::limits::{SUPERBLOCK_BYTES, SUPERBLOCK_SECTORS};
use md_format::superblock::Summary;
use md_format::{Level, Place, ResyncOffset, Role, Superblock};
use runtime::Driver;
use runtime::sim::{Disk, World, WriteSeen};

use crate::run::{Violation, disk_of};
use crate::scenario::{has_copies, has_parity, has_redundancy};

/// What is watched: the array that is open now, and which disk is which of its members.
#[derive(Default)]
pub struct Watch {
    pub array: RefCell<Option<Rc<Array>>>,
    /// The superblock's place and the data's first sector, by disk.
    pub layout: RefCell<Vec<Option<(Place, Sectors)>>>,
    pub violations: Rc<RefCell<Vec<Violation>>>,
    /// When the connection to a disk broke.
    pub broken: RefCell<BTreeMap<usize, Moment>>,
    /// What of the array lies where on the disks; nothing for levels without copies.
    pub holds: RefCell<Holds>,
    /// Which disk was in which slot when that was looked at.
    pub seats: RefCell<Vec<(usize, Option<u16>)>>,
}

/// By disk and sector there: the array sector that begins there, and how many follow.
pub type Holds = BTreeMap<(usize, Sectors), (Sectors, Sectors)>;

fn holds(array: &Array) -> Holds {
    let mut holds = Holds::new();
    let (members, size) = (array.members(), array.shape().size);
    let piece = piece_sectors(array);
    let mut at = Sectors::ZERO;
    while at < size {
        let count = piece.min(size - at);
        for (member, sector) in array.copies_of(at) {
            holds.insert((disk_of(&members[member]), sector), (at, count));
        }
        at += count;
    }
    holds
}

/// Array sectors that lie in one piece on each of their copies.
fn piece_sectors(array: &Array) -> Sectors {
    match array.shape().summary.level {
        Level::Raid10 => Sectors(array.shape().summary.chunk_sectors.into()),
        _ => array.shape().size,
    }
}

/// The member that a disk is now: it may have been another one before.
fn member_of(array: &Array, disk: usize) -> Option<MemberStatus> {
    array.members().into_iter().rev().find(|member| disk_of(member) == disk)
}

/// What left before a connection broke has landed by then: the net and a disk take less than a millisecond each for
/// every one of the requests that can be under way.
const LANDED_NS: u64 = 1_000_000_000;

impl Watch {
    /// Watches `array` from now on; `None`: nothing is open.
    pub fn set(&self, array: Option<Rc<Array>>, layout: Vec<Option<(Place, Sectors)>>) {
        *self.layout.borrow_mut() = layout;
        *self.holds.borrow_mut() = array.as_ref().map(|array| holds(array)).unwrap_or_default();
        *self.array.borrow_mut() = array;
        self.broken.borrow_mut().clear();
    }

    /// The array has become larger, or has other copies.
    pub fn see_growth(&self) {
        if let Some(array) = &*self.array.borrow() {
            *self.holds.borrow_mut() = holds(array);
        }
    }

    /// Notes that the connection to a disk breaks now.
    pub fn see_break(&self, world: &World, disk: usize) {
        self.broken.borrow_mut().insert(disk, world.now());
    }

    /// Nothing is sent again to a member whose connection broke. Its late writes are no writes of the array any more.
    fn see_late(&self, world: &World, array: &Array, seen: &WriteSeen<'_>) -> bool {
        let broken = self.broken.borrow().get(&seen.disk).copied();
        if let Some(moment) = broken.filter(|moment| world.now().since(*moment) > LANDED_NS) {
            let what = format!("disk {} is written long after its connection broke at {moment:?}", seen.disk);
            self.complain("fence", what);
        }
        member_of(array, seen.disk)
            .is_none_or(|member| matches!(member.condition, Condition::Faulty | Condition::Removed))
    }

    /// At the end of an era that ended well: whoever lost the connection to a member in a slot has failed it.
    pub fn see_end(&self, array: &Array) {
        let broken = self.broken.borrow();
        for member in array.members().iter().filter(|member| member.slot.is_some()) {
            let disk = member.name.parse::<usize>().expect("members are named by their disk");
            if broken.contains_key(&disk) && member.condition != Condition::Faulty {
                self.complain(
                    "fence",
                    format!("disk {disk} lost its connection and is {:?}", member.condition),
                );
            }
        }
    }

    /// A disk that came back may be in another slot now, and hold something else.
    fn look_at_seats(&self, array: &Array) {
        let seats: Vec<_> = array.members().iter().map(|member| (disk_of(member), member.slot)).collect();
        let before = self.seats.replace(seats);
        if before != *self.seats.borrow() {
            self.see_growth();
        }
    }

    /// What a write to a disk touches of the space in which the array is synced.
    fn touched(&self, array: &Array, disk: usize, range: Range) -> Vec<Range> {
        if has_parity(array.shape().summary.level) {
            // A journal, or a disk that is about to be one, has no rows.
            if member_of(array, disk).is_none_or(|member| member.slot.is_none()) {
                return Vec::new();
            }
            let data = self.layout.borrow().get(disk).copied().flatten().map(|(_, data)| data);
            let row = data.and_then(|data| range.start.checked_sub(data));
            let row = row.filter(|row| row.0 < array.shape().summary.size_sectors);
            return row.map(|row| Range::new(row, range.count)).into_iter().collect();
        }
        self.look_at_seats(array);
        let holds = self.holds.borrow();
        let behind = holds.range(..(disk, range.end()));
        let touched =
            behind.rev().take_while(|((on, at), (_, count))| *on == disk && *at + *count > range.start);
        let part = |((_, at), (start, count)): (&(usize, Sectors), &(Sectors, Sectors))| {
            let (skip, end) = (range.start.saturating_sub(*at), (*at + *count).min(range.end()));
            Range::new(*start + skip, end - (*at + skip))
        };
        touched.map(part).collect()
    }

    /// S1: no superblock calls a member in sync that is not. S5: nor does it name a bitmap that is not there, durably.
    fn see_superblock(&self, world: &World, array: &Array, seen: &WriteSeen<'_>) {
        let Some((place, _)) = self.layout.borrow().get(seen.disk).copied().flatten() else { return };
        if seen.range.start.0 != place.sector {
            return;
        }
        let Some(buf) = seen.buf.filter(|buf| buf.len() >= SUPERBLOCK_BYTES) else { return };
        let mut bytes = [0; SUPERBLOCK_BYTES];
        buf.copy_to_slice(0, &mut bytes);
        let Ok(superblock) = Superblock::view(place, &bytes) else { return };
        let Ok(summary) = superblock.summary() else { return };
        let is_called = matches!(summary.role, Role::Active(_)) && summary.recovery.is_none();
        let condition = member_of(array, seen.disk).map(|member| member.condition);
        if let (Some(place), Some(Condition::InSync)) = (summary.bitmap, condition) {
            let there = Range::new(Sectors(place.sector), Sectors(1));
            if BitmapSuper::view(&world.disks()[seen.disk].peek_durable(there)).is_err() {
                let what = format!("the superblock on disk {} names a bitmap that is not there", seen.disk);
                self.complain("S5", what);
            }
        }
        if is_called && matches!(condition, Some(Condition::Recovering(_) | Condition::Spare)) {
            self.complain(
                "S1",
                format!("the superblock on disk {} calls it in sync: {condition:?}", seen.disk),
            );
        }
    }

    /// Looks at everything that is written to a disk of this world.
    pub fn look_at(self: &Rc<Watch>, disk: &Disk, world: &Rc<World>) {
        let (watch, world) = (self.clone(), Rc::downgrade(world));
        disk.observe(move |seen| {
            let world = world.upgrade().expect("a disk is written in its world");
            watch.see_write(&world, seen);
        });
    }

    /// S5: when a member write starts, every superblock in use says, durably, that this range may be inconsistent.
    fn see_write(&self, world: &World, seen: &WriteSeen<'_>) {
        let array = self.array.borrow();
        let Some(array) = array.as_ref() else { return };
        if has_redundancy(array.shape().summary.level) && self.see_late(world, array, seen) {
            return;
        }
        self.see_superblock(world, array, seen);
        if self.is_being_rebuilt(array, seen) {
            return; // what is there counts for nobody yet
        }
        for range in self.touched(array, seen.disk, seen.range) {
            self.see_write_at(world, array, seen.disk, range.start);
            let Some(chunk) = array.bitmap().map(|bitmap| bitmap.chunk) else { continue };
            let mut at = range.start;
            while at < range.end() {
                self.see_bit_at(world, array, seen.disk, at);
                at = (at + chunk).round_down(chunk);
            }
        }
    }

    /// Whether a write goes to rows of a member that it has not been given yet.
    fn is_being_rebuilt(&self, array: &Array, seen: &WriteSeen<'_>) -> bool {
        let Some(member) = member_of(array, seen.disk) else { return false };
        let row = seen.range.start.checked_sub(member.data_offset);
        matches!((member.condition, row), (Condition::Recovering(recovering), Some(row)) if row >= recovering.done)
    }

    fn see_write_at(&self, world: &World, array: &Array, written: usize, start: Sectors) {
        for (disk, summary) in self.in_sync(world, array) {
            let marked = match summary.resync {
                ResyncOffset::Complete => false,
                ResyncOffset::At(position) => position <= start.0,
            };
            // A journal answers for what is written: whether it has it is seen after a cut.
            if !marked && array.journal().is_none() {
                let what = format!(
                    "disk {written} is written at array sector {start} while the superblock on disk {disk} says {:?}",
                    summary.resync
                );
                self.complain("S5", what);
            }
        }
    }

    /// S5: when a write or a flush is answered, every failed member is on record on all that are left, and so is every block
    /// that is listed as bad on its member. Those that are not.
    pub fn unrecorded(&self, world: &World) -> Vec<String> {
        let array = self.array.borrow();
        let Some(array) = array.as_ref() else { return Vec::new() };
        let failed: Vec<u32> = array
            .members()
            .iter()
            .filter(|member| member.condition == Condition::Faulty && member.slot.is_some())
            .map(|member| member.dev_number)
            .collect();
        let mut found = self.unlisted(world, array);
        if failed.is_empty() {
            return found;
        }
        for (disk, place) in self.places(array) {
            let bytes = durable(&world.disks()[disk], place);
            let Ok(superblock) = Superblock::view(place, &bytes) else { continue };
            let active = |number: &&u32| matches!(superblock.role_of(**number), Role::Active(_));
            found.extend(failed.iter().filter(active).map(|number| {
                format!(
                    "a request was answered while the superblock on disk {disk} still calls member {number} active"
                )
            }));
        }
        found
    }

    /// Blocks that a member in sync lists as bad, in memory and not durably.
    fn unlisted(&self, world: &World, array: &Array) -> Vec<String> {
        let mut found = Vec::new();
        for (at, member) in array.members().iter().enumerate() {
            if member.bad_blocks == 0 || member.condition != Condition::InSync {
                continue;
            }
            let disk = disk_of(member);
            let log = self.in_sync(world, array).find(|(number, _)| *number == disk);
            let Some(log) = log.and_then(|(_, summary)| summary.bad_block_log) else { continue };
            let place = Range::new(Sectors(log.sector), Sectors(log.sectors.into()));
            let area = world.disks()[disk].peek_durable(place);
            let listed: Vec<Range> = badblocks::view(&area, log.shift)
                .flatten()
                .map(|run| Range::new(Sectors(run.sector), Sectors(run.sectors)))
                .collect();
            let is_listed = |sector: u64| {
                let one = Range::new(Sectors(sector), Sectors(1));
                log.in_use && listed.iter().any(|run| run.contains(one))
            };
            let missing = array.bad_blocks_of(at).into_iter();
            let missing = missing.flat_map(|run| run.start.0..run.end().0).find(|sector| !is_listed(*sector));
            found.extend(missing.map(|sector| {
                format!("a request was answered while disk {disk} does not list sector {sector} as bad")
            }));
        }
        found
    }

    /// S5: and its bit is set in every bitmap in use, or that bitmap would be taken for stale.
    fn see_bit_at(&self, world: &World, array: &Array, written: usize, start: Sectors) {
        for (disk, summary) in self.in_sync(world, array) {
            let Some(place) = summary.bitmap else { continue };
            let sector = |number: u64| {
                let at = Sectors(place.sector + number);
                world.disks()[disk].peek_durable(Range::new(at, Sectors(1)))
            };
            let first = sector(0);
            let Ok(bitmap) = BitmapSuper::view(&first) else {
                self.complain(
                    "S5",
                    format!("the superblock on disk {disk} names a bitmap that is not there"),
                );
                continue;
            };
            let (byte, mask) = bit(start.0 / u64::from(bitmap.chunk_bytes.get() >> 9));
            let is_set = sector(byte / 512)[(byte % 512) as usize] & mask != 0;
            if !is_set && !bitmap.is_stale(summary.events) {
                let what = format!(
                    "disk {written} is written at array sector {start} while its bit on disk {disk} is not set"
                );
                self.complain("S5", what);
            }
        }
    }

    fn in_sync<'a>(
        &'a self,
        world: &'a World,
        array: &'a Array,
    ) -> impl Iterator<Item = (usize, Summary)> + 'a {
        self.places(array).filter_map(|(disk, place)| {
            let bytes = durable(&world.disks()[disk], place);
            let superblock = Superblock::view(place, &bytes).ok()?;
            // One that is being written, and torn, is no superblock: it would not be believed.
            superblock.is_sealed().then(|| superblock.summary().ok()).flatten().map(|summary| (disk, summary))
        })
    }

    /// Disks of members that are in sync, and where their superblocks are. Members are named by their disk's number.
    fn places<'a>(&'a self, array: &'a Array) -> impl Iterator<Item = (usize, Place)> + 'a {
        let members = array.members().into_iter().filter(|member| member.condition == Condition::InSync);
        members.filter_map(|member| {
            let disk: usize = member.name.parse().ok()?;
            let (place, _) = self.layout.borrow().get(disk).copied().flatten()?;
            Some((disk, place))
        })
    }

    fn complain(&self, invariant: &'static str, what: String) {
        self.violations.borrow_mut().push(Violation { invariant, what });
    }
}

fn durable(disk: &Disk, place: Place) -> Vec<u8> {
    disk.peek_durable(Range::new(Sectors(place.sector), Sectors(SUPERBLOCK_SECTORS)))
}

/// What is compared at a time: no position of a resync and no chunk of a bitmap is finer.
const FINEST: Sectors = Sectors(8);

/// S1, S4, S6: what an opened array calls in sync is: its copies are the same, its parity belongs to the data, but for what
/// it calls dirty.
pub fn compare(world: &World, array: &Array) -> Result<(), Violation> {
    match array.shape().summary.level {
        level if has_copies(level) => compare_copies(world, array),
        level if has_parity(level) => compare_parity(world, array),
        _ => Ok(()),
    }
}

fn compare_parity(world: &World, array: &Array) -> Result<(), Violation> {
    let summary = array.shape().summary;
    let rows = Sectors(summary.size_sectors);
    let (disks, members, scalar) = (world.disks(), array.members(), parity::Kernels::scalar());
    let mut at = Sectors::ZERO;
    while at < rows {
        let Some(stripe) = array.stripe_at(at) else { return Ok(()) }; // from here on somebody is missing: nothing can disagree
        let count = FINEST.min(stripe.rows).min(rows - at);
        if !array.is_consistent(Range::new(at, count)) || array.lists_bad_rows(Range::new(at, count)) {
            at += count;
            continue;
        }
        let block = |member: usize| {
            let member = &members[member];
            disks[disk_of(member)].peek(Range::new(member.data_offset + at, count))
        };
        let data: Vec<(u8, Vec<u8>)> =
            stripe.data.iter().map(|(index, member)| (*index, block(*member))).collect();
        let data: Vec<(u8, &[u8])> = data.iter().map(|(index, bytes)| (*index, &bytes[..])).collect();
        let differs = match stripe.q {
            None => scalar.check_xor(&block(stripe.p), &data),
            Some(q) => scalar.check_pq(&block(stripe.p), &block(q), &data),
        };
        if let Some(byte) = differs {
            let row = at.0 + byte as u64 / 512;
            let what = format!(
                "parity of row {row} does not belong to its data, though the superblock calls it in sync ({:?})",
                summary.resync
            );
            return Err(Violation { invariant: "S6", what });
        }
        at += count;
    }
    Ok(())
}

fn compare_copies(world: &World, array: &Array) -> Result<(), Violation> {
    let shape = array.shape();
    let (disks, members, piece) = (world.disks(), array.members(), piece_sectors(array).min(FINEST));
    let (mut at, size) = (Sectors::ZERO, shape.size);
    while at < size {
        let count = piece.min(size - at);
        if !array.is_consistent(Range::new(at, count)) {
            at += count;
            continue;
        }
        let copies: Vec<(usize, Vec<u8>)> = array
            .held_copies_of(at, count)
            .map(|(member, sector)| (disk_of(&members[member]), Range::new(sector, count)))
            .map(|(disk, range)| (disk, disks[disk].peek(range)))
            .collect();
        for (disk, copy) in copies.iter().skip(1) {
            if let Some(byte) = copy.iter().zip(&copies[0].1).position(|(a, b)| a != b) {
                let what = format!(
                    "array sector {} differs between disks {} and {disk}, though the superblock calls it consistent ({:?})",
                    at.0 + byte as u64 / 512,
                    copies[0].0,
                    shape.summary.resync
                );
                return Err(Violation { invariant: "S6", what });
            }
        }
        at += count;
    }
    Ok(())
}
