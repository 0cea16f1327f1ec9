//! Managing what runs, as a person does it: members that fail, come, come back and are replaced, and everything compared.

mod common;

use common::Bench;
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn members(status: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let members = status["arrays"][0]["members"].as_array().unwrap();
    members.iter().map(|member| (text(&member["name"]), text(&member["state"]))).collect()
}

fn state_of(bench: &Bench, name: &str) -> String {
    let all = members(&bench.status("data"));
    all.into_iter().find(|(known, _)| known.rsplit('/').next() == Some(name)).unwrap().1
}

#[test]
fn a_disk_that_is_added_takes_the_place_of_one_that_has_failed() {
    let bench = Bench::new();
    bench.disks(["a", "b", "c", "d"], 16 * MIB);
    bench.ok("create data --level 5 --assume-clean --homehost none a b c");
    let mut serving = bench.serve("run a b c --nbd ./sock", "data");
    bench.write("data", 7);
    bench.ok("fail data b");
    bench.refused("wait data", &["2 of 3 members", "no spare"]);
    let said = bench.ok("add data d");
    assert_eq!(said, "d is a spare\n");
    bench.ok("wait data");
    assert_eq!(state_of(&bench, "d"), "in_sync");
    bench.refused("add data d", &["is a member already"]);
    bench.ok("remove data b");
    let said = bench.ok("scrub data");
    assert!(said.contains("everything agrees"), "{said}");
    assert!(bench.log().contains("d is in sync in slot 1"), "{}", bench.log());
    bench.ok("stop data");
    assert_eq!(serving.wait(), Some(0));
    let content = bench.ok("cat a d --length 1M");
    assert!(content.bytes().all(|byte| byte == 7), "what was written is there without the first disks");
}

#[test]
fn a_disk_that_holds_something_is_added_only_when_told() {
    let bench = Bench::new();
    bench.mirror();
    bench.disks(["c", "other"], 8 * MIB);
    bench.ok("create elsewhere --level 1 --assume-clean --homehost none other missing");
    bench.poke("c", 0x438, &[0x53, 0xef]);
    let before = [bench.print_of("c"), bench.print_of("other")];
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    bench.refused("add data c", &["ext2", "--overwrite"]);
    bench.refused("add data other", &["a member of another array", "--overwrite"]);
    bench.refused("add data nowhere", &["nowhere"]);
    bench.disks(["small"], MIB);
    bench.refused("add data small", &["sectors for data", "needs"]);
    assert_eq!([bench.print_of("c"), bench.print_of("other")], before, "nothing was written to them");
    bench.ok("add data c --overwrite");
    assert_eq!(state_of(&bench, "c"), "spare");
}

#[test]
fn a_member_that_was_away_is_back_with_what_it_has_missed() {
    let bench = Bench::new();
    bench.disks(["a", "b"], 16 * MIB);
    bench.ok("create data --level 1 --bitmap internal --bitmap-chunk 64K --assume-clean --homehost none a b");
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    bench.write("data", 1);
    bench.ok("fail data b");
    bench.write("data", 2);
    bench.refused("add data b", &["is a member already"]);
    bench.ok("remove data b");
    let said = bench.ok("add data b");
    assert!(said.contains("is back for slot 1"), "{said}");
    bench.ok("wait data");
    assert_eq!(state_of(&bench, "b"), "in_sync");
    let said = bench.ok("scrub data");
    assert!(said.contains("everything agrees"), "{said}");
}

#[test]
fn a_member_is_replaced_by_the_spare_that_was_named() {
    let bench = Bench::new();
    bench.disks(["a", "b", "c", "d"], 16 * MIB);
    bench.ok("create data --level 1 --assume-clean --homehost none a b");
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    bench.refused("replace data a", &["no spare"]);
    bench.ok("add data c d");
    bench.refused("replace data a --with b", &["no spare"]);
    bench.ok("replace data a --with d");
    bench.ok("wait data");
    assert_eq!(
        ["a", "b", "c", "d"].map(|name| state_of(&bench, name)),
        ["faulty", "in_sync", "spare", "in_sync"]
    );
    bench.ok("remove data a");
    assert!(!bench.ok("status data --mdstat").contains(" a["), "nothing speaks of it any more");
}

#[test]
fn a_scrub_says_where_and_who() {
    let bench = Bench::new();
    bench.disks(["a", "b", "c", "d", "e"], 16 * MIB);
    bench.ok("create data --level 6 --chunk 64K --assume-clean --homehost none a b c d e");
    let serving = bench.serve("run a b c d e --nbd ./sock", "data");
    bench.write("data", 9);
    bench.ok("stop data");
    drop(serving);
    let offset = 2048 * 512;
    bench.poke("c", offset + 8192, &[0x5a; 4096]);
    let _serving = bench.serve("run a b c d e --nbd ./sock", "data");
    let said = bench.ok("scrub data");
    assert!(said.contains("member bytes 8192 to 12288: c is wrong"), "{said}");
    let found: Value = serde_json::from_str(&bench.ok("scrub data --repair --json")).unwrap();
    assert_eq!(
        (&found["mismatched_bytes"], &found["repaired_bytes"]),
        (&Value::from(4096), &Value::from(4096))
    );
    assert!(bench.ok("scrub data").contains("everything agrees"));
}

#[test]
fn what_is_synced_can_be_held_up_and_bounded() {
    let bench = Bench::new();
    bench.disks(["a", "b", "c"], 64 * MIB);
    bench.ok("create data --level 1 --assume-clean --homehost none a b");
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    bench.misused("sync data", "required");
    bench.ok("sync data --speed-max 2M");
    bench.ok("fail data b");
    bench.ok("add data c");
    while state_of(&bench, "c") != "recovering" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    bench.ok("sync data pause");
    let status = bench.status("data");
    assert_eq!(status["arrays"][0]["sync"], serde_json::json!({"action": "pending", "of": "recover"}));
    assert!(bench.ok("status data").contains("it is forbidden"), "{}", bench.ok("status data"));
    bench.ok("sync data --speed-max 0");
    bench.ok("sync data resume");
    bench.ok("wait data");
    assert_eq!(state_of(&bench, "c"), "in_sync");
}

/// Slot by slot, with the reason for whoever is out; and what a scrub has found is known when nobody runs any more.
#[test]
fn status_tells_who_is_where_and_why_and_when_everything_was_compared_last() {
    let bench = Bench::new();
    bench.disks(["a", "b", "c"], 8 * MIB);
    bench.ok("create data --level 1 --assume-clean --homehost none a b");
    let mut serving = bench.serve("run a b --nbd ./sock", "data");
    bench.ok("add data c");
    bench.ok("replace data a");
    bench.ok("wait data");
    let states = members(&bench.status("data"));
    let expected = [("c", "in_sync"), ("b", "in_sync"), ("a", "faulty")];
    let states: Vec<(&str, &str)> =
        states.iter().map(|(name, state)| (name.rsplit('/').next().unwrap(), state.as_str())).collect();
    assert_eq!(states, expected);
    let said = bench.ok("status data");
    assert!(said.contains("FAULTY (replaced by ") && !said.contains("last check"), "{said}");
    bench.ok("sync data --from 1M --to 3M --max-read-errors 5");
    let said = bench.ok("scrub data");
    assert!(said.contains("last check of 2 MiB from byte 1048576 on waits at its bound"), "{said}");
    bench.refused("sync data --from 4M", &["end before it begins"]);
    // It waits at its bound until it is told to end, which it does in a moment.
    bench.ok("sync data idle");
    let is_told = |_| bench.ok("status data").contains("from byte 1048576 on was ended early at");
    assert!((0..200).any(is_told), "{}", bench.ok("status data"));
    bench.ok("sync data --from 1M --to 3M");
    bench.ok("scrub data");
    bench.ok("sync data --to 0");
    bench.ok("wait data");
    assert!(bench.ok("status data").contains("from byte 1048576 on ended at"));
    assert_eq!(bench.status("data")["arrays"][0]["max_read_errors"], 5);
    let found = bench.status("data")["arrays"][0]["scrub"].clone();
    bench.ok("stop data");
    assert_eq!(serving.wait(), Some(0));
    let _serving = bench.serve("run b c --nbd ./sock", "data");
    assert_eq!(bench.status("data")["arrays"][0]["scrub"], found, "it is kept beyond the run");
    assert!(bench.ok("status data").contains("from byte 1048576 on ended at"));
}

#[test]
fn an_array_is_changed_while_it_runs_and_what_cannot_be_is_refused() {
    let bench = Bench::new();
    bench.disks(["a", "b"], 16 * MIB);
    bench.ok("create data --level 1 --size 4M --assume-clean --homehost none a b");
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    assert_eq!(
        bench.ok("grow data --bitmap internal --bitmap-chunk 64K"),
        "data: has a bitmap, 64 chunks of 64 KiB\n"
    );
    bench.refused("grow data --bitmap internal", &["a bitmap already", "--bitmap none"]);
    bench.refused("grow data --consistency ppl", &["another level than raid5"]);
    bench.refused("grow data --consistency resync", &["no partial parity log"]);
    bench.refused("grow data --size 1M", &["none is made smaller"]);
    bench.refused("grow data --size 100M", &["sectors for data"]);
    bench.refused("grow data --raid-devices 1", &["2 members are in use"]);
    bench.refused("grow data --raid-devices 99", &["from 1 to 16"]);
    assert_eq!(bench.ok("grow data --size 8M"), "data: has 8 MiB\n");
    assert_eq!(bench.ok("grow data --raid-devices 3"), "data: has 3 slots, 2 in sync\n");
    assert_eq!(bench.ok("grow data --bitmap none"), "data: has no bitmap\n");
    bench.refused("grow data --bitmap none", &["has no bitmap"]);
    bench.misused("grow data", "--bitmap");
    bench.misused("grow data --size max --raid-devices 2", "cannot be used with");
    bench.misused("grow data --assume-clean --raid-devices 2", "--size");
    bench.misused("grow data --bitmap none --bitmap-chunk 64K", "--bitmap internal");
    bench.misused("grow data --bitmap internal --bitmap-chunk 3K", "power of two");
}
