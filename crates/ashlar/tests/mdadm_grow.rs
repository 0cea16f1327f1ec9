//! What mdadm's own tests of `--grow` ask of the kernel, asked of `ashlar`, each under the name it has there: bitmaps added
//! and taken away, sizes and copies of arrays that run.
//!
//! Left out: the halves of 02r1grow, 02r5grow and 02r6grow that make members smaller, which is refused here, and what of
//! 02r5grow changes the chunk, which moves data.

mod proof;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use proof::shapes::settle;
use proof::{Bench, Running};

/// As there: 20,000 KiB, of which 0.90 leaves 19,904 to the data.
const MEMBER_KIB: u64 = 20_000;
const MOST_0_90_KIB: u64 = 19_904;

/// How long bits may take to go: some rounds, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Array {
    bench: Bench,
    members: Vec<PathBuf>,
    seed: u64,
}

impl Array {
    fn new(options: &[&str], count: usize) -> Array {
        let bench = Bench::new();
        let members = bench.members("m", &vec![MEMBER_KIB; count]);
        bench.create("m", options, &members);
        Array { bench, members, seed: 0 }
    }

    fn run(&self) -> Running {
        let running = self.bench.run("m", &[], &self.members);
        settle(&self.bench, "m");
        running
    }

    fn grow(&self, words: &[&str]) {
        self.bench.manage(&[&["grow", "m"], words].concat());
    }

    /// `testdev`: all of it can be written, and read back. Its size in KiB.
    fn test(&mut self, running: &Running) -> u64 {
        let mut client = running.connect();
        let mut content = vec![0; client.size() as usize];
        self.seed += 1;
        oracle::pattern::fill(&mut content, 0, self.seed);
        client.write(0, &content).unwrap();
        assert!(client.content() == content);
        client.size() >> 10
    }

    fn has_bitmap(&self) -> bool {
        !self.bench.array("m")["bitmap"].is_null()
    }

    /// Waits until no chunk is marked, as those tests do by sleeping.
    fn wait_until_unmarked(&self) {
        let start = Instant::now();
        while self.bench.array("m")["bitmap"]["marked"].as_u64().unwrap() > 0 {
            assert!(start.elapsed() < PATIENCE, "bits stay");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What is recorded on a member, when nothing runs.
    fn has_recorded_bitmap(&self) -> bool {
        let found = self.bench.examined(&self.members);
        assert!(found.iter().all(|md| md["bitmap"].is_null() == found[0]["bitmap"].is_null()));
        !found[0]["bitmap"].is_null()
    }
}

const VERSIONS: [(&str, &str); 4] = [("", "0.90"), ("-v1a", "1.0"), ("-v1b", "1.1"), ("-v1c", "1.2")];

/// 05r1-add-internalbitmap, -v1a, -v1b, -v1c
#[test]
fn mdadm_05r1_add_internalbitmap() {
    for (suffix, version) in VERSIONS {
        let mut array = Array::new(&["--level", "1", "--metadata", version], 2);
        let running = array.run();
        assert!(!array.has_bitmap(), "{suffix}");
        let size = array.test(&running);
        array.grow(&["--bitmap", "internal", "--bitmap-chunk", "4K"]);
        assert!(array.has_bitmap(), "{suffix}");
        assert_eq!(array.test(&running), size, "{suffix}");
        running.stop();
        assert!(array.has_recorded_bitmap(), "{suffix}");
        let running = array.run();
        assert!(array.has_bitmap() && array.test(&running) == size, "{suffix}");
        running.stop();
    }
}

/// 05r1-remove-internalbitmap, -v1a, -v1b, -v1c
#[test]
fn mdadm_05r1_remove_internalbitmap() {
    for (suffix, version) in VERSIONS {
        let bitmap = ["--bitmap", "internal", "--bitmap-chunk", "4K"];
        let mut array = Array::new(&[&["--level", "1", "--metadata", version], &bitmap[..]].concat(), 2);
        let running = array.run();
        assert!(array.has_bitmap(), "{suffix}");
        let size = array.test(&running);
        array.grow(&["--bitmap", "none"]);
        assert!(!array.has_bitmap(), "{suffix}");
        assert_eq!(array.test(&running), size, "{suffix}");
        running.stop();
        assert!(!array.has_recorded_bitmap(), "{suffix}");
        let running = array.run();
        assert!(!array.has_bitmap() && array.test(&running) == size, "{suffix}");
        running.stop();
    }
}

/// 05r1-grow-internal and 05r1-grow-internal-1, which differed in the metadata once
#[test]
fn mdadm_05r1_grow_internal() {
    for version in ["0.90", "1.2"] {
        let mut array = Array::new(&["--level", "1", "--metadata", version], 2);
        let running = array.run();
        array.test(&running);
        array.grow(&["--bitmap", "internal", "--bitmap-chunk", "4K"]);
        array.wait_until_unmarked();
        array.test(&running);
        array.wait_until_unmarked();
        array.grow(&["--bitmap", "none"]);
        assert!(!array.has_bitmap());
        running.stop();
    }
}

/// Half of what there is, and then all of it; what is new is synced.
fn grows(options: &[&str], count: usize, data: u64) -> u64 {
    let half = format!("{}K", MEMBER_KIB / 2);
    let mut array = Array::new(&[options, &["--size", &half]].concat(), count);
    let mut running = array.run();
    let before = array.test(&running);
    assert!(before <= MEMBER_KIB / 2 * data && before > MEMBER_KIB / 2 * data - 512, "{options:?}: {before}");
    array.grow(&["--size", "max"]);
    running.wait_for("resync started at sector");
    settle(&array.bench, "m");
    let after = array.test(&running);
    running.stop();
    assert_eq!(array.bench.cat(&array.members).len() as u64, after << 10, "{options:?}");
    after
}

#[test]
fn mdadm_02r1grow() {
    assert_eq!(grows(&["--level", "1", "--metadata", "0.90"], 3, 1), MOST_0_90_KIB);
    assert!(grows(&["--level", "1", "--metadata", "1.1"], 3, 1) > MEMBER_KIB * 9 / 10);
}

#[test]
fn mdadm_02r5grow() {
    let chunk = |kib: &'static str| ["--level", "5", "--chunk", kib];
    let size = grows(&[&chunk("64K")[..], &["--metadata", "0.90"]].concat(), 3, 2);
    assert_eq!(size, MOST_0_90_KIB * 2);
    assert!(grows(&[&chunk("128K")[..], &["--metadata", "1.1"]].concat(), 4, 3) > MEMBER_KIB * 27 / 10);
}

#[test]
fn mdadm_02r6grow() {
    let chunk = |kib: &'static str| ["--level", "6", "--chunk", kib];
    let size = grows(&[&chunk("64K")[..], &["--metadata", "0.90"]].concat(), 4, 2);
    assert_eq!(size, MOST_0_90_KIB * 2);
    assert!(grows(&[&chunk("128K")[..], &["--metadata", "1.1"]].concat(), 4, 2) > MEMBER_KIB * 18 / 10);
}

/// A copy more, taken up by the spare; one that fails; and a copy less.
#[test]
fn mdadm_02r1add() {
    for version in ["0.90", "1.2"] {
        let bench = Bench::new();
        let members = bench.members("m", &[MEMBER_KIB; 3]);
        let spare = members[2].to_str().unwrap().to_owned();
        let options = ["--level", "1", "--metadata", version, "--spare", &spare];
        bench.create("m", &options, &members[..2]);
        let mut array = Array { bench, members, seed: 0 };
        let running = array.run();
        array.grow(&["--raid-devices", "3"]);
        array.bench.manage(&["wait", "m"]);
        assert_eq!(array.bench.array("m")["in_sync"], 3, "{version}");
        array.bench.fail("m", &array.members[0]);
        let state = array.bench.array("m");
        assert_eq!((&state["slots"], &state["in_sync"]), (&3.into(), &2.into()), "{version}");
        array.grow(&["--raid-devices", "2"]);
        let state = array.bench.array("m");
        assert_eq!((&state["slots"], &state["in_sync"]), (&2.into(), &2.into()), "{version}");
        array.test(&running);
        running.stop();
        let running = array.bench.run("m", &[], &array.members[1..]);
        assert_eq!(array.bench.array("m")["in_sync"], 2, "{version}");
        running.stop();
    }
}
