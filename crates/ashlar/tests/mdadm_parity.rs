//! What mdadm's own tests of parity ask of the kernel, asked of `ashlar`, and of the kernel over what `ashlar` wrote; each
//! under the name it has there.
//!
//! There, a member that was failed is added again and rebuilt before the next one fails. Here each set of failures begins
//! with copies of the whole members, which is quicker; rebuilds are the matter of `mdadm_recovery.rs`.

mod proof;

use std::path::PathBuf;

use oracle::{Kernel, left_out, required};
use proof::shapes::{End, Job, boots, hashes};
use proof::{Bench, hash};

/// The layouts that 01r5integ goes through.
const R5: [&str; 4] = ["left-symmetric", "right-symmetric", "left-asymmetric", "right-asymmetric"];

/// Those of 01raid6integ.
const RAID6: [&str; 13] = [
    "left-symmetric",
    "right-symmetric",
    "left-asymmetric",
    "right-asymmetric",
    "parity-first",
    "ddf-zero-restart",
    "ddf-N-restart",
    "ddf-N-continue",
    "left-asymmetric-6",
    "right-asymmetric-6",
    "left-symmetric-6",
    "right-symmetric-6",
    "parity-first-6",
];

/// Members are this large: enough that each place of parity comes several times with the smallest of usual chunks.
const MEMBER_KIB: u64 = 3072;

/// An array made by `ashlar create`, synced, and filled; its members and the hash of it all.
fn made(bench: &Bench, level: &str, layout: &str, members: usize) -> (Vec<PathBuf>, String) {
    let name = format!("r{level}-{layout}");
    let members = bench.members(&name, &vec![MEMBER_KIB; members]);
    bench.create(&name, &["--level", level, "--layout", layout, "--chunk", "16K"], &members);
    let running = bench.run(&name, &[], &members);
    let mut client = running.connect();
    let mut content = vec![0; client.size() as usize];
    oracle::pattern::fill(&mut content, 0, layout.len() as u64);
    client.write(0, &content).unwrap();
    proof::shapes::settle(bench, &name);
    running.stop();
    (members, hash(&content))
}

/// Copies of the members, to be spoiled.
fn copies(bench: &Bench, members: &[PathBuf]) -> Vec<PathBuf> {
    let copy = |(number, member): (usize, &PathBuf)| {
        let path = bench.path(&format!("copy.{number}"));
        std::fs::copy(member, &path).unwrap();
        path
    };
    members.iter().enumerate().map(copy).collect()
}

/// Fails the members, and reads the whole content; reads it again from what is left, with and without what was failed.
fn fails(bench: &Bench, members: &[PathBuf], failing: &[usize], expected: &str) {
    let copies = copies(bench, members);
    let running = bench.run("integ", &[], &copies);
    failing.iter().for_each(|&member| bench.fail("integ", &copies[member]));
    let what = format!("{} without {failing:?}", members[0].display());
    assert_eq!(hash(&running.connect().content()), expected, "{what}");
    running.stop();
    assert_eq!(hash(&bench.cat(&copies)), expected, "{what}, stopped");
    let left = (0..members.len()).filter(|at| !failing.contains(at)).map(|at| members[at].clone());
    assert_eq!(hash(&bench.cat(&left.collect::<Vec<_>>())), expected, "{what}, which were never failed");
}

#[test]
fn mdadm_01r5integ() {
    let bench = Bench::new();
    for layout in R5 {
        let (members, expected) = made(&bench, "5", layout, 4);
        (0..4).for_each(|member| fails(&bench, &members, &[member], &expected));
    }
}

#[test]
fn mdadm_01raid6integ() {
    let bench = Bench::new();
    let failures = (0..5).flat_map(|second| {
        let pairs = (0..second).map(move |first| vec![second, first]);
        [vec![second]].into_iter().chain(pairs)
    });
    let failures: Vec<Vec<usize>> = failures.collect();
    for (number, layout) in RAID6.into_iter().enumerate() {
        let (members, expected) = made(&bench, "6", layout, 5);
        // The fifteen failures of thirteen layouts take minutes: each layout begins elsewhere.
        let every = if left_out::has_time() { 1 } else { 3 };
        for failing in failures.iter().skip(number % every).step_by(every) {
            fails(&bench, &members, failing, &expected);
        }
    }
    if !left_out::has_time() {
        let why = "they take minutes; all are taken with ASHLAR_THOROUGH=1";
        left_out::note("two of three failures of each layout of 01raid6integ", &why);
    }
}

/// The words of the original, of an array that `ashlar` has made: `$1` fails, is removed, and comes back.
const WORDS: &str = r#"
mdadm -A /dev/$MD $DISKS || exit 1
set -- $DISKS
same() { echo 3 > /proc/sys/vm/drop_caches; blockdev --flushbufs /dev/$MD; content /dev/$MD; }
fail() { mdadm /dev/$MD --fail $1 && mdadm /dev/$MD --remove $1 && same || exit 2; }
add() { mdadm /dev/$MD --add $1 || exit 3; }
back() {
  tries=0
  until [ "$(of degraded)" = $1 ] || [ $tries = 600 ]; do sleep 0.1; tries=$((tries + 1)); done
  is degraded $1 || exit 4
}
"#;

#[test]
fn mdadm_01r5integ_under_the_kernel() {
    let script = format!(
        "{WORDS}for disk in $@; do fail $disk; add $disk; back 0; done\nscrub || exit 5; mdadm --stop /dev/$MD"
    );
    under_the_kernel("5", &R5, 4, &script, 4);
}

#[test]
fn mdadm_01raid6integ_under_the_kernel() {
    // Thirteen layouts of fifteen recoveries each: too long for every day.
    let layouts = match left_out::has_time() {
        true => &RAID6[..],
        false => {
            let why = "it takes minutes; `cargo xtask oracle test` takes all";
            left_out::note("most layouts of 01raid6integ under the kernel", &why);
            &["left-symmetric", "ddf-N-continue", "right-symmetric-6"]
        }
    };
    let script = format!(
        "{WORDS}done=\nfor second in $@; do fail $second\n\
         for first in $done; do fail $first; add $first; back 1; done\n\
         add $second; back 0; done=\"$done $second\"; done\nscrub || exit 5; mdadm --stop /dev/$MD"
    );
    under_the_kernel("6", layouts, 5, &script, 5 + 10);
}

/// Runs the script over arrays of `ashlar`'s, in each of these layouts; it reads the content so many times.
fn under_the_kernel(level: &str, layouts: &[&str], members: usize, script: &str, times: usize) {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let arrays: Vec<_> = layouts.iter().map(|layout| made(&bench, level, layout, members)).collect();
    let jobs: Vec<Job> = std::iter::zip(layouts, &arrays)
        .map(|(layout, (disks, _))| Job {
            name: format!("raid{level} {layout}"),
            disks: disks.clone(),
            script: script.to_owned(),
        })
        .collect();
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for ((layout, (_, expected)), printed) in std::iter::zip(layouts, &arrays).zip(&printed) {
        assert_eq!(hashes(printed), vec![expected.as_str(); times], "raid{level} {layout}: {printed}");
    }
}
