//! The guest's `pattern` command, built when it is first needed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Named;
use crate::host::output_of;
use crate::{Cache, Error};

const SOURCES: [&str; 2] = [include_str!("../../guest/pattern.rs"), include_str!("../pattern.rs")];

/// The program, linked statically so that it runs in any guest. Its name carries a hash of its source, so an edit
/// makes a new one.
pub(crate) fn pattern_command(cache: &Cache) -> Result<PathBuf, Error> {
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    let program = cache.tools().join(format!("pattern-{:016x}", hasher.finish()));
    if program.is_file() {
        return Ok(program);
    }
    std::fs::create_dir_all(cache.tools()).named("create", &cache.tools())?;
    // Tests of several processes may come here at once: each builds its own and the last rename wins.
    let fresh = cache.tools().join(format!("pattern-{}.new", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/pattern.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let options = ["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-o"];
    output_of(Command::new(rustc).args(options).arg(&fresh).arg(source))?;
    std::fs::rename(&fresh, &program).named("rename", &fresh)?;
    Ok(program)
}
