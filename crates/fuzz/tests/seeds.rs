//! Cases in the ordinary test run: some of each target, and every case that has ever found something.

use fuzz::TARGETS;
use runtime::sim::Random;

/// Cases of each target.
const CASES: u64 = 100;

/// What has found something, and what that was.
const FOUND: [(&str, u64, &str); 2] = [
    (
        "assembly",
        2848,
        "a device number that leaves no room in the table fell over at the first metadata write",
    ),
    ("nbd-client", 191, "a chunk that came twice made up for another that never came"),
];

fn play(name: &str, seed: u64) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    let played = (target.play)(Random::new(seed));
    assert_eq!(played, Ok(()), "cargo xtask fuzz -- --target {name} --seed {seed}");
}

#[test]
fn some_cases_of_every_target_pass() {
    for target in &TARGETS {
        (0..CASES).for_each(|seed| play(target.name, seed));
    }
}

#[test]
fn what_has_found_something_passes() {
    for (name, seed, what) in FOUND {
        println!("{name} {seed}: {what}");
        play(name, seed);
    }
}
