//! The command line of what is done about caches that run.

use clap::Args;

use super::NewMode;
use crate::cli::{Json, RunDir};
use crate::text::parse_size;

/// Attach a volume to a cache
///
/// A backing device that runs under NAME without a cache gets one that runs there, too. Nothing of it is in the cache yet. With
/// --backing it is one that does not run yet: it is opened, attached, and served over NBD under its label; a mount shows it when the
/// stack is run with it the next time.
#[derive(Args, Debug)]
pub struct CacheAttach {
    /// What runs
    pub name: String,
    /// The cache, where several run under NAME
    #[arg(long, value_name = "CACHE")]
    pub cache: Option<String>,
    /// The disk of a backing device that does not run yet
    #[arg(long, value_name = "DISK", conflicts_with = "volume")]
    pub backing: Option<String>,
    /// Use a remote disk over TCP for writing, and promise that nobody else does
    #[arg(long, requires = "backing")]
    pub sole_writer: bool,
    #[command(flatten)]
    pub of: OfVolume,
}

/// Make a volume that lies in a cache alone
///
/// As bcache's flash_vol_create: what is written to it is nowhere else, and takes room from what is cached. It is served over NBD at
/// once, by its label; a mount shows it when the stack is run the next time. `ashlar cache grow` makes it larger, and
/// `ashlar cache delete` takes it away.
#[derive(Args, Debug)]
pub struct CacheVolume {
    /// What runs
    pub name: String,
    /// Its size
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub size: u64,
    /// What people are to call it
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// The cache, where several run under NAME
    #[arg(long, value_name = "CACHE")]
    pub cache: Option<String>,
    #[command(flatten)]
    pub run_dir: RunDir,
}

/// Make a volume larger that lies in a cache alone
///
/// As bcache's `size` of such a volume. What is new reads as zeroes. Clients who are connected see it when they come again. It is
/// never made smaller.
#[derive(Args, Debug)]
pub struct CacheGrow {
    /// What runs
    pub name: String,
    /// Its size from now on
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub size: u64,
    #[command(flatten)]
    pub of: OfVolume,
}

/// Delete a volume that lies in a cache alone, with everything in it
///
/// As bcache's `unregister` of such a volume. Refused while a client is connected to it or a mount shows it. It is gone for good when
/// this returns; the room that it took becomes free behind that.
#[derive(Args, Debug)]
pub struct CacheDelete {
    /// What runs
    pub name: String,
    /// The volume
    #[arg(long, value_name = "VOLUME")]
    pub volume: String,
    #[command(flatten)]
    pub run_dir: RunDir,
}

/// Detach a volume from its cache
///
/// What only the cache has goes to the backing device first, as fast as it goes, while clients go on. Then the backing device
/// needs no cache any more, and the cache forgets the rest. Returns when that is recorded.
#[derive(Args, Debug)]
pub struct CacheDetach {
    /// What runs
    pub name: String,
    #[command(flatten)]
    pub of: OfVolume,
}

/// Change what is cached, and when a write counts as done
///
/// Recorded in the superblock of the backing device. What only the cache has when write-back ends stays there until it is
/// written back, as before.
#[derive(Args, Debug)]
pub struct CacheMode {
    /// What runs
    pub name: String,
    /// The mode
    #[arg(value_enum)]
    pub mode: NewMode,
    #[command(flatten)]
    pub of: OfVolume,
}

/// Write back everything that only the cache has
///
/// As fast as it goes, while clients go on. Returns when what only the cache had at the beginning is durable on the backing
/// device; what is written meanwhile may stay.
#[derive(Args, Debug)]
pub struct CacheFlush {
    /// What runs
    pub name: String,
    #[command(flatten)]
    pub of: OfVolume,
}

/// Show what caches and cached volumes have done
///
/// Hits, misses and what went past the cache, in all and over the last five minutes, hour and day, as bcache counts them.
#[derive(Args, Debug)]
pub struct CacheStats {
    /// What runs
    pub name: String,
    /// Only this volume
    #[arg(long, value_name = "VOLUME")]
    pub volume: Option<String>,
    /// Begin the total counts anew
    #[arg(long)]
    pub clear: bool,
    #[command(flatten)]
    pub json: Json,
    #[command(flatten)]
    pub run_dir: RunDir,
}

/// Set something of a cached volume or of a cache
///
/// By the names that bcache has for it in sysfs; without KEY=VALUE everything is shown that can be set, with what it is now. It
/// holds until the stack is stopped, but for cache_mode and cache_replacement_policy, which superblocks keep.
#[derive(Args, Debug)]
pub struct CacheSet {
    /// What runs
    pub name: String,
    /// What to set; can be repeated
    #[arg(value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// The cache is meant and not a volume; by its name, where several run under NAME
    #[arg(long, value_name = "CACHE", num_args = 0..=1, default_missing_value = "", require_equals = true, conflicts_with = "volume")]
    pub cache: Option<String>,
    #[command(flatten)]
    pub of: OfVolume,
    #[command(flatten)]
    pub json: Json,
}

/// Which volume.
#[derive(Args, Debug)]
pub struct OfVolume {
    /// The volume, where several run under NAME
    #[arg(long, value_name = "VOLUME")]
    pub volume: Option<String>,
    #[command(flatten)]
    pub run_dir: RunDir,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as sequential_cutoff=1M")?;
    Ok((key.to_owned(), value.to_owned()))
}
