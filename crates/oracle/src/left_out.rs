//! Nothing is skipped silently: a test that cannot run says so where a person will read it.
//!
//! `cargo xtask test` names a file in `ASHLAR_LEFT_OUT`, each test that cannot run adds a line to it, and the
//! closing summary prints them and takes these tests off the number of those that passed. Where nobody keeps that
//! list, a test that cannot run fails instead.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// The variable that names the list.
pub const VARIABLE: &str = "ASHLAR_LEFT_OUT";

/// What was left out: for each reason the tests that gave it. A reason without tests is a [`note`].
pub type Reasons = BTreeMap<String, BTreeSet<String>>;

/// Writes down that the calling test, one of `what`, does not run because of `why`.
///
/// # Panics
/// When nobody keeps the list, or it cannot be written.
pub fn record(what: &str, why: &dyn fmt::Display) {
    let Some(list) = std::env::var_os(VARIABLE) else {
        panic!("cannot run {what}: {why} (`cargo xtask test` goes on without and lists it)");
    };
    // The test harness names a test's thread after the test; the program tells tests of the same name apart.
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let test = std::thread::current().name().unwrap_or("unnamed").to_owned();
    append(&list, &format!("{program} {test}"), what, why);
}

/// Writes down that `what` is absent because of `why`, without any test being left out: for extras, such as images
/// that are not part of the repository. Where nobody keeps the list it goes to standard error.
///
/// # Panics
/// When the list cannot be written.
pub fn note(what: &str, why: &dyn fmt::Display) {
    match std::env::var_os(VARIABLE) {
        Some(list) => append(&list, "", what, why),
        None => eprintln!("left out {what}: {why}"),
    }
}

/// Whether there is time for everything: for what takes minutes and is left out of an ordinary run.
pub fn has_time() -> bool {
    std::env::var_os("ASHLAR_THOROUGH").is_some()
}

/// The reasons in a list.
pub fn read(list: &Path) -> std::io::Result<Reasons> {
    let text = match std::fs::read_to_string(list) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Reasons::new()),
        text => text?,
    };
    let mut reasons = Reasons::new();
    for (test, reason) in text.lines().filter_map(|line| line.split_once('\t')) {
        let tests = reasons.entry(reason.to_owned()).or_default();
        if !test.is_empty() {
            tests.insert(test.to_owned());
        }
    }
    Ok(reasons)
}

/// Adds one line by one write in append mode: test processes that run at the same time do not mix their lines.
fn append(list: &OsString, test: &str, what: &str, why: &dyn fmt::Display) {
    let line = format!("{test}\t{what}: {}\n", why.to_string().replace('\n', " "));
    let file = OpenOptions::new().append(true).create(true).open(list);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("cannot write to {}: {error}", Path::new(list).display()));
}
