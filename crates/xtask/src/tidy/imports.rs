//! Imports point down: who may know whom, and who must not know tokio.

use std::collections::BTreeMap;

use super::Finding;
use crate::house::Crate;
use crate::shell;

/// The floors of the house, the lowest first. A crate may import what lies below its own floor, nothing beside it:
/// so the two engines never import each other.
const FLOORS: [&[&str]; 9] = [
    &["md-format", "bcache-format"],
    &["parity"],
    &["block"],
    &["runtime"],
    &["md", "bcache"],
    &["export"],
    &["nbd", "fuse", "vhost", "ublk"],
    &["control"],
    &["ashlar"],
];

/// Proof stands beside the house: it may import any floor, and only tests may import it.
const BESIDE: [&str; 5] = ["simulation", "oracle", "fuzz", "load", "xtask"];

/// The first floor where tokio may live.
const TOKIO_FLOOR: usize = 7;

/// Checks the imports of every crate of the workspace.
pub fn check(crates: &BTreeMap<String, Crate>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, found) in crates {
        let manifest = format!("crates/{name}/Cargo.toml");
        let (Some(own), false) = (floor(name), beside(name)) else {
            if !beside(name) {
                findings.push(Finding::new(
                    manifest,
                    format!("{name} has no floor in crates/xtask/src/tidy/imports.rs"),
                ));
            }
            continue;
        };
        let below = |other: &str| floor(other).is_some_and(|floor| floor < own);
        for other in found.imports.iter().filter(|other| !below(other)) {
            findings.push(Finding::new(
                &manifest,
                format!("imports point down, and {other} is not below {name}"),
            ));
        }
        for other in found.test_imports.iter().filter(|other| !below(other) && !beside(other)) {
            let rule =
                format!("tests import what is below or beside the house, and {other} is neither for {name}");
            findings.push(Finding::new(&manifest, rule));
        }
    }
    findings
}

/// Checks that nothing below `control` has tokio in its tree, through whatever dependency.
pub fn check_tokio(crates: &BTreeMap<String, Crate>) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let below = FLOORS[..TOKIO_FLOOR].iter().flat_map(|floor| floor.iter());
    for &name in below.filter(|&&name| crates.contains_key(name)) {
        let words =
            ["tree", "--package", name, "--edges", "normal,build", "--prefix", "none", "--all-features"];
        let tree = shell::output(shell::cargo().args(words))?;
        if let Some(line) = tree.lines().find(|line| line.starts_with("tokio")) {
            let rule = format!("the data path knows no tokio, and {line} is in the tree of {name}");
            findings.push(Finding::new(format!("crates/{name}/Cargo.toml"), rule));
        }
    }
    Ok(findings)
}

/// Whether a crate lies below `control`, where the driver hands out time and order.
pub fn below_control(name: &str) -> bool {
    floor(name).is_some_and(|floor| floor < TOKIO_FLOOR)
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn beside(name: &str) -> bool {
    BESIDE.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(name: &str, imports: &[&str], test_imports: &[&str]) -> usize {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let found =
            Crate { imports: names(imports), test_imports: names(test_imports), programs: Vec::new() };
        check(&BTreeMap::from([(name.to_owned(), found)])).len()
    }

    #[test]
    fn imports_point_down_only() {
        assert_eq!(rules("md", &["runtime", "block", "md-format"], &[]), 0);
        assert_eq!(rules("md", &["bcache", "control", "md"], &[]), 3);
        assert_eq!(rules("runtime", &["md"], &[]), 1);
        assert_eq!(rules("simulation", &["md", "runtime"], &[]), 0);
    }

    #[test]
    fn proof_is_imported_by_tests_alone() {
        assert_eq!(rules("md", &["oracle"], &[]), 1);
        assert_eq!(rules("md", &[], &["oracle"]), 0);
        assert_eq!(rules("md", &[], &["nbd"]), 1);
    }

    #[test]
    fn a_crate_without_a_floor_is_found() {
        assert_eq!(rules("attic", &[], &[]), 1);
    }
}
