//! Programs of the host: running them, finding them, and mdadm for files without any kernel.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::tail;
use crate::{Cache, Error, Missing};

/// A command that runs the fetched mdadm `version` (such as `4.4`) on this machine, to be given its arguments.
///
/// It reads plain files: `--examine`, `--examine-bitmap` and `--examine-badblocks` work on members in files for the
/// metadata 0.90 and 1.x, without root and without md in the running kernel. It runs with the loader and the
/// libraries of the cache, whatever this machine has.
pub fn host_mdadm(version: &str) -> Result<Command, Missing> {
    let tools = Cache::find().tools();
    let program = mdadm_program(&Cache::find(), version, "mdadm")?;
    let mut command = Command::new(tools.join("lib/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(tools.join("lib")).arg(program);
    Ok(command)
}

/// The file of `program` (mdadm or mdmon) in one version of mdadm.
pub(crate) fn mdadm_program(cache: &Cache, version: &str, program: &str) -> Result<PathBuf, Missing> {
    let path = cache.tools().join("mdadm").join(version).join(program);
    if path.is_file() {
        return Ok(path);
    }
    let what = format!("mdadm {version} is not prepared ({} is absent)", path.display());
    let kernel = if matches!(version, "4.2" | "4.4") { "uml" } else { "7.2" };
    Err(Missing::new(what, format!("cargo xtask oracle fetch {kernel}")))
}

/// Where `program` is installed, or which Debian package brings it: for tests that need another program as judge.
pub fn installed(program: &str, package: &str) -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    let remedy = || format!("apt-get install --no-install-recommends {package}");
    found.ok_or_else(|| Missing::new(format!("{program} is not installed"), remedy()))
}

/// Runs a command to its end and returns what it printed; anything but success is an error that quotes it.
pub(crate) fn output_of(command: &mut Command) -> Result<String, Error> {
    bytes_of(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// [`output_of`] for output that is no text.
pub(crate) fn bytes_of(command: &mut Command) -> Result<Vec<u8>, Error> {
    let shown = shown(command);
    let failed =
        |status: String, output: &str| Error::Tool { command: shown.clone(), status, output: tail(output) };
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string(), ""))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string(), &String::from_utf8_lossy(&output.stderr)));
    }
    Ok(output.stdout)
}

/// The command line, for an error.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
