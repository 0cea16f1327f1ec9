//! All tests of the workspace, run and counted.
//!
//! Cargo runs one test program after the other, and most of them end with a single test that everything else waits for.
//! So as many programs run at once as there are processors, each with one test at a time.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::Context;
use oracle::left_out;

use super::plain;
use super::report::Verdict;
use crate::programs::{self, Program};
use crate::shell;

/// Programs that take long, the longest first: what begins last is then short.
const LONGEST: [&str; 14] = [
    "kernel_parity",
    "kernel_cache",
    "golden",
    "mdadm_parity",
    "seeds",
    "kernel_grow",
    "kernel_bitmap",
    "caches",
    "kernel_journal",
    "model",
    "kernel_recovery",
    "mdadm_bitmap",
    "kernel_log",
    "mdadm_update",
];

/// What programs came to.
#[derive(Default)]
struct Sum {
    counts: [u64; 3],
    ended: usize,
    sound: bool,
}

/// Runs all tests of the workspace. Those that cannot run write a line to `list`.
pub fn run(list: &Path) -> anyhow::Result<Verdict> {
    let Some(mut programs) = programs::build(&["--workspace"])? else {
        return Ok(Verdict::Tests { passed: 0, failed: 0, ignored: 0, sound: false });
    };
    let mut examples = shell::cargo();
    examples.args(["test", "--workspace", "--no-fail-fast", "--doc"]);
    programs.push(Program { name: "examples in the documentation".to_owned(), command: examples });
    for program in &mut programs {
        plain(&mut program.command).env(left_out::VARIABLE, list).stdin(Stdio::null());
    }
    let count = programs.len();
    programs
        .sort_by_key(|program| LONGEST.iter().position(|name| *name == program.name).unwrap_or(usize::MAX));
    let waiting = Mutex::new(programs.into_iter());
    let sum = Mutex::new(Sum { sound: true, ..Sum::default() });
    let work = || -> anyhow::Result<()> {
        loop {
            let Some(mut program) = waiting.lock().expect("nobody panics").next() else { return Ok(()) };
            let begun = Instant::now();
            let output =
                program.command.output().with_context(|| format!("cannot start {}", program.name))?;
            let seconds = begun.elapsed().as_secs_f64();
            let mut sum = sum.lock().expect("nobody panics");
            sum.add(&output);
            println!("{:>4}/{count} {}", sum.ended, line(&program.name, &output, seconds));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("nobody panics"))
    })?;
    let Sum { counts: [passed, failed, ignored], sound, .. } = sum.into_inner().expect("nobody panics");
    Ok(Verdict::Tests { passed, failed, ignored, sound })
}

impl Sum {
    /// Adds what a program printed.
    fn add(&mut self, output: &Output) {
        let counts = counts(&String::from_utf8_lossy(&output.stdout));
        self.ended += 1;
        self.counts = std::array::from_fn(|at| self.counts[at] + counts[at]);
        self.sound &= output.status.success() || counts[1] > 0;
    }
}

/// What is said of a program: in a line, and behind it all that it printed when anything failed.
fn line(name: &str, output: &Output, seconds: f64) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let [passed, failed, ignored] = counts(&text);
    let is_good = output.status.success();
    let verdict = match ignored {
        _ if !is_good => format!("{passed} passed, {failed} FAILED ({})", output.status),
        0 => format!("{passed} passed"),
        _ => format!("{passed} passed, {ignored} ignored"),
    };
    let line = format!("{name:<32} {verdict:<28} {seconds:>6.1} s");
    if is_good { line } else { format!("{line}\n{text}{}", String::from_utf8_lossy(&output.stderr)) }
}

/// How many tests passed, failed and were ignored, by the lines that begin with `test result: `.
fn counts(text: &str) -> [u64; 3] {
    let results = text.lines().filter_map(|line| line.strip_prefix("test result: "));
    results.fold([0; 3], |sum, line| {
        let words = ["passed", "failed", "ignored"];
        std::array::from_fn(|at| sum[at] + count(line, words[at]))
    })
}

/// The number before `word` in `ok. 13 passed; 0 failed; 1 ignored; ...`.
fn count(counts: &str, word: &str) -> u64 {
    let words: Vec<&str> = counts.split([' ', ';']).collect();
    let place = words.iter().position(|each| *each == word);
    place.and_then(|place| words[..place].last()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_numbers_are_those_before_the_words() {
        let line = "test result: FAILED. 13 passed; 2 failed; 1 ignored; 0 measured; finished in 0.30s";
        assert_eq!(counts(&format!("running 16 tests\n{line}\n{line}\n")), [26, 4, 2]);
    }

    #[test]
    fn a_program_that_dies_without_a_word_is_a_failure() {
        let output = |script: &str| Command::new("sh").args(["-c", script]).output().unwrap();
        let mut sum = Sum { sound: true, ..Sum::default() };
        sum.add(&output("echo 'test result: FAILED. 1 passed; 1 failed;'; exit 101"));
        assert!(sum.sound && sum.counts == [1, 1, 0]);
        let killed = output("echo half a line; kill -9 $$");
        sum.add(&killed);
        assert!(!sum.sound);
        assert!(line("two", &killed, 0.0).ends_with("half a line\n"));
    }
}
