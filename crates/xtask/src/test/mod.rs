//! `cargo xtask test`: everything that has to pass, in one go, on a fresh Debian 12 with Rust.
//!
//! What cannot run here is left out and listed with its reason; it never looks like a success. The last line has
//! the form `N passed, N failed, N skipped`, for whatever reads it by machine.

mod packages;
mod report;
mod suite;

use std::process::{Command, ExitCode};

use oracle::{Kernel, left_out, prepare, ready};
use report::{Report, Verdict};

use crate::{dispatch, shell, tidy};

/// Seconds of fuzzing here: enough to notice a target that fails at once. Hours of it are run by hand.
const FUZZ_SECONDS: &str = "10";

/// Runs every stage and prints the summary. A stage that fails does not keep the next from running.
pub fn run() -> anyhow::Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let list = folder.path().join("left-out");
    let mut report = Report::default();
    packages::install(&mut report)?;
    report.stage("kernel to judge (user-mode Linux)", kernel)?;
    report.stage("form (cargo fmt)", || component("fmt", &["fmt", "--all", "--check"]))?;
    report.stage("lints (cargo clippy)", || {
        component("clippy", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])
    })?;
    report.stage("house rules (tidy)", || {
        let findings = tidy::findings()?;
        findings.iter().for_each(|finding| println!("{finding}"));
        Ok(Verdict::from(findings.is_empty()))
    })?;
    report.stage("tests (cargo test)", || suite::run(&list))?;
    report.stage("fuzzing", fuzz)?;
    report.tests_left_out(&left_out::read(&list)?);
    Ok(report.close())
}

/// Fetches user-mode Linux once; the tests that boot it are among those of `cargo test`.
fn kernel() -> anyhow::Result<Verdict> {
    if ready(Kernel::Uml).is_ok() {
        return Ok(Verdict::Passed);
    }
    let say = |line: &str| println!("{line}");
    match prepare::fetch(&[Kernel::Uml], &say).and_then(|()| prepare::build(Kernel::Uml, &say)) {
        Ok(_) => Ok(Verdict::Passed),
        Err(error) => Ok(Verdict::LeftOut(format!("user-mode Linux cannot be fetched: {error}"))),
    }
}

/// Runs one of cargo's components, which a minimal installation of Rust lacks.
fn component(name: &str, words: &[&str]) -> anyhow::Result<Verdict> {
    if shell::output(shell::cargo().args([name, "--version"])).is_err() {
        return Ok(Verdict::LeftOut(format!("cargo {name} is not installed (rustup component add {name})")));
    }
    Ok(Verdict::from(shell::succeeds(shell::cargo().args(words))?))
}

fn fuzz() -> anyhow::Result<Verdict> {
    if !dispatch::has_program("fuzz")? {
        return Ok(Verdict::LeftOut("the crate fuzz builds no program".to_owned()));
    }
    let words = ["run", "--quiet", "--package", "fuzz", "--", "--seconds", FUZZ_SECONDS];
    Ok(Verdict::from(shell::succeeds(shell::cargo().args(words))?))
}

/// A command that speaks English, so that its output can be read by machine.
fn plain(command: &mut Command) -> &mut Command {
    command.env("LC_ALL", "C").env("CARGO_TERM_COLOR", "never")
}
