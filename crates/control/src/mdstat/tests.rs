//! The grammar, line by line; what the kernel itself prints for the same arrays is compared in the binary's tests.

use super::*;
use serde_json::{Value, json};

fn member(name: &str, number: u32, slot: Option<u16>, state: &str) -> Value {
    json!({ "name": name, "slot": slot, "number": number, "state": state, "failure": null, "corrected_reads": 0,
        "write_mostly": false })
}

fn stack(array: Value) -> StackStatus {
    let mut whole = json!({ "name": "data", "uuid": "", "metadata": "1.2", "bytes": 6080 << 10, "events": 1, "state": "clean",
        "broken_by": null, "sync": { "action": "idle" },
        "export": { "reads": 0, "read_bytes": 0, "writes": 0, "written_bytes": 0, "flushes": 0, "trims": 0, "errors": 0 } });
    whole.as_object_mut().unwrap().extend(array.as_object().unwrap().clone());
    serde_json::from_value(
        json!({ "api_version": 1, "name": "s", "program_version": "", "pid": 1, "started_s": 0,
        "driver": "", "read_only": false, "snapshot": null, "arrays": [whole], "servers": [] }),
    )
    .unwrap()
}

/// What stands between the first line and the last.
fn shown(stack: &StackStatus) -> String {
    let text = mdstat(std::slice::from_ref(stack));
    let rest = text.strip_prefix(&format!("Personalities : {PERSONALITIES} \n")).unwrap();
    rest.strip_suffix("unused devices: <none>\n").unwrap().to_owned()
}

#[test]
fn a_mirror_with_a_failed_member_and_a_spare() {
    let stack = stack(json!({ "level": "raid1", "slots": 2, "in_sync": 1, "members": [
        member("/dev/sda", 0, Some(0), "in_sync"), member("/dev/sdb", 1, Some(1), "faulty"),
        member("sdc", 2, None, "spare"), member("sdd", 3, None, "removed")] }));
    let expected =
        "md_data : active raid1 sdc[2](S) sdb[1](F) sda[0]\n      6080 blocks super 1.2 [2/1] [U_]\n      \n";
    assert_eq!(shown(&stack), expected);
}

#[test]
fn a_resync_and_a_bitmap_have_lines_of_their_own() {
    let stack = stack(
        json!({ "name": "7", "level": "raid5", "slots": 3, "in_sync": 3, "chunk_bytes": 524288, "layout": 2,
        "metadata": "0.90", "bytes": 10240 << 10, "members": [],
        "sync": { "action": "resync", "done_bytes": 1 << 20, "total_bytes": 5 << 20, "written_bytes": 0,
            "bytes_per_second": 1 << 20, "seconds_left": 4 },
        "bitmap": { "chunk_bytes": 65536, "chunks": 80, "marked": 3, "pages": 1, "marked_pages": 1 } }),
    );
    let expected = "md7 : active raid5\n      10240 blocks level 5, 512k chunk, algorithm 2 [3/3] [___]\n      \
        [===>.................]  resync = 18.1% (1024/5120) finish=0.0min speed=1024K/sec\n      \
        bitmap: 1/1 pages [4KB], 64KB chunk\n\n";
    assert_eq!(shown(&stack), expected);
}

#[test]
fn what_waits_is_pending_and_who_reads_only_says_so() {
    let mut stack =
        stack(json!({ "level": "raid1", "slots": 1, "in_sync": 1, "sync": { "action": "pending" },
        "members": [member("a", 0, Some(0), "in_sync")] }));
    stack.read_only = true;
    let text = shown(&stack);
    assert!(text.starts_with("md_data : active (read-only) raid1 a[0]\n"), "{text}");
    assert!(text.ends_with("[1/1] [U]\n      \tresync=PENDING\n      \n"), "{text}");
}

#[test]
fn recovery_and_what_replaces_are_shown_as_the_kernel_does() {
    let sync = |action: &str| {
        json!({ "action": action, "done_bytes": 0, "total_bytes": 1 << 20, "written_bytes": 0, "bytes_per_second": 0,
            "seconds_left": null })
    };
    for (sync, expected) in [
        (sync("recover"), "]  recovery =  0.0% (0/1024)"),
        (sync("check"), "]  check =  0.0% (0/1024)"),
        (sync("repair"), "]  resync =  0.0% (0/1024)"),
        (json!({ "action": "pending", "of": "recover" }), "\tresync=DELAYED"),
    ] {
        let stack = stack(json!({ "level": "raid1", "slots": 2, "in_sync": 1, "sync": sync, "members": [
            member("a", 0, Some(0), "in_sync"), member("b", 1, Some(1), "recovering"),
            member("c", 2, Some(0), "replacing")] }));
        let text = shown(&stack);
        assert!(text.contains(" c[2](R) b[1] a[0]\n") && text.contains("[2/1] [U_]"), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn levels_say_their_own() {
    for (level, layout, expected) in [
        ("linear", 0, " 64k rounding"),
        ("raid0", 1, " 64k chunks"),
        ("raid4", 0, " level 4, 64k chunk, algorithm 0 [4/4] [____]"),
        ("raid10", 0x102, " 64K chunks 2 near-copies [4/4] [____]"),
        ("raid10", 0x1_0201, " 64K chunks 2 offset-copies [4/4] [____]"),
        ("raid10", 0x4_0201, " 64K chunks 2 far-copies 2 devices per set [4/4] [____]"),
        ("raid10", 0x104, " 4 near-copies [4/4] [____]"),
    ] {
        let stack =
            stack(json!({ "level": level, "layout": layout, "chunk_bytes": 65536, "slots": 4, "in_sync": 4,
            "members": [] }));
        let text = shown(&stack);
        assert!(text.contains(&format!(" blocks super 1.2{expected}\n")), "{level}: {text}");
    }
}

#[test]
fn names_never_break_a_line_or_a_word() {
    let stack = stack(json!({ "name": "a b\nmd0 : c", "level": "raid0", "slots": 1, "in_sync": 1,
        "members": [member("/x/d (F)[9]\u{85}", 0, Some(0), "in_sync")] }));
    let text = shown(&stack);
    let first = "md_a\\040b\\012md0\\040:\\040c : active raid0 d\\040\\050F\\051\\1339\\135\\302\\205[0]";
    assert_eq!(text.lines().next(), Some(first));
    assert_eq!(text.lines().count(), 3);
}
