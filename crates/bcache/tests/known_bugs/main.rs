//! Bugs that bcache has or had, each with a test by its name, and those that a design like this one invites.
//!
//! `docs/internals/known-bugs.md` lists them all, those that cannot exist here, and where the others have their tests. What takes
//! more than clients and disks to bring about is in `src/engine/tests.rs`.

#[path = "../bench/mod.rs"]
mod bench;
mod lost;
mod stale;
mod stuck;

use bcache::plant::{self, Plant};
use bcache_format::CacheMode;
use bench::{Bench, Verdict, Wrong, cases};

cases! {
    lost::write_back_calls_clean_what_was_not_flushed_2019: CleanBeforeFlush, Lost;
    lost::dirty_data_is_admitted_before_the_backing_device_says_so: DirtyAfterAdmission, Mark;
    lost::the_backing_device_says_clean_before_the_journal_does: CleanBeforeJournal, Mark;
    lost::dirty_data_is_forgotten_before_what_replaced_it_is_flushed: ForgottenBeforeFlush, Lost;
    lost::a_key_is_durable_before_its_data: JournalBeforeFlush, Lost;
    lost::a_fua_waits_for_its_own_keys_alone: FuaOfOwnKeys, Lost;
    lost::the_journal_lets_go_of_what_leaves_need: JournalLetsGo, Lost;
    lost::a_lost_cache_orphans_what_is_dirty_2021: PastALostCache, Lost;
    stale::a_miss_overtakes_a_write_past_the_cache_2021: FillOverWrite, Stale;
    stale::a_bucket_is_used_again_before_its_generation_is_durable: ReuseBeforeDurable, Stale;
    stale::a_bucket_is_used_again_under_a_slow_read: StaleRead, Stale;
    stale::a_key_of_a_bucket_that_was_used_again_is_believed: StaleKeyRead, Stale;
    stale::what_is_stale_in_memory_alone_is_not_overridden: StaleKept, Stale;
    stale::a_node_that_was_joined_is_found_again: JoinedLeaveNoKey, Stale;
    stuck::a_full_journal_cannot_be_replayed_2021: RootsWhileReplaying, Hangs;
    stuck::a_root_that_is_a_leaf_is_never_written_2025: RootLeafUnwritten, Hangs;
    stuck::the_journal_is_written_by_a_worker_that_needs_memory_2018: JournalOnASharedQueue, Hangs;
    stuck::who_waits_for_the_journal_waits_for_a_timer_2021: LeftToTheTimer, Hangs;
}

/// Who waits for whom is told, when they stand still.
#[cfg(debug_assertions)]
#[test]
fn a_circle_is_told() {
    let told = |plant, play: fn(&Bench) -> Verdict, journal_buckets| {
        let bench = Bench::new(journal_buckets, CacheMode::Writeback);
        plant::set(Some(plant));
        assert_eq!(play(&bench), Err(Wrong::Hangs));
        plant::set(None);
        bench.told.take()
    };
    let circle = "they wait in a circle:\n  the journal's writer waits for memory for a worker, which a request brings\n  a \
                  request waits for an entry to be durable, which the journal's writer brings\n";
    assert_eq!(told(Plant::JournalOnASharedQueue, stuck::short_of_memory, 4), circle);
    let one_sided = "they wait for the writer of leaves, which does not know of it:\n";
    let found = told(Plant::RootLeafUnwritten, stuck::writes_one_leaf, 2);
    assert!(found.starts_with(one_sided), "{found}");
    assert!(found.contains("the journal's writer waits for old entries that nobody needs"), "{found}");
}
