//! Unpacking Debian packages into a folder of the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::Package;
use crate::error::Named;
use crate::host::output_of;
use crate::{Cache, Error, Missing};

/// Unpacks `packages` together into the folder `name`, in place of what was there.
pub(super) fn unpack<'a>(
    cache: &Cache,
    name: &str,
    packages: impl Iterator<Item = &'a Package>,
) -> Result<PathBuf, Error> {
    let tree = cache.unpacked(name);
    fresh(&tree)?;
    for package in packages {
        output_of(Command::new("dpkg-deb").arg("-x").arg(file_of(cache, package)?).arg(&tree))?;
    }
    Ok(tree)
}

/// The downloaded file of a package.
pub(super) fn file_of(cache: &Cache, package: &Package) -> Result<PathBuf, Error> {
    let folder = cache.packages(package.suite).join(package.folder());
    if !folder.is_dir() {
        let what = format!("the package {} of Debian {} was not fetched", package.folder(), package.suite);
        return Err(Missing::new(what, "cargo xtask oracle fetch").into());
    }
    only_entry(&folder)
}

/// The one entry of a folder.
pub(super) fn only_entry(folder: &Path) -> Result<PathBuf, Error> {
    match std::fs::read_dir(folder).named("list", folder)?.next() {
        Some(entry) => Ok(entry.named("list", folder)?.path()),
        None => Err(Error::Unexpected {
            what: folder.display().to_string(),
            expected: "one entry",
            found: "nothing".into(),
        }),
    }
}

/// Makes `folder` an empty one.
pub(super) fn fresh(folder: &Path) -> Result<(), Error> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).named("remove", folder)?;
    }
    std::fs::create_dir_all(folder).named("create", folder)
}
