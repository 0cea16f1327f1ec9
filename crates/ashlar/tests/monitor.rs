//! `ashlar monitor`, and the events that `ashlar run` tells by itself, as a person would use them.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::Bench;

const PATIENCE: Duration = Duration::from_secs(60);

/// A program in the bench's folder that does this.
fn script(bench: &Bench, name: &str, text: &str) -> PathBuf {
    let path = bench.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Waits until a file has these words.
fn wait_for(bench: &Bench, name: &str, words: &str) -> String {
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(bench.path().join(name)).unwrap_or_default();
        if text.contains(words) {
            return text;
        }
        assert!(start.elapsed() < PATIENCE, "no {words:?} in {name}: {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that is killed in the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

#[test]
fn what_happens_is_told_as_lines_of_json() {
    let bench = Bench::new();
    bench.mirror();
    let mut command = bench.command("monitor --json");
    let mut monitor = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(monitor.0.stdout.take().unwrap()).lines();
    let mut next = || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    // Its first look is over when it tells of what it can see from then on; how long that takes nobody knows.
    std::thread::sleep(Duration::from_secs(1));
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    let new = next();
    assert_eq!(
        (&new["event"], &new["stack"], &new["array"]),
        (&"NewArray".into(), &"data".into(), &"data".into())
    );
    assert_eq!((&new["api_version"], new.get("member")), (&1.into(), None));
    bench.ok("fail data b");
    let fail = next();
    assert_eq!((&fail["event"], &fail["member"]), (&"Fail".into(), &"b".into()));
    bench.ok("stop data");
    assert_eq!(next()["event"], "DeviceDisappeared");
}

#[test]
fn one_look_tells_how_things_stand_and_tests_the_way() {
    let bench = Bench::new();
    bench.mirror();
    let _serving = bench.serve("run b --nbd ./sock --degraded", "data");
    let program = script(&bench, "told", "echo \"$@\" >> told.log");
    let mail = script(&bench, "sendmail", "{ echo \"args $@\"; cat; echo =====; } >> mail.log");
    let mut command = bench.command("monitor data --once --test --spares 1 --mail root --program ./told");
    let path = format!("{}:{}", bench.path().display(), std::env::var("PATH").unwrap());
    let output = command.env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    for event in ["TestMessage", "DegradedArray", "SparesMissing"] {
        assert!(said.contains(&format!("{event} event detected on array data")), "{said}");
    }
    let told = fs::read_to_string(bench.path().join("told.log")).unwrap();
    assert_eq!(told, "TestMessage data\nDegradedArray data\nSparesMissing data\n");
    let mails = fs::read_to_string(bench.path().join("mail.log")).unwrap();
    assert_eq!(
        mails.matches("args -t\nFrom: ashlar monitor <root>\nTo: root\nSubject: ").count(),
        3,
        "{mails}"
    );
    assert!(mails.contains("Subject: DegradedArray event on data\n"), "{mails}");
    assert!(mails.contains("md_data : active raid1 b[1]"), "{mails}");
    bench.misused("monitor --mail=-v", "--mail");
    bench.refused("monitor nothing --once", &["nothing does not run"]);
    assert!(program.exists() && mail.exists());
}

#[test]
fn a_stack_tells_what_happens_to_it_by_itself() {
    let bench = Bench::new();
    bench.mirror();
    script(&bench, "told", "echo \"$@\" >> told.log");
    let text = "version = 1\nmembers = [\"a\", \"b\"]\nnbd = [\"./sock\"]\nprogram = \"told\"\nspares = 1\n";
    fs::write(bench.path().join("stack.toml"), text).unwrap();
    let _serving = bench.serve("run stack.toml", "data");
    wait_for(&bench, "told.log", "SparesMissing data\n");
    bench.ok("fail data b");
    // Even if nobody has looked between this and the stop.
    bench.ok("stop data");
    let told = wait_for(&bench, "told.log", "Fail data b\n");
    assert_eq!(told, "SparesMissing data\nFail data b\n");
}

#[test]
fn a_program_that_hangs_keeps_nobody_waiting() {
    let bench = Bench::new();
    bench.mirror();
    script(&bench, "hang", "echo $$ > hangs; exec sleep 600");
    let mut serving = bench.serve("run b --nbd ./sock --degraded --program ./hang", "data");
    let pid = wait_for(&bench, "hangs", "\n");
    let start = Instant::now();
    bench.write("data", 7);
    bench.ok("status data");
    bench.ok("stop data");
    assert_eq!(serving.wait(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(30), "it was waited for");
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_program_that_cannot_be_called_is_said_and_nothing_else_changes() {
    let bench = Bench::new();
    bench.mirror();
    let _serving = bench.serve("run b --nbd ./sock --degraded --program ./nothing", "data");
    wait_for(&bench, "log", "warning: ./nothing: No such file");
    bench.write("data", 7);
    bench.ok("stop data");
}
