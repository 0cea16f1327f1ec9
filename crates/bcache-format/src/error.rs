//! The crate's one error: which field, what was found there, what was expected.

use core::fmt;

use crate::key::Key;

/// Why bytes are not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "found and expected say what they are")]
pub enum FormatError {
    /// The buffer is shorter than the form.
    TooShort { form: &'static str, found: usize, expected: usize },
    /// The magic number is not there.
    Magic { form: &'static str, found: u64, expected: u64 },
    /// It is not a bcache superblock.
    NoSuperblock,
    /// The form is of a version that is not known.
    Version { form: &'static str, found: u64, expected: &'static str },
    /// The stored checksum is not the sum of the bytes.
    Checksum { form: &'static str, found: u64, expected: u64 },
    /// The superblock says that it lies elsewhere.
    SuperOffset { found: u64, expected: u64 },
    /// A number outside its range.
    Range { field: &'static str, found: u64, least: u64, most: u64 },
    /// A number that must be a power of two is not.
    PowerOfTwo { field: &'static str, found: u64 },
    /// A uuid that must be something is zero.
    NoUuid { field: &'static str },
    /// Feature bits that nobody here knows.
    UnknownFeatures { field: &'static str, found: u64, known: u64 },
    /// Journal buckets that do not follow each other.
    JournalBucket { index: usize, found: u64, expected: u64 },
    /// The device is smaller than what lies on it.
    DeviceTooSmall { found: u64, expected: u64 },
    /// A key of several pointers, or with a checksum of its data: nobody ever wrote one.
    KeyShape { found: u64 },
    /// The extent would begin before its volume.
    KeySize { found: Key },
    /// The extent or node does not lie within one bucket of the cache's.
    KeyPointer { found: Key },
    /// A key of a node that names none.
    KeyOfNode { found: Key },
    /// Keys that are not in order.
    KeyOrder { found: Key, before: Key },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FormatError::*;
        match *self {
            TooShort { form, found, expected } => write!(f, "{form}: {found} bytes given, {expected} needed"),
            Magic { form, found, expected } => {
                write!(f, "{form}: magic number is {found:016x}, expected {expected:016x}")
            }
            NoSuperblock => write!(f, "there is no bcache superblock at sector 8"),
            Version { form, found, expected } => write!(f, "{form}: version is {found}, expected {expected}"),
            Checksum { form, found, expected } => {
                write!(f, "{form}: checksum is {found:016x}, expected {expected:016x}")
            }
            SuperOffset { found, expected } => {
                write!(f, "the superblock says it lies at sector {found}, it was read at sector {expected}")
            }
            Range { field, found, least, most } => {
                write!(f, "{field} is {found}, expected {least} to {most}")
            }
            PowerOfTwo { field, found } => write!(f, "{field} is {found}, expected a power of two"),
            NoUuid { field } => write!(f, "{field} is zero, expected a uuid"),
            UnknownFeatures { field, found, known } => {
                write!(f, "{field} has the unknown bits {:#x}", found & !known)
            }
            JournalBucket { index, found, expected } => {
                write!(f, "journal bucket {index} is bucket {found}, expected {expected}")
            }
            DeviceTooSmall { found, expected } => {
                write!(f, "the device has {found} sectors, expected at least {expected}")
            }
            KeyShape { found } => {
                write!(
                    f,
                    "a key begins with {found:#018x}: several pointers, or a checksum of data, expected one and none"
                )
            }
            KeySize { found } => write!(f, "key {found} is longer than where it ends"),
            KeyPointer { found } => write!(f, "key {found} does not lie within one bucket of the cache"),
            KeyOfNode { found } => {
                write!(f, "key {found} names no node, expected a clean pointer and the size of one")
            }
            KeyOrder { found, before } => write!(f, "key {found} follows key {before}, expected a later one"),
        }
    }
}

impl core::error::Error for FormatError {}
