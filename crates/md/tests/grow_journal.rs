//! A write journal is added to an open array, and taken away from it: each in a simulated world, with the power cut at every
//! moment.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use block::{Request, Sectors};
use common::journals::{JOURNAL, payloads};
use common::{Bench, Made};
use md::{Array, Condition, GrowError, Growth, JournalMode, Newcomer, Options, SyncState, assemble};
use md_format::{Features, Level, ResyncOffset, Version};
use runtime::Runtime;
use runtime::sim::Fate;

fn plain(version: Version) -> Made {
    let size = Some(Sectors(1024)); // small, so that everything can be compared each time
    Made { level: Level::Raid5, members: 4, striped: Some((16, 2)), version, size, ..Made::default() }
}

fn with_journal(version: Version) -> Made {
    Made { journal: Some(disk_sectors(version)), ..plain(version) }
}

/// As much as the kernel wants.
fn disk_sectors(version: Version) -> Sectors {
    if version == Version::V1_0 { Sectors(20_544) } else { Sectors(8192) }
}

fn newcomer(bench: &Bench) -> Newcomer {
    Newcomer { name: JOURNAL.to_string(), dev: bench.disk(JOURNAL), examined: None }
}

async fn open(bench: &Bench, members: usize) -> Rc<Array> {
    let array = match members < bench.devs().len() {
        true => bench.open_members(members).await,
        false => bench.open().await,
    };
    array.replayed().await;
    array
}

#[test]
fn a_journal_that_is_added_is_used_at_once_and_found_again() {
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let bench = Bench::new(1, plain(version));
        bench.world.add_disk(disk_sectors(version), 512);
        bench.run(async {
            let array = open(&bench, 4).await;
            let device = array.device();
            bench.write(&device, 0, 1, 200).await.unwrap();
            array.add_journal(newcomer(&bench)).await.unwrap();
            assert!(bench.summary(0).await.features.has(Features::JOURNAL));
            bench.reads(&device, 0, 1, 200).await.unwrap();
            bench.write(&device, 8, 2, 8).await.unwrap();
            assert_eq!(payloads(&bench).await, ["data 8", "parity 8"]);
            array.grow(Growth::JournalMode(JournalMode::WriteBack)).await.unwrap();
            bench.write(&device, 8, 3, 8).await.unwrap();
            let again = array.add_journal(newcomer(&bench)).await.unwrap_err();
            assert_eq!(again, GrowError::HasJournal);
        });
        bench.world.power_cut();
        bench.run(async {
            let array = open(&bench, 5).await;
            assert_eq!(array.sync_state(), SyncState::Idle, "the journal answers for it");
            bench.reads(&array.device(), 0, 1, 8).await.unwrap();
            bench.reads(&array.device(), 8, 3, 8).await.unwrap();
            bench.reads(&array.device(), 16, 1, 184).await.unwrap();
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn a_journal_that_is_taken_away_is_not_needed_any_more() {
    for mode in [JournalMode::WriteThrough, JournalMode::WriteBack] {
        let bench = Bench::new(2, with_journal(Version::V1_2));
        bench.run(async {
            let options = Options { journal_mode: mode, ..Options::default() };
            let array = bench.open_with(options).await.unwrap();
            let device = array.device();
            for at in 0..40 {
                bench.write(&device, at * 24, at as u8 + 1, 8).await.unwrap();
            }
            array.grow(Growth::RemoveJournal).await.unwrap();
            assert!(array.journal().is_none());
            for number in 0..4 {
                assert!(!bench.summary(number).await.features.has(Features::JOURNAL));
            }
            bench.write(&device, 0, 99, 8).await.unwrap();
            device.start(Request::flush()).await.unwrap();
            assert_eq!(array.grow(Growth::RemoveJournal).await, Err(GrowError::NoJournal));
            // And another one takes its place.
            array.add_journal(newcomer(&bench)).await.unwrap();
            bench.write(&device, 0, 98, 8).await.unwrap();
            array.grow(Growth::RemoveJournal).await.unwrap();
            array.stop().await.unwrap();
        });
        bench.run(async {
            let (set, candidates) = bench.set().await;
            assert_eq!((set.journal, set.spares.len(), set.left_out.len()), (None, 0, 1));
            let options = Options { write: true, ..Options::default() };
            let array = Array::open(&set, &candidates, &bench.devs(), options).unwrap();
            bench.reads(&array.device(), 0, 98, 8).await.unwrap();
            for at in 1..40 {
                bench.reads(&array.device(), at * 24, at as u8 + 1, 8).await.unwrap();
            }
        });
    }
}

#[test]
fn a_journal_that_has_failed_is_taken_away_and_writes_go_on() {
    let bench = Bench::new(3, with_journal(Version::V1_2));
    bench.run(async {
        let options = Options { journal_mode: JournalMode::WriteBack, ..Options::default() };
        let array = bench.open_with(options).await.unwrap();
        let device = array.device();
        for at in 0..20 {
            bench.write(&device, at * 24, at as u8 + 1, 8).await.unwrap();
        }
        bench.disk(JOURNAL).set_fate(Fate::Dead);
        bench.write(&device, 600, 9, 8).await.unwrap_err();
        array.grow(Growth::RemoveJournal).await.unwrap();
        bench.write(&device, 600, 9, 8).await.unwrap();
        for at in 0..20 {
            bench.reads(&device, at * 24, at as u8 + 1, 8).await.unwrap();
        }
        array.stop().await.unwrap();
    });
    bench.disk(JOURNAL).set_fate(Fate::Alive);
    bench.run(async {
        let array = open(&bench, 5).await;
        assert!(array.journal().is_none());
        bench.reads(&array.device(), 600, 9, 8).await.unwrap();
    });
}

#[test]
fn a_journal_is_not_added_beside_what_excludes_it_or_where_it_has_no_room() {
    let refused = |made: Made, sectors: u64| {
        let bench = Bench::new(4, made);
        bench.world.add_disk(Sectors(sectors), 512);
        bench.run(async {
            let array = open(&bench, 4).await;
            let why = array.add_journal(newcomer(&bench)).await.unwrap_err();
            bench.write(&array.device(), 0, 1, 8).await.unwrap();
            assert!(array.members().iter().all(|member| member.condition == Condition::InSync));
            why
        })
    };
    assert_eq!(refused(Made { bitmap: Some(65_536), ..plain(Version::V1_2) }, 8192), GrowError::HasBitmap);
    assert_eq!(refused(Made { ppl: true, ..plain(Version::V1_2) }, 8192), GrowError::HasLog);
    refused(plain(Version::V0_90), 8192);
    refused(plain(Version::V1_2), 1024);
    refused(plain(Version::V1_2), 2048 + 152);
    refused(Made { level: Level::Raid10, striped: Some((16, 0x102)), ..plain(Version::V1_2) }, 8192);
}

#[test]
fn the_power_may_fail_at_any_moment_while_a_journal_comes_or_goes() {
    for version in [Version::V1_0, Version::V1_2] {
        for adds in [true, false] {
            let ended = (0..300).find(|events| cut(adds, version, *events));
            assert!(ended.expect("it takes longer than that") > 10, "{version}");
        }
    }
}

/// Cuts the power so many events after the change has begun. Whether it had ended.
fn cut(adds: bool, version: Version, events: u64) -> bool {
    let bench = Bench::new(events, if adds { plain(version) } else { with_journal(version) });
    if adds {
        bench.world.add_disk(disk_sectors(version), 512);
    }
    let runtime = Runtime::new(bench.world.clone());
    let (world, begun) = (bench.world.clone(), Cell::new(u64::MAX));
    let ended = runtime.run_until(
        async {
            let array = open(&bench, if adds { 4 } else { 5 }).await;
            for at in 0..60 {
                bench.write(&array.device(), at * 48, at as u8 + 1, 24).await.unwrap();
            }
            array.device().start(Request::flush()).await.unwrap();
            if !adds {
                array.grow(Growth::JournalMode(JournalMode::WriteBack)).await.unwrap();
                bench.write(&array.device(), 24, 77, 8).await.unwrap();
            }
            begun.set(world.events_done());
            match adds {
                true => array.add_journal(newcomer(&bench)).await.unwrap(),
                false => array.grow(Growth::RemoveJournal).await.unwrap(),
            }
        },
        |_| world.events_done() < begun.get().saturating_add(events),
    );
    drop(runtime);
    bench.world.power_cut();
    let what =
        format!("journal {}, {version}, cut after {events} events", if adds { "added" } else { "gone" });
    bench.run(async {
        // The disk of a journal that is not there yet is none of anybody's.
        let count =
            if adds && md::examine(&bench.devs()[JOURNAL], &bench.arena).await.is_err() { 4 } else { 5 };
        let (set, candidates) = bench.set_of(count).await;
        assert!(
            set.unreadable.is_empty() && set.unwritable.is_empty() && set.spares.is_empty(),
            "{what}: {set:?}"
        );
        assert_eq!(assemble(&candidates).len(), 1, "{what}");
        let had = bench.candidates_of(count).await[set.freshest].examined.summary;
        assert_eq!(set.journal.is_some(), had.features.has(Features::JOURNAL), "{what}");
        if ended.is_some() {
            assert_eq!(set.journal.is_some(), adds, "{what}");
        }
        let is_clean = had.resync == ResyncOffset::Complete;
        let array = open(&bench, count).await;
        let device = array.device();
        for at in 0..60 {
            bench.reads(&device, at * 48, at as u8 + 1, 24).await.unwrap();
        }
        array.sync_settled().await;
        if is_clean {
            assert!(array.scrub(md::Scrub::Check), "{what}");
            array.sync_settled().await;
            assert_eq!(array.scrub_report().unwrap().mismatched, Sectors::ZERO, "{what}");
        }
        if !adds {
            bench.reads(&device, 24, 77, 8).await.unwrap();
        }
        array.stop().await.unwrap();
    });
    ended.is_some()
}
