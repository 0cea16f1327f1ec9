//! Disks that do not take what is written to them, as md takes that: blocks are listed as bad where there is a list, and the
//! member is failed where there is none, or no room in it.

mod common;

use common::{Bench, Made, SIZE};
use md::{Array, Condition, Hindrance, Newcomer, OpenError, Options};
use md_format::{Level, Version};

use block::{Cause, Dev, Range, Request, Sectors};

fn made(level: Level, version: Version) -> Made {
    let (members, striped) = match level {
        Level::Raid10 => (4, Some((16, 0x102))),
        // Parity comes last: the first member has data alone.
        Level::Raid4 => (3, Some((16, 0))),
        Level::Raid5 => (3, Some((16, 5))),
        Level::Raid6 => (4, Some((16, 5))),
        _ => (2, None),
    };
    Made { level, version, members, striped, ..Made::default() }
}

const PARITY: [Level; 3] = [Level::Raid4, Level::Raid5, Level::Raid6];

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
    for level in [Level::Raid1, Level::Raid10].into_iter().chain(PARITY) {
        let bench = Bench::new(1, made(level, Version::V1_2));
        // Mirrors are tried again block by block, parity in pages: what is one page is one run.
        let expected: &[(u64, u64)] = if PARITY.contains(&level) { &[(0, 16)] } else { &[(3, 1), (9, 1)] };
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            breaks(&bench, &array, [3, 9].into_iter());
            bench.write(&device, 0, 7, 64).await.unwrap();
            let first = &array.members()[0];
            let runs = expected.len();
            assert_eq!((first.condition, first.bad_blocks, first.unwanted), (Condition::InSync, runs, true));
            let listed = bench.candidates().await.remove(0).examined.bad_blocks;
            let rows: Vec<_> =
                listed.iter().map(|run| (run.sector - first.data_offset.0, run.sectors)).collect();
            assert_eq!(rows, expected, "{level}: on record");
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
    for level in [Level::Raid1, Level::Raid4, Level::Raid5, Level::Raid6] {
        for (version, broken) in [(Version::V0_90, 1), (Version::V1_2, 513)] {
            let bench = Bench::new(1, made(level, version));
            bench.run(async {
                let array = bench.open().await;
                let device = array.device();
                breaks(&bench, &array, (0..broken).map(|number| 16 * number));
                let data = if level == Level::Raid1 { 1 } else { 2 };
                for start in (0..data * 16 * broken).step_by(512) {
                    bench.write(&device, start, 7, 512).await.unwrap();
                }
                assert_eq!(array.members()[0].condition, Condition::Faulty, "{level} {version}");
                bench.reads(&device, 0, 7, 512).await.unwrap();
            });
        }
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

/// How many sectors of a member are listed.
async fn listed(bench: &Bench, member: usize) -> u64 {
    let found = bench.candidates().await.remove(member).examined.bad_blocks;
    found.iter().map(|run| run.sectors).sum()
}

/// The rows of a member that take no write, and no read.
fn breaks_on(bench: &Bench, array: &Array, member: usize, rows: impl Iterator<Item = u64>) {
    let data = array.members()[member].data_offset.0;
    bench.disk(member).set_faults(|faults| {
        faults.bad_sectors = rows.map(|row| data + row).collect();
        faults.bad_for_good = true;
    });
}

#[test]
fn parts_of_stripes_and_parity_are_listed_like_whole_stripes() {
    for level in PARITY {
        for broken in 0..made(level, Version::V1_2).members {
            let bench = Bench::new(2, made(level, Version::V1_2));
            bench.run(async {
                let array = bench.open().await;
                let device = array.device();
                bench.write(&device, 0, 1, 64).await.unwrap();
                breaks_on(&bench, &array, broken, [1, 5].into_iter());
                // Data of the first member and of the second, by itself and together.
                bench.write(&device, 0, 2, 4).await.unwrap();
                bench.write(&device, 16, 3, 4).await.unwrap();
                bench.write(&device, 4, 4, 16).await.unwrap();
                assert_eq!(array.members()[broken].condition, Condition::InSync);
                assert!(listed(&bench, broken).await > 0, "{level}: {broken}");
                let holds = async || {
                    for (start, byte, count) in [(0, 2, 4), (4, 4, 16), (20, 1, 44)] {
                        bench.reads(&device, start, byte, count).await.unwrap();
                        for sector in start..start + count {
                            bench.reads(&device, sector, byte, 1).await.unwrap();
                        }
                    }
                };
                holds().await;
                // Written again where it takes it, nothing is listed, and parity is right without the others.
                bench.disk(broken).set_faults(|faults| *faults = Default::default());
                bench.write(&device, 0, 2, 4).await.unwrap();
                bench.write(&device, 4, 4, 16).await.unwrap();
                bench.write(&device, 20, 1, 12).await.unwrap(); // what a repair has listed
                assert_eq!(listed(&bench, broken).await, 0, "{level}: {broken}");
                holds().await;
                for gone in 0..array.members().len() {
                    if array.is_dispensable(gone) {
                        array.fail_member(gone).await.unwrap();
                        holds().await;
                    }
                }
            });
        }
    }
}

#[test]
fn zeroes_that_a_member_does_not_take_are_listed() {
    let bench = Bench::new(3, made(Level::Raid5, Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 1, 64).await.unwrap();
        breaks(&bench, &array, [3].into_iter());
        device.start(Request::write_zeroes(Range::new(Sectors(0), Sectors(64)))).await.unwrap();
        assert_eq!((array.members()[0].condition, listed(&bench, 0).await), (Condition::InSync, 8));
        bench.reads(&device, 0, 0, 64).await.unwrap();
    });
}

#[test]
fn where_too_much_is_listed_that_write_fails_and_the_array_goes_on() {
    let bench = Bench::new(4, made(Level::Raid5, Version::V1_2));
    bench.run(async {
        let options = Options { write: true, degraded: true, ..Options::default() };
        let array = bench.open_without(&[1], options).await.unwrap();
        let device = array.device();
        bench.write(&device, 0, 1, 64).await.unwrap();
        breaks(&bench, &array, [3].into_iter());
        let failed = bench.write(&device, 0, 2, 8).await.unwrap_err();
        assert_eq!(failed.cause, Cause::Medium);
        assert_eq!((array.broken(), array.members()[0].condition), (None, Condition::InSync));
        // Its block and what was lost beside it fail, and nothing else.
        bench.reads(&device, 0, 2, 8).await.unwrap_err();
        bench.reads(&device, 16, 1, 8).await.unwrap_err();
        bench.reads(&device, 8, 1, 8).await.unwrap();
        bench.reads(&device, 24, 1, 40).await.unwrap();
        // All of the rows written anew is whole again.
        bench.disk(0).set_faults(|faults| *faults = Default::default());
        bench.write(&device, 0, 3, 32).await.unwrap();
        bench.reads(&device, 0, 3, 32).await.unwrap();
        assert_eq!(listed(&bench, 0).await, 0);
    });
}

#[test]
fn what_a_resync_cannot_write_is_listed() {
    for level in [Level::Raid1, Level::Raid5] {
        let bench = Bench::new(5, Made { assume_clean: false, ..made(level, Version::V1_2) });
        let last = made(level, Version::V1_2).members - 1;
        bench.run(async {
            // Something to write in every row.
            for sector in 0..SIZE.0 / 8 {
                if sector > 300 {
                    let disk = bench.disk(last) as Dev;
                    disk.start(Request::write(Sectors(sector * 8), bench.bytes(9, 1))).await.unwrap();
                }
            }
            let array = bench.open().await;
            breaks_on(&bench, &array, last, [8, 1600].into_iter());
            array.sync_settled().await;
            assert_eq!(array.members()[last].condition, Condition::InSync, "{level}");
            // Parity that cannot be read is looked at block by block.
            let expected = if level == Level::Raid1 { 16 } else { 2 };
            assert_eq!(listed(&bench, last).await, expected, "{level}");
            assert!(array.is_consistent(Range::new(Sectors(0), Sectors(4096))));
        });
    }
}

#[test]
fn what_a_rebuild_cannot_write_is_listed_but_one_that_is_to_replace_another_fails() {
    for level in [Level::Raid1, Level::Raid5] {
        for replaces in [false, true] {
            let bench = Bench::new(6, made(level, Version::V1_2));
            let members = made(level, Version::V1_2).members;
            bench.world.add_disk(SIZE, 512);
            bench.run(async {
                let array = bench.open_members(members).await;
                let device = array.device();
                bench.write(&device, 0, 7, 256).await.unwrap();
                let dev = bench.disk(members) as Dev;
                array.freeze(true).await;
                let newcomer = Newcomer { name: members.to_string(), dev, examined: None };
                let (at, _) = array.add_member(newcomer).await.unwrap();
                breaks_on(&bench, &array, at, [8].into_iter());
                match replaces {
                    true => array.replace_member(0, Some(at)).unwrap(),
                    false => array.fail_member(0).await.unwrap(),
                }
                array.freeze(false).await;
                array.sync_settled().await;
                let status = array.members()[at].clone();
                let expected = if replaces { (Condition::Faulty, 0) } else { (Condition::InSync, 1) };
                assert_eq!((status.condition, status.bad_blocks), expected, "{level}");
                bench.reads(&device, 0, 7, 256).await.unwrap();
                array.stop().await.unwrap();
            });
        }
    }
}

#[test]
fn a_repair_that_is_not_taken_is_listed() {
    for level in [Level::Raid1, Level::Raid5] {
        let bench = Bench::new(7, made(level, Version::V1_2));
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            bench.write(&device, 0, 7, 256).await.unwrap();
            (0..array.members().len())
                .for_each(|member| breaks_on(&bench, &array, member, std::iter::empty()));
            breaks(&bench, &array, [3, 20].into_iter());
            for start in 0..256 {
                bench.reads(&device, start, 7, 1).await.unwrap();
            }
            bench.reads(&device, 0, 7, 256).await.unwrap();
            let first = &array.members()[0];
            assert_eq!((first.condition, first.unwanted), (Condition::InSync, true), "{level}");
            assert_eq!(listed(&bench, 0).await, first.bad_blocks as u64, "{level}: by reads of a sector");
        });
    }
}

#[test]
fn what_leaves_the_list_is_durable_before() {
    for level in [Level::Raid1, Level::Raid5] {
        let bench = Bench::new(8, made(level, Version::V1_2));
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            breaks(&bench, &array, [3].into_iter());
            bench.write(&device, 0, 7, 8).await.unwrap();
            bench.disk(0).set_faults(|faults| *faults = Default::default());
            bench.write(&device, 0, 8, 8).await.unwrap();
            assert_eq!(listed(&bench, 0).await, 0);
            assert!(bench.holds_durably(&array, 0, 0, 8, 8), "{level}");
        });
    }
}

/// An array of three members whose first one lists a block that parity alone has, durably, and which is dirty.
fn dirty_with_a_listed_block() -> Bench {
    let bench = Bench::new(9, made(Level::Raid5, Version::V1_2));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 1, 64).await.unwrap();
        breaks(&bench, &array, [3].into_iter());
        bench.write(&device, 0, 2, 8).await.unwrap();
        device.start(Request::flush()).await.unwrap();
    });
    bench.world.power_cut();
    bench.disk(0).set_faults(|faults| *faults = Default::default());
    bench
}

#[test]
fn what_lives_in_parity_alone_is_not_given_up_by_a_resync_without_a_word() {
    let bench = dirty_with_a_listed_block();
    bench.run(async {
        let options = Options { write: true, ..Options::default() };
        let refused = bench.open_with(options).await.err();
        assert_eq!(refused, Some(OpenError::Hindered(vec![Hindrance::DirtyBadBlocks])));
        // For reading, that block alone fails.
        let (set, candidates) = bench.set().await;
        let array = Array::open(&set, &candidates, &bench.devs(), Options::default()).unwrap();
        let device = array.device();
        bench.reads(&device, 0, 2, 8).await.unwrap_err();
        bench.reads(&device, 8, 1, 56).await.unwrap();
    });
    let bench = dirty_with_a_listed_block();
    bench.run(async {
        let options = Options { write: true, dirty_degraded: true, ..Options::default() };
        let array = bench.open_with(options).await.unwrap();
        array.sync_settled().await;
        let device = array.device();
        bench.reads(&device, 0, 2, 8).await.unwrap();
        assert_eq!(listed(&bench, 0).await, 0, "the resync has written it");
        array.stop().await.unwrap();
    });
}

#[test]
fn what_a_log_tells_needs_no_word() {
    // A block of its own, and one that is written beside another.
    for count in [8, 32] {
        let bench = Bench::new(10, Made { ppl: true, ..made(Level::Raid5, Version::V1_2) });
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            bench.write(&device, 0, 1, 64).await.unwrap();
            breaks(&bench, &array, [3].into_iter());
            bench.write(&device, 0, 2, count).await.unwrap();
            device.start(Request::flush()).await.unwrap();
        });
        bench.world.power_cut();
        bench.disk(0).set_faults(|faults| *faults = Default::default());
        bench.run(async {
            let array = bench.open().await;
            array.sync_settled().await;
            let device = array.device();
            bench.reads(&device, 0, 2, count).await.unwrap();
            bench.reads(&device, count, 1, 64 - count).await.unwrap();
            array.stop().await.unwrap();
        });
    }
}
