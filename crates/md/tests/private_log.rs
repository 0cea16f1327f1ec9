//! The rules of the private log of raid6, each in a simulated world. Scenarios with faults of every kind are the
//! simulation's; that the kernel sees nothing of it, and makes it void, is in `ashlar/tests/kernel_private_log.rs`.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use block::{Failed, Range, Request, Sectors};
use common::{Bench, Made};
use md::{Array, Hindrance, OpenError, Options, PrivateLogState, SyncState};
use md_format::{Level, ResyncOffset, Version};
use runtime::sim::Fate;
use runtime::{Runtime, sleep_ms};

/// raid6 of six, left-symmetric: Q 0 1 2 3 P in the first stripe.
const MEMBERS: usize = 6;

/// Sectors of a chunk.
const CHUNK: u64 = 16;

/// Sectors of data in a stripe.
const STRIPE: u64 = 64;

fn logged(version: Version) -> Made {
    Made {
        level: Level::Raid6,
        version,
        members: MEMBERS,
        striped: Some((CHUNK as u32, 2)),
        ..Made::default()
    }
}

fn on() -> Options {
    Options { private_log: Some(true), ..Options::default() }
}

/// Whether each member's log is one that its superblock is bound to; `None` where there is no log.
async fn bound(bench: &Bench) -> Vec<Option<bool>> {
    let candidates = bench.candidates().await;
    let logs = candidates.iter().map(|one| one.examined.private_log.expect("it is a raid6"));
    logs.map(|log| log.binding.map(|binding| binding.names_superblock)).collect()
}

#[test]
fn a_dirty_array_with_a_private_log_needs_no_resync_and_no_feature_bit_says_why() {
    for (version, bitmap) in [(Version::V1_1, None), (Version::V1_2, None), (Version::V1_2, Some(65_536))] {
        let bench = Bench::new(1, Made { bitmap, ..logged(version) });
        let before = bench.run(async { bench.summary(0).await.features });
        bench.run(async {
            let array = bench.open_with(on()).await.unwrap();
            array.replayed().await;
            assert_eq!(array.private_log(), Some(PrivateLogState::Idle));
            let device = array.device();
            bench.write(&device, 0, 1, 3 * STRIPE).await.unwrap();
            bench.write(&device, 5, 2, 20).await.unwrap();
            assert_eq!(array.private_log(), Some(PrivateLogState::Kept));
            assert!(array.is_dirty());
        });
        bench.world.power_cut();
        bench.run(async {
            assert_eq!(bench.summary(0).await.resync, ResyncOffset::At(0), "{version}");
            assert_eq!(bench.summary(0).await.features, before, "{version}");
            assert_eq!(bound(&bench).await, [Some(true); MEMBERS]);
            let array = bench.open().await; // that there is a log is known from the log
            array.replayed().await;
            assert_eq!(array.sync_state(), SyncState::Idle, "{version}");
            sleep_ms(60_000).await;
            assert!(bench.summary(0).await.is_clean(), "{version}");
            assert!(array.bitmap().is_none_or(|bitmap| bitmap.marked == 0));
        });
    }
}

#[test]
fn nothing_is_logged_before_a_first_resync_has_come_by_and_a_crash_then_starts_it_again() {
    let bench = Bench::new(2, Made { assume_clean: false, ..logged(Version::V1_2) });
    bench.run(async {
        let array = bench.open_with(on()).await.unwrap();
        bench.write(&array.device(), 0, 1, 4).await.unwrap();
        assert_eq!(array.private_log(), Some(PrivateLogState::Waiting));
    });
    bench.world.power_cut();
    bench.run(async {
        let array = bench.open().await;
        array.replayed().await;
        assert_ne!(array.sync_state(), SyncState::Idle);
        sleep_ms(60_000).await;
        assert_eq!(array.sync_state(), SyncState::Idle);
        bench.write(&array.device(), 0, 2, 4).await.unwrap();
        assert_eq!(array.private_log(), Some(PrivateLogState::Kept));
    });
    bench.world.power_cut();
    bench.run(async {
        let array = bench.open().await;
        array.replayed().await;
        assert_eq!(array.sync_state(), SyncState::Idle);
    });
}

#[test]
fn there_is_none_unless_it_is_asked_for_and_none_any_more_when_it_is_asked_away() {
    let bench = Bench::new(3, logged(Version::V1_2));
    let headroom = |bench: &Bench| {
        let range = Range::new(Sectors(24), Sectors(2048 - 24));
        (0..MEMBERS).map(|disk| bench.disk(disk).peek(range)).collect::<Vec<_>>()
    };
    let untouched = headroom(&bench);
    bench.run(async {
        let array = bench.open().await;
        bench.write(&array.device(), 0, 1, 20).await.unwrap();
        array.stop().await.unwrap();
        assert_eq!(array.private_log(), None);
        assert!(headroom(&bench) == untouched, "off is never written");
        let array = bench.open_with(on()).await.unwrap();
        bench.write(&array.device(), 0, 2, 20).await.unwrap();
    });
    bench.world.power_cut();
    bench.run(async {
        // It is replayed before it goes.
        let off = Options { private_log: Some(false), ..Options::default() };
        let array = bench.open_with(off).await.unwrap();
        array.replayed().await;
        assert_eq!(
            (array.sync_state(), array.private_log()),
            (SyncState::Idle, Some(PrivateLogState::Ended))
        );
        bench.write(&array.device(), 0, 3, 20).await.unwrap();
        bench.reads(&array.device(), 0, 3, 20).await.unwrap();
    });
    bench.world.power_cut();
    bench.run(async {
        assert_eq!(bound(&bench).await, [None; MEMBERS]);
        let array = bench.open().await;
        array.replayed().await;
        assert_eq!(array.private_log(), None);
        assert_ne!(array.sync_state(), SyncState::Idle, "a dirty raid6 is synced");
    });
}

#[test]
fn it_says_where_it_is_not_available() {
    for version in [Version::V0_90, Version::V1_0] {
        let bench = Bench::new(4, logged(version));
        bench.run(async {
            let opened = bench.open_with(on()).await;
            let Err(OpenError::Hindered(why)) = opened else { panic!("{version}: it was opened") };
            assert!(matches!(why[..], [Hindrance::PrivateLog(_)]), "{version}: {why:?}");
        });
    }
    let bench = Bench::new(5, Made { level: Level::Raid5, ..logged(Version::V1_2) });
    bench.run(async {
        assert!(matches!(bench.open_with(on()).await, Err(OpenError::Hindered(_))));
    });
}

/// Opens the array as somebody who knows of no private log.
async fn open_as_a_stranger(bench: &Bench) -> Rc<Array> {
    let (_, mut candidates) = bench.set().await;
    candidates.iter_mut().for_each(|candidate| candidate.examined.private_log = None);
    let set = md::assemble(&candidates).remove(0);
    let options = Options { write: true, degraded: true, ..Options::default() };
    Array::open(&set, &candidates, &bench.devs(), options).unwrap()
}

#[test]
fn what_a_stranger_has_written_to_meanwhile_is_not_replayed() {
    let bench = Bench::new(6, logged(Version::V1_2));
    bench.run(async {
        let array = bench.open_with(on()).await.unwrap();
        bench.write(&array.device(), 0, 1, STRIPE).await.unwrap();
        bench.write(&array.device(), 0, 2, 16).await.unwrap();
        array.device().start(Request::flush()).await.unwrap();
    });
    bench.world.power_cut();
    bench.run(async {
        let array = open_as_a_stranger(&bench).await;
        bench.write(&array.device(), 0, 3, 16).await.unwrap();
        bench.write(&array.device(), 16, 4, 16).await.unwrap();
        array.device().start(Request::flush()).await.unwrap();
    });
    bench.world.power_cut();
    bench.run(async {
        assert_eq!(bound(&bench).await, [Some(false); MEMBERS]);
        // With a member missing nobody knows what parity says, and nothing is believed.
        let without = bench.open_without(&[1], Options::default()).await;
        let Err(OpenError::Hindered(why)) = without else { panic!("it was opened") };
        assert_eq!(why, [Hindrance::DirtyDegraded]);
        let array = bench.open().await;
        array.replayed().await;
        assert_ne!(array.sync_state(), SyncState::Idle, "everything is synced");
        sleep_ms(60_000).await;
        bench.reads(&array.device(), 0, 3, 16).await.unwrap();
        bench.reads(&array.device(), 16, 4, 16).await.unwrap();
    });
}

#[test]
fn a_member_that_somebody_else_brought_up_to_date_makes_all_of_it_void() {
    let bench = Bench::new(7, logged(Version::V1_2));
    bench.run(async {
        let array = bench.open_with(on()).await.unwrap();
        bench.write(&array.device(), 0, 1, STRIPE).await.unwrap();
    });
    bench.world.power_cut();
    bench.run(async {
        let mut superblock = bench.candidates().await[3].examined.bytes.clone();
        superblock[192] ^= 1; // the time of its last update
        md_format::superblock::seal(&mut superblock[..]).unwrap();
        let buf = bench.arena.take(4096).unwrap();
        buf.copy_from_slice(0, &superblock[..]);
        let (set, candidates) = bench.set().await;
        assert!(!set.has_void_private_log(&candidates), "nobody else has written yet");
        bench.devs()[3].start(Request::write(Sectors(8), buf).with_fua()).await.unwrap();
        let (set, candidates) = bench.set().await;
        assert!(set.has_void_private_log(&candidates));
        let array = bench.open().await;
        array.replayed().await;
        assert_ne!(array.sync_state(), SyncState::Idle);
        assert_eq!(array.private_log(), Some(PrivateLogState::Void));
        array.sync_settled().await;
        bench.write(&array.device(), 0, 1, STRIPE).await.unwrap();
        assert_eq!(array.private_log(), Some(PrivateLogState::Kept), "it begins anew");
    });
}

#[test]
fn reading_alone_makes_parity_right_too_and_writes_nothing_down() {
    let bench = Bench::new(8, logged(Version::V1_2));
    bench.run(async {
        let array = bench.open_with(on()).await.unwrap();
        bench.write(&array.device(), 0, 1, 3 * STRIPE).await.unwrap();
        array.device().start(Request::flush()).await.unwrap();
    });
    bench.world.power_cut();
    bench.run(async {
        let before = bench.summary(0).await.events;
        let (set, candidates) = bench.set().await;
        let array = Array::open(&set, &candidates, &bench.devs(), Options::default()).unwrap();
        bench.reads(&array.device(), 0, 1, 3 * STRIPE).await.unwrap();
        assert_eq!(array.sync_state(), SyncState::Idle);
        array.stop().await.unwrap();
        assert_eq!(bench.summary(0).await.events, before);
    });
}

#[test]
fn what_was_degraded_and_dirty_is_opened_and_gives_back_what_was_answered() {
    let bench = Bench::new(9, logged(Version::V1_2));
    bench.run(async {
        let array = bench.open_with(on()).await.unwrap();
        let device = array.device();
        bench.write(&device, 0, 1, 480).await.unwrap();
        for disk in [1, 4] {
            bench.disk(disk).set_fate(Fate::Dead);
            bench.write(&device, 10, 2, 50).await.unwrap();
        }
        array.device().start(Request::flush()).await.unwrap();
        assert_eq!(array.in_sync(), 4);
    });
    bench.world.power_cut();
    [1, 4].into_iter().for_each(|disk| bench.disk(disk).set_fate(Fate::Alive));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        assert_eq!(array.in_sync(), 4);
        bench.reads(&device, 0, 1, 10).await.unwrap();
        bench.reads(&device, 10, 2, 50).await.unwrap();
        bench.reads(&device, 60, 1, 420).await.unwrap();
        assert_eq!(array.doubtful(10), []);
    });
}

/// What is written when the power fails: where, and how much. Blocks that are neighbours, blocks that are none, a whole
/// stripe, the end of a chunk and the start of the next.
const WRITES: [(u64, u64); 4] = [(3, 10), (8, 30), (0, STRIPE), (20, 25)];

/// The slot of a sector of the first stripe, whose slots are Q 0 1 2 3 P.
fn slot_of(sector: u64) -> usize {
    1 + (sector / CHUNK) as usize
}

/// Writes while the power fails after so many events; then looks at the array without `gone`. True once the write got
/// through.
fn cut_and_look(events: u64, (start, count): (u64, u64), gone: &[usize], cut_again: bool) -> bool {
    let bench = Bench::new(100 + events, logged(Version::V1_2));
    let what = format!("{events} events, {count} sectors at {start}, without {gone:?}");
    let runtime = Runtime::new(bench.world.clone());
    let (world, limit) = (bench.world.clone(), Cell::new(u64::MAX));
    let written = runtime.run_until(
        async {
            let array = bench.open_with(on()).await.unwrap();
            bench.write(&array.device(), 0, 1, 2 * STRIPE).await.unwrap();
            array.stop().await.unwrap();
            // The logs begin anew, and not in the first stripes.
            let array = bench.open().await;
            bench.write(&array.device(), 100 * STRIPE, 1, 4).await.unwrap();
            limit.set(world.events_done() + events);
            bench.write(&array.device(), start, 2, count).await.unwrap();
        },
        |_| world.events_done() < limit.get(),
    );
    drop(runtime);
    bench.world.power_cut();
    if cut_again {
        // The replay is cut off too, a little later each time.
        let limit = bench.world.events_done() + events / 3;
        let runtime = Runtime::new(bench.world.clone());
        runtime.run_until(
            async { bench.open_without(gone, Options::default()).await.unwrap().replayed().await },
            |_| world.events_done() < limit,
        );
        drop(runtime);
        bench.world.power_cut();
    }
    bench.run(async {
        let array = bench.open_without(gone, Options::default()).await.expect(&what);
        array.replayed().await;
        assert_eq!(array.sync_state(), SyncState::Idle, "{what}");
        let device = array.device();
        for sector in 0..2 * STRIPE {
            let buf = bench.arena.take(512).unwrap();
            let read = device.start(Request::read(Sectors(sector), buf.clone())).await;
            let is_written = (start..start + count).contains(&sector);
            let is = |byte| buf.same_bytes(&bench.bytes(byte, 1));
            match read {
                Ok(()) if !is_written => assert!(is(1), "{what}: sector {sector} was not being written"),
                Ok(()) => assert!(is(1) || is(2), "{what}: sector {sector} is what nobody wrote"),
                Err(Failed { cause, .. }) => {
                    // What was half written on a missing member is in doubt, and with two missing all of its row on them.
                    let is_torn = |at: u64| at % CHUNK == sector % CHUNK && gone.contains(&slot_of(at));
                    let is_doubtful = (start..start + count).any(is_torn) && gone.contains(&slot_of(sector));
                    assert!(is_doubtful && sector < STRIPE, "{what}: sector {sector}: {cause:?}");
                    assert!(is_written || gone.len() == 2, "{what}: sector {sector}: {cause:?}");
                }
            }
        }
        if gone.is_empty() {
            assert!(parity_belongs(&bench, &array, 2), "{what}");
        }
    });
    written.is_some()
}

/// Whether parity belongs to the data in the first stripes, on the disks.
fn parity_belongs(bench: &Bench, array: &Array, stripes: u64) -> bool {
    (0..stripes * CHUNK).all(|row| {
        let places = array.stripe_at(Sectors(row)).expect("every slot has a member");
        let block = |place: usize| {
            let at = array.members()[place].data_offset + Sectors(row);
            bench.disk(place).peek(Range::new(at, Sectors(1)))
        };
        let data: Vec<(u8, Vec<u8>)> =
            places.data.iter().map(|(index, place)| (*index, block(*place))).collect();
        let data: Vec<(u8, &[u8])> = data.iter().map(|(index, bytes)| (*index, &bytes[..])).collect();
        let (mut p, mut q) = (vec![0; 512], vec![0; 512]);
        parity::pq(&mut p, &mut q, &data);
        p == block(places.p) && q == block(places.q.expect("raid6 has one"))
    })
}

#[test]
fn a_power_cut_at_any_moment_of_a_write_leaves_no_hole() {
    for write in WRITES {
        let mut events = 1;
        while !cut_and_look(events, write, &[], false) {
            events += 1;
        }
        assert!(events > 4, "the write was cut off at no moment");
    }
}

#[test]
fn a_power_cut_and_the_loss_of_a_member_leave_no_hole() {
    for write in WRITES {
        let mut events = 1;
        while !(0..MEMBERS).fold(false, |done, gone| done | cut_and_look(events, write, &[gone], false)) {
            events += 2;
        }
    }
}

#[test]
fn a_power_cut_and_the_loss_of_two_members_leave_no_hole() {
    let pairs: Vec<[usize; 2]> =
        (0..MEMBERS).flat_map(|one| (0..one).map(move |other| [other, one])).collect();
    for write in WRITES {
        let mut events = 2;
        while !pairs.iter().fold(false, |done, gone| done | cut_and_look(events, write, gone, false)) {
            events += 3;
        }
    }
}

#[test]
fn a_second_power_cut_during_the_replay_leaves_no_hole() {
    for (write, gone) in WRITES.into_iter().zip([&[][..], &[0], &[1, 4], &[2, 3]]) {
        let mut events = 1;
        while !cut_and_look(events, write, gone, true) {
            events += 2;
        }
    }
}
