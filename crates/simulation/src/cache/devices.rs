//! Caches, backing devices and their volumes, as every kind of seed makes and opens them.

use std::rc::Rc;

use bcache::{CacheSet, Options, Plan, Volume, create, examine, found};
use bcache_format::superblock::{BackingPlan, CachePlan, Kind};
use bcache_format::{CacheMode, Label, State};
use block::{Arena, Dev};

/// Where the data of backing devices begins.
pub const DATA_OFFSET: u64 = 16;

/// Makes a cache with so many buckets for its journal, and its backing devices, each with its mode.
pub async fn make(
    plan: CachePlan,
    journal_buckets: u16,
    cache: Dev,
    backing: impl Iterator<Item = (Dev, CacheMode)>,
) {
    let (block_sectors, bucket_sectors) = (plan.block_sectors, plan.bucket_sectors as u16);
    let (mut devs, mut plans) = (vec![cache], vec![Plan::Cache(plan)]);
    for (dev, mode) in backing {
        devs.push(dev);
        plans.push(Plan::Backing(BackingPlan {
            block_sectors,
            bucket_sectors,
            data_offset: DATA_OFFSET,
            uuid: runtime::random_uuid(),
            set_uuid: [0; 16],
            label: Label([0; 32]),
            mode,
        }));
    }
    let superblocks: Vec<_> = plans.iter().map(|plan| plan.superblock().expect("it can be")).collect();
    let arena = Arena::new(4 << 20);
    create(&superblocks, &devs, &arena).await.expect("disks without faults");
    let examined = examine(&devs[0], &arena).await.expect("just made");
    found(&devs[0], &examined, &arena, Some(journal_buckets)).await.expect("just made");
}

/// The set on a cache, started.
pub async fn open_set(cache: Dev, options: Options, arena: &Rc<Arena>) -> Result<Rc<CacheSet>, String> {
    let examined = examine(&cache, arena).await.map_err(|error| error.to_string())?;
    let set = CacheSet::open(cache, &examined, arena, options).await.map_err(|error| error.to_string())?;
    let set = Rc::new(set);
    let Kind::Cache(facts) = examined.summary.kind else { return Err("no cache".to_owned()) };
    set.start(facts.replacement).await.map_err(|error| error.to_string())?;
    Ok(set)
}

/// The volume of a backing device, which is attached to the set if it is not yet.
pub async fn open_volume(
    name: &str,
    dev: Dev,
    set: &Rc<CacheSet>,
    arena: &Rc<Arena>,
) -> Result<Rc<Volume>, String> {
    let mut examined = examine(&dev, arena).await.map_err(|error| error.to_string())?;
    let is_attached = match examined.summary.kind {
        Kind::Backing(backing) => backing.state != State::Detached,
        Kind::Cache(_) => false,
    };
    let inode = match set.inode_of(&examined.summary.uuid) {
        Some(inode) if is_attached => inode,
        _ => {
            let inode = Volume::attach(&dev, &examined, set, arena).await;
            examined = examine(&dev, arena).await.map_err(|error| error.to_string())?;
            inode.map_err(|error| error.to_string())?
        }
    };
    let volume = Volume::start_backed(name, dev, &examined, set.clone(), inode, arena).await;
    volume.map_err(|error| error.to_string())
}
