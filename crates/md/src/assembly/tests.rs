//! The rules of assembly, each on disks that were never written: their superblocks are made and changed in memory.

use block::{Geometry, Sectors};
use md_format::superblock::{Entry, Recovery, seal, sync};
use md_format::{DeviceShape, Level, Role, Superblock};
use proptest::prelude::*;

use super::*;
use crate::array::{Array, Options};
use crate::create::{Creation, plan_creation};
use crate::error::OpenError;
use crate::examine::BitmapFacts;

/// Sectors of every disk.
const SIZE: Sectors = Sectors(20_480);

/// Fresh members of an array, named by their numbers; spares follow the slots.
fn pile(level: Level, version: Version, slots: usize, spares: usize) -> Vec<Candidate> {
    let geometry = Geometry::plain(SIZE);
    let creation = Creation {
        name: "pile".to_owned(),
        host: None,
        level,
        version,
        chunk_sectors: (level == Level::Raid0).then_some(8),
        layout: None,
        size: None,
        bitmap: None,
        ppl: false,
        journal: None,
        assume_clean: true,
        slots: vec![Some(geometry); slots],
        write_mostly: Vec::new(),
        spares: vec![geometry; spares],
        uuid: [9; 16],
        device_uuids: (0..slots + spares).map(|number| [number as u8; 16]).collect(),
        now_s: 1_600_000_000,
    };
    let examined = |plan: crate::NewMemberPlan| Candidate {
        name: plan.position.to_string(),
        examined: read(geometry, plan.place, plan.bytes),
    };
    plan_creation(&creation).unwrap().into_iter().map(examined).collect()
}

fn mirror(copies: usize) -> Vec<Candidate> {
    pile(Level::Raid1, Version::V1_2, copies, 0)
}

/// What examining finds in these bytes.
fn read(geometry: Geometry, place: md_format::Place, bytes: Box<[u8; 4096]>) -> Examined {
    let superblock = Superblock::view(place, &bytes[..]).unwrap();
    let summary = superblock.summary().unwrap();
    let shape = DeviceShape { sectors: geometry.size.0, logical_block_bytes: geometry.logical_block };
    let flaw = superblock.check(shape).err();
    let (leftovers, bad_blocks) = (Vec::new(), Vec::new());
    Examined { geometry, place, bytes, summary, flaw, leftovers, bad_blocks, bitmap: None, private_log: None }
}

impl Candidate {
    /// The same disk after its bytes were changed and sealed.
    fn with_bytes(&self, change: impl FnOnce(&mut [u8])) -> Candidate {
        let mut bytes = self.examined.bytes.clone();
        change(&mut bytes[..]);
        seal(&mut bytes[..]).unwrap();
        let examined = read(self.examined.geometry, self.examined.place, bytes);
        Candidate { name: self.name.clone(), examined }
    }

    /// The same disk after a metadata write that gave the members these roles, in the order of their numbers.
    fn written(&self, events: u64, roles: &[Role]) -> Candidate {
        let summary = self.examined.summary;
        let entry = |(number, role): (usize, &Role)| Entry {
            dev_number: number as u32,
            role: *role,
            in_sync: matches!(role, Role::Active(_)),
            flags: summary.flags,
            device: (0, 0),
        };
        let entries: Vec<Entry> = roles.iter().enumerate().map(entry).collect();
        let update = md_format::superblock::ArrayUpdate { events, ..summary.array_update(&entries) };
        self.with_bytes(|bytes| sync(bytes, &update, &summary.member_update()).unwrap())
    }

    /// The same disk with feature bits set (1.x).
    fn with_features(&self, bits: u32) -> Candidate {
        self.with_bytes(|bytes| {
            let old = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
            bytes[8..12].copy_from_slice(&(old | bits).to_le_bytes());
        })
    }
}

const ACTIVE: [Role; 3] = [Role::Active(0), Role::Active(1), Role::Active(2)];

fn only(candidates: &[Candidate]) -> Set {
    let sets = assemble(candidates);
    assert_eq!(sets.len(), 1);
    sets.into_iter().next().unwrap()
}

/// The name of who sits in each slot.
fn seated(set: &Set, candidates: &[Candidate]) -> Vec<Option<String>> {
    set.slots.iter().map(|seat| seat.map(|seat| candidates[seat.candidate].name.clone())).collect()
}

fn reason(set: &Set, candidate: usize) -> Option<&Reason> {
    set.left_out.iter().find(|left| left.candidate == candidate).map(|left| &left.reason)
}

/// What a person is told who opens the set for writing, members missing or not.
fn refusals(candidates: &[Candidate], write: bool) -> String {
    let options = Options { write, degraded: true, ..Options::default() };
    let found = match Array::open(&only(candidates), candidates, &[], options) {
        Err(OpenError::Hindered(found)) => found,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    };
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_freshest_superblock_counts_wherever_it_lies_in_the_pile() {
    for freshest in 0..3 {
        let mut disks = mirror(3);
        disks[freshest] = disks[freshest].written(1, &ACTIVE);
        let set = only(&disks);
        assert_eq!((set.freshest, set.left_out.len()), (freshest, 0));
        assert_eq!(set.slots.iter().flatten().count(), 3, "one behind is not stale");
    }
}

#[test]
fn a_member_one_behind_takes_its_role_from_the_freshest() {
    let disks = mirror(2);
    let moved = [disks[0].written(8, &[Role::Active(1), Role::Active(0)]), disks[1].written(7, &ACTIVE[..2])];
    // Its own superblock gives it slot 1, the freshest slot 0.
    assert_eq!(seated(&only(&moved), &moved), [Some("1".to_owned()), Some("0".to_owned())]);
    let failed = [disks[0].written(8, &[Role::Active(0), Role::Faulty]), disks[1].written(7, &ACTIVE[..2])];
    let set = only(&failed);
    assert_eq!(reason(&set, 1), Some(&Reason::Failed));
    assert_eq!(set.short, Some(Short { present: 1, slots: 2 }));
}

#[test]
fn a_member_two_behind_is_stale_on_every_version() {
    for version in Version::ALL {
        let disks = pile(Level::Raid1, version, 2, 0);
        let disks = [disks[0].written(5, &ACTIVE[..2]), disks[1].written(7, &ACTIVE[..2])];
        let set = only(&disks);
        assert_eq!(reason(&set, 0), Some(&Reason::Stale { events: 5, freshest: 7 }), "{version}");
        assert_eq!(seated(&set, &disks), [None, Some("1".to_owned())]);
    }
}

#[test]
fn halves_that_were_used_apart_are_refused_when_nobody_can_tell_which_is_right() {
    let disks = mirror(2);
    let left = disks[0].written(9, &[Role::Active(0), Role::Faulty]);
    let right = disks[1].written(9, &[Role::Faulty, Role::Active(1)]);
    let told = refusals(&[left.clone(), right.clone()], false);
    assert!(told.contains("each say that the other has failed"), "{told}");
    // The one that was used longer is the array; the other is left out.
    let longer = [left, disks[1].written(11, &[Role::Faulty, Role::Active(1)])];
    let set = only(&longer);
    assert_eq!((reason(&set, 0), set.unreadable.len()), (Some(&Reason::Diverged), 0));
}

#[test]
fn of_two_copies_of_one_member_the_fresher_counts_and_equal_ones_are_refused() {
    let disks = mirror(2);
    let older = Candidate { name: "older".to_owned(), ..disks[0].clone() };
    let fresher = [older.clone(), disks[0].written(8, &ACTIVE[..2]), disks[1].written(8, &ACTIVE[..2])];
    let set = only(&fresher);
    assert_eq!((reason(&set, 0), set.unreadable.len()), (Some(&Reason::Duplicate { of: 1 }), 0));
    let equal = [disks[0].clone(), older, disks[1].clone()];
    let told = refusals(&equal, false);
    assert!(told.contains("say that they are the same member; name only one of them"), "{told}");
}

#[test]
fn a_spare_holds_no_slot_and_never_counts_as_the_freshest() {
    let mut disks = pile(Level::Raid1, Version::V1_2, 2, 1);
    let roles = [Role::Active(0), Role::Active(1), Role::Spare];
    disks[2] = disks[2].written(99, &roles);
    let set = only(&disks);
    assert_ne!(set.freshest, 2);
    assert_eq!((set.slots.iter().flatten().count(), set.spares.len(), set.left_out.len()), (2, 1, 0));
}

#[test]
fn a_member_that_is_being_rebuilt_is_in_its_slot_and_not_in_sync() {
    let mut disks = mirror(2);
    let summary = disks[1].examined.summary;
    let recovery = Some(Recovery { offset_sectors: 640, by_bitmap: false });
    let member = md_format::superblock::MemberUpdate { recovery, ..summary.member_update() };
    let entry = |slot: u16| Entry {
        dev_number: slot.into(),
        role: Role::Active(slot),
        in_sync: slot == 0,
        flags: summary.flags,
        device: (0, 0),
    };
    let entries = [entry(0), entry(1)];
    disks[1] = disks[1].with_bytes(|bytes| sync(bytes, &summary.array_update(&entries), &member).unwrap());
    let set = only(&disks);
    assert_eq!(set.short, None, "nobody is missing");
    let seat = set.slots[1].unwrap();
    assert_eq!((seat.in_sync, seat.recovery, seat.replaces), (false, recovery, false));
    assert!(set.unreadable.is_empty() && set.unwritable.is_empty());
}

/// A member that replaces another one sits beside it, and takes its place where that is gone.
#[test]
fn a_replacement_sits_beside_whom_it_replaces_or_in_the_slot() {
    let mut disks = mirror(2);
    let mut newcomer = disks[1].clone();
    let summary = newcomer.examined.summary;
    let recovery = Some(Recovery { offset_sectors: 640, by_bitmap: false });
    let update = summary.member_update();
    let member = md_format::superblock::MemberUpdate { recovery, replacement: true, dev_number: 2, ..update };
    let entry = |number: u32, slot: u16| {
        let (role, device) = (Role::Active(slot), (0, 0));
        Entry { dev_number: number, role, in_sync: number < 2, flags: summary.flags, device }
    };
    let entries = [entry(0, 0), entry(1, 1), entry(2, 1)];
    for disk in &mut disks {
        let own = disk.examined.summary.member_update();
        *disk = disk.with_bytes(|bytes| sync(bytes, &summary.array_update(&entries), &own).unwrap());
    }
    newcomer.name = "2".to_owned();
    newcomer = newcomer.with_bytes(|bytes| sync(bytes, &summary.array_update(&entries), &member).unwrap());
    disks.push(newcomer);
    let set = only(&disks);
    assert_eq!(
        set.replacements.iter().map(|(slot, seat)| (*slot, seat.candidate)).collect::<Vec<_>>(),
        [(1, 2)]
    );
    assert_eq!(set.slots[1].map(|seat| seat.candidate), Some(1));
    disks.remove(1);
    let set = only(&disks);
    let seat = set.slots[1].unwrap();
    assert_eq!((seat.candidate, seat.in_sync, seat.replaces), (1, false, false));
    assert!(set.replacements.is_empty());
}

#[test]
fn what_is_not_built_yet_is_refused_by_its_name() {
    let disks = mirror(2);
    let all = |bits: u32| disks.iter().map(|disk| disk.with_features(bits)).collect::<Vec<_>>();
    let unknown = refusals(&all(1 << 20), false);
    assert!(unknown.contains("feature bits 0x100000"), "{unknown}");
    assert!(only(&all(512)).unreadable.is_empty(), "reading needs no journal");
    let journal = refusals(&all(512), true);
    assert!(journal.contains("its write journal is missing"), "{journal}");
    let bitmap: Vec<Candidate> = disks
        .iter()
        .map(|disk| {
            disk.with_features(1).with_bytes(|bytes| bytes[96..100].copy_from_slice(&8i32.to_le_bytes()))
        })
        .collect();
    assert!(only(&bitmap).unreadable.is_empty(), "reading needs no bitmap");
    assert!(refusals(&bitmap, true).contains("the bitmap cannot be read"));
    for (version, what) in [(5, "a clustered bitmap"), (6, "a lockless bitmap")] {
        let mut bytes = vec![0; 4096];
        bytes[..4].copy_from_slice(&md_format::bitmap::MAGIC.to_le_bytes());
        bytes[4] = version;
        let with_it = |disk: &Candidate| {
            let mut disk = disk.clone();
            disk.examined.bitmap = Some(BitmapFacts { bytes: bytes.clone() });
            disk
        };
        let told = refusals(&bitmap.iter().map(with_it).collect::<Vec<_>>(), true);
        let expected = format!("{what}, which is not built yet; read it with `ashlar cat`");
        assert!(told.contains(&expected), "{told}");
    }
    let reshape = refusals(&all(4), false);
    assert!(reshape.contains("reshape"), "{reshape}");
}

#[test]
fn a_level_that_is_not_built_is_refused_by_its_name() {
    let raid5 =
        |disk: &Candidate| disk.with_bytes(|bytes| bytes[72..76].copy_from_slice(&5i32.to_le_bytes()));
    let disks: Vec<Candidate> = mirror(2).iter().map(raid5).collect();
    let told = refusals(&disks, false);
    assert!(told.contains("raid5"), "{told}");
}

#[test]
fn a_raid0_whose_layout_is_not_recorded_is_refused_until_somebody_says_which() {
    // Where the second zone has one member only, both layouts are the same: so three.
    let mut disks = pile(Level::Raid0, Version::V1_2, 3, 0);
    for (disk, size) in disks.iter_mut().zip([4000u64, 8000, 8000]) {
        *disk = disk.with_bytes(|bytes| {
            bytes[8..12].fill(0); // no feature, so `layout` means nothing
            bytes[136..144].copy_from_slice(&size.to_le_bytes());
        });
    }
    let told = refusals(&disks, false);
    assert!(told.contains("choose with --layout"), "{told}");
    assert_eq!(only(&disks).unreadable, [Hindrance::NoLayout], "and nothing else is wrong");
}

#[test]
fn members_that_a_level_cannot_do_without_are_missed_by_number() {
    for level in [Level::Raid0, Level::Linear] {
        let disks = pile(level, Version::V1_2, 3, 0);
        let told = refusals(&disks[1..], false);
        assert!(told.contains("2 of 3 members are here and at least 3 are needed"), "{told}");
    }
    let one = &mirror(3)[2..];
    assert_eq!(only(one).short, Some(Short { present: 1, slots: 3 }));
    assert!(only(one).unreadable.is_empty());
}

#[test]
fn a_superblock_that_does_not_hold_together_is_left_out_and_said() {
    let mut disks = mirror(2);
    let mut bytes = disks[0].examined.bytes.clone();
    bytes[200] ^= 1; // the event counter; the checksum does not match any more
    disks[0].examined = read(disks[0].examined.geometry, disks[0].examined.place, bytes);
    let set = only(&disks);
    assert!(matches!(reason(&set, 0), Some(Reason::Flawed(_))));
    assert_eq!(seated(&set, &disks), [None, Some("1".to_owned())]);
}

#[test]
fn disks_of_several_arrays_in_one_pile_are_told_apart() {
    let mut disks = mirror(2);
    let other = |disk: &Candidate| disk.with_bytes(|bytes| bytes[16..32].fill(77));
    disks.extend(mirror(2).iter().map(other));
    disks.extend(pile(Level::Raid1, Version::V0_90, 2, 0));
    disks.swap(1, 4);
    let sets = assemble(&disks);
    assert_eq!(sets.len(), 3);
    assert!(sets.iter().all(|set| set.slots.iter().flatten().count() == 2 && set.left_out.is_empty()));
}

/// What assembly decided, in words that do not depend on the order of the pile. Where nothing is opened, it is enough
/// that nothing is.
fn decided(candidates: &[Candidate]) -> String {
    let set = only(candidates);
    if !set.unreadable.is_empty() {
        return "refused".to_owned();
    }
    let mut left: Vec<&str> =
        set.left_out.iter().map(|left| candidates[left.candidate].name.as_str()).collect();
    left.sort_unstable();
    format!("{:?}, without {left:?}, {:?}", seated(&set, candidates), set.short)
}

/// A mirror's life: again and again some of its members are opened, written to, and one of them may fail.
fn lived(version: Version, copies: usize, steps: &[(u8, bool, u8)]) -> Vec<Candidate> {
    let mut disks = pile(Level::Raid1, version, copies, 0);
    for (present, fails, failing) in steps {
        let here: Vec<usize> = (0..copies).filter(|number| present >> number & 1 == 1).collect();
        let pile: Vec<Candidate> = here.iter().map(|number| disks[*number].clone()).collect();
        let Some(set) = assemble(&pile).into_iter().next().filter(|set| set.unreadable.is_empty()) else {
            continue;
        };
        let mut members: Vec<usize> = set.slots.iter().flatten().map(|seat| here[seat.candidate]).collect();
        if *fails && members.len() > 1 {
            members.remove(usize::from(*failing) % members.len());
        }
        let role =
            |number| if members.contains(&number) { Role::Active(number as u16) } else { Role::Faulty };
        let roles: Vec<Role> = (0..copies).map(role).collect();
        let before = &pile[set.freshest].examined;
        let old: Vec<Role> = (0..copies as u32).map(|number| before.superblock().role_of(number)).collect();
        let step = if old == roles { 1 } else { crate::limits::MEMBERSHIP_EVENTS };
        for member in members {
            disks[member] = disks[member].written(before.summary.events + step, &roles);
        }
    }
    disks
}

proptest! {
    #[test]
    fn the_order_of_the_pile_does_not_matter(
        version in proptest::sample::select(Version::ALL.to_vec()),
        steps in proptest::collection::vec((1u8..16, any::<bool>(), any::<u8>()), 0..10),
        copies in 2usize..5,
        order in Just((0..4usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let disks = lived(version, copies, &steps);
        let shuffled: Vec<Candidate> =
            order.iter().filter(|at| **at < copies).map(|at| disks[*at].clone()).collect();
        prop_assert_eq!(decided(&disks), decided(&shuffled));
    }
}

/// A power cut in the middle of the round that records who took a slot leaves that on the newcomer alone.
#[test]
fn a_spare_that_alone_says_it_was_given_a_slot_leaves_nobody_out() {
    let disks = pile(Level::Raid1, Version::V1_2, 2, 1);
    let roles = [Role::Active(0), Role::Active(1), Role::Active(0)];
    let taken = disks[2].written(1, &roles).with_bytes(|bytes| {
        let view = Superblock::view(disks[2].examined.place, bytes).unwrap().summary().unwrap();
        let entries: Vec<Entry> = (0..3)
            .map(|number| Entry {
                dev_number: number as u32,
                role: roles[number],
                in_sync: number < 2,
                flags: view.flags,
                device: (0, 0),
            })
            .collect();
        let recovery = Some(Recovery { offset_sectors: 0, by_bitmap: false });
        let member =
            md_format::superblock::MemberUpdate { recovery, replacement: true, ..view.member_update() };
        sync(bytes, &view.array_update(&entries), &member).unwrap();
    });
    let torn = [disks[0].clone(), disks[1].clone(), taken];
    let set = only(&torn);
    assert_eq!(seated(&set, &torn), [Some("0".to_owned()), Some("1".to_owned())]);
    assert_eq!((set.replacements.len(), set.left_out.len()), (1, 0), "{:?}", set.left_out);
}
