//! Rules of the simulated world, and of the executor over it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use block::{Arena, Cause, Dev, Device, Failed, MAX_BUFFER, Op, Range, Request, Sectors, State};

use super::*;
use crate::rank::{Rank, Step};
use crate::{Overlay, Phase, RangeLocks, Runtime, next_trace, set_probe, sleep_ms, spawn};

fn sector(arena: &Rc<Arena>, byte: u8) -> block::Buf {
    let buf = arena.take(512).unwrap();
    buf.copy_from_slice(0, &[byte; 512]);
    buf
}

fn first_byte(disk: &Disk) -> u8 {
    disk.peek(Range::new(Sectors(0), Sectors(1)))[0]
}

#[test]
fn a_flushed_write_survives_every_power_cut_and_an_unflushed_one_not_every() {
    let mut lost = 0;
    for seed in 0..64 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(64), 512);
        let arena = Arena::new(MAX_BUFFER);
        let runtime = Runtime::new(world.clone());
        runtime.block_on(async {
            disk.start(Request::write(Sectors(0), sector(&arena, 1))).await.unwrap();
            disk.start(Request::flush()).await.unwrap();
            disk.start(Request::write(Sectors(0), sector(&arena, 2))).await.unwrap();
        });
        drop(runtime);
        world.power_cut();
        assert_ne!(first_byte(&disk), 0, "seed {seed}");
        lost += usize::from(first_byte(&disk) == 1);
    }
    assert!((8..=56).contains(&lost), "{lost} of 64 unflushed writes were lost");
}

#[test]
fn a_flush_does_not_cover_writes_that_complete_while_it_runs() {
    let mut lost = false;
    for seed in 0..64 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(64), 512);
        let arena = Arena::new(MAX_BUFFER);
        let runtime = Runtime::new(world.clone());
        runtime.block_on(async {
            let flush = disk.start(Request::flush());
            disk.start(Request::write(Sectors(0), sector(&arena, 1))).await.unwrap();
            flush.await.unwrap();
        });
        drop(runtime);
        world.power_cut();
        lost |= first_byte(&disk) == 0;
    }
    assert!(lost);
}

#[test]
fn fua_makes_its_own_write_durable() {
    for seed in 0..64 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(64), 512);
        let arena = Arena::new(MAX_BUFFER);
        let runtime = Runtime::new(world.clone());
        runtime.block_on(async {
            disk.start(Request::write(Sectors(0), sector(&arena, 1))).await.unwrap();
            disk.start(Request::write(Sectors(0), sector(&arena, 2)).with_fua()).await.unwrap();
        });
        drop(runtime);
        world.power_cut();
        assert_eq!(first_byte(&disk), 2, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let world = World::new(seed);
        let disks: Vec<_> = (0..3).map(|_| world.add_disk(Sectors(64), 512)).collect();
        let arena = Arena::new(MAX_BUFFER);
        let runtime = Runtime::new(world.clone());
        let order = Rc::new(RefCell::new(Vec::new()));
        runtime.block_on(async {
            let tasks: Vec<_> = (0..30)
                .map(|n| {
                    let (disk, buf, order) = (disks[n % 3].clone(), sector(&arena, n as u8), order.clone());
                    spawn(async move {
                        disk.start(Request::write(Sectors(n as u64), buf)).await.unwrap();
                        order.borrow_mut().push((n, crate::now()));
                    })
                })
                .collect();
            for task in tasks {
                task.join().await;
            }
        });
        order.take()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn overlapping_range_locks_take_turns_in_order_of_arrival() {
    let world = World::new(3);
    let runtime = Runtime::new(world);
    let locks = Rc::new(RangeLocks::new(8, Rank::new(1, Step::Ranges)));
    let (order, inside) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    runtime.block_on(async {
        let tasks: Vec<_> = (0..5u64)
            .map(|n| {
                let (locks, order, inside) = (locks.clone(), order.clone(), inside.clone());
                spawn(async move {
                    let _held = locks.lock(Range::new(Sectors(n), Sectors(2))).await;
                    order.borrow_mut().push(n);
                    inside.set(inside.get() + 1);
                    sleep_ms(1).await;
                    inside.set(inside.get() - 1);
                })
            })
            .collect();
        for task in tasks {
            task.join().await;
        }
    });
    assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
}

#[test]
#[should_panic(expected = "out of order")]
fn waiting_against_the_order_is_caught() {
    let runtime = Runtime::new(World::new(3));
    runtime.block_on(async {
        let low = RangeLocks::new(8, Rank::new(1, Step::Ranges));
        let high = RangeLocks::new(8, Rank::new(2, Step::Ranges));
        let _held = low.lock(Range::new(Sectors(0), Sectors(1))).await;
        let _circle = high.lock(Range::new(Sectors(0), Sectors(1))).await;
    });
}

#[test]
fn an_overlay_never_writes_below_and_reads_what_was_written_above() {
    let world = World::new(4);
    let disk = world.add_disk(Sectors(64), 512);
    let arena = Arena::new(MAX_BUFFER);
    let runtime = Runtime::new(world);
    runtime.block_on(async {
        let overlay = Overlay::device(disk.clone(), Sectors(2));
        let buf = arena.take_zeroed(1024).unwrap();
        overlay.start(Request::write(Sectors(1), sector(&arena, 7))).await.unwrap();
        overlay.start(Request::read(Sectors(0), buf.clone())).await.unwrap();
        let mut bytes = [0; 1024];
        buf.copy_to_slice(0, &mut bytes);
        assert_eq!((bytes[511], bytes[512], bytes[1023]), (0, 7, 7));
        let full = overlay.start(Request::write_zeroes(Range::new(Sectors(8), Sectors(2)))).await;
        assert_eq!(full, Err(Failed::new(Cause::NoSpace)));
    });
    assert_eq!(disk.writes(), 0);
}

#[test]
fn a_wait_that_nothing_can_end_is_noticed() {
    let world = World::new(5);
    let runtime = Runtime::new(world.clone());
    let ended = runtime.run_until(std::future::pending::<()>(), |_| !world.is_stuck());
    assert!(ended.is_none() && world.is_stuck());
}

#[derive(Clone, PartialEq, Debug)]
struct Line {
    trace: u32,
    name: String,
    height: u8,
    op: Op,
    begun: bool,
    at: u64,
}

fn lines_seen() -> Rc<RefCell<Vec<Line>>> {
    let lines: Rc<RefCell<Vec<Line>>> = Rc::default();
    let to = lines.clone();
    set_probe(Some(Box::new(move |seen| {
        let (name, begun) = (seen.name.to_owned(), seen.phase == Phase::Begun);
        let (trace, height, op, at) = (seen.trace, seen.height, seen.op, seen.at.0);
        to.borrow_mut().push(Line { trace, name, height, op, begun, at });
    })));
    lines
}

#[test]
fn a_probe_sees_one_request_go_down_and_come_back_up() {
    let world = World::new(6);
    let disk = world.add_disk(Sectors(64), 512);
    let arena = Arena::new(MAX_BUFFER);
    let runtime = Runtime::new(world);
    let lines = lines_seen();
    runtime.block_on(async {
        let overlay = Overlay::device(disk.clone(), Sectors(2));
        let trace = next_trace();
        assert_ne!(trace, next_trace());
        let read = Request::read(Sectors(0), sector(&arena, 7)).for_trace(trace);
        overlay.start(read).await.unwrap();
        set_probe(None);
        overlay.start(Request::read(Sectors(0), sector(&arena, 7))).await.unwrap();
        let lines = lines.take();
        let shape: Vec<_> = lines.iter().map(|line| (line.name.as_str(), line.height, line.begun)).collect();
        let above = "overlay of disk 0";
        let expected = [(above, 1, true), ("disk 0", 0, true), ("disk 0", 0, false), (above, 1, false)];
        assert_eq!(shape, expected, "and nothing after the probe was taken away");
        assert!(lines.iter().all(|line| line.trace == trace && line.op == Op::Read));
        assert!(lines.is_sorted_by_key(|line| line.at));
    });
}

/// Disks with faults of every kind, an overlay over each, many requests at once: what began has ended, as what it ended,
/// and the histogram has them all.
#[test]
fn counters_add_up_whatever_happens_to_the_requests() {
    for seed in 0..100 {
        let world = World::new(seed);
        let arena = Arena::new(MAX_BUFFER);
        let disk = world.add_disk(Sectors(64), 512);
        disk.set_faults(|faults| {
            faults.read_error_one_in = 3;
            faults.transport_error_one_in = 9;
            faults.flush_error_one_in = 2;
        });
        let runtime = Runtime::new(world.clone());
        let dev: Dev = disk.clone();
        let counters = dev.counters().unwrap();
        runtime.block_on(async {
            let mut failed = BTreeMap::<u8, u64>::new();
            let mut tickets = Vec::new();
            for n in 0..60u64 {
                let request = match n % 4 {
                    0 => Request::flush(),
                    1 => Request::write_zeroes(Range::new(Sectors(n), Sectors(2))),
                    _ => Request::read(Sectors(n + 8), sector(&arena, 0)), // the last ones lie beyond the end
                };
                tickets.push((request.op, dev.start(request)));
            }
            let all: u64 = Op::ALL.iter().map(|op| counters.of(*op).in_flight()).sum();
            assert!(all >= 50, "seed {seed}: most are under way");
            for (op, ticket) in tickets {
                *failed.entry(op as u8).or_default() += u64::from(ticket.await.is_err());
            }
            for op in Op::ALL {
                let count = counters.of(op);
                assert_eq!(count.in_flight(), 0, "seed {seed}");
                assert_eq!(count.failed, failed.get(&(op as u8)).copied().unwrap_or(0), "seed {seed}");
                assert_eq!(count.latency.iter().sum::<u64>(), count.ended(), "seed {seed}");
            }
            assert_eq!(counters.of(Op::Read).bytes, counters.of(Op::Read).done * 512, "seed {seed}");
            let least = counters.of(Op::WriteZeroes);
            assert!(least.total_ns >= least.ended() * 20_000, "seed {seed}: time is the world's");
        });
    }
}

#[test]
fn requests_that_a_crash_swallows_are_counted_as_failed() {
    let world = World::new(7);
    let disk = world.add_disk(Sectors(64), 512);
    let runtime = Runtime::new(world.clone());
    let counters = disk.counters().unwrap();
    runtime.block_on(async { disk.start(Request::flush()).detach() });
    assert_eq!(counters.of(Op::Flush).in_flight(), 1);
    drop(runtime);
    world.power_cut();
    assert_eq!((counters.of(Op::Flush).in_flight(), counters.of(Op::Flush).failed), (0, 1));
}

/// Numbers of the requests that disks were asked to carry out, in that order.
fn order_below() -> Rc<RefCell<Vec<u32>>> {
    let order: Rc<RefCell<Vec<u32>>> = Rc::default();
    let to = order.clone();
    set_probe(Some(Box::new(move |seen| {
        if seen.height == 0 && seen.phase == Phase::Begun {
            to.borrow_mut().push(seen.trace);
        }
    })));
    order
}

/// More requests than there are slots, and a layer that is quiesced and resumed at random: while it is quiet nothing
/// moves below, nothing fails, and all are carried out in the end.
#[test]
fn a_quiesced_layer_holds_requests_and_fails_none() {
    let (mut held_some, mut interrupted) = (0, 0);
    for seed in 0..60 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(256), 512);
        let arena = Arena::new(MAX_BUFFER);
        let runtime = Runtime::new(world.clone());
        let order = order_below();
        runtime.block_on(async {
            let dev = Overlay::device(disk.clone(), Sectors(2));
            let below = disk.counters().unwrap();
            let reads = || below.of(Op::Read);
            let above = dev.clone();
            let clients: Vec<_> = (1..=150u32)
                .map(|n| {
                    let (dev, buf) = (above.clone(), sector(&arena, 0));
                    let wait_ns = world.draw(|random| random.below(2_000_000));
                    spawn(async move {
                        crate::sleep_until(crate::now().after_ns(u64::from(n) * 10_000 + wait_ns / 100))
                            .await;
                        let read = Request::read(Sectors(n.into()), buf).for_trace(n);
                        dev.start(read).await
                    })
                })
                .collect();
            for round in 0..4 {
                sleep_for(world.draw(|random| random.below(600_000))).await;
                let quiet = dev.quiesce();
                if world.draw(|random| random.one_in(4)) {
                    let was = dev.state();
                    dev.resume();
                    let expected =
                        if was == State::Quiesced { Ok(()) } else { Err(Failed::new(Cause::Refused)) };
                    assert_eq!(quiet.await, expected, "seed {seed}");
                    interrupted += usize::from(expected.is_err());
                    continue;
                }
                quiet.await.unwrap();
                assert_eq!((dev.state(), reads().in_flight()), (State::Quiesced, 0), "seed {seed}");
                let seen = reads();
                sleep_for(world.draw(|random| random.below(900_000))).await;
                assert_eq!(reads(), seen, "seed {seed}, round {round}: something moved");
                held_some += usize::from(dev.counters().unwrap().of(Op::Read).in_flight() > 64);
                assert_eq!(dev.quiesce().await, Ok(()), "being quiet already is no wait");
                dev.resume();
                assert_eq!(dev.state(), State::Running, "seed {seed}");
            }
            for client in clients {
                assert_eq!(client.join().await, Ok(()), "seed {seed}");
            }
            assert_eq!(reads().done, 150, "seed {seed}");
        });
        set_probe(None);
        assert_eq!(order.take().len(), 150, "seed {seed}");
    }
    assert!(
        held_some > 10 && interrupted > 10,
        "{held_some} times many were held, {interrupted} interrupted"
    );
}

async fn sleep_for(ns: u64) {
    crate::sleep_until(crate::now().after_ns(ns)).await;
}

#[test]
fn held_requests_are_taken_up_in_the_order_in_which_they_came() {
    let world = World::new(8);
    let disk = world.add_disk(Sectors(256), 512);
    let arena = Arena::new(MAX_BUFFER);
    let runtime = Runtime::new(world);
    let order = order_below();
    runtime.block_on(async {
        let dev = Overlay::device(disk.clone(), Sectors(2));
        dev.quiesce().await.unwrap();
        let read = |n: u32| dev.start(Request::read(Sectors(n.into()), sector(&arena, 0)).for_trace(n));
        let mut tickets: Vec<_> = (1..=100).map(read).collect();
        assert!(order.borrow().is_empty());
        dev.resume();
        tickets.extend((101..=120).map(read));
        for ticket in tickets {
            ticket.await.unwrap();
        }
    });
    set_probe(None);
    assert_eq!(order.take(), (1..=120).collect::<Vec<u32>>());
}

#[test]
fn what_a_dropped_layer_held_is_gone_and_not_forgotten() {
    let world = World::new(9);
    let disk = world.add_disk(Sectors(256), 512);
    let arena = Arena::new(MAX_BUFFER);
    let runtime = Runtime::new(world);
    runtime.block_on(async {
        let dev = Overlay::device(disk.clone(), Sectors(2));
        dev.quiesce().await.unwrap();
        let held = dev.start(Request::read(Sectors(0), sector(&arena, 0)));
        drop(dev);
        assert_eq!(held.await, Err(Failed::new(Cause::Gone)));
        assert_eq!(disk.quiesce().await, Err(Failed::new(Cause::Unsupported)), "a disk holds nothing");
    });
}

/// A device grows from below to above: what is told above is there below, at every moment.
#[test]
fn a_size_that_is_told_can_be_read_to_its_end() {
    for seed in 0..50 {
        let world = World::new(seed);
        let disk = world.add_disk(Sectors(64), 512);
        let arena = Arena::new(MAX_BUFFER);
        let runtime = Runtime::new(world.clone());
        runtime.block_on(async {
            let dev = Overlay::device(Overlay::device(disk.clone(), Sectors(2)), Sectors(2));
            let (growing, draws) = (disk.clone(), world.clone());
            let grown = spawn(async move {
                for _ in 0..20 {
                    sleep_for(draws.draw(|random| random.below(500_000))).await;
                    let more = Sectors(draws.draw(|random| random.below(100)));
                    growing.grow(growing.geometry().size + more);
                }
            });
            let mut known = Sectors(64);
            while !grown.is_done() {
                let size = dev.geometry().size;
                assert!(size >= known && size <= disk.geometry().size, "seed {seed}");
                known = size;
                let last = Request::read(size - Sectors(1), sector(&arena, 0));
                assert_eq!(dev.start(last).await, Ok(()), "seed {seed}: the last of {size} sectors");
            }
            assert_eq!(dev.geometry().size, disk.geometry().size, "seed {seed}");
        });
    }
}
