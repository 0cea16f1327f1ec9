//! Disks that do not take what is written to them, as md takes that: blocks are listed as bad where there is a list, and the
//! member is failed where there is none, or no room in it.

mod common;

use common::{Bench, Made, SIZE};
use md::{Array, Condition, Newcomer};
use md_format::{Level, Version};

use block::{Dev, Request};

fn made(level: Level, version: Version) -> Made {
    let (members, striped) = if level == Level::Raid10 { (4, Some((16, 0x102))) } else { (2, None) };
    Made { level, version, members, striped, ..Made::default() }
}

/// Of the first member these rows take no write, and no read.
fn breaks(bench: &Bench, array: &Array, rows: impl Iterator<Item = u64>) {
    let data = array.members()[0].data_offset.0;
    bench.disk(0).set_faults(|faults| {
        faults.bad_sectors = rows.map(|row| data + row).collect();
        faults.bad_for_good = true;
    });
}

#[test]
fn blocks_that_a_member_does_not_take_are_listed_before_the_client_is_told_and_a_write_that_it_takes_ends_that()
 {
    for level in [Level::Raid1, Level::Raid10] {
        let bench = Bench::new(1, made(level, Version::V1_2));
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            breaks(&bench, &array, [3, 9].into_iter());
            bench.write(&device, 0, 7, 64).await.unwrap();
            let first = &array.members()[0];
            assert_eq!((first.condition, first.bad_blocks, first.unwanted), (Condition::InSync, 2, true));
            let listed = bench.candidates().await.remove(0).examined.bad_blocks;
            let rows: Vec<_> =
                listed.iter().map(|run| (run.sector - first.data_offset.0, run.sectors)).collect();
            assert_eq!(rows, [(3, 1), (9, 1)], "{level}: on record");
            // What it has taken beside them is there; what it has not is read elsewhere.
            for start in 0..64 {
                bench.reads(&device, start, 7, 1).await.unwrap();
            }
            bench.disk(0).set_faults(|faults| *faults = Default::default());
            bench.write(&device, 0, 8, 64).await.unwrap();
            assert_eq!(array.members()[0].bad_blocks, 0);
            bench.reads(&device, 0, 8, 64).await.unwrap();
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn a_member_whose_list_is_missing_or_full_is_failed() {
    for (version, broken) in [(Version::V0_90, 1), (Version::V1_2, 513)] {
        let bench = Bench::new(1, made(Level::Raid1, version));
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            breaks(&bench, &array, (0..broken).map(|number| 16 * number));
            for start in (0..16 * broken).step_by(512) {
                bench.write(&device, start, 7, 512).await.unwrap();
            }
            assert_eq!(array.members()[0].condition, Condition::Faulty, "{version}");
            bench.reads(&device, 0, 7, 512).await.unwrap();
        });
    }
}

#[test]
fn a_flush_that_fails_is_on_no_list_and_fails_the_member() {
    let bench = Bench::new(1, made(Level::Raid1, Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 64).await.unwrap();
        bench.disk(0).set_faults(|faults| faults.flush_error_one_in = 1);
        device.start(Request::flush()).await.unwrap();
        assert_eq!(array.members()[0].condition, Condition::Faulty);
    });
}

#[test]
fn a_member_that_begins_to_fail_is_replaced_by_a_spare() {
    let bench = Bench::new(1, made(Level::Raid1, Version::V1_2));
    bench.world.add_disk(SIZE, 512);
    bench.run(async {
        let array = bench.open_members(2).await;
        let device = array.device();
        let dev = bench.disk(2) as Dev;
        array.add_member(Newcomer { name: "2".to_owned(), dev, examined: None }).await.unwrap();
        breaks(&bench, &array, [3].into_iter());
        bench.write(&device, 0, 7, 64).await.unwrap();
        array.sync_settled().await;
        let members = array.members();
        assert_eq!((members[0].condition, array.in_sync()), (Condition::Faulty, 2));
        assert_eq!(members[0].replaced_by.as_deref(), Some("2"));
        bench.reads(&device, 0, 7, 64).await.unwrap();
        assert!(members.iter().all(|member| member.bad_blocks == 0 || member.name == "0"));
        array.fail_member(1).await.unwrap();
        bench.reads(&device, 0, 7, 64).await.unwrap();
        assert_eq!(array.members()[2].slot, Some(0));
    });
}
