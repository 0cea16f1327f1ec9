use super::*;
use crate::superblock::{BadBlockLog, BitmapPlace};
use crate::{Place, Superblock};

const UUID: [u8; 16] = [9; 16];

/// A raid6 member whose data begins at 2 MiB, with a bad-block log behind the superblock.
fn summary() -> Summary {
    let bytes = include_bytes!("../../tests/golden/kernel/raid1-failfast-3of4.1.2.10240.bin");
    let place = Place { version: Version::V1_2, sector: 8 };
    let summary = Superblock::view(place, bytes).unwrap().summary().unwrap();
    let bad_block_log =
        Some(BadBlockLog { offset_sectors: 8, sectors: 8, shift: 0, sector: 16, in_use: false });
    Summary { level: Level::Raid6, data_offset: 4096, bitmap: None, bad_block_log, ..summary }
}

fn binding() -> Vec<u8> {
    let mut bytes = vec![0x77; BINDING_BYTES];
    let binding = Binding::edit(&mut bytes).unwrap();
    binding.clear(&UUID, 3);
    (binding.before, binding.after) = (1.into(), 2.into());
    binding.seal();
    bytes
}

#[test]
fn the_log_lies_at_the_end_of_the_free_space() {
    assert_eq!(place(&summary(), 0), Ok(LogPlace { sector: 4096 - 2064, sectors: 2064 }));
    let short = Summary { data_offset: 2048 + 4, ..summary() };
    assert_eq!(
        place(&short, 0),
        Ok(LogPlace { sector: 24, sectors: 2024 }),
        "whole blocks, in both directions"
    );
    let records = place(&short, 0).unwrap().records();
    assert_eq!((records.sector, records.sectors), (40, 2008));
}

#[test]
fn what_is_claimed_by_anything_else_is_not_the_logs() {
    let bitmap = |sector| Some(BitmapPlace { offset_sectors: 0, sector });
    let with = |sector| Summary { data_offset: 2048, bitmap: bitmap(sector), ..summary() };
    assert_eq!(place(&with(24), 9).unwrap().sector, 40);
    assert!(place(&with(1600), 8).is_err(), "too little behind it");
    assert!(place(&with(24), u64::MAX).is_err());
    let moved = BadBlockLog { sector: 2040, ..summary().bad_block_log.unwrap() };
    assert!(place(&Summary { data_offset: 2048, bad_block_log: Some(moved), ..summary() }, 0).is_err());
    assert!(place(&with(1 << 40), 8).is_ok(), "what lies behind the data is not in the way");
}

#[test]
fn there_is_none_on_another_level_or_version_or_without_room() {
    assert!(place(&Summary { level: Level::Raid5, ..summary() }, 0).is_err());
    for version in [Version::V0_90, Version::V1_0] {
        assert!(place(&Summary { version, ..summary() }, 0).is_err());
    }
    assert!(place(&Summary { version: Version::V1_1, super_offset: 0, ..summary() }, 0).is_ok());
    assert!(place(&Summary { data_offset: 24 + LEAST_SECTORS, ..summary() }, 0).is_ok());
    assert!(place(&Summary { data_offset: 16 + LEAST_SECTORS, ..summary() }, 0).is_err());
    assert!(place(&Summary { data_offset: 0, ..summary() }, 0).is_err());
}

#[test]
fn a_binding_is_its_members_and_nobody_elses() {
    let bytes = binding();
    let view = Binding::view(&bytes).unwrap();
    assert_eq!(view.check(&UUID, 3), Ok(()));
    assert!(matches!(view.check(&[8; 16], 3), Err(FormatError::Uuid { .. })));
    assert!(matches!(view.check(&UUID, 4), Err(FormatError::Range { .. })));
    assert!(view.names(1) && view.names(2) && !view.names(3));
    assert!(bytes[76..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_torn_binding_names_nothing() {
    for at in 0..BINDING_BYTES {
        let mut bytes = binding();
        bytes[at] ^= 1;
        assert!(Binding::view(&bytes).unwrap().check(&UUID, 3).is_err(), "byte {at}");
    }
    assert!(Binding::view(&binding()[1..]).is_err());
}

#[test]
fn every_bit_of_a_superblock_is_in_its_fingerprint() {
    let superblock = [7; SUPERBLOCK_BYTES];
    let whole = fingerprint(&superblock);
    for at in (0..SUPERBLOCK_BYTES).step_by(61) {
        let mut other = superblock;
        other[at] ^= 1 << (at % 8);
        assert_ne!(fingerprint(&other), whole, "byte {at}");
    }
}

#[test]
fn two_bindings_in_a_row_have_places_of_their_own() {
    let place = LogPlace { sector: 100, sectors: 2064 };
    assert_eq!([place.binding(6), place.binding(7), place.binding(8)], [100, 108, 100]);
}
