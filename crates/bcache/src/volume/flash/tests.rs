//! Volumes in the cache alone come, grow and go, wherever the power is cut.

use std::rc::Rc;

use bcache_format::{CacheMode, Label};
use block::{Buf, Cause, Failed, Outcome, Request, Sectors};
use runtime::sleep_ms;

use crate::Volume;
use crate::bench::{Bench, Left, Live, ROOM, Wrong};

/// Sectors of the volume, all of which are written.
const SECTORS: u64 = 600;
/// By then what was left is forgotten.
const FORGOTTEN_MS: u64 = 2000;

/// The first volume that lies in the cache alone, made if there is none.
async fn flash(live: &Live) -> Rc<Volume> {
    let (inode, sectors) = match live.set.flash().first().copied() {
        Some(known) => known,
        None => {
            let made = live.set.create_flash([9; 16], Label([0; 32]), SECTORS).await;
            (made.expect("no faults"), SECTORS)
        }
    };
    Volume::start_flash("flash", live.set.clone(), inode, sectors)
}

async fn filled(live: &Live, sectors: u64, value: u8) -> Buf {
    let buf = live.arena.wait_take(sectors as usize * 512).await;
    buf.copy_from_slice(0, &vec![value; buf.len()]);
    buf
}

async fn write(live: &Live, volume: &Rc<Volume>, start: u64, sectors: u64, value: u8) -> Outcome {
    let buf = filled(live, sectors, value).await;
    volume.device().start(Request::write(Sectors(start), buf).with_fua()).await
}

/// Whether sectors read as this value alone.
async fn reads(live: &Live, volume: &Rc<Volume>, start: u64, sectors: u64, value: u8) -> bool {
    let buf = filled(live, sectors, !value).await;
    volume.device().start(Request::read(Sectors(start), buf.clone())).await.expect("it can be read");
    let mut bytes = vec![0; buf.len()];
    buf.copy_to_slice(0, &mut bytes);
    bytes.iter().all(|byte| *byte == value)
}

#[test]
fn what_a_deleted_volume_had_is_free_again() {
    let bench = Bench::new(3, CacheMode::Writeback);
    bench
        .era(async |live| {
            let before = live.set.status().buckets_in_use;
            let volume = flash(live).await;
            write(live, &volume, 0, SECTORS, 5).await.expect("there is room");
            assert_eq!(live.set.status().dirty_sectors, SECTORS);
            volume.delete().await.expect("no faults");
            let gone = Err(Failed::new(Cause::Gone));
            assert_eq!(write(live, &volume, 0, 1, 6).await, gone);
            assert_eq!(volume.device().start(Request::flush()).await, gone);
            assert_eq!(live.set.flash(), []);
            sleep_ms(FORGOTTEN_MS).await;
            let after = live.set.status();
            assert_eq!(after.dirty_sectors, 0);
            assert!(after.buckets_in_use <= before + 2, "{before} buckets, then {}", after.buckets_in_use);
            Ok(())
        })
        .expect("nobody waits");
}

#[test]
fn nothing_is_forgotten_before_the_table_says_so() {
    let bench = Bench::new(3, CacheMode::Writeback);
    let forgotten = bench.era(async |live| {
        let volume = flash(live).await;
        write(live, &volume, 0, SECTORS, 5).await.expect("there is room");
        live.cache.hold(Live::is_of_priorities); // the table takes a whole bucket too
        let deleting = volume.clone();
        let deleting = runtime::spawn(async move { deleting.delete().await });
        sleep_ms(FORGOTTEN_MS).await;
        assert_eq!(live.set.status().dirty_sectors, SECTORS);
        live.cache.open();
        deleting.join().await.expect("no faults");
        sleep_ms(FORGOTTEN_MS).await;
        assert_eq!(live.set.status().dirty_sectors, 0);
        Ok(())
    });
    forgotten.expect("nobody waits");
}

/// Wherever the power goes, the volume is as it was, or not there, and then nothing of it is left for long.
#[test]
fn a_power_cut_leaves_all_of_a_volume_or_nothing() {
    let (mut whole, mut none) = (0, 0);
    for after in 0..40 {
        let bench = Bench::new(3, CacheMode::Writeback);
        let written = bench.era(async |live| {
            let volume = flash(live).await;
            write(live, &volume, 0, SECTORS, 5).await.expect("there is room");
            let before = live.set.status().dirty_sectors;
            let deleting = volume.clone();
            let _running = runtime::spawn(async move { deleting.delete().await });
            let done = || bench.cache.writes();
            let until = done() + after;
            while done() < until && live.set.status().dirty_sectors > 0 {
                runtime::yield_now().await;
                sleep_ms(1).await;
            }
            Ok(before)
        });
        assert_eq!(written, Ok(SECTORS));
        let left = bench.cut(Left::Durable).era(async |live| {
            if live.set.flash().is_empty() {
                sleep_ms(FORGOTTEN_MS).await;
                assert_eq!(live.set.status().dirty_sectors, 0);
                return Ok(false);
            }
            let volume = flash(live).await;
            if reads(live, &volume, 0, SECTORS, 5).await { Ok(true) } else { Err(Wrong::Lost) }
        });
        match left.expect("all of it, or nothing") {
            true => whole += 1,
            false => none += 1,
        }
    }
    assert!(whole > 0 && none > 0, "{whole} times it was there, {none} times not");
}

#[test]
fn a_volume_grows_by_zeroes_also_where_it_was_made_smaller() {
    let bench = Bench::new(3, CacheMode::Writeback);
    let grown = bench.era(async |live| {
        let volume = flash(live).await;
        write(live, &volume, 0, SECTORS, 5).await.expect("there is room");
        // As a kernel makes it smaller: nothing but the table says so.
        live.set.set_flash_sectors(volume.inode(), SECTORS / 2).await.expect("no faults");
        let volume = flash(live).await;
        assert_eq!(volume.device().geometry().size, Sectors(SECTORS / 2));
        assert_eq!(volume.grow(Sectors(SECTORS / 4)).await, Err(Failed::new(Cause::Refused)));
        volume.grow(Sectors(2 * SECTORS)).await.expect("no faults");
        assert_eq!(volume.device().geometry().size, Sectors(2 * SECTORS));
        assert!(reads(live, &volume, 0, SECTORS / 2, 5).await);
        assert!(reads(live, &volume, SECTORS / 2, 3 * SECTORS / 2, 0).await);
        write(live, &volume, 2 * SECTORS - 8, 8, 6).await.expect("there is room");
        Ok(())
    });
    grown.expect("nobody waits");
    let again = bench.cut(Left::Durable).era(async |live| {
        let volume = flash(live).await;
        assert_eq!(volume.device().geometry().size, Sectors(2 * SECTORS));
        assert!(reads(live, &volume, SECTORS / 2, 3 * SECTORS / 2 - 8, 0).await);
        assert!(reads(live, &volume, 2 * SECTORS - 8, 8, 6).await);
        Ok(())
    });
    again.expect("nobody waits");
}

/// Sectors of a volume that has no room in the cache beside what is dirty.
const WIDE: u64 = 2000;

/// A cache full of what its backed volume has, and a volume in it alone that needs as much room.
async fn full(live: &Live) -> Rc<Volume> {
    let made = live.set.create_flash([9; 16], Label([0; 32]), WIDE).await;
    for name in ["cutoff_writeback", "cutoff_writeback_sync"] {
        live.set.set_tunable(name, "70").await.expect("it can be set");
    }
    for start in (0..ROOM).step_by(64) {
        live.write(start, 64, 1).await.expect("there is room here or below");
    }
    Volume::start_flash("flash", live.set.clone(), made.expect("no faults"), WIDE)
}

/// Fills a volume. What came of it.
async fn fill(live: &Live, volume: &Rc<Volume>) -> Outcome {
    for start in (0..WIDE).step_by(50) {
        write(live, volume, start, 50, 5).await?;
    }
    Ok(())
}

const NO_SPACE: Outcome = Err(Failed::new(Cause::NoSpace));

#[test]
fn a_write_waits_for_what_is_written_back() {
    let filled = Bench::new(3, CacheMode::Writeback).era(async |live| {
        let volume = full(live).await;
        live.volume.set_tunable("writeback_running", "1").await.expect("it can be set");
        fill(live, &volume).await.expect("what is in its way is written back");
        assert!(reads(live, &volume, 0, WIDE, 5).await);
        Ok(())
    });
    filled.expect("nobody waits for ever");
}

#[test]
fn a_write_fails_when_nothing_is_written_back_or_is_not_any_more() {
    let failed = Bench::new(3, CacheMode::Writeback).era(async |live| {
        let volume = full(live).await;
        assert_eq!(fill(live, &volume).await, NO_SPACE);
        // The same when that is said, or found, while it waits.
        live.backing.hold(|request| request.op == block::Op::Write);
        live.volume.set_tunable("writeback_running", "1").await.expect("it can be set");
        let (waiting, buf) = (volume.clone(), filled(live, 50, 5).await);
        let write = Request::write(Sectors(WIDE - 50), buf);
        let waiting = runtime::spawn(async move { waiting.device().start(write).await });
        sleep_ms(1000).await;
        assert!(!waiting.is_done());
        live.volume.set_tunable("writeback_running", "0").await.expect("it can be set");
        live.backing.open();
        assert_eq!(waiting.join().await, NO_SPACE);
        Ok(())
    });
    failed.expect("nobody waits for ever");
}

#[test]
fn a_write_fails_when_there_is_nothing_but_what_lies_in_the_cache_alone() {
    let failed = Bench::new(3, CacheMode::Writeback).era(async |live| {
        let made = live.set.create_flash([9; 16], Label([0; 32]), ROOM).await;
        let volume = Volume::start_flash("flash", live.set.clone(), made.expect("no faults"), ROOM);
        live.volume.set_tunable("writeback_running", "1").await.expect("it can be set");
        let mut outcome = Ok(());
        for start in (0..ROOM).step_by(40) {
            outcome = outcome.and(write(live, &volume, start, 40, 5).await);
        }
        assert_eq!(outcome, NO_SPACE);
        volume.delete().await.expect("no faults");
        // What it had is waited for, too.
        let volume = full(live).await;
        live.volume.set_tunable("writeback_running", "1").await.expect("it can be set");
        fill(live, &volume).await.expect("what is in its way is forgotten, or written back");
        Ok(())
    });
    failed.expect("nobody waits for ever");
}
