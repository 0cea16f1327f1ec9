//! Picking a kernel's modules: those a guest may need and what they depend on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::unpack::{fresh, only_entry};
use crate::error::Named;
use crate::host::{bytes_of, output_of};
use crate::{Cache, Error};

/// What a guest may need. A name that a kernel does not have is built into it, or of another version.
const WANTED: [&str; 4] = [
    "virtio-pci virtio-blk virtio-scsi sd-mod 9p 9pnet-virtio",
    "md-mod linear md-linear raid0 raid1 raid10 raid456 faulty multipath",
    "bcache libcrc32c crc32c crc32c-generic crc32c-intel",
    "ublk-drv nbd loop ext4 xfs fuse",
];

/// Copies the wanted modules of an unpacked kernel to `stage`, with the tables that modprobe reads. Returns the
/// paths of all these files below `stage`, which are also their paths in the guest.
pub(super) fn stage(cache: &Cache, package: &Path, stage: &Path) -> Result<Vec<String>, Error> {
    let source = source(package)?;
    let release = source.file_name().expect("a release").to_string_lossy().into_owned();
    let below = format!("lib/modules/{release}");
    let target = stage.join(&below);
    fresh(&target)?;

    let available = index(&source)?;
    let mut todo: Vec<String> = WANTED.iter().flat_map(|names| names.split(' ')).map(str::to_owned).collect();
    let mut done = BTreeMap::new();
    while let Some(name) = todo.pop() {
        let Some(file) = available.get(&name).filter(|_| !done.contains_key(&name)) else { continue };
        let bytes = read(cache, file)?;
        todo.extend(dependencies(&bytes));
        let path = format!("{below}/{name}.ko");
        std::fs::write(stage.join(&path), bytes).named("write", &stage.join(&path))?;
        done.insert(name, path);
    }
    let busybox = cache.tools().join("busybox");
    output_of(Command::new(busybox).args(["depmod", "-b"]).arg(stage).arg(&release))?;
    let tables = ["modules.dep", "modules.alias", "modules.symbols"].map(|table| format!("{below}/{table}"));
    Ok(done.into_values().chain(tables).filter(|path| stage.join(path).exists()).collect())
}

/// The folder of the modules, which has the name of the kernel's release. Packages differ in where they put it.
pub(super) fn source(package: &Path) -> Result<PathBuf, Error> {
    for place in ["lib/modules", "usr/lib/modules", "usr/lib/uml/modules"] {
        let folder = package.join(place);
        if folder.is_dir() {
            return only_entry(&folder);
        }
    }
    Err(Error::Unexpected {
        what: package.display().to_string(),
        expected: "a folder lib/modules",
        found: "none".into(),
    })
}

/// Every module below `folder` by its name, with `-` for `_` as in the file names of md.
fn index(folder: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).named("list", folder)? {
        let path = entry.named("list", folder)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            found.extend(index(&path)?);
        } else if let Some((stem, _)) = name.split_once(".ko") {
            found.insert(stem.replace('_', "-"), path);
        }
    }
    Ok(found)
}

/// The module, unpacked.
fn read(cache: &Cache, file: &Path) -> Result<Vec<u8>, Error> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        return bytes_of(Command::new(cache.tools().join("busybox")).arg("xzcat").arg(file));
    }
    std::fs::read(file).named("read", file)
}

/// The names in a module's `depends=` note: NUL-terminated text in its section `.modinfo`.
fn dependencies(module: &[u8]) -> Vec<String> {
    const NOTE: &[u8] = b"\0depends=";
    let Some(at) = module.windows(NOTE.len()).position(|window| window == NOTE) else { return Vec::new() };
    let text = module[at + NOTE.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('_', "-")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_note() {
        assert_eq!(
            dependencies(b"x\0license=GPL\0depends=md-mod,async_tx\0name=raid456\0"),
            ["md-mod", "async-tx"]
        );
        assert!(dependencies(b"\0depends=\0name=md_mod\0").is_empty());
        assert!(dependencies(b"no note").is_empty());
    }
}
