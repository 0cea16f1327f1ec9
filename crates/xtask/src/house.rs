//! The house as cargo sees it: which crates there are, what they import, what they build.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;

use crate::shell;

/// One crate of the workspace.
pub struct Crate {
    /// Other crates of the workspace that it imports to be built (not those of its tests alone).
    pub imports: Vec<String>,
    /// Other crates of the workspace that only its tests import.
    pub test_imports: Vec<String>,
    /// The programs it builds.
    pub programs: Vec<String>,
}

/// The crates of the workspace by name.
pub fn crates() -> anyhow::Result<BTreeMap<String, Crate>> {
    let text = shell::output(shell::cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata prints JSON")?;
    Ok(array(&metadata, "packages").iter().map(|package| (string(package, "name"), read(package))).collect())
}

fn read(package: &Value) -> Crate {
    let inside = |dependency: &&Value| dependency["path"].is_string();
    let for_tests = |dependency: &&Value| dependency["kind"] == "dev";
    let (test_imports, imports): (Vec<&Value>, Vec<&Value>) =
        array(package, "dependencies").iter().filter(inside).partition(for_tests);
    let names =
        |dependencies: Vec<&Value>| dependencies.into_iter().map(|each| string(each, "name")).collect();
    let builds_program = |target: &&Value| array(target, "kind").iter().any(|kind| kind == "bin");
    Crate {
        imports: names(imports),
        test_imports: names(test_imports),
        programs: array(package, "targets")
            .iter()
            .filter(builds_program)
            .map(|each| string(each, "name"))
            .collect(),
    }
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn string(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
