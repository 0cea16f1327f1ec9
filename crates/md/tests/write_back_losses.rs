//! Members that are lost at once while a write journal in write-back mode has what no member has.

mod common;

use std::rc::Rc;

use block::{Dev, Request};
use common::journals::{cached, journaled, open_write_back};
use common::{Bench, Made};
use md::{Array, Growth, JournalMode};
use md_format::Level;
use runtime::sim::Fate;
use runtime::{sleep_ms, spawn};

/// Blocks that are written, each in a row of its own or almost, and what lies around them.
const BLOCKS: u64 = 40;
const BEFORE: u8 = 77;

fn bench(level: Level, seed: u64) -> Bench {
    Bench::new(seed, Made { level, ..journaled(20_480) })
}

async fn open(bench: &Bench) -> Rc<Array> {
    open_write_back(bench, 1 << 20).await
}

/// Fills the array's first sectors, on all members, and writes blocks into the journal alone.
async fn write_all(bench: &Bench, array: &Rc<Array>) {
    let device = array.device();
    bench.write(&device, 0, BEFORE, BLOCKS * 24).await.unwrap();
    for at in 0..BLOCKS {
        bench.write(&device, at * 24, at as u8 + 1, 8).await.unwrap();
    }
    assert_eq!(cached(array), BLOCKS);
}

/// Reads the blocks and what lies around them.
async fn reads_all(bench: &Bench, device: &Dev) {
    for at in 0..BLOCKS {
        bench.reads(device, at * 24, at as u8 + 1, 8).await.unwrap();
        bench.reads(device, at * 24 + 8, BEFORE, 16).await.unwrap();
    }
}

fn set_fates(bench: &Bench, lost: &[usize], fate: Fate) {
    lost.iter().for_each(|number| bench.disk(*number).set_fate(fate));
}

/// One member more than parity makes up for.
fn too_many(level: Level) -> &'static [usize] {
    if level == Level::Raid6 { &[0, 1, 2] } else { &[1, 2] }
}

#[test]
fn with_too_many_lost_at_once_what_was_answered_is_read_and_nothing_more_is_taken() {
    for level in [Level::Raid5, Level::Raid6] {
        let bench = bench(level, 1);
        let lost = too_many(level);
        bench.run(async {
            let array = open(&bench).await;
            let device = array.device();
            write_all(&bench, &array).await;
            set_fates(&bench, lost, Fate::Dead);
            // Somebody has to need a member for the loss to be noticed.
            bench.reads(&device, 2000, 0, 200).await.unwrap_err();
            sleep_ms(1000).await;
            assert!(array.broken().is_some(), "{level}");
            bench.write(&device, 0, 99, 8).await.unwrap_err();
            bench.write(&device, 2000, 99, 8).await.unwrap_err();
            device.start(Request::flush()).await.unwrap_err();
            assert_eq!(cached(&array), BLOCKS, "{level}: it stays in memory");
            for at in 0..BLOCKS {
                bench.reads(&device, at * 24, at as u8 + 1, 8).await.unwrap();
            }
            array.stop().await.unwrap_err();
        });
        set_fates(&bench, lost, Fate::Alive);
        bench.run(async {
            let array = open(&bench).await;
            assert_eq!(cached(&array), 0, "{level}: it is written out");
            reads_all(&bench, &array.device()).await;
        });
    }
}

#[test]
fn a_raid6_that_loses_two_members_at_once_writes_everything_out_and_goes_on() {
    for lost in [[0, 1], [1, 2], [2, 3], [0, 3]] {
        let bench = bench(Level::Raid6, 2);
        bench.run(async {
            let array = open(&bench).await;
            let device = array.device();
            write_all(&bench, &array).await;
            set_fates(&bench, &lost, Fate::Dead);
            bench.write(&device, 2000, 99, 8).await.unwrap();
            sleep_ms(1000).await;
            assert_eq!((array.in_sync(), cached(&array), array.broken()), (2, 0, None));
            reads_all(&bench, &device).await;
        });
        bench.world.power_cut();
        set_fates(&bench, &lost, Fate::Alive);
        bench.run(async {
            let array = open(&bench).await;
            let device = array.device();
            assert_eq!(array.in_sync(), 2);
            reads_all(&bench, &device).await;
            bench.reads(&device, 2000, 99, 8).await.unwrap();
        });
    }
}

/// Members are lost while what they lack is on its way to them: some have new blocks then, or new parity, and others not.
#[test]
fn whenever_too_many_are_lost_while_it_is_written_out_what_was_answered_is_there_when_they_are_back() {
    for level in [Level::Raid5, Level::Raid6] {
        let lost = too_many(level);
        let mut has_ended = false;
        for step in 0.. {
            let bench = bench(level, 3 + step);
            let disks: Vec<_> = lost.iter().map(|number| bench.disk(*number)).collect();
            bench.run(async {
                let array = open(&bench).await;
                write_all(&bench, &array).await;
                let die = move || disks.iter().for_each(|disk| disk.set_fate(Fate::Dead));
                bench.world.after_ns(step * 100_000, die);
                let writing_out = {
                    let array = array.clone();
                    spawn(async move { array.grow(Growth::JournalMode(JournalMode::WriteThrough)).await.is_ok() })
                };
                sleep_ms(1000).await;
                has_ended = writing_out.is_done() && cached(&array) == 0;
                for at in 0..BLOCKS {
                    // What is on the lost members alone is not there, but nothing else is given back in its place.
                    let _ = bench.reads(&array.device(), at * 24, at as u8 + 1, 8).await;
                }
            });
            bench.world.power_cut();
            set_fates(&bench, lost, Fate::Alive);
            bench.run(async {
                let array = open(&bench).await;
                reads_all(&bench, &array.device()).await;
            });
            if has_ended {
                break;
            }
        }
    }
}
