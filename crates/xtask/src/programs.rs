//! Test programs, built by cargo and run without it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

use crate::shell;

/// A test program, to be run where cargo would run it.
pub struct Program {
    /// Of its file below `tests/`, or its crate.
    pub name: String,
    /// Runs one test at a time.
    pub command: Command,
}

/// Builds the test programs that `words` choose; `None` when that fails, which cargo has then explained.
pub fn build(words: &[&str]) -> anyhow::Result<Option<Vec<Program>>> {
    let mut build = shell::cargo();
    build.args(["test", "--no-run", "--message-format=json-render-diagnostics"]).args(words);
    let output = build.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8(output.stdout).context("cargo's messages")?;
    let messages = text.lines().map(serde_json::from_str);
    let messages: Vec<Value> = messages.collect::<Result<_, _>>().context("cargo's messages")?;
    Ok(Some(messages.iter().filter_map(program).collect()))
}

/// The test program that a message of cargo's speaks of, if it is one.
fn program(message: &Value) -> Option<Program> {
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let path = message["executable"].as_str().filter(|_| is_test)?;
    let folder = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    let name = message["target"]["name"].as_str()?.to_owned();
    let mut command = Command::new(path);
    command.arg("--test-threads=1").current_dir(&folder).env("CARGO_MANIFEST_DIR", folder);
    Some(Program { name, command })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn programs_of_tests_alone_are_run() {
        let message = |is_test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": "/a/crates/md/Cargo.toml",
                "target": { "name": "life" }, "profile": { "test": is_test }, "executable": "/a/target/life",
            })
        };
        assert!(program(&message(false)).is_none());
        let program = program(&message(true)).unwrap();
        assert_eq!(program.name, "life");
        assert_eq!(program.command.get_current_dir(), Some(Path::new("/a/crates/md")));
    }
}
