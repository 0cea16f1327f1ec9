//! `ashlar watch` where there is no terminal.

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::Bench;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn watching_without_a_terminal_prints_lines() {
    let bench = Bench::new();
    bench.mirror();
    assert!(bench.ok("watch --count 1").contains("nothing runs"));
    bench.refused("watch data --count 1", &["data does not run"]);
    let _serving = bench.serve("run a b --nbd ./sock", "data");
    let lines = bench.ok("watch --count 2");
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[1].contains("data: raid1 clean, 2/2 members in sync, reads 0 bytes/s, writes "),
        "{lines:?}"
    );
    // Whoever reads has seen enough and goes.
    let mut child = bench.command("watch data").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() >= PATIENCE {
            child.kill().unwrap();
            panic!("it prints to nobody");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
