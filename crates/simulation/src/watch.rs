//! Watching the disks: what the superblocks say, at every moment, against what is done and what is there.

use std::cell::RefCell;
use std::rc::Rc;

use block::{Range, Sectors};
use md::{Array, Condition};
use md_format::limits::SUPERBLOCK_SECTORS;
use md_format::superblock::Summary;
use md_format::{Level, Place, ResyncOffset, Role, Superblock};
use runtime::sim::{Disk, World, WriteSeen};

use crate::run::Violation;

/// What is watched: the array that is open now, and which disk is which of its members.
#[derive(Default)]
pub struct Watch {
    pub array: RefCell<Option<Rc<Array>>>,
    /// The superblock's place and the data's first sector, by disk.
    pub layout: RefCell<Vec<Option<(Place, Sectors)>>>,
    pub violations: Rc<RefCell<Vec<Violation>>>,
}

impl Watch {
    /// Watches `array` from now on; `None`: nothing is open.
    pub fn set(&self, array: Option<Rc<Array>>, layout: Vec<Option<(Place, Sectors)>>) {
        *self.layout.borrow_mut() = layout;
        *self.array.borrow_mut() = array;
    }

    /// S5: when a member write starts, every superblock in use says, durably, that this range may be inconsistent.
    pub fn see_write(&self, world: &World, seen: &WriteSeen<'_>) {
        let array = self.array.borrow();
        let Some(array) = array.as_ref().filter(|array| array.shape().summary.level == Level::Raid1) else {
            return;
        };
        let Some((_, data)) = self.layout.borrow().get(seen.disk).copied().flatten() else { return };
        let Some(start) = seen.range.start.checked_sub(data) else { return };
        if start >= array.shape().size {
            return; // metadata at the end of the disk
        }
        for (disk, summary) in self.in_sync(world, array) {
            let marked = match summary.resync {
                ResyncOffset::Complete => false,
                ResyncOffset::At(position) => position <= start.0,
            };
            if !marked {
                let what = format!(
                    "disk {} is written at array sector {start} while the superblock on disk {disk} says {:?}",
                    seen.disk, summary.resync
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
    if shape.summary.level != Level::Raid1 {
        return Ok(());
    }
    let equal_up_to = match shape.summary.resync {
        ResyncOffset::Complete => shape.size,
        ResyncOffset::At(position) => Sectors(position).min(shape.size),
    };
    let disks = world.disks();
    let copies: Vec<(String, Vec<u8>)> = array
        .members()
        .iter()
        .filter(|member| member.condition == Condition::InSync)
        .map(|member| {
            let disk = &disks[member.name.parse::<usize>().expect("members are named by their disk")];
            (member.name.clone(), disk.peek(Range::new(member.data_offset, equal_up_to)))
        })
        .collect();
    for (name, copy) in &copies[1..] {
        if let Some(at) = copy.iter().zip(&copies[0].1).position(|(a, b)| a != b) {
            let what = format!(
                "array sector {} differs between disks {} and {name}, though the superblock calls it consistent ({:?})",
                at / 512,
                copies[0].0,
                shape.summary.resync
            );
            return Err(Violation { invariant: "S6", what });
        }
    }
    Ok(())
}
