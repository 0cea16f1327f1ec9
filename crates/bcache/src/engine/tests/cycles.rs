//! Circles of who waits for whom, of which one part is planted (P2).

use bcache_format::{CacheMode, Key, Position};
use runtime::{sleep_ms, spawn};

use crate::bench::{Bench, Live, Verdict};
use crate::buckets::{Purpose, Use};

/// Buckets become free when priorities were written, into a bucket.
pub fn nodes_take_the_buckets_of_the_priorities_2019() -> Verdict {
    Bench::new(4, CacheMode::Writeback).era(async |live| {
        while take_one(live) {}
        live.set.wait_bucket(Purpose::Nodes).await.expect("no faults");
        Ok(())
    })
}

/// A change of the tree waits for buckets, they for priorities, these for the journal, and it for the leaf that is changed.
pub fn the_allocator_the_journal_and_the_tree_wait_for_each_other_2025() -> Verdict {
    all_three(&Bench::new(2, CacheMode::Writeback))
}

pub fn all_three(bench: &Bench) -> Verdict {
    bench.era(async |live| {
        live.cache.hold(Live::is_of_priorities);
        while take_one(live) {
            sleep_ms(1).await;
        }
        assert_eq!(live.cache.held(), 1, "priorities take long");
        // More than the only leaf has room for, and less than an entry of the journal has.
        let set = live.set.clone();
        let client = spawn(async move {
            for at in 0..400 {
                set.insert(Key::hole(Position::new(0, 2 * at), 1)).await.expect("no faults");
            }
        });
        sleep_ms(100).await;
        assert!(!client.is_done(), "the leaf is to be replaced");
        let set = live.set.clone();
        let filler = spawn(async move {
            for _ in 0..32 {
                set.journal().commit_roots(&set).await.expect("no faults");
            }
        });
        sleep_ms(100).await;
        live.cache.open();
        client.join().await;
        filler.join().await;
        Ok(())
    })
}

/// Takes a bucket, and leaves it to be given up. Whether there was one.
fn take_one(live: &Live) -> bool {
    let bucket = live.set.try_bucket(Purpose::Nodes);
    bucket.into_iter().for_each(|bucket| live.set.buckets.borrow_mut().set_use(bucket, Use::Data));
    bucket.is_some()
}
