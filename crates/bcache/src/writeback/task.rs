//! Writing back: dirty extents are read from the cache and written to the backing device, in the order in which they lie
//! there; the device is flushed, and only then the tree says that they are clean (C1).
//!
//! An extent is locked while it is read and written, so that no client's write to the backing device is overtaken by it; it is
//! not locked while the device is flushed: what was written in between is dirty again under another key, and stays so.

use std::rc::Rc;

use bcache_format::{Key, Position};
use block::{Arena, Buf, Fan, Moment, Origin, Outcome, Request, Sectors};
use runtime::waits::doing;
use runtime::{Held, now, sleep_ms, spawn};

use super::rate::Seen;
use crate::counters::count;
use crate::error::SetError;
use crate::limits::{BACK_AT_ONCE, BACK_BYTES};
use crate::plant::{self, Plant};
use crate::set::CacheSet;
use crate::volume::Volume;
use crate::waits;

/// A volume's extents that are written back together.
struct Batch<'a> {
    keys: [Option<Key>; BACK_AT_ONCE],
    bufs: [Option<Buf>; BACK_AT_ONCE],
    held: [Option<Held<'a>>; BACK_AT_ONCE],
    count: usize,
}

/// Starts the writing back of a volume.
pub(crate) fn start(volume: &Rc<Volume>) {
    block::reserve(2 * BACK_AT_ONCE);
    let buffers = Arena::new(BACK_AT_ONCE * BACK_BYTES);
    let mut written_back = volume.set.as_ref().expect("it is cached").engine().written_back.borrow_mut();
    written_back.retain(|other| other.strong_count() > 0);
    written_back.push(Rc::downgrade(volume));
    let volume = volume.clone();
    let _running = spawn(async move { run(&volume, &buffers).await });
}

async fn run(volume: &Rc<Volume>, buffers: &Rc<Arena>) {
    let set = volume.set.as_ref().expect("it is cached");
    let mut at = Position::new(volume.inode, 0);
    let mut looked = now();
    let _doing = doing(waits::CLEANER);
    while !set.is_over() && volume.is_cached() {
        if set.is_starving() {
            set.engine().allocator.changed.notify(); // something is clean, or will not be
        }
        if volume.dirty_sectors() == 0 {
            let _retried = settle(volume).await;
            pause(volume, IDLE_MS).await;
            continue;
        }
        if !volume.writes_back() {
            pause(volume, IDLE_MS).await;
            continue;
        }
        look(volume, &mut looked);
        let written = write_back(volume, buffers, at).await;
        let stumbles = &volume.writer().stumbles;
        stumbles.set(if written.is_ok() { 0 } else { stumbles.get().saturating_add(1) });
        match written {
            Ok((Some(next), sectors)) => {
                at = next;
                pace(volume, sectors).await;
            }
            Ok((None, _)) => {
                at = Position::new(volume.inode, 0);
                volume.writer().rate.borrow_mut().forget(now());
                pause(volume, 1000 * volume.writer().tunables.writeback_delay.get()).await;
            }
            Err(_) => pause(volume, IDLE_MS).await,
        }
    }
}

/// Between two looks at a volume that has nothing to write back, or must not.
const IDLE_MS: u64 = 50;

/// Waits, at least a little, and no longer when somebody wants everything written back, or room.
async fn pause(volume: &Volume, ms: u64) {
    let until = now().after_ms(ms);
    loop {
        sleep_ms(IDLE_MS).await;
        let set = volume.set.as_ref().expect("it is cached");
        if now() >= until || volume.is_drained_for() || set.is_over() || set.is_starving() {
            return;
        }
    }
}

/// The controller looks, if it is time to.
fn look(volume: &Volume, looked: &mut Moment) {
    let (set, writer) = (volume.set.as_ref().expect("it is cached"), volume.writer());
    let tuning = writer.tunables.tuning(&set.engine().tunables);
    if now() < looked.after_ms(1000 * tuning.update_seconds) {
        return;
    }
    *looked = now();
    let (volumes, devices_sectors) = set.backing_sectors();
    let is_idle = set.engine().idleness.borrow_mut().round(volumes);
    let mut rate = writer.rate.borrow_mut();
    match is_idle && tuning.idle_max {
        true => rate.run_idle(),
        false => rate.update(now(), &seen(volume, devices_sectors), &tuning),
    }
}

fn seen(volume: &Volume, devices_sectors: u64) -> Seen {
    let set = volume.set.as_ref().expect("it is cached");
    let buckets = set.buckets.borrow();
    Seen {
        cache_sectors: set.geometry.buckets * set.geometry.bucket_sectors,
        device_sectors: volume.disk().map_or(0, |disk| disk.dev.geometry().size.0),
        devices_sectors,
        dirty_sectors: volume.dirty_sectors(),
        buckets_in_use: buckets.in_use(),
        buckets: set.geometry.buckets,
        bucket_sectors: set.geometry.bucket_sectors,
    }
}

/// Waits as long as so many sectors are to take.
async fn pace(volume: &Volume, sectors: u64) {
    let writer = volume.writer();
    let is_starving = volume.set.as_ref().is_some_and(|set| set.is_starving());
    if volume.is_drained_for() || is_starving || writer.tunables.writeback_percent.get() == 0 {
        return;
    }
    let delay_ms = writer.rate.borrow_mut().delay_ns(now(), sectors) / 1_000_000;
    if delay_ms > 0 {
        pause(volume, delay_ms).await;
    }
}

/// Nothing is dirty: says so, after it is so durably.
async fn settle(volume: &Volume) -> Outcome {
    if volume.state() != Some(bcache_format::State::Dirty) {
        return Ok(());
    }
    let set = volume.set.as_ref().expect("it is cached");
    let journal = set.journal();
    if !plant::is(Plant::CleanBeforeJournal) {
        journal.commit(set, journal.newest()).await.map_err(crate::volume::failed)?;
    }
    match volume.disk() {
        Some(disk) => disk.flush().await?,
        None => return Ok(()),
    }
    volume.settle().await
}

/// Writes back some extents from `at` on. Where to go on, `None` at the end; and how many sectors it were.
async fn write_back(
    volume: &Volume,
    buffers: &Rc<Arena>,
    at: Position,
) -> Result<(Option<Position>, u64), SetError> {
    let set = volume.set.as_ref().expect("it is cached");
    let Some(disk) = volume.disk() else { return Ok((None, 0)) };
    // What can be written in whole stripes is written first.
    let whole = set.engine().dirty.ask_stripes(volume.inode, |stripes| stripes.next_whole(0)).flatten();
    let at = whole.map_or(at, |(start, _)| Position::new(volume.inode, start));
    let (mut batch, next) = gather(volume, buffers, at).await?;
    let written = copy(set, volume, &mut batch).await;
    batch.held = [const { None }; BACK_AT_ONCE];
    let flushed = match written {
        Ok(()) if plant::is(Plant::CleanBeforeFlush) => Ok(()),
        Ok(()) => disk.flush().await,
        Err(failed) => Err(failed),
    };
    if let Err(failed) = flushed {
        return Err(SetError::Device { what: "backing device", sector: 0, failed });
    }
    let counters = &set.engine().counters;
    let mut sectors = 0;
    for key in batch.keys.iter().flatten() {
        let clean = set.replace(*key, key.with_dirty(false)).await?;
        let counter = match clean == key.sectors() {
            true => &counters.writeback_keys_done,
            false => &counters.writeback_keys_failed,
        };
        count(counter, 1);
        sectors += key.sectors();
    }
    Ok((next, sectors))
}

/// Dirty extents from `at` on that nobody writes to, locked.
async fn gather<'a>(
    volume: &'a Volume,
    buffers: &Rc<Arena>,
    at: Position,
) -> Result<(Batch<'a>, Option<Position>), SetError> {
    let set = volume.set.as_ref().expect("it is cached");
    let mut batch = Batch {
        keys: [None; BACK_AT_ONCE],
        bufs: [const { None }; BACK_AT_ONCE],
        held: [const { None }; BACK_AT_ONCE],
        count: 0,
    };
    let mut next = at;
    while batch.count < BACK_AT_ONCE {
        let Some(key) = set.next_dirty(next, (BACK_BYTES / 512) as u64).await? else {
            return Ok((batch, None));
        };
        next = key.end();
        let Some(held) = volume.try_lock(key.start(), key.sectors()) else { continue };
        let Some(buf) = buffers.take(key.sectors() as usize * 512) else { break };
        let place = batch.count;
        (batch.keys[place], batch.bufs[place], batch.held[place]) = (Some(key), Some(buf), Some(held));
        batch.count += 1;
    }
    Ok((batch, Some(next)))
}

/// Reads the extents of a batch from the cache and writes them to the backing device. Those that are not where they were any
/// more are left out.
async fn copy(set: &CacheSet, volume: &Volume, batch: &mut Batch<'_>) -> Outcome {
    let disk = volume.disk().expect("it is backed");
    let mut fan = Fan::<BACK_AT_ONCE>::default();
    for (number, (key, buf)) in batch.keys.iter().zip(&batch.bufs).enumerate() {
        let (Some(key), Some(buf)) = (key, buf) else { continue };
        let sector = key.pointer().expect("it is dirty").sector();
        let read = Request::read(Sectors(sector), buf.clone()).from_origin(Origin::Sync);
        fan.put(number, set.dev.start(read));
    }
    set.ended("data", fan.all().await)?;
    for (number, key) in batch.keys.iter_mut().enumerate() {
        let (Some(found), Some(buf)) = (*key, &batch.bufs[number]) else { continue };
        if !set.says(&found).await {
            *key = None;
            continue;
        }
        let write = Request::write(Sectors(found.start().offset), buf.clone()).from_origin(Origin::Sync);
        fan.put(number, disk.dev.start(write));
    }
    let written = volume.ended_below(fan.all().await);
    if !plant::is(Plant::CleanBeforeFlush) {
        disk.written();
    }
    written
}
