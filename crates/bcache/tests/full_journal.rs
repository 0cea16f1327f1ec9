//! A journal that is full to the last bucket, as a kernel before 5.19 could leave it: what is in it is read, and nothing is written.

mod bench;

use std::rc::Rc;

use bcache::{CacheSet, Options, SetError, examine};
use bcache_format::jset::{HEADER_BYTES, Jset};
use bcache_format::superblock::Kind;
use bcache_format::{CacheMode, Geometry, Key, Position, Replacement};
use bench::{BUCKET, Bench, DATA_OFFSET};
use block::{Arena, Dev, Range, Sectors};
use runtime::Runtime;

const JOURNAL_BUCKETS: u16 = 4;

/// Fills all buckets of the journal with entries that are needed: of what was written to the volume's first sectors, each says of one
/// that it is not in the cache.
fn fill_up(bench: &Bench, geometry: &Geometry) {
    let sector = |index: u64| geometry.sector(geometry.journal_bucket(index));
    let read = |index| bench.cache.peek(Range::new(Sectors(sector(index)), Sectors(BUCKET)));
    let entries = (0..u64::from(JOURNAL_BUCKETS)).flat_map(|index| {
        let bytes = read(index);
        let blocks = bytes.chunks_exact(512).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let whole = move |at: usize| blocks[at..].concat();
        (0..BUCKET as usize).map(move |at| (index, whole(at)))
    });
    let seq = |(index, bytes): (u64, Vec<u8>)| {
        Jset::check(&bytes, geometry.set_magic).ok()?;
        let jset = Jset::view(&bytes, geometry.set_magic).ok()?;
        Some((jset.seq.get(), index, jset.roots().ok()?))
    };
    let (newest, index, roots) = entries.filter_map(seq).max_by_key(|(seq, ..)| *seq).expect("there is one");
    for number in 1..=u64::from(JOURNAL_BUCKETS) {
        let mut bytes = vec![0; BUCKET as usize * 512];
        Jset::create(&mut bytes, geometry.set_magic).expect("as long as a bucket");
        Key::hole(Position::new(0, DATA_OFFSET + number), 1).write(&mut bytes[HEADER_BYTES..]);
        Jset::seal(&mut bytes, newest + number, newest + 1, &roots, 2).expect("it fits");
        bench.cache.poke(Sectors(sector((index + number) % u64::from(JOURNAL_BUCKETS))), &bytes);
    }
}

#[test]
fn a_journal_without_a_free_bucket_is_read_and_not_written() {
    let bench = Bench::new(JOURNAL_BUCKETS, CacheMode::Writethrough);
    let written = bench.era(async |live| {
        live.write(0, 8, 7).await.expect("no faults");
        for _ in 0..8 * BUCKET {
            live.write_durably(16, 8, 7).await.expect("no faults"); // until leaves are written
        }
        Ok(live.geometry)
    });
    let bench = bench.cut(bench::Left::Durable);
    fill_up(&bench, &written.expect("nobody waits"));
    bench.backing.poke(Sectors(DATA_OFFSET), &[1; 8 * 512]);
    let below = u64::from_le_bytes([1; 8]);
    assert_eq!(bench.look(0, 8), [7, below, below, below, below, 7, 7, 7]);
    let writes = bench.cache.writes();
    let started = Runtime::new(bench.world.clone()).block_on(async {
        let arena = Arena::new(1 << 20);
        let dev: Dev = bench.cache.clone();
        let examined = examine(&dev, &arena).await.expect("it can be read");
        assert!(matches!(examined.summary.kind, Kind::Cache(_)));
        let set = CacheSet::open(dev, &examined, &arena, Options::default()).await;
        Rc::new(set.expect("it can be opened")).start(Replacement::Lru).await
    });
    assert_eq!(started, Err(SetError::JournalFull));
    assert_eq!(bench.cache.writes(), writes);
}
