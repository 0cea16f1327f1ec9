//! Known ways of standing still that take more than clients and disks to bring about. See `tests/known_bugs`.

mod cycles;

use bcache_format::CacheMode;

use crate::bench::{Bench, Wrong, cases};
use crate::plant::{self, Plant};

cases! {
    cycles::nodes_take_the_buckets_of_the_priorities_2019: NodesTakePrios, Hangs;
    cycles::the_allocator_the_journal_and_the_tree_wait_for_each_other_2025: LeafHeldForBuckets, Hangs;
}

/// Which of them waits for which is told.
#[cfg(debug_assertions)]
#[test]
fn the_circle_of_the_allocator_the_journal_and_the_tree_is_told() {
    let bench = Bench::new(2, CacheMode::Writeback);
    plant::set(Some(Plant::LeafHeldForBuckets));
    let stood = cycles::all_three(&bench);
    plant::set(None);
    assert_eq!(stood, Err(Wrong::Hangs));
    let told = bench.told.take();
    for one in [
        "a change of the tree waits for a free bucket",
        "the allocator waits for an entry",
        "the journal's writer waits",
    ] {
        assert!(told.contains(one), "{told}");
    }
}
