//! The guest's own commands, built when they are first needed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Named;
use crate::host::output_of;
use crate::{Cache, Error};

/// What each is made of; the first file of each lies in `guest/`.
const PATTERN: [&str; 2] = [include_str!("../../guest/pattern.rs"), include_str!("../pattern.rs")];
const LOAD: [&str; 1] = [include_str!("../../guest/load.rs")];

/// The command that writes and checks content on devices.
pub(crate) fn pattern_command(cache: &Cache) -> Result<PathBuf, Error> {
    command(cache, "pattern", &PATTERN)
}

/// The command that writes files and takes memory.
pub(crate) fn load_command(cache: &Cache) -> Result<PathBuf, Error> {
    command(cache, "load", &LOAD)
}

/// A program, linked statically so that it runs in any guest. Its name carries a hash of its source, so an edit makes a
/// new one.
fn command(cache: &Cache, name: &str, sources: &[&str]) -> Result<PathBuf, Error> {
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    let program = cache.tools().join(format!("{name}-{:016x}", hasher.finish()));
    if program.is_file() {
        return Ok(program);
    }
    std::fs::create_dir_all(cache.tools()).named("create", &cache.tools())?;
    // Tests of several processes may come here at once: each builds its own and the last rename wins.
    let fresh = cache.tools().join(format!("{name}-{}.new", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("guest/{name}.rs"));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let options = ["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"];
    output_of(Command::new(rustc).args(options).arg(&fresh).arg(source))?;
    std::fs::rename(&fresh, &program).named("rename", &fresh)?;
    Ok(program)
}
