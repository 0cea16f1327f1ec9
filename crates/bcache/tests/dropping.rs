//! A set that nobody has any more is gone, and with it what it held of devices and memory.

mod bench;

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use bcache_format::CacheMode;
use block::{Request, Sectors};

use bench::{BUCKET, Bench};

/// Misses at once: more than are put into the cache at the same time.
const MISSES: u64 = 16;

#[test]
fn misses_that_were_not_put_into_the_cache_keep_no_set() {
    let bench = Bench::new(4, CacheMode::Writethrough);
    let seen = RefCell::new(Weak::new());
    let ended = bench.era(async |live| {
        seen.replace(Rc::downgrade(&live.set));
        let read = |at: u64| {
            let buf = live.arena.take(BUCKET as usize * 512).expect("there is room");
            live.device.start(Request::read(Sectors(2 * BUCKET * at), buf))
        };
        let reads: Vec<_> = (0..MISSES).map(read).collect();
        for read in reads {
            read.await.expect("no faults");
        }
        Ok(())
    });
    assert_eq!(ended, Ok(()));
    assert!(seen.take().upgrade().is_none(), "somebody has it still");
}
