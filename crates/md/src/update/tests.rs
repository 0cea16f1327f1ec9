//! The rules of updates, on disks that were never written: their superblocks are made and changed in memory.

use block::{Geometry, Sectors};
use md_format::bitmap::NewBitmap;
use md_format::superblock::{self, seal};
use md_format::{Level, Place, Version};
use proptest::prelude::*;

use super::*;
use crate::assembly::assemble;
use crate::create::{Creation, plan_creation};
use crate::examine::BitmapFacts;

const SIZE: Sectors = Sectors(20_480);

fn read(place: Place, bytes: Box<[u8; SUPERBLOCK_BYTES]>) -> Examined {
    let geometry = Geometry::plain(SIZE);
    let superblock = Superblock::view(place, &bytes[..]).unwrap();
    let (summary, flaw) = (superblock.summary().unwrap(), superblock.check(shape_of(geometry)).err());
    let (leftovers, bad_blocks, bitmap) = (Vec::new(), Vec::new(), None);
    Examined { geometry, place, bytes, summary, flaw, leftovers, bad_blocks, bitmap, private_log: None }
}

fn shape_of(geometry: Geometry) -> DeviceShape {
    DeviceShape { sectors: geometry.size.0, logical_block_bytes: geometry.logical_block }
}

fn pile(level: Level, version: Version) -> Vec<Candidate> {
    let creation = Creation {
        name: "pile".to_owned(),
        host: Some("host".to_owned()),
        level,
        version,
        chunk_sectors: (level == Level::Raid0).then_some(8),
        layout: None,
        size: None,
        bitmap: None,
        ppl: false,
        journal: None,
        assume_clean: true,
        slots: vec![Some(Geometry::plain(SIZE)); 2],
        write_mostly: Vec::new(),
        spares: Vec::new(),
        uuid: [9; 16],
        device_uuids: vec![[1; 16], [2; 16]],
        now_s: 1_600_000_000,
    };
    let plans = plan_creation(&creation).unwrap().into_iter();
    plans
        .map(|plan| Candidate { name: plan.position.to_string(), examined: read(plan.place, plan.bytes) })
        .collect()
}

fn plan(pile: &[Candidate], changes: &[Change]) -> Result<Vec<MemberChange>, UpdateError> {
    let update =
        Update { changes: changes.to_vec(), degraded: false, device_uuids: vec![[5; 16]; pile.len()] };
    plan_update(&assemble(pile)[0], pile, &update)
}

/// The pile after the changes.
fn changed(pile: &[Candidate], changes: &[Change]) -> Vec<Candidate> {
    let plans = plan(pile, changes).unwrap();
    let after = pile.iter().zip(plans).map(|(member, plan)| {
        let mut bytes = member.examined.bytes.clone();
        for write in plan.writes.iter().filter(|write| write.what == "superblock") {
            assert_eq!(write.sector, member.examined.place.sector);
            bytes[..write.bytes.len()].copy_from_slice(&write.bytes);
        }
        let examined =
            Examined { bitmap: member.examined.bitmap.clone(), ..read(member.examined.place, bytes) };
        Candidate { name: member.name.clone(), examined }
    });
    after.collect()
}

fn refusal(pile: &[Candidate], change: Change) -> String {
    plan(pile, &[change]).unwrap_err().to_string()
}

#[test]
fn an_update_changes_what_it_names_and_nothing_else() {
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let pile = pile(Level::Raid1, version);
        let name = Change::Name { host: Some("h".to_owned()), name: "new".to_owned() };
        let after = changed(&pile, &[name, Change::Uuid([7; 16]), Change::Resync]);
        for (old, new) in pile.iter().zip(&after) {
            assert_eq!(new.examined.flaw, None);
            let (old, new) = (old.examined.summary, new.examined.summary);
            let name = md_format::Name::new(Some("h"), "new");
            let resync = md_format::ResyncOffset::At(0);
            assert_eq!(new, superblock::Summary { name, array_uuid: [7; 16], resync, ..old });
        }
        assert!(assemble(&after)[0].left_out.is_empty());
    }
}

#[test]
fn what_is_as_wanted_is_not_written() {
    let pile = pile(Level::Raid1, Version::V1_2);
    let same = Change::Uuid(pile[0].examined.summary.array_uuid);
    assert!(plan(&pile, &[same, Change::BadBlockLog]).unwrap().iter().all(|plan| plan.writes.is_empty()));
}

#[test]
fn bytes_that_nobody_knows_survive() {
    let mut pile = pile(Level::Raid1, Version::V1_2);
    for member in &mut pile {
        member.examined.bytes[224] = 0; // logical_block_size, padding to older kernels
        member.examined.bytes[225] = 2;
        member.examined.bytes[4000] = 77;
        seal(&mut member.examined.bytes[..]).unwrap();
        member.examined = read(member.examined.place, member.examined.bytes.clone());
    }
    for member in changed(&pile, &[Change::Uuid([7; 16])]) {
        assert_eq!(member.examined.bytes[224..226], [0, 2]);
        assert_eq!(member.examined.bytes[4000], 77);
    }
}

#[test]
fn everybody_named_belongs_to_the_array() {
    let mut pile = pile(Level::Raid1, Version::V1_2);
    let update = Update { changes: vec![Change::Resync], degraded: false, device_uuids: Vec::new() };
    let alone = &pile[..1];
    let missing = plan_update(&assemble(alone)[0], alone, &update).unwrap_err();
    assert_eq!(missing, UpdateError::Missing { present: 1, slots: 2 });
    let update = Update { degraded: true, ..update };
    assert_eq!(plan_update(&assemble(alone)[0], alone, &update).unwrap().len(), 1);
    pile[0].examined.bytes[200] = 9;
    seal(&mut pile[0].examined.bytes[..]).unwrap();
    pile[0].examined = read(pile[0].examined.place, pile[0].examined.bytes.clone());
    let stale = refusal(&pile, Change::Resync);
    assert!(stale.contains("1 is no part of it: it is stale"), "{stale}");
}

#[test]
fn what_a_version_or_level_has_not_is_refused_by_name() {
    let (old, new) = (pile(Level::Raid1, Version::V0_90), pile(Level::Raid1, Version::V1_2));
    let stripe = pile(Level::Raid0, Version::V1_2);
    let name = Change::Name { host: None, name: "x".to_owned() };
    for (pile, change, words) in [
        (&old, name, "only for metadata 1.0, 1.1 or 1.2, and this is 0.90"),
        (&old, Change::NoBadBlockLog { forget: false }, "only for metadata"),
        (&old, Change::DeviceSize, "lies at the end"),
        (&old, Change::ByteOrder, "this machine's byte order"),
        (&new, Change::Summaries, "only for metadata 0.90"),
        (&new, Change::PreferredMinor(1), "only for metadata 0.90"),
        (&new, Change::ToV1_0, "only for metadata 0.90"),
        (&new, Change::Raid0Layout(None), "only for raid0"),
        (&stripe, Change::Resync, "no redundancy"),
        (&stripe, Change::DeviceSize, "gives all that it has"),
        (&stripe, Change::Flag { candidate: 0, flag: Flag::WriteMostly(true) }, "only for raid1"),
    ] {
        let said = refusal(pile, change);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_bitmap_follows_the_uuid_and_does_not_shorten_a_resync() {
    let mut pile = pile(Level::Raid1, Version::V0_90);
    let mut area = vec![0; 4096];
    let new = NewBitmap {
        uuid: [9; 16],
        sync_size_sectors: 8192,
        chunk_bytes: 65_536,
        daemon_sleep_s: 5,
        write_behind: 0,
    };
    new.create(&mut area).unwrap();
    for member in &mut pile {
        member.examined.bytes[133] = 1; // a bitmap is present
        seal(&mut member.examined.bytes[..]).unwrap();
        member.examined = read(member.examined.place, member.examined.bytes.clone());
        member.examined.bitmap = Some(BitmapFacts { bytes: area.clone() });
    }
    let plans = plan(&pile, &[Change::Uuid([7; 16]), Change::Resync]).unwrap();
    for (plan, member) in plans.iter().zip(&pile) {
        let write = plan.writes.iter().find(|write| write.what == "bitmap").unwrap();
        assert_eq!(Some(write.sector), member.examined.summary.bitmap.map(|place| place.sector));
        let bitmap = BitmapSuper::view(&write.bytes).unwrap();
        assert_eq!(bitmap.uuid, [7; 16]);
        assert!(bitmap.is_stale(0));
    }
    let said = refusal(&pile, Change::ToV1_0);
    assert!(said.contains("no-bitmap"), "{said}");
    assert!(plan(&pile, &[Change::NoBitmap]).unwrap().iter().all(|plan| plan.writes.len() == 1));
}

#[test]
fn flags_of_0_90_are_in_every_superblock_and_of_1_x_in_the_members_own() {
    let flag = Change::Flag { candidate: 1, flag: Flag::WriteMostly(true) };
    for (version, written) in [(Version::V0_90, 2), (Version::V1_2, 1)] {
        let pile = pile(Level::Raid1, version);
        let plans = plan(&pile, std::slice::from_ref(&flag)).unwrap();
        assert_eq!(plans.iter().filter(|plan| !plan.writes.is_empty()).count(), written, "{version}");
        let after = changed(&pile, std::slice::from_ref(&flag));
        let flags: Vec<bool> =
            after.iter().map(|member| member.examined.summary.flags.write_mostly).collect();
        assert_eq!(flags, [false, true]);
    }
}

#[test]
fn a_foreign_byte_order_becomes_ours_and_nothing_else_changes() {
    let native = pile(Level::Raid1, Version::V0_90);
    let foreign: Vec<Candidate> = native
        .iter()
        .map(|member| {
            let mut bytes = member.examined.bytes.clone();
            let (words, _) = bytes.as_chunks_mut::<4>();
            words.iter_mut().for_each(|word| word.reverse());
            for at in [156, 164, 176] {
                words.swap(at / 4, at / 4 + 1);
            }
            Candidate { name: member.name.clone(), examined: read(member.examined.place, bytes) }
        })
        .collect();
    assert_eq!(foreign[0].examined.summary.byte_order, ByteOrder::Big);
    assert!(refusal(&foreign, Change::Resync).contains("byteorder"));
    let after = changed(&foreign, &[Change::ByteOrder]);
    assert!(after.iter().zip(&native).all(|(after, native)| after.examined.bytes == native.examined.bytes));
}

#[test]
fn what_signs_a_journal_stays_as_it_is() {
    let mut pile = pile(Level::Raid1, Version::V1_2);
    for member in &mut pile {
        member.examined.summary.features |= md_format::Features::JOURNAL;
    }
    let summary = pile[0].examined.summary;
    for change in [Change::Uuid([7; 16]), Change::HomeHost { host: None, digest: [1; 8] }] {
        let is_refused = change.check(&summary).is_err_and(|why| why.contains("journal"));
        assert_eq!(is_refused, change == Change::Uuid([7; 16]), "{change:?}");
    }
}

fn changes() -> impl Strategy<Value = Change> {
    let fixed = [
        Change::Uuid([7; 16]),
        Change::Resync,
        Change::BadBlockLog,
        Change::NoBadBlockLog { forget: false },
        Change::NoBadBlockLog { forget: true },
        Change::NoBitmap,
        Change::Ppl,
        Change::NoPpl,
        Change::NoJournal,
        Change::Raid0Layout(None),
        Change::DeviceSize,
        Change::PreferredMinor(1),
        Change::Summaries,
        Change::ByteOrder,
        Change::ToV1_0,
        Change::HomeHost { host: Some("h".to_owned()), digest: [1; 8] },
        Change::Flag { candidate: 0, flag: Flag::Failfast(true) },
    ];
    prop::sample::select(fixed.to_vec())
}

proptest! {
    /// Whatever a superblock says, an update is refused or leaves one that would be accepted.
    #[test]
    fn hostile_superblocks_never_panic(
        version in prop::sample::select(Version::ALL.to_vec()),
        level in prop::sample::select(vec![Level::Raid0, Level::Raid1, Level::Raid5, Level::Raid10]),
        pokes in prop::collection::vec((0usize..512, any::<u8>()), 0..6),
        sealed in any::<bool>(),
        changes in prop::collection::vec(changes(), 1..4),
    ) {
        let mut pile = pile(level, version);
        for member in &mut pile {
            let mut bytes = member.examined.bytes.clone();
            pokes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
            if sealed {
                let _ = seal(&mut bytes[..]); // pokes may have made it something else
            }
            let place = member.examined.place;
            prop_assume!(Superblock::view(place, &bytes[..]).is_ok_and(|superblock| superblock.summary().is_ok()));
            member.examined = read(place, bytes);
        }
        for set in assemble(&pile) {
            let update = Update { changes: changes.clone(), degraded: true, device_uuids: Vec::new() };
            let Ok(plans) = plan_update(&set, &pile, &update) else { continue };
            for write in plans.iter().flat_map(|plan| &plan.writes) {
                prop_assert!(write.sector + write.bytes.len() as u64 / 512 <= SIZE.0);
            }
        }
    }
}
