//! Rules of the simulated world, and of the executor over it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Cause, Device, Failed, MAX_BUFFER, Range, Request, Sectors};

use super::*;
use crate::rank::{Rank, Step};
use crate::{Overlay, RangeLocks, Runtime, sleep_ms, spawn};

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
    assert_eq!(disk.counts().writes, 0);
}

#[test]
fn a_wait_that_nothing_can_end_is_noticed() {
    let world = World::new(5);
    let runtime = Runtime::new(world.clone());
    let ended = runtime.run_until(std::future::pending::<()>(), |_| !world.is_stuck());
    assert!(ended.is_none() && world.is_stuck());
}
