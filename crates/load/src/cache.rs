//! A cache: made, filled, loaded.

use std::rc::Rc;

use bcache::{CacheSet, Examined, Options, Plan, Volume, create, examine, found};
use bcache_format::superblock::{BackingPlan, CachePlan};
use bcache_format::{CacheMode, Label, Replacement};
use block::{Arena, Dev, Op, Request, Sectors};

use crate::{Result, clients};

const BUCKET_SECTORS: u64 = 1024;
const BLOCK_SECTORS: u16 = 1;

/// Does jobs with a cache before a backing device. Nothing goes past it or is written back meanwhile.
pub async fn run(ms: u64, jobs: &str, devs: [&Dev; 2], arena: &Rc<Arena>) -> Result<()> {
    let (set, volume) = start(devs, arena).await?;
    let device = volume.device();
    fill(&device, arena).await?;
    for job in jobs.split(',') {
        device.start(Request::flush()).await.map_err(|failed| failed.to_string())?;
        let before = written(devs);
        let found = clients::run(job, ms, &device, arena).await?;
        device.start(Request::flush()).await.map_err(|failed| failed.to_string())?;
        let factor = (written(devs) - before) as f64 / found.bytes as f64;
        println!("{job} {:.0} {} {factor:.3}", found.rate, found.p99_ns);
    }
    Ok(set.stop().await?)
}

async fn start([cache, backing]: [&Dev; 2], arena: &Rc<Arena>) -> Result<(Rc<CacheSet>, Rc<Volume>)> {
    let plans = [
        Plan::Cache(CachePlan {
            device_sectors: cache.geometry().size.0,
            bucket_sectors: BUCKET_SECTORS,
            block_sectors: BLOCK_SECTORS,
            uuid: runtime::random_uuid(),
            set_uuid: runtime::random_uuid(),
            replacement: Replacement::Lru,
        }),
        Plan::Backing(BackingPlan {
            block_sectors: BLOCK_SECTORS,
            bucket_sectors: BUCKET_SECTORS as u16,
            data_offset: 16,
            uuid: runtime::random_uuid(),
            set_uuid: [0; 16],
            label: Label([0; 32]),
            mode: CacheMode::Writeback,
        }),
    ];
    let superblocks: Vec<_> = plans.iter().map(Plan::superblock).collect::<std::result::Result<_, _>>()?;
    create(&superblocks, &[cache.clone(), backing.clone()], arena).await?;
    found(cache, &examined(cache, arena).await?, arena, None).await?;
    let set =
        CacheSet::open(cache.clone(), &examined(cache, arena).await?, arena, Options::default()).await?;
    let set = Rc::new(set);
    set.start(Replacement::Lru).await?;
    for (name, value) in [("congested_read_threshold_us", "0"), ("congested_write_threshold_us", "0")] {
        set.set_tunable(name, value).await.map_err(|error| format!("{error:?}"))?;
    }
    let inode = Volume::attach(backing, &examined(backing, arena).await?, &set, arena).await?;
    let now = examined(backing, arena).await?;
    let volume = Volume::start_backed("load", backing.clone(), &now, set.clone(), inode, arena).await?;
    for (name, value) in [("writeback_running", "0"), ("sequential_cutoff", "0")] {
        volume.set_tunable(name, value).await.map_err(|error| format!("{error:?}"))?;
    }
    Ok((set, volume))
}

async fn examined(dev: &Dev, arena: &Rc<Arena>) -> Result<Examined> {
    Ok(examine(dev, arena).await?)
}

/// Writes everything, so that all of it is in the cache.
async fn fill(device: &Dev, arena: &Rc<Arena>) -> Result<()> {
    let buf = arena.wait_take(1 << 20).await;
    let size = device.geometry().size;
    let mut at = Sectors::ZERO;
    while at < size {
        let piece = buf.slice(0, buf.sectors().min(size - at).byte_len());
        at += piece.sectors();
        let write = Request::write(at - piece.sectors(), piece);
        device.start(write).await.map_err(|failed| failed.to_string())?;
    }
    Ok(())
}

/// Bytes that were written to all devices so far.
fn written(devs: [&Dev; 2]) -> u64 {
    let counters = devs.iter().filter_map(|dev| dev.counters());
    counters.map(|counters| counters.of(Op::Write).bytes).sum()
}
