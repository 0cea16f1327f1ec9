//! The tools of the host and the guest's root, made from unpacked packages.

use std::path::{Path, PathBuf};

use super::unpack::{file_of, unpack};
use super::{Archive, modules, packages};
use crate::error::Named;
use crate::{Cache, Error, Kernel};

/// The loader and every library that mdadm, mdmon and the bcache tools name.
const LIBRARIES: [&str; 6] =
    ["ld-linux-x86-64.so.2", "libc.so.6", "libudev.so.1", "libcap.so.2", "libblkid.so.1", "libuuid.so.1"];

/// Programs of the guest besides busybox and mdadm.
const BCACHE_TOOLS: [&str; 2] = ["make-bcache", "bcache-super-show"];

/// Sets up the folder of tools: busybox, the bcache tools, `lib/`, and `mdadm/VERSION/` for each mdadm.
pub(super) fn tools(cache: &Cache) -> Result<(), Error> {
    let tools = cache.tools();
    for suite in ["bookworm", "trixie", "sid"] {
        let packages = packages::guest().filter(|package| package.suite == suite);
        if suite == "sid" && packages.clone().any(|package| file_of(cache, package).is_err()) {
            continue; // it comes with the newest kernel alone
        }
        let tree = unpack(cache, suite, packages.clone())?;
        for name in ["busybox"].into_iter().chain(BCACHE_TOOLS).chain(LIBRARIES) {
            if let Some(source) = program(&tree, name) {
                copy(&source, &tools.join(if LIBRARIES.contains(&name) { "lib" } else { "" }).join(name))?;
            }
        }
        let mdadm = packages.clone().find(|package| package.prefix == "mdadm").expect("each suite has one");
        let folder = tools.join("mdadm").join(upstream_version(&file_of(cache, mdadm)?));
        for name in ["mdadm", "mdmon"] {
            copy(&expected(&tree, name)?, &folder.join(name))?;
        }
        remove(&tree)?;
    }
    Ok(())
}

/// Writes the two boot files of `kernel`.
pub(super) fn boot_files(cache: &Cache, kernel: Kernel) -> Result<(), Error> {
    let boot = cache.boot(kernel);
    let tree = unpack(cache, kernel.name(), packages::own(kernel).iter())?;
    copy(&image(&tree)?, &boot.join("kernel"))?;
    let stage = cache.unpacked("modules");
    let modules = modules::stage(cache, &tree, &stage)?;

    let mut root = Archive::default();
    for directory in ["proc", "sys", "dev", "run", "tmp", "host", "mnt"] {
        root.directory(directory);
    }
    let tools = cache.tools();
    root.host_program("bin/busybox", &tools.join("busybox"))?;
    root.link("sbin/modprobe", "../bin/busybox"); // the kernel calls it by this path
    for library in LIBRARIES {
        root.host_program(&format!("lib64/{library}"), &tools.join("lib").join(library))?;
    }
    root.link("lib/x86_64-linux-gnu", "../lib64");
    for program in BCACHE_TOOLS {
        root.host_program(&format!("sbin/{program}"), &tools.join(program))?;
    }
    for file in modules {
        let source = stage.join(&file);
        root.file(&file, &std::fs::read(&source).named("read", &source)?);
    }
    let initramfs = boot.join("initramfs");
    std::fs::write(&initramfs, root.finish()).named("write", &initramfs)?;
    remove(&stage)?;
    remove(&tree)
}

/// The kernel itself in its unpacked packages.
fn image(tree: &Path) -> Result<PathBuf, Error> {
    let modules = modules::source(tree)?;
    let release = modules.file_name().expect("a release").to_string_lossy();
    let places = [
        tree.join("usr/bin/linux.uml"),
        tree.join(format!("boot/vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ];
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| absent(tree, "a kernel image"))
}

/// A program or library in the places where Debian puts them, before and after the merge of /usr.
fn program(tree: &Path, name: &str) -> Option<PathBuf> {
    let places = ["bin", "sbin", "usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu"];
    places.iter().map(|place| tree.join(place).join(name)).find(|path| path.is_file())
}

fn expected(tree: &Path, name: &'static str) -> Result<PathBuf, Error> {
    program(tree, name).ok_or_else(|| absent(tree, name))
}

fn absent(tree: &Path, expected: &'static str) -> Error {
    Error::Unexpected { what: format!("the packages in {}", tree.display()), expected, found: "none".into() }
}

/// `4.4` of `mdadm_4.4-11_amd64.deb`.
fn upstream_version(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let version = name.split('_').nth(1).unwrap_or_default();
    version.split(['-', '+']).next().unwrap_or_default().to_owned()
}

fn copy(source: &Path, target: &Path) -> Result<(), Error> {
    let folder = target.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).named("create", folder)?;
    // Somebody may be running the old file: the new one takes its name, the old one keeps its content.
    let fresh = folder.join("incoming");
    std::fs::copy(source, &fresh).named("copy", source)?;
    std::fs::rename(&fresh, target).named("rename", &fresh)
}

fn remove(folder: &Path) -> Result<(), Error> {
    std::fs::remove_dir_all(folder).named("remove", folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_mdadm_is_that_of_its_authors() {
        assert_eq!(upstream_version(Path::new("packages/mdadm_4.4-11_amd64.deb")), "4.4");
        assert_eq!(upstream_version(Path::new("mdadm_4.2+20230101-1_amd64.deb")), "4.2");
    }
}
