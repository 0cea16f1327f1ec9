//! Caches of bcache that real kernels left: nothing is wrong with them, what is read comes from where it is newest, and what
//! cannot be had is refused. (That every image is read as the kernel read it, `golden.rs` asks.)

mod common;

use std::fs;

use common::Bench;
use oracle::golden::{self, Image, sha256};

/// The disks of an image in a bench, by the names `0`, `1`, ...; what the kernel read of its volume.
fn unpacked(image: &Image) -> (Bench, Vec<String>, Vec<String>) {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let paths = image.unpack(folder.path()).unwrap();
    let names: Vec<String> = (0..paths.len()).map(|number| number.to_string()).collect();
    for (path, name) in paths.iter().zip(&names) {
        fs::copy(path, bench.path().join(name)).unwrap();
    }
    let content = image.content().unwrap().into_iter().map(|content| content.sha256).collect();
    (bench, names, content)
}

fn own(name: &str) -> (Bench, Vec<String>, Vec<String>) {
    unpacked(&golden::find(name).unwrap())
}

#[test]
fn nothing_is_wrong_with_what_kernels_left() {
    let images = golden::all().unwrap();
    let mut checked = 0;
    for image in images.iter().filter(|image| image.name.starts_with("bcache-")) {
        if image.name == "bcache-backing-only" {
            continue;
        }
        let (bench, names, _) = unpacked(image);
        let before: Vec<_> = names.iter().map(|name| bench.print_of(name)).collect();
        let all = names.join(" ");
        let report: serde_json::Value =
            serde_json::from_str(&bench.ok(&format!("cache check --json {all}"))).unwrap();
        assert_eq!(report["findings"], serde_json::json!([]), "{}", image.name);
        assert!(report["nodes"].as_u64() > Some(0), "{}", image.name);
        let dumped = bench.ok(&format!("cache dump --journal --tree --buckets {all}"));
        assert!(dumped.contains("\ntree\n") && dumped.contains("\njournal\n"), "{}", image.name);
        bench.ok(&format!("examine {all}"));
        let after: Vec<_> = names.iter().map(|name| bench.print_of(name)).collect();
        assert_eq!(before, after, "{}: a disk was changed", image.name);
        checked += 1;
    }
    assert!(checked >= 6, "only {checked} caches were checked");
}

#[test]
fn what_is_in_the_cache_is_not_read_from_below() {
    let (bench, _, content) = own("bcache-writeback");
    // All that was written through the cache, of which the backing device has nothing: poison there changes nothing.
    for (from, length) in [(256 << 10, 512 << 10), (1 << 20, 4 << 10)] {
        bench.poke("1", 16 * 512 + from, &vec![0xee; length]);
    }
    assert_eq!(vec![sha256(&bench.ashlar("cat 0 1").out)], content);
    bench.poke("1", 16 * 512 + (2 << 20), &[0xee; 512]);
    assert_ne!(
        vec![sha256(&bench.ashlar("cat 1 0").out)],
        content,
        "what is not in the cache is read from below"
    );
}

#[test]
fn a_backing_device_whose_newest_data_is_elsewhere_is_not_read_alone() {
    let (bench, _, content) = own("bcache-writeback");
    bench.refused("cat 1", &["its cache, of set", "is not here", "--accept-stale"]);
    let done = bench.ashlar("cat --accept-stale 1");
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("what was written last is missing"), "{}", done.err);
    assert_ne!(vec![sha256(&done.out)], content);
    bench.refused("cat 0", &["no volume of it is here"]);
    assert_eq!(bench.ok("cat --list 0 1"), "cached\n");
}

#[test]
fn a_backing_device_that_was_detached_needs_nobody() {
    let (bench, _, content) = own("bcache-detached");
    for disks in ["1", "0 1"] {
        assert_eq!(vec![sha256(&bench.ashlar(&format!("cat {disks}")).out)], content);
    }
}

#[test]
fn a_copy_of_a_cache_is_not_taken_for_another_half() {
    let (bench, _, content) = own("bcache-writeback");
    fs::copy(bench.path().join("0"), bench.path().join("copy")).unwrap();
    assert_eq!(vec![sha256(&bench.ashlar("cat 0 1 copy").out)], content);
    bench.refused("cache check 0 copy", &["2 caches", "one at a time"]);
}

#[test]
fn a_cache_on_an_array_below_a_volume_on_an_array_is_found() {
    let (bench, names, content) = own("bcache-on-arrays");
    let report: serde_json::Value =
        serde_json::from_str(&bench.ok(&format!("examine --json {}", names.join(" ")))).unwrap();
    assert_eq!(report["arrays"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["bcache"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["cached_volumes"][0]["backing"], "array 1");
    // One disk of each array can be spared.
    assert_eq!(vec![sha256(&bench.ashlar("cat 1 2 4").out)], content);
    assert!(bench.ok("cache check 0").contains("nothing is wrong"));
}

#[test]
fn a_cache_that_was_damaged_is_told_and_its_newest_data_is_not_guessed() {
    let (bench, _, _) = own("bcache-writeback");
    let dumped = bench.ok("cache dump --tree 0");
    let root = dumped.split("level 0, sector ").nth(1).unwrap().split(':').next().unwrap();
    let sector: u64 = root.parse().unwrap();
    bench.poke("0", sector * 512 + 20, &[0xee]);
    bench.refused("cache check 0", &["one thing is wrong"]);
    let report = bench.ashlar("cache check --json 0");
    let report: serde_json::Value = serde_json::from_slice(&report.out).unwrap();
    let finding = report["findings"][0].as_str().unwrap();
    assert!(finding.contains(&format!("sector {sector}")) && finding.contains("checksum"), "{finding}");
    let done = bench.ashlar("cat 0 1");
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("cannot be read"), "{}", done.err);
}

#[test]
fn what_is_no_cache_is_told() {
    let bench = Bench::new();
    bench.mirror();
    bench.refused("cache check a", &["none of these is a cache"]);
    bench.misused("cache dump --at 5 a", "INODE:SECTOR");
    bench.misused("cache dump --at 2000000:5 a", "1048576");
}

#[test]
fn what_a_disk_holds_is_not_destroyed_without_a_word() {
    let bench = Bench::new();
    bench.mirror(); // of a and b
    let before = bench.print_of("a");
    bench.refused("cache create --backing a", &["a member of raid1", "--overwrite"]);
    assert_eq!(before, bench.print_of("a"));
    let made = bench.ok("cache create --backing a --overwrite --label home --mode writeback");
    assert!(made.contains("made a backing device of a") && made.contains("overwritten"), "{made}");
    let report: serde_json::Value = serde_json::from_str(&bench.ok("examine --json a")).unwrap();
    assert_eq!(report["members"], serde_json::json!([]), "no md superblock is left");
    assert_eq!(report["bcache"][0]["label"], "home");
    assert_eq!(report["bcache"][0]["backing"]["mode"], "writeback");
    bench.refused("cache create --backing a", &["a bcache device"]);
}

#[test]
fn a_cache_that_cannot_be_is_not_made() {
    let bench = Bench::new();
    bench.disks(["a", "b"], 4 << 20);
    let before = (bench.print_of("a"), bench.print_of("b"));
    bench.misused("cache create", "--cache");
    bench.misused("cache create --cache a --bucket 8000", "--bucket 8000");
    bench.misused("cache create --backing a --label 123456789012345678901234567890123", "32 bytes");
    bench.refused("cache create --cache a --backing b", &["a: the device has 8 buckets", "513"]);
    bench.refused("cache create --cache a --bucket 24K", &["bucket size is 48 sectors", "power of two"]);
    bench.refused("cache create --cache a --bucket 4K --block 3K", &["block size is 6 sectors"]);
    bench.refused("cache create --backing b --data-offset 4K", &["data offset is 8 sectors", "at least 16"]);
    assert_eq!(before, (bench.print_of("a"), bench.print_of("b")));
    let made = bench.ok("cache create --json --cache a --bucket 4K --backing b");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!((made["cache"]["disk"].as_str(), made["backing"][0]["disk"].as_str()), (Some("a"), Some("b")));
    bench.refused("cache check a", &["made and never used"]);
    assert_eq!(bench.ashlar("cat b").out.len(), (4 << 20) - 8192);
}
