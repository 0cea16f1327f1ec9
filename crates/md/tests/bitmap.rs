//! The rules of the write-intent bitmap, each in a simulated world. What mdadm's own tests ask is in
//! `ashlar/tests/mdadm_bitmap.rs`.

mod common;

use block::{Range, Sectors};
use common::{Bench, Made};
use md::Array;
use md::array::Happening;
use md_format::bitmap::{BitmapSuper, bit};
use md_format::{Level, Version};
use runtime::sim::Fate;
use runtime::sleep_ms;

const CHUNK: u32 = 64 << 10;

fn with_bitmap(version: Version) -> Made {
    Made { version, bitmap: Some(CHUNK), ..Made::default() }
}

fn marked(array: &Array) -> u64 {
    array.bitmap().expect("there is one").marked
}

/// Whether a chunk's bit is set on a member, as a power cut would leave it.
async fn is_durably_set(bench: &Bench, member: usize, chunk: u64) -> bool {
    let place = bench.summary(member).await.bitmap.unwrap();
    let (byte, mask) = bit(chunk);
    let at = Range::new(Sectors(place.sector + byte / 512), Sectors(1));
    bench.disk(member).peek_durable(at)[(byte % 512) as usize] & mask != 0
}

#[test]
fn bits_go_when_nothing_is_written_any_more_and_stay_while_a_member_is_missing() {
    for version in Version::ALL {
        let bench = Bench::new(1, Made { assume_clean: false, ..with_bitmap(version) });
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            let chunks = array.bitmap().unwrap().chunks;
            assert_eq!(marked(&array), chunks, "{version}: all of a new array is marked");
            sleep_ms(60_000).await;
            assert!(
                array.take_happenings().contains(&Happening::SyncComplete { action: md::Action::Resync }),
                "{version}"
            );
            assert_eq!(marked(&array), 0, "{version}: after the resync");
            bench.write(&device, 0, 7, 1024).await.unwrap();
            assert_eq!(marked(&array), 8, "{version}");
            sleep_ms(4000).await;
            assert_eq!(marked(&array), 8, "{version}: not at once");
            sleep_ms(20_000).await;
            assert_eq!(marked(&array), 0, "{version}");
            array.fail_member(0).await.unwrap();
            bench.write(&device, 0, 8, 1024).await.unwrap();
            sleep_ms(60_000).await;
            assert_eq!(marked(&array), 8, "{version}: kept while a member is missing");
            array.stop().await.unwrap();
        });
        bench.run(async {
            let array = bench.open().await;
            assert_eq!(marked(&array), 8, "{version}: after a stop");
            sleep_ms(60_000).await;
            assert_eq!(marked(&array), 8, "{version}");
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn a_bit_is_durable_on_every_member_before_its_chunk_is_written_and_costs_nothing_the_second_time() {
    let bench = Bench::new(2, with_bitmap(Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 8).await.unwrap();
        array.stop().await.unwrap();
        assert!(!is_durably_set(&bench, 0, 0).await && !is_durably_set(&bench, 1, 0).await, "a stop clears");
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 256, 7, 8).await.unwrap();
        assert!(is_durably_set(&bench, 0, 2).await && is_durably_set(&bench, 1, 2).await);
        let before = bench.disk(0).writes();
        bench.write(&device, 264, 7, 8).await.unwrap();
        assert_eq!(bench.disk(0).writes(), before + 1, "the data alone");
    });
}

/// Writes all over, stops, writes to one chunk and leaves it at that: as a crash does.
async fn crashed(bench: &Bench) -> Sectors {
    let array = bench.open().await;
    bench.write(&array.device(), 0, 7, 2048).await.unwrap();
    array.stop().await.unwrap();
    let array = bench.open().await;
    bench.write(&array.device(), 512, 8, 8).await.unwrap();
    array.members()[1].data_offset
}

#[test]
fn after_a_crash_only_what_is_marked_is_synced() {
    for (version, level) in [(Version::V0_90, Level::Raid1), (Version::V1_2, Level::Raid1)] {
        let bench = Bench::new(3, Made { level, ..with_bitmap(version) });
        let data = bench.run(crashed(&bench));
        bench.world.power_cut();
        // Differences that only a resync that looks there would find.
        bench.disk(1).poke(data + Sectors(1024), &[9; 512]);
        bench.disk(1).poke(data + Sectors(600), &[9; 512]);
        bench.run(async {
            let array = bench.open().await;
            assert!(array.is_consistent(Range::new(Sectors(1024), Sectors(8))), "{version}: not marked");
            assert!(!array.is_consistent(Range::new(Sectors(600), Sectors(8))), "{version}: marked");
            sleep_ms(60_000).await;
            assert!(
                array.take_happenings().contains(&Happening::SyncComplete { action: md::Action::Resync }),
                "{version}"
            );
            let peek = |at: u64| bench.disk(1).peek(Range::new(data + Sectors(at), Sectors(1)));
            assert!(peek(600).iter().all(|byte| *byte == 7), "{version}: synced");
            assert!(peek(1024).iter().all(|byte| *byte == 9), "{version}: left alone");
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn a_bitmap_that_cannot_be_read_is_read_from_another_member_and_written_anew() {
    let bench = Bench::new(7, with_bitmap(Version::V1_2));
    bench.run(crashed(&bench));
    bench.world.power_cut();
    bench.run(async {
        let at = bench.summary(0).await.bitmap.unwrap().sector;
        bench.disk(0).set_faults(|faults| faults.bad_sectors.extend([at]));
        let array = bench.open().await;
        assert_eq!(marked(&array), 1);
        sleep_ms(60_000).await;
        assert!(array.take_happenings().contains(&Happening::SyncComplete { action: md::Action::Resync }));
        array.stop().await.unwrap();
        assert!(bench.candidates().await[0].examined.bitmap.is_some());
    });
}

#[test]
fn a_bitmap_that_is_older_than_the_superblock_marks_everything() {
    let bench = Bench::new(4, with_bitmap(Version::V1_2));
    bench.run(crashed(&bench));
    bench.world.power_cut();
    bench.run(async {
        for member in 0..2 {
            let at = Sectors(bench.summary(member).await.bitmap.unwrap().sector);
            let mut page = bench.disk(member).peek(Range::new(at, Sectors(8)));
            let bitmap = BitmapSuper::edit(&mut page).unwrap();
            bitmap.events = (bitmap.events.get() - 2).into();
            bench.disk(member).poke(at, &page);
        }
        let array = bench.open().await;
        let bitmap = array.bitmap().unwrap();
        assert_eq!(bitmap.marked, bitmap.chunks);
        assert!(!array.is_consistent(Range::new(Sectors(1024), Sectors(8))));
        sleep_ms(60_000).await;
        assert!(array.take_happenings().contains(&Happening::SyncComplete { action: md::Action::Resync }));
        assert_eq!(marked(&array), 0);
        array.stop().await.unwrap();
    });
}

#[test]
fn a_member_that_does_not_take_its_bits_is_failed_and_that_is_on_record_before_the_answer() {
    let bench = Bench::new(5, with_bitmap(Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        bench.write(&array.device(), 0, 7, 8).await.unwrap();
        array.stop().await.unwrap();
        let array = bench.open().await;
        bench.disk(1).set_fate(Fate::Dead);
        bench.write(&array.device(), 0, 8, 8).await.unwrap();
        assert_eq!(array.in_sync(), 1);
        bench.disk(1).set_fate(Fate::Alive);
        assert!(is_durably_set(&bench, 0, 0).await && !is_durably_set(&bench, 1, 0).await);
        assert_eq!(bench.set().await.0.left_out.len(), 1);
    });
}

#[test]
fn events_cleared_is_recorded_before_bits_go_and_stands_still_while_a_member_is_missing() {
    let bench = Bench::new(6, with_bitmap(Version::V1_2));
    let cleared = async || {
        let place = bench.summary(0).await.bitmap.unwrap();
        let page = bench.disk(0).peek_durable(Range::new(Sectors(place.sector), Sectors(1)));
        BitmapSuper::view(&page).unwrap().events_cleared.get()
    };
    bench.run(async {
        let array = bench.open().await;
        bench.write(&array.device(), 0, 7, 8).await.unwrap();
        let events = array.events();
        sleep_ms(60_000).await;
        let before = cleared().await;
        assert!(before >= events && marked(&array) == 0);
        array.fail_member(1).await.unwrap();
        bench.write(&array.device(), 0, 8, 8).await.unwrap();
        sleep_ms(60_000).await;
        assert_eq!(cleared().await, before);
        array.stop().await.unwrap();
        assert_eq!(cleared().await, before);
    });
}
