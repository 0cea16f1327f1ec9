//! The Debian packages that tests need, installed where that is allowed.

use std::process::Command;

use oracle::installed;

use super::plain;
use super::report::Report;
use crate::shell;

/// A package, a program that shows that it is there, and what runs with it.
struct Package {
    name: &'static str,
    program: &'static str,
    needed_by: &'static str,
}

/// Other people's programs judge ours. What the kernel's guest needs is fetched, not installed.
const PACKAGES: [Package; 6] = [
    Package {
        name: "qemu-utils",
        program: "qemu-img",
        needed_by: "tests of our NBD server with qemu-img and qemu-io",
    },
    Package { name: "nbdkit", program: "nbdkit", needed_by: "tests of our NBD client against nbdkit" },
    Package {
        name: "libnbd-bin",
        program: "nbdinfo",
        needed_by: "tests of our NBD server with nbdinfo and nbdcopy",
    },
    Package { name: "fio", program: "fio", needed_by: "tests under load by fio" },
    Package {
        name: "fuse3",
        program: "fusermount3",
        needed_by: "tests of volumes as files for who is not root",
    },
    Package { name: "xfsprogs", program: "mkfs.xfs", needed_by: "tests of xfs on a volume's file" },
];

/// Installs what is absent, if this is root and apt works; otherwise says what is left out and why.
pub fn install(report: &mut Report) -> anyhow::Result<()> {
    println!("== Debian packages");
    if absent().next().is_none() {
        println!("all there");
        return Ok(());
    }
    let why = if !rustix::process::geteuid().is_root() {
        "this is not root"
    } else if installed("apt-get", "apt").is_err() {
        "there is no apt-get"
    } else if apt_installs()? {
        "apt-get installed the package, but it has no such program"
    } else {
        "apt-get cannot install it"
    };
    for package in absent() {
        report.left_out(format!(
            "{}: {} is not installed and {why} (apt-get install {})",
            package.needed_by, package.program, package.name
        ));
    }
    Ok(())
}

/// Package lists may be missing or old: where the first try fails they are read anew.
fn apt_installs() -> anyhow::Result<bool> {
    let names: Vec<&str> = absent().map(|package| package.name).collect();
    println!("installing {}", names.join(" "));
    let install =
        || shell::succeeds(apt().args(["install", "--no-install-recommends", "--quiet"]).args(&names));
    Ok(install()? || (shell::succeeds(apt().args(["update", "--quiet"]))? && install()?))
}

fn apt() -> Command {
    let mut apt = shell::command("apt-get");
    plain(&mut apt).env("DEBIAN_FRONTEND", "noninteractive").args(["--yes", "-o", "DPkg::Lock::Timeout=60"]);
    apt
}

fn absent() -> impl Iterator<Item = &'static Package> {
    PACKAGES.iter().filter(|package| installed(package.program, package.name).is_err())
}
