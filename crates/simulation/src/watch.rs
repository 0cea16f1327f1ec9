//! Watching the disks: what the superblocks say, at every moment, against what is done and what is there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use block::{Range, Sectors};
use md::{Array, Condition};
use md_format::limits::SUPERBLOCK_SECTORS;
use md_format::superblock::Summary;
use md_format::{Level, Place, ResyncOffset, Role, Superblock};
use runtime::sim::{Disk, World, WriteSeen};

use crate::run::{Violation, disk_of};
use crate::scenario::has_copies;

/// What is watched: the array that is open now, and which disk is which of its members.
#[derive(Default)]
pub struct Watch {
    pub array: RefCell<Option<Rc<Array>>>,
    /// The superblock's place and the data's first sector, by disk.
    pub layout: RefCell<Vec<Option<(Place, Sectors)>>>,
    pub violations: Rc<RefCell<Vec<Violation>>>,
    /// What of the array lies where on the disks; nothing for levels without copies.
    pub holds: RefCell<Holds>,
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

impl Watch {
    /// Watches `array` from now on; `None`: nothing is open.
    pub fn set(&self, array: Option<Rc<Array>>, layout: Vec<Option<(Place, Sectors)>>) {
        *self.layout.borrow_mut() = layout;
        *self.holds.borrow_mut() = array.as_ref().map(|array| holds(array)).unwrap_or_default();
        *self.array.borrow_mut() = array;
    }

    /// Array sectors that a write to a disk touches: where each part of it begins.
    fn touched(&self, disk: usize, range: Range) -> Vec<Sectors> {
        let holds = self.holds.borrow();
        let behind = holds.range(..(disk, range.end()));
        let touched =
            behind.rev().take_while(|((on, at), (_, count))| *on == disk && *at + *count > range.start);
        touched.map(|((_, at), (start, _))| *start + range.start.saturating_sub(*at)).collect()
    }

    /// S5: when a member write starts, every superblock in use says, durably, that this range may be inconsistent.
    pub fn see_write(&self, world: &World, seen: &WriteSeen<'_>) {
        let array = self.array.borrow();
        let Some(array) = array.as_ref() else { return };
        for start in self.touched(seen.disk, seen.range) {
            self.see_write_at(world, array, seen.disk, start);
        }
    }

    fn see_write_at(&self, world: &World, array: &Array, written: usize, start: Sectors) {
        for (disk, summary) in self.in_sync(world, array) {
            let marked = match summary.resync {
                ResyncOffset::Complete => false,
                ResyncOffset::At(position) => position <= start.0,
            };
            if !marked {
                let what = format!(
                    "disk {written} is written at array sector {start} while the superblock on disk {disk} says {:?}",
                    summary.resync
                );
                self.complain("S5", what);
            }
        }
    }

    /// S5: when a write or a flush is answered, every failed member is on record on all that are left.
    pub fn see_answer(&self, world: &World) {
        let array = self.array.borrow();
        let Some(array) = array.as_ref() else { return };
        let failed: Vec<u32> = array
            .members()
            .iter()
            .filter(|member| member.condition == Condition::Faulty && member.slot.is_some())
            .map(|member| member.dev_number)
            .collect();
        if failed.is_empty() {
            return;
        }
        for (disk, place) in self.places(array) {
            let bytes = durable(&world.disks()[disk], place);
            let Ok(superblock) = Superblock::view(place, &bytes) else { continue };
            for number in &failed {
                if matches!(superblock.role_of(*number), Role::Active(_)) {
                    let what = format!(
                        "a request was answered while the superblock on disk {disk} still calls member {number} active"
                    );
                    self.complain("S5", what);
                }
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

/// S1, S4, S6: the copies that an opened mirror calls in sync are the same, but for what it calls dirty.
pub fn compare_copies(world: &World, array: &Array) -> Result<(), Violation> {
    let shape = array.shape();
    if !has_copies(shape.summary.level) {
        return Ok(());
    }
    let equal_up_to = match shape.summary.resync {
        ResyncOffset::Complete => shape.size,
        ResyncOffset::At(position) => Sectors(position).min(shape.size),
    };
    let (disks, members, piece) = (world.disks(), array.members(), piece_sectors(array));
    let mut at = Sectors::ZERO;
    while at < equal_up_to {
        let count = piece.min(equal_up_to - at);
        let copies: Vec<(usize, Vec<u8>)> = array
            .copies_of(at)
            .map(|(member, sector)| (disk_of(&members[member]), Range::new(sector, count)))
            .map(|(disk, range)| (disk, disks[disk].peek(range)))
            .collect();
        for (disk, copy) in &copies[1..] {
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
