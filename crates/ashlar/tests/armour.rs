//! Armour: each piece is on, or it is said that it is not; and who is confined reaches no further.

mod proof;

use std::fs;
use std::path::PathBuf;

use proof::{Bench, Running};

fn members(bench: &Bench) -> Vec<PathBuf> {
    let members = bench.members("m", &[8192; 4]);
    bench.create("m", &["-l", "raid1", "--bitmap", "internal"], &members);
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

fn pid(bench: &Bench) -> u64 {
    let status: serde_json::Value =
        serde_json::from_slice(&bench.manage(&["status", "m", "--json"])).unwrap();
    status["pid"].as_u64().unwrap()
}

#[test]
fn every_piece_is_on_or_its_lack_is_said_once() {
    let bench = Bench::new();
    let members = members(&bench);
    let running = bench.run("m", &[], &members);
    let (pieces, said) = (pieces(&bench), running.said());
    let names: Vec<&str> = pieces.iter().map(|(piece, _, _)| piece.as_str()).collect();
    assert_eq!(names, ["io-flusher", "oom-score", "memory-locked", "direct-io", "landlock", "seccomp"]);
    for (piece, on, why) in &pieces {
        let warnings = said.matches(&format!("warning: armour: no {piece} ")).count();
        assert_eq!((warnings, why.is_some()), (usize::from(!on), !on), "{piece}: {said}");
    }
    let on = |name: &str| pieces.iter().any(|(piece, on, _)| piece == name && *on);
    let pid = pid(&bench);
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
    let members = members(&bench);
    let running = bench.run("m", &["--armour", "off"], &members);
    assert!(pieces(&bench).is_empty() && !running.said().contains("armour"), "{}", running.said());
    assert!(String::from_utf8(bench.manage(&["status", "m"])).unwrap().contains("armour: none"));
    running.stop();
}

#[test]
fn a_piece_that_nobody_wants_is_left_off_and_shown_without_a_warning() {
    let bench = Bench::new();
    let members = members(&bench);
    let words = ["--armour-without", "seccomp", "--armour-without", "memory-locked"];
    let running = bench.run("m", &words, &members);
    for (piece, on, why) in pieces(&bench) {
        if piece == "seccomp" || piece == "memory-locked" {
            assert_eq!((on, why.as_deref()), (false, Some("left off, as asked")), "{piece}");
            assert!(!running.said().contains(&format!("no {piece}")), "{}", running.said());
        }
    }
    running.stop();
}

/// Whether this machine's kernel has Landlock; if not, the test is written down as left out.
fn is_confined(bench: &Bench, running: &Running) -> bool {
    let on = pieces(bench).iter().any(|(piece, on, _)| piece == "landlock" && *on);
    if !on {
        oracle::left_out::record("what a confined stack reaches", &running.said());
    }
    on
}

#[test]
fn every_thread_of_a_confined_stack_is_bound() {
    for driver in ["uring", "threads"] {
        let bench = Bench::new();
        let members = members(&bench);
        let running = bench.run("m", &["--driver", driver, "--program", "/bin/true"], &members);
        let mut threads = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", pid(&bench))).unwrap() {
            let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
            assert_eq!((line("Seccomp:"), line("NoNewPrivs:")), ("2", "1"), "{status}");
            threads += 1;
        }
        assert!(threads > 4, "{threads}");
        running.stop();
    }
}

#[test]
fn a_confined_stack_opens_disks_beside_its_own_and_no_others() {
    let (bench, elsewhere) = (Bench::new(), Bench::new());
    let members = members(&bench);
    let [beside, far] = [&bench, &elsewhere].map(|bench| bench.members("new", &[8192]).remove(0));
    let running = bench.run("m", &[], &members);
    if !is_confined(&bench, &running) {
        return;
    }
    bench.manage(&["add".as_ref(), "m".as_ref(), beside.as_os_str()]);
    let run_dir = bench.path("run");
    let words = ["add".as_ref(), "m".as_ref(), far.as_os_str(), "--run-dir".as_ref(), run_dir.as_os_str()];
    let refused = bench.ashlar(words);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("--armour-without landlock"), "{said}");
    running.stop();

    let running = bench.run("m", &["--armour-without", "landlock"], &[&members[..], &[beside]].concat());
    bench.manage(&["add".as_ref(), "m".as_ref(), far.as_os_str()]);
    running.stop();
}
