//! The rules of partial parity logs, each in a simulated world. Scenarios with power cuts at any moment are the
//! simulation's; what the kernel makes of our logs is in `ashlar/tests/kernel_log.rs`.

mod common;

use block::{Range, Sectors};
use common::{Bench, Made};
use md::{Hindrance, OpenError, SyncState};
use md_format::ppl::{self, PplHeader};
use md_format::{Features, Level, ResyncOffset, Version};
use runtime::sim::Fate;
use runtime::sleep_ms;

/// raid5 of four, chunks of 16 sectors, 0 1 2 P in the first stripe.
fn logged(version: Version) -> Made {
    Made { level: Level::Raid5, version, members: 4, striped: Some((16, 2)), ppl: true, ..Made::default() }
}

/// The record at the start of a member's area, as a power cut would leave it: how many entries it has.
async fn entries_at(bench: &Bench, member: usize, offset: u64) -> Option<usize> {
    let summary = bench.summary(member).await;
    let at = Range::new(Sectors(summary.ppl.unwrap().sector + offset), Sectors(8));
    let bytes = bench.disk(member).peek_durable(at);
    let header = PplHeader::view(&bytes).unwrap();
    header.check(ppl::signature(&summary.array_uuid)).ok().map(|()| header.entries().len())
}

#[test]
fn a_dirty_array_with_logs_needs_no_resync() {
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let bench = Bench::new(1, logged(version));
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            bench.write(&device, 0, 1, 100).await.unwrap();
            bench.write(&device, 5, 2, 20).await.unwrap();
            assert!(array.is_dirty());
        });
        bench.world.power_cut();
        bench.run(async {
            assert_eq!(bench.summary(0).await.resync, ResyncOffset::At(0), "{version}");
            let array = bench.open().await;
            array.replayed().await;
            assert_eq!(array.sync_state(), SyncState::Idle, "{version}");
            sleep_ms(1000).await;
            let summary = bench.summary(0).await;
            assert!(summary.is_clean() && summary.features.has(Features::MULTIPLE_PPLS), "{version}");
        });
    }
}

#[test]
fn nothing_is_logged_before_a_first_resync_has_come_by_and_a_crash_then_starts_it_again() {
    let bench = Bench::new(2, Made { assume_clean: false, ..logged(Version::V1_2) });
    bench.run(async {
        let array = bench.open().await;
        bench.write(&array.device(), 0, 1, 4).await.unwrap();
        assert_eq!(entries_at(&bench, 3, 0).await, Some(0), "the log is there, and empty");
        assert_eq!(entries_at(&bench, 3, 8).await, None);
    });
    bench.world.power_cut();
    bench.run(async {
        let array = bench.open().await;
        array.replayed().await;
        assert_ne!(array.sync_state(), SyncState::Idle);
        sleep_ms(60_000).await;
        assert_eq!(array.sync_state(), SyncState::Idle);
        bench.write(&array.device(), 0, 2, 4).await.unwrap();
        assert_eq!(entries_at(&bench, 3, 0).await, Some(1), "an entry about nothing");
        assert_eq!(entries_at(&bench, 3, 8).await, Some(1), "the entry of the write");
    });
}

#[test]
fn what_was_degraded_and_dirty_is_opened_and_gives_back_what_was_answered() {
    let bench = Bench::new(3, logged(Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 1, 480).await.unwrap();
        bench.disk(1).set_fate(Fate::Dead);
        bench.write(&device, 10, 2, 50).await.unwrap();
        array.device().start(block::Request::flush()).await.unwrap();
        assert_eq!(array.in_sync(), 3);
    });
    bench.world.power_cut();
    bench.disk(1).set_fate(Fate::Alive);
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        assert_eq!(array.in_sync(), 3);
        bench.reads(&device, 0, 1, 10).await.unwrap();
        bench.reads(&device, 10, 2, 50).await.unwrap();
        bench.reads(&device, 60, 1, 420).await.unwrap();
        assert_eq!(array.doubtful(10), []);
    });
}

#[test]
fn reading_alone_makes_parity_right_too_and_writes_nothing_down() {
    let bench = Bench::new(4, logged(Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        bench.write(&array.device(), 0, 1, 100).await.unwrap();
        array.device().start(block::Request::flush()).await.unwrap();
    });
    bench.world.power_cut();
    bench.run(async {
        let before: Vec<u64> =
            bench.candidates().await.iter().map(|one| one.examined.summary.events).collect();
        let (set, candidates) = bench.set().await;
        let array = md::Array::open(&set, &candidates, &bench.devs(), md::Options::default()).unwrap();
        bench.reads(&array.device(), 0, 1, 100).await.unwrap();
        assert_eq!(array.sync_state(), SyncState::Idle);
        array.stop().await.unwrap();
        let after: Vec<u64> =
            bench.candidates().await.iter().map(|one| one.examined.summary.events).collect();
        assert_eq!(before, after);
    });
}

#[test]
fn a_log_on_another_level_or_without_room_is_not_written_to() {
    let bench = Bench::new(5, logged(Version::V1_2));
    bench.run(async {
        let (set, mut candidates) = bench.set().await;
        for candidate in &mut candidates {
            candidate.examined.summary.ppl.as_mut().unwrap().sectors = 8;
        }
        let sets = md::assemble(&candidates);
        assert_eq!(sets[0].key, set.key);
        let options = md::Options { write: true, ..md::Options::default() };
        let opened = md::Array::open(&sets[0], &candidates, &bench.devs(), options);
        let Err(OpenError::Hindered(why)) = opened else { panic!("it was opened") };
        assert!(matches!(why[..], [Hindrance::Shape(what)] if what.contains("room")), "{why:?}");
    });
}

/// A member that came back without anybody recording it may have been written to since: what its log says is made of blocks
/// that are not there any more.
#[test]
fn with_all_data_there_parity_is_made_from_it_and_not_from_what_the_log_says() {
    for unreadable in [false, true] {
        let bench = Bench::new(6, logged(Version::V1_2));
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            bench.write(&device, 0, 1, 48).await.unwrap();
            bench.write(&device, 0, 2, 4).await.unwrap();
            device.start(block::Request::flush()).await.unwrap();
        });
        bench.world.power_cut();
        bench.run(async {
            let row = Sectors(bench.summary(0).await.data_offset);
            let put = async |disk: usize, byte: u8| {
                let dev = bench.disk(disk) as block::Dev;
                dev.start(block::Request::write(row, bench.bytes(byte, 4)).with_fua()).await.unwrap();
            };
            // Another block of the row has changed, and parity may have missed it.
            put(1, 9).await;
            put(3, 0x55).await;
            if unreadable {
                bench.disk(2).set_faults(|faults| faults.bad_sectors.extend([row.0 + 1]));
            }
            let array = bench.open().await;
            array.replayed().await;
            let parity = bench.disk(3).peek(Range::new(row, Sectors(4)));
            // Where some block of the data cannot be had, what the log says is all there is.
            let expected = if unreadable { 2 ^ 1 ^ 1 } else { 2 ^ 9 ^ 1 };
            assert!(parity.iter().all(|byte| *byte == expected), "{unreadable}: {}", parity[0]);
            assert_eq!(array.sync_state(), SyncState::Idle);
        });
    }
}
