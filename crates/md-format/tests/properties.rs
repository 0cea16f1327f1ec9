//! What holds for any bytes and any update. Failing cases are printed with their seed and kept by proptest.

use md_format::bitmap::BitmapSuper;
use md_format::geometry::{self, Reserve};
use md_format::probe::probe;
use md_format::superblock::v1::SuperblockV1;
use md_format::superblock::{
    ArrayUpdate, Entry, MemberUpdate, Recovery, ReshapeUpdate, Summary, Superblock, seal, sync,
};
use md_format::{DeviceShape, Level, MemberFlags, Place, ResyncOffset, Role, Version, badblocks};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[path = "common/kept.rs"]
mod kept;

use kept::{Kept, by_kernels};

/// A kept superblock of any kind with some bytes overwritten, the checksum made true again or not.
fn hostile() -> impl Strategy<Value = Kept> {
    let changes = vec((prop_oneof![0usize..320, 0usize..4096], any::<u8>()), 0..40);
    let fields = vec((0usize..64, select(vec![0u32, 1, 8, 0x7fff_ffff, 0x8000_0000, u32::MAX])), 0..6);
    (0usize..15, changes, fields, any::<bool>()).prop_map(|(index, changes, fields, sealed)| {
        let mut kept = by_kernels().swap_remove(index);
        for (offset, byte) in changes {
            kept.bytes[offset] = byte;
        }
        for (word, value) in fields {
            kept.bytes[4 * word..4 * word + 4].copy_from_slice(&value.to_le_bytes());
        }
        if sealed {
            let _ = seal(&mut kept.bytes);
        }
        kept
    })
}

/// Everything that can be asked of bytes.
fn ask(place: Place, device: DeviceShape, bytes: &[u8]) -> Option<Summary> {
    let probe = probe([(place, bytes)]);
    assert_eq!(probe.believed().is_some(), probe.found().count() > 0);
    let superblock = Superblock::view(place, bytes).ok()?;
    let accepted = superblock.check(device);
    let _ = (superblock.checksums(), superblock.is_sealed(), superblock.is_same_array(&superblock));
    for dev_number in [0, 1, superblock.entries(), u32::MAX] {
        superblock.role_of(dev_number);
    }
    if let Err(error) = accepted {
        assert!(!error.to_string().is_empty());
        return superblock.summary().ok();
    }
    let summary = superblock.summary().expect("what is accepted can be told");
    assert!(summary.data_offset.checked_add(summary.used_sectors()).is_some());
    Some(summary)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![(0u16..0xff00).prop_map(Role::Active), Just(Role::Spare), Just(Role::Faulty)]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (role(), any::<bool>(), any::<bool>()).prop_map(|(role, write_mostly, failfast)| Entry {
        dev_number: 0,
        role,
        in_sync: true,
        flags: MemberFlags { write_mostly, failfast },
        device: (8, 1),
    });
    vec(entry, 1..9).prop_map(|mut entries| {
        for (dev_number, entry) in (0..).zip(&mut entries) {
            entry.dev_number = dev_number;
        }
        // Slots are unique, or two devices would get one number in 0.90.
        for (slot, entry) in (0..).zip(&mut entries) {
            if let Role::Active(number) = &mut entry.role {
                *number = slot;
            }
        }
        entries
    })
}

fn resync() -> impl Strategy<Value = ResyncOffset> {
    prop_oneof![Just(ResyncOffset::Complete), (0u64..1 << 31).prop_map(ResyncOffset::At)]
}

fn reshape() -> impl Strategy<Value = ReshapeUpdate> {
    (any::<u64>(), -3i32..3, any::<bool>()).prop_map(|(position, delta_disks, backwards)| ReshapeUpdate {
        position,
        delta_disks,
        new_level: Level::Raid6,
        new_layout: 2,
        new_chunk_sectors: 128,
        backwards: delta_disks < 0 || (delta_disks == 0 && backwards),
    })
}

proptest! {
    #[test]
    fn no_bytes_make_anything_panic(
        mut bytes in vec(any::<u8>(), 0..4200),
        magic in select(vec![0xa92b_4efcu32, 0xfc4e_2ba9, 0]),
        major in 0u32..2,
        version in select(Version::ALL.to_vec()),
        sectors in prop_oneof![24u64..100_000, any::<u64>()],
    ) {
        if bytes.len() >= 8 {
            bytes[..4].copy_from_slice(&magic.to_le_bytes());
            bytes[4..8].copy_from_slice(&major.to_le_bytes());
        }
        let Some(place) = Place::of(version, sectors) else { return Ok(()) };
        ask(place, DeviceShape { sectors, logical_block_bytes: 512 }, &bytes);
        let _ = seal(&mut bytes);
        ask(place, DeviceShape { sectors, logical_block_bytes: 4096 }, &bytes);
    }

    #[test]
    fn no_hostile_superblock_makes_anything_panic(mut kept in hostile(), sectors in any::<u64>()) {
        let device = DeviceShape { sectors, logical_block_bytes: sectors as u32 };
        ask(kept.place, device, &kept.bytes);
        if let Some(summary) = ask(kept.place, kept.device, &kept.bytes) {
            let before = kept.bytes.clone();
            if sync(&mut kept.bytes, &summary.array_update(&[]), &summary.member_update()).is_err() {
                prop_assert_eq!(before, kept.bytes, "changed, though it failed");
            }
        }
    }

    #[test]
    fn no_bitmap_or_bad_block_log_makes_anything_panic(
        mut bytes in vec(any::<u8>(), 0..600), shift in any::<u8>(), events in any::<u64>()
    ) {
        let _ = badblocks::check(&bytes, shift);
        if bytes.len() >= 8 {
            bytes[..4].copy_from_slice(&0x6d74_6962u32.to_le_bytes());
            bytes[4..8].copy_from_slice(&4u32.to_le_bytes());
        }
        if let Ok(bitmap) = BitmapSuper::view(&bytes) {
            let _ = (bitmap.check(&[0; 16]), bitmap.is_stale(events), bitmap.total_bytes());
        }
    }

    #[test]
    fn bad_blocks_come_back_as_they_were_written(
        starts in vec((1u64..1000, 1u64..1500), 0..20), shift in 0u8..8
    ) {
        let mut at = 0;
        let runs: Vec<badblocks::BadBlock> = starts.iter().map(|(gap, sectors)| {
            let unit = 1u64 << shift;
            let run = badblocks::BadBlock { sector: at + gap * unit, sectors: sectors * unit };
            at = run.sector + run.sectors;
            run
        }).collect();
        let mut area = [0; 4096];
        badblocks::edit(&mut area, shift, runs.iter().copied()).unwrap();
        let bad = |at: u64, list: &[badblocks::BadBlock]| list.iter().any(|run| run.sector <= at && at < run.sector + run.sectors);
        let read: Vec<badblocks::BadBlock> = badblocks::view(&area, shift).map(Result::unwrap).collect();
        let total = |list: &[badblocks::BadBlock]| list.iter().map(|run| run.sectors).sum::<u64>();
        prop_assert_eq!(total(&read), total(&runs));
        for run in &runs {
            prop_assert!(bad(run.sector, &read) && bad(run.sector + run.sectors - 1, &read));
            prop_assert!(!bad(run.sector - 1, &read) || bad(run.sector - 1, &runs));
        }
    }

    #[test]
    fn what_sync_writes_is_accepted_and_says_what_was_meant(
        kept in (0usize..15).prop_map(|index| by_kernels().swap_remove(index)),
        entries in entries(), own in any::<prop::sample::Index>(),
        events in any::<u64>(), utime_s in 0u64..1 << 32,
        resync in resync(), reshape in prop::option::of(reshape()),
        recovery in prop::option::of((any::<u64>(), any::<bool>())),
        write_mostly in any::<bool>(), failfast in any::<bool>(),
    ) {
        let mut kept = kept;
        let before = Superblock::view(kept.place, &kept.bytes).unwrap().summary().unwrap();
        let own = entries[own.index(entries.len())];
        let v1 = kept.place.version.is_v1();
        let reshape = reshape.filter(|_| before.level != Level::Raid0);
        let array = ArrayUpdate {
            events, utime_s, clean: true, resync, reshape, raid_disks: 9, ..before.array_update(&entries)
        };
        let recovery = recovery.filter(|_| v1 && matches!(own.role, Role::Active(_)));
        let flags = if v1 { MemberFlags { write_mostly, failfast } } else { own.flags };
        let member = MemberUpdate {
            dev_number: own.dev_number,
            flags,
            recovery: recovery.map(|(offset_sectors, by_bitmap)| Recovery {
                offset_sectors, by_bitmap: by_bitmap && before.bitmap.is_some()
            }),
            journal_tail: None,
            ..before.member_update()
        };
        sync(&mut kept.bytes, &array, &member).unwrap();

        let superblock = Superblock::view(kept.place, &kept.bytes).unwrap();
        prop_assert_eq!(superblock.check(kept.device), Ok(()));
        let after = superblock.summary().unwrap();
        prop_assert_eq!(after.events, events);
        prop_assert_eq!(after.utime_s, utime_s);
        prop_assert_eq!(after.resync, resync);
        prop_assert_eq!(after.role, own.role);
        prop_assert_eq!(after.flags, flags);
        prop_assert_eq!(after.recovery, member.recovery);
        prop_assert_eq!(after.reshape.map(ReshapeUpdate::from).is_some(), reshape.is_some());
        let expected = reshape.map(|reshape| {
            // 0.90 has no bit for the direction.
            let backwards = reshape.backwards && (v1 || reshape.delta_disks < 0);
            ReshapeUpdate { backwards, ..reshape }
        });
        prop_assert_eq!(after.reshape.map(ReshapeUpdate::from), expected);
        for entry in &entries {
            let number = array.number_in(kept.place.version, entry.dev_number).unwrap();
            prop_assert_eq!(superblock.role_of(number), entry.role);
        }
    }

    #[test]
    fn bytes_that_nobody_knows_survive(
        kept in (0usize..15).prop_map(|index| by_kernels().swap_remove(index)), fill in any::<u8>()
    ) {
        let mut kept = kept;
        let summary = Superblock::view(kept.place, &kept.bytes).unwrap().summary().unwrap();
        let entries = [Entry {
            dev_number: summary.dev_number, role: summary.role, in_sync: true, flags: summary.flags, device: (8, 0)
        }];
        let unknown: Vec<std::ops::Range<usize>> = if kept.place.version.is_v1() {
            let used = SuperblockV1::view(&kept.bytes).unwrap().used_bytes();
            vec![224..256, used..4096]
        } else {
            let reserved = (0..28).map(|index| 512 + index * 128 + 20..640 + index * 128);
            [64..128, 200..256, 264..512].into_iter().chain(reserved).collect()
        };
        for range in &unknown {
            kept.bytes[range.clone()].fill(fill);
        }
        sync(&mut kept.bytes, &summary.array_update(&entries), &summary.member_update()).unwrap();
        for range in unknown {
            prop_assert!(kept.bytes[range].iter().all(|byte| *byte == fill));
        }
    }

    #[test]
    fn no_size_makes_the_geometry_panic(
        version in select(Version::ALL.to_vec()), sectors in any::<u64>(), other in any::<u64>(),
        chunk in any::<u32>(), layout in any::<u32>(), disks in any::<u32>(), level in -5i32..12,
    ) {
        let bitmap = Reserve::Bitmap { sync_size_sectors: other, chunk_bytes: chunk };
        for reserve in [Reserve::Nothing, bitmap, Reserve::Ppl] {
            let offset = geometry::default_data_offset(version, sectors, chunk, reserve);
            for offset in [offset, other] {
                let _ = geometry::available_sectors(version, sectors, offset, reserve);
                let _ = geometry::member_layout(version, sectors, offset, other, reserve);
            }
        }
        let level = Level::from_number(level);
        let _ = geometry::component_size(version, level, chunk, [sectors, other]);
        let _ = geometry::array_sectors(level, layout, chunk, disks, sectors);
        let _ = geometry::linear_sectors([sectors, other], chunk);
        for zone in geometry::raid0::zones(&[sectors, other, sectors / 2], chunk) {
            prop_assert!(zone.member_start < zone.member_end);
        }
    }
}
