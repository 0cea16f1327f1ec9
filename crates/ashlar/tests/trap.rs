//! Serving does without new memory, whatever serves: arrays of every level, logs, journals, caches.

mod proof;

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proof::Bench;
use proof::mounted::{Spot, is_possible};
use proof::versions::Random;

/// Arrays of every way of serving.
const ARRAYS: [&[&str]; 5] = [
    &["-l", "raid0", "--chunk", "64K"],
    &["-l", "raid1", "--bitmap", "internal"],
    &["-l", "raid10", "--chunk", "64K"],
    &["-l", "raid5", "--chunk", "64K", "--consistency", "ppl"],
    &["-l", "raid6", "--chunk", "64K", "--bitmap", "internal"],
];

/// Every kind of request by both front ends, with the trap set: whoever allocated would end the program, and so would a system
/// call that is not allowed.
fn serves(what: &str, seed: usize, make: impl Fn(&Bench) -> (Vec<PathBuf>, Vec<&'static str>)) {
    let with_file = is_possible("what serving a file allocates in the whole program");
    for driver in ["uring", "threads"] {
        let bench = Bench::new();
        let ((members, own), spot) = (make(&bench), Spot(bench.path("file")));
        let mut words = vec!["--armour", "trap", "--driver", driver];
        words.extend(own);
        words.extend(spot.words().iter().filter(|_| with_file));
        {
            let running = &bench.run("m", &words, &members);
            std::thread::scope(|scope| {
                for turn in 0..3 {
                    let mut client = running.connect();
                    let file = with_file.then(|| spot.open().plain);
                    scope.spawn(move || {
                        let (mut random, size) = (Random((seed as u64) << 32 | turn), client.size() as usize);
                        for _ in 0..150 {
                            let (at, longest) = (random.below(size - 100_000), [600, 5000, 100_000]);
                            let longest = longest[random.below(3)];
                            let len = 1 + random.below(longest);
                            let (bytes, from) = (vec![seed as u8; len], at as u64);
                            let done = match (random.below(7), &file) {
                                (0 | 1, Some(file)) => file.write_all_at(&bytes, from),
                                (2, Some(file)) => file.read_exact_at(&mut bytes.clone(), from),
                                (3, Some(file)) => file.sync_data(),
                                (0, None) | (4, _) => client.write(from, &bytes),
                                (1, None) => client.trim(from, len),
                                (2, None) | (5, _) => client.read(from, len).map(drop),
                                (3, None) => client.flush(),
                                _ => client.write_zeroes(from, len),
                            };
                            done.unwrap_or_else(|error| {
                                panic!("{what}, {driver}: {error}: {}", running.said())
                            });
                        }
                    });
                }
            });
            assert!(!running.said().contains("allocated"), "{}", running.said());
        }
    }
}

#[test]
fn arrays_take_no_memory_after_the_start() {
    for (seed, options) in ARRAYS.into_iter().enumerate() {
        serves(&format!("{options:?}"), seed, |bench| {
            let members = bench.members("m", &[8192; 4]);
            bench.create("m", options, &members);
            (members, Vec::new())
        });
    }
}

#[test]
fn logs_and_journals_take_no_memory_after_the_start() {
    serves("a private log", 10, |bench| {
        let members = bench.members("m", &[32 << 10; 4]);
        bench.create("m", &["-l", "raid6", "--chunk", "64K", "--assume-clean"], &members);
        (members, vec!["--private-log", "on"])
    });
    for (seed, mode) in [(11, "write-through"), (12, "write-back")] {
        serves(&format!("a journal, {mode}"), seed, |bench| {
            let mut members = bench.members("m", &[8192; 3]);
            members.extend(bench.members("journal", &[8192]));
            let journal = members[3].to_str().unwrap().to_owned();
            bench.create("m", &["-l", "raid5", "--write-journal", &journal], &members[..3]);
            (members, vec!["--journal-mode", mode])
        });
    }
}

#[test]
fn caches_take_no_memory_after_the_start() {
    for (seed, mode) in [(20, "writethrough"), (21, "writeback"), (22, "writearound")] {
        serves(&format!("a cache, {mode}"), seed, |bench| {
            let members = bench.members("m", &[100 << 10, 32 << 10]);
            let [cache, backing] = [0, 1].map(|number: usize| members[number].to_str().unwrap());
            bench.succeeds([
                "cache",
                "create",
                "--cache",
                cache,
                "--bucket",
                "128K",
                "--backing",
                backing,
                "--label",
                "m",
                "--mode",
                mode,
            ]);
            (members, Vec::new())
        });
    }
}
