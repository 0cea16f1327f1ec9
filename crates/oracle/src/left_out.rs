//! Nothing is skipped silently: a test that cannot run says so where a person will read it.
//!
//! `cargo xtask test` names a file in `ASHLAR_LEFT_OUT`, each test that cannot run adds a line to it, and the
//! closing summary prints them. Where nobody keeps that list, a test that cannot run fails instead.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// The variable that names the list.
pub const VARIABLE: &str = "ASHLAR_LEFT_OUT";

/// Writes down that `what` does not run because of `why`.
///
/// # Panics
/// When nobody keeps the list, or it cannot be written.
pub fn record(what: &str, why: &dyn fmt::Display) {
    if !note(what, why) {
        panic!("cannot run {what}: {why} (`cargo xtask test` goes on without and lists it)");
    }
}

/// [`record`] for what is an extra, such as images that are not part of the repository: where nobody keeps the list
/// it goes to standard error. Returns whether the list is kept.
///
/// # Panics
/// When the list cannot be written.
pub fn note(what: &str, why: &dyn fmt::Display) -> bool {
    let Some(list) = std::env::var_os(VARIABLE) else {
        eprintln!("left out {what}: {why}");
        return false;
    };
    // One write of one line in append mode: test processes that run at the same time do not mix their lines.
    let line = format!("{what}: {}\n", why.to_string().replace('\n', " "));
    let file = OpenOptions::new().append(true).create(true).open(&list);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("cannot write to {}: {error}", Path::new(&list).display()));
    true
}

/// The lines of a list, each once, however many tests wrote it.
pub fn read(list: &Path) -> std::io::Result<BTreeSet<String>> {
    match std::fs::read_to_string(list) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}
