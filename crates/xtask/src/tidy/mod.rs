//! `cargo xtask tidy`: the rules of the house that no compiler checks.

mod imports;
mod source;
mod tree;

use std::fmt;
use std::process::ExitCode;

use anyhow::Context;

use crate::{house, shell};

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, and the line where there is one.
    pub place: String,
    /// The rule, in a sentence.
    pub rule: String,
}

/// A tracked text file.
pub struct File {
    /// Its path from the root of the repository.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Prints every finding; the exit code says whether there were any.
pub fn run() -> anyhow::Result<ExitCode> {
    let findings = findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} findings", findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every place where a rule is broken.
pub fn findings() -> anyhow::Result<Vec<Finding>> {
    let files = files()?;
    let crates = house::crates()?;
    let mut findings = imports::check(&crates);
    findings.extend(imports::check_tokio(&crates)?);
    findings.extend(files.iter().flat_map(source::check));
    findings.extend(files.iter().flat_map(tree::check_file));
    findings.extend(tree::check_changelog(&files));
    Ok(findings)
}

/// All files that git tracks or would track, without those that are no text.
fn files() -> anyhow::Result<Vec<File>> {
    let names =
        shell::output(shell::command("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))
            .context("tidy asks git which files belong to the project")?;
    let mut files = Vec::new();
    for path in names.lines() {
        // A file that was deleted but not committed is still listed; images are no text.
        if let Ok(bytes) = std::fs::read(shell::root().join(path))
            && let Ok(text) = String::from_utf8(bytes)
        {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

impl Finding {
    fn new(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { place: place.into(), rule: rule.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_house_is_tidy_where_no_other_crate_can_change_it() {
        let findings = super::findings().unwrap();
        let own = findings.iter().filter(|finding| finding.place.starts_with("crates/xtask/"));
        assert_eq!(own.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    }
}
