//! Read-only means not one byte, whatever the members hold: healthy, hostile, damaged, cut short. And never a panic.

mod common;

use std::path::PathBuf;

use common::Bench;

const READERS: [&str; 5] = ["examine", "examine --json", "cat", "cat --list", "run --plan --nbd ./sock"];

/// Runs every reading command over `names`; they may fail, but nothing may change.
fn reads_only(bench: &Bench, names: &[&str]) {
    let before: Vec<_> = names.iter().map(|name| bench.print_of(name)).collect();
    let listing = || {
        let mut names: Vec<PathBuf> =
            std::fs::read_dir(bench.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let files = listing();
    for reader in READERS {
        let done = bench.ashlar(&format!("{reader} {}", names.join(" ")));
        assert!(matches!(done.code, Some(0 | 1)), "{reader}: {:?} {}", done.code, done.err);
        assert!(done.code == Some(0) || done.err.contains("ashlar: "), "{reader}: {}", done.err);
    }
    let after: Vec<_> = names.iter().map(|name| bench.print_of(name)).collect();
    assert_eq!(before, after, "a member was changed");
    assert_eq!(files, listing(), "a file was left");
}

#[test]
fn healthy_members_stay_as_they_are() {
    let bench = Bench::new();
    bench.mirror();
    reads_only(&bench, &["a", "b"]);
    bench.disks(["c", "d"], 8 << 20);
    bench.ok("create dirty --level 1 c d");
    reads_only(&bench, &["c", "d"]);
    reads_only(&bench, &["d"]);
}

#[test]
fn random_bytes_are_no_member() {
    let bench = Bench::new();
    let bytes = noise(1, 1 << 20);
    std::fs::write(bench.path().join("a"), &bytes).unwrap();
    std::fs::write(bench.path().join("b"), &bytes[..100_001]).unwrap();
    reads_only(&bench, &["a", "b"]);
}

#[test]
fn members_that_were_cut_short_are_told() {
    for version in ["0.90", "1.0", "1.1", "1.2"] {
        let bench = Bench::new();
        bench.disks(["a", "b"], 4 << 20);
        bench.ok(&format!("create data --level 1 --assume-clean --metadata {version} a b"));
        for bytes in [512, 4096, 4097, 12 << 10, 64 << 10, 1 << 20, (2 << 20) + 1, (4 << 20) - 512] {
            let file = std::fs::File::options().write(true).open(bench.path().join("a")).unwrap();
            file.set_len(bytes).unwrap();
            reads_only(&bench, &["a", "b"]);
            reads_only(&bench, &["a"]);
        }
    }
}

/// Every third byte of the superblock in turn is made wrong, with the checksum made right again, so that what the byte means
/// is believed. A failure prints the byte.
#[test]
fn a_superblock_with_any_byte_wrong_never_panics_and_never_writes() {
    for (version, at, len) in
        [("1.2", 4096u64, 264usize), ("0.90", (4 << 20) - (64 << 10), 256), ("0.90", 4_128_768 + 512, 96)]
    {
        let bench = Bench::new();
        bench.disks(["a", "b"], 4 << 20);
        bench.ok(&format!("create data --level 1 --assume-clean --metadata {version} a b"));
        let right = std::fs::read(bench.path().join("a")).unwrap();
        let start = at as usize & !4095;
        for (byte, value) in (0..len).step_by(3).zip([0xff, 0x80, 0x01].into_iter().cycle()) {
            let mut wrong = right[start..start + 4096].to_vec();
            wrong[at as usize - start + byte] = value;
            let _ = md_format::superblock::seal(&mut wrong); // no superblock any more: unsealed then
            bench.poke("a", start as u64, &wrong);
            eprintln!("{version}: byte {byte} is {value:#x}");
            one_reader(&bench);
        }
        bench.poke("a", start as u64, &right[start..start + 4096]);
    }
}

/// One look that goes through examining, assembling and opening.
fn one_reader(bench: &Bench) {
    let before = (bench.print_of("a"), bench.print_of("b"));
    let done = bench.ashlar("examine a b");
    assert!(matches!(done.code, Some(0 | 1)), "{:?} {}", done.code, done.err);
    let done = bench.ashlar("cat --length 64K a");
    assert!(matches!(done.code, Some(0 | 1)), "{:?} {}", done.code, done.err);
    assert_eq!(before, (bench.print_of("a"), bench.print_of("b")));
}

/// Bytes that look like nothing (xorshift64).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}
