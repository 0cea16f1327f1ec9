//! FUSE: volumes as files, of which `losetup` makes block devices.
//!
//! The kernel's protocol is on one side, [`block::Request`]s are on the other; nothing here knows what the devices are made
//! of. The server runs on the core of the devices and on the executor of [`runtime`]: it receives into buffers that go on
//! to the devices as they are, and nothing is allocated after the start (ADR 22). Caching is nobody's: files are opened for
//! direct I/O, so what was answered has reached the members, and an `fsync` is their flush.
//!
//! Source: `include/uapi/linux/fuse.h` and `fs/fuse` of Linux.

mod error;
pub mod limits;
mod mount;
mod server;
mod tree;
pub mod wire;

pub use error::Error;
pub use mount::{Holder, Mount, Options, hold};
pub use server::{Server, ServerCounters};
pub use tree::file_name;
