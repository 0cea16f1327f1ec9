//! What ran, what it came to, and what was left out.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use oracle::left_out::Reasons;

/// What a stage came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It counts as one that passed.
    Passed,
    /// It counts as one that failed.
    Failed,
    /// It could not run, for this reason.
    LeftOut(String),
    /// It was many tests. `sound` is false when it failed apart from any of them, as by not compiling.
    Tests { passed: u64, failed: u64, ignored: u64, sound: bool },
}

impl From<bool> for Verdict {
    fn from(success: bool) -> Self {
        if success { Verdict::Passed } else { Verdict::Failed }
    }
}

/// The sum of all stages.
#[derive(Default)]
pub struct Report {
    stages: Vec<(&'static str, Verdict, Duration)>,
    left_out: BTreeSet<String>,
    reasons_of_tests: BTreeSet<String>,
    tests_left_out: u64,
}

impl Report {
    /// Runs one stage under a heading.
    pub fn stage(
        &mut self,
        name: &'static str,
        act: impl FnOnce() -> anyhow::Result<Verdict>,
    ) -> anyhow::Result<()> {
        println!("\n== {name}");
        let begun = Instant::now();
        let verdict = act()?;
        if let Verdict::LeftOut(why) = &verdict {
            self.left_out(format!("{name}: {why}"));
        }
        self.stages.push((name, verdict, begun.elapsed()));
        Ok(())
    }

    /// Adds something that does not run here, with its reason.
    pub fn left_out(&mut self, line: String) {
        println!("left out: {line}");
        self.left_out.insert(line.replace('\n', " "));
    }

    /// Adds what tests wrote on the list themselves. To the harness that ran them these tests passed.
    pub fn tests_left_out(&mut self, reasons: &Reasons) {
        for (reason, tests) in reasons {
            self.tests_left_out += tests.len() as u64;
            match tests.len() {
                0 => self.left_out(reason.clone()),
                count => {
                    println!("left out: {reason}: {tests:?}");
                    self.reasons_of_tests.insert(format!("{reason} ({count} tests)"));
                }
            }
        }
    }

    /// Prints the summary; the exit code says whether anything failed.
    pub fn close(&self) -> ExitCode {
        println!("\n== summary");
        for (name, verdict, time) in &self.stages {
            println!("{name:<36} {:<28} {:>6.1} s", verdict.to_string(), time.as_secs_f64());
        }
        for line in self.left_out.iter().chain(&self.reasons_of_tests) {
            println!("left out: {line}");
        }
        let [passed, failed, skipped] = self.counts();
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Passed, failed, skipped: each stage counts as one, the tests one each, and each reason or test left out.
    fn counts(&self) -> [u64; 3] {
        let mut counts = [0, 0, self.left_out.len() as u64 + self.tests_left_out];
        for (_, verdict, _) in &self.stages {
            match verdict {
                Verdict::Passed => counts[0] += 1,
                Verdict::Failed => counts[1] += 1,
                Verdict::LeftOut(_) => {} // it is in the list
                Verdict::Tests { passed, failed, ignored, sound } => {
                    counts[0] += passed;
                    counts[1] += failed + u64::from(!sound);
                    counts[2] += ignored;
                }
            }
        }
        counts[0] = counts[0].saturating_sub(self.tests_left_out);
        counts
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Passed => f.write_str("passed"),
            Verdict::Failed => f.write_str("FAILED"),
            Verdict::LeftOut(_) => f.write_str("left out"),
            Verdict::Tests { passed, failed: 0, sound: true, .. } => write!(f, "{passed} passed"),
            Verdict::Tests { failed: 0, .. } => f.write_str("FAILED outside of a test"),
            Verdict::Tests { passed, failed, .. } => write!(f, "{passed} passed, {failed} FAILED"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let mut report = Report::default();
        for verdict in verdicts {
            report.stage("stage", || Ok(verdict.clone())).unwrap();
        }
        report
    }

    #[test]
    fn everything_is_counted_once() {
        let tests = Verdict::Tests { passed: 10, failed: 1, ignored: 2, sound: true };
        let left_out = Verdict::LeftOut("no network".into());
        assert_eq!(report(&[Verdict::Passed, Verdict::Failed, tests, left_out]).counts(), [11, 2, 3]);
    }

    #[test]
    fn a_test_that_left_itself_out_did_not_pass() {
        let mut report = report(&[Verdict::Tests { passed: 10, failed: 0, ignored: 0, sound: true }]);
        let tests = ["kernel one", "kernel two"].map(str::to_owned);
        report.tests_left_out(&Reasons::from([
            ("no kernel".into(), tests.into()),
            ("no extras".into(), [].into()),
        ]));
        assert_eq!(report.counts(), [8, 0, 3]);
    }

    #[test]
    fn a_suite_that_does_not_compile_is_a_failure() {
        let tests = Verdict::Tests { passed: 0, failed: 0, ignored: 0, sound: false };
        assert_eq!(report(&[tests]).counts(), [0, 1, 0]);
    }
}
