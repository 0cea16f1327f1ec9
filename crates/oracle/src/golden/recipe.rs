//! A recipe: the script that a kernel ran to make an image, with a head that says under what.

use std::path::Path;

use crate::error::Named;
use crate::{Error, Kernel};

/// `recipe.sh`: comment lines `# key: value` at its head, then shell.
///
/// ```text
/// # raid1 on metadata 1.2                 what it is, in words
/// # kernel: 6.12                          who makes it, and reads it back
/// # mdadm: 4.4
/// # disks: 8M 8M                          sizes of d0.img, d1.img, ...
/// # members: d0 d1                        (all) those that belong to the array as it now is
/// # before: echo 2 > /sys/...             (nothing) shell that comes before making and before assembling
/// # open: bcache_register /dev/d0         (mdadm assembles them) shell that makes /dev/bcache0 of the disks
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What it is, in words.
    pub title: String,
    /// The kernel that made it.
    pub kernel: Kernel,
    /// The mdadm that made it.
    pub mdadm: String,
    /// Sizes of the members in bytes.
    pub disks_bytes: Vec<u64>,
    /// Numbers of those images that the array assembles from; the others are stale or foreign.
    pub members: Vec<usize>,
    /// Shell that comes before making and before assembling.
    pub before: String,
    /// Shell that makes /dev/bcache0 of the disks; empty if they are an array for mdadm to assemble.
    pub open: String,
    /// The script itself.
    pub script: String,
}

impl Recipe {
    /// Reads a recipe.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).named("read", path)?;
        Self::parse(&text).map_err(|(expected, found)| Error::Unexpected {
            what: path.display().to_string(),
            expected,
            found,
        })
    }

    fn parse(text: &str) -> Result<Self, (&'static str, String)> {
        let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim).collect();
        let value = |key: &str| {
            let values = head.iter().filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            values.map(str::trim).next().unwrap_or_default().to_owned()
        };
        let kernel = value("kernel").parse().map_err(|unknown| ("a kernel", unknown))?;
        let disks = value("disks");
        let disks_bytes: Vec<u64> =
            disks.split_whitespace().map(bytes).collect::<Option<_>>().ok_or(("sizes", disks))?;
        let names = value("members");
        let members = match names.as_str() {
            "" => (0..disks_bytes.len()).collect(),
            names => names
                .split_whitespace()
                .map(|name| name.strip_prefix('d')?.parse().ok().filter(|&number| number < disks_bytes.len()))
                .collect::<Option<_>>()
                .ok_or_else(|| ("names of disks", names.to_owned()))?,
        };
        Ok(Self {
            title: head.first().copied().unwrap_or_default().to_owned(),
            kernel,
            mdadm: value("mdadm"),
            disks_bytes,
            members,
            before: value("before"),
            open: value("open"),
            script: text.to_owned(),
        })
    }
}

/// `8M` or `8100K` as bytes.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.strip_suffix('K') {
        Some(digits) => (digits, 10),
        None => (text.strip_suffix('M')?, 20),
    };
    digits.parse::<u64>().ok().map(|number| number << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# two and a stray\n#\n# kernel: 6.12\n# mdadm: 4.4\n# disks: 8M 4M 8M\n# members: d0 d2\n\ntrue\n";

    #[test]
    fn the_head_says_how() {
        let recipe = Recipe::parse(TEXT).unwrap();
        assert_eq!((recipe.title.as_str(), recipe.kernel), ("two and a stray", Kernel::K6_12));
        assert_eq!((recipe.disks_bytes, recipe.members), (vec![8 << 20, 4 << 20, 8 << 20], vec![0, 2]));
        assert_eq!(Recipe::parse(&TEXT.replace("# members: d0 d2\n", "")).unwrap().members, [0, 1, 2]);
        assert_eq!(Recipe::parse(&TEXT.replace("4M", "4100K")).unwrap().disks_bytes[1], 4100 << 10);
    }

    #[test]
    fn a_wrong_head_is_quoted() {
        assert_eq!(
            Recipe::parse(&TEXT.replace("d0 d2", "d0 d3")).unwrap_err(),
            ("names of disks", "d0 d3".into())
        );
        assert_eq!(Recipe::parse(&TEXT.replace("4M", "4")).unwrap_err().0, "sizes");
        assert_eq!(Recipe::parse("true").unwrap_err().0, "a kernel");
    }
}
