//! Rules for whole files: their length, the paths they name, the change log.

use super::{File, Finding};

/// A file longer than this holds two things: see CONTRIBUTING.md.
const LINES_MAX: usize = 800;

/// Beginnings of paths that exist on one person's machine. This file is the one that may name them.
const MACHINE_PATHS: [&str; 3] = ["/work/", "/root/", "/home/"];

const OWN_PATH: &str = "crates/xtask/src/tidy/tree.rs";

/// Checks the length of a Rust file, and any file for paths of some machine.
pub fn check_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if file.path.ends_with(".rs") && lines > LINES_MAX {
        findings.push(Finding::new(&file.path, format!("{lines} lines; past {LINES_MAX} a file is split")));
    }
    if file.path != OWN_PATH {
        for (number, line) in (1..).zip(file.text.lines()) {
            for path in MACHINE_PATHS.into_iter().filter(|path| begins_a_path(line, path)) {
                let place = format!("{}:{number}", file.path);
                findings.push(Finding::new(place, format!("a path of one machine, {path}")));
            }
        }
    }
    findings
}

/// Checks that the change log has a head for what is not released yet.
pub fn check_changelog(files: &[File]) -> Option<Finding> {
    let Some(log) = files.iter().find(|file| file.path == "CHANGELOG.md") else {
        return Some(Finding::new("CHANGELOG.md", "there is no change log"));
    };
    let first = log.text.lines().find_map(|line| line.strip_prefix("## ")).unwrap_or_default();
    let unreleased = first.trim_matches(['[', ']']).starts_with("Unreleased");
    (!unreleased)
        .then(|| Finding::new("CHANGELOG.md", format!("the first head is `{first}`, not Unreleased")))
}

/// Whether `line` names a path that begins so, not one that only has it in the middle.
fn begins_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        !line[..at].ends_with(|before: char| {
            before.is_alphanumeric() || matches!(before, '.' | '_' | '-' | '*' | '}')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        assert_eq!(check_file(&file("README.md", "see /root/x")).len(), 1);
        assert!(check_file(&file("README.md", "target/work/x, ../work/x")).is_empty());
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(check_file(&file("crates/md/src/lib.rs", &"\n".repeat(801))).len(), 1);
        assert!(check_file(&file("crates/md/src/lib.rs", &"\n".repeat(800))).is_empty());
        assert!(check_file(&file("Cargo.lock", &"\n".repeat(9000))).is_empty());
    }

    #[test]
    fn the_change_log_begins_with_what_is_unreleased() {
        let rule = |text: &str| check_changelog(&[file("CHANGELOG.md", text)]).is_some();
        assert!(!rule("# Changes\n\n## [Unreleased]\n\n## 0.1.0\n"));
        assert!(!rule("## Unreleased\n"));
        assert!(rule("# Changes\n\n## 0.1.0\n"));
        assert!(check_changelog(&[]).is_some());
    }
}
