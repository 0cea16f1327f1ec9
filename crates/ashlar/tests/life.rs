//! The life of an array: made, served, failed, stopped, read; and the way back.

mod common;

use common::Bench;

#[test]
fn an_array_is_made_served_failed_stopped_and_read() {
    let bench = Bench::new();
    bench.disks(["a", "b"], 8 << 20);
    let made = bench.ok("create data --level mirror a b");
    assert!(made.contains("ashlar run a b --nbd ./data.sock"), "{made}");
    let mut serving = bench.serve("run b a --nbd ./sock", "data");
    bench.settle("data");
    bench.write("data", 1);
    let status = bench.status("data");
    assert_eq!(status["api_version"], 1);
    assert_eq!(status["arrays"][0]["export"]["writes"], 1);
    assert_eq!(status["arrays"][0]["in_sync"], 2);
    assert!(bench.ok("status").contains("array data: raid1"), "every stack is shown without a name");

    bench.refused("remove data a", &["a is in use", "ashlar fail data a"]);
    bench.ok("fail data b");
    bench.refused("fail data b", &["failed already"]);
    bench.refused("fail data a", &["only copy"]);
    bench.write("data", 2);
    assert!(bench.ok("status data").contains("DEGRADED"));
    bench.refused("examine b", &["in use by process", "(ashlar)"]);
    bench.ok("remove data b");
    assert!(bench.ok("examine b").contains("raid1"), "a member that was let go of is free");
    bench.refused("remove data b", &["removed already"]);
    bench.refused("fail data zz", &["no member"]);

    bench.ok("stop data");
    assert_eq!(serving.wait(), Some(0));
    bench.refused("status data", &["data does not run"]);
    let content = bench.ashlar("cat b a");
    assert_eq!(content.code, Some(0));
    assert!(content.out[..1 << 20].iter().all(|byte| *byte == 2));
    assert!(content.err.contains("b is left out: it is stale"), "{}", content.err);
    bench.refused("run a b --nbd ./sock", &["1 of 2 members", "--degraded", "b is left out: it is stale"]);
    let serving = bench.serve("run a b --nbd ./sock --degraded", "data");
    drop(serving);
}

#[test]
fn what_every_layer_does_is_counted_and_can_be_traced() {
    let bench = Bench::new();
    bench.mirror();
    let _serving = bench.serve("run a b --nbd ./sock --trace trace", "data");
    bench.settle("data");
    bench.write("data", 9);
    let status = bench.status("data");
    let of = |io: &serde_json::Value, op: &str| -> (u64, u64, u64) {
        let mut kinds = io.as_array().unwrap().iter();
        let kind = kinds.find(|kind| kind["op"] == op).cloned().unwrap_or_default();
        let number = |key: &str| kind[key].as_u64().unwrap_or(0);
        (number("begun"), number("done"), number("bytes"))
    };
    let array = &status["arrays"][0];
    let (begun, done, bytes) = of(&array["io"], "write");
    assert!(begun == done && begun > 0 && bytes == 1 << 20, "{array}");
    for member in array["members"].as_array().unwrap() {
        let (_, done, written) = of(&member["io"], "write");
        assert!(done > begun && written > bytes, "superblocks are written too: {member}");
    }
    let metrics = bench.get("data", "/v1/metrics");
    let line =
        format!(r#"ashlar_request_bytes_total{{stack="data",array="data",member="",op="write"}} {bytes}"#);
    assert!(metrics.lines().any(|found| found == line), "{metrics}");

    bench.ok("stop data");
    let lines = std::fs::read_to_string(bench.path().join("trace")).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let write = lines.iter().find(|line| line["op"] == "write" && line["origin"] == "client").unwrap();
    let own: Vec<_> = lines.iter().filter(|line| line["trace"] == write["trace"]).collect();
    let seen = |layer: &str, event: &str| {
        own.iter()
            .filter(|line| line["layer"].as_str().unwrap().starts_with(layer) && line["event"] == event)
            .count()
    };
    assert!(own[0]["event"] == "begin" && own[0]["height"] == 1, "{own:?}");
    assert!(own[own.len() - 1]["event"] == "end" && own[own.len() - 1]["took_ns"].as_u64() > Some(0));
    for layer in ["raid1", "a", "b"] {
        assert!(seen(layer, "begin") > 0 && seen(layer, "begin") == seen(layer, "end"), "{layer}: {own:?}");
    }
}

#[test]
fn a_signal_stops_it_cleanly() {
    let bench = Bench::new();
    bench.mirror();
    let mut serving = bench.serve("run a b --nbd ./sock --driver threads", "data");
    assert!(bench.log().contains("driver threads, as asked"), "{}", bench.log());
    bench.write("data", 3);
    serving.terminate();
    assert_eq!(serving.wait(), Some(0));
    let examined: serde_json::Value = serde_json::from_str(&bench.ok("examine a b --json")).unwrap();
    assert_eq!(examined["arrays"][0]["clean"], true);
    assert_eq!(examined["arrays"][0]["slots"][1]["in_sync"], true);
    assert!(!bench.path().join("sock").exists() && !bench.path().join("run/data.sock").exists());
}

#[test]
fn a_service_manager_is_told() {
    let bench = Bench::new();
    bench.mirror();
    let socket = std::os::unix::net::UnixDatagram::bind(bench.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let mut command = bench.command("run a b --nbd ./sock");
    let mut child = command.env("NOTIFY_SOCKET", bench.path().join("notify")).spawn().unwrap();
    let said = || {
        let mut bytes = [0; 100];
        let len = loop {
            match socket.recv(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {} // a wait with a limit may be
                received => break received.unwrap(),
            }
        };
        String::from_utf8_lossy(&bytes[..len]).trim().to_owned()
    };
    assert_eq!(said(), "READY=1");
    bench.ok("stop data");
    assert_eq!(said(), "STOPPING=1");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_killed_process_leaves_nothing_in_the_way_of_the_next() {
    let bench = Bench::new();
    bench.mirror();
    let mut serving = bench.serve("run a b --nbd ./sock", "data");
    bench.write("data", 4);
    serving.kill();
    assert!(bench.path().join("sock").exists() && bench.path().join("run/data.sock").exists());
    bench.refused("status data", &["data does not run"]);
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    bench.settle("data");
    bench.client("data", async |device, arena| {
        let buf = arena.take(512).unwrap();
        device.start(block::Request::read(block::Sectors(8), buf.clone())).await.unwrap();
        let mut bytes = [0; 512];
        buf.copy_to_slice(0, &mut bytes);
        assert_eq!(bytes, [4; 512]);
    });
}

#[test]
fn a_file_says_everything() {
    let bench = Bench::new();
    bench.mirror();
    let file = |text: &str| std::fs::write(bench.path().join("stack.toml"), text).unwrap();
    file("version = 1\nname = \"mine\"\nmembers = [\"a\", \"b\"]\nnbd = [\"./sock\"]\n");
    let _serving = bench.serve("run stack.toml", "mine");
    assert_eq!(bench.status("mine")["arrays"][0]["name"], "data");
    bench.ok("stop mine");
    file("version = 1\nmembers = [\"a\", \"b\"]\nnbd = [\"./sock\"]\ndegarded = true\n");
    bench.refused("run stack.toml", &["stack.toml", "degarded"]);
    file("version = 2\nmembers = [\"a\", \"b\"]\nnbd = [\"./sock\"]\n");
    bench.refused("run stack.toml", &["version = 2", "expected version = 1"]);
    file("version = 1\nnbd = [\"./sock\"]\n");
    bench.refused("run stack.toml", &["names no members"]);
    bench.misused("run stack.toml a", "named alone");
}

#[test]
fn read_only_serves_without_writing() {
    let bench = Bench::new();
    bench.mirror();
    let before = (bench.print_of("a"), bench.print_of("b"));
    let mut serving = bench.serve("run a b --nbd ./sock --read-only", "data");
    bench.client("data", async |device, arena| {
        assert!(device.geometry().read_only);
        let buf = arena.take_zeroed(512).unwrap();
        device.start(block::Request::read(block::Sectors(0), buf.clone())).await.unwrap();
        assert!(device.start(block::Request::write(block::Sectors(0), buf)).await.is_err());
    });
    bench.ok("stop data");
    assert_eq!(serving.wait(), Some(0));
    assert_eq!(before, (bench.print_of("a"), bench.print_of("b")));
    assert!(!bench.path().join("state").exists());
}

#[test]
fn undo_goes_back_to_what_run_found() {
    let bench = Bench::new();
    bench.mirror();
    let before = (bench.print_of("a").0, bench.print_of("b").0);
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    let snapshot = bench.status("data")["snapshot"].as_str().unwrap().to_owned();
    bench.refused(&format!("undo {snapshot}"), &["in use"]);
    bench.ok("fail data b");
    bench.ok("stop data");
    assert_ne!(before.0, bench.print_of("a").0);

    let now = bench.print_of("a");
    assert!(bench.ok(&format!("undo {snapshot} --plan")).contains("would be put back"));
    assert_eq!(now, bench.print_of("a"));
    bench.ok(&format!("undo {snapshot}"));
    assert_eq!(before, (bench.print_of("a").0, bench.print_of("b").0));
    assert!(bench.ok(&format!("undo {snapshot}")).contains("nothing to put back"));
}

#[test]
fn undo_is_refused_when_clients_have_written_or_others_were_there() {
    let bench = Bench::new();
    bench.mirror();
    let mut serving = bench.serve("run a b --nbd ./sock", "data");
    let snapshot = bench.status("data")["snapshot"].as_str().unwrap().to_owned();
    bench.write("data", 5);
    serving.kill();
    bench.refused(&format!("undo {snapshot}"), &["not stopped cleanly", "--data-was-written"]);
    bench.ok(&format!("undo {snapshot} --data-was-written"));

    let _serving = bench.serve("run a b --nbd ./sock", "data");
    let snapshot = bench.status("data")["snapshot"].as_str().unwrap().to_owned();
    bench.write("data", 6);
    bench.ok("stop data");
    bench.refused(&format!("undo {snapshot}"), &["clients have written", "--data-was-written"]);
    bench.ok("create other --level 1 --overwrite --assume-clean a b");
    bench.refused(&format!("undo {snapshot} --data-was-written"), &["not as ashlar left it"]);
    std::fs::File::options().write(true).open(bench.path().join("a")).unwrap().set_len(16 << 20).unwrap();
    bench.refused(&format!("undo {snapshot} --data-was-written"), &["32768 sectors", "expected 16384"]);
}

#[test]
fn a_run_that_changed_nothing_leaves_no_snapshot() {
    let bench = Bench::new();
    bench.mirror();
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    let snapshot = bench.status("data")["snapshot"].as_str().unwrap().to_owned();
    assert!(bench.path().join(&snapshot).exists());
    bench.ok("stop data");
    assert!(!bench.path().join(&snapshot).exists());
}

#[test]
fn members_can_be_remote() {
    let bench = Bench::new();
    bench.disks(["c", "d"], 8 << 20);
    bench.ok("create under --level linear --homehost none c d");
    let _serving = bench.serve("run c d --nbd ./sock", "under");
    let url = "nbd+unix:///under?socket=sock";
    bench.refused(&format!("examine {url}"), &["none of these is an md member"]);
    bench.disks(["a"], 32 << 20);
    bench.ok(&format!("create over --level 1 --homehost none {url} a"));
    let listed = bench.ok(&format!("cat --list a {url}"));
    assert_eq!(listed, "over\n");
    bench.refused(&format!("cat {url} nbd+unix:///under?socket=./sock"), &["are the same member"]);
    bench.refused("examine nbd+unix:///nope?socket=sock", &["nope"]);
    bench.refused("create x --level 1 nbd://localhost:1/x", &["--sole-writer"]);
}
