//! The kernel is the judge: this room boots a real Linux on our disk images and reports what it saw.
//!
//! A [`Run`] is one boot: a [`Kernel`], the disks, a shell script, and the [`Outcome`]. The guest has busybox,
//! mdadm, mdmon, the bcache tools, every md and bcache module of that kernel, the helpers of `guest/lib.sh` and
//! [`pattern`] as a command. Nothing of this machine is touched: no root, no device, no network, no installed
//! package. Everything a boot needs comes from Debian packages that `cargo xtask oracle fetch` unpacks into a
//! cache folder, and [`ready`] says exactly what is absent.
//!
//! ```no_run
//! use oracle::{DiskOpts, Kernel, Run};
//!
//! let outcome = Run::new(Kernel::Uml)
//!     .mdadm("4.4")
//!     .disk("a.img", DiskOpts::default().snapshot())
//!     .disk("b.img", DiskOpts::default().snapshot())
//!     .script("mdadm -A /dev/md0 --readonly /dev/d[01] && sha256sum /dev/md0")
//!     .run()?
//!     .success()?;
//! println!("{}", outcome.stdout);
//! # Ok::<(), oracle::Error>(())
//! ```
//!
//! A test that boots a kernel begins with [`required`] and has the word `kernel` in its name, so that
//! `cargo xtask oracle all` finds it and repeats it under every kernel.

mod cache;
mod error;
pub mod golden;
mod host;
mod judge;
mod kernel;
pub mod left_out;
mod limits;
pub mod live;
mod machine;
pub mod pattern;
pub mod prepare;
mod run;

pub use cache::Cache;
pub use error::{Error, Missing};
pub use host::{host_mdadm, installed};
pub use judge::{Assembled, Assembly, assemble_and_hash, examine};
pub use kernel::{Boot, Kernel, ready, required};
pub use run::{Bus, DiskOpts, Ending, Outcome, Run};
