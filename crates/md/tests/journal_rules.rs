//! The rules of write journals, each in a simulated world. Scenarios with power cuts at any moment are the simulation's;
//! what the kernel makes of our journals is in `ashlar/tests/kernel_journal.rs`.

mod common;

use std::rc::Rc;

use block::{Range, Request, Sectors};
use common::journals::{JOURNAL, journaled, payloads};
use common::{Bench, Made};
use md::{Array, Condition, Hindrance, OpenError, Options, SyncState};
use md_format::journal::{self, MetaBlock};
use md_format::{Level, ResyncOffset, Version};
use runtime::sim::Fate;
use runtime::{now, sleep_ms};

async fn open(bench: &Bench) -> Rc<Array> {
    let array = bench.open().await;
    array.replayed().await;
    array
}

#[test]
fn data_and_parity_are_durable_in_the_journal_before_a_write_is_answered() {
    let bench = Bench::new(1, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        assert_eq!(payloads(&bench).await, [""; 0], "a new journal begins empty");
        bench.write(&array.device(), 8, 1, 8).await.unwrap();
        assert_eq!(payloads(&bench).await, ["data 8", "parity 8"]);
        bench.write(&array.device(), 0, 2, 48).await.unwrap();
        let whole = ["data 0", "data 16", "data 32", "parity 0", "data 8", "data 24", "data 40", "parity 8"];
        assert_eq!(payloads(&bench).await[2..], whole);
        // What is no whole block goes in with what the block held.
        bench.write(&array.device(), 18, 3, 3).await.unwrap();
        assert_eq!(payloads(&bench).await[10..], ["data 16", "parity 0"]);
        bench.reads(&array.device(), 16, 2, 2).await.unwrap();
        bench.reads(&array.device(), 18, 3, 3).await.unwrap();
        bench.reads(&array.device(), 21, 2, 27).await.unwrap();
    });
}

#[test]
fn what_was_answered_is_there_after_a_power_cut_and_nothing_is_synced() {
    let bench = Bench::new(2, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        bench.write(&array.device(), 0, 1, 200).await.unwrap();
        bench.write(&array.device(), 77, 2, 3).await.unwrap();
        assert!(array.is_dirty());
    });
    bench.world.power_cut();
    bench.run(async {
        assert_eq!(bench.summary(0).await.resync, ResyncOffset::Complete, "the journal answers for it");
        let array = open(&bench).await;
        assert_eq!(array.sync_state(), SyncState::Idle);
        bench.reads(&array.device(), 0, 1, 77).await.unwrap();
        bench.reads(&array.device(), 77, 2, 3).await.unwrap();
        bench.reads(&array.device(), 80, 1, 120).await.unwrap();
        // Whichever member is missing, parity says the same.
        bench.disk(1).set_fate(Fate::Dead);
        bench.reads(&array.device(), 0, 1, 77).await.unwrap();
        bench.reads(&array.device(), 77, 2, 3).await.unwrap();
    });
}

#[test]
fn a_first_resync_that_was_not_through_begins_again() {
    let bench = Bench::new(3, Made { assume_clean: false, ..journaled(20_480) });
    bench.run(async {
        let array = open(&bench).await;
        bench.write(&array.device(), 0, 1, 4).await.unwrap();
        assert_eq!(bench.summary(0).await.resync, ResyncOffset::At(0));
    });
    bench.world.power_cut();
    bench.run(async {
        let array = open(&bench).await;
        bench.reads(&array.device(), 0, 1, 4).await.unwrap();
        assert_ne!(array.sync_state(), SyncState::Idle);
        sleep_ms(60_000).await;
        assert_eq!(array.sync_state(), SyncState::Idle);
    });
}

#[test]
fn a_stop_leaves_little_to_replay_and_the_next_life_cannot_be_followed_by_the_last() {
    let bench = Bench::new(4, journaled(20_480));
    let mut seqs = Vec::new();
    for turn in 0..3 {
        bench.run(async {
            let array = open(&bench).await;
            for at in 0..20 {
                bench.write(&array.device(), at * 8, turn, 8).await.unwrap();
            }
            array.stop().await.unwrap();
            assert_eq!(payloads(&bench).await.len(), 2, "the newest unit stays");
            let summary = bench.summary(JOURNAL).await;
            let at = Sectors(summary.data_offset + summary.journal_tail.unwrap());
            let bytes = bench.disk(JOURNAL).peek_durable(Range::new(at, Sectors(8)));
            seqs.push(MetaBlock::view(&bytes).unwrap().seq.get());
        });
    }
    assert!(seqs.windows(2).all(|pair| pair[1] >= pair[0] + journal::RECOVERY_STEP), "{seqs:?}");
}

#[test]
fn a_journal_that_is_small_goes_around_and_nobody_waits_for_ever() {
    // 4 rows of 5 blocks and their room: the least that is served.
    for sectors in [2048 + 160, 2048 + 320, 4096] {
        let bench = Bench::new(5, journaled(sectors));
        bench.run(async {
            let array = open(&bench).await;
            let device = array.device();
            bench.write_in_turns(&device, 60, 40).await;
            bench.reads(&device, 3, 3, 1000).await.unwrap();
        });
        bench.world.power_cut();
        bench.run(async {
            let array = open(&bench).await;
            bench.reads(&array.device(), 3, 3, 1000).await.unwrap();
            bench.reads(&array.device(), 1003, 3, 1400).await.unwrap();
        });
    }
}

#[test]
fn what_was_degraded_and_crashed_gives_back_what_was_answered() {
    let bench = Bench::new(6, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 0, 1, 480).await.unwrap();
        bench.disk(1).set_fate(Fate::Dead);
        bench.write(&device, 10, 2, 50).await.unwrap();
        assert_eq!(array.in_sync(), 3);
        bench.write(&device, 19, 3, 5).await.unwrap();
    });
    bench.world.power_cut();
    bench.disk(1).set_fate(Fate::Alive);
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        assert_eq!(array.in_sync(), 3);
        bench.reads(&device, 0, 1, 10).await.unwrap();
        bench.reads(&device, 10, 2, 9).await.unwrap();
        bench.reads(&device, 19, 3, 5).await.unwrap();
        bench.reads(&device, 24, 2, 36).await.unwrap();
        bench.reads(&device, 60, 1, 420).await.unwrap();
    });
}

#[test]
fn what_was_written_while_parity_was_missing_does_not_undo_its_rebuild() {
    let bench = Bench::new(11, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 0, 1, 8).await.unwrap();
        // The member with the parity of the first stripe goes, and comes back.
        array.fail_member(3).await.unwrap();
        bench.write(&device, 16, 2, 8).await.unwrap();
        assert_eq!(payloads(&bench).await, ["data 0", "parity 0", "data 16", "parity 0"]);
        array.remove_member(3).await.unwrap();
        let dev = bench.disk(3) as block::Dev;
        let newcomer = md::Newcomer { name: "3".to_owned(), dev, examined: None };
        array.add_member(newcomer).await.unwrap();
        while array.in_sync() < 4 {
            sleep_ms(100).await;
        }
    });
    bench.world.power_cut();
    bench.run(async {
        let array = open(&bench).await;
        assert_eq!(array.in_sync(), 4);
        bench.disk(1).set_fate(Fate::Dead);
        bench.reads(&array.device(), 0, 1, 8).await.unwrap();
        bench.reads(&array.device(), 16, 2, 8).await.unwrap();
    });
}

#[test]
fn a_journal_that_fails_makes_writes_fail_and_reads_go_on() {
    let bench = Bench::new(7, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 0, 1, 100).await.unwrap();
        bench.disk(JOURNAL).set_fate(Fate::Dead);
        bench.write(&device, 0, 2, 8).await.unwrap_err();
        bench.write(&device, 200, 2, 8).await.unwrap_err();
        let zeroes = Range::new(Sectors(0), Sectors(96));
        device.start(Request::write_zeroes(zeroes)).await.unwrap_err();
        bench.reads(&device, 0, 1, 100).await.unwrap();
        device.start(Request::flush()).await.unwrap();
        let journal = array.members().into_iter().find(|member| member.slot.is_none()).unwrap();
        assert_eq!(journal.condition, Condition::Faulty);
        assert!(bench.holds_durably(&array, 0, 0, 1, 16), "what was answered is on the members now");
        bench.disk(JOURNAL).set_fate(Fate::Alive);
        let role = bench.candidates().await[0].examined.superblock().role_of(4);
        assert_eq!(role, md_format::Role::Faulty);
        array.stop().await.unwrap();
    });
    bench.run(async {
        let (set, candidates) = bench.set().await;
        assert_eq!((set.journal, set.left_out.len()), (None, 1));
        let options = Options { write: true, ..Options::default() };
        let opened = Array::open(&set, &candidates, &bench.devs(), options);
        let Err(OpenError::Hindered(why)) = opened else { panic!("it was opened") };
        assert!(matches!(why[..], [Hindrance::Shape(what)] if what.contains("missing")), "{why:?}");
        let array = Array::open(&set, &candidates, &bench.devs(), Options::default()).unwrap();
        bench.reads(&array.device(), 0, 1, 100).await.unwrap();
    });
}

#[test]
fn a_flush_takes_no_time_while_the_journal_has_everything() {
    let bench = Bench::new(8, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 0, 1, 100).await.unwrap();
        let began = now();
        device.start(Request::flush()).await.unwrap();
        assert_eq!(now().since(began), 0);
    });
}

#[test]
fn zeroes_are_in_the_journal_too_and_what_was_before_does_not_come_back() {
    let bench = Bench::new(9, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 0, 1, 200).await.unwrap();
        device.start(Request::write_zeroes(Range::new(Sectors(5), Sectors(150)))).await.unwrap();
        device.start(Request::discard(Range::new(Sectors(160), Sectors(40)))).await.unwrap();
    });
    bench.world.power_cut();
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.reads(&device, 0, 1, 5).await.unwrap();
        bench.reads(&device, 5, 0, 150).await.unwrap();
        bench.reads(&device, 155, 1, 45).await.unwrap();
    });
}

#[test]
fn a_journal_is_for_parity_with_new_metadata_and_without_another_log() {
    let made = |made: Made| std::panic::catch_unwind(|| drop(Bench::new(10, made))).is_err();
    let journal = Some(Sectors(20_480));
    assert!(made(Made { level: Level::Raid1, journal, ..Made::default() }));
    assert!(made(Made { version: Version::V0_90, ..journaled(20_480) }));
    assert!(made(Made { ppl: true, ..journaled(20_480) }));
    assert!(made(Made { bitmap: Some(65_536), ..journaled(20_480) }));
    assert!(made(journaled(2048 + 152)), "too small");
}

#[test]
fn a_journal_is_read_in_large_pieces() {
    let bench = Bench::new(12, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        for at in 0..100 {
            bench.write(&array.device(), at * 48, at as u8, 8).await.unwrap();
        }
    });
    bench.world.power_cut();
    bench.run(async {
        let (set, candidates) = bench.set().await;
        let before = bench.disk(JOURNAL).reads();
        let options = Options { write: true, ..Options::default() };
        let array = Array::open(&set, &candidates, &bench.devs(), options).unwrap();
        array.replayed().await;
        assert!(array.journal().unwrap().replayed >= 100);
        let reads = bench.disk(JOURNAL).reads() - before;
        assert!(reads < 20, "{reads} reads of 300 blocks");
    });
}

#[test]
fn a_journal_that_cannot_be_read_leaves_what_the_members_hold_to_be_read() {
    let bench = Bench::new(13, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        bench.write(&array.device(), 0, 1, 200).await.unwrap();
        array.device().start(Request::flush()).await.unwrap();
    });
    bench.run(async {
        let summary = bench.summary(JOURNAL).await;
        let bad = summary.data_offset + summary.journal_tail.unwrap();
        bench.disk(JOURNAL).set_faults(|faults| {
            faults.bad_sectors = [bad].into();
            faults.bad_for_good = true;
        });
        let (set, candidates) = bench.set().await;
        let array = Array::open(&set, &candidates, &bench.devs(), Options::default()).unwrap();
        bench.reads(&array.device(), 0, 1, 200).await.unwrap();
        assert!(array.journal().unwrap().failure.is_some());
        // What only parity could give back may be anything (S6).
        bench.disk(1).set_fate(Fate::Dead);
        bench.reads(&array.device(), 0, 1, 16).await.unwrap();
        bench.reads(&array.device(), 16, 1, 16).await.unwrap_err();
        // Who writes would go on from what is not known.
        let options = Options { write: true, degraded: true, ..Options::default() };
        let array = Array::open(&set, &candidates, &bench.devs(), options).unwrap();
        bench.reads(&array.device(), 0, 1, 16).await.unwrap_err();
    });
}
