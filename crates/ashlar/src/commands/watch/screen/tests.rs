//! The picture, drawn to memory and compared cell by cell.

use std::collections::BTreeMap;
use std::path::PathBuf;

use control::StackStatus;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::super::Seen;
use super::*;

fn io(op: &str, done: u64, bytes: u64) -> Value {
    json!({ "op": op, "begun": done, "done": done, "failed": 0, "in_flight": 0, "bytes": bytes, "total_ns": 0,
        "latency": [{ "below_ns": 131_072, "count": done * 3 / 4 }, { "below_ns": 2_097_152, "count": done / 4 }] })
}

/// A mirror that syncs, a while after its start.
fn stack(second: u64) -> StackStatus {
    let busy = || vec![io("read", 400 * second, second << 21), io("write", 100 * second, second << 20)];
    let member = |name: &str, number: u64, state: &str| {
        json!({ "name": name, "slot": number, "number": number, "state": state, "failure": null, "corrected_reads": 0,
            "write_mostly": false, "io": busy() })
    };
    let array = json!({ "name": "data", "uuid": "u", "level": "raid1", "metadata": "1.2", "bytes": 8u64 << 30, "events": 19,
        "state": "dirty", "broken_by": null, "slots": 3, "in_sync": 2,
        "sync": { "action": "resync", "done_bytes": second << 30, "total_bytes": 8u64 << 30, "written_bytes": 0,
            "bytes_per_second": 1 << 30, "seconds_left": 8 - second },
        "bitmap": { "chunk_bytes": 1 << 26, "chunks": 128, "marked": 5 }, "io": busy(),
        "members": [member("/dev/sda", 0, "in_sync"), member("/dev/sdb", 1, "in_sync"), member("/dev/sdc", 2, "faulty")],
        "export": { "reads": 0, "read_bytes": 0, "writes": 0, "written_bytes": 0, "flushes": 0, "trims": 0, "errors": 0 } });
    serde_json::from_value(
        json!({ "api_version": 1, "name": "data", "program_version": "", "pid": 1, "started_s": 0,
        "driver": "", "read_only": false, "snapshot": null, "arrays": [array], "servers": [] }),
    )
    .unwrap()
}

/// What is watched after looks at these seconds.
fn watched(looks: &[u64]) -> Watched {
    let mut histories: BTreeMap<(String, String), History> = BTreeMap::new();
    for second in looks {
        let history = histories.entry(("data".to_owned(), "data".to_owned())).or_default();
        history.take(&stack(*second).arrays[0], 1000);
    }
    let status = Ok(stack(looks[looks.len() - 1]));
    let stacks = vec![Seen { name: "data".to_owned(), status }];
    Watched { dir: PathBuf::from("/run/ashlar"), name: None, stacks, histories, last: None }
}

fn picture(watched: &Watched, first: usize, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| _ = draw(frame, &Screen::of(watched, first))).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |row: u16| (0..width).map(|column| buffer[(column, row)].symbol()).collect::<String>();
    (0..height).map(|row| line(row).trim_end().to_owned()).collect()
}

#[test]
fn an_array_is_drawn_with_its_members_bars_and_charts() {
    let expected = [
        "┌ data ────────────────────────────────────────────────────────────────────────────────────────────┐",
        "│raid1 dirty, 2/3 members in sync, DEGRADED, 8 GiB, metadata 1.2, 19 events                        │",
        "│bitmap: 5 of 128 chunks of 64 MiB marked                                                          │",
        "│█████████████████████████████████resync 50.0%, 1 GiB/s, 0:04 left                                 │",
        "│slot  member             state     reads/s       writes/s      read half/99%     write half/99%   │",
        "│0     /dev/sda           in sync   4 MiB         2 MiB         <131us <2ms       <131us <2ms      │",
        "│1     /dev/sdb           in sync   4 MiB         2 MiB         <131us <2ms       <131us <2ms      │",
        "│2     /dev/sdc           FAULTY    4 MiB         2 MiB         <131us <2ms       <131us <2ms      │",
        "│reads 4 MiB/s, 800 a second; at most 4 MiB/s      writes 2 MiB/s, 200 a second; at most 2 MiB/s   │",
        "│ █                                                 █                                              │",
        "│▄█                                                ▄█                                              │",
        "│██                                                ██                                              │",
        "└──────────────────────────────────────────────────────────────────────────────────────────────────┘",
        "",
        " q leaves, arrows move",
    ];
    assert_eq!(picture(&watched(&[1, 2, 4]), 0, 100, 15), expected);
}

#[test]
fn what_does_not_answer_says_why_and_a_small_screen_shows_what_fits() {
    let mut watched = watched(&[1, 2]);
    watched.stacks.push(Seen { name: "lost".to_owned(), status: Err("no answer".to_owned()) });
    let all = picture(&watched, 0, 60, 30).join("\n");
    assert!(all.contains(" lost ") && all.contains("no answer"), "{all}");
    let small = picture(&watched, 0, 60, 14);
    assert!(!small.join("\n").contains("lost"), "{small:?}");
    assert!(small[13].contains("0 more above, 1 below"), "{small:?}");
    assert!(picture(&watched, 7, 60, 14)[0].contains(" lost "));
    for (width, height) in [(1, 1), (10, 3), (3, 40)] {
        picture(&watched, 0, width, height); // too small for anything, and no panic
    }
    watched.stacks.clear();
    assert_eq!(picture(&watched, 0, 60, 2)[0], "nothing runs (no control socket in /run/ashlar)");
}

#[test]
fn a_cached_volume_has_a_box_behind_those_of_the_arrays() {
    let mut watched = watched(&[1, 2]);
    let mut volume = control::CachedStatus { name: "home".to_owned(), ..Default::default() };
    (volume.mode, volume.state, volume.cache) = ("writeback".into(), "dirty".into(), Some("ssd".into()));
    (volume.dirty_bytes, volume.counts.five_minute.cache_hit_ratio) = (3 << 20, 80);
    watched.stacks[0].status.as_mut().unwrap().cached.push(volume);
    let seen = picture(&watched, 1, 60, 6);
    assert!(seen[0].starts_with("┌ data: home ─"), "{seen:?}");
    assert!(seen[1].starts_with("│writeback dirty, cached by ssd "), "{seen:?}");
    assert!(seen[2].starts_with("│3 MiB dirty, 80% hits in five minutes "), "{seen:?}");
    let lines = super::super::lines::lines(&watched, 0);
    assert!(lines.contains(" home: writeback dirty, cached by ssd, 3 MiB dirty, 80% hits"), "{lines}");
}
