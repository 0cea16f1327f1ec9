//! The trap for allocations: it springs where it is set and nowhere else. What it ends is this very program, started again.

use std::process::{Command, Output};

use block::trap;

#[global_allocator]
static ALLOCATOR: trap::Trapping = trap::Trapping;

const PLAY: &str = "ASHLAR_TRAP_PLAY";

/// Runs the test `play` in a process of its own.
fn played(what: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "play", "--nocapture", "--test-threads", "1"]).env(PLAY, what).output().unwrap()
}

/// What the other tests have played; nothing on its own.
#[test]
fn play() {
    let Ok(what) = std::env::var(PLAY) else { return };
    let mut kept = Vec::<u8>::with_capacity(16);
    if what != "unset" {
        trap::set();
    }
    if what == "freely" {
        kept.reserve(1000);
    }
    let strictly = trap::strictly();
    match what.as_str() {
        "unset" => kept.reserve(1000),
        "inside" => drop(std::hint::black_box(Box::new(7_u64))),
        "growing" => kept.reserve(1000),
        "nested" => {
            drop(trap::strictly());
            drop(std::hint::black_box(Box::new(7_u64)));
        }
        "excused" => {
            let _freely = trap::freely();
            kept.reserve(1000);
        }
        _ => kept.push(1),
    }
    drop(strictly);
    kept.reserve(5000);
}

#[test]
fn who_allocates_while_serving_ends_the_program_with_a_backtrace() {
    for what in ["inside", "growing", "nested"] {
        let ended = played(what);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(6), "{what}: {said}");
        assert!(said.contains("were allocated while serving") && said.contains("trap"), "{what}: {said}");
    }
}

#[test]
fn who_allocates_elsewhere_or_without_the_trap_goes_on() {
    for what in ["unset", "freely", "excused", "nothing"] {
        let ended = played(what);
        assert!(ended.status.success(), "{what}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}
