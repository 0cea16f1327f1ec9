//! All tests of the workspace, shown as they run and counted.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use oracle::left_out;

use super::plain;
use super::report::Verdict;
use crate::shell;

/// Runs `cargo test` on the whole workspace. Tests that cannot run write a line to `list`.
pub fn run(list: &Path) -> anyhow::Result<Verdict> {
    let mut command = shell::cargo();
    plain(&mut command).args(["test", "--workspace", "--no-fail-fast"]).env(left_out::VARIABLE, list);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.context("cannot read what the tests print")?;
        println!("{line}");
        if let Some(counts) = line.strip_prefix("test result: ") {
            passed += count(counts, "passed");
            failed += count(counts, "failed");
            ignored += count(counts, "ignored");
        }
    }
    let success = child.wait()?.success();
    Ok(Verdict::Tests { passed, failed, ignored, sound: success || failed > 0 })
}

/// The number before `word` in `ok. 13 passed; 0 failed; 1 ignored; ...`.
fn count(counts: &str, word: &str) -> u64 {
    let words: Vec<&str> = counts.split([' ', ';']).collect();
    let place = words.iter().position(|each| *each == word);
    place.and_then(|place| words[..place].last()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_before_the_words() {
        let line = "FAILED. 13 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.30s";
        assert_eq!(["passed", "failed", "ignored"].map(|word| count(line, word)), [13, 2, 1]);
    }
}
