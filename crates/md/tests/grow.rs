//! Arrays that are changed while they run: bitmaps added and taken away, copies, sizes. Each change also with the power cut
//! after every single event of it.

mod common;

use block::{Dev, Request, Sectors};
use common::{Bench, Made, SIZE};
use md::{
    Action, Array, BitmapWish, Condition, GrowError, Growth, Newcomer, Scrub, SyncState, assemble, examine,
};
use md_format::{Level, ResyncOffset, Version};
use runtime::{Runtime, sleep_ms, spawn};

/// What members give before they give more.
const SMALL: Sectors = Sectors(8192);

const ADD: Growth = Growth::AddBitmap(BitmapWish { chunk_bytes: Some(16 << 10) });
const TO_THE_END: Growth = Growth::Size { size: None, assume_clean: false };

fn made(level: Level, version: Version) -> Made {
    let (members, striped) = match level {
        Level::Raid1 => (3, None),
        Level::Raid10 => (4, Some((16, 0x102))),
        Level::Raid4 => (3, Some((16, 0))),
        Level::Raid5 => (3, Some((16, 2))),
        _ => (4, Some((16, 2))),
    };
    Made { level, version, members, striped, size: Some(SMALL), ..Made::default() }
}

/// Fills what there is, durably.
async fn fill(bench: &Bench, device: &Dev, from: u64, to: u64) {
    for start in (from..to).step_by(128) {
        let count = (to - start).min(128);
        bench.write(device, start, (start / 128 % 250) as u8 + 1, count).await.unwrap();
    }
    device.start(Request::flush()).await.unwrap();
}

async fn is_filled(bench: &Bench, device: &Dev, from: u64, to: u64) {
    for start in (from..to).step_by(128) {
        let count = (to - start).min(128);
        bench.reads(device, start, (start / 128 % 250) as u8 + 1, count).await.unwrap();
    }
}

async fn is_sound(array: &Array) {
    array.sync_settled().await;
    assert_eq!(array.sync_state(), SyncState::Idle);
    assert!(array.scrub(Scrub::Check));
    array.sync_settled().await;
    let report = array.scrub_report().unwrap();
    assert!(report.complete && report.mismatched == Sectors::ZERO, "{report:?}");
}

#[test]
fn a_bitmap_comes_and_goes_under_load_and_marks_what_is_written_from_then_on() {
    for version in Version::ALL {
        for level in [Level::Raid1, Level::Raid10, Level::Raid5, Level::Raid6] {
            let bench = Bench::new(1, Made { size: None, ..made(level, version) });
            bench.run(async {
                let array = bench.open().await;
                let device = array.device();
                let end = device.geometry().size.0;
                fill(&bench, &device, 0, end / 2).await;
                let load = {
                    let device = device.clone();
                    let bytes = bench.bytes(9, 8);
                    spawn(async move {
                        for at in 0..200 {
                            device
                                .start(Request::write(Sectors(end - 8 * (1 + at % 50)), bytes.clone()))
                                .await
                                .unwrap();
                        }
                    })
                };
                array.grow(ADD).await.unwrap();
                assert_eq!(array.grow(ADD).await, Err(GrowError::HasBitmap));
                bench.write(&device, 64, 7, 8).await.unwrap();
                let bitmap = array.bitmap().unwrap();
                assert!(
                    bitmap.chunk == Sectors(32) && bitmap.marked > 0 && bitmap.marked < bitmap.chunks / 2
                );
                load.join().await;
                is_filled(&bench, &device, 128, end / 2).await;
                for candidate in bench.candidates().await {
                    let bits = candidate.examined.bitmap.expect("every member has it");
                    assert!(bits.bytes[256..].iter().any(|byte| *byte != 0));
                }
                array.stop().await.unwrap();
            });
            bench.run(async {
                let array = bench.open().await;
                let device = array.device();
                assert_eq!(array.bitmap().unwrap().marked, 0, "a clean stop clears");
                is_sound(&array).await;
                array.grow(Growth::RemoveBitmap).await.unwrap();
                assert_eq!(array.grow(Growth::RemoveBitmap).await, Err(GrowError::NoBitmap));
                bench.write(&device, 64, 8, 8).await.unwrap();
                assert!(array.bitmap().is_none());
                array.stop().await.unwrap();
                assert!(bench.summary(0).await.bitmap.is_none());
            });
        }
    }
}

#[test]
fn who_has_missed_writes_before_there_was_a_bitmap_is_no_former_member() {
    let bench = Bench::new(1, Made { size: None, ..made(Level::Raid1, Version::V1_2) });
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        for (member, comes_back) in [(2, false), (1, true)] {
            array.fail_member(member).await.unwrap();
            array.remove_member(member).await.unwrap();
            bench.write(&device, 64, member as u8, 8).await.unwrap();
            if !comes_back {
                array.grow(ADD).await.unwrap();
            }
        }
        for (disk, slot) in [(1, Some(1)), (2, None)] {
            let dev = bench.disk(disk) as Dev;
            let examined = examine(&dev, &bench.arena).await.ok();
            let newcomer = Newcomer { name: disk.to_string(), dev, examined };
            let (_, admission) = array.add_member(newcomer).await.unwrap();
            let former = match admission {
                md::Admission::Former { slot, .. } => Some(slot),
                md::Admission::Spare { .. } => None,
            };
            assert_eq!(former, slot, "disk {disk}");
            array.sync_settled().await;
        }
        is_sound(&array).await;
        array.stop().await.unwrap();
    });
}

#[test]
fn a_member_that_comes_back_by_a_bitmap_which_is_taken_away_meanwhile_gets_everything() {
    let bench = Bench::new(1, Made { size: None, bitmap: Some(4096), ..made(Level::Raid1, Version::V1_2) });
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        array.fail_member(2).await.unwrap();
        array.remove_member(2).await.unwrap();
        fill(&bench, &device, 0, device.geometry().size.0).await;
        array.freeze(true).await;
        let dev = bench.disk(2) as Dev;
        let examined = examine(&dev, &bench.arena).await.ok();
        array.add_member(Newcomer { name: "2".to_owned(), dev, examined }).await.unwrap();
        array.grow(Growth::RemoveBitmap).await.unwrap();
        array.grow(ADD).await.unwrap();
        array.freeze(false).await;
        is_sound(&array).await;
        assert_eq!(array.in_sync(), 3);
        array.stop().await.unwrap();
    });
}

#[test]
fn members_give_more_and_what_is_new_is_synced() {
    for version in Version::ALL {
        for level in [Level::Raid1, Level::Raid10, Level::Raid4, Level::Raid5, Level::Raid6] {
            for bitmap in [None, Some(4096), Some(64 << 10)] {
                let bench = Bench::new(1, Made { bitmap, ..made(level, version) });
                // What is new differs.
                for number in 0..bench.devs().len() {
                    let at = bench.run(async { bench.summary(number).await.data_offset }) + SMALL.0 + 100;
                    bench.disk(number).poke(Sectors(at), &[number as u8 + 1; 4096]);
                }
                bench.run(async {
                    let array = bench.open().await;
                    let device = array.device();
                    let before = device.geometry().size;
                    fill(&bench, &device, 0, before.0).await;
                    array.grow(TO_THE_END).await.unwrap();
                    let after = device.geometry().size;
                    assert!(after > before, "{level} {version}: {before} and then {after}");
                    assert!(matches!(
                        array.sync_state(),
                        SyncState::Running(Action::Resync, _) | SyncState::Pending(_)
                    ));
                    bench.write(&device, after.0 - 64, 5, 64).await.unwrap();
                    is_filled(&bench, &device, 0, before.0).await;
                    is_sound(&array).await;
                    assert_eq!(array.grow(TO_THE_END).await, Err(GrowError::Unchanged));
                    array.stop().await.unwrap();
                });
                bench.run(async {
                    let array = bench.open().await;
                    let device = array.device();
                    is_filled(&bench, &device, 0, SMALL.0).await;
                    bench.reads(&device, device.geometry().size.0 - 64, 5, 64).await.unwrap();
                    is_sound(&array).await;
                    array.stop().await.unwrap();
                });
            }
        }
    }
}

#[test]
fn superblocks_behind_the_data_move_to_the_ends_of_devices_that_have_grown() {
    for version in Version::ALL {
        let bench = Bench::new(1, Made { size: None, ..made(Level::Raid1, version) });
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            let before = device.geometry().size;
            fill(&bench, &device, 0, before.0).await;
            bench.disk(0).grow(Sectors(2 * SIZE.0));
            bench.disk(1).grow(Sectors(2 * SIZE.0));
            let room = Growth::Size { size: Some(Sectors(SIZE.0 + 4096)), assume_clean: false };
            let refused = array.grow(room).await;
            assert!(matches!(refused, Err(GrowError::NoRoom { .. })), "{version}: {refused:?}");
            bench.disk(2).grow(Sectors(3 * SIZE.0));
            array.grow(room).await.unwrap();
            array.sync_settled().await;
            array.grow(TO_THE_END).await.unwrap();
            assert!(device.geometry().size.0 > 2 * SIZE.0 - 4096);
            fill(&bench, &device, 0, device.geometry().size.0).await;
            is_sound(&array).await;
            array.stop().await.unwrap();
        });
        bench.run(async {
            let (set, _) = bench.set().await;
            assert!(set.slots.iter().all(Option::is_some), "{version}");
            let array = bench.open().await;
            let device = array.device();
            is_filled(&bench, &device, 0, device.geometry().size.0).await;
            is_sound(&array).await;
        });
    }
}

#[test]
fn a_bitmap_beside_a_superblock_that_would_have_to_move_is_in_the_way() {
    for version in [Version::V0_90, Version::V1_0] {
        let bench = Bench::new(1, Made { bitmap: Some(4096), size: None, ..made(Level::Raid1, version) });
        bench.run(async {
            let array = bench.open().await;
            (0..3).for_each(|number| bench.disk(number).grow(Sectors(2 * SIZE.0)));
            let refused = array.grow(TO_THE_END).await;
            assert!(matches!(refused, Err(GrowError::BitmapInTheWay { .. })), "{version}: {refused:?}");
            array.grow(Growth::RemoveBitmap).await.unwrap();
            array.grow(TO_THE_END).await.unwrap();
            array.grow(ADD).await.unwrap();
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn a_bit_stands_for_more_where_there_is_no_room_for_more_bits() {
    let mut made =
        Made { bitmap: Some(4096), size: Some(Sectors(1024)), ..made(Level::Raid1, Version::V1_2) };
    made.members = 2;
    let bench = Bench::new(1, made);
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 3, 8).await.unwrap();
        bench.write(&device, 512, 3, 8).await.unwrap();
        array.grow(TO_THE_END).await.unwrap();
        let bitmap = array.bitmap().unwrap();
        assert!(bitmap.chunk > Sectors(8), "as the kernel: no more than the sector it had");
        assert!(bitmap.chunks.div_ceil(8) + 256 <= 512);
        is_sound(&array).await;
        array.stop().await.unwrap();
        let bits = bench.candidates().await.remove(1).examined.bitmap.unwrap();
        assert!(bits.bytes[256..512].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn clean_space_is_taken_at_a_word_and_not_synced() {
    let bench = Bench::new(1, made(Level::Raid5, Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        array.grow(Growth::Size { size: None, assume_clean: true }).await.unwrap();
        assert_eq!(array.sync_state(), SyncState::Idle);
        is_sound(&array).await;
    });
}

/// Where as many members are missing as there are parities the others say what all of it is: there is nothing to sync, and
/// nothing to doubt.
#[test]
fn without_the_members_that_can_be_missing_what_is_new_is_whatever_the_others_say() {
    for (level, gone, bitmap) in [
        (Level::Raid4, vec![1], None),
        (Level::Raid5, vec![1], Some(4096)),
        (Level::Raid5, vec![0], None),
        (Level::Raid6, vec![1, 2], Some(4096)),
    ] {
        let bench = Bench::new(1, Made { bitmap, ..made(level, Version::V1_2) });
        for number in 0..bench.devs().len() {
            let at = bench.run(async { bench.summary(number).await.data_offset }) + SMALL.0 + 100;
            bench.disk(number).poke(Sectors(at), &[number as u8 + 1; 4096]);
        }
        let last = bench.devs().len();
        gone.iter().for_each(|_| drop(bench.world.add_disk(SIZE, 512)));
        bench.run(async {
            let array = bench.open_members(last).await;
            let device = array.device();
            let before = device.geometry().size;
            fill(&bench, &device, 0, before.0).await;
            for at in &gone {
                array.fail_member(*at).await.unwrap();
            }
            array.grow(TO_THE_END).await.unwrap();
            let after = device.geometry().size;
            assert!(after > before && array.doubtful(1).is_empty(), "{level}");
            // What nobody has written is always the same, also after the rebuild.
            let look = async || {
                let mut found = Vec::new();
                for start in (before.0..before.0 + 1024).step_by(64) {
                    let buf = bench.arena.take(64 * 512).unwrap();
                    device.start(Request::read(Sectors(start), buf.clone())).await.unwrap();
                    let mut bytes = vec![0; buf.len()];
                    buf.copy_to_slice(0, &mut bytes);
                    found.push(bytes);
                }
                found
            };
            let found = look().await;
            bench.write(&device, after.0 - 64, 5, 64).await.unwrap();
            for (number, at) in gone.iter().enumerate() {
                array.remove_member(*at).await.unwrap();
                let (name, dev) = ((last + number).to_string(), bench.disk(last + number) as Dev);
                array.add_member(Newcomer { name, dev, examined: None }).await.unwrap();
            }
            is_sound(&array).await;
            assert_eq!(array.in_sync(), array.shape().slots, "{level}");
            assert!(array.members().iter().all(|member| member.bad_blocks == 0), "{level}");
            assert!(look().await == found, "{level}");
            bench.reads(&device, after.0 - 64, 5, 64).await.unwrap();
            is_filled(&bench, &device, 0, before.0).await;
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let small = Growth::Size { size: Some(Sectors(64)), assume_clean: false };
    let bench = Bench::new(1, made(Level::Raid5, Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        assert!(matches!(array.grow(small).await, Err(GrowError::Shrinks { .. })));
        assert_eq!(array.grow(Growth::Copies(2)).await, Err(GrowError::MovesData(Level::Raid5)));
    });
    let bench = Bench::new(1, made(Level::Raid6, Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        array.fail_member(1).await.unwrap();
        assert_eq!(array.grow(TO_THE_END).await, Err(GrowError::Degraded(1)));
    });
    let far = Made { striped: Some((16, 0x201)), ..made(Level::Raid10, Version::V1_2) };
    let bench = Bench::new(1, far);
    bench.run(async {
        assert_eq!(bench.open().await.grow(TO_THE_END).await, Err(GrowError::FarCopies));
    });
    let log = Made { ppl: true, ..made(Level::Raid5, Version::V1_2) };
    let bench = Bench::new(1, log);
    bench.run(async {
        let array = bench.open().await;
        assert_eq!(array.grow(TO_THE_END).await, Err(GrowError::HasLog));
        assert_eq!(array.grow(ADD).await, Err(GrowError::HasLog));
    });
    let bench = Bench::new(1, Made { members: 2, ..Made { level: Level::Raid0, ..Made::default() } });
    bench.run(async {
        assert_eq!(bench.open().await.grow(ADD).await, Err(GrowError::NoRedundancy));
    });
}

/// mdadm's 02r1add: a copy more, taken up by a spare; one that fails; and a copy less.
#[test]
fn a_mirror_gets_a_copy_more_and_a_copy_less() {
    for version in Version::ALL {
        let bench = Bench::new(1, Made { members: 3, ..Made { version, ..Made::default() } });
        bench.world.add_disk(SIZE, 512);
        bench.run(async {
            let array = bench.open_members(3).await;
            let device = array.device();
            let end = device.geometry().size.0;
            fill(&bench, &device, 0, end).await;
            assert_eq!(array.grow(Growth::Copies(2)).await, Err(GrowError::InUse(3)));
            assert!(matches!(array.grow(Growth::Copies(17)).await, Err(GrowError::Copies { .. })));
            array.grow(Growth::Copies(4)).await.unwrap();
            assert_eq!((array.shape().slots, array.in_sync()), (4, 3));
            let dev = bench.disk(3) as Dev;
            array.add_member(Newcomer { name: "3".to_owned(), dev, examined: None }).await.unwrap();
            is_sound(&array).await;
            assert_eq!(array.in_sync(), 4);
            array.fail_member(0).await.unwrap();
            array.grow(Growth::Copies(3)).await.unwrap();
            assert_eq!((array.shape().slots, array.in_sync()), (3, 3));
            let slots: Vec<_> =
                array.members().iter().map(|member| (member.condition, member.slot)).collect();
            assert_eq!(slots[0], (Condition::Faulty, None), "{version}");
            assert_eq!(
                slots[1..].iter().map(|(_, slot)| *slot).collect::<Vec<_>>(),
                [Some(0), Some(1), Some(2)]
            );
            bench.write(&device, 0, 77, 128).await.unwrap();
            is_filled(&bench, &device, 128, end).await;
            is_sound(&array).await;
            array.stop().await.unwrap();
        });
        bench.run(async {
            let (set, _) = bench.set().await;
            assert!(set.slots.len() == 3 && set.slots.iter().all(Option::is_some), "{version}");
            let array = bench.open().await;
            assert_eq!(array.in_sync(), 3, "{version}");
            is_sound(&array).await;
        });
    }
}

/// The array as it was, or as it is to be: never anything else, and always with what was written to it.
#[test]
fn the_power_may_go_at_any_event_of_a_change() {
    let changes = [
        (ADD, None, Level::Raid1),
        (ADD, None, Level::Raid5),
        (Growth::RemoveBitmap, Some(4096), Level::Raid1),
        (TO_THE_END, None, Level::Raid1),
        (TO_THE_END, Some(4096), Level::Raid5),
        (Growth::Copies(4), None, Level::Raid1),
        (Growth::Copies(2), Some(4096), Level::Raid1),
    ];
    for (change, bitmap, level) in changes {
        for version in Version::ALL {
            let mut is_done = false;
            for events in 0.. {
                if is_done {
                    break;
                }
                is_done = cut(change, bitmap, level, version, events);
            }
        }
    }
}

/// Cuts the power so many events after a change has begun. Whether it had ended.
fn cut(change: Growth, bitmap: Option<u32>, level: Level, version: Version, events: u64) -> bool {
    // Small, so that everything can be compared each time.
    let size = Some(Sectors(1024));
    let bench = Bench::new(events, Made { bitmap, size, ..made(level, version) });
    let runtime = Runtime::new(bench.world.clone());
    let world = bench.world.clone();
    let end = std::cell::Cell::new(0);
    let begun = std::cell::Cell::new(u64::MAX);
    let ended = runtime.run_until(
        async {
            let array = bench.open().await;
            let device = array.device();
            end.set(device.geometry().size.0);
            fill(&bench, &device, 0, end.get()).await;
            if change == Growth::Copies(2) {
                array.fail_member(0).await.unwrap();
            }
            begun.set(world.events_done());
            array.grow(change).await.unwrap();
        },
        |_| world.events_done() < begun.get().saturating_add(events),
    );
    drop(runtime);
    bench.world.power_cut();
    let what = format!("{change:?} of a {level} on {version}, cut after {events} events");
    bench.run(async {
        let (set, candidates) = bench.set().await;
        assert!(set.unreadable.is_empty(), "{what}: {:?}", set.unreadable);
        assert!(assemble(&candidates).len() == 1, "{what}");
        let array = bench.open().await;
        let device = array.device();
        is_filled(&bench, &device, 0, end.get()).await;
        let had = bench.summary(set.freshest).await;
        match change {
            Growth::AddBitmap(_) => {
                assert!(ended.is_none() || array.bitmap().is_some(), "{what}");
            }
            Growth::RemoveBitmap => assert!(ended.is_none() || array.bitmap().is_none(), "{what}"),
            Growth::Copies(copies) => assert!(ended.is_none() || array.shape().slots == copies, "{what}"),
            Growth::Size { .. } => {
                assert!(ended.is_none() || had.size_sectors > 1024, "{what}");
                let is_new = had.size_sectors > 1024;
                assert!(
                    !is_new || had.resync != ResyncOffset::Complete,
                    "{what}: what is new counts as synced"
                );
            }
            Growth::JournalMode(_) | Growth::RemoveJournal => unreachable!("see grow_journal.rs"),
            Growth::AddPpl | Growth::RemovePpl => unreachable!("see grow_ppl.rs"),
        }
        array.sync_settled().await;
        is_filled(&bench, &device, 0, end.get()).await;
        if array.in_sync() == array.shape().slots {
            is_sound(&array).await;
        }
        sleep_ms(1).await;
        array.stop().await.unwrap();
    });
    ended.is_some()
}
