//! What mdadm's own tests of the write journal ask of the kernel, asked of `ashlar`, each under the name it has there.
//!
//! What the kernel had in its journal alone is asked of `ashlar` in `kernel_journal.rs`.

mod proof;

use std::path::PathBuf;

use proof::{Bench, Running};

const MIB: u64 = 1 << 20;

/// raid5 of three with a journal, the last of the disks.
fn made(bench: &Bench, name: &str, level: &str, slots: usize) -> Vec<PathBuf> {
    let mut members = bench.members(name, &vec![8192; slots]);
    members.extend(bench.members(&format!("{name}.journal"), &[4096]));
    let journal = members[slots].to_str().unwrap();
    bench.create(name, &["--level", level, "--write-journal", journal], &members[..slots]);
    members
}

/// What `status` says of the journal's disk.
fn journal_state(bench: &Bench, name: &str) -> String {
    let array = bench.array(name);
    let members = array["members"].as_array().unwrap().clone();
    let journal = members.into_iter().find(|member| member["slot"].is_null()).unwrap();
    journal["state"].as_str().unwrap().to_owned()
}

fn refused(bench: &Bench, words: &[&str], members: &[PathBuf]) -> String {
    let words = words.iter().map(PathBuf::from).chain(members.iter().cloned());
    let output = bench.ashlar(words);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn fill(running: &Running, at: u64, count: usize, seed: u64) -> Vec<u8> {
    let mut client = running.connect();
    client.fill(at, count, seed);
    client.flush().unwrap();
    client.content()
}

#[test]
fn an_array_is_made_with_its_journal_and_shows_it_20raid5journal() {
    let bench = Bench::new();
    for (name, level, slots) in [("five", "5", 3), ("four", "4", 3), ("six", "6", 4)] {
        let members = made(&bench, name, level, slots);
        let examined = bench.examined(&members);
        assert_eq!(examined[slots]["role"], "journal", "{examined:?}");
        let running = bench.run(name, &[], &members);
        assert_eq!(journal_state(&bench, name), "journal");
        assert_eq!(bench.array(name)["journal"]["mode"], "write-through");
        let content = fill(&running, MIB, 300 << 10, 7);
        running.stop();
        assert!(bench.cat(&members) == content);
        assert!(bench.cat(&members[..slots]) == content, "written through");
    }
}

#[test]
fn without_its_journal_an_array_is_read_and_not_written_20raid5journal() {
    let bench = Bench::new();
    let members = made(&bench, "m", "5", 3);
    let running = bench.run("m", &[], &members);
    let content = fill(&running, 0, MIB as usize, 3);
    running.stop();
    let before: Vec<Vec<u8>> = members.iter().map(|member| std::fs::read(member).unwrap()).collect();
    let said = refused(&bench, &["run", "--nbd", "./never.sock"], &members[..3]);
    assert!(said.contains("journal is missing"), "{said}");
    assert!(bench.cat(&members[..3]) == content);
    let after: Vec<Vec<u8>> = members.iter().map(|member| std::fs::read(member).unwrap()).collect();
    assert!(before == after, "nothing was written");
    let running = bench.run("m", &[], &members);
    assert!(fill(&running, MIB, 4096, 4)[..MIB as usize] == content[..MIB as usize]);
    running.stop();
}

#[test]
fn a_journal_that_has_failed_makes_writes_fail_and_is_left_out_20raid5journal() {
    let bench = Bench::new();
    let members = made(&bench, "m", "5", 3);
    let running = bench.run("m", &[], &members);
    let content = fill(&running, 0, MIB as usize, 3);
    bench.fail("m", &members[3]);
    assert_eq!(journal_state(&bench, "m"), "faulty");
    let mut client = running.connect();
    client.write(0, &[1; 4096]).unwrap_err();
    client.flush().unwrap();
    assert!(client.content() == content);
    running.stop();
    let said = refused(&bench, &["run", "--nbd", "./never.sock"], &members);
    assert!(said.contains("journal is missing"), "{said}");
    assert!(bench.cat(&members) == content);
}

/// Clients write before and after members fail; then the power is gone.
fn killed_with_members_failed(mode: &str) {
    let bench = Bench::new();
    for (name, level, slots, failed) in [("five", "5", 3, 1), ("six", "6", 4, 2)] {
        let members = made(&bench, name, level, slots);
        let running = bench.run(name, &["--journal-mode", mode], &members);
        bench.wait_until(name, |array| array["sync"]["action"] == "idle");
        fill(&running, 0, 2 * MIB as usize, 5);
        let mut client = running.connect();
        for at in 0..100 {
            client.fill(at * 13 * 512, 3 * 512, 100 + at);
        }
        for member in &members[..failed] {
            bench.fail(name, member);
        }
        // Whole stripes and parts of blocks, of members that are there and of those that are not.
        client.fill(MIB, 300 << 10, 6);
        for at in 0..50 {
            client.fill(at * 5 * 512, 3 * 512, 8 + at);
        }
        client.flush().unwrap();
        let content = client.content();
        running.kill();
        assert!(bench.cat(&members[failed..]) == content, "{name}");
        let running = bench.run(name, &["--degraded", "--journal-mode", mode], &members[failed..]);
        assert!(running.connect().content() == content, "{name}, served");
        running.stop();
    }
}

#[test]
fn what_went_through_the_journal_is_there_with_members_failed_21raid5cache() {
    killed_with_members_failed("write-through");
}

#[test]
fn what_was_answered_by_the_journal_is_there_with_members_failed_21raid5cache() {
    killed_with_members_failed("write-back");
}

#[test]
fn the_mode_is_asked_for_shown_and_changed_21raid5cache() {
    let bench = Bench::new();
    let members = made(&bench, "m", "5", 3);
    let running = bench.run("m", &["--journal-mode", "write-back"], &members);
    bench.wait_until("m", |array| array["sync"]["action"] == "idle");
    let mut client = running.connect();
    client.fill(0, 4096, 3);
    let shown = bench.array("m")["journal"].clone();
    assert_eq!((&shown["mode"], &shown["cached_bytes"]), (&"write-back".into(), &4096.into()));
    let text = String::from_utf8(bench.manage(&["status", "m"])).unwrap();
    assert!(text.contains("journal: write-back") && text.contains("4 KiB on no member yet"), "{text}");
    let said = String::from_utf8(bench.manage(&["grow", "m", "--journal-mode", "write-through"])).unwrap();
    assert!(said.contains("is served write-through"), "{said}");
    assert_eq!(bench.array("m")["journal"]["cached_bytes"], 0);
    client.fill(8192, 4096, 4);
    assert_eq!(bench.array("m")["journal"]["cached_bytes"], 0);
    bench.manage(&["grow", "m", "--journal-mode", "write-back"]);
    client.fill(16_384, 4096, 5);
    let content = client.content();
    running.stop();
    assert!(bench.cat(&members[..3]) == content, "a stop leaves nothing in the journal alone");
    // The file says so too.
    let list: Vec<String> =
        members.iter().map(|member| format!("{:?}", member.display().to_string())).collect();
    let text = format!(
        "version = 1\nname = \"m\"\nmembers = [{}]\njournal-mode = \"write-back\"\n",
        list.join(", ")
    );
    let file = bench.path("m.toml");
    std::fs::write(&file, text).unwrap();
    let running = bench.run("m", &[], &[file]);
    assert_eq!(bench.array("m")["journal"]["mode"], "write-back");
    running.stop();
}

#[test]
fn an_array_without_a_journal_has_no_mode() {
    let bench = Bench::new();
    let members = bench.members("m", &[8192; 3]);
    bench.create("m", &["--level", "5"], &members);
    let running = bench.run("m", &[], &members);
    let run = bench.path("run");
    let words = ["grow", "m", "--journal-mode", "write-back", "--run-dir"];
    let output = bench.ashlar(words.map(PathBuf::from).into_iter().chain([run]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("no write journal"), "{said}");
    running.stop();
}

#[test]
fn a_journal_is_added_instead_of_one_that_failed_20raid5journal() {
    let bench = Bench::new();
    let members = made(&bench, "m", "5", 3);
    let other = bench.members("other", &[4096]).remove(0);
    let running = bench.run("m", &["--journal-mode", "write-back"], &members);
    // Where parity is not known to be right yet, nothing is kept.
    bench.wait_until("m", |array| array["sync"]["action"] == "idle");
    let mut client = running.connect();
    client.fill(0, MIB as usize, 3);
    client.fill(5 * 4096, 4096, 4);
    bench.fail("m", &members[3]);
    client.write(0, &[1; 4096]).unwrap_err();
    bench.manage(&["remove".as_ref(), "m".as_ref(), members[3].as_os_str()]);
    let words = |disk: &PathBuf| {
        ["add", "m", "--journal"].map(PathBuf::from).into_iter().chain([disk.clone()]).collect()
    };
    let words: Vec<PathBuf> = words(&other);
    let said = String::from_utf8(bench.manage(&words)).unwrap();
    assert!(said.contains("is the write journal"), "{said}");
    client.fill(9 * 4096, 4096, 5);
    assert_eq!(bench.array("m")["journal"]["cached_bytes"], 4096);
    let content = client.content();
    running.kill();
    let now = [&members[..3], &[other]].concat();
    let examined = bench.examined(&now);
    assert_eq!(examined[3]["role"], "journal", "{examined:?}");
    assert!(bench.cat(&now) == content);
    let running = bench.run("m", &[], &now);
    assert!(running.connect().content() == content);
    running.stop();
}

#[test]
fn an_array_that_was_stopped_and_lost_its_journal_gets_another_one_20raid5journal() {
    let bench = Bench::new();
    let members = made(&bench, "m", "5", 3);
    let other = bench.members("other", &[4096]).remove(0);
    let running = bench.run("m", &[], &members);
    let content = fill(&running, 0, MIB as usize, 3);
    running.stop();
    let state = bench.path("state");
    let state = ["--state-dir", state.to_str().unwrap()];
    let update = |members: &[PathBuf]| {
        let words = ["update", "--set", "no-journal"].iter().chain(&state).copied();
        refused_or_not(&bench, &words.collect::<Vec<_>>(), members)
    };
    let said = update(&members).unwrap_err();
    assert!(said.contains("is not lost"), "{said}");
    update(&members[..3]).unwrap();
    let running = bench.run("m", &[], &members[..3]);
    assert_ne!(bench.array("m")["sync"]["action"], "idle", "what was lost is not known");
    bench.wait_until("m", |array| array["sync"]["action"] == "idle");
    bench.manage(&["add".as_ref(), "m".as_ref(), "--journal".as_ref(), other.as_os_str()]);
    let mut client = running.connect();
    assert!(client.content() == content);
    client.fill(MIB, 40_000, 4);
    let content = client.content();
    running.stop();
    assert!(bench.cat(&[&members[..3], &[other]].concat()) == content);
}

/// Runs a command over members: what it says when it fails.
fn refused_or_not(bench: &Bench, words: &[&str], members: &[PathBuf]) -> Result<(), String> {
    let words = words.iter().map(PathBuf::from).chain(members.iter().cloned());
    let output = bench.ashlar(words);
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[test]
fn a_journal_comes_and_goes_while_it_runs() {
    let bench = Bench::new();
    let members = bench.members("m", &[8192; 3]);
    bench.create("m", &["--level", "5", "--bitmap", "none"], &members);
    let journal = bench.members("journal", &[4096]).remove(0);
    let running = bench.run("m", &[], &members);
    let mut client = running.connect();
    client.fill(0, MIB as usize, 3);
    let add = ["add".as_ref(), "m".as_ref(), "--journal".as_ref(), journal.as_os_str()];
    bench.manage(&add);
    assert_eq!(bench.array("m")["journal"]["mode"], "write-through");
    client.fill(MIB, 40_000, 4);
    let said = String::from_utf8(bench.manage(&["grow", "m", "--remove-journal"])).unwrap();
    assert!(said.contains("has no journal"), "{said}");
    client.fill(2 * MIB, 40_000, 5);
    let content = client.content();
    let run = bench.path("run");
    let words = add.iter().map(|word| word.to_os_string());
    let again = bench.ashlar(words.chain(["--run-dir".into(), run.into_os_string()]));
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(!again.status.success() && said.contains("a member of this array"), "{said}");
    running.stop();
    assert!(bench.cat(&members) == content);
    // A disk that was the journal is no member of anything.
    let all = [&members[..], &[journal]].concat();
    let running = bench.run("m", &[], &all);
    assert!(bench.array("m")["journal"].is_null());
    assert!(running.connect().content() == content);
    running.stop();
}
