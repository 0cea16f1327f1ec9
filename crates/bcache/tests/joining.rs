//! Nodes of the tree that hold little are joined: what was cached and is not any more leaves no nodes behind.

mod bench;

use bcache::{Counts, Reader, check, examine};
use bcache_format::CacheMode;
use bcache_format::superblock::{Cache, Kind};
use block::{Arena, Dev};
use runtime::{Runtime, sleep_ms};

use bench::{Bench, Left};

/// Buckets of the cache.
const BUCKETS: u64 = 2048;
/// Single sectors that are written, one in so many, and of how many sectors: some forty leaves.
const EVERY: u64 = 8;
const SECTORS: u64 = 24_000;

#[test]
fn leaves_that_have_lost_their_keys_become_one() {
    let bench = Bench::with_blocks(BUCKETS, 1, 4, CacheMode::Writeback);
    let filled = bench.era(async |live| {
        for start in (0..SECTORS).step_by(EVERY as usize) {
            live.write(start, 1, start).await.expect("no faults");
        }
        live.flush().await.expect("no faults");
        Ok(())
    });
    assert_eq!(filled, Ok(()));
    let many = counts(&bench);
    let joined = bench.era(async |live| {
        for start in (0..SECTORS).step_by(1000) {
            live.discard(start, 900).await.expect("no faults");
        }
        sleep_ms(5000).await;
        live.write_durably(100, 1, 7).await.expect("no faults");
        Ok(())
    });
    assert_eq!(joined, Ok(()));
    let cut = bench.cut(Left::Durable);
    let few = counts(&cut);
    assert!(many.nodes > 30 && few.nodes * 4 < many.nodes, "{many:?} became {few:?}");
    let mut expected = vec![0; SECTORS as usize];
    for start in (0..SECTORS).step_by(EVERY as usize).filter(|start| start % 1000 >= 900) {
        expected[start as usize] = start;
    }
    expected[100] = 7;
    for start in (0..SECTORS).step_by(1000) {
        assert_eq!(cut.look(start, 1000), expected[start as usize..][..1000], "from sector {start} on");
    }
}

/// What a check counts, which finds nothing wrong.
fn counts(bench: &Bench) -> Counts {
    Runtime::new(bench.world.clone()).block_on(async {
        let (arena, dev): (_, Dev) = (Arena::new(4 << 20), bench.cache.clone());
        let found = examine(&dev, &arena).await.expect("it is a cache");
        let Kind::Cache(Cache { geometry, .. }) = found.summary.kind else { panic!("it is a cache") };
        let report = check(&Reader::new(dev, geometry, arena).expect("its geometry is right")).await;
        assert_eq!(report.findings, []);
        report.counts
    })
}
