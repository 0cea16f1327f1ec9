//! Writing back: dirty extents are read from the cache and written to the backing device, in the order in which they lie
//! there; the device is flushed, and only then the tree says that they are clean (C1).
//!
//! An extent is locked while it is read and written, so that no client's write to the backing device is overtaken by it; it is
//! not locked while the device is flushed: what was written in between is dirty again under another key, and stays so.

use std::rc::Rc;

use bcache_format::{Key, Position};
use block::{Arena, Buf, Fan, Origin, Outcome, Request, Sectors};
use runtime::{Held, sleep_ms, spawn};

use crate::error::SetError;
use crate::limits::{BACK_AT_ONCE, BACK_BYTES};
use crate::set::CacheSet;
use crate::volume::Volume;

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
    let volume = volume.clone();
    let _running = spawn(async move { run(&volume, &buffers).await });
}

async fn run(volume: &Rc<Volume>, buffers: &Rc<Arena>) {
    let set = volume.set.as_ref().expect("it is cached");
    let mut at = Position::new(volume.inode, 0);
    while !set.is_over() {
        if volume.dirty_sectors() == 0 {
            let _retried = settle(volume).await;
            sleep_ms(IDLE_MS).await;
            continue;
        }
        match write_back(volume, buffers, at).await {
            Ok(Some(next)) => at = next,
            Ok(None) => {
                at = Position::new(volume.inode, 0);
                sleep_ms(IDLE_MS).await;
            }
            Err(_) => sleep_ms(IDLE_MS).await,
        }
    }
}

/// Between two looks at a volume that has nothing to write back.
const IDLE_MS: u64 = 50;

/// Nothing is dirty: says so, after it is so durably.
async fn settle(volume: &Volume) -> Outcome {
    if volume.state() != Some(bcache_format::State::Dirty) {
        return Ok(());
    }
    let set = volume.set.as_ref().expect("it is cached");
    let journal = set.journal();
    journal.commit(set, journal.newest()).await.map_err(crate::volume::failed)?;
    match volume.disk() {
        Some(disk) => disk.flush().await?,
        None => return Ok(()),
    }
    volume.settle().await
}

/// Writes back some extents from `at` on. Where to go on; `None` at the end.
async fn write_back(
    volume: &Volume,
    buffers: &Rc<Arena>,
    at: Position,
) -> Result<Option<Position>, SetError> {
    let set = volume.set.as_ref().expect("it is cached");
    let Some(disk) = volume.disk() else { return Ok(None) };
    let (mut batch, next) = gather(volume, buffers, at).await?;
    let written = copy(set, volume, &mut batch).await;
    batch.held = [const { None }; BACK_AT_ONCE];
    let flushed = match written {
        Ok(()) => disk.flush().await,
        Err(failed) => Err(failed),
    };
    if let Err(failed) = flushed {
        return Err(SetError::Device { what: "backing device", sector: 0, failed });
    }
    for key in batch.keys.iter().flatten() {
        set.replace(*key, key.with_dirty(false)).await?;
    }
    Ok(next)
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
    fan.all().await?;
    for (number, key) in batch.keys.iter_mut().enumerate() {
        let (Some(found), Some(buf)) = (*key, &batch.bufs[number]) else { continue };
        if !set.says(&found).await {
            *key = None;
            continue;
        }
        let write = Request::write(Sectors(found.start().offset), buf.clone()).from_origin(Origin::Sync);
        fan.put(number, disk.dev.start(write));
    }
    let written = fan.all().await;
    disk.written();
    written
}
