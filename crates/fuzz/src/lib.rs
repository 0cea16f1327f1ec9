//! Fuzzing of every byte that comes from a disk, a client, a server or a person: one target for each format and protocol.
//!
//! A case is a seed. It fixes what is built, what is damaged and, where there is I/O, the simulated world in which it
//! happens; so a failure is played again by `--target T --seed S`. Cases begin with what kernels and mdadm have written
//! (the superblocks that `md-format` keeps) or with what this program says itself, and damage it: from nothing but noise
//! nobody gets past a magic number.

mod mutate;
mod seeds;
mod targets;

use runtime::sim::Random;

/// One thing that reads bytes of strangers.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Plays one case. A panic is a failure too.
    pub play: fn(Random) -> Result<(), String>,
}

/// All of them.
pub const TARGETS: [Target; 11] = [
    Target { name: "superblock", play: targets::superblock::play },
    Target { name: "bitmap", play: targets::bitmap::play },
    Target { name: "badblocks", play: targets::badblocks::play },
    Target { name: "logs", play: targets::logs::play },
    Target { name: "geometry", play: targets::geometry::play },
    Target { name: "assembly", play: targets::assembly::play },
    Target { name: "update", play: targets::update::play },
    Target { name: "nbd-server", play: targets::nbd_server::play },
    Target { name: "nbd-client", play: targets::nbd_client::play },
    Target { name: "bcache", play: targets::bcache::play },
    Target { name: "config", play: targets::config::play },
];

/// Complains unless `holds`.
fn require(holds: bool, rule: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(rule()) }
}
