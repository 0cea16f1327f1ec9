//! The invariants of stacks over seeds, in the ordinary test run; thousands more by hand with `cargo xtask sim --stacks`.

use simulation::stack::{PLANTS, run_seed};

/// Seeds of the ordinary run.
const SEEDS: u64 = 30;

/// A planted defect that so many seeds do not find would not be found in a minute either.
const SEEDS_TO_FIND: u64 = 40;

#[test]
fn invariants_hold_for_every_seed_of_stacks() {
    let (mut deep, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let report = run_seed(seed, None);
        assert_eq!(report.violations, [], "again: cargo xtask sim --stacks --seed {seed}");
        deep += u64::from(report.scenario.depth() >= 3);
        refused += u64::from(report.is_refused);
    }
    // A simulation in which nothing lies on anything proves nothing.
    assert!(deep > SEEDS / 2, "only {deep} stacks were three deep");
    assert!(refused < SEEDS / 10, "{refused} stacks could not be opened any more");
}

/// Seeds that have found something, as scenarios were drawn then.
const FOUND: [(u64, &str); 4] = [
    (
        80,
        "the rebuild of a raid10 in several lanes kept writes away from one of them alone, and undid one of another",
    ),
    (
        2854,
        "a spare that was removed while its log was prepared was taken all the same, and, added again, for a second slot too",
    ),
    (3531, "who was rebuilt beside its own replacement was promoted after that had put it out"),
    (10_867, "what was clean in a cache after a power cut was given up between two reads, which is no fault"),
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
    for plant in PLANTS {
        let found = (0..SEEDS_TO_FIND).any(|seed| {
            let violations = run_seed(seed, Some(plant)).violations;
            violations.iter().any(|violation| violation.invariant == "P3")
        });
        assert!(found, "{plant:?} is not found by {SEEDS_TO_FIND} seeds");
    }
}

#[test]
fn a_seed_plays_the_same_every_time() {
    for seed in [3, 17] {
        let [first, second] = [run_seed(seed, None), run_seed(seed, None)];
        assert_eq!(first.events, second.events, "seed {seed}");
    }
}
