//! What a cache costs by itself: read hits beside the bare device that it lies on, and bytes written for each that was asked
//! for, in one process without a server.
//!
//! Hits are measured on the disk that the report goes to, where a device takes its time, and in memory, where a request takes
//! no longer than the program does.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;

use super::super::Arguments;
use super::super::ground::{Ground, fill};
use super::super::load::{self, Load};
use super::super::report::{Asked, Figure};
use super::super::summary::Spread;
use crate::shell;

/// Bytes of the volume, and of the backing device with its superblock. The cache is eight times as large: what is written over
/// and over must not fill more of it than what makes a write go to both devices.
const BYTES: u64 = 256 << 20;
const BACKING_BYTES: u64 = BYTES + (1 << 20);
const CACHE_BYTES: u64 = 8 * BYTES;

const HITS: &str = "randread-4-32";
/// Random writes that stay in the cache: many at a time, and durable ones one by one.
const WRITES: [&str; 2] = ["randwrite-4-32", "randwrite.fua-4-1"];

/// Where it is measured, and what came of it.
pub struct Engine {
    places: [Place; 2],
    milliseconds: u32,
    written: [Vec<f64>; 2],
}

struct Place {
    name: &'static str,
    devices: [PathBuf; 2],
    hits: Vec<f64>,
    _ground: Ground,
}

impl Engine {
    /// Makes the devices.
    pub fn new(arguments: &Arguments, milliseconds: u32) -> anyhow::Result<Engine> {
        load::build()?;
        let disk = shell::root().join(&arguments.report);
        std::fs::create_dir_all(&disk)?;
        let places = [
            Place::new("on a disk", Ground::new(&disk)?)?,
            Place::new("in memory", Ground::new(&arguments.members)?)?,
        ];
        Ok(Engine { places, milliseconds, written: Default::default() })
    }

    /// One round.
    pub fn measure(&mut self) -> anyhow::Result<()> {
        for place in &mut self.places {
            let cached = last(load::run("cache", 0, self.milliseconds, HITS, &place.devices)?)?;
            // It has just been read and written by the cache, and is as warm as that.
            let raw = last(load::run("raw", 0, self.milliseconds, HITS, &place.devices)?)?;
            place.hits.push(cached.rate / raw.rate);
        }
        for (job, written) in WRITES.iter().zip(&mut self.written) {
            written
                .push(last(load::run("cache", 0, self.milliseconds, job, &self.places[1].devices)?)?.written);
        }
        Ok(())
    }

    /// What was found.
    pub fn figures(self) -> Vec<Figure> {
        let [many, durable] = self.written;
        let case = |name: &str, found| Spread::of(found).map(|spread| (name.to_owned(), spread)).into_iter();
        let hits = self.places.into_iter().flat_map(|place| case(place.name, place.hits)).collect();
        let figure = |name, asked, cases| Figure { name, asked, cases };
        Vec::from([
            figure("read hits 4K QD32, over the bare device", Asked::AtLeast(0.85), hits),
            figure(
                "bytes written for each byte of random 4K writes QD32",
                Asked::AtMost(1.10),
                case("write-back", many).collect(),
            ),
            figure(
                "bytes written for each byte of durable 4K writes QD1",
                Asked::AtMost(2.0),
                case("write-back", durable).collect(),
            ),
        ])
    }
}

impl Place {
    fn new(name: &'static str, ground: Ground) -> anyhow::Result<Place> {
        let devices = ["cache.img", "backing.img"].map(|device| ground.path(device));
        fill(&devices[0], CACHE_BYTES)?;
        File::create(&devices[1])?.set_len(BACKING_BYTES)?;
        Ok(Place { name, devices, hits: Vec::new(), _ground: ground })
    }
}

fn last(loads: Vec<Load>) -> anyhow::Result<Load> {
    loads.into_iter().next_back().context("load printed nothing")
}
