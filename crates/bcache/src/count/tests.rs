//! A tree of many leaves is counted in a fraction of the time that its nodes take one by one, however few of them fit in memory.

use std::rc::Rc;

use bcache_format::superblock::Kind;
use bcache_format::{CacheMode, Key, Position, Replacement};
use block::{Arena, Dev};
use runtime::{Driver, Runtime};

use crate::bench::{Bench, Left};
use crate::buckets::Purpose;
use crate::limits::{LEAST_NODES, NODE_CACHE_BYTES};
use crate::open::Stream;
use crate::{CacheSet, Options, Reader, check, examine};

/// Nanoseconds that a request takes.
const LATENCY_NS: u64 = 1_000_000;
/// Extents in the tree, of a sector each.
const EXTENTS: u64 = 6000;

/// A cache whose tree has many leaves.
fn wide() -> Bench {
    let bench = Bench::with_blocks(1500, 1, 3, CacheMode::Writeback);
    let laid = bench.era(async |live| {
        for at in 0..EXTENTS {
            let stream = Stream::Dirty(0);
            let room = live.set.wait_room(stream, Purpose::Data, 1).await.expect("it is large enough");
            let key = live.set.key_of(&room, Position::new(0, 16 + 3 * at), true);
            live.set.insert(key).await.expect("no faults");
            live.set.end_write(&room);
        }
        live.set.stop().await.expect("no faults");
        Ok(())
    });
    laid.expect("nothing else happens");
    bench.cut(Left::Everything)
}

/// Starts the set with so much memory for nodes: nanoseconds that it took, nodes of the tree, dirty sectors.
fn start(bench: &Bench, node_cache_bytes: usize) -> (u64, u64, u64) {
    bench.cache.set_latency_ns(LATENCY_NS, LATENCY_NS);
    Runtime::new(bench.world.clone()).block_on(async {
        let arena = Arena::new(8 << 20);
        let dev: Dev = bench.cache.clone();
        let examined = examine(&dev, &arena).await.expect("it can be read");
        let Kind::Cache(facts) = examined.summary.kind else { panic!("it is a cache") };
        let reader = Reader::new(dev.clone(), facts.geometry, arena.clone()).expect("it is small");
        let nodes = check(&reader).await.counts.nodes;
        let set =
            CacheSet::open(dev, &examined, &arena, Options { node_cache_bytes, ..Options::default() }).await;
        let set = Rc::new(set.expect("it can be opened"));
        let before = bench.world.now();
        set.start(Replacement::Lru).await.expect("it can be started");
        (bench.world.now().0 - before.0, nodes, set.status().dirty_sectors)
    })
}

#[test]
fn many_nodes_are_read_at_once() {
    for node_cache_bytes in [0, NODE_CACHE_BYTES] {
        let (took_ns, nodes, dirty) = start(&wide(), node_cache_bytes);
        assert_eq!(dirty, EXTENTS);
        assert!(nodes > 2 * LEAST_NODES as u64, "{nodes} nodes");
        assert!(took_ns < nodes * LATENCY_NS / 4, "{nodes} nodes took {took_ns} ns");
    }
}

#[test]
fn what_a_newer_pointer_shows_to_be_stale_is_not_counted() {
    let bench = wide();
    let stale = bench.era(async |live| {
        // The first extent, and one of the last leaf, that is of a later life of the same bucket.
        let first = live.set.find(Position::new(0, 16), 1).await.expect("it can be read").at;
        let (pointer, _) = first.expect("it is there");
        let newer = bcache_format::Pointer::new(pointer.sector(), pointer.generation() + 1);
        let bucket = pointer.bucket(live.geometry.bucket_sectors);
        let stale = u64::from(live.set.buckets.borrow().get(bucket).dirty);
        let key = Key::extent(Position::new(0, 16 + 3 * EXTENTS), 1, newer, true);
        live.set.insert(key).await.expect("no faults");
        // So many entries that none of the journal speaks of it any more.
        for _ in 0..4 * live.geometry.bucket_sectors {
            live.set.journal().commit_roots(&live.set).await.expect("no faults");
        }
        live.set.stop().await.expect("no faults");
        Ok(stale)
    });
    let stale = stale.expect("nothing else happens");
    assert!(stale > 1);
    let (_, _, dirty) = start(&bench.cut(Left::Everything), 0);
    assert_eq!(dirty, EXTENTS - stale + 1);
}
