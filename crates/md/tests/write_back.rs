//! The rules of write journals in write-back mode, each in a simulated world. Scenarios with power cuts at any moment are the
//! simulation's; what the kernel makes of what we leave is in `ashlar/tests/kernel_write_back.rs`.

mod common;

use std::rc::Rc;

use block::{Range, Request, Sectors};
use common::journals::{JOURNAL, cached, journaled, open_write_back, payloads};
use common::{Bench, Made};
use md::{Array, Growth, JournalMode, Options, SyncState};
use md_format::{Level, ResyncOffset};
use runtime::sim::Fate;
use runtime::{Runtime, now, sleep_ms};

const WRITE_BACK: JournalMode = JournalMode::WriteBack;

async fn open(bench: &Bench) -> Rc<Array> {
    open_write_back(bench, 1 << 20).await
}

/// Opens the array for so many events of its world. Whether that was enough.
fn open_for(bench: &Bench, events: u64) -> bool {
    let limit = bench.world.events_done() + events;
    let runtime = Runtime::new(bench.world.clone());
    let opening = async { drop(open(bench).await) };
    runtime.run_until(opening, |_| bench.world.events_done() < limit).is_some()
}

#[test]
fn a_write_is_answered_when_its_data_is_durable_in_the_journal_and_read_from_memory() {
    let bench = Bench::new(1, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 8, 1, 8).await.unwrap();
        assert_eq!((payloads(&bench).await, cached(&array)), (vec!["data 8".to_owned()], 1));
        assert!(bench.holds_durably(&array, 0, 8, 0, 8), "no member has it");
        bench.reads(&device, 0, 0, 8).await.unwrap();
        bench.reads(&device, 8, 1, 8).await.unwrap();
        bench.reads(&device, 10, 1, 3).await.unwrap();
        bench.reads(&device, 16, 0, 32).await.unwrap();
        // What is no whole block goes in with what the block held, in memory or on its member.
        bench.write(&device, 9, 2, 2).await.unwrap();
        bench.write(&device, 21, 3, 5).await.unwrap();
        assert_eq!(payloads(&bench).await[1..], ["data 8", "data 16", "data 24"]);
        for (start, byte, count) in [(8, 1, 1), (9, 2, 2), (11, 1, 5), (16, 0, 5), (21, 3, 5), (26, 0, 6)] {
            bench.reads(&device, start, byte, count).await.unwrap();
        }
        let began = now();
        device.start(Request::flush()).await.unwrap();
        assert_eq!(now().since(began), 0, "what was answered is durable");
    });
}

#[test]
fn what_is_in_the_journal_alone_survives_a_power_cut() {
    let bench = Bench::new(2, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        for at in 0..40 {
            bench.write(&array.device(), at * 24, at as u8 + 1, 8).await.unwrap();
        }
        assert_eq!(cached(&array), 40);
    });
    bench.world.power_cut();
    bench.run(async {
        assert_eq!(bench.summary(0).await.resync, ResyncOffset::Complete);
        let array = open(&bench).await;
        assert_eq!((array.sync_state(), cached(&array)), (SyncState::Idle, 0), "it is written out");
        for at in 0..40 {
            bench.reads(&array.device(), at * 24, at as u8 + 1, 8).await.unwrap();
        }
        bench.disk(2).set_fate(Fate::Dead);
        for at in 0..40 {
            bench.reads(&array.device(), at * 24, at as u8 + 1, 8).await.unwrap();
        }
    });
}

#[test]
fn blocks_of_one_row_are_made_whole_together_wherever_the_power_fails_in_it() {
    for events in 1..60 {
        let bench = Bench::new(3, journaled(20_480));
        bench.run(async {
            let array = open(&bench).await;
            bench.write(&array.device(), 0, 1, 8).await.unwrap();
            bench.write(&array.device(), 16, 2, 8).await.unwrap();
            assert_eq!(cached(&array), 2);
        });
        bench.world.power_cut();
        let opened = open_for(&bench, events);
        bench.world.power_cut();
        bench.run(async {
            let array = open(&bench).await;
            bench.disk((events % 3) as usize).set_fate(Fate::Dead);
            bench.reads(&array.device(), 0, 1, 8).await.unwrap();
            bench.reads(&array.device(), 16, 2, 8).await.unwrap();
            bench.reads(&array.device(), 32, 0, 8).await.unwrap();
        });
        if opened {
            return;
        }
    }
    panic!("it takes longer than that");
}

#[test]
fn whole_stripes_go_out_at_once_and_what_is_kept_of_them_before() {
    let bench = Bench::new(4, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 8, 1, 8).await.unwrap();
        bench.write(&device, 0, 2, 48).await.unwrap();
        assert_eq!(cached(&array), 0);
        assert_eq!(payloads(&bench).await[..2], ["data 8", "parity 8"]);
        bench.reads(&device, 0, 2, 48).await.unwrap();
    });
}

#[test]
fn a_stop_writes_everything_out() {
    let bench = Bench::new(5, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        for at in 0..30 {
            bench.write(&array.device(), at * 8, at as u8, 8).await.unwrap();
        }
        array.stop().await.unwrap();
        assert_eq!(cached(&array), 0);
    });
    bench.run(async {
        let array = bench.open().await;
        assert_eq!(array.journal().unwrap().replayed, 0, "but for what stays of the newest unit");
        for at in 0..30 {
            bench.reads(&array.device(), at * 8, at as u8, 8).await.unwrap();
        }
    });
}

#[test]
fn the_mode_changes_while_it_runs_and_write_through_leaves_nothing_in_memory() {
    let bench = Bench::new(6, journaled(20_480));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 1, 8).await.unwrap();
        assert_eq!(payloads(&bench).await, ["data 0", "parity 0"]);
        array.grow(Growth::JournalMode(WRITE_BACK)).await.unwrap();
        bench.write(&device, 0, 2, 8).await.unwrap();
        assert_eq!((array.journal().unwrap().mode, cached(&array)), (WRITE_BACK, 1));
        array.grow(Growth::JournalMode(JournalMode::WriteThrough)).await.unwrap();
        assert_eq!((array.journal().unwrap().mode, cached(&array)), (JournalMode::WriteThrough, 0));
        bench.reads(&device, 0, 2, 8).await.unwrap();
        bench.write(&device, 8, 3, 8).await.unwrap();
        assert_eq!(cached(&array), 0);
    });
}

#[test]
fn a_member_that_fails_sends_everything_out_and_nothing_stays_until_it_is_rebuilt() {
    let bench = Bench::new(7, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 0, 9, 480).await.unwrap();
        for at in 0..20 {
            bench.write(&device, at * 24 + 3, at as u8 + 1, 8).await.unwrap();
        }
        array.fail_member(1).await.unwrap();
        for at in 0..20 {
            bench.reads(&device, at * 24 + 3, at as u8 + 1, 8).await.unwrap();
            bench.reads(&device, at * 24 + 11, 9, 13).await.unwrap();
        }
        sleep_ms(1000).await;
        assert_eq!(cached(&array), 0);
        bench.write(&device, 8, 3, 8).await.unwrap();
        assert_eq!(cached(&array), 0, "it is written through");
        array.remove_member(1).await.unwrap();
        let dev = bench.disk(1) as block::Dev;
        array.add_member(md::Newcomer { name: "1".to_owned(), dev, examined: None }).await.unwrap();
        while array.in_sync() < 4 {
            sleep_ms(100).await;
        }
        bench.write(&device, 8, 4, 8).await.unwrap();
        assert_eq!(cached(&array), 1);
        array.fail_member(2).await.unwrap();
        bench.reads(&device, 8, 4, 8).await.unwrap();
        bench.reads(&device, 43, 9, 5).await.unwrap();
    });
}

#[test]
fn a_journal_that_fails_loses_nothing_as_long_as_the_process_lives() {
    let bench = Bench::new(8, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        for at in 0..40 {
            bench.write(&device, at * 24, at as u8 + 1, 8).await.unwrap();
        }
        bench.disk(JOURNAL).set_fate(Fate::Dead);
        bench.write(&device, 0, 77, 8).await.unwrap_err();
        for at in 1..40 {
            bench.reads(&device, at * 24, at as u8 + 1, 8).await.unwrap();
        }
        device.start(Request::flush()).await.unwrap();
        assert_eq!(cached(&array), 0);
        for at in 1..40 {
            bench.reads(&device, at * 24, at as u8 + 1, 8).await.unwrap();
        }
        assert!(bench.holds_durably(&array, 1, 8, 2, 8), "and durably");
        array.stop().await.unwrap();
    });
    bench.disk(JOURNAL).set_fate(Fate::Alive);
    bench.run(async {
        let (set, candidates) = bench.set().await;
        let array = Array::open(&set, &candidates, &bench.devs(), Options::default()).unwrap();
        for at in 1..40 {
            bench.reads(&array.device(), at * 24, at as u8 + 1, 8).await.unwrap();
        }
    });
}

#[test]
fn short_of_memory_or_space_a_write_goes_through_and_nobody_waits_for_ever() {
    // The least journal that is served, and one that is larger than the memory.
    for (sectors, memory) in [(2048 + 160, 1 << 20), (2048 + 320, 1 << 20), (20_480, 4096), (20_480, 40_960)]
    {
        let bench = Bench::new(9, journaled(sectors));
        bench.run(async {
            let array = open_write_back(&bench, memory).await;
            let device = array.device();
            bench.write_in_turns(&device, 120, 20).await;
            bench.reads(&device, 3, 3, 1000).await.unwrap();
        });
        bench.world.power_cut();
        bench.run(async {
            let array = open_write_back(&bench, memory).await;
            bench.reads(&array.device(), 3, 3, 1000).await.unwrap();
            bench.reads(&array.device(), 1003, 3, 1400).await.unwrap();
        });
    }
}

#[test]
fn the_smallest_journal_full_of_what_no_member_has_leaves_room_to_be_opened() {
    for (each, rows) in (1..=2u64).flat_map(|each| (1..=12u64).map(move |rows| (each, rows))) {
        let bench = Bench::new(14, journaled(2048 + 160));
        bench.run(async {
            let array = open(&bench).await;
            for row in 0..rows {
                // Blocks of one row lie in chunks of two blocks, side by side.
                for slot in 0..each {
                    let start = row / 2 * 48 + slot * 16 + row % 2 * 8;
                    bench.write(&array.device(), start, row as u8 + 1, 8).await.unwrap();
                }
            }
        });
        bench.world.power_cut();
        bench.run(async {
            let array = open(&bench).await;
            for row in 0..rows {
                let start = row / 2 * 48 + row % 2 * 8;
                bench.reads(&array.device(), start, row as u8 + 1, 8).await.unwrap();
            }
        });
    }
}

#[test]
fn a_full_journal_can_be_opened_again_wherever_the_power_fails_while_it_is_emptied() {
    // Rows in stripes of their own, and two blocks of parity for each block of data: writing out takes all that is owned.
    let made = || Made { level: Level::Raid6, ..journaled(2048 + 101 * 8) };
    for events in 1.. {
        let bench = Bench::new(15, made());
        bench.run(async {
            let array = open(&bench).await;
            let device = array.device();
            let write = |row: u64| Request::write(Sectors(row * 32), bench.bytes(row as u8 + 1, 8));
            let writes: Vec<_> = (0..24).map(|row| device.start(write(row))).collect();
            for write in writes {
                write.await.unwrap();
            }
            assert_eq!(cached(&array), 24);
        });
        bench.world.power_cut();
        let opened = open_for(&bench, events);
        bench.world.power_cut();
        bench.run(async {
            let array = open(&bench).await;
            for row in 0..24 {
                bench.reads(&array.device(), row * 32, row as u8 + 1, 8).await.unwrap();
            }
        });
        if opened {
            return;
        }
    }
}

#[test]
fn what_was_in_memory_for_long_is_written_out() {
    let bench = Bench::new(10, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        bench.write(&array.device(), 0, 1, 8).await.unwrap();
        sleep_ms(5_000).await;
        assert_eq!(cached(&array), 1);
        sleep_ms(60_000).await;
        assert_eq!(cached(&array), 0);
        assert_eq!(payloads(&bench).await, ["data 0", "parity 0"]);
    });
}

#[test]
fn a_scrub_sees_what_is_in_memory_alone_written_out() {
    let bench = Bench::new(11, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        for at in 0..40 {
            bench.write(&array.device(), at * 24, at as u8 + 1, 8).await.unwrap();
        }
        assert!(array.scrub(md::Scrub::Check));
        while array.sync_state() != SyncState::Idle {
            sleep_ms(100).await;
        }
        assert_eq!(cached(&array), 0);
        assert_eq!(array.scrub_report().unwrap().mismatched, Sectors::ZERO);
    });
}

#[test]
fn nothing_is_kept_where_parity_may_not_belong_to_the_data() {
    let bench = Bench::new(12, Made { assume_clean: false, ..journaled(20_480) });
    bench.run(async {
        let array = open(&bench).await;
        bench.write(&array.device(), 10_000, 1, 8).await.unwrap();
        assert_eq!(cached(&array), 0);
        sleep_ms(60_000).await;
        bench.write(&array.device(), 10_000, 1, 8).await.unwrap();
        assert_eq!(cached(&array), 1);
    });
}

#[test]
fn allocation_is_reported_for_what_no_member_has() {
    let bench = Bench::new(13, journaled(20_480));
    bench.run(async {
        let array = open(&bench).await;
        let device = array.device();
        bench.write(&device, 8, 1, 8).await.unwrap();
        let words = bench.arena.take(4096).unwrap();
        let range = Range::new(Sectors(8), Sectors(8));
        device.start(Request::status(range, words.clone())).await.unwrap();
        assert_eq!(block::Extents::new(&words).get(0), Some((Sectors(8), false)));
    });
}
