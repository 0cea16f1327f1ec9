//! The invariants over seeds, in the ordinary test run; thousands more by hand with `cargo xtask sim`.

use md::plant::Plant;
use simulation::run_seed;

/// Seeds of the ordinary run. Another few thousand take a minute: `cargo xtask sim --seeds 5000`.
const SEEDS: u64 = 400;

/// A planted defect that so many seeds do not find would not be found in a minute either.
const SEEDS_TO_FIND: u64 = 600;

#[test]
fn invariants_hold_for_every_seed() {
    let (mut failures, mut resyncs, mut breaks) = (0, 0, 0);
    for seed in 0..SEEDS {
        let report = run_seed(seed, None);
        let violation = report.violations.first();
        assert!(
            violation.is_none(),
            "{}\n  again: cargo xtask sim --seed {seed}",
            violation.expect("is some")
        );
        failures += report.failures;
        resyncs += report.resyncs;
        breaks += report.breaks;
    }
    // A simulation in which nothing happens proves nothing.
    assert!(failures > SEEDS as u32 / 10, "only {failures} members failed");
    assert!(resyncs > SEEDS as u32 / 5, "only {resyncs} resyncs completed");
    assert!(breaks > SEEDS as u32 / 20, "only {breaks} connections broke");
}

/// Seeds that have found something, in the engine or in what judges it.
const FOUND: [(u64, &str); 6] = [
    (
        52_220,
        "a member that failed while a request waited for the log was not on record when that was answered",
    ),
    (2651, "a failure that was noticed between an answer and its caller's turn counted as unrecorded"),
    (3358, "what a resync had written a moment before, and a power cut took away, counted as settled"),
    (
        5967,
        "data that was journaled while parity's member was missing undid that member's rebuild in a replay",
    ),
    (9035, "a resync with one member in sync and one half rebuilt compared nothing"),
    (583, "a rebuild of two members wrote to one of them what it had been given already"),
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
    for plant in Plant::ALL {
        let found = (0..SEEDS_TO_FIND).any(|seed| !run_seed(seed, Some(plant)).violations.is_empty());
        assert!(found, "{plant:?} is not found by {SEEDS_TO_FIND} seeds");
    }
}

#[test]
fn a_seed_plays_the_same_every_time() {
    let digest = |seed| {
        let report = run_seed(seed, None);
        (report.events, report.failures, report.resyncs, report.breaks)
    };
    for seed in [3, 17, 99] {
        assert_eq!(digest(seed), digest(seed), "seed {seed}");
    }
}
