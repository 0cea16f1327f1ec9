//! The command line of `ashlar cache`.

use clap::{Args, Subcommand};

use super::{Json, Reading};

/// Look into caches of bcache
#[derive(Args, Debug)]
pub struct Cache {
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What to do with a cache.
#[derive(Subcommand, Debug)]
pub enum CacheCommand {
    Check(CacheCheck),
    Dump(CacheDump),
}

/// Check everything that a cache says of itself
///
/// Reads the journal, the priorities, the uuids and the whole tree of the set that lies on a CACHE, named by its disk or by
/// the members of the array that it is on, and says what is wrong and where: checksums, keys, pointers, generations, nodes
/// that are not reached, extents that overlap, data of volumes that there are not. Never writes. Fails if anything is wrong.
#[derive(Args, Debug)]
pub struct CacheCheck {
    /// The cache, or the members of the array it is on
    #[arg(required = true, value_name = "CACHE")]
    pub members: Vec<String>,
    #[command(flatten)]
    pub reading: Reading,
    #[command(flatten)]
    pub json: Json,
}

/// Print what lies on a cache
///
/// Prints the superblock, and what is asked for beside it. Never writes.
#[derive(Args, Debug)]
pub struct CacheDump {
    /// The cache, or the members of the array it is on
    #[arg(required = true, value_name = "CACHE")]
    pub members: Vec<String>,
    /// The entries of the journal that count, with their keys
    #[arg(long)]
    pub journal: bool,
    /// The nodes of the tree, with their keys
    #[arg(long)]
    pub tree: bool,
    /// Buckets that hold something: generation, priority
    #[arg(long)]
    pub buckets: bool,
    /// What the set knows of this sector, as INODE:SECTOR of the backing device, its own first sectors counted
    #[arg(long, value_name = "INODE:SECTOR", value_parser = parse_place)]
    pub at: Option<(u32, u64)>,
    #[command(flatten)]
    pub reading: Reading,
}

fn parse_place(text: &str) -> Result<(u32, u64), String> {
    let (inode, sector) = text.split_once(':').ok_or("expected INODE:SECTOR, such as 0:2048")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let inode = u32::try_from(number(inode)?).ok().filter(|inode| *inode < 1 << 20);
    Ok((inode.ok_or("an inode is smaller than 1048576")?, number(sector)?))
}
