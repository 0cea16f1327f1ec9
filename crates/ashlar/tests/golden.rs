//! Arrays and cached volumes that real kernels left: `ashlar cat` gives what the kernel read, with the members in any order, under any
//! names, with any that can be spared missing, and changes not one byte of them.
//!
//! Each look is a process. Of sets of more than three disks each image takes some of the orders and of the subsets,
//! beginning elsewhere than the one before it: the images of a level together take all of them. Where there is time, each
//! image takes all.

mod common;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::Bench;
use oracle::golden::{self, Image, sha256};
use oracle::left_out;

/// Names that are no trouble for anybody who asks the shell to quote them.
const NAMES: [&str; 6] = ["two words", "-", "größe", "x.img.bak", "line\nbreak", "0"];

/// Of larger sets, each image of the repository takes one in so many of its orders and subsets.
const SHARE: usize = 3;
/// The same of the larger set, which has more images of each level.
const SHARE_OF_MANY: usize = 6;

#[test]
fn every_image_of_the_repository_is_read() {
    let read = reads_all(&golden::own().unwrap(), true);
    assert!(read >= 57, "only {read} images could be read");
}

#[test]
fn every_image_of_the_larger_set_with_a_level_that_is_built_is_read() {
    let mut images = golden::shared().unwrap();
    images.retain(|image| is_built(&image.name));
    reads_all(&images, false);
}

/// Reads all of them, two at a time: most of it is waiting for small processes. How many could be read.
fn reads_all(images: &[Image], is_own: bool) -> usize {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut read = 0;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(image) = images.get(number) else { return read };
            let turn = Turn { number, share: if is_own { SHARE } else { SHARE_OF_MANY } };
            read += usize::from(reads(image, is_own, turn));
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    })
}

/// Which of its orders and subsets an image takes.
#[derive(Clone, Copy)]
struct Turn {
    number: usize,
    share: usize,
}

impl Turn {
    fn takes(self, nth: usize, disks: usize) -> bool {
        disks <= 3 || left_out::has_time() || (self.number + nth).is_multiple_of(self.share)
    }
}

/// A mirror whose bitmap a kernel kept, stopped or cut off, is taken over: its content stays, and afterwards no bit is set.
#[test]
fn mirrors_with_a_bitmap_are_run_and_stopped_with_no_bit_set() {
    let images = golden::own().unwrap().into_iter().chain(golden::shared().unwrap());
    for image in images.filter(|image| image.name.starts_with("raid1-") && image.name.contains("bitmap")) {
        let bench = Bench::new();
        let unpacked = tempfile::tempdir().unwrap();
        let names: Vec<String> = image
            .unpack(unpacked.path())
            .unwrap()
            .iter()
            .enumerate()
            .map(|(number, path)| {
                std::fs::copy(path, bench.path().join(number.to_string())).unwrap();
                number.to_string()
            })
            .collect();
        let all = names.join(" ");
        let mut serving = bench.serve(&format!("run {all} --name it --nbd ./sock"), "it");
        bench.settle("it");
        assert!(bench.status("it")["arrays"][0]["bitmap"]["chunks"].as_u64() > Some(0), "{}", image.name);
        bench.ok("stop it");
        assert_eq!(serving.wait(), Some(0), "{}: {}", image.name, bench.log());
        let report: serde_json::Value =
            serde_json::from_str(&bench.ok(&format!("examine --json {all}"))).unwrap();
        for member in report["members"].as_array().unwrap() {
            assert_eq!(member["md"]["bitmap"]["marked"], 0, "{}", image.name);
        }
        let expected: Vec<String> =
            image.content().unwrap().into_iter().map(|content| content.sha256).collect();
        let found = sha256(&bench.ashlar(&format!("cat {all}")).out);
        assert!(expected.contains(&found), "{}: {found}", image.name);
    }
}

fn is_built(name: &str) -> bool {
    let levels = ["linear-", "raid0-", "raid1-", "raid4-", "raid5-", "raid6-", "raid10-", "bcache-"];
    let later = ["midreshape", "midtakeover"];
    levels.iter().any(|level| name.starts_with(level)) && !later.iter().any(|later| name.contains(later))
}

/// Reads one image in every way that should work. False for a level that is not built: then it is refused.
fn reads(image: &Image, is_own: bool, turn: Turn) -> bool {
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
    let orders = orders(&names).into_iter().enumerate();
    for (_, order) in orders.filter(|(nth, _)| turn.takes(*nth, names.len())) {
        let done = bench.ashlar_with(&format!("cat{layout}"), &order);
        assert_eq!(done.code, Some(0), "{} {order:?}: {}", image.name, done.err);
        let found = sha256(&done.out);
        assert!(expected.contains(&found), "{} {order:?}: {found}, expected {expected:?}", image.name);
    }
    // Without its journal an array has what was in it before the last writes.
    let has_others = !["linear-", "raid0-", "bcache-"].iter().any(|level| image.name.starts_with(level));
    if has_others && !image.name.contains("journal") {
        every_set(&bench, image, &names, &expected, turn);
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

/// Every set of members that has all data gives the same content; others are refused, and so is what parity would have to
/// give back and may not.
fn every_set(bench: &Bench, image: &Image, names: &[PathBuf], expected: &[String], turn: Turn) {
    let all = bench.ashlar_with("examine --json", names);
    let report: serde_json::Value = serde_json::from_slice(&all.out).unwrap();
    let slots: Vec<Option<&str>> = report["arrays"][0]["slots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slot| slot["member"].as_str().filter(|_| slot["in_sync"] == true))
        .collect();
    // Where the copies of a dirty mirror differ, each alone may give its own.
    let is_clean = report["arrays"][0]["clean"] == true;
    for bits in (1..1u32 << names.len()).filter(|bits| turn.takes(*bits as usize, names.len())) {
        let some: Vec<PathBuf> =
            (0..names.len()).filter(|at| bits >> at & 1 == 1).map(|at| names[at].clone()).collect();
        let is_here = |slot: usize| {
            slots[slot].is_some_and(|member| some.iter().any(|name| name.display().to_string() == member))
        };
        let present = (0..slots.len()).filter(|slot| is_here(*slot)).count();
        let (has_all, is_striped) = match image.name.split('-').next() {
            Some("raid1") => (present > 0, false),
            Some("raid10") => (has_every_chunk(&image.name, slots.len(), is_here), false),
            Some("raid6") => (present + 2 >= slots.len(), true),
            _ => (present + 1 >= slots.len(), true),
        };
        let mut done = bench.ashlar_with("cat", &some);
        if is_striped && has_all && present < slots.len() && !is_clean {
            let told = done.code == Some(1) && done.err.contains("--dirty-degraded");
            assert!(told, "{} {some:?}: {}", image.name, done.err);
            done = bench.ashlar_with("cat --dirty-degraded", &some);
        }
        if has_all && image.name.contains("badblocks") && done.code != Some(0) {
            assert!(done.err.contains("medium error"), "{} {some:?}: {}", image.name, done.err);
        } else if has_all {
            assert_eq!(done.code, Some(0), "{} {some:?}: {}", image.name, done.err);
            let found = sha256(&done.out);
            assert!(!is_clean || expected.contains(&found), "{} {some:?}: {found}", image.name);
        } else if !image.name.starts_with("raid1-") {
            let needed = done.err.contains("are needed") && done.err.contains("name the missing disks too");
            assert!(done.code == Some(1) && needed, "{} {some:?}: {}", image.name, done.err);
        }
    }
}

/// Whether a raid10 whose layout ends its name, as in `-n2`, has every chunk in the slots for which `has` holds.
fn has_every_chunk(name: &str, slots: usize, has: impl Fn(usize) -> bool) -> bool {
    let layout = name.rsplit('-').next().unwrap();
    let copies: usize = layout[1..].parse().unwrap();
    let step = if layout.starts_with('n') { copies } else { 1 };
    (0..slots).all(|chunk| (0..copies).any(|copy| has((chunk * step + copy) % slots)))
}
