//! A partial parity log is added to an open array, and taken away from it: each in a simulated world, with the power cut at
//! every moment.

mod common;

use std::rc::Rc;

use block::{Request, Sectors};
use common::{Bench, Made};
use md::{Array, BitmapWish, Change, GrowError, Growth, Options, SyncState, Update, plan_update, update};
use md_format::{Features, Level, ResyncOffset, Version};
use runtime::sim::Fate;
use runtime::{Runtime, sleep_ms};

/// raid5 of four, chunks of 16 sectors, 0 1 2 P in the first stripe.
fn plain(version: Version) -> Made {
    let size = Some(Sectors(1024)); // small, so that everything can be compared each time
    Made { level: Level::Raid5, version, members: 4, striped: Some((16, 2)), size, ..Made::default() }
}

/// An array whose members have room for a log: bad-block logs lie where it would be.
fn with_room(seed: u64, made: Made) -> Bench {
    let bench = Bench::new(seed, made);
    bench.run(async {
        let (set, candidates) = bench.set().await;
        let changes = vec![Change::NoBadBlockLog { forget: false }];
        let wanted = Update { changes, degraded: false, device_uuids: Vec::new() };
        let changes = plan_update(&set, &candidates, &wanted).unwrap();
        update(&changes, &bench.devs(), &bench.arena).await.unwrap();
    });
    bench
}

async fn open(bench: &Bench) -> Rc<Array> {
    let array = bench.open().await;
    array.replayed().await;
    array
}

async fn has_log(bench: &Bench, member: usize) -> bool {
    let features = bench.summary(member).await.features;
    features.has(Features::PPL) || features.has(Features::MULTIPLE_PPLS)
}

/// Everything that is in sync agrees.
async fn is_consistent(array: &Array) -> bool {
    assert!(array.scrub(md::Scrub::Check));
    while array.sync_state() != SyncState::Idle {
        sleep_ms(100).await;
    }
    array.scrub_report().unwrap().mismatched == Sectors::ZERO
}

#[test]
fn a_log_that_is_added_is_kept_at_once_and_saves_the_resync() {
    for version in [Version::V1_1, Version::V1_2] {
        let bench = with_room(1, plain(version));
        bench.run(async {
            let array = open(&bench).await;
            let device = array.device();
            bench.write(&device, 0, 1, 200).await.unwrap();
            array.grow(Growth::AddPpl).await.unwrap();
            for member in 0..4 {
                assert!(has_log(&bench, member).await, "{version}");
            }
            assert_eq!(array.grow(Growth::AddPpl).await, Err(GrowError::Unchanged));
            let bitmap = Growth::AddBitmap(BitmapWish { chunk_bytes: None });
            assert_eq!(array.grow(bitmap).await, Err(GrowError::HasLog));
            bench.reads(&device, 0, 1, 200).await.unwrap();
            bench.write(&device, 5, 2, 20).await.unwrap();
            device.start(Request::flush()).await.unwrap();
            assert!(array.is_dirty());
        });
        bench.world.power_cut();
        bench.run(async {
            assert_eq!(bench.summary(0).await.resync, ResyncOffset::At(0), "{version}");
            let array = open(&bench).await;
            assert_eq!(array.sync_state(), SyncState::Idle, "{version}: the log says what may be wrong");
            bench.disk(1).set_fate(Fate::Dead);
            bench.reads(&array.device(), 0, 1, 5).await.unwrap();
            bench.reads(&array.device(), 5, 2, 20).await.unwrap();
            bench.reads(&array.device(), 25, 1, 175).await.unwrap();
        });
    }
}

#[test]
fn a_log_that_is_taken_away_is_asked_by_nobody_any_more() {
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let bench = Bench::new(2, Made { ppl: true, ..plain(version) });
        bench.run(async {
            let array = open(&bench).await;
            let device = array.device();
            bench.write(&device, 0, 1, 200).await.unwrap();
            array.grow(Growth::RemovePpl).await.unwrap();
            for member in 0..4 {
                assert!(!has_log(&bench, member).await, "{version}");
            }
            assert_eq!(array.grow(Growth::RemovePpl).await, Err(GrowError::NoLog));
            bench.write(&device, 5, 2, 20).await.unwrap();
        });
        bench.world.power_cut();
        bench.run(async {
            let array = open(&bench).await;
            assert_ne!(array.sync_state(), SyncState::Idle, "{version}: everything is synced");
            sleep_ms(60_000).await;
            assert_eq!(array.sync_state(), SyncState::Idle);
            // And there and back again, several times.
            for turn in 3..8 {
                array.grow(Growth::AddPpl).await.unwrap();
                bench.write(&array.device(), 5, turn, 20).await.unwrap();
                array.grow(Growth::RemovePpl).await.unwrap();
                bench.write(&array.device(), 25, turn, 20).await.unwrap();
            }
            bench.reads(&array.device(), 5, 7, 40).await.unwrap();
            assert!(is_consistent(&array).await);
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn what_has_another_way_to_be_made_right_or_no_room_gets_no_log() {
    let refused = |made: Made| {
        let bench = Bench::new(3, made);
        bench.run(async { open(&bench).await.grow(Growth::AddPpl).await.unwrap_err() })
    };
    let plain = || plain(Version::V1_2);
    assert_eq!(refused(Made { bitmap: Some(65_536), ..plain() }), GrowError::HasBitmap);
    assert_eq!(refused(Made { journal: Some(Sectors(8192)), ..plain() }), GrowError::HasJournal);
    let hindered = [
        Made { level: Level::Raid6, ..plain() },
        Made { level: Level::Raid4, striped: Some((16, 0)), ..plain() },
        Made { version: Version::V0_90, ..plain() },
    ];
    for made in hindered {
        assert!(matches!(refused(made), GrowError::Hindered(_)));
    }
    assert!(matches!(refused(Made::default()), GrowError::Hindered(_)), "a mirror");
    assert!(matches!(refused(plain()), GrowError::NoRoomForLog { .. }), "bad-block logs are in the way");
}

#[test]
fn a_first_resync_goes_on_and_the_log_is_kept_when_it_has_come_by() {
    let bench = with_room(4, Made { assume_clean: false, size: None, ..plain(Version::V1_2) });
    bench.run(async {
        let array = open(&bench).await;
        array.grow(Growth::AddPpl).await.unwrap();
        bench.write(&array.device(), 0, 1, 20).await.unwrap();
        assert_ne!(array.sync_state(), SyncState::Idle);
        sleep_ms(60_000).await;
        assert_eq!(array.sync_state(), SyncState::Idle);
        bench.write(&array.device(), 5, 2, 20).await.unwrap();
        array.device().start(Request::flush()).await.unwrap();
    });
    bench.world.power_cut();
    bench.run(async {
        let array = open(&bench).await;
        assert_eq!(array.sync_state(), SyncState::Idle);
        bench.reads(&array.device(), 5, 2, 20).await.unwrap();
    });
}

#[test]
fn a_degraded_array_gets_a_log_too_and_whoever_is_rebuilt_has_it() {
    let bench = with_room(5, plain(Version::V1_2));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 0, 1, 200).await.unwrap();
        array.fail_member(1).await.unwrap();
        array.remove_member(1).await.unwrap();
        array.grow(Growth::AddPpl).await.unwrap();
        bench.write(&device, 5, 2, 20).await.unwrap();
        let dev = bench.disk(1) as block::Dev;
        array.add_member(md::Newcomer { name: "1".to_owned(), dev, examined: None }).await.unwrap();
        while array.in_sync() < 4 {
            sleep_ms(100).await;
        }
        assert!(has_log(&bench, 1).await);
        bench.write(&device, 25, 3, 20).await.unwrap();
        array.device().start(Request::flush()).await.unwrap();
        assert!(is_consistent(&array).await);
    });
    bench.world.power_cut();
    bench.run(async {
        let array = open(&bench).await;
        assert_eq!((array.in_sync(), array.sync_state()), (4, SyncState::Idle));
        bench.reads(&array.device(), 25, 3, 20).await.unwrap();
    });
}

/// Wherever the power fails, the array has a log or none; what was answered is there, and redundancy comes back.
#[test]
fn a_power_cut_at_any_event_of_the_change_leaves_the_array_as_it_was_or_as_it_is_to_be() {
    for growth in [Growth::AddPpl, Growth::RemovePpl] {
        let (mut has_ended, mut torn) = (false, 0);
        for events in 1.. {
            let ppl = growth == Growth::RemovePpl;
            let bench = with_room(6 + events, Made { ppl, ..plain(Version::V1_2) });
            let runtime = Runtime::new(bench.world.clone());
            let limit = std::cell::Cell::new(u64::MAX);
            let change = async {
                let array = open(&bench).await;
                let device = array.device();
                bench.write(&device, 0, 1, 200).await.unwrap();
                device.start(Request::flush()).await.unwrap();
                limit.set(bench.world.events_done() + events);
                array.grow(growth).await.unwrap();
                bench.write(&device, 5, 1, 20).await.unwrap();
            };
            let ended = runtime.run_until(change, |_| bench.world.events_done() < limit.get());
            has_ended |= ended.is_some();
            drop(runtime);
            bench.world.power_cut();
            bench.run(async {
                let mut logs = 0;
                for member in 0..4 {
                    logs += usize::from(has_log(&bench, member).await);
                }
                torn += usize::from(logs % 4 != 0);
                let options = Options { write: true, ..Options::default() };
                let (set, candidates) = bench.set().await;
                let array = Array::open(&set, &candidates, &bench.devs(), options).unwrap();
                array.replayed().await;
                assert_eq!(array.in_sync(), 4, "{growth:?}, {events} events");
                bench.reads(&array.device(), 0, 1, 200).await.unwrap();
                bench.write(&array.device(), 7, 2, 9).await.unwrap();
                sleep_ms(60_000).await;
                assert!(is_consistent(&array).await, "{growth:?}, {events} events");
                let mut now = 0;
                for member in 0..4 {
                    now += usize::from(has_log(&bench, member).await);
                }
                assert!(now == 0 || now == 4, "{growth:?}, {events} events: {now} members know of a log");
                // It can be asked for again.
                let again = array.grow(growth).await;
                let is_so = matches!(again, Ok(()) | Err(GrowError::Unchanged | GrowError::NoLog));
                assert!(is_so, "{growth:?}, {events} events: {again:?}");
                bench.reads(&array.device(), 7, 2, 9).await.unwrap();
            });
            if has_ended {
                break;
            }
        }
        assert!(torn > 0, "{growth:?}: no power cut came between two superblocks");
    }
}
