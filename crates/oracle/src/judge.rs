//! The two questions that tests ask most: what does the kernel read from these members, and what does mdadm say
//! about each?

use std::path::{Path, PathBuf};

use crate::golden::Content;
use crate::{DiskOpts, Error, Kernel, Run};

/// What begins a part of the output that [`Assembly`] and [`examine`] take apart.
pub(crate) const PART: &str = "== ";

/// An array that the kernel shall assemble from members and read from end to end. The members do not change.
#[derive(Debug, Clone)]
pub struct Assembly {
    kernel: Kernel,
    members: Vec<PathBuf>,
    mdadm: String,
    options: String,
    before: String,
}

/// What the kernel and mdadm made of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// SHA-256 of the whole array, in lower-case hexadecimal.
    pub sha256: String,
    /// Size of the array.
    pub size_bytes: u64,
    /// `/proc/mdstat` while it was assembled.
    pub mdstat: String,
    /// `mdadm --examine` of each member, in the order given.
    pub examine: Vec<String>,
}

impl Assembly {
    /// Members in any order; a missing one is left out.
    pub fn new(kernel: Kernel, members: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        let members = members.into_iter().map(|member| member.as_ref().to_owned()).collect();
        let (mdadm, options) = ("4.4".to_owned(), "--run --readonly".to_owned());
        Self { kernel, members, mdadm, options, before: String::new() }
    }

    /// The version of mdadm.
    pub fn mdadm(mut self, version: impl Into<String>) -> Self {
        self.mdadm = version.into();
        self
    }

    /// The options of `mdadm --assemble`, in place of `--run --readonly`.
    pub fn options(mut self, options: impl Into<String>) -> Self {
        self.options = options.into();
        self
    }

    /// Lines of shell that come before the assembly, such as a module's parameter.
    pub fn before(mut self, script: impl Into<String>) -> Self {
        self.before = script.into();
        self
    }

    /// Boots the kernel and asks.
    ///
    /// # Errors
    /// Also when the kernel or mdadm refuses the members; the error quotes both.
    pub fn run(&self) -> Result<Assembled, Error> {
        let script = format!(
            "{}\nmdadm --assemble /dev/md0 {} $MEMBERS || exit 1\n\
             echo '{PART}content'; content /dev/md0 || exit 1\n\
             echo '{PART}mdstat'; cat /proc/mdstat\n{EXAMINE}",
            self.before, self.options
        );
        let output = self.guest(&script)?;
        let mut parts = parts(&output).into_iter();
        let content = parts.next().unwrap_or_default();
        let mdstat = parts.next().unwrap_or_default().to_owned();
        let Content { sha256, size_bytes, .. } = content.parse()?;
        Ok(Assembled { sha256, size_bytes, mdstat, examine: parts.map(str::to_owned).collect() })
    }

    /// Runs a script on snapshots of the members.
    fn guest(&self, script: &str) -> Result<String, Error> {
        let disks: Vec<String> = (0..self.members.len()).map(|number| format!("/dev/d{number}")).collect();
        let run =
            Run::new(self.kernel).mdadm(&self.mdadm).disks(&self.members, &DiskOpts::default().snapshot());
        Ok(run.variable("MEMBERS", disks.join(" ")).script(script).run()?.success()?.stdout)
    }
}

/// The part of the script that has mdadm look at each member; mdadm's status does not count, its words do.
const EXAMINE: &str = "for member in $MEMBERS; do echo '== examine'; mdadm --examine $member; done; true";

/// What the kernel reads from an array assembled, read-only and also when degraded, from `members`.
pub fn assemble_and_hash(
    kernel: Kernel,
    members: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<Assembled, Error> {
    Assembly::new(kernel, members).run()
}

/// `mdadm --examine` of each member in the guest. For metadata 0.90 and 1.x [`crate::host_mdadm`] does without a
/// boot.
pub fn examine(
    kernel: Kernel,
    members: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<Vec<String>, Error> {
    let output = Assembly::new(kernel, members).guest(EXAMINE)?;
    Ok(parts(&output).into_iter().map(str::to_owned).collect())
}

/// The parts of an output, each without the line that begins it.
pub(crate) fn parts(output: &str) -> Vec<&str> {
    let marked = output.match_indices(PART).map(|(at, _)| at);
    let starts: Vec<usize> = marked.filter(|&at| at == 0 || output.as_bytes()[at - 1] == b'\n').collect();
    let ends = starts.iter().skip(1).copied().chain([output.len()]);
    let whole = starts.iter().zip(ends).map(|(&start, end)| &output[start..end]);
    whole.map(|part| part.split_once('\n').map_or("", |(_, text)| text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_at_lines_of_their_own() {
        assert_eq!(parts("noise\n== a\n1\n2 == no\n== b\n== c\n3\n"), ["1\n2 == no\n", "", "3\n"]);
    }
}
