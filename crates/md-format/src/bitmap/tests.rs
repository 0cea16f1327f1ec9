//! The rules of the bitmap.

use super::*;
use crate::terms::Version;

const UUID: [u8; 16] = [7; 16];

fn new() -> NewBitmap {
    NewBitmap {
        uuid: UUID,
        sync_size_sectors: 14_336,
        chunk_bytes: 64 << 20,
        daemon_sleep_s: 5,
        write_behind: 0,
    }
}

fn made() -> [u8; 4096] {
    let mut area = [0; 4096];
    new().create(&mut area).unwrap();
    area
}

#[test]
fn a_new_bitmap_is_accepted_and_all_dirty() {
    let area = made();
    let bitmap = BitmapSuper::view(&area).unwrap();
    assert_eq!(bitmap.check(&UUID), Ok(()));
    assert_eq!(bitmap.chunks(), Some(1));
    assert!(area[256..].iter().all(|byte| *byte == 0xff));
}

#[test]
fn a_bitmap_older_than_the_superblock_is_stale() {
    let mut area = made();
    let bitmap = BitmapSuper::edit(&mut area).unwrap();
    bitmap.sync(10, 20, false);
    assert_eq!(bitmap.events_cleared.get(), 10, "events went back");
    assert!(!bitmap.is_stale(10));
    assert!(bitmap.is_stale(11));
    bitmap.sync(11, 10, true);
    assert!(bitmap.is_stale(11));
}

#[test]
fn what_is_not_this_arrays_bitmap_is_refused() {
    let refused = |change: fn(&mut BitmapSuper)| {
        let mut area = made();
        change(BitmapSuper::edit(&mut area).unwrap());
        BitmapSuper::view(&area).unwrap().check(&UUID).is_err()
    };
    assert!(refused(|bitmap| bitmap.version = 2.into()));
    assert!(refused(|bitmap| bitmap.version = 6.into()));
    assert!(refused(|bitmap| bitmap.chunk_bytes = 256.into()));
    assert!(refused(|bitmap| bitmap.chunk_bytes = 513.into()));
    assert!(refused(|bitmap| bitmap.chunk_bytes = 0.into()));
    assert!(refused(|bitmap| bitmap.daemon_sleep_s = 0.into()));
    assert!(refused(|bitmap| bitmap.write_behind = 16_384.into()));
    assert!(refused(|bitmap| bitmap.uuid[3] ^= 1));
}

#[test]
fn lockless_is_named() {
    let mut area = made();
    let bitmap = BitmapSuper::edit(&mut area).unwrap();
    bitmap.version = 6.into();
    assert_eq!(bitmap.kind(), Ok(Kind::Lockless));
}

#[test]
fn bits_are_addressed_lowest_first_behind_the_superblock() {
    assert_eq!(bit(0), (256, 1));
    assert_eq!(bit(7), (256, 128));
    assert_eq!(bit(8), (257, 1));
}

#[test]
fn default_chunk_is_64_mib_until_the_room_is_too_small() {
    let chunk = |sectors| default_chunk_bytes(Version::V1_2, sectors, sectors);
    assert_eq!(chunk(100), None);
    assert_eq!(chunk(14_336), Some(64 << 20));
    assert_eq!(chunk(1 << 33), Some(64 << 20));
    assert_eq!(chunk(1 << 37), Some(128 << 20));
}
