//! The rules that an open array keeps, each in a simulated world where exactly one thing goes wrong.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use block::{Arena, Buf, Cause, Failed, Op, Origin, Range, Request, Sectors};
use common::{Bench, Made, SIZE};
use md::array::Happening;
use md::{Action, Array, Condition, Hindrance, Options, Pools, SyncState, assemble};
use md_format::superblock::{Entry, Superblock, seal, sync};
use md_format::{Level, Place, ResyncOffset, Role, Version};
use runtime::sim::{Fate, World};
use runtime::{Phase, Seen, now, set_probe, sleep_ms, sleep_until};

/// The role that a member's superblock, as a power cut would leave it, gives to a device.
fn durable_role(bench: &Bench, member: usize, of: u32) -> Role {
    let place = Place::of(Version::V1_2, SIZE.0).unwrap();
    let range = block::Range::new(Sectors(place.sector), Sectors(8));
    let bytes = bench.disk(member).peek_durable(range);
    Superblock::view(place, &bytes).unwrap().role_of(of)
}

#[test]
fn a_bad_sector_is_repaired_from_the_other_copy_and_counted() {
    let bench = Bench::new(1, Made::default());
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 64).await.unwrap();
        let at = array.members()[0].data_offset.0 + 10;
        bench.disk(0).set_faults(|faults| faults.bad_sectors.extend([at]));
        bench.reads(&device, 0, 7, 64).await.unwrap();
        let happened = array.take_happenings();
        assert!(
            happened.contains(&Happening::ReadRepaired { name: "0".to_owned(), sector: 0 }),
            "{happened:?}"
        );
        assert_eq!(array.members()[0].corrected_reads, 1);
        assert_eq!(array.in_sync(), 2);
        array.fail_member(1).await.unwrap();
        bench.reads(&device, 0, 7, 64).await.unwrap();
        array.stop().await.unwrap();
        assert_eq!(bench.summary(0).await.corrected_reads, 1, "it is on record");
    });
}

#[test]
fn repairs_leave_memory_for_the_superblock_that_they_wait_for() {
    // The moment counts: all of them have their memory while superblocks are written that say clean.
    for turn in 0..150 {
        let bench = Bench::new(1, Made::default());
        bench.run(async {
            let pools = Pools { slots: 8, ..Pools::LEAST };
            let options = Options { pools, safe_mode_delay_ms: 1, ..Options::default() };
            let array = bench.open_with(options).await.unwrap();
            let device = array.device();
            let data = array.members()[0].data_offset.0;
            bench.disk(0).set_faults(|faults| {
                faults.bad_sectors = (0..8).map(|at| data + 2048 * at).collect();
            });
            bench.write(&device, 18_000, 7, 1).await.unwrap();
            sleep_until(now().after_ns(20_000 * turn)).await;
            let read = |at: u64| Request::read(Sectors(2048 * at), bench.arena.take(1 << 20).unwrap());
            let reads: Vec<_> = (0..8).map(|at| device.start(read(at))).collect();
            for read in reads {
                read.await.unwrap();
            }
        });
    }
}

#[test]
fn a_member_with_more_than_twenty_read_errors_is_failed() {
    let bench = Bench::new(2, Made::default());
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 256).await.unwrap();
        let data = array.members()[0].data_offset.0;
        bench
            .disk(0)
            .set_faults(|faults| faults.bad_sectors = (0..21).map(|error| data + 8 * error).collect());
        for error in 0..21 {
            assert_eq!(array.in_sync(), 2, "after {error} errors");
            // A long way round, so that no read goes on where another ended.
            bench.reads(&device, 8 * error, 7, 1).await.unwrap();
        }
        assert_eq!(array.members()[0].condition, Condition::Faulty);
        assert_eq!(durable_role(&bench, 1, 0), Role::Faulty);
    });
}

#[test]
fn how_many_read_errors_a_member_may_have_is_adjusted_and_half_of_them_are_forgotten_every_hour() {
    for (hours, most, fails) in [(0, 3, true), (1, 3, false), (0, 4, false), (9, 0, true)] {
        let bench = Bench::new(2, Made::default());
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            array.set_max_read_errors(most);
            bench.write(&device, 0, 7, 256).await.unwrap();
            let data = array.members()[0].data_offset.0;
            let bad = (0..4).map(|error| data + 8 * error);
            bench.disk(0).set_faults(|faults| faults.bad_sectors = bad.collect());
            for error in 0..4 {
                if error == 3 {
                    runtime::sleep_ms(hours * 3_600_000).await;
                }
                bench.reads(&device, 8 * error, 7, 1).await.unwrap();
            }
            let has_failed = array.members()[0].condition == Condition::Faulty;
            assert_eq!(has_failed, fails, "{hours} hours, {most} errors");
        });
    }
}

#[test]
fn the_last_copy_is_never_failed() {
    let bench = Bench::new(3, Made::default());
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 8).await.unwrap();
        array.fail_member(0).await.unwrap();
        assert_eq!(array.fail_member(1).await, Err(md::MembershipError::LastCopy));
        let at = array.members()[1].data_offset.0;
        bench.disk(1).set_faults(|faults| {
            faults.bad_sectors.extend([at]);
            faults.bad_for_good = true;
        });
        assert!(bench.write(&device, 0, 8, 8).await.is_err());
        assert!(bench.reads(&device, 0, 7, 8).await.is_err());
        assert_eq!(array.members()[1].condition, Condition::InSync);
    });
}

#[test]
fn a_failed_flush_fails_the_member_and_that_is_on_record_before_the_answer() {
    let bench = Bench::new(4, Made::default());
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 64).await.unwrap();
        bench.disk(1).set_faults(|faults| faults.flush_error_one_in = 1);
        device.start(Request::flush()).await.unwrap();
        assert_eq!(durable_role(&bench, 0, 1), Role::Faulty);
        assert_eq!(array.members()[1].condition, Condition::Faulty);
        assert!(bench.holds_durably(&array, 0, 0, 7, 64));
    });
}

#[test]
fn a_failed_flush_of_the_last_copy_is_never_retried_into_success() {
    for level in [Level::Raid1, Level::Raid0, Level::Linear] {
        let bench = Bench::new(5, Made { level, ..Made::default() });
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            if level == Level::Raid1 {
                array.fail_member(1).await.unwrap();
            }
            bench.write(&device, 0, 7, 64).await.unwrap();
            bench.disk(0).set_faults(|faults| faults.flush_error_one_in = 1);
            assert!(device.start(Request::flush()).await.is_err(), "{level}");
            bench.disk(0).set_faults(|faults| faults.flush_error_one_in = 0);
            assert!(device.start(Request::flush()).await.is_err(), "{level}: what it lost is lost");
            assert!(bench.write(&device, 0, 8, 64).await.is_err(), "{level}");
            assert!(array.broken().is_some() && array.stop().await.is_err(), "{level}");
        });
    }
}

#[test]
fn a_failed_write_fails_the_member_and_that_is_on_record_before_the_answer() {
    let bench = Bench::new(6, Made { members: 3, ..Made::default() });
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.disk(2).set_fate(Fate::Dead);
        bench.write(&device, 0, 7, 64).await.unwrap();
        assert_eq!((durable_role(&bench, 0, 2), durable_role(&bench, 1, 2)), (Role::Faulty, Role::Faulty));
        bench.disk(2).set_fate(Fate::Alive);
        array.stop().await.unwrap();
        let (set, _) = bench.set().await;
        assert_eq!((set.left_out.len(), set.left_out[0].candidate), (1, 2), "it stays out");
    });
}

#[test]
fn stopping_makes_durable_what_nobody_flushed_at_every_level() {
    for level in [Level::Raid1, Level::Raid0, Level::Linear] {
        let bench = Bench::new(7, Made { level, ..Made::default() });
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            let last = array.shape().size.0 - 16;
            bench.write(&device, 0, 7, 16).await.unwrap();
            bench.write(&device, last, 9, 16).await.unwrap();
            array.stop().await.unwrap();
            assert!(bench.holds_durably(&array, 0, 0, 7, 16), "{level}");
            let (member, at) = match level {
                Level::Raid1 => (1, last),
                Level::Raid0 => (1, last / 2 / 16 * 16),
                _ => (1, last - (last + 16) / 2),
            };
            assert!(bench.holds_durably(&array, member, at, 9, 16), "{level}");
        });
    }
}

#[test]
fn an_array_that_is_left_alone_becomes_clean_and_the_next_write_marks_it_dirty_first() {
    let bench = Bench::new(8, Made::default());
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 8).await.unwrap();
        assert!(array.is_dirty() && !bench.summary(0).await.is_clean());
        sleep_ms(1000).await;
        assert!(!array.is_dirty() && bench.summary(0).await.is_clean() && bench.summary(1).await.is_clean());
        assert!(bench.holds_durably(&array, 1, 0, 7, 8), "clean only after a flush");
        bench.write(&device, 0, 8, 8).await.unwrap();
        assert!(!bench.summary(0).await.is_clean());
    });
}

#[test]
fn a_write_mostly_member_is_read_only_when_no_other_can_answer() {
    let bench = Bench::new(9, Made { write_mostly: vec![true, false], ..Made::default() });
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 256).await.unwrap();
        let before = bench.disk(0).reads();
        for at in 0..64 {
            bench.reads(&device, 4 * at, 7, 4).await.unwrap();
        }
        assert_eq!(bench.disk(0).reads(), before);
        bench.disk(1).set_fate(Fate::Dead);
        bench.reads(&device, 0, 7, 4).await.unwrap();
        assert_eq!(bench.disk(0).reads(), before + 1);
    });
}

#[test]
fn a_resync_goes_on_from_where_a_stop_has_recorded_it() {
    let bench = Bench::new(10, Made { assume_clean: false, ..Made::default() });
    (0..2).for_each(|disk| bench.disk(disk).set_latency_ns(100_000_000, 100_000_001));
    let reached = bench.run(async {
        let array = bench.open().await;
        while !matches!(array.sync_state(), SyncState::Running(_, progress) if progress.done > Sectors(2048))
        {
            sleep_ms(10).await;
        }
        array.stop().await.unwrap();
        match bench.summary(0).await.resync {
            ResyncOffset::At(reached) => reached,
            ResyncOffset::Complete => panic!("stopped in the middle and called complete"),
        }
    });
    assert!(reached > 2048);
    bench.run(async {
        let array = bench.open().await;
        sleep_ms(60_000).await;
        let happened = array.take_happenings();
        let action = Action::Resync;
        assert_eq!(
            happened,
            [Happening::SyncStarted { action, from: reached }, Happening::SyncComplete { action }]
        );
        array.stop().await.unwrap();
        assert!(bench.summary(1).await.is_clean());
    });
}

/// The first of the two old bugs: a number that equals the end is no end (S4).
#[test]
fn a_recorded_position_that_equals_the_end_is_synced_from_the_start() {
    let bench = Bench::new(11, Made { assume_clean: false, ..Made::default() });
    bench.run(async {
        for (number, candidate) in bench.candidates().await.into_iter().enumerate() {
            let summary = candidate.examined.summary;
            let mut bytes = candidate.examined.bytes.clone();
            let entry = |slot: u16| {
                let (role, device) = (Role::Active(slot), (0, 0));
                Entry { dev_number: slot.into(), role, in_sync: true, flags: summary.flags, device }
            };
            let entries = [entry(0), entry(1)];
            let mut update = summary.array_update(&entries);
            (update.clean, update.resync) = (true, ResyncOffset::At(summary.size_sectors));
            sync(&mut bytes[..], &update, &summary.member_update()).unwrap();
            bench.disk(number).poke(Sectors(candidate.examined.place.sector), &bytes[..]);
        }
        bench.disk(1).poke(Sectors(bench.summary(1).await.data_offset), &[5; 4096]);
        let array = bench.open().await;
        sleep_ms(60_000).await;
        let happened = array.take_happenings();
        let action = Action::Resync;
        assert_eq!(
            happened,
            [Happening::SyncStarted { action, from: 0 }, Happening::SyncComplete { action }]
        );
        assert!(bench.holds_durably(&array, 1, 0, 0, 8), "the copies are equal");
    });
}

#[test]
fn a_member_that_does_not_answer_in_time_is_failed_and_comes_back_as_stale() {
    let bench = Bench::new(12, Made::default());
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.disk(1).set_fate(Fate::Hung);
        let start = runtime::now();
        bench.write(&device, 0, 7, 64).await.unwrap();
        assert!(runtime::now().since(start) >= 60_000_000_000);
        let status = &array.members()[1];
        assert_eq!(status.condition, Condition::Faulty);
        assert_eq!(status.failure.map(|failed| failed.cause), Some(Cause::Timeout));
        assert_eq!(durable_role(&bench, 0, 1), Role::Faulty);
        array.stop().await.unwrap();
        bench.disk(1).set_fate(Fate::Alive);
        sleep_ms(1000).await;
        assert_eq!(bench.set().await.0.left_out.len(), 1);
    });
}

#[test]
fn reading_an_array_that_is_open_for_reading_writes_nothing_and_starts_no_resync() {
    let bench = Bench::new(13, Made { assume_clean: false, ..Made::default() });
    bench.run(async {
        let (set, candidates) = bench.set().await;
        let before: Vec<u64> = bench.world.disks().iter().map(|disk| disk.writes()).collect();
        let overlays: Vec<_> =
            bench.devs().into_iter().map(|dev| runtime::Overlay::device(dev, Sectors(4096))).collect();
        let array = md::Array::open(&set, &candidates, &overlays, md::Options::default()).unwrap();
        let device = array.device();
        bench.reads(&device, 0, 0, 64).await.unwrap();
        assert_eq!(array.sync_state(), SyncState::Pending(Action::Resync));
        array.stop().await.unwrap();
        let after: Vec<u64> = bench.world.disks().iter().map(|disk| disk.writes()).collect();
        assert_eq!(before, after);
    });
}

/// What a disk says may leave no room for what is to be written: found out before anything is, not at the first write.
#[test]
fn superblocks_that_cannot_take_the_array_state_are_refused_for_writing_and_can_be_read() {
    for (at, hostile) in [(160, u64::from(u32::MAX - 7)), (200, u64::MAX)] {
        let bench = Bench::new(14, Made::default());
        bench.run(async {
            // The device number of one member, or the event counter of both.
            let pokes = if at == 160 { 1..2 } else { 0..2 };
            for number in pokes {
                let mut bytes = bench.candidates().await[number].examined.bytes.clone();
                let width = if at == 160 { 4 } else { 8 };
                bytes[at..at + width].copy_from_slice(&hostile.to_le_bytes()[..width]);
                md_format::superblock::seal(&mut bytes[..]).unwrap();
                bench.disk(number).poke(Sectors(8), &bytes[..]);
            }
            let (set, candidates) = bench.set().await;
            let options = md::Options { write: true, degraded: true, ..md::Options::default() };
            let refused = md::Array::open(&set, &candidates, &bench.devs(), options).err().expect("refused");
            assert!(matches!(refused, md::OpenError::Hindered(_)), "{refused}");
            let to_read = md::Options { degraded: true, ..md::Options::default() };
            let array = md::Array::open(&set, &candidates, &bench.devs(), to_read).unwrap();
            bench.reads(&array.device(), 0, 0, 64).await.unwrap();
        });
    }
}

/// Opens only the copy on `disk`, writes `byte`, and stops.
async fn use_alone(bench: &Bench, disk: usize, byte: u8) {
    let candidates = vec![bench.candidates().await.swap_remove(disk)];
    let devs = vec![bench.devs().swap_remove(disk)];
    let set = assemble(&candidates).remove(0);
    let options = Options { write: true, degraded: true, ..Options::default() };
    let array = Array::open(&set, &candidates, &devs, options).unwrap();
    bench.write(&array.device(), 0, byte, 64).await.unwrap();
    array.stop().await.unwrap();
}

#[test]
fn two_halves_that_were_used_apart_are_never_put_together() {
    for version in Version::ALL {
        let bench = Bench::new(20, Made { version, ..Made::default() });
        bench.run(async {
            use_alone(&bench, 0, 1).await;
            use_alone(&bench, 1, 2).await;
            let (set, _) = bench.set().await;
            let in_sync = set.slots.iter().flatten().filter(|seat| seat.in_sync).count();
            assert!(in_sync < 2, "{version}: both halves are called in sync");
            let refused = set.unreadable.iter().any(|found| matches!(found, Hindrance::Diverged { .. }));
            assert!(refused, "{version}: {:?}", set.unreadable);
        });
    }
}

#[test]
fn a_half_that_was_left_alone_for_longer_is_left_out() {
    for version in Version::ALL {
        let bench = Bench::new(21, Made { version, ..Made::default() });
        bench.run(async {
            use_alone(&bench, 0, 1).await;
            let (set, _) = bench.set().await;
            assert!(set.unreadable.is_empty(), "{version}: {:?}", set.unreadable);
            let seated: Vec<usize> = set.slots.iter().flatten().map(|seat| seat.candidate).collect();
            assert_eq!(seated, [0], "{version}");
        });
    }
}

#[test]
fn an_array_that_is_only_read_repairs_nothing_and_loses_no_member_to_an_error() {
    let bench = Bench::new(22, Made::default());
    bench.run(async {
        let array = bench.open().await;
        bench.write(&array.device(), 0, 7, 128).await.unwrap();
        array.stop().await.unwrap();
        let data = array.members()[0].data_offset.0;
        // Neither copy is whole: together they are.
        bench.disk(0).set_faults(|faults| faults.bad_sectors.extend([data + 3]));
        bench.disk(1).set_faults(|faults| faults.bad_sectors.extend([data + 77]));
        let (set, candidates) = bench.set().await;
        let overlays: Vec<_> =
            bench.devs().into_iter().map(|dev| runtime::Overlay::device(dev, Sectors(64))).collect();
        let array = Array::open(&set, &candidates, &overlays, Options::default()).unwrap();
        let device = array.device();
        bench.reads(&device, 0, 7, 64).await.unwrap();
        bench.reads(&device, 64, 7, 64).await.unwrap();
        assert_eq!(array.in_sync(), 2);
    });
}

#[test]
fn a_write_that_timed_out_on_the_last_copy_ends_all_writing() {
    let bench = Bench::new(23, Made::default());
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        array.fail_member(0).await.unwrap();
        bench.write(&device, 0, 7, 8).await.unwrap();
        bench.disk(1).set_fate(Fate::Hung);
        assert!(bench.write(&device, 0, 8, 8).await.is_err());
        bench.disk(1).set_fate(Fate::Alive);
        // The write that timed out may land whenever it likes: nothing newer may be under it.
        assert!(bench.write(&device, 0, 9, 8).await.is_err());
        assert!(device.start(Request::flush()).await.is_err());
    });
}

/// A stop is: quiesce the device, then stop the array. A write that comes in between is held, and nothing is written behind
/// the clean mark.
#[test]
fn what_comes_while_an_array_stops_is_held_and_writes_nothing() {
    for seed in 0..20 {
        let bench = Bench::new(seed, Made::default());
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            let first: Vec<_> = (0..8).map(|n| device.start(zeroes(n))).collect();
            let quiet = device.quiesce();
            let late: Vec<_> = (8..100).map(|n| device.start(zeroes(n))).collect();
            quiet.await.unwrap();
            for ticket in first {
                ticket.await.unwrap();
            }
            array.stop().await.unwrap();
            let writes = || bench.world.disks().iter().map(|disk| disk.writes()).sum::<u64>();
            let before = writes();
            sleep_ms(1000).await;
            assert_eq!(writes(), before, "seed {seed}");
            assert_eq!(bench.summary(0).await.resync, ResyncOffset::Complete, "seed {seed}");
            drop(device);
            for ticket in late {
                assert_eq!(ticket.await, Err(Failed::new(Cause::Gone)), "seed {seed}");
            }
        });
    }
}

fn zeroes(n: u64) -> Request {
    Request::write_zeroes(Range::new(Sectors(n * 8), Sectors(8)))
}

/// What the members are asked to do for a client's request has its number, also a flush and the repair of a read error;
/// superblocks are written for no client.
#[test]
fn what_is_done_for_a_client_has_its_number() {
    let bench = Bench::new(41, Made::default());
    let seen: Rc<RefCell<Vec<(u32, Op, Origin)>>> = Rc::default();
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 64).await.unwrap();
        let at = array.members()[0].data_offset.0 + 10;
        bench.disk(0).set_faults(|faults| faults.bad_sectors.extend([at]));
        let to = seen.clone();
        let probe = move |seen: &Seen<'_>| {
            if seen.height == 0 && seen.phase == Phase::Begun {
                to.borrow_mut().push((seen.trace, seen.op, seen.origin));
            }
        };
        set_probe(Some(Box::new(probe)));
        let buf = Arena::new(1 << 20).take_zeroed(64 * 512).unwrap();
        device.start(Request::read(Sectors(0), buf).for_trace(5)).await.unwrap();
        device.start(Request::flush().for_trace(6)).await.unwrap();
        sleep_ms(1000).await; // the array is marked clean meanwhile
        set_probe(None);
    });
    let seen = seen.take();
    let count = |what| seen.iter().filter(|seen| **seen == what).count();
    assert_eq!(count((5, Op::Read, Origin::Client)), 2, "one copy and the other: {seen:?}");
    assert_eq!(count((5, Op::Write, Origin::Repair)), 1, "{seen:?}");
    assert_eq!(count((6, Op::Flush, Origin::Client)), 2, "{seen:?}");
    assert!(count((0, Op::Write, Origin::Metadata)) >= 2, "{seen:?}");
    assert!(seen.iter().all(|(trace, _, origin)| *trace == 0 || *origin != Origin::Metadata), "{seen:?}");
}

/// Offsets of the low bytes of numbers in a version 1 superblock.
const SIZE_OF_EACH: usize = 80;
const CHUNK: usize = 88;
const DATA_OFFSET: usize = 128;
const DATA_SIZE: usize = 136;

/// A change of a superblock.
type Edit = fn(&mut [u8]);

/// Takes 256 sectors from what a member gives.
fn shorten(sb: &mut [u8]) {
    sb[DATA_SIZE + 1] -= 1;
    sb[SIZE_OF_EACH + 1] = sb[SIZE_OF_EACH + 1].saturating_sub(1);
}

/// Superblocks of disks with blocks of 512 bytes, copied to disks with blocks of 4096 where they do not fit: a member that
/// has to refuse requests would be taken for failed, so such an array is not opened at all.
#[test]
fn an_array_whose_pieces_do_not_fit_its_members_blocks_is_refused_at_opening() {
    let cases: [(Level, Edit, Option<&str>); 4] = [
        (Level::Raid1, |_| (), None),
        (Level::Raid1, |sb| (shorten(sb), sb[DATA_OFFSET] += 1).1, Some("data does not begin")),
        (Level::Raid0, |sb| sb[CHUNK] = 4, Some("the chunk is not")),
        (
            Level::Linear,
            |sb| (shorten(sb), sb[CHUNK] = 0, sb[DATA_SIZE] += 1).2,
            Some("size is not a multiple"),
        ),
    ];
    for (level, change, expected) in cases {
        let made = Bench::new(42, Made { level, ..Made::default() });
        let bench = Bench { world: World::new(42), arena: Arena::new(8 << 20) };
        for from in made.world.disks() {
            let mut image = from.image();
            let sb = &mut image[4096..8192];
            change(sb);
            seal(sb).unwrap();
            bench.world.add_disk(SIZE, 4096).poke(Sectors(0), &image);
        }
        bench.run(async {
            let (set, candidates) = bench.set().await;
            for write in [false, true] {
                let options = Options { write, ..Options::default() };
                let opened = Array::open(&set, &candidates, &bench.devs(), options);
                let said = opened.err().map(|error| error.to_string());
                let fits = match (&said, expected) {
                    (None, None) => true,
                    (Some(said), Some(expected)) => said.contains(expected),
                    _ => false,
                };
                assert!(fits, "{level}: {said:?}, expected {expected:?}");
            }
        });
    }
}

/// Whether `bytes` begin as every superblock does.
fn is_superblock(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xfc, 0x4e, 0x2b, 0xa9])
}

/// Watches every superblock that is written: while it is, another one, whole and durable, lies on a disk that is alive.
fn watch_for_whole_superblocks(bench: &Bench, dead: &Rc<RefCell<BTreeSet<usize>>>) -> Rc<Cell<u32>> {
    type Last = Rc<RefCell<BTreeMap<usize, (Range, Vec<u8>)>>>;
    let (last, seen) = (Last::default(), Rc::new(Cell::new(0)));
    for disk in bench.world.disks() {
        let (last, seen, dead, disks) = (last.clone(), seen.clone(), dead.clone(), bench.world.disks());
        disk.observe(move |write| {
            let mut bytes = vec![0; write.buf.map_or(0, Buf::len)];
            write.buf.inspect(|buf| buf.copy_to_slice(0, &mut bytes));
            if !is_superblock(&bytes) {
                return;
            }
            let is_whole = |number: usize| {
                let last = last.borrow();
                last.get(&number).is_none_or(|(range, bytes)| disks[number].peek_durable(*range) == *bytes)
            };
            let others = (0..disks.len()).filter(|at| *at != write.disk && !dead.borrow().contains(at));
            assert!(others.into_iter().any(is_whole), "a power cut could tear every superblock that is left");
            last.borrow_mut().insert(write.disk, (write.range, bytes));
            seen.set(seen.get() + 1);
        });
    }
    seen
}

/// A 0.90 superblock is longer than a sector, so one is written alone; when that one's member dies, another is.
#[test]
fn a_whole_superblock_is_always_left_also_when_the_member_that_is_written_alone_dies() {
    for seed in 30..50 {
        let bench = Bench::new(seed, Made { version: Version::V0_90, members: 4, ..Made::default() });
        let dead = Rc::new(RefCell::new(BTreeSet::new()));
        let seen = watch_for_whole_superblocks(&bench, &dead);
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            for dies in [0, 1] {
                bench.write(&device, 0, 7, 64).await.unwrap();
                sleep_ms(1000).await;
                assert!(!array.is_dirty(), "the next write begins with a round of superblocks");
                bench.disk(dies).set_fate(Fate::Dead);
                dead.borrow_mut().insert(dies);
                bench.write(&device, 64, 8, 64).await.unwrap();
                assert_eq!(array.members()[dies].condition, Condition::Faulty);
            }
            array.stop().await.unwrap();
            assert!(seen.get() > 12, "only {} superblocks were written", seen.get());
        });
    }
}

/// A power cut in the middle of a round leaves members an event apart. The next round lets those behind catch up before it
/// counts on: another cut then leaves nobody two behind, which would be stale.
#[test]
fn a_member_that_is_an_event_behind_catches_up_before_the_next_event() {
    let bench = Bench::new(43, Made { members: 3, ..Made::default() });
    bench.run(async {
        let place = Place::of(Version::V1_2, SIZE.0).unwrap();
        let array = bench.open().await;
        let before = bench.disk(1).peek(Range::new(Sectors(place.sector), Sectors(8)));
        bench.write(&array.device(), 0, 7, 8).await.unwrap();
        array.stop().await.unwrap();
        let least = bench.summary(0).await.events;
        let mut behind = before;
        let mut bytes = [0; 4096];
        bytes.copy_from_slice(&behind);
        bytes[200..208].copy_from_slice(&(least - 1).to_le_bytes());
        seal(&mut bytes[..]).unwrap();
        behind.copy_from_slice(&bytes);
        bench.disk(1).poke(Sectors(place.sector), &behind);
        let seen: Rc<RefCell<Vec<(usize, u64)>>> = Rc::default();
        for disk in bench.world.disks() {
            let (seen, number) = (seen.clone(), disk.number());
            disk.observe(move |write| {
                let mut bytes = vec![0; write.buf.map_or(0, Buf::len)];
                write.buf.inspect(|buf| buf.copy_to_slice(0, &mut bytes));
                if is_superblock(&bytes) {
                    let events = u64::from_le_bytes(bytes[200..208].try_into().unwrap());
                    seen.borrow_mut().push((number, events));
                }
            });
        }
        let array = bench.open().await;
        assert_eq!(array.in_sync(), 3);
        bench.write(&array.device(), 0, 8, 8).await.unwrap();
        let seen = seen.borrow();
        let caught_up = seen.iter().position(|(number, events)| *number == 1 && *events == least);
        let next = seen.iter().position(|(_, events)| *events > least);
        assert!(caught_up.is_some() && caught_up < next, "{seen:?}");
    });
}
