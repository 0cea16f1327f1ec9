//! raid10 of every layout against a model that is nothing but bytes, and the rules that only it has.

mod common;

use block::{Dev, Request, SECTOR, Sectors};
use common::{Bench, Made};
use md::array::Happening;
use md::{Array, Condition};
use md_format::Level;
use runtime::sim::{Fate, Random};
use runtime::sleep_ms;

/// Layouts, and members: near, far, offset, odd counts, several copies, near and far at once, far sets.
const LAYOUTS: [(u32, usize); 12] = [
    (0x102, 2),
    (0x102, 3),
    (0x102, 4),
    (0x103, 5),
    (0x201, 2),
    (0x201, 3),
    (0x201, 4),
    (0x301, 5),
    (0x1_0201, 3),
    (0x1_0301, 4),
    (0x202, 5),
    (0x4_0201, 4),
];

fn raid10(layout: u32, members: usize, chunk: u32) -> Made {
    Made { level: Level::Raid10, members, striped: Some((chunk, layout)), ..Made::default() }
}

/// The whole array as it reads.
async fn content(bench: &Bench, device: &Dev) -> Vec<u8> {
    let mut bytes = vec![0; device.geometry().size.byte_len()];
    for (number, part) in bytes.chunks_mut(1 << 20).enumerate() {
        let buf = bench.arena.wait_take(part.len()).await;
        let at = Sectors((number as u64) << 11);
        device.start(Request::read(at, buf.clone())).await.unwrap();
        buf.copy_to_slice(0, part);
    }
    bytes
}

/// One random request; the model is kept up to date.
async fn something(bench: &Bench, device: &Dev, random: &mut Random, model: &mut [u8]) {
    let size = device.geometry().size.0;
    let start = random.below(size);
    let count = (1 + random.below(700)).min(size - start);
    let (from, len) = ((start * SECTOR) as usize, (count * SECTOR) as usize);
    let range = block::Range::new(Sectors(start), Sectors(count));
    match random.below(8) {
        0 => device.start(Request::flush()).await.unwrap(),
        1 => {
            device.start(Request::write_zeroes(range)).await.unwrap();
            model[from..from + len].fill(0);
        }
        2..=4 => {
            let buf = bench.arena.wait_take(len).await;
            device.start(Request::read(Sectors(start), buf.clone())).await.unwrap();
            let mut found = vec![0; len];
            buf.copy_to_slice(0, &mut found);
            assert!(found == model[from..from + len], "{range}");
        }
        kind => {
            let byte = random.below(256) as u8;
            for (at, cell) in model[from..from + len].iter_mut().enumerate() {
                *cell = byte.wrapping_add((at / 512) as u8);
            }
            let buf = bench.arena.wait_take(len).await;
            buf.copy_from_slice(0, &model[from..from + len]);
            let write = Request::write(Sectors(start), buf);
            device.start(if kind == 7 { write.with_fua() } else { write }).await.unwrap();
        }
    }
}

/// Every copy of every sector holds what the model says.
fn copies_agree(bench: &Bench, array: &Array, model: &[u8], what: &str) {
    for (sector, expected) in model.chunks(SECTOR as usize).enumerate() {
        for (member, at) in array.copies_of(Sectors(sector as u64)) {
            let found = bench.disk(member).peek(block::Range::new(at, Sectors(1)));
            assert!(found == expected, "{what}: sector {sector} on member {member}");
        }
    }
}

#[test]
fn every_layout_reads_what_was_written_healthy_and_degraded() {
    for (number, (layout, members)) in LAYOUTS.into_iter().enumerate() {
        for chunk in [8, 128] {
            let (seed, what) = (number as u64, format!("layout {layout:#x} on {members}, chunk {chunk}"));
            let bench = Bench::new(seed, raid10(layout, members, chunk));
            bench.run(async {
                let array = bench.open().await;
                let device = array.device();
                let mut random = Random::new(seed);
                let mut model = content(&bench, &device).await;
                for _ in 0..60 {
                    something(&bench, &device, &mut random, &mut model).await;
                }
                copies_agree(&bench, &array, &model, &what);
                // As many members fail as can be spared: one by error, the others because somebody says so.
                bench.disk(0).set_fate(Fate::Dead);
                for _ in 0..60 {
                    something(&bench, &device, &mut random, &mut model).await;
                }
                assert_eq!(array.members()[0].condition, Condition::Faulty, "{what}");
                for member in 1..members {
                    let _ = array.fail_member(member).await; // refused where it holds the last copy
                }
                bench.disk(0).set_fate(Fate::Alive);
                for _ in 0..60 {
                    something(&bench, &device, &mut random, &mut model).await;
                }
                assert!(content(&bench, &device).await == model, "{what}: degraded");
                array.stop().await.unwrap();
            });
            bench.run(async {
                let array = bench.open().await;
                assert!(array.in_sync() < members as u32, "{what}: those that failed stay out");
                array.stop().await.unwrap();
            });
        }
    }
}

#[test]
fn a_bad_sector_is_repaired_from_the_other_copy_of_its_chunk() {
    let bench = Bench::new(1, raid10(0x1_0201, 3, 16));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        bench.write(&device, 0, 7, 256).await.unwrap();
        let (member, at) = array.copies_of(Sectors(40)).next().unwrap();
        bench.disk(member).set_faults(|faults| faults.bad_sectors.extend([at.0]));
        bench.reads(&device, 0, 7, 256).await.unwrap();
        let repaired = Happening::ReadRepaired { name: member.to_string(), sector: 32 };
        assert!(array.take_happenings().contains(&repaired));
        assert_eq!(array.members()[member].corrected_reads, 1);
        bench.reads(&device, 0, 7, 256).await.unwrap();
        assert_eq!(array.members()[member].corrected_reads, 1, "it holds");
    });
}

#[test]
fn a_member_of_a_pair_is_never_failed_when_the_other_is_gone() {
    let bench = Bench::new(2, raid10(0x102, 4, 16));
    bench.run(async {
        let array = bench.open().await;
        array.fail_member(0).await.unwrap();
        assert!(array.fail_member(1).await.is_err());
        array.fail_member(2).await.unwrap();
        assert!(array.fail_member(3).await.is_err());
        bench.write(&array.device(), 0, 7, 256).await.unwrap();
        bench.reads(&array.device(), 0, 7, 256).await.unwrap();
        array.stop().await.unwrap();
    });
}

#[test]
fn a_dirty_array_is_made_equal_and_its_position_counts_array_sectors() {
    for (layout, members) in LAYOUTS {
        let made = Made { assume_clean: false, ..raid10(layout, members, 16) };
        let bench = Bench::new(3, made);
        (0..members).for_each(|disk| bench.disk(disk).poke(Sectors(4096), &vec![disk as u8; 200 << 10]));
        bench.run(async {
            let array = bench.open().await;
            let first = content(&bench, &array.device()).await;
            sleep_ms(60_000).await;
            assert!(
                array.take_happenings().contains(&Happening::SyncComplete { action: md::Action::Resync }),
                "{layout:#x}"
            );
            // The copy that is read while they differ is the one that is kept.
            copies_agree(&bench, &array, &first, &format!("{layout:#x}"));
            array.stop().await.unwrap();
            assert!(bench.summary(0).await.is_clean());
        });
    }
}

#[test]
fn a_sequential_reader_of_far_copies_keeps_every_member_busy() {
    let bench = Bench::new(4, raid10(0x201, 4, 16));
    bench.run(async {
        let array = bench.open().await;
        let device = array.device();
        let reads = || (0..4).map(|disk| bench.disk(disk).reads()).collect::<Vec<_>>();
        let before = reads();
        for at in 0..64 {
            bench.reads(&device, at * 16, 0, 16).await.unwrap();
        }
        let each: Vec<u64> = reads().iter().zip(before).map(|(after, before)| after - before).collect();
        assert_eq!(each, [16; 4]);
    });
}
