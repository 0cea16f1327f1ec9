//! What is refused: each refusal names the thing, and the word that would allow it; and nothing is written.

mod common;

use common::Bench;

/// Runs `line`, which must be refused with these words and leave `a` and `b` alone.
fn refuses(bench: &Bench, line: &str, words: &[&str]) {
    let before = (bench.print_of("a"), bench.print_of("b"));
    bench.refused(line, words);
    assert_eq!(before, (bench.print_of("a"), bench.print_of("b")), "ashlar {line} has changed a member");
}

#[test]
fn a_disk_that_is_named_twice() {
    let bench = Bench::new();
    bench.mirror();
    std::os::unix::fs::symlink("a", bench.path().join("link")).unwrap();
    std::os::unix::fs::symlink("a", bench.path().join("other")).unwrap();
    std::fs::hard_link(bench.path().join("a"), bench.path().join("hard")).unwrap();
    for command in ["examine", "cat", "run --nbd ./sock", "create x --level 1 --overwrite"] {
        refuses(&bench, &format!("{command} a b a"), &["a: is named twice"]);
        refuses(&bench, &format!("{command} a b ./a"), &["a and ./a are the same disk"]);
        refuses(&bench, &format!("{command} a link"), &["a and link are the same disk"]);
        refuses(&bench, &format!("{command} link other"), &["link and other are the same disk"]);
        refuses(&bench, &format!("{command} a hard"), &["a and hard are the same disk"]);
    }
}

#[test]
fn a_copy_of_a_disk_that_is_there() {
    let bench = Bench::new();
    bench.mirror();
    std::fs::copy(bench.path().join("a"), bench.path().join("copy")).unwrap();
    refuses(&bench, "cat a b copy", &["a and copy say that they are the same member"]);
    refuses(&bench, "run a b copy --nbd ./sock", &["a and copy say that they are the same member"]);
}

#[test]
fn what_another_process_uses() {
    let bench = Bench::new();
    bench.mirror();
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    refuses(&bench, "examine a", &["a: in use", "--live"]);
    refuses(&bench, "cat a b", &["a: in use", "b: in use", "--live"]);
    refuses(&bench, "run a b --nbd ./sock2 --name two", &["a: in use"]);
    refuses(&bench, "create x --level 1 --overwrite a b", &["a: in use"]);
    assert!(bench.ok("examine --live a b").contains("array data"));
    assert_eq!(bench.ashlar("cat --live a b").code, Some(0));
}

#[test]
fn a_name_that_runs_already() {
    let bench = Bench::new();
    bench.mirror();
    bench.disks(["c", "d"], 8 << 20);
    bench.ok("create data --level 1 --assume-clean c d");
    let _serving = bench.serve("run c d --nbd ./sock", "data");
    refuses(&bench, "run a b --nbd ./sock2", &["data runs already", "--name"]);
    refuses(&bench, "run a b --nbd ./sock --name other", &["somebody listens there already"]);
    refuses(&bench, "run a b --nbd ./c --name other", &["something else than a socket"]);
    refuses(&bench, "run a b --nbd ./sock2 --name x/y", &["slash"]);
}

#[test]
fn missing_members_without_the_word() {
    let bench = Bench::new();
    bench.mirror();
    refuses(&bench, "run b --nbd ./sock", &["1 of 2 members are here", "--degraded"]);
    refuses(&bench, "run b --nbd ./sock --plan", &["--degraded"]);
    bench.ok("run b --nbd ./sock --plan --degraded");
    let _serving = bench.serve("run b --nbd ./sock --degraded", "data");
}

#[test]
fn a_level_without_redundancy_with_a_member_missing() {
    let bench = Bench::new();
    bench.disks(["a", "b"], 8 << 20);
    bench.ok("create s --level 0 a b");
    refuses(&bench, "cat a", &["1 of 2 members are here", "at least 2 are needed"]);
    refuses(&bench, "run b --nbd ./sock --degraded", &["at least 2 are needed"]);
}

#[test]
fn a_stale_member_of_a_level_that_needs_all() {
    let bench = Bench::new();
    bench.disks(["a", "b"], 8 << 20);
    bench.ok("create s --level 0 --homehost none a b");
    rewrite(&bench, "a", &[(200, &[5])]); // a moves on without b: its update counter
    refuses(&bench, "cat a b", &["b is left out: it is stale", "--accept-stale"]);
    refuses(&bench, "run a b --nbd ./sock", &["b is left out: it is stale", "--accept-stale"]);
    assert_eq!(bench.ashlar("cat a b --accept-stale").code, Some(0));
    let _serving = bench.serve("run a b --nbd ./sock --accept-stale", "s");
}

/// The superblock of `disk`, whose 1.2 metadata lies 4 KiB from its start, with fields changed: where, and to what.
fn rewrite(bench: &Bench, disk: &str, fields: &[(usize, &[u8])]) -> u64 {
    let mut superblock = std::fs::read(bench.path().join(disk)).unwrap()[4096..8192].to_vec();
    for (at, bytes) in fields {
        superblock[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    md_format::superblock::seal(&mut superblock).unwrap();
    bench.poke(disk, 4096, &superblock);
    u64::from_le_bytes(superblock[128..136].try_into().unwrap()) * 512
}

/// The only fresh member is being rebuilt and holds nothing, and the two copies are out of date, one more than the other.
#[test]
fn of_stale_copies_only_the_least_stale_one_is_taken() {
    let bench = Bench::new();
    bench.disks(["a", "b", "c"], 8 << 20);
    bench.ok("create m --level 1 --assume-clean --homehost none a b c");
    let events = |number: u64| number.to_le_bytes();
    rewrite(&bench, "a", &[(8, &[2]), (152, &events(64)), (200, &events(20))]); // rebuilt up to sector 64
    for (disk, age, byte) in [("b", 5, 0xbb), ("c", 10, 0xcc)] {
        let data = rewrite(&bench, disk, &[(200, &events(age))]);
        bench.poke(disk, data, &[byte; 4096]);
    }
    for members in ["a b c", "c b a", "b a c"] {
        refuses(
            &bench,
            &format!("cat {members}"),
            &["b is left out: it is stale", "c is left out: it is stale"],
        );
        refuses(&bench, &format!("run {members} --nbd ./sock --accept-stale --degraded"), &["rebuil"]);
        let done = bench.ashlar(&format!("cat {members} --accept-stale"));
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(done.out[..4096] == [0xcc; 4096], "{members}: not the least stale copy");
        assert!(done.err.contains("b is left out: it is stale"), "{}", done.err);
    }
}

#[test]
fn disks_that_hold_something() {
    let bench = Bench::new();
    bench.mirror();
    refuses(
        &bench,
        "create x --level 1 a b",
        &["a: a member of raid1 \"data\"", "b: a member", "--overwrite"],
    );
    bench.disks(["ext4", "xfs", "luks", "gpt", "lvm", "swap", "btrfs", "bcache"], 8 << 20);
    bench.poke("ext4", 0x438, &[0x53, 0xef]);
    bench.poke("xfs", 0, b"XFSB");
    bench.poke("luks", 0, b"LUKS\xba\xbe");
    bench.poke("gpt", 512, b"EFI PART");
    bench.poke("lvm", 512, b"LABELONE");
    bench.poke("swap", 4086, b"SWAPSPACE2");
    bench.poke("btrfs", 0x1_0040, b"_BHRfS_M");
    bench.poke("bcache", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81");
    refuses(
        &bench,
        "create x --level 1 ext4 xfs luks gpt lvm swap btrfs bcache",
        &["ext4 file system", "xfs file", "LUKS", "GPT", "LVM", "swap space", "btrfs", "bcache: a bcache"],
    );
    bench.ok("create x --level 1 --overwrite ext4 xfs");
}

#[test]
fn disks_that_are_none() {
    let bench = Bench::new();
    bench.mirror();
    std::fs::create_dir(bench.path().join("folder")).unwrap();
    std::fs::write(bench.path().join("empty"), "").unwrap();
    std::fs::write(bench.path().join("tiny"), "x").unwrap();
    for command in ["examine", "cat", "run --nbd ./sock", "create x --level 1"] {
        refuses(&bench, &format!("{command} folder"), &["folder: is a directory"]);
        refuses(&bench, &format!("{command} nothing"), &["nothing:", "No such file"]);
        refuses(&bench, &format!("{command} empty"), &["empty: is empty"]);
        refuses(&bench, &format!("{command} tiny"), &["tiny"]);
        refuses(&bench, &format!("{command} /dev/null"), &["/dev/null: is neither"]);
        refuses(&bench, &format!("{command} http://host/x"), &["http://host/x"]);
    }
    bench.disks(["zeroes"], 8 << 20);
    refuses(&bench, "run a b zeroes --nbd ./sock", &["zeroes: no md superblock"]);
    refuses(&bench, "examine zeroes", &["none of these is an md member"]);
    refuses(&bench, "cat zeroes", &["zeroes: no md superblock"]);
    assert_eq!(bench.ashlar("cat a b zeroes").code, Some(0), "reading goes on without it");
}

#[test]
fn calls_that_make_no_sense() {
    let bench = Bench::new();
    bench.mirror();
    bench.misused("run a b", "--nbd");
    bench.misused("run a b --nbd 0.0.0.0:10809", "--nbd-anywhere");
    bench.misused("run a b --nbd sock", "./sock");
    bench.misused("create x --level 1 missing missing", "every member is missing");
    bench.misused("create x --level 1 a b --write-mostly c", "is not among the members");
    bench.misused("create x --level 7 a b", "--level");
    bench.misused("create x --level 1 a b --layout original", "no choice of layouts");
    bench.misused("create x --level 10 a b --layout left-symmetric", "near=N");
    bench.misused("create x --level 0 a b --chunk 1000", "--chunk");
    bench.misused("create x/y --level 1 a b", "slash");
    bench.misused("create x --level 0 a b --size 1M", "give all that they have");
    bench.misused("create x --level 1 a b --size 1025s", "whole number of KiB");
    bench.misused("create x --level 1 a b --size 0", "whole number of KiB");
    bench.misused("create x --level 1 a b --size most", "is no size");
    bench.refused("create x --level 1 --overwrite a b --size 8M", &["member size"]);
    bench.misused("cat a b --offset x", "is no size");
    bench.misused("cat", "MEMBER");
    bench.refused("cat a b --offset 1T", &["reach beyond its end"]);
    bench.refused("cat a b --volume nope", &["no volume \"nope\"", "data"]);
    bench.refused("create x --level 0 a missing --overwrite", &["without redundancy"]);
    bench.refused("undo nothing.json", &["nothing.json"]);
    std::fs::write(bench.path().join("bad.json"), "{}").unwrap();
    bench.refused("undo bad.json", &["is no snapshot"]);
}

#[test]
fn a_file_behind_a_loop_device() {
    let bench = Bench::new();
    bench.mirror();
    let losetup =
        std::process::Command::new("losetup").args(["-f", "--show"]).arg(bench.path().join("a")).output();
    let device = match losetup {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap().trim().to_owned(),
        Ok(output) => {
            oracle::left_out::note("a member behind a loop device", &String::from_utf8_lossy(&output.stderr));
            return;
        }
        Err(error) => {
            oracle::left_out::note("a member behind a loop device", &error);
            return;
        }
    };
    let refused = bench.ashlar("examine a");
    let through_it = bench.ashlar(&format!("examine {device} b"));
    assert!(std::process::Command::new("losetup").args(["-d", &device]).status().unwrap().success());
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains(&format!("in use by {device}")), "{}", refused.err);
    assert_eq!(through_it.code, Some(0), "{}", through_it.err);
}
