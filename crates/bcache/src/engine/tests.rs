//! Known ways of standing still that take more than clients and disks to bring about. See `tests/known_bugs`.

mod cycles;

use crate::bench::cases;

cases! {
    cycles::nodes_take_the_buckets_of_the_priorities_2019: NodesTakePrios, Hangs;
    cycles::the_allocator_the_journal_and_the_tree_wait_for_each_other_2025: LeafHeldForBuckets, Hangs;
}
