//! Every limit of the crate, with the reason for its number.

/// The longest name, in bytes: NBD allows no longer one.
pub const NAME_BYTES: usize = 4096;

/// The longest description, in bytes: more is nothing that a person reads.
pub const TEXT_BYTES: usize = 4096;

/// Writes to an export that run or wait at a time before a queue has to grow: those of sixteen NBD connections and of a
/// mounted file.
pub const WRITERS: usize = 2048;

/// Discards and zeroes of more than this reach the device in parts: whatever else waits for a lock of their range below
/// gets its turn in between. A disk zeroes or discards a GiB in well under a second.
pub const PORTION_BYTES: u64 = 1 << 30;
