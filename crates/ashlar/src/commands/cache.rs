//! `ashlar cache`: caches and backing devices of bcache are made, looked into, and managed while they run.

mod check;
mod create;
mod dump;
mod manage;
mod stats;

use anyhow::{Result, anyhow, bail};
use bcache::Reader;
use bcache_format::Geometry;
use bcache_format::superblock::{Cache, Kind};

use crate::cli::{CacheCommand, Driver, Lenience, Reading};
use crate::members::How;
use crate::pile::{Pile, Stranger};
use crate::stack::{Disk, disks};
use crate::world::World;

/// Runs the command.
pub fn run(args: &crate::cli::Cache, driver: Driver) -> Result<()> {
    match &args.command {
        CacheCommand::Create(args) => create::run(args, driver),
        CacheCommand::Check(args) => check::run(args, driver),
        CacheCommand::Dump(args) => dump::run(args, driver),
        CacheCommand::Attach(args) => manage::attach(args),
        CacheCommand::Detach(args) => manage::detach(args),
        CacheCommand::Mode(args) => manage::mode(args),
        CacheCommand::Flush(args) => manage::flush(args),
        CacheCommand::Set(args) => manage::set(args),
        CacheCommand::Volume(args) => manage::volume(args),
        CacheCommand::Grow(args) => manage::grow(args),
        CacheCommand::Delete(args) => manage::delete(args),
        CacheCommand::Stats(args) => stats::run(args),
    }
}

/// The one cache that these members are, or make.
async fn only_cache(world: &World, pile: &Pile) -> Result<Disk> {
    let (disks, _) = disks(world, pile, &Lenience::default()).await;
    let mut caches: Vec<Disk> = disks.into_iter().filter(|disk| disk.examined.is_cache()).collect();
    match caches.len() {
        1 => Ok(caches.remove(0)),
        0 => {
            let lines: Vec<String> = pile.strangers.iter().map(Stranger::to_string).collect();
            Err(anyhow!("none of these is a cache, or makes one\n  {}", lines.join("\n  ")))
        }
        count => bail!("these are {count} caches; name one at a time"),
    }
}

fn open(args: &[String], reading: &Reading, world: &World) -> Result<Pile> {
    Pile::open(world, args, How::read(reading.live))
}

/// The shape of a cache that a set lies on.
fn used_geometry(disk: &Disk) -> Result<Geometry> {
    match disk.examined.summary.kind {
        Kind::Cache(Cache { geometry, is_used: true, .. }) => Ok(geometry),
        _ => Err(anyhow!("{}: {}", disk.name, bcache::SetError::NotUsed)),
    }
}

fn reader(world: &World, disk: &Disk) -> Result<Reader> {
    Ok(Reader::new(disk.device.clone(), used_geometry(disk)?, world.arena.clone())?)
}
