//! The table of Debian packages: what each kernel and its guest are made of.

use crate::Kernel;

/// A Debian suite and the archives it is read from: (archive, name of the suite there).
pub(super) struct Suite {
    pub name: &'static str,
    pub archives: &'static [(&'static str, &'static str)],
}

/// One package: by its exact name, or the highest version among names of a form, as kernels carry their version
/// in the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Package {
    pub suite: &'static str,
    /// What the name begins with.
    pub prefix: &'static str,
    /// What it ends with, after a version number. `None`: the prefix is the whole name.
    pub suffix: Option<&'static str>,
}

pub(super) const SUITES: [Suite; 3] = [
    Suite { name: "bookworm", archives: &[("debian", "bookworm"), ("debian-security", "bookworm-security")] },
    Suite { name: "trixie", archives: &[("debian", "trixie")] },
    Suite { name: "sid", archives: &[("debian", "sid")] },
];

/// The guest's programs, the same under every kernel. The libraries are those of the suite that has the newer of
/// the two mdadm, since an older program runs with a newer libc and not the other way round.
const GUEST: [Package; 9] = [
    exactly("bookworm", "busybox-static"),
    exactly("bookworm", "bcache-tools"),
    exactly("bookworm", "mdadm"),
    exactly("trixie", "mdadm"),
    exactly("trixie", "libc6"),
    exactly("trixie", "libudev1"),
    exactly("trixie", "libcap2"),
    exactly("trixie", "libblkid1"),
    exactly("trixie", "libuuid1"),
];

const UML: [Package; 1] = [exactly("bookworm", "user-mode-linux")];
const K6_1: [Package; 1] = [newest("bookworm", "linux-image-6.1.0-", "-amd64")];
const K6_12: [Package; 1] = [newest("bookworm", "linux-image-6.12.", "+deb12-amd64")];
const K7_2: [Package; 2] =
    [newest("sid", "linux-binary-7.2.", "+deb14-amd64"), newest("sid", "linux-modules-7.2.", "+deb14-amd64")];

/// The newest mdadm comes with the newest kernel, so that nobody else has to read the lists of its suite.
const NEWEST_MDADM: Package = exactly("sid", "mdadm");

/// What several kernels take from one suite, each package once.
pub(super) fn of_all(kernels: &[Kernel], suite: &str) -> Vec<&'static Package> {
    let mut packages: Vec<&Package> = Vec::new();
    for package in kernels.iter().flat_map(|&kernel| of(kernel)).filter(|package| package.suite == suite) {
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    packages
}

/// The packages of a kernel: its own, then the guest's.
fn of(kernel: Kernel) -> impl Iterator<Item = &'static Package> {
    own(kernel)
        .iter()
        .chain(guest())
        .filter(move |&&package| kernel == Kernel::K7_2 || package != NEWEST_MDADM)
}

/// The packages of the guest's programs, the newest mdadm among them.
pub(super) fn guest() -> impl Iterator<Item = &'static Package> + Clone {
    GUEST.iter().chain([&NEWEST_MDADM])
}

/// The packages that hold the kernel and its modules.
pub(super) fn own(kernel: Kernel) -> &'static [Package] {
    match kernel {
        Kernel::Uml => &UML,
        Kernel::K6_1 => &K6_1,
        Kernel::K6_12 => &K6_12,
        Kernel::K7_2 => &K7_2,
    }
}

impl Package {
    /// The folder it is unpacked in: the name without the version, so that a newer one takes its place.
    pub(super) fn folder(&self) -> String {
        format!("{}{}", self.prefix.trim_end_matches(['-', '.']), self.suffix.unwrap_or(""))
    }

    /// The version inside `name`, if this is a package that is meant.
    pub(super) fn version_in(&self, name: &str) -> Option<Vec<u64>> {
        let rest = name.strip_prefix(self.prefix)?;
        match self.suffix {
            None => rest.is_empty().then(Vec::new),
            Some(suffix) => {
                rest.strip_suffix(suffix)?.split(['.', '-']).map(|part| part.parse().ok()).collect()
            }
        }
    }
}

const fn exactly(suite: &'static str, name: &'static str) -> Package {
    Package { suite, prefix: name, suffix: None }
}

const fn newest(suite: &'static str, prefix: &'static str, suffix: &'static str) -> Package {
    Package { suite, prefix, suffix: Some(suffix) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_names_are_compared_as_numbers() {
        let package = newest("bookworm", "linux-image-6.1.0-", "-amd64");
        assert_eq!(package.version_in("linux-image-6.1.0-50-amd64"), Some(vec![50]));
        assert!(
            package.version_in("linux-image-6.1.0-100-amd64")
                > package.version_in("linux-image-6.1.0-9-amd64")
        );
        assert_eq!(package.version_in("linux-image-6.1.0-50-cloud-amd64"), None);
        assert_eq!(exactly("sid", "mdadm").version_in("mdadm-udeb"), None);
    }

    #[test]
    fn no_two_packages_of_a_kernel_share_a_folder() {
        for kernel in Kernel::ALL {
            let mut folders: Vec<_> = of(kernel).map(|package| (package.suite, package.folder())).collect();
            folders.sort();
            folders.dedup();
            assert_eq!(folders.len(), of(kernel).count(), "{kernel}");
        }
    }
}
