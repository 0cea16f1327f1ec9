//! Members that come and go: rebuilt, brought back, replaced, compared, each in a simulated world where exactly one thing
//! goes wrong.

mod common;

use block::{Arena, Cause, Dev, Range, Request, Sectors};
use common::{Bench, Made, SIZE};
use md::plant::{self, Plant};
use md::{
    Action, Admission, Array, Condition, MembershipError, Newcomer, NotAdmitted, Scrub, ScrubBounds, Speed,
    SyncState, Verdict, examine,
};
use md_format::Level;
use runtime::sleep_ms;

fn made(level: Level, members: usize) -> Made {
    let striped = (level != Level::Raid1).then_some((16, if level == Level::Raid10 { 0x102 } else { 2 }));
    let striped = striped.filter(|_| level != Level::Raid4).or((level == Level::Raid4).then_some((16, 0)));
    Made { level, members, striped, ..Made::default() }
}

async fn newcomer(bench: &Bench, disk: usize) -> Newcomer {
    let dev = bench.disk(disk) as Dev;
    let examined = examine(&dev, &bench.arena).await.ok();
    Newcomer { name: disk.to_string(), dev, examined }
}

/// Fills the array, so that nothing of it is zero.
async fn fill(bench: &Bench, device: &Dev) {
    let size = device.geometry().size.0;
    for start in (0..size).step_by(128) {
        let count = (size - start).min(128);
        bench.write(device, start, (start / 128 % 250) as u8 + 1, count).await.unwrap();
    }
}

async fn is_filled(bench: &Bench, device: &Dev) {
    let size = device.geometry().size.0;
    for start in (0..size).step_by(128) {
        let count = (size - start).min(128);
        bench.reads(device, start, (start / 128 % 250) as u8 + 1, count).await.unwrap();
    }
}

fn condition(array: &Array, name: usize) -> Condition {
    let members = array.members();
    members.iter().rev().find(|member| member.name == name.to_string()).unwrap().condition
}

async fn is_sound(array: &Array) {
    assert!(array.scrub(Scrub::Check));
    array.sync_settled().await;
    let report = array.scrub_report().unwrap();
    assert!(report.complete && report.mismatched == Sectors::ZERO, "{report:?}");
}

#[test]
fn a_spare_takes_an_empty_slot_by_itself_and_has_all_of_its_data_then() {
    for (level, members) in
        [(Level::Raid1, 2), (Level::Raid10, 4), (Level::Raid4, 3), (Level::Raid5, 4), (Level::Raid6, 4)]
    {
        let bench = Bench::new(21, made(level, members));
        bench.world.add_disk(SIZE, 512);
        bench.run(async {
            let array = bench.open_members(members).await;
            let device = array.device();
            fill(&bench, &device).await;
            let (at, admission) = array.add_member(newcomer(&bench, members).await).await.unwrap();
            assert!(matches!(admission, Admission::Spare { .. }));
            assert_eq!(array.members()[at].condition, Condition::Spare);
            array.fail_member(1).await.unwrap();
            array.sync_settled().await;
            assert_eq!(condition(&array, members), Condition::InSync, "{level}");
            is_sound(&array).await;
            // On it alone now, as far as the level can.
            array.fail_member(0).await.unwrap();
            is_filled(&bench, &device).await;
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn a_member_that_comes_back_is_given_only_what_the_bitmap_marks() {
    for level in [Level::Raid1, Level::Raid5, Level::Raid6] {
        let members = if level == Level::Raid6 { 4 } else { 3 };
        let bench = Bench::new(22, Made { bitmap: Some(65_536), ..made(level, members) });
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            fill(&bench, &device).await;
            bench.settle_bits(&array).await;
            array.fail_member(1).await.unwrap();
            bench.write(&device, 0, 99, 16).await.unwrap();
            array.remove_member(1).await.unwrap();
            // Behind everybody's back, far from what is marked.
            let far = array.members()[0].data_offset + Sectors(8000);
            bench.disk(1).poke(far, &[0xee; 4096]);
            let (_, admission) = array.add_member(newcomer(&bench, 1).await).await.unwrap();
            assert_eq!(admission, Admission::Former { slot: 1, dev_number: 1 });
            array.sync_settled().await;
            assert_eq!(condition(&array, 1), Condition::InSync);
            assert_eq!(
                bench.disk(1).peek(Range::new(far, Sectors(8))),
                [0xee; 4096],
                "{level}: it was left alone"
            );
            bench.reads(&device, 0, 99, 16).await.unwrap();
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn without_a_bitmap_who_comes_back_is_a_spare_and_rebuilt() {
    let bench = Bench::new(23, made(Level::Raid5, 3));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        fill(&bench, &device).await;
        array.fail_member(1).await.unwrap();
        let known = array.add_member(newcomer(&bench, 1).await).await.err();
        assert_eq!(known, Some(MembershipError::NotAdmitted(NotAdmitted::NumberInUse(1))), "remove it first");
        array.remove_member(1).await.unwrap();
        let (_, admission) = array.add_member(newcomer(&bench, 1).await).await.unwrap();
        assert!(matches!(admission, Admission::Spare { .. }));
        array.sync_settled().await;
        is_sound(&array).await;
        array.fail_member(0).await.unwrap();
        is_filled(&bench, &device).await;
        array.stop().await.unwrap();
    });
}

#[test]
fn a_disk_that_is_too_small_is_refused_and_not_touched() {
    let bench = Bench::new(24, made(Level::Raid1, 2));
    bench.world.add_disk(Sectors(9_000), 512);
    bench.run(async {
        let array = bench.open_members(2).await;
        let refused = array.add_member(newcomer(&bench, 2).await).await.err();
        assert!(
            matches!(refused, Some(MembershipError::NotAdmitted(NotAdmitted::TooSmall { .. }))),
            "{refused:?}"
        );
        assert_eq!(bench.disk(2).writes(), 0);
        array.stop().await.unwrap();
    });
}

#[test]
fn a_member_is_replaced_while_it_goes_on_working() {
    for level in [Level::Raid1, Level::Raid10, Level::Raid5, Level::Raid6] {
        let members = if level == Level::Raid1 { 2 } else { 4 };
        let bench = Bench::new(25, made(level, members));
        bench.world.add_disk(SIZE, 512);
        bench.run(async {
            let array = bench.open_members(members).await;
            let device = array.device();
            fill(&bench, &device).await;
            assert_eq!(array.replace_member(1, None), Err(MembershipError::NoSpare));
            array.add_member(newcomer(&bench, members).await).await.unwrap();
            array.replace_member(1, None).unwrap();
            let mut was_whole = true;
            while condition(&array, members) != Condition::InSync {
                was_whole &= array.in_sync() == members as u32;
                sleep_ms(1).await;
            }
            assert!(was_whole, "{level}: nobody was missing at any moment");
            assert_eq!(condition(&array, 1), Condition::Faulty, "who was replaced is out");
            is_sound(&array).await;
            array.fail_member(0).await.unwrap();
            is_filled(&bench, &device).await;
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn who_is_replaced_and_fails_leaves_its_slot_to_the_one_that_is_half_done() {
    let bench = Bench::new(26, made(Level::Raid5, 3));
    bench.world.add_disk(SIZE, 512);
    bench.run(async {
        let array = bench.open_members(3).await;
        let device = array.device();
        fill(&bench, &device).await;
        array.add_member(newcomer(&bench, 3).await).await.unwrap();
        array.set_speed(Speed { min: 0, max: 1 << 20 });
        array.replace_member(0, None).unwrap();
        while !matches!(condition(&array, 3), Condition::Recovering(recovering) if recovering.done > Sectors(1000)) {
            sleep_ms(1).await;
        }
        array.fail_member(0).await.unwrap();
        assert!(matches!(condition(&array, 3), Condition::Recovering(recovering) if !recovering.replaces));
        is_filled(&bench, &device).await;
        array.set_speed(Speed::default());
        array.sync_settled().await;
        assert_eq!(condition(&array, 3), Condition::InSync);
        is_sound(&array).await;
        array.stop().await.unwrap();
    });
}

/// The first of the two old bugs: while a resync runs no spare is taken, and a member fails.
#[test]
fn a_spare_is_not_promoted_by_a_resync_that_ends() {
    let bench = Bench::new(27, Made { assume_clean: false, ..made(Level::Raid1, 3) });
    bench.world.add_disk(SIZE, 512);
    bench.run(async {
        let array = bench.open_members(3).await;
        array.set_speed(Speed { min: 0, max: 1 << 20 });
        array.add_member(newcomer(&bench, 3).await).await.unwrap();
        while !matches!(array.sync_state(), SyncState::Running(Action::Resync, at) if at.done > Sectors(2000))
        {
            sleep_ms(1).await;
        }
        array.fail_member(1).await.unwrap();
        while matches!(array.sync_state(), SyncState::Running(Action::Resync, _)) {
            assert_eq!(
                condition(&array, 3),
                Condition::Spare,
                "nobody takes a slot while an action runs (S2)"
            );
            sleep_ms(1).await;
        }
        array.set_speed(Speed::default());
        array.sync_settled().await;
        assert_eq!(condition(&array, 3), Condition::InSync);
        is_sound(&array).await;
        array.stop().await.unwrap();
    });
}

#[test]
fn a_recovery_goes_on_from_where_a_stop_has_recorded_it() {
    let bench = Bench::new(28, made(Level::Raid5, 3));
    bench.world.add_disk(SIZE, 512);
    let reached = bench.run(async {
        let array = bench.open_members(3).await;
        fill(&bench, &array.device()).await;
        array.add_member(newcomer(&bench, 3).await).await.unwrap();
        array.set_speed(Speed { min: 0, max: 1 << 20 });
        array.fail_member(1).await.unwrap();
        while !matches!(condition(&array, 3), Condition::Recovering(recovering) if recovering.done > Sectors(2000)) {
            sleep_ms(1).await;
        }
        array.stop().await.unwrap();
        bench.summary(3).await.recovery.expect("it is half done").offset_sectors
    });
    assert!(reached > 2000);
    bench.run(async {
        let (set, candidates) = bench.set().await;
        assert_eq!(set.slots[1].map(|seat| seat.candidate), Some(3));
        let options = md::Options { write: true, degraded: true, ..md::Options::default() };
        let array = Array::open(&set, &candidates, &bench.devs(), options).unwrap();
        let started = loop {
            let started = array.take_happenings().into_iter().find_map(|happening| match happening {
                md::array::Happening::SyncStarted { action: Action::Recover, from } => Some(from),
                _ => None,
            });
            if let Some(from) = started {
                break from;
            }
            sleep_ms(1).await;
        };
        assert_eq!(started, reached / 8 * 8);
        array.sync_settled().await;
        is_sound(&array).await;
        is_filled(&bench, &array.device()).await;
        array.stop().await.unwrap();
    });
}

/// A power cut in the middle of a rebuild leaves what was written then different on the new member too, as far as that had
/// come: the resync compares it with the others, though only one of them is in sync.
#[test]
fn a_resync_looks_at_who_is_half_rebuilt_too() {
    for (level, members, half) in [(Level::Raid1, 2, 2000), (Level::Raid1, 2, 2008), (Level::Raid10, 4, 2008)]
    {
        let bench = Bench::new(28, made(level, members));
        bench.world.add_disk(SIZE, 512);
        let options =
            || md::Options { write: true, degraded: true, checkpoint_ms: 10, ..md::Options::default() };
        let data_offset = bench.run(async {
            let (set, candidates) = bench.set_of(members).await;
            let array = Array::open(&set, &candidates, &bench.devs(), options()).unwrap();
            fill(&bench, &array.device()).await;
            array.add_member(newcomer(&bench, members).await).await.unwrap();
            array.set_speed(Speed { min: 0, max: 1 << 20 });
            array.fail_member(1).await.unwrap();
            let reached =
                async || bench.summary(members).await.recovery.map_or(0, |recovery| recovery.offset_sectors);
            while reached().await <= half {
                sleep_ms(1).await;
            }
            bench.write(&array.device(), 64, 1, 8).await.unwrap();
            array.members().last().unwrap().data_offset
        });
        bench.world.power_cut();
        // As the cut may leave a write that was under way.
        bench.disk(members).poke(data_offset + Sectors(half - 8), &[0x5a; 4096]);
        bench.run(async {
            let (set, candidates) = bench.set().await;
            let array = Array::open(&set, &candidates, &bench.devs(), options()).unwrap();
            array.sync_settled().await;
            assert_eq!(condition(&array, members), Condition::InSync, "{level}");
            is_sound(&array).await;
            array.stop().await.unwrap();
        });
    }
}

#[test]
fn what_nobody_can_read_is_listed_as_bad_and_only_that() {
    let bench = Bench::new(29, made(Level::Raid5, 3));
    bench.world.add_disk(SIZE, 512);
    bench.run(async {
        let array = bench.open_members(3).await;
        let device = array.device();
        fill(&bench, &device).await;
        array.add_member(newcomer(&bench, 3).await).await.unwrap();
        let row = Sectors(4000);
        let at = array.members()[0].data_offset + row;
        bench.disk(0).set_faults(|faults| {
            faults.bad_sectors = [at.0].into();
            faults.bad_for_good = true;
        });
        array.fail_member(1).await.unwrap();
        array.sync_settled().await;
        assert_eq!(condition(&array, 3), Condition::InSync, "one bad sector does not stop it");
        let listed: Vec<usize> = array.members().iter().map(|member| member.bad_blocks).collect();
        assert_eq!(listed[3], 1, "{listed:?}");
        let (mut failed, size) = (0, device.geometry().size.0);
        let arena = Arena::new(1 << 20);
        for start in 0..size {
            let buf = arena.take(512).unwrap();
            failed += u32::from(device.start(Request::read(Sectors(start), buf)).await.is_err());
        }
        assert!((1..=2).contains(&failed), "{failed} sectors cannot be read");
        array.stop().await.unwrap();
        assert!(bench.candidates().await[3].examined.summary.bad_block_log.unwrap().in_use);
    });
}

#[test]
fn raid6_says_which_member_is_wrong_and_repairs_that_one() {
    let bench = Bench::new(30, made(Level::Raid6, 5));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        fill(&bench, &device).await;
        for member in 0..5 {
            let row = Sectors(640 * (member as u64 + 1));
            let at = array.members()[member].data_offset + row;
            bench.disk(member).poke(at, &[0x5a; 4096]);
            assert!(array.scrub(Scrub::Check));
            array.sync_settled().await;
            let report = array.scrub_report().unwrap();
            let [found] = &report.places[..] else { panic!("{report:?}") };
            assert_eq!(
                (found.rows, &found.verdict),
                (Range::new(row, Sectors(8)), &Verdict::Member(member.to_string()))
            );
            assert!(!found.repaired);
            assert!(array.scrub(Scrub::Repair));
            array.sync_settled().await;
            assert!(array.scrub_report().unwrap().places[0].repaired);
            is_sound(&array).await;
        }
        is_filled(&bench, &device).await;
        array.stop().await.unwrap();
    });
}

#[test]
fn of_three_copies_most_decide() {
    let bench = Bench::new(31, made(Level::Raid1, 3));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        fill(&bench, &device).await;
        // The first copy, which a repair would follow if it did not count.
        let at = array.members()[0].data_offset + Sectors(640);
        bench.disk(0).poke(at, &[0x5a; 4096]);
        assert!(array.scrub(Scrub::Repair));
        array.sync_settled().await;
        let report = array.scrub_report().unwrap();
        let [found] = &report.places[..] else { panic!("{report:?}") };
        assert_eq!((&found.verdict, found.repaired), (&Verdict::Member("0".to_owned()), true));
        is_filled(&bench, &device).await;
        array.stop().await.unwrap();
    });
}

#[test]
fn two_wrong_members_of_a_raid6_are_told_and_nothing_is_written_over_them() {
    let bench = Bench::new(32, made(Level::Raid6, 6));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        fill(&bench, &device).await;
        let row = Sectors(640);
        for member in [1, 3] {
            let noise: Vec<u8> = (0..4096u32).map(|n| (n * 31 + member as u32 * 7) as u8).collect();
            bench.disk(member).poke(array.members()[member].data_offset + row, &noise);
        }
        let before: Vec<u64> = bench.world.disks().iter().map(|disk| disk.writes()).collect();
        assert!(array.scrub(Scrub::Repair));
        array.sync_settled().await;
        let report = array.scrub_report().unwrap();
        assert!(
            report.places.iter().all(|place| place.verdict == Verdict::Several && !place.repaired),
            "{report:?}"
        );
        let after: Vec<u64> = bench.world.disks().iter().map(|disk| disk.writes()).collect();
        assert_eq!(before, after, "nothing is written");
        array.stop().await.unwrap();
    });
}

#[test]
fn a_freeze_holds_everything_up_and_a_scrub_goes_on_afterwards() {
    let bench = Bench::new(33, made(Level::Raid5, 3));
    bench.world.add_disk(SIZE, 512);
    bench.run(async {
        let array = bench.open_members(3).await;
        array.set_speed(Speed { min: 0, max: 1 << 20 });
        assert!(array.scrub(Scrub::Check));
        while !matches!(array.sync_state(), SyncState::Running(Action::Check, at) if at.done > Sectors(2000))
        {
            sleep_ms(1).await;
        }
        array.freeze(true).await;
        array.add_member(newcomer(&bench, 3).await).await.unwrap();
        array.fail_member(0).await.unwrap();
        sleep_ms(5000).await;
        assert_eq!(condition(&array, 3), Condition::Spare, "nothing happens");
        array.set_speed(Speed::default());
        array.freeze(false).await;
        array.sync_settled().await;
        assert_eq!(condition(&array, 3), Condition::InSync);
        assert!(array.scrub_report().unwrap().complete, "it went on after the rebuild");
        array.stop().await.unwrap();
    });
}

#[test]
fn the_last_copy_is_never_failed_nor_let_go_of() {
    let bench = Bench::new(34, made(Level::Raid1, 2));
    bench.run(async {
        let array = bench.open().await;
        array.fail_member(0).await.unwrap();
        assert_eq!(array.fail_member(1).await, Err(MembershipError::LastCopy));
        assert_eq!(array.remove_member(1).await, Err(MembershipError::InUse));
        assert_eq!(array.replace_member(0, None), Err(MembershipError::NotInSync));
        array.stop().await.unwrap();
    });
}

#[test]
fn a_member_that_fails_while_it_is_rebuilt_leaves_the_array_as_it_was() {
    let bench = Bench::new(35, made(Level::Raid5, 3));
    bench.world.add_disk(SIZE, 512);
    bench.run(async {
        let array = bench.open_members(3).await;
        let device = array.device();
        fill(&bench, &device).await;
        array.add_member(newcomer(&bench, 3).await).await.unwrap();
        array.set_speed(Speed { min: 0, max: 1 << 20 });
        array.fail_member(1).await.unwrap();
        while !matches!(condition(&array, 3), Condition::Recovering(recovering) if recovering.done > Sectors(2000)) {
            sleep_ms(1).await;
        }
        bench.disk(3).set_fate(runtime::sim::Fate::Dead);
        bench.write(&device, 0, 7, 64).await.unwrap();
        sleep_ms(1000).await;
        assert_eq!(condition(&array, 3), Condition::Faulty);
        assert_eq!(array.members().last().unwrap().failure.map(|failed| failed.cause), Some(Cause::Gone));
        bench.reads(&device, 0, 7, 64).await.unwrap();
        array.stop().await.unwrap();
    });
}

/// What a read of a lost block comes to that was rebuilt where parity did not belong to the data.
fn read_of_a_doubtful_block(planted: Option<Plant>) -> block::Outcome {
    plant::set(planted);
    let bench = Bench::new(36, Made { assume_clean: false, ..made(Level::Raid5, 3) });
    bench.world.add_disk(SIZE, 512);
    let outcome = bench.run(async {
        let array = bench.open_members(3).await;
        array.freeze(true).await;
        // A write that the power has cut in two: data that parity knows nothing of.
        bench.disk(0).poke(array.members()[0].data_offset + Sectors(4000), &[0x5a; 4096]);
        array.add_member(newcomer(&bench, 3).await).await.unwrap();
        array.fail_member(1).await.unwrap();
        array.freeze(false).await;
        array.sync_settled().await;
        assert_eq!(condition(&array, 3), Condition::InSync);
        let device = array.device();
        let buf = bench.arena.take(1 << 20).unwrap();
        let mut outcome = Ok(());
        for start in (0..device.geometry().size.0).step_by(8) {
            let read = device.start(Request::read(Sectors(start), buf.slice(0, 4096))).await;
            outcome = outcome.and(read);
        }
        array.stop().await.unwrap();
        outcome
    });
    plant::set(None);
    outcome
}

#[test]
fn what_parity_may_be_wrong_about_is_not_given_back_after_a_rebuild_either() {
    let failed = read_of_a_doubtful_block(None).unwrap_err();
    assert!(matches!(failed.cause, Cause::Medium | Cause::Degraded), "{failed}");
}

#[cfg(debug_assertions)]
#[test]
fn a_doubt_that_is_believed_is_found() {
    assert_eq!(
        read_of_a_doubtful_block(Some(Plant::DoubtBelieved)),
        Ok(()),
        "the defect shows where the rule does not"
    );
}

/// Only what nobody has written since is in doubt: what was acknowledged is given back before, during and after the rebuild.
#[test]
fn what_is_written_before_the_resync_comes_by_outlives_a_member() {
    for (level, members, gone) in [(Level::Raid4, 3, 1), (Level::Raid5, 4, 2), (Level::Raid6, 5, 1)] {
        for seed in 0..8 {
            let bench = Bench::new(60 + seed, Made { assume_clean: false, ..made(level, members) });
            bench.world.add_disk(SIZE, 512);
            bench.run(async {
                let array = bench.open_members(members).await;
                array.freeze(true).await;
                let device = array.device();
                if seed % 2 == 0 {
                    array.fail_member(gone).await.unwrap();
                }
                // In pieces that fit no stripe, of whole stripes, and of less than a page: but for one place.
                let size = device.geometry().size.0;
                let left_out = Range::new(Sectors(6000), Sectors(40));
                let step = [64, 40, 17, 3][seed as usize % 4];
                let pieces: Vec<Range> = (0..size)
                    .step_by(step)
                    .map(|start| Range::new(Sectors(start), Sectors(step as u64).min(Sectors(size - start))))
                    .filter(|piece| piece.end() < Sectors(8000) && !piece.overlaps(left_out))
                    .collect();
                for (number, piece) in pieces.iter().enumerate() {
                    bench.write(&device, piece.start.0, number as u8, piece.count.0).await.unwrap();
                }
                let is_there = async || {
                    for (number, piece) in pieces.iter().enumerate() {
                        bench.reads(&device, piece.start.0, number as u8, piece.count.0).await.unwrap();
                    }
                };
                if seed % 2 == 1 {
                    array.fail_member(gone).await.unwrap();
                }
                is_there().await;
                let doubtful = array.doubtful(1000);
                assert!(!doubtful.iter().any(|range| pieces.iter().any(|piece| piece.overlaps(*range))));
                assert!(!doubtful.is_empty(), "nobody has written behind that");
                array.add_member(newcomer(&bench, members).await).await.unwrap();
                array.freeze(false).await;
                array.sync_settled().await;
                assert_eq!(condition(&array, members), Condition::InSync);
                is_there().await;
                array.stop().await.unwrap();
            });
        }
    }
}

/// Memory, which answers before anybody waits.
struct AtOnce {
    content: std::cell::RefCell<Vec<u8>>,
}

impl block::Device for AtOnce {
    fn start(&self, request: Request) -> block::Ticket {
        let (start, content) = (request.range.start.byte_len(), &mut *self.content.borrow_mut());
        let place = &mut content[start..start + request.range.count.byte_len()];
        match (request.op, &request.buf) {
            (block::Op::Read, Some(buf)) => buf.copy_from_slice(0, place),
            (block::Op::Write, Some(buf)) => buf.copy_to_slice(0, place),
            (block::Op::WriteZeroes | block::Op::Discard, _) => place.fill(0),
            _ => {}
        }
        block::Ticket::ready(Ok(()))
    }

    fn geometry(&self) -> block::Geometry {
        block::Geometry::plain(Sectors::from_bytes(self.content.borrow().len() as u64))
    }
}

/// Nothing that a sync does ever waits here: it lets clients have their turn all the same.
#[test]
fn clients_have_their_turn_beside_a_rebuild_of_members_that_answer_at_once() {
    for (level, members) in [(Level::Raid1, 2), (Level::Raid10, 4), (Level::Raid5, 3), (Level::Raid6, 4)] {
        let bench = Bench::new(70, made(level, members));
        bench.run(async {
            let disks = bench.world.disks();
            let mut devs: Vec<Dev> = Vec::new();
            for disk in disks {
                let content = disk.peek(Range::new(Sectors::ZERO, SIZE)).into();
                devs.push(std::rc::Rc::new(AtOnce { content }));
            }
            let mut candidates = Vec::new();
            for (at, dev) in devs.iter().enumerate() {
                let examined = examine(dev, &bench.arena).await.unwrap();
                candidates.push(md::Candidate { name: at.to_string(), examined });
            }
            let options = md::Options { write: true, ..md::Options::default() };
            let set = md::assemble(&candidates).remove(0);
            let array = Array::open(&set, &candidates, &devs, options).unwrap();
            let device = array.device();
            fill(&bench, &device).await;
            array.fail_member(1).await.unwrap();
            array.remove_member(1).await.unwrap();
            let newcomer = Newcomer { name: "1".to_owned(), dev: devs[1].clone(), examined: None };
            array.add_member(newcomer).await.unwrap();
            let mut served_meanwhile = 0;
            while !array.is_sync_settled() {
                bench.reads(&device, 0, 1, 8).await.unwrap();
                served_meanwhile += 1;
                match served_meanwhile < 8 {
                    true => runtime::yield_now().await,
                    false => sleep_ms(1).await, // what gives way to us waits for a time that must come
                }
            }
            assert_eq!(condition(&array, 1), Condition::InSync, "{level}");
            assert!(served_meanwhile > 3, "{level}: {served_meanwhile}");
            is_filled(&bench, &device).await;
            array.stop().await.unwrap();
        });
    }
}

/// A dirty raid6 that lacks two members and gets one back: what that one's rebuild has come by is whole, or listed as bad.
/// Once the resync stayed to be done until the other was back too.
#[test]
fn a_rebuild_that_comes_to_the_end_of_a_dirty_raid6_leaves_nothing_to_resync_though_another_is_missing() {
    let bench = Bench::new(1, Made { assume_clean: false, ..made(Level::Raid6, 5) });
    let (mut reads_well, mut end) = (0, 0);
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        end = device.geometry().size.0;
        array.freeze(true).await;
        fill(&bench, &device).await;
        for member in [1, 2] {
            array.fail_member(member).await.unwrap();
            array.remove_member(member).await.unwrap();
        }
        array.add_member(newcomer(&bench, 1).await).await.unwrap();
        array.freeze(false).await;
        array.sync_settled().await;
        assert_eq!((array.in_sync(), array.sync_state()), (4, SyncState::Idle));
        // What is given back is what was written; what nobody can know fails.
        for start in (0..end).step_by(8) {
            let buf = bench.arena.take(4096).unwrap();
            if device.start(Request::read(Sectors(start), buf.clone())).await.is_ok() {
                assert!(buf.same_bytes(&bench.bytes((start / 128 % 250) as u8 + 1, 8)), "{start}");
                reads_well += 1;
            }
        }
        assert!(reads_well >= end / 8 / 3, "{reads_well} of {}", end / 8);
        array.stop().await.unwrap();
    });
    bench.run(async {
        let array = bench.open().await; // neither dirty nor in doubt
        let device = array.device();
        array.add_member(newcomer(&bench, 2).await).await.unwrap();
        array.sync_settled().await;
        assert_eq!((array.in_sync(), array.sync_state()), (5, SyncState::Idle));
        fill(&bench, &device).await;
        is_filled(&bench, &device).await;
        is_sound(&array).await;
        array.stop().await.unwrap();
    });
}

/// md's sync_min and sync_max: what lies outside of them is not looked at, and the kernel's check waits at the latter.
#[test]
fn a_scrub_looks_at_what_lies_between_its_bounds_and_waits_at_the_last() {
    for (level, members) in [(Level::Raid1, 2), (Level::Raid5, 3)] {
        let bench = Bench::new(1, made(level, members));
        bench.run(async {
            let array = bench.open().await;
            let device = array.device();
            fill(&bench, &device).await;
            let data = array.members()[0].data_offset;
            for row in [1024, 4096, 8192] {
                bench.disk(0).poke(data + Sectors(row), &[0xee; 512]);
            }
            assert!(!array.set_scrub_bounds(ScrubBounds { from: Sectors(8), to: Some(Sectors(8)) }));
            for (from, to, found) in
                [(0, None, 3), (2048, None, 2), (1040, Some(4097), 1), (4112, Some(8192), 0)]
            {
                let bounds = ScrubBounds { from: Sectors(from), to: to.map(Sectors) };
                assert!(array.set_scrub_bounds(bounds) && array.scrub(Scrub::Check));
                array.sync_settled().await;
                let report = array.scrub_report().unwrap();
                assert!(report.places.len() == found, "{level} {bounds:?}: {report:?}");
                assert_eq!((report.complete, array.is_scrub_waiting()), (to.is_none(), to.is_some()));
                assert!(
                    report.rows.start <= Sectors(from)
                        && to.is_none_or(|to| report.rows.end() >= Sectors(to))
                );
                if to.is_some() {
                    assert!(!array.scrub(Scrub::Check), "one waits already");
                    assert_eq!(array.sync_state(), SyncState::Pending(Action::Check));
                    array.idle().await;
                    assert!(array.scrub_report().unwrap().ended_s.is_some() && !array.is_scrub_waiting());
                }
            }
            // The bound moves, and then there is none.
            let bounds = |to| ScrubBounds { from: Sectors::ZERO, to };
            assert!(array.set_scrub_bounds(bounds(Some(Sectors(2048)))) && array.scrub(Scrub::Repair));
            for (to, found) in
                [(Some(Sectors(2048)), 1), (Some(Sectors(1024)), 1), (Some(Sectors(5008)), 2), (None, 3)]
            {
                assert!(array.set_scrub_bounds(bounds(to)));
                array.sync_settled().await;
                let report = array.scrub_report().unwrap();
                assert_eq!((report.places.len(), report.complete), (found, to.is_none()), "{to:?}");
            }
            assert_eq!(array.sync_state(), SyncState::Idle);
            // Who waits holds nobody up.
            assert!(array.set_scrub_bounds(bounds(Some(Sectors(2048)))) && array.scrub(Scrub::Check));
            array.sync_settled().await;
            bench.world.add_disk(SIZE, 512);
            let spare = newcomer(&bench, members).await;
            array.add_member(spare).await.unwrap();
            array.fail_member(0).await.unwrap();
            array.sync_settled().await;
            assert_eq!((array.in_sync(), array.is_scrub_waiting()), (members as u32, true));
            assert!(array.set_scrub_bounds(ScrubBounds::default()));
            array.sync_settled().await;
            let report = array.scrub_report().unwrap();
            assert!(report.complete && report.mismatched == Sectors::ZERO, "{report:?}");
            array.stop().await.unwrap();
        });
    }
}
