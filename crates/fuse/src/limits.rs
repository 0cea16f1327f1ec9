//! Every limit of the crate, with the reason for its number.

use std::time::Duration;

use block::MAX_BUFFER;

/// Requests to devices in flight. The kernel keeps what is more. fio's deepest usual run has 64; two of them fit.
pub const SLOTS: usize = 128;

/// Bytes of buffers: what is received into, and as many of the longest requests as keep members busy. When all are in use
/// the next request is not read.
pub const ARENA_BYTES: usize = 16 * MAX_BUFFER;

/// Bytes of buffers for writes that end within a block, and for zeroes where a device cannot make them: one or two at a time.
pub const SCRATCH_BYTES: usize = 2 * MAX_BUFFER;

/// The longest read or write: what fits a buffer. The kernel cuts longer ones.
pub const MOST_BYTES: u32 = MAX_BUFFER as u32;

/// The payload of a write of at least this many bytes stays where it was received; copying less is cheaper than tying up the
/// long buffer that it was received into.
pub const KEEP_BYTES: usize = 64 << 10;

/// Bytes of a message that are looked at: the longest name and its header. Whatever is behind is the payload of a write, or
/// nothing that is needed.
pub const MESSAGE_BYTES: usize = 512;

/// Bytes of an answer to one reading of a folder: a dozen of the longest names; the kernel asks again.
pub const FOLDER_BYTES: usize = 4096;

/// The longest name of a file, in bytes.
pub const NAME_BYTES: usize = 255;

/// How long the kernel may believe what it was told of a file: volumes grow while they are in use, and who waits for that
/// can wait a second.
pub const VALID_S: u64 = 1;

/// Messages received one after the other before what was begun goes on: many a system call to the ring is saved by several
/// requests, and the first does not wait for long.
pub const MESSAGES_PER_TURN: usize = 8;

/// Dead mounts over each other that are taken away at a start: one for each time that a process was killed while one of the
/// earlier ones was still in use.
pub const DEAD_MOUNTS: usize = 64;

/// How often a stop tries again when somebody uses the mount still: on a busy machine the kernel takes tens of milliseconds to
/// let go of a file that was closed. Who holds on to it for a second means to.
pub const TRIES_TO_LET_GO: u32 = 20;

/// The time between two of them.
pub const BETWEEN_TRIES: Duration = Duration::from_millis(50);
