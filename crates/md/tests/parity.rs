//! Arrays with parity against the simplest model there is, bytes, with every tolerable set of members missing afterwards.

mod common;

use std::rc::Rc;

use block::{Arena, Buf, Dev, Geometry, Range, Request, Sectors};
use common::Bench;
use md::{Array, BitmapWish, Creation, Options, create, plan_creation};
use md_format::{Level, Version};
use runtime::sim::{Fate, Random, World};
use runtime::{now, sleep_until, spawn};

/// What a seed stands for.
#[derive(Debug)]
struct Case {
    level: Level,
    layout: u32,
    slots: usize,
    chunk_sectors: u32,
    member_sectors: u64,
    lanes: usize,
    version: Version,
    bitmap_chunk: Option<u32>,
}

impl Case {
    fn draw(random: &mut Random) -> Case {
        let level = *random.choose(&[Level::Raid4, Level::Raid5, Level::Raid5, Level::Raid6, Level::Raid6]);
        let layout = match level {
            Level::Raid4 => 0,
            Level::Raid5 => random.below(6) as u32,
            _ => *random.choose(&[0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20]),
        };
        let least = if level == Level::Raid6 { 4 } else { 2 };
        Case {
            level,
            layout,
            slots: least + random.below(6) as usize,
            chunk_sectors: *random.choose(&[8, 8, 16, 64, 256]),
            member_sectors: 4096 + 256 * (2 + random.below(4)),
            lanes: 1 + random.below(3) as usize,
            version: *random.choose(&Version::ALL),
            bitmap_chunk: random.one_in(2).then(|| *random.choose(&[4096, 65_536])),
        }
    }

    fn tolerates(&self) -> usize {
        if self.level == Level::Raid6 { 2 } else { 1 }
    }
}

fn make(seed: u64) -> (Bench, Case) {
    make_with(seed, true)
}

fn make_with(seed: u64, assume_clean: bool) -> (Bench, Case) {
    let world = World::new(seed);
    let case = world.draw(Case::draw);
    (make_case(world, &case, assume_clean), case)
}

fn make_case(world: Rc<World>, case: &Case, assume_clean: bool) -> Bench {
    let bench = Bench { world, arena: Arena::new(64 << 20) };
    (0..case.slots).for_each(|_| drop(bench.world.add_disk(Sectors(case.member_sectors), 512)));
    let creation = Creation {
        name: "parity".to_owned(),
        host: None,
        level: case.level,
        version: case.version,
        chunk_sectors: Some(case.chunk_sectors),
        layout: (case.level != Level::Raid4).then_some(case.layout),
        size: None,
        bitmap: case.bitmap_chunk.map(|bytes| BitmapWish { chunk_bytes: Some(bytes) }),
        ppl: false,
        journal: None,
        assume_clean,
        slots: bench.devs().iter().map(|dev| Some(dev.geometry())).collect(),
        write_mostly: Vec::new(),
        spares: Vec::new(),
        uuid: [3; 16],
        device_uuids: (0..case.slots).map(|number| [number as u8; 16]).collect(),
        now_s: 1_577_836_800,
    };
    let plans = plan_creation(&creation).unwrap();
    let devs: Vec<Option<Dev>> = bench.devs().into_iter().map(Some).collect();
    bench.run(async { create(&plans, &devs, &bench.arena).await.unwrap() });
    bench
}

async fn open(bench: &Bench, lanes: usize) -> Rc<Array> {
    let (set, candidates) = bench.set().await;
    let options = Options { write: true, degraded: true, lanes, ..Options::default() };
    Array::open(&set, &candidates, &bench.devs(), options).unwrap()
}

/// A random request's range.
fn draw_range(random: &mut Random, size: u64) -> Range {
    let longest = *random.choose(&[1, 8, 64, 600]);
    let start = random.below(size);
    Range::new(Sectors(start), Sectors(1 + random.below(longest.min(size - start))))
}

async fn read(arena: &Rc<Arena>, device: &Dev, range: Range) -> Vec<u8> {
    let mut content = vec![0; range.count.byte_len()];
    for (at, piece) in content.chunks_mut(256 << 10).enumerate() {
        let buf = arena.wait_take(piece.len()).await;
        let start = range.start + Sectors(at as u64 * 512);
        device.start(Request::read(start, buf.clone())).await.unwrap();
        buf.copy_to_slice(0, piece);
    }
    content
}

/// Requests that do not overlap run together, several at a time, so that groups form; the model takes them in turn.
async fn load(bench: &Bench, device: &Dev, model: &mut [u8], rounds: u64) {
    let size = device.geometry().size.0;
    for _ in 0..rounds {
        let mut ranges: Vec<Range> = Vec::new();
        for _ in 0..bench.world.draw(|random| 1 + random.below(12)) {
            let range = bench.world.draw(|random| draw_range(random, size));
            if !ranges.iter().any(|other| other.overlaps(range)) {
                ranges.push(range);
            }
        }
        let mut running = Vec::new();
        for range in ranges {
            let kind = bench.world.draw(|random| random.below(10));
            let place = range.start.byte_len()..range.end().byte_len();
            let request = match kind {
                0 => {
                    model[place].fill(0);
                    Request::write_zeroes(range)
                }
                1..7 => {
                    let buf: Buf = bench.arena.wait_take(range.count.byte_len()).await;
                    let seed = bench.world.draw(|random| random.below(1 << 40));
                    let bytes: Vec<u8> =
                        (0..buf.len()).map(|at| ((seed + at as u64 * 7) >> (at % 23)) as u8).collect();
                    buf.copy_from_slice(0, &bytes);
                    model[place].copy_from_slice(&bytes);
                    Request { fua: kind == 1, ..Request::write(range.start, buf) }
                }
                _ => {
                    let (device, arena, expected) =
                        (device.clone(), bench.arena.clone(), model[place].to_vec());
                    running.push(spawn(async move {
                        assert!(read(&arena, &device, range).await == expected, "{range} reads wrong");
                    }));
                    continue;
                }
            };
            let device = device.clone();
            running.push(spawn(async move { device.start(request).await.unwrap() }));
        }
        for each in running {
            each.join().await;
        }
    }
}

/// Reads everything with `gone` missing, over members that nobody writes to.
async fn check_without(bench: &Bench, model: &[u8], gone: &[usize]) {
    let (_, candidates) = bench.set().await;
    let left: Vec<_> = candidates
        .into_iter()
        .zip(bench.devs())
        .enumerate()
        .filter(|(at, _)| !gone.contains(at))
        .map(|(_, pair)| pair)
        .collect();
    let (candidates, devs): (Vec<_>, Vec<_>) = left.into_iter().unzip();
    let set = md::assemble(&candidates).remove(0);
    let options = Options { degraded: true, ..Options::default() };
    let array = Array::open(&set, &candidates, &devs, options).unwrap();
    let device = array.device();
    let found = read(&bench.arena, &device, Range::new(Sectors::ZERO, device.geometry().size)).await;
    let differs = found.iter().zip(model).position(|(a, b)| a != b);
    assert_eq!(differs, None, "without {gone:?}");
}

fn every_loss(slots: usize, most: usize) -> Vec<Vec<usize>> {
    let ones = (0..slots).map(|one| vec![one]);
    let twos = (0..slots).flat_map(|one| (one + 1..slots).map(move |two| vec![one, two]));
    [vec![]].into_iter().chain(ones).chain(twos.filter(|_| most > 1)).collect()
}

#[test]
fn every_layout_keeps_its_data_with_any_tolerable_set_of_members_missing() {
    for seed in 0..60 {
        let (bench, case) = make(seed);
        println!("seed {seed}: {case:?}");
        bench.run(async {
            let array = open(&bench, case.lanes).await;
            let device = array.device();
            let mut model = vec![0; device.geometry().size.byte_len()];
            load(&bench, &device, &mut model, 20).await;
            array.stop().await.unwrap();
            for gone in every_loss(case.slots, case.tolerates()) {
                check_without(&bench, &model, &gone).await;
            }
        });
    }
}

#[test]
fn writes_go_on_without_members_and_the_data_stays_within_reach() {
    for seed in 100..150 {
        let (bench, case) = make(seed);
        println!("seed {seed}: {case:?}");
        bench.run(async {
            let array = open(&bench, case.lanes).await;
            let device = array.device();
            let mut model = vec![0; device.geometry().size.byte_len()];
            let mut gone = Vec::new();
            load(&bench, &device, &mut model, 6).await;
            for _ in 0..case.tolerates() {
                let member = bench.world.draw(|random| random.below(case.slots as u64)) as usize;
                if !gone.contains(&member) {
                    array.fail_member(member).await.unwrap();
                    gone.push(member);
                }
                load(&bench, &device, &mut model, 12).await;
            }
            array.stop().await.unwrap();
            let others = every_loss(case.slots, case.tolerates());
            for lost in others.iter().filter(|lost| gone.iter().all(|own| lost.contains(own))) {
                check_without(&bench, &model, lost).await;
            }
        });
    }
}

#[test]
fn bad_sectors_are_recovered_and_repaired() {
    for seed in 200..240 {
        let (bench, case) = make(seed);
        println!("seed {seed}: {case:?}");
        bench.run(async {
            let array = open(&bench, case.lanes).await;
            let device = array.device();
            let mut model = vec![0; device.geometry().size.byte_len()];
            load(&bench, &device, &mut model, 8).await;
            // On one member, so that no row loses more than parity gives back; few enough to be repaired.
            let data = array.members()[1].data_offset.0;
            let bad = bench.world.draw(|random| (0..10).map(|_| data + random.below(512)).collect());
            bench.disk(1).set_faults(|faults| faults.bad_sectors = bad);
            load(&bench, &device, &mut model, 12).await;
            let everything = Range::new(Sectors::ZERO, device.geometry().size);
            assert!(read(&bench.arena, &device, everything).await == model);
            assert_eq!(array.in_sync() as usize, case.slots, "nobody fails for a bad sector");
            array.stop().await.unwrap();
            for gone in every_loss(case.slots, case.tolerates()) {
                if gone.contains(&1) {
                    check_without(&bench, &model, &gone).await;
                }
            }
        });
    }
}

#[test]
fn a_whole_stripe_is_written_without_reading() {
    let (bench, case) = make(7);
    bench.run(async {
        let array = open(&bench, 1).await;
        let device = array.device();
        let stripe = Sectors(u64::from(device.geometry().optimal_io) / 512);
        let before: u64 = bench.world.disks().iter().map(|disk| disk.reads()).sum();
        let buf = bench.arena.take(stripe.byte_len()).unwrap();
        device.start(Request::write(stripe, buf)).await.unwrap();
        let after: u64 = bench.world.disks().iter().map(|disk| disk.reads()).sum();
        assert_eq!(after, before, "{case:?}");
    });
}

#[test]
fn geometry_suggests_whole_stripes() {
    let plain = Geometry::plain(Sectors(8192));
    assert_eq!(plain.optimal_io, 0);
    let (bench, case) = make(3);
    bench.run(async {
        let device = open(&bench, 1).await.device();
        let data = case.slots as u32 - case.tolerates() as u32;
        assert_eq!(device.geometry().optimal_io, case.chunk_sectors * 512 * data);
    });
}

/// S6: a member that fails before its rows were in sync takes its blocks with it; they alone fail, and are listed.
#[test]
fn what_was_not_in_sync_when_a_member_failed_is_an_error_for_its_blocks_alone() {
    let (bench, case) = make_with(3, false);
    bench.run(async {
        bench.world.disks().iter().for_each(|disk| disk.set_latency_ns(100_000_000, 100_000_001));
        let array = open(&bench, 1).await;
        array.fail_member(1).await.unwrap();
        let device = array.device();
        let doubtful = array.doubtful(usize::MAX);
        let lost: u64 = doubtful.iter().map(|range| range.count.0).sum();
        let data = (case.slots - case.tolerates()) as u64;
        assert!(lost > 0 && lost <= device.geometry().size.0 / data + u64::from(case.chunk_sectors), "{lost}");
        let mut at = Sectors::ZERO;
        while at < device.geometry().size {
            let buf = bench.arena.wait_take(4096).await;
            let range = Range::new(at, Sectors(8));
            let read = device.start(Request::read(at, buf)).await;
            let is_doubtful = doubtful.iter().any(|lost| lost.overlaps(range));
            assert_eq!(read.is_err(), is_doubtful, "{case:?}: {range} of {doubtful:?}");
            at += Sectors(8);
        }
        array.stop().await.unwrap();
        let (set, candidates) = bench.set().await;
        let refused = Array::open(&set, &candidates, &bench.devs(), Options { degraded: true, ..Options::default() });
        assert!(matches!(refused.err(), Some(md::OpenError::Hindered(why)) if why.contains(&md::Hindrance::DirtyDegraded)));
        let told = Options { degraded: true, dirty_degraded: true, ..Options::default() };
        let device = Array::open(&set, &candidates, &bench.devs(), told).unwrap().device();
        read(&bench.arena, &device, Range::new(Sectors::ZERO, device.geometry().size)).await;
    });
}

/// A member that hangs is failed, and answers later: what it reads then lands in memory that nobody else was given. Stripes
/// of several windows are written meanwhile, whose parity lies where a member's block did.
#[test]
fn late_answers_of_a_failed_member_land_in_nobodys_memory() {
    for seed in 0..60 {
        let world = World::new(seed);
        let case = Case {
            level: Level::Raid5,
            layout: 2,
            slots: 4,
            chunk_sectors: 1024,
            member_sectors: 4096 + 4 * 1024,
            lanes: 1,
            version: Version::V1_2,
            bitmap_chunk: None,
        };
        let bench = make_case(world, &case, true);
        bench.run(async {
            let array = open(&bench, 1).await;
            let device = array.device();
            let stripe = 3 * 1024;
            for half in [0, 1] {
                bench.write(&device, half * stripe / 2, 7, stripe / 2).await.unwrap();
            }
            bench.disk(1).set_fate(Fate::Hung);
            bench.write(&device, 0, 9, 1024 - 8).await.unwrap(); // reads what it does not write
            assert_eq!(array.in_sync(), 3, "it was failed");
            let (back, after_ns) = (bench.disk(1), bench.world.draw(|random| random.below(2_000_000)));
            let returning = spawn(async move {
                sleep_until(now().after_ns(after_ns)).await;
                back.set_fate(Fate::Alive);
            });
            for _ in 0..4 {
                let whole: Vec<_> = [0, 1024, 2048]
                    .into_iter()
                    .map(|at| Request::write(Sectors(at), bench.bytes(5, 1024)))
                    .map(|request| device.start(request))
                    .collect();
                for ticket in whole {
                    ticket.await.unwrap();
                }
                for at in [0, 1024, 2048] {
                    bench.reads(&device, at, 5, 1024).await.unwrap();
                }
            }
            returning.join().await;
            array.stop().await.unwrap();
        });
    }
}

/// Reads in the same breath share what a recovery reads anyway; whatever goes wrong on the way, everybody gets their own.
#[test]
fn queued_reads_of_a_degraded_stripe_read_every_block_once() {
    for seed in 0..60 {
        let world = World::new(seed);
        let (level, slots, layout) = if seed % 3 == 0 { (Level::Raid6, 5, 2) } else { (Level::Raid5, 4, 2) };
        let chunk = [16, 64, 512][seed as usize % 3];
        let case = Case {
            level,
            layout,
            slots,
            chunk_sectors: chunk,
            member_sectors: 4096 + 4 * u64::from(chunk),
            lanes: 1,
            version: Version::V1_2,
            bitmap_chunk: None,
        };
        let bench = make_case(world, &case, true);
        bench.run(async {
            let array = open(&bench, 1).await;
            let device = array.device();
            let mut model = vec![0; device.geometry().size.byte_len()];
            load(&bench, &device, &mut model, 20).await;
            let size = device.geometry().size.0;
            array.fail_member(bench.world.draw(|random| random.below(slots as u64)) as usize).await.unwrap();
            let is_well = seed % 2 == 0;
            if !is_well {
                let disk = bench.disk(bench.world.draw(|random| random.below(slots as u64)) as usize);
                disk.set_faults(|faults| faults.read_error_one_in = 4);
            }
            let stripe = u64::from(device.geometry().optimal_io) / 512;
            let piece = u64::from(chunk) / [1, 2, 4][(seed / 3) as usize % 3];
            for start in (0..size).step_by(stripe as usize) {
                let before: u64 = bench.world.disks().iter().map(|disk| disk.reads()).sum();
                let reads: Vec<_> = (start..start + stripe)
                    .step_by(piece as usize)
                    .map(|at| {
                        let buf = bench.arena.take(Sectors(piece).byte_len()).unwrap();
                        (at, device.start(Request::read(Sectors(at), buf.clone())), buf)
                    })
                    .collect();
                let pieces = stripe / piece;
                for (at, answer, buf) in reads {
                    // With one more that cannot read a sector, a stripe of raid5 may be lost there.
                    match answer.await {
                        Err(failed) if !is_well && level == Level::Raid5 => {
                            assert_eq!(failed.cause, block::Cause::Medium)
                        }
                        outcome => {
                            outcome.unwrap();
                            let mut content = vec![0; buf.len()];
                            buf.copy_to_slice(0, &mut content);
                            assert!(
                                content == model[(at * 512) as usize..][..content.len()],
                                "seed {seed}, {at}"
                            );
                        }
                    }
                }
                let after: u64 = bench.world.disks().iter().map(|disk| disk.reads()).sum();
                // What the clients want, and parity in place of what is lost. A window is 256 sectors.
                if is_well && piece <= 256 {
                    assert!(
                        after - before <= pieces,
                        "seed {seed}: {} reads for {pieces} pieces",
                        after - before
                    );
                }
            }
        });
    }
}
