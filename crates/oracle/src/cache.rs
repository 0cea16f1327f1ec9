//! Where the fetched packages and the kernels made ready from them lie.

use std::path::{Path, PathBuf};

use crate::Kernel;

/// The cache folder: `.cache/oracle` at the root of the repository, or the folder that `ASHLAR_CACHE` names.
/// It is never committed and may be deleted at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of this checkout.
    pub fn find() -> Self {
        match std::env::var_os("ASHLAR_CACHE") {
            Some(folder) => Self::at(folder),
            None => Self::at(repository().join(".cache/oracle")),
        }
    }

    /// A cache in the given folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Package lists of one Debian suite, apart from the machine's own.
    pub(crate) fn apt(&self, suite: &str) -> PathBuf {
        self.root.join("apt").join(suite)
    }

    /// Downloaded packages of one suite.
    pub(crate) fn packages(&self, suite: &str) -> PathBuf {
        self.root.join("packages").join(suite)
    }

    /// Where packages are unpacked while something is built from them.
    pub(crate) fn unpacked(&self, name: &str) -> PathBuf {
        self.root.join("unpacked").join(name)
    }

    /// Programs that run on the host: busybox, each mdadm, the loader and the libraries they need.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// The two files that boot `kernel`.
    pub(crate) fn boot(&self, kernel: Kernel) -> PathBuf {
        self.root.join("boot").join(kernel.name())
    }
}

/// The root of the repository this crate was built in.
pub(crate) fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("the crate lies two folders below the root").to_owned()
}
