//! What mdadm's own tests of the write journal ask of the kernel, asked of `ashlar`, each under the name it has there.
//!
//! Left out, until there is something to ask: adding a journal to an array that lost its own (20raid5journal), and answering
//! from the journal alone (21raid5cache); what the kernel had in its journal alone is asked of `ashlar` in `kernel_journal.rs`.

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

#[test]
fn what_went_through_the_journal_is_there_with_members_failed_21raid5cache() {
    let bench = Bench::new();
    for (name, level, slots, failed) in [("five", "5", 3, 1), ("six", "6", 4, 2)] {
        let members = made(&bench, name, level, slots);
        let running = bench.run(name, &[], &members);
        bench.wait_until(name, |array| array["sync"]["action"] == "idle");
        fill(&running, 0, 2 * MIB as usize, 5);
        for member in &members[..failed] {
            bench.fail(name, member);
        }
        // Whole stripes and parts of blocks, of members that are there and of those that are not.
        let mut client = running.connect();
        client.fill(MIB, 300 << 10, 6);
        for at in 0..50 {
            client.fill(at * 5 * 512, 3 * 512, 8 + at);
        }
        client.flush().unwrap();
        let content = client.content();
        running.kill();
        assert!(bench.cat(&members[failed..]) == content, "{name}");
        let running = bench.run(name, &["--degraded"], &members[failed..]);
        assert!(running.connect().content() == content, "{name}, served");
        running.stop();
    }
}
