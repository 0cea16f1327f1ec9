//! The backing device is poisoned under all that is in the cache: whoever reads there reads poison.

mod bench;

use bcache_format::CacheMode;
use block::Sectors;

use bench::{BUCKET, Bench, DATA_OFFSET, Left, Live, Verdict, Wrong};

/// What is written, some of it over what was there before.
const WRITTEN: u64 = 64 * BUCKET;

#[test]
fn what_is_in_the_cache_is_read_from_nowhere_else() {
    for mode in [CacheMode::Writeback, CacheMode::Writethrough] {
        let bench = Bench::new(4, mode);
        let first = bench.era(async |live| {
            for start in (0..WRITTEN).step_by(BUCKET as usize) {
                live.write(start, BUCKET, start).await.expect("no faults");
                live.write(start + 2, 3, start + 1).await.expect("no faults");
            }
            live.flush().await.expect("no faults");
            poison(&bench);
            is_right(live).await
        });
        assert_eq!(first, Ok(()), "{mode:?}");
        let cut = bench.cut(Left::Everything);
        assert_eq!(cut.era(async |live| is_right(live).await), Ok(()), "{mode:?}, started again");
        assert_eq!(cut.look(0, WRITTEN), expected(), "{mode:?}, only looked at");
        assert_eq!(cut.below(0, 1), [u64::MAX], "what lies below is poison still");
    }
}

fn poison(bench: &Bench) {
    bench.backing.poke(Sectors(DATA_OFFSET), &vec![0xff; WRITTEN as usize * 512]);
}

async fn is_right(live: &Live) -> Verdict {
    if live.read(0, WRITTEN).await == expected() { Ok(()) } else { Err(Wrong::Stale) }
}

fn expected() -> Vec<u64> {
    let value = |sector: u64| sector / BUCKET * BUCKET + u64::from((2..5).contains(&(sector % BUCKET)));
    (0..WRITTEN).map(value).collect()
}
