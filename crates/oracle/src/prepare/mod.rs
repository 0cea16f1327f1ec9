//! Making a kernel ready: Debian packages in, a kernel image and the guest's root out.
//!
//! Nothing is installed and the machine's own apt is not touched: each suite has its package lists in the cache
//! folder, and packages are unpacked, never configured.

mod apt;
mod archive;
mod modules;
mod packages;
mod root;
mod tool;
mod unpack;

pub(crate) use archive::Archive;
pub(crate) use tool::{load_command, pattern_command};

use crate::{Boot, Cache, Error, Kernel, ready};

/// Downloads the newest packages for `kernels`. `say` gets a line for each step.
pub fn fetch(kernels: &[Kernel], say: &dyn Fn(&str)) -> Result<(), Error> {
    let cache = Cache::find();
    for suite in packages::SUITES {
        let packages = packages::of_all(kernels, suite.name);
        if packages.is_empty() {
            continue;
        }
        say(&format!("reading the package lists of Debian {}", suite.name));
        let lists = apt::Lists::update(&cache, &suite)?;
        for package in packages {
            let found = lists.newest(package)?;
            say(&format!("downloading {} {} ({})", found.name, found.version, suite.name));
            lists.download(&cache, package, &found)?;
        }
    }
    Ok(())
}

/// Builds the tools of the host and the boot files of `kernel` from what [`fetch`] brought.
pub fn build(kernel: Kernel, say: &dyn Fn(&str)) -> Result<Boot, Error> {
    let cache = Cache::find();
    say("setting up busybox, mdadm and their libraries");
    root::tools(&cache)?;
    say(&format!("building the guest's root for the {kernel} kernel"));
    root::boot_files(&cache, kernel)?;
    pattern_command(&cache)?;
    Ok(ready(kernel)?)
}
