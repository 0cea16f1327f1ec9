//! The invariants of caches over seeds, in the ordinary test run; thousands more by hand with `cargo xtask sim --caches`.

use bcache::plant::Plant;
use simulation::cache::run_seed;

/// Seeds of the ordinary run.
const SEEDS: u64 = 60;

/// A planted defect that so many seeds do not find would not be found in a minute either.
const SEEDS_TO_FIND: u64 = 100;

#[test]
fn invariants_hold_for_every_seed_of_caches() {
    for seed in 0..SEEDS {
        let report = run_seed(seed, None);
        assert_eq!(report.violations, [], "again: cargo xtask sim --caches --seed {seed}");
    }
}

/// Seeds that have found something, as scenarios were drawn then.
const FOUND: [(u64, &str); 7] = [
    (46, "what was stale in memory alone was not overridden, and came back after a power cut"),
    (822, "a FUA that found nothing to forget did not wait for what had been forgotten before it"),
    (407, "a journal that was full could not be replayed where a new root was to be named"),
    (
        1076,
        "a node that had been replaced was read all the same, and took the place of its bucket's next one",
    ),
    (43, "a request waited for what becomes of its volume, which was detached while the cache failed"),
    (
        1280,
        "who read the tree with one clean frame left gave up its root for a leaf, and the leaf for its root",
    ),
    (61, "a volume was detached while a write made something dirty again"),
];

#[test]
fn what_has_found_something_passes() {
    for (seed, what) in FOUND {
        assert_eq!(run_seed(seed, None).violations, [], "seed {seed}: {what}");
    }
}

#[cfg(debug_assertions)]
#[test]
fn every_planted_defect_is_found() {
    for plant in Plant::BY_SEEDS {
        let found = (0..SEEDS_TO_FIND).any(|seed| !run_seed(seed, Some(plant)).violations.is_empty());
        assert!(found, "{plant:?} is not found by {SEEDS_TO_FIND} seeds");
    }
}

#[test]
fn a_seed_plays_the_same_every_time() {
    for seed in [3, 17, 99] {
        let [first, second] = [run_seed(seed, None), run_seed(seed, None)];
        assert_eq!(first.events, second.events, "seed {seed}");
    }
}
