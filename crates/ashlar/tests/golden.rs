//! Arrays that real kernels left: `ashlar cat` gives what the kernel read, with the members in any order, under any
//! names, with any that can be spared missing, and changes not one byte of them.

mod common;

use std::path::PathBuf;

use common::Bench;
use oracle::golden::{self, Image, sha256};

/// Names that are no trouble for anybody who asks the shell to quote them.
const NAMES: [&str; 6] = ["two words", "-", "größe", "x.img.bak", "line\nbreak", "0"];

#[test]
fn every_image_of_the_repository_is_read() {
    // Two at a time: most of it is waiting for small processes.
    let images = golden::own().unwrap();
    let read: usize = std::thread::scope(|scope| {
        let count =
            |half| scope.spawn(move || <[Image]>::iter(half).filter(|image| reads(image, true)).count());
        let halves: Vec<_> = images.chunks(images.len().div_ceil(2)).map(count).collect();
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    });
    assert!(read >= 45, "only {read} images could be read");
}

#[test]
fn every_image_of_the_larger_set_with_a_level_that_is_built_is_read() {
    for image in golden::shared().unwrap().iter().filter(|image| is_built(&image.name)) {
        reads(image, false);
    }
}

fn is_built(name: &str) -> bool {
    let levels = ["linear-", "raid0-", "raid1-", "raid4-", "raid5-", "raid6-"];
    let later = ["midreshape", "midtakeover", "journal"];
    levels.iter().any(|level| name.starts_with(level)) && !later.iter().any(|later| name.contains(later))
}

/// Members that the level can do without; all but one, where each is a copy.
fn dispensable(name: &str, members: usize) -> usize {
    match name.split('-').next() {
        Some("raid1") => members - 1,
        Some("raid4" | "raid5") => 1,
        Some("raid6") => 2,
        _ => 0,
    }
}

/// Reads one image in every way that should work. False for a level that is not built: then it is refused.
fn reads(image: &Image, is_own: bool) -> bool {
    let bench = Bench::new();
    let unpacked = tempfile::tempdir().unwrap();
    let paths = image.unpack(unpacked.path()).unwrap();
    let members: Vec<usize> = match is_own {
        true => image.recipe().unwrap().members,
        false => (0..paths.len()).collect(),
    };
    let mut names: Vec<PathBuf> = Vec::new();
    for (at, member) in members.iter().enumerate() {
        let name = bench.path().join(NAMES[at % NAMES.len()]);
        std::fs::copy(&paths[*member], &name).unwrap();
        names.push(name);
    }
    let prints = || names.iter().map(|name| bench.print_of(name)).collect::<Vec<_>>();
    let before = prints();
    if !is_built(&image.name) {
        let done = bench.ashlar_with("cat", &names);
        assert_eq!(done.code, Some(1), "{}: was not refused", image.name);
        assert!(done.err.contains("not built yet"), "{}: {}", image.name, done.err);
        return false;
    }
    let Ok(content) = image.content() else { return true }; // unreadable sectors are part of it
    let expected: Vec<String> = content.into_iter().map(|content| content.sha256).collect();
    let layout = match image.name.contains("nolayout") {
        true => {
            let done = bench.ashlar_with("cat", &names);
            assert!(done.code == Some(1) && done.err.contains("--layout"), "{}: {}", image.name, done.err);
            " --layout alternate"
        }
        false if image.name.contains("dirty-degraded") => {
            let done = bench.ashlar_with("cat", &names);
            assert_eq!(done.code, Some(1), "{}: was not refused", image.name);
            assert!(done.err.contains("--dirty-degraded"), "{}: {}", image.name, done.err);
            " --dirty-degraded"
        }
        false => "",
    };
    for order in orders(&names) {
        let done = bench.ashlar_with(&format!("cat{layout}"), &order);
        assert_eq!(done.code, Some(0), "{} {order:?}: {}", image.name, done.err);
        let found = sha256(&done.out);
        assert!(expected.contains(&found), "{} {order:?}: {found}, expected {expected:?}", image.name);
    }
    if dispensable(&image.name, members.len()) > 0 {
        without_members(&bench, image, &names, &expected);
    }
    assert_eq!(before, prints(), "{}: a member was changed", image.name);
    true
}

/// All rotations, and each of them backwards.
fn orders(names: &[PathBuf]) -> Vec<Vec<PathBuf>> {
    let rotations = (0..names.len()).map(|by| {
        let mut order = names.to_vec();
        order.rotate_left(by);
        order
    });
    rotations.flat_map(|order| [order.clone(), order.into_iter().rev().collect()]).collect()
}

/// Every set of members that has all the data gives the same content; others are refused, and so is what may be wrong.
fn without_members(bench: &Bench, image: &Image, names: &[PathBuf], expected: &[String]) {
    let all = bench.ashlar_with("examine --json", names);
    let report: serde_json::Value = serde_json::from_slice(&all.out).unwrap();
    let in_sync: Vec<String> = report["arrays"][0]["slots"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|slot| slot["in_sync"] == true)
        .map(|slot| slot["member"].as_str().unwrap().to_owned())
        .collect();
    // Where the copies of a dirty mirror differ, each alone may give its own.
    let is_clean = report["arrays"][0]["clean"] == true;
    let slots = report["arrays"][0]["slots"].as_array().unwrap().len();
    let needed = slots - dispensable(&image.name, slots);
    let is_mirror = image.name.starts_with("raid1-");
    for bits in 1..1u32 << names.len() {
        let some: Vec<PathBuf> =
            (0..names.len()).filter(|at| bits >> at & 1 == 1).map(|at| names[at].clone()).collect();
        let present = some.iter().filter(|name| in_sync.contains(&name.display().to_string())).count();
        let has_copy = present >= needed;
        let mut done = bench.ashlar_with("cat", &some);
        if !is_mirror && has_copy && present < slots && !is_clean {
            assert!(done.err.contains("--dirty-degraded"), "{} {some:?}: {}", image.name, done.err);
            done = bench.ashlar_with("cat --dirty-degraded", &some);
            assert_eq!(done.code, Some(0), "{} {some:?}: {}", image.name, done.err);
            continue;
        }
        if !has_copy {
            assert_eq!(done.code, Some(1), "{} {some:?}", image.name);
        } else if image.name.contains("badblocks") && done.code != Some(0) {
            assert!(done.err.contains("medium error"), "{} {some:?}: {}", image.name, done.err);
        } else if has_copy {
            assert_eq!(done.code, Some(0), "{} {some:?}: {}", image.name, done.err);
            let found = sha256(&done.out);
            assert!(!is_clean || expected.contains(&found), "{} {some:?}: {found}", image.name);
        }
    }
}
