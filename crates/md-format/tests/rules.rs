//! The kernel's rules of acceptance and of a metadata write, on superblocks that kernels left.

use md_format::superblock::v1::SuperblockV1;
use md_format::superblock::{Entry, seal, sync, v0};
use md_format::{
    ByteOrder, DeviceShape, Features, FormatError, MemberFlags, ResyncOffset, Role, Superblock, Version,
};
use zerocopy::{BigEndian, LittleEndian};

#[path = "common/kept.rs"]
mod kept;

use kept::{Kept, by_kernels};

fn kept(name: &str) -> Kept {
    by_kernels().into_iter().find(|kept| kept.name.starts_with(name)).unwrap()
}

impl Kept {
    fn view(&self) -> Superblock<'_> {
        Superblock::view(self.place, &self.bytes).unwrap()
    }

    /// What `check` says after a change; the checksum is made true again.
    fn refused(&self, change: fn(&mut SuperblockV1)) -> FormatError {
        let mut bytes = self.bytes.clone();
        change(SuperblockV1::edit(&mut bytes).unwrap());
        seal(&mut bytes).unwrap();
        Superblock::view(self.place, &bytes).unwrap().check(self.device).unwrap_err()
    }

    fn refused_v0(&self, change: fn(&mut v0::SuperblockV0<LittleEndian>)) -> FormatError {
        let mut bytes = self.bytes.clone();
        change(v0::SuperblockV0::edit(&mut bytes).unwrap());
        seal(&mut bytes).unwrap();
        Superblock::view(self.place, &bytes).unwrap().check(self.device).unwrap_err()
    }
}

#[test]
fn what_kernels_left_is_accepted() {
    for kept in by_kernels() {
        assert_eq!(kept.view().check(kept.device), Ok(()), "{}", kept.name);
        assert!(kept.view().is_sealed());
        let written = if kept.place.version.is_v1() { 1 } else { 8 };
        assert_eq!(kept.view().written_sectors(kept.device), written);
        let device = DeviceShape { logical_block_bytes: 4096, ..kept.device };
        assert_eq!(kept.view().written_sectors(device), 8, "whole logical blocks");
        assert_eq!(kept.view().check(device), Ok(()), "{}", kept.name);
    }
}

#[test]
fn a_device_smaller_than_its_superblock_says_is_refused() {
    for kept in by_kernels() {
        let device = DeviceShape { sectors: kept.place.sector + 9, ..kept.device };
        let refused = kept.view().check(device);
        let at_end = matches!(kept.place.version, Version::V0_90 | Version::V1_0);
        assert_eq!(refused.is_err(), !at_end, "{}", kept.name);
    }
}

#[test]
fn each_rule_of_1_x_refuses_with_its_own_error() {
    let mirror = kept("raid1-failfast");
    let journal = kept("raid5-journal-clean");
    let bad_blocks = kept("raid1-badblocks");
    let refused = |change| mirror.refused(change);
    use FormatError::*;

    assert!(matches!(refused(|s| s.max_dev = 1921.into()), Range { field: "max_dev", found: 1921, .. }));
    assert!(matches!(refused(|s| s.super_offset = 16.into()), SuperOffset { found: 16, expected: 8 }));
    assert!(matches!(refused(|s| s.data_size = 9.into()), Range { field: "data_size", found: 9, .. }));
    assert!(matches!(refused(|s| s.pad0 = 1.into()), Padding { field: "pad0", .. }));
    assert!(matches!(refused(|s| s.pad3[27] = 1), Padding { field: "pad3", .. }));
    assert!(matches!(refused(|s| s.logical_block_size = 513.into()), PowerOfTwo { .. }));
    assert!(matches!(refused(|s| s.raid_disks = 0.into()), Range { field: "raid_disks", .. }));
    assert!(matches!(
        refused(|s| s.dev_roles[1] = 0xff00.into()),
        RoleNumber { dev_number: 1, found: 0xff00 }
    ));
    assert!(matches!(refused(|s| s.feature_map = 0x2000.into()), UnknownFeatures { .. }));
    for contradicting in [0x400 | 1, 0x800 | 0x200, 0xc00, 0x1000] {
        let mut bytes = mirror.bytes.clone();
        SuperblockV1::edit(&mut bytes).unwrap().feature_map = contradicting.into();
        seal(&mut bytes).unwrap();
        let refused = Superblock::view(mirror.place, &bytes).unwrap().check(mirror.device).unwrap_err();
        assert!(matches!(refused, ContradictingFeatures { .. }), "{contradicting:#x}: {refused}");
    }
    assert!(matches!(journal.refused(|s| s.feature_map = 0.into()), ContradictingFeatures { .. }));
    assert!(matches!(journal.refused(|s| s.chunk_sectors = 4.into()), Chunk { found: 4, .. }));
    assert!(matches!(journal.refused(|s| s.chunk_sectors = 24.into()), Chunk { found: 24, .. }));
    assert!(matches!(refused(|s| s.data_offset = 8.into()), Overlap { area: "data", .. }));
    assert!(matches!(refused(|s| s.data_offset = u64::MAX.into()), OutsideDevice { area: "data_size", .. }));
    assert!(matches!(refused(|s| s.data_size = u64::MAX.into()), OutsideDevice { area: "data_size", .. }));
    assert!(matches!(refused(|s| s.size = 1_000_000.into()), OutsideDevice { area: "size", .. }));
    assert!(matches!(refused(|s| s.bblog_sectors = 9.into()), Range { field: "bblog_sectors", .. }));
    assert!(matches!(refused(|s| s.bblog_offset = 4000.into()), Overlap { area: "bad-block log", .. }));
    assert!(matches!(refused(|s| s.bblog_offset = (-9).into()), PlaceOverflow { .. }));
    assert!(matches!(bad_blocks.refused(|s| s.bblog_offset = 0.into()), ContradictingFeatures { .. }));
    assert!(matches!(bad_blocks.refused(|s| s.bblog_shift = 64), Range { field: "bblog_shift", .. }));
    let bitmap = kept("raid1-bitmap");
    assert!(matches!(bitmap.refused(|s| s.bitmap_offset = 0.into()), Overlap { area: "bitmap", .. }));
    assert!(matches!(bitmap.refused(|s| s.bitmap_offset = (-1000).into()), Overlap { area: "bitmap", .. }));
    assert!(matches!(
        bitmap.refused(|s| s.bitmap_offset = 4000.into()),
        OutsideDevice { area: "bitmap", .. }
    ));
}

#[test]
fn each_rule_of_0_90_refuses_with_its_own_error() {
    let stripe = kept("raid5-left-symmetric.0.90");
    let refused = |change| stripe.refused_v0(change);
    use FormatError::*;
    assert!(matches!(refused(|s| s.minor_version = 92.into()), Version { found: 92, .. }));
    assert!(matches!(refused(|s| s.raid_disks = 28.into()), Range { field: "raid_disks", .. }));
    assert!(matches!(refused(|s| s.this_disk.number = 27.into()), DeviceNumber { found: 27, .. }));
    assert!(matches!(refused(|s| s.chunk_bytes = 512.into()), Chunk { found: 1, .. }));
    assert!(matches!(refused(|s| s.size_kib = u32::MAX.into()), OutsideDevice { area: "data", .. }));
}

#[test]
fn a_changed_bit_breaks_the_checksum() {
    for mut kept in by_kernels() {
        kept.bytes[200] ^= 0x10;
        assert!(matches!(kept.view().check(kept.device), Err(FormatError::Checksum { .. })), "{}", kept.name);
    }
}

#[test]
fn the_logical_block_size_of_newer_kernels_is_accepted_and_kept() {
    let mut kept = kept("raid5-midreshape-chunk-backup-k7.2");
    let summary = kept.view().summary().unwrap();
    assert_eq!(summary.logical_block_bytes, 512);
    sync(&mut kept.bytes, &summary.array_update(&[]), &summary.member_update()).unwrap();
    assert_eq!(kept.view().summary().unwrap().logical_block_bytes, 512);
}

#[test]
fn while_writes_may_be_under_way_nothing_is_known_to_be_in_sync() {
    for mut kept in by_kernels() {
        let summary = kept.view().summary().unwrap();
        let entries = [entry(summary.dev_number, Role::Active(0))];
        let mut array = summary.array_update(&entries);
        let member = summary.member_update();
        let v1 = kept.place.version.is_v1();
        let mut synced = |clean, resync, journal_clean| {
            (array.clean, array.resync, array.journal_clean) = (clean, resync, journal_clean);
            sync(&mut kept.bytes, &array, &member).unwrap();
            kept.view().summary().unwrap().resync
        };
        use ResyncOffset::{At, Complete};
        assert_eq!(synced(false, Complete, None), At(0));
        assert_eq!(synced(false, At(800), None), At(0));
        assert_eq!(synced(true, At(800), None), At(800));
        assert_eq!(synced(true, Complete, None), Complete);
        if v1 {
            assert_eq!(synced(false, Complete, Some(false)), At(0));
            assert_eq!(synced(false, Complete, Some(true)), Complete);
        }
    }
}

#[test]
fn a_resync_offset_of_0_90_counts_only_with_the_event_count_of_its_write() {
    let mut kept = kept("raid1-spare.0.90");
    let superblock = v0::SuperblockV0::edit(&mut kept.bytes).unwrap();
    superblock.state = 0.into();
    superblock.resync_offset = 800.into();
    assert_eq!(kept.view().summary().unwrap().resync, ResyncOffset::At(800));
    let superblock = v0::SuperblockV0::edit(&mut kept.bytes).unwrap();
    superblock.events = (superblock.events.get() + 1).into();
    assert_eq!(kept.view().summary().unwrap().resync, ResyncOffset::At(0));
}

#[test]
fn a_position_at_the_end_is_not_complete() {
    for mut kept in by_kernels() {
        let summary = kept.view().summary().unwrap();
        let entries = [entry(summary.dev_number, Role::Active(0))];
        let mut array = summary.array_update(&entries);
        for at in [summary.size_sectors, summary.data_size, u64::MAX - 1, u64::MAX] {
            (array.clean, array.resync) = (true, ResyncOffset::At(at));
            sync(&mut kept.bytes, &array, &summary.member_update()).unwrap();
            assert_ne!(kept.view().summary().unwrap().resync, ResyncOffset::Complete, "{}", kept.name);
        }
    }
}

#[test]
fn devices_that_are_not_listed_are_spares_in_1_x_and_missing_in_0_90() {
    let mut kept = kept("raid1-failfast");
    let summary = kept.view().summary().unwrap();
    let entries = [entry(1, Role::Active(1)), entry(200, Role::Faulty)];
    sync(&mut kept.bytes, &summary.array_update(&entries), &summary.member_update()).unwrap();
    assert_eq!(kept.view().check(kept.device), Ok(()));
    assert_eq!(kept.view().entries(), 201, "the list grows");
    assert_eq!(
        [0, 1, 200, 201].map(|number| kept.view().role_of(number)),
        [Role::Spare, Role::Active(1), Role::Faulty, Role::Spare]
    );

    let mut kept = self::kept("raid5-left-symmetric.0.90");
    let summary = kept.view().summary().unwrap();
    let mut recovering = entry(9, Role::Active(1));
    recovering.in_sync = false;
    let entries = [entry(3, Role::Active(3)), recovering, entry(5, Role::Spare)];
    let array = summary.array_update(&entries);
    sync(&mut kept.bytes, &array, &summary.member_update()).unwrap();
    assert_eq!(kept.view().check(kept.device), Ok(()));
    assert_eq!(
        [3, 9, 5, 7].map(|number| array.number_in(Version::V0_90, number)),
        [Some(3), Some(4), Some(5), None]
    );
    let roles = [0, 1, 2, 3, 4, 5, 6].map(|number| kept.view().role_of(number));
    use Role::*;
    assert_eq!(roles, [Faulty, Faulty, Faulty, Active(3), Spare, Spare, Spare]);
    let superblock = v0::SuperblockV0::<LittleEndian>::view(&kept.bytes).unwrap();
    let counts =
        [superblock.active_disks, superblock.working_disks, superblock.failed_disks, superblock.spare_disks];
    assert_eq!(counts.map(|count| count.get()), [1, 3, 2, 2], "slot 0 is removed, and not counted as failed");
}

#[test]
fn recovery_of_one_member_is_told_with_its_feature_bit() {
    let kept = kept("raid5-midrecovery");
    let summary = kept.view().summary().unwrap();
    assert!(summary.features.has(Features::RECOVERY_OFFSET));
    assert!(summary.recovery.is_some_and(|recovery| recovery.offset_sectors > 0 && !recovery.by_bitmap));
    assert!(kept::by_kernels().iter().any(|kept| kept.view().summary().unwrap().replacement));
}

#[test]
fn a_big_endian_0_90_is_read_and_never_written() {
    let kept = kept("raid1-spare.0.90");
    let mut swapped = kept.bytes.clone();
    swapped.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    for pair in [156, 164, 176] {
        swapped[pair..pair + 8].rotate_left(4);
    }
    let little = kept.view().summary().unwrap();
    let mut big = Superblock::view(kept.place, &swapped).unwrap();
    assert_eq!(big.byte_order(), ByteOrder::Big);
    assert_eq!(big.check(kept.device), Ok(()));
    let summary = big.summary().unwrap();
    assert_eq!(
        (summary.events, summary.size_sectors, summary.role),
        (little.events, little.size_sectors, little.role)
    );
    assert!(v0::SuperblockV0::<BigEndian>::view(big.as_bytes()).is_ok());
    assert!(!big.is_same_array(&kept.view()));
    big = Superblock::view(kept.place, &kept.bytes).unwrap();
    assert!(big.is_same_array(&kept.view()));

    assert_eq!(seal(&mut swapped), Err(FormatError::ByteSwapped));
    let written = sync(&mut swapped, &little.array_update(&[]), &little.member_update());
    assert_eq!(written, Err(FormatError::ByteSwapped));
}

#[test]
fn same_array_is_uuid_and_what_never_changes() {
    let kept = kept("raid1-failfast");
    let same = |change: fn(&mut SuperblockV1)| {
        let mut bytes = kept.bytes.clone();
        change(SuperblockV1::edit(&mut bytes).unwrap());
        Superblock::view(kept.place, &bytes).unwrap().is_same_array(&kept.view())
    };
    assert!(same(|s| s.raid_disks = 77.into()));
    assert!(same(|s| s.events = 1.into()));
    assert!(!same(|s| s.layout = 7.into()));
    assert!(!same(|s| s.chunk_sectors = 7.into()));
    assert!(!same(|s| s.level = 5.into()));
    assert!(!same(|s| s.set_uuid[15] ^= 1));
}

fn entry(dev_number: u32, role: Role) -> Entry {
    Entry { dev_number, role, in_sync: true, flags: MemberFlags::default(), device: (8, 16) }
}
