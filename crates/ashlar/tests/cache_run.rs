//! Caches that are run and managed, with the real binary: what was written is there, wherever it lies, and nothing is run whose
//! newest data may be elsewhere.

mod common;

use std::fs;

use common::{Bench, Serving};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Where the data of a backing device begins.
const DATA: usize = 8 << 10;

/// A cache `c` and a backing device `b` whose volume is `home`.
fn made(mode: &str) -> Bench {
    let bench = Bench::new();
    bench.disks(["c"], 160 * MIB);
    bench.disks(["b"], 32 * MIB);
    bench.ok(&format!("cache create --cache c --bucket 128K --backing b --label home --mode {mode}"));
    bench
}

fn run(bench: &Bench) -> Serving {
    bench.serve("run c b --nbd ./sock", "home")
}

fn volume(bench: &Bench) -> Value {
    bench.status("home")["cached"][0].clone()
}

/// Whether the first MiB of the volume is all that byte, as these disks tell.
fn is(bench: &Bench, disks: &str, byte: u8) -> bool {
    let read = bench.ashlar(&format!("cat --length 1M {disks}"));
    assert_eq!(read.code, Some(0), "{}", read.err);
    read.out.len() as u64 == MIB && read.out.iter().all(|it| *it == byte)
}

/// Whether the first MiB of the backing device's data is all that byte.
fn backing_is(bench: &Bench, byte: u8) -> bool {
    let bytes = fs::read(bench.path().join("b")).unwrap();
    bytes[DATA..DATA + MIB as usize].iter().all(|it| *it == byte)
}

fn stop(bench: &Bench, mut serving: Serving) {
    bench.ok("stop home");
    assert_eq!(serving.wait(), Some(0), "{}", bench.log());
}

#[test]
fn what_is_in_the_cache_is_served_whatever_lies_below_it() {
    for mode in ["writeback", "writethrough"] {
        let bench = made(mode);
        let serving = run(&bench);
        bench.write("home", 7);
        stop(&bench, serving);
        bench.poke("b", DATA as u64, &vec![0xee; MIB as usize]);
        let _serving = run(&bench);
        let read = bench.client("home", async |device, arena| {
            let buf = arena.take(MIB as usize).unwrap();
            device.start(block::Request::read(block::Sectors(0), buf.clone())).await.unwrap();
            let mut read = vec![0; buf.len()];
            buf.copy_to_slice(0, &mut read);
            read
        });
        assert!(read.iter().all(|byte| *byte == 7), "{mode}: poison was read");
    }
}

#[test]
fn a_cache_that_was_just_made_is_used_at_once_and_has_what_was_written() {
    let bench = made("writeback");
    let plan = bench.ok("run --plan c b");
    assert!(plan.contains("an empty set is put on it") && plan.contains("it is attached"), "{plan}");
    let serving = run(&bench);
    bench.write("home", 7);
    let status = bench.status("home");
    assert_eq!(status["caches"][0]["name"], "c");
    assert_eq!(volume(&bench)["cache"], "c");
    assert_eq!(volume(&bench)["backing"], "b");
    assert_eq!(volume(&bench)["mode"], "writeback");
    let text = bench.ok("status home");
    assert!(text.contains("volume home: ") && text.contains("on b, cached by c, writeback"), "{text}");
    stop(&bench, serving);
    assert!(is(&bench, "c b", 7));
    assert!(bench.ok("cache check c").contains("nothing is wrong"));
}

#[test]
fn what_was_flushed_survives_a_process_that_is_killed_in_every_mode() {
    for mode in ["writeback", "writethrough", "writearound", "none"] {
        let bench = made(mode);
        let mut serving = run(&bench);
        bench.write("home", 1);
        bench.write("home", 2);
        serving.kill();
        assert!(is(&bench, "b c", 2), "{mode}");
        let serving = run(&bench);
        assert_eq!(volume(&bench)["mode"], mode);
        bench.write("home", 3);
        stop(&bench, serving);
        assert!(is(&bench, "c b", 3), "{mode}");
        assert!(bench.ok("cache check c").contains("nothing is wrong"), "{mode}");
    }
}

#[test]
fn a_backing_device_is_not_run_without_the_cache_that_it_belongs_to() {
    let bench = made("writeback");
    let mut serving = run(&bench);
    bench.write("home", 4);
    serving.kill();
    let before = [bench.print_of("b"), bench.print_of("c")];
    bench.refused("run b --nbd ./sock", &["its cache, of set", "is not here"]);
    bench.refused("run b --read-only --nbd ./sock", &["its cache, of set", "--accept-stale"]);
    let serving = bench.serve("run b c --read-only --nbd ./sock", "home");
    bench.refused("cache detach home", &["read-only"]);
    bench.client("home", async |device, arena| {
        let buf = arena.take(4096).unwrap();
        device.start(block::Request::read(block::Sectors(8), buf.clone())).await.unwrap();
        let mut bytes = [0; 4096];
        buf.copy_to_slice(0, &mut bytes);
        assert_eq!(bytes, [4; 4096]);
    });
    stop(&bench, serving);
    assert_eq!([bench.print_of("b"), bench.print_of("c")], before, "nothing was written");
}

#[test]
fn a_volume_that_is_detached_needs_its_cache_no_more_and_can_be_attached_again() {
    let bench = made("writeback");
    let serving = run(&bench);
    bench.write("home", 5);
    let said = bench.ok("cache detach home");
    assert_eq!(said, "home: detached; b has everything\n");
    assert_eq!(volume(&bench)["state"], "no cache");
    assert_eq!(volume(&bench)["cache"], Value::Null);
    assert!(backing_is(&bench, 5), "everything was written back");
    bench.refused("cache detach home", &["has no cache"]);
    bench.refused("cache flush home", &["has no cache"]);
    // What is written now goes past the cache, and what that had before is not found again.
    bench.write("home", 6);
    assert!(backing_is(&bench, 6));
    let said = bench.ok("cache attach home");
    assert_eq!(said, "home: attached to c, writeback\n");
    bench.refused("cache attach home", &["has a cache"]);
    assert_eq!(volume(&bench)["state"], "clean");
    bench.client("home", async |device, arena| {
        let buf = arena.take(1 << 20).unwrap();
        device.start(block::Request::read(block::Sectors(0), buf.clone())).await.unwrap();
        let mut bytes = vec![0; 1 << 20];
        buf.copy_to_slice(0, &mut bytes);
        assert!(bytes.iter().all(|byte| *byte == 6), "what the cache had of before is read");
    });
    bench.write("home", 8);
    stop(&bench, serving);
    assert!(is(&bench, "b c", 8));
    assert!(bench.ok("cache check c").contains("nothing is wrong"));
}

#[test]
fn a_detached_volume_is_run_alone() {
    let bench = made("writethrough");
    let serving = run(&bench);
    bench.write("home", 1);
    bench.ok("cache detach home");
    stop(&bench, serving);
    let serving = bench.serve("run b --nbd ./sock", "home");
    bench.write("home", 2);
    assert_eq!(volume(&bench)["cache"], Value::Null);
    bench.refused("cache attach home", &["no cache runs here"]);
    stop(&bench, serving);
    assert!(is(&bench, "b", 2));
}

#[test]
fn what_was_made_apart_is_attached_by_hand() {
    let bench = Bench::new();
    bench.disks(["c"], 160 * MIB);
    bench.disks(["b"], 32 * MIB);
    bench.ok("cache create --cache c --bucket 128K");
    bench.ok("cache create --backing b --label home --mode writeback");
    let serving = run(&bench);
    bench.write("home", 1);
    assert_eq!(volume(&bench)["cache"], Value::Null);
    bench.refused("cache attach home --cache d", &["no cache d", "c"]);
    assert_eq!(bench.ok("cache attach home"), "home: attached to c, writeback\n");
    bench.write("home", 2);
    stop(&bench, serving);
    assert!(is(&bench, "c b", 2));
    bench.refused("run b --nbd ./sock", &["is not here"]);
}

#[test]
fn a_mode_is_recorded_and_holds_from_then_on() {
    let bench = made("writethrough");
    let serving = run(&bench);
    assert_eq!(bench.ok("cache mode home writeback"), "home: writeback\n");
    bench.misused("cache mode home sideways", "sideways");
    bench.refused("cache mode home writeback --volume other", &["no volume of bcache other", "home"]);
    bench.write("home", 9);
    stop(&bench, serving);
    let report: Value = serde_json::from_str(&bench.ok("examine --json b")).unwrap();
    assert_eq!(report["bcache"][0]["backing"]["mode"], "writeback");
    let serving = run(&bench);
    assert_eq!(volume(&bench)["mode"], "writeback");
    bench.ok("cache mode home none");
    bench.write("home", 10);
    bench.ok("cache flush home");
    assert!(backing_is(&bench, 10), "nothing is cached any more");
    stop(&bench, serving);
}

#[test]
fn what_is_flushed_by_hand_is_on_the_backing_device() {
    let bench = made("writeback");
    let mut serving = run(&bench);
    bench.write("home", 11);
    let said = bench.ok("cache flush home");
    assert!(said.starts_with("home: ") && said.ends_with(" written back\n"), "{said}");
    assert_eq!(volume(&bench)["dirty_bytes"], 0);
    assert!(backing_is(&bench, 11));
    serving.kill();
    assert!(is(&bench, "c b", 11));
}

#[test]
fn a_cache_on_a_mirror_and_a_volume_on_parity_are_run_as_one() {
    let bench = Bench::new();
    bench.disks(["c1", "c2"], 100 * MIB);
    bench.disks(["b1", "b2", "b3"], 16 * MIB);
    bench.ok("create fast --level 1 --assume-clean --homehost none c1 c2");
    bench.ok("create slow --level 5 --assume-clean --homehost none b1 b2 b3");
    let serving = bench.serve("run c1 c2 b1 b2 b3 --name first --nbd ./sock", "first");
    bench.ok(
        "cache create --cache nbd+unix:///fast?socket=sock --bucket 128K --backing nbd+unix:///slow?socket=sock \
         --label home --mode writeback",
    );
    bench.ok("stop first");
    drop(serving);
    let mut serving = bench.serve("run b3 c2 b1 c1 b2 --nbd ./sock", "home");
    let status = bench.status("home");
    assert_eq!(status["arrays"].as_array().map(Vec::len), Some(2));
    assert_eq!(volume(&bench)["backing"], "array slow");
    assert_eq!(volume(&bench)["cache"], "array fast");
    bench.write("home", 12);
    bench.ok("fail home c2");
    bench.ok("fail home b2");
    bench.write("home", 13);
    bench.ok("stop home");
    assert_eq!(serving.wait(), Some(0), "{}", bench.log());
    assert!(is(&bench, "c1 b1 b3", 13), "one disk of each array can be lost");
}

/// Reads the first MiB of the volume in pieces of 4 KiB.
fn read_in_pieces(bench: &Bench) {
    bench.client("home", async |device, arena| {
        for at in 0..MIB / 4096 {
            let buf = arena.take(4096).unwrap();
            device.start(block::Request::read(block::Sectors(at * 8), buf)).await.unwrap();
        }
    });
}

#[test]
fn what_is_asked_is_counted_and_what_goes_past_the_cache_with_its_reason() {
    let bench = made("writethrough");
    let serving = run(&bench);
    // However slow the machine is, nothing goes past the cache for that.
    bench.ok("cache set home --cache congested_read_threshold_us=0 congested_write_threshold_us=0");
    bench.write("home", 1);
    read_in_pieces(&bench);
    let total = volume(&bench)["counts"]["total"].clone();
    assert_eq!(
        (total["cache_hits"].as_u64(), total["cache_misses"].as_u64()),
        (Some(256), Some(0)),
        "{total}"
    );
    bench.ok("cache set home sequential_cutoff=64K");
    bench.write("home", 2);
    let stats: Value = serde_json::from_str(&bench.ok("cache stats home --json")).unwrap();
    let own = &stats["cached"][0];
    assert_eq!(own["bypassed_bytes"], serde_json::json!({ "sequential": MIB }), "{own}");
    assert_eq!(own["counts"]["total"]["cache_hit_ratio"], 100);
    let set = &stats["caches"][0];
    assert_eq!(set["counts"]["total"]["cache_hits"], 256);
    assert!(
        set["written_bytes"].as_u64() >= Some(MIB) && set["metadata_written_bytes"].as_u64() > Some(0),
        "{set}"
    );
    let text = bench.ok("cache stats home");
    assert!(text.contains("past the cache: sequential 1 MiB"), "{text}");
    let line = text.lines().find(|line| line.trim_start().starts_with("hits")).unwrap();
    assert_eq!(line.split_whitespace().nth(1), Some("256"), "{text}");
    bench.ok("cache stats home --clear");
    let counts = volume(&bench)["counts"].clone();
    assert_eq!(counts["total"]["cache_hits"], 0);
    assert_ne!(counts["day"]["cache_hits"], 0, "what fades goes on fading");
    let metrics = bench.get("home", "/v1/metrics");
    assert!(metrics.contains("ashlar_cache_dirty_bytes{stack=\"home\",cache=\"c\"} 0"), "{metrics}");
    stop(&bench, serving);
}

#[test]
fn what_can_be_set_is_listed_set_and_refused_in_words() {
    let bench = made("writethrough");
    let serving = run(&bench);
    let listed = bench.ok("cache set home");
    assert!(
        listed.contains("sequential_cutoff=4M\n") && listed.contains("writeback_percent=10\n"),
        "{listed}"
    );
    assert!(bench.ok("cache set home --cache").contains("cutoff_writeback=40\n"));
    let said = bench.ok("cache set home sequential_cutoff=1M writeback_percent=20");
    assert_eq!(said, "sequential_cutoff=1M\nwriteback_percent=20\n");
    assert!(bench.ok("cache set home").contains("sequential_cutoff=1M (at the start 4M)"));
    // A name that only caches have means the cache.
    assert_eq!(bench.ok("cache set home cutoff_writeback=30"), "cutoff_writeback=30\n");
    let listed: Value = serde_json::from_str(&bench.ok("cache set home --cache=c --json")).unwrap();
    let row = listed.as_array().unwrap().iter().find(|row| row["name"] == "cutoff_writeback").unwrap();
    assert_eq!((row["value"].as_str(), row["default"].as_str()), (Some("30"), Some("40")));
    bench.refused("cache set home writeback_percent=50", &["found \"50\"", "from 0 to 40"]);
    bench.refused("cache set home data_csum=1", &["cannot be set", "no checksums of data"]);
    bench.refused("cache set home discard=1", &["cannot be set", "6.19"]);
    bench.refused("cache set home nothing=1", &["is no tunable of a cached volume"]);
    bench.misused("cache set home sequential_cutoff", "KEY=VALUE");
    bench.misused("cache set home cutoff_writeback=30 writeback_delay=1", "one by one");
    bench.ok("cache set home cache_replacement_policy=fifo");
    stop(&bench, serving);
    let report: Value = serde_json::from_str(&bench.ok("examine --json c")).unwrap();
    assert!(report["bcache"][0].to_string().contains("fifo"), "the superblock keeps it: {report}");
}

#[test]
fn two_volumes_share_a_cache_and_each_is_named() {
    let bench = Bench::new();
    bench.disks(["c"], 160 * MIB);
    bench.disks(["b1", "b2"], 32 * MIB);
    bench.ok("cache create --cache c --bucket 128K --backing b1 --backing b2 --mode writeback");
    let serving = bench.serve("run b2 c b1 --name both --nbd ./sock", "both");
    let status = bench.status("both");
    let names: Vec<&str> =
        status["cached"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    for (byte, name) in (1..).zip(&names) {
        bench.write(name, byte);
    }
    bench.refused("cache detach both", &["more than one", names[0], names[1]]);
    bench.ok(&format!("cache detach both --volume {}", names[0]));
    let status = bench.status("both");
    let caches: Vec<&Value> = status["cached"].as_array().unwrap().iter().map(|it| &it["cache"]).collect();
    assert_eq!(caches, [&Value::Null, &Value::from("c")]);
    bench.ok("stop both");
    drop(serving);
    for (byte, name) in (1..).zip(&names) {
        let read = bench.ashlar(&format!("cat c b1 b2 --length 1M --volume {name}")).out;
        assert!(read.len() as u64 == MIB && read.iter().all(|it| *it == byte), "{name}");
    }
    assert!(bench.ok("cache check c").contains("nothing is wrong"));
}

/// The kernel gives a set up that has failed, and what was only there is not found again, though it still is.
#[test]
fn what_only_a_cache_has_that_dies_is_there_again_when_it_comes_back() {
    let bench = Bench::new();
    bench.disks(["c"], 160 * MIB);
    bench.disks(["b"], 32 * MIB);
    bench.ok("create fast --level 1 --assume-clean --homehost none c missing");
    let fast = |bench: &Bench| bench.serve("run c --degraded --arrays --name fast --nbd ./fast", "fast");
    let mut below = fast(&bench);
    let cache = "nbd+unix:///fast?socket=fast";
    bench
        .ok(&format!("cache create --cache {cache} --bucket 128K --backing b --label home --mode writeback"));
    let line = format!("run {cache} b --nbd ./sock");
    let mut serving = bench.serve(&line, "home");
    bench.ok("cache set home writeback_running=0");
    bench.write("home", 1);
    assert!(!backing_is(&bench, 1), "it is only in the cache");
    below.kill();
    bench.refused("run c --degraded --nbd ./fast", &["array fast: is a cache", "--arrays"]);
    bench.client("home", async |device, arena| {
        let write = block::Request::write(block::Sectors(0), arena.take(4096).unwrap());
        let answers = [device.start(write).await, device.start(block::Request::flush()).await];
        assert!(answers.iter().any(Result::is_err), "nobody has it");
    });
    let status = bench.status("home");
    let why = status["caches"][0]["broken_by"].as_str().unwrap_or_else(|| panic!("{status}"));
    assert!(bench.ok("status home").contains(&format!("BROKEN, nothing is cached any more: {why}")));
    bench.refused("stop home", &["could not be"]);
    assert_eq!(serving.wait(), Some(1));
    let mut below = fast(&bench);
    let serving = bench.serve(&line, "home");
    assert_eq!(volume(&bench)["state"], "dirty");
    bench.ok("cache detach home");
    stop(&bench, serving);
    below.kill();
    // Of the block that was written when the cache had gone, either is right.
    let bytes = fs::read(bench.path().join("b")).unwrap();
    assert!(bytes[DATA + 4096..DATA + MIB as usize].iter().all(|it| *it == 1));
}

/// A cache `c` that is served to the stack over NBD, so that it can be taken away, and a backing device `b`.
fn made_to_die(mode: &str) -> (Bench, Serving, String) {
    let bench = Bench::new();
    bench.disks(["c"], 160 * MIB);
    bench.disks(["b"], 32 * MIB);
    bench.ok("create fast --level 1 --assume-clean --homehost none c missing");
    let below = bench.serve("run c --degraded --arrays --name fast --nbd ./fast", "fast");
    let cache = "nbd+unix:///fast?socket=fast";
    bench.ok(&format!("cache create --cache {cache} --bucket 128K --backing b --label home --mode {mode}"));
    (bench, below, format!("run {cache} b --nbd ./sock"))
}

#[test]
fn a_clean_volume_goes_on_when_its_cache_dies_and_somebody_is_told() {
    let (bench, mut below, line) = made_to_die("writethrough");
    fs::write(bench.path().join("told"), "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/alerts\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bench.path().join("told"), mode).unwrap();
    let serving = bench.serve(&format!("{line} --program ./told"), "home");
    bench.ok("cache set home --cache io_error_limit=4 io_error_halflife=880");
    bench.refused("cache set home stop_when_cache_set_failed=never", &["auto, always"]);
    bench.write("home", 1);
    below.kill();
    bench.write("home", 2);
    assert!(backing_is(&bench, 2), "it goes past the cache");
    let own = volume(&bench);
    assert_eq!((own["cache"].clone(), own["state"].clone()), (Value::Null, Value::from("no cache")), "{own}");
    assert!(own["uncached_by"].is_string() && own["broken_by"].is_null(), "{own}");
    let text = bench.ok("status home");
    assert!(text.contains("BROKEN, nothing is cached") && text.contains("goes on without"), "{text}");
    bench.refused("cache attach home", &["has failed"]);
    let alerts = || fs::read_to_string(bench.path().join("alerts")).unwrap_or_default();
    let is_told = |what: &str| alerts().lines().any(|line| line == what);
    for _ in 0..100 {
        if is_told("VolumeUncached home") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(
        is_told("CacheFail nbd+unix:///fast?socket=fast") && is_told("VolumeUncached home"),
        "{}",
        alerts()
    );
    stop(&bench, serving);
    assert!(bench.log().contains("home: goes on without its cache"), "{}", bench.log());
    // The cache is back, and still has what was written before it died.
    let _below = bench.serve("run c --degraded --arrays --name fast --nbd ./fast", "fast");
    let serving = bench.serve(&line, "home");
    bench.ok("cache attach home");
    bench.client("home", async |device, arena| {
        let buf = arena.take(1 << 20).unwrap();
        device.start(block::Request::read(block::Sectors(0), buf.clone())).await.unwrap();
        let mut bytes = vec![0; 1 << 20];
        buf.copy_to_slice(0, &mut bytes);
        assert!(bytes.iter().all(|byte| *byte == 2), "what the cache had of before is read");
    });
    stop(&bench, serving);
}

#[test]
fn a_backing_device_is_run_without_its_cache_when_told_and_only_if_it_is_clean() {
    let bench = made("writethrough");
    let serving = run(&bench);
    bench.write("home", 1);
    stop(&bench, serving);
    bench.refused("run b --nbd ./sock", &["is not here", "--without-cache"]);
    let plan = bench.ok("run b --without-cache --plan");
    assert!(plan.contains("used without its cache"), "{plan}");
    let serving = bench.serve("run b --without-cache --nbd ./sock", "home");
    assert_eq!(volume(&bench)["state"], "inconsistent");
    bench.write("home", 2);
    stop(&bench, serving);
    // From now on it needs no word: and what the cache has of it is forgotten when they meet.
    let serving = bench.serve("run b --nbd ./sock", "home");
    stop(&bench, serving);
    let serving = run(&bench);
    assert_eq!(volume(&bench)["cache"], "c");
    bench.ok("cache mode home writeback");
    bench.ok("cache set home writeback_running=0");
    bench.write("home", 3);
    stop(&bench, serving);
    assert!(is(&bench, "c b", 3) && backing_is(&bench, 2));
    let before = bench.print_of("b");
    bench.refused("run b --without-cache --nbd ./sock", &["nowhere else", "--accept-stale"]);
    assert_eq!(bench.print_of("b"), before);
}

#[test]
fn a_backing_device_that_did_not_run_is_attached_while_clients_go_on() {
    let bench = made("writeback");
    bench.disks(["b2", "m1", "m2", "other"], 32 * MIB);
    bench.ok("cache create --backing b2 --label second --mode writeback");
    bench.ok("create data --level 1 --assume-clean --homehost none m1 m2");
    let serving = bench.serve("run c b m1 m2 --name all --nbd ./sock", "all");
    for in_use in ["b", "c", "m1"] {
        bench.refused(&format!("cache attach all --backing {in_use}"), &["in use"]);
        bench.refused(&format!("add all {in_use} --overwrite"), &[in_use]);
    }
    bench.refused("cache attach all --backing other", &["other", "no bcache superblock"]);
    bench.write("home", 1);
    let said = bench.ok("cache attach all --backing b2");
    assert_eq!(said, "second: attached to c, writeback\n");
    bench.write("second", 2);
    let status = bench.status("all");
    assert_eq!(status["cached"][1]["name"], "second");
    assert_eq!(status["cached"][1]["cache"], "c");
    bench.refused("cache attach all --backing b2", &["in use"]);
    bench.ok("cache flush all --volume second");
    bench.ok("stop all");
    drop(serving);
    let read = bench.ashlar("cat --length 1M --volume second c b b2");
    assert!(read.out.len() as u64 == MIB && read.out.iter().all(|it| *it == 2), "{}", read.err);
    assert!(bench.ok("cache check c").contains("nothing is wrong"));
}

/// The superblocks of the cache and the backing device.
fn superblocks(bench: &Bench) -> [Vec<u8>; 2] {
    ["c", "b"].map(|disk| fs::read(bench.path().join(disk)).unwrap()[4096..8192].to_vec())
}

/// Runs it, does something, and stops it: the snapshot that was kept.
fn ran(bench: &Bench, what: impl FnOnce()) -> String {
    let serving = run(bench);
    let snapshot = bench.status("home")["snapshot"].as_str().unwrap().to_owned();
    what();
    stop(bench, serving);
    snapshot
}

#[test]
fn undo_goes_back_to_the_superblocks_that_run_found() {
    let bench = made("writethrough");
    let before = superblocks(&bench);
    let first = ran(&bench, || ());
    let used = superblocks(&bench);
    assert!(
        before[0] != used[0] && before[1] != used[1],
        "the cache is used, and the backing device attached"
    );
    assert!(bench.ok(&format!("undo {first} --plan")).contains("b: superblock at sector 8"));
    assert_eq!(superblocks(&bench), used);
    bench.ok(&format!("undo {first}"));
    assert_eq!(superblocks(&bench), before);

    ran(&bench, || ());
    let attached = superblocks(&bench)[1].clone();
    let mode = ran(&bench, || drop(bench.ok("cache mode home writeback")));
    assert_ne!(superblocks(&bench)[1], attached);
    bench.ok(&format!("undo {mode}"));
    assert_eq!(superblocks(&bench)[1], attached);
    let serving = run(&bench);
    assert_eq!(volume(&bench)["mode"], "writethrough");
    stop(&bench, serving);

    bench.disks(["b2"], 32 * MIB);
    bench.ok("cache create --backing b2 --label second");
    let alone = fs::read(bench.path().join("b2")).unwrap();
    let adopted = ran(&bench, || drop(bench.ok("cache attach home --backing b2")));
    assert_ne!(fs::read(bench.path().join("b2")).unwrap(), alone);
    bench.ok(&format!("undo {adopted}"));
    assert!(fs::read(bench.path().join("b2")).unwrap() == alone);
}

#[test]
fn undo_of_a_cache_is_refused_when_something_lies_elsewhere_since() {
    let bench = made("writeback");
    let first = ran(&bench, || ());
    let written = ran(&bench, || bench.write("home", 7));
    let at = superblocks(&bench);
    // The run before has left a cache that was used since; and what was written since is nowhere else.
    bench.refused(&format!("undo {first} --data-was-written"), &["not as ashlar left it"]);
    for word in ["", " --data-was-written"] {
        bench.refused(&format!("undo {written}{word}"), &["data was written since"]);
    }
    assert_eq!(superblocks(&bench), at);
    ran(&bench, || drop(bench.ok("cache flush home")));
    let detached = ran(&bench, || drop(bench.ok("cache detach home")));
    bench.refused(&format!("undo {detached}"), &["b: it left its cache since"]);
    assert!(is(&bench, "c b", 7));
}

#[test]
fn undo_of_a_cache_is_refused_when_data_was_only_written_back() {
    let bench = made("writeback");
    ran(&bench, || bench.write("home", 7));
    let flushed = ran(&bench, || drop(bench.ok("cache flush home")));
    bench.refused(&format!("undo {flushed}"), &["data was written since"]);
}

#[test]
fn a_volume_that_lies_in_a_cache_alone_grows_and_is_deleted() {
    let bench = made("writeback");
    let serving = run(&bench);
    bench.write("home", 7);
    assert_eq!(bench.ok("cache volume home --size 8M --label scratch"), "scratch: 8 MiB in c\n");
    bench.write("scratch", 5);
    bench.refused("cache grow home --volume scratch --size 4M", &["not made smaller", "expected more"]);
    bench.refused("cache grow home --volume scratch --size 1G", &["expected a multiple of 512 up to"]);
    bench.refused("cache grow home --volume home --size 1G", &["lies on", "not in a cache alone"]);
    assert_eq!(bench.ok("cache grow home --volume scratch --size 12M"), "scratch: 12 MiB\n");
    bench.refused("cache delete home --volume home", &["not in a cache alone"]);
    let (device, arena) = ("scratch", &["a client is connected to it"]);
    bench.client(device, async |_, _| bench.refused("cache delete home --volume scratch", arena));
    stop(&bench, serving);
    let read = bench.ashlar("cat --volume scratch c b");
    let (old, new) = read.out.split_at(MIB as usize);
    assert!(read.out.len() as u64 == 12 * MIB && old.iter().all(|it| *it == 5), "{}", read.err);
    assert!(new.iter().all(|it| *it == 0));

    let serving = bench.serve("run c b --name home --nbd ./sock", "home");
    assert_eq!(bench.ok("cache delete home --volume scratch"), "scratch: deleted\n");
    assert_eq!(bench.status("home")["cached"].as_array().unwrap().len(), 1);
    assert_eq!(bench.ok("cache volume home --size 8M --label scratch"), "scratch: 8 MiB in c\n");
    assert_eq!(bench.ok("cache delete home --volume scratch"), "scratch: deleted\n");
    stop(&bench, serving);
    assert!(is(&bench, "c b", 7));
    bench.refused("cat --volume scratch c b", &["scratch"]);
    assert!(bench.ok("cache check c").contains("nothing is wrong"));
}

#[test]
fn a_volume_that_lies_in_a_cache_alone_is_made_and_kept() {
    let bench = Bench::new();
    bench.disks(["c"], 160 * MIB);
    bench.ok("cache create --cache c --bucket 128K");
    bench.refused("run c --nbd ./sock", &["no volume of it is here"]);
    let serving = bench.serve("run c --name fast --nbd ./sock", "fast");
    bench.refused("cache volume fast --size 1G", &["expected a multiple of 512 up to"]);
    bench.refused("cache volume fast --size 1000", &["expected a multiple of 512"]);
    assert_eq!(bench.ok("cache volume fast --size 8M --label scratch"), "scratch: 8 MiB in c\n");
    bench.write("scratch", 5);
    bench.refused("cache detach fast", &["lies in its cache alone"]);
    bench.ok("stop fast");
    drop(serving);
    let read = bench.ashlar("cat --length 1M c");
    assert!(read.out.len() as u64 == MIB && read.out.iter().all(|it| *it == 5), "{}", read.err);
    let serving = bench.serve("run c --nbd ./sock", "scratch");
    bench.write("scratch", 6);
    bench.ok("stop scratch");
    drop(serving);
    assert!(bench.ashlar("cat --length 1M c").out.iter().all(|it| *it == 6));
    assert!(bench.ok("cache check c").contains("nothing is wrong"));
}
