//! Loads an array, a cache or a bare device within this process and prints a rate for each job: what the engines cost by
//! themselves, without a front end. For measuring: `cargo xtask bench --raid` and `--cache` run it beside peers.
//!
//! `load WHAT CHUNK_KIB MILLISECONDS JOB,JOB,... DEVICE...` overwrites the devices. WHAT is a level, `raid6-log` for a raid6
//! with a private log, `cache` for a cache on the first device before the second, all of which is in the cache, dirty, when
//! the jobs begin, or `raw` for the first device alone.
//!
//! A job is `PATTERN-KIB-DEPTH` with PATTERN one of `randread randwrite read write stripes` (whole stripes, written); with
//! `.fua` behind it every write is durable when it is answered. It prints requests a second, the nanoseconds that 99 of 100
//! requests stay below, and of a cache the bytes that were written to both devices for each byte that was asked for.
//!
//! Of arrays `beside-PATTERN-KIB-DEPTH` does that while the member in slot 1 is rebuilt, again and again. `check` and
//! `rebuild` print bytes of a member a second, with nothing else to do; what is checked was made to agree by a first resync,
//! which is not measured. `fail` fails the member in slot 1 for the jobs that follow.

mod array;
mod cache;
mod clients;

use std::path::Path;

use block::{Arena, Dev};
use runtime::Runtime;
use runtime::os::{Choice, OpenMode, Os};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const MEMORY: usize = 64 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, chunk, ms, jobs, devices @ ..] = &arguments[..] else {
        return Err("usage: load WHAT CHUNK_KIB MILLISECONDS JOB,... DEVICE...".into());
    };
    let (chunk, ms) = (chunk.parse()?, ms.parse()?);
    let os = Os::new(Choice::Auto)?;
    let arena = Arena::new(MEMORY);
    os.register(&arena);
    let runtime = Runtime::new(os.clone());
    let open = |path: &String| Ok(os.open(Path::new(path), OpenMode::Write)?.device as Dev);
    let devs: Vec<Dev> = devices.iter().map(open).collect::<Result<_>>()?;
    runtime.block_on(async {
        match (what.as_str(), &devs[..]) {
            ("raw", [dev, ..]) => {
                for job in jobs.split(',') {
                    let found = clients::run(job, ms, dev, &arena).await?;
                    println!("{job} {:.0} {}", found.rate, found.p99_ns);
                }
                Ok(())
            }
            ("cache", [cache, backing]) => cache::run(ms, jobs, [cache, backing], &arena).await,
            ("raw" | "cache", _) => Err("raw wants a device, cache a cache and a backing device".into()),
            (level, devs) => array::run(level, chunk, ms, jobs, devs, &arena).await,
        }
    })
}
