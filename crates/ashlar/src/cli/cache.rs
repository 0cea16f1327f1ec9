//! The command line of `ashlar cache`.

mod manage;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::{Json, Reading};
use crate::text::parse_size;
pub use manage::{
    CacheAttach, CacheDelete, CacheDetach, CacheFlush, CacheGrow, CacheMode, CacheSet, CacheStats,
    CacheVolume,
};

/// Make caches and backing devices of bcache, look into them, and manage those that run
#[derive(Args, Debug)]
pub struct Cache {
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What to do with a cache.
#[derive(Subcommand, Debug)]
pub enum CacheCommand {
    Create(CacheCreate),
    Check(CacheCheck),
    Dump(CacheDump),
    Attach(CacheAttach),
    Detach(CacheDetach),
    Mode(CacheMode),
    Flush(CacheFlush),
    Stats(CacheStats),
    Set(CacheSet),
    Volume(CacheVolume),
    Grow(CacheGrow),
    Delete(CacheDelete),
}

/// Make a cache, backing devices for it, or both
///
/// As make-bcache of bcache-tools: writes superblocks, and nothing else of a disk is touched but its first 4 KiB. A cache gets
/// its set from whoever uses it first, `ashlar run` or a kernel; backing devices that are made together with it are attached to
/// it then. Backing devices that are made alone are attached by hand (`ashlar cache attach`).
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["cache", "backing"])))]
pub struct CacheCreate {
    /// The disk that is to be a cache
    #[arg(long, value_name = "DISK")]
    pub cache: Option<String>,
    /// A disk that is to be a backing device; again for each
    #[arg(long, value_name = "DISK")]
    pub backing: Vec<String>,
    /// The cache's buckets: what is given up together; of the size of the SSD's erase blocks
    #[arg(long, value_name = "BYTES", value_parser = parse_size, default_value = "512K", requires = "cache")]
    pub bucket: u64,
    /// What is cached is a multiple of this [default: the largest block of the disks]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub block: Option<u64>,
    /// Which bucket the kernel gives up first
    #[arg(long, value_enum, default_value_t = NewReplacement::Lru, requires = "cache")]
    pub replacement: NewReplacement,
    /// Where the data of the backing devices begins
    #[arg(long, value_name = "BYTES", value_parser = parse_size, default_value = "8K", requires = "backing")]
    pub data_offset: u64,
    /// How the backing devices are cached
    #[arg(long, value_enum, default_value_t = NewMode::Writethrough, requires = "backing")]
    pub mode: NewMode,
    /// What people are to call the backing device
    #[arg(long, value_name = "TEXT", requires = "backing")]
    pub label: Option<String>,
    /// Destroy what the disks hold
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub json: Json,
}

/// Which bucket is given up first.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewReplacement {
    /// The one that was not used for longest
    Lru,
    /// The next one
    Fifo,
    /// Any
    Random,
}

/// What is cached, and when a write counts as done.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewMode {
    /// A write goes to both
    Writethrough,
    /// A write goes to the cache, and to the backing device later
    Writeback,
    /// A write goes to the backing device alone
    Writearound,
    /// Nothing is cached
    None,
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
