//! Armour: each piece is on, or it is said that it is not; and serving does without new memory.

mod proof;

use std::fs;
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

fn members(bench: &Bench, options: &[&str]) -> Vec<PathBuf> {
    let members = bench.members("m", &[8192; 4]);
    bench.create("m", options, &members);
    members
}

fn pieces(bench: &Bench) -> Vec<(String, bool, Option<String>)> {
    let status: serde_json::Value =
        serde_json::from_slice(&bench.manage(&["status", "m", "--json"])).unwrap();
    let piece = |piece: &serde_json::Value| {
        let text = |key: &str| piece[key].as_str().map(str::to_owned);
        (text("piece").unwrap(), piece["on"].as_bool().unwrap(), text("why"))
    };
    status["armour"].as_array().unwrap().iter().map(piece).collect()
}

#[test]
fn every_piece_is_on_or_its_lack_is_said_once() {
    let bench = Bench::new();
    let members = members(&bench, ARRAYS[1]);
    let running = bench.run("m", &[], &members);
    let (pieces, said) = (pieces(&bench), running.said());
    let names: Vec<&str> = pieces.iter().map(|(piece, _, _)| piece.as_str()).collect();
    assert_eq!(names, ["io-flusher", "oom-score", "memory-locked", "direct-io"]);
    for (piece, on, why) in &pieces {
        let warnings = said.matches(&format!("warning: armour: no {piece} ")).count();
        assert_eq!((warnings, why.is_some()), (usize::from(!on), !on), "{piece}: {said}");
    }
    let on = |name: &str| pieces.iter().any(|(piece, on, _)| piece == name && *on);
    let pid: u64 = {
        let status: serde_json::Value =
            serde_json::from_slice(&bench.manage(&["status", "m", "--json"])).unwrap();
        status["pid"].as_u64().unwrap()
    };
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score.trim() == "-1000", on("oom-score"), "{score}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    assert_eq!(!locked.ends_with(" 0 kB"), on("memory-locked"), "{locked}");
    let text = String::from_utf8(bench.manage(&["status", "m"])).unwrap();
    assert!(pieces.iter().all(|(piece, _, _)| text.contains(piece)), "{text}");
    running.stop();
}

#[test]
fn who_wants_no_armour_has_none() {
    let bench = Bench::new();
    let members = members(&bench, ARRAYS[1]);
    let running = bench.run("m", &["--armour", "off"], &members);
    assert!(pieces(&bench).is_empty() && !running.said().contains("armour"), "{}", running.said());
    assert!(String::from_utf8(bench.manage(&["status", "m"])).unwrap().contains("armour: none"));
    running.stop();
}

/// Every kind of request by both front ends, with the trap set: whoever allocated would end the program.
#[test]
fn serving_takes_no_memory_after_the_start() {
    let with_file = is_possible("what serving a file allocates in the whole program");
    for (seed, options) in ARRAYS.into_iter().enumerate() {
        for driver in ["uring", "threads"] {
            let bench = Bench::new();
            let (members, spot) = (members(&bench, options), Spot(bench.path("file")));
            let mut words = vec!["--armour", "trap", "--driver", driver];
            words.extend(spot.words().iter().filter(|_| with_file));
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
                                panic!("{options:?}, {driver}: {error}: {}", running.said())
                            });
                        }
                    });
                }
            });
            assert!(!running.said().contains("allocated"), "{}", running.said());
        }
    }
}
