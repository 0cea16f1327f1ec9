//! Changing the metadata of an array that does not run: what is said, what is refused, and the way back.

mod common;

use common::Bench;

fn contents(bench: &Bench) -> [Vec<u8>; 2] {
    ["a", "b"].map(|name| std::fs::read(bench.path().join(name)).unwrap())
}

/// Runs `line`, which must be refused with these words and change nothing.
fn refuses(bench: &Bench, line: &str, words: &[&str]) {
    let before = contents(bench);
    bench.refused(line, words);
    assert!(before == contents(bench), "ashlar {line} has changed a member");
}

/// Every key that help names, with a value where it needs one.
#[test]
fn help_names_every_key() {
    let bench = Bench::new();
    let help = bench.ok("update --help");
    let known = bench.ashlar("update a --set nothing");
    let keys = known.err.split("is none of ").nth(1).unwrap().trim();
    for key in keys.split(", ") {
        assert!(help.contains(key), "{key} is not in the help");
    }
}

#[test]
fn a_plan_changes_nothing_and_an_update_says_what_it_changed() {
    let bench = Bench::new();
    bench.mirror();
    let before = contents(&bench);
    let plan = bench.ok("update b a --set name=other --set homehost=h --plan");
    assert!(plan.contains("would be changed") && plan.contains("name: data -> h:other"), "{plan}");
    let plan: serde_json::Value =
        serde_json::from_str(&bench.ok("update a b --set resync --plan --json")).unwrap();
    assert_eq!((&plan["written"], &plan["snapshot"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(plan["members"][1]["writes"][0]["changes"][0]["after"], "from sector 0");
    assert!(before == contents(&bench) && !bench.path().join("state").exists());

    let done: serde_json::Value =
        serde_json::from_str(&bench.ok("update a b --set name=other --set homehost=h --json")).unwrap();
    assert_eq!((&done["written"], &done["array"]), (&true.into(), &"data".into()));
    let examined: serde_json::Value = serde_json::from_str(&bench.ok("examine a b --json")).unwrap();
    for member in examined["members"].as_array().unwrap() {
        assert_eq!(
            (&member["md"]["name"], &member["md"]["flaw"]),
            (&"h:other".into(), &serde_json::Value::Null)
        );
    }
    bench.ok("cat --list a b");
    let again = bench.ok("update a b --set name=other --set homehost=h");
    assert!(again.contains("nothing to change"), "{again}");
    bench.ok(&format!("undo {}", done["snapshot"].as_str().unwrap()));
    assert!(before == contents(&bench));
}

#[test]
fn an_update_that_lost_the_power_in_between_can_be_undone() {
    let bench = Bench::new();
    bench.disks(["a", "b"], 8 << 20);
    bench.ok("create data --level 1 --assume-clean --homehost none --bitmap internal a b");
    let before = contents(&bench);
    let done = bench.ok("update a b --set uuid");
    assert!(done.contains("uuid: "), "{done}");
    let snapshot = done.split("ashlar undo ").nth(1).unwrap().trim();
    // As if the second member had not been written any more.
    std::fs::write(bench.path().join("b"), &before[1]).unwrap();
    bench.refused("run a b --nbd ./sock", &["of 2 members"]);
    bench.ok(&format!("undo {snapshot}"));
    assert!(before == contents(&bench));
}

#[test]
fn what_runs_or_is_missing_or_stale_is_not_updated() {
    let bench = Bench::new();
    bench.mirror();
    let serving = bench.serve("run a b --nbd ./sock", "data");
    refuses(&bench, "update a b --set resync", &["a: in use", "b: in use"]);
    bench.ok("fail data b");
    bench.ok("stop data");
    drop(serving);
    refuses(&bench, "update a b --set resync", &["b is no part of it", "stale", "--degraded"]);
    refuses(&bench, "update a --set resync", &["1 of 2 members", "--degraded"]);
    bench.ok("update a --set resync --degraded");
    bench.disks(["c", "d", "e"], 8 << 20);
    refuses(&bench, "update a c --set resync", &["c: no md superblock"]);
    bench.ok("create other --level 1 --assume-clean d e");
    refuses(&bench, "update a d e --set resync --degraded", &["several arrays", "one at a time"]);
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    let bench = Bench::new();
    bench.mirror();
    bench.misused("update a b", "--set");
    bench.misused("update a b --set nam=x", "is none of name");
    bench.misused("update a b --set uuid=12", "32 hexadecimal digits");
    bench.misused("update a b --set write-mostly=c", "c is not among the members");
    bench.misused("update a b --set resync --set metadata", "alone");
    refuses(&bench, "update a b --set ppl", &["ppl", "raid5"]);
    refuses(&bench, "update a b --set super-minor=3", &["super-minor", "only for metadata 0.90"]);
    refuses(&bench, "update a b --set layout-original", &["only for raid0", "raid1"]);
    refuses(&bench, "update a b --set metadata", &["only for metadata 0.90", "1.2"]);
}

#[test]
fn flags_of_a_member_are_changed_and_shown() {
    let bench = Bench::new();
    for version in ["0.90", "1.2"] {
        let [a, b] = bench.disks([&format!("a{version}"), &format!("b{version}")], 8 << 20);
        bench.ok(&format!("create data --level 1 --assume-clean --metadata {version} {a} {b}"));
        bench.ok(&format!("update {a} {b} --set write-mostly={b} --set failfast={a}"));
        let flags = |line: &str| -> Vec<serde_json::Value> {
            let examined: serde_json::Value = serde_json::from_str(&bench.ok(line)).unwrap();
            examined["members"]
                .as_array()
                .unwrap()
                .iter()
                .map(|member| member["md"]["flags"].clone())
                .collect()
        };
        let all = flags(&format!("examine {a} {b} --json"));
        assert_eq!(all, [serde_json::json!(["failfast"]), serde_json::json!(["write-mostly"])], "{version}");
        bench.ok(&format!("update {a} {b} --set readwrite={b} --set nofailfast={a}"));
        let all = flags(&format!("examine {a} {b} --json"));
        assert_eq!(all, [serde_json::json!([]), serde_json::json!([])], "{version}");
    }
}

#[test]
fn members_that_have_grown_can_give_more() {
    let bench = Bench::new();
    bench.mirror();
    for name in ["a", "b"] {
        std::fs::File::options()
            .write(true)
            .open(bench.path().join(name))
            .unwrap()
            .set_len(16 << 20)
            .unwrap();
    }
    let said = bench.ok("update a b --set devicesize");
    assert!(said.contains("sectors for data: 14336 -> 30720"), "{said}");
    let _serving = bench.serve("run a b --nbd ./sock", "data");
}

#[test]
fn old_metadata_becomes_1_0_and_comes_back() {
    let bench = Bench::new();
    bench.disks(["a", "b"], 8 << 20);
    bench.ok("create data --level 1 --assume-clean --metadata 0.90 a b");
    let before = contents(&bench);
    let done = bench.ok("update a b --set metadata");
    assert!(done.contains("metadata: 0.90 -> 1.0"), "{done}");
    let examined: serde_json::Value = serde_json::from_str(&bench.ok("examine a b --json")).unwrap();
    assert_eq!(examined["arrays"][0]["version"], "1.0");
    assert_eq!(examined["members"][0]["md"]["leftovers"], serde_json::json!(["0.90"]));
    let _serving = bench.serve("run a b --nbd ./sock --name converted", "converted");
    bench.ok("stop converted");
    bench.ok(&format!("undo {}", done.split("ashlar undo ").nth(1).unwrap().trim()));
    assert!(before == contents(&bench));
}
