//! The kernels that judge, and whether they are ready to boot.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Cache, Missing, left_out};

/// A Linux kernel as Debian ships it. UML runs as an ordinary process (two seconds a run); the others run under
/// QEMU's software emulation (five to ten seconds a run).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// User-mode Linux 6.1. The only one that `cargo xtask test` boots, and one of the two that know linear.
    Uml,
    /// Debian 12's own kernel.
    K6_1,
    /// The long-term kernel of 2024, the reference for formats.
    K6_12,
    /// The newest one; it writes `logical_block_size` into 1.x superblocks.
    K7_2,
}

/// The files of a kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Which kernel it is.
    pub kernel: Kernel,
    /// The program (UML) or the compressed image (QEMU).
    pub image: PathBuf,
    /// The guest's root with everything but `/init` and the script.
    pub initramfs: PathBuf,
}

impl Kernel {
    /// All of them, the quickest first.
    pub const ALL: [Kernel; 4] = [Kernel::Uml, Kernel::K6_1, Kernel::K6_12, Kernel::K7_2];

    /// The name people type.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Uml => "uml",
            Kernel::K6_1 => "6.1",
            Kernel::K6_12 => "6.12",
            Kernel::K7_2 => "7.2",
        }
    }

    /// The kernel that tests boot: UML, or the one `ASHLAR_KERNEL` names.
    ///
    /// # Panics
    /// When the variable names no kernel, for a test that boots another one than asked proves nothing.
    pub fn under_test() -> Self {
        match std::env::var("ASHLAR_KERNEL") {
            Ok(name) => name.parse().unwrap_or_else(|unknown| panic!("ASHLAR_KERNEL: {unknown}")),
            Err(_) => Kernel::Uml,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Kernel::ALL
            .into_iter()
            .find(|kernel| kernel.name() == name)
            .ok_or_else(|| format!("`{name}` is no kernel; there are uml, 6.1, 6.12 and 7.2"))
    }
}

/// The kernel's boot files, or what is absent and the command that brings it.
pub fn ready(kernel: Kernel) -> Result<Boot, Missing> {
    let cache = Cache::find();
    let folder = cache.boot(kernel);
    let boot = Boot { kernel, image: folder.join("kernel"), initramfs: folder.join("initramfs") };
    for file in [&boot.image, &boot.initramfs] {
        if !file.is_file() {
            return Err(Missing::new(
                format!("the {kernel} kernel is not prepared ({} is absent)", file.display()),
                format!("cargo xtask oracle fetch {kernel}"),
            ));
        }
    }
    if kernel != Kernel::Uml {
        crate::installed("qemu-system-x86_64", "qemu-system-x86")?;
    }
    Ok(boot)
}

/// [`ready`] for tests: `None` means that the test is left out, which [`left_out::record`] has written down.
///
/// # Panics
/// When the kernel is not ready and nobody keeps the list of what was left out (see [`left_out`]).
pub fn required(kernel: Kernel) -> Option<Boot> {
    ready(kernel)
        .map_err(|missing| left_out::record(&format!("tests under the {kernel} kernel"), &missing))
        .ok()
}
