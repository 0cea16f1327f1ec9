//! The crate's one error: which field, what was found there, what was expected.

use core::fmt;

use crate::features::Features;
use crate::terms::Level;

/// Why bytes are not accepted, or why an edit cannot be made.
///
/// Numbers are as found on the disk; sectors are counted from the start of the member unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "found and expected say what they are")]
pub enum FormatError {
    /// The buffer is shorter than the form.
    TooShort { form: &'static str, found: usize, expected: usize },
    /// The device is too small to carry this form at all.
    DeviceTooSmall { found: u64, expected: u64 },
    /// The form's magic number is not there.
    Magic { form: &'static str, found: u32, expected: u32 },
    /// The form is of a version that is not known, or not the one asked for.
    Version { field: &'static str, found: u32, expected: &'static str },
    /// A 0.90 superblock in the other byte order: it can be read, never written.
    ByteSwapped,
    /// The stored checksum is not the sum of the bytes.
    Checksum { found: u32, expected: u32 },
    /// A log's stored checksum is not the sum of its bytes: torn by a power cut, or something else.
    LogChecksum { form: &'static str, found: u32, expected: u32 },
    /// Padding that this format version leaves zero is not: a newer format.
    Padding { field: &'static str, found: u32 },
    /// Feature bits that nobody here knows; the array must not be touched without knowing them.
    UnknownFeatures { found: Features },
    /// Feature bits that contradict each other or the level.
    ContradictingFeatures { found: Features, why: &'static str },
    /// The superblock says that it lies elsewhere (a copy, or a device of another size).
    SuperOffset { found: u64, expected: u64 },
    /// A number outside its range.
    Range { field: &'static str, found: u64, least: u64, most: u64 },
    /// A number that must be a power of two is not.
    PowerOfTwo { field: &'static str, found: u64 },
    /// The chunk size does not suit the level.
    Chunk { level: Level, found: u32, expected: &'static str },
    /// An area of the member ends behind the end of the device (or of what is left for it).
    OutsideDevice { area: &'static str, start: u64, sectors: u64, limit: u64 },
    /// Two areas of the member overlap.
    Overlap { area: &'static str, start: u64, other: &'static str, other_start: u64 },
    /// A place computed from the superblock cannot exist (below zero or above the largest number).
    PlaceOverflow { field: &'static str, from: u64, found: i64 },
    /// A role number that is neither a slot nor one of the special roles.
    RoleNumber { dev_number: u32, found: u16 },
    /// The superblock's own device number has no entry.
    DeviceNumber { found: u32, entries: u32 },
    /// The form has no room for this many devices.
    TooManyDevices { found: u32, limit: u32 },
    /// The format version cannot express what was asked for.
    NotInThisVersion { what: &'static str },
    /// The uuid is not the array's.
    Uuid { form: &'static str, found: [u8; 16], expected: [u8; 16] },
    /// The form has no room for this many entries.
    Full { form: &'static str, capacity: usize },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FormatError::*;
        match *self {
            TooShort { form, found, expected } => write!(f, "{form}: {found} bytes given, {expected} needed"),
            DeviceTooSmall { found, expected } => {
                write!(f, "the device has {found} sectors, at least {expected} are needed")
            }
            Magic { form, found, expected } => {
                write!(f, "{form}: magic number is {found:08x}, expected {expected:08x}")
            }
            Version { field, found, expected } => write!(f, "{field} is {found}, expected {expected}"),
            ByteSwapped => write!(
                f,
                "the superblock was written by a big-endian machine; it can be read but not written"
            ),
            Checksum { found, expected } => {
                write!(f, "superblock checksum is {found:08x}, expected {expected:08x}")
            }
            LogChecksum { form, found, expected } => {
                write!(f, "{form}: checksum is {found:08x}, expected {expected:08x}")
            }
            Padding { field, found } => {
                write!(f, "{field} is {found:#x}, expected 0 (written by something newer?)")
            }
            UnknownFeatures { found } => write!(f, "unknown feature bits {:#x} are set", found.unknown()),
            ContradictingFeatures { found, why } => {
                write!(f, "feature bits {found} contradict each other: {why}")
            }
            SuperOffset { found, expected } => {
                write!(f, "the superblock says it lies at sector {found}, it was read at sector {expected}")
            }
            Range { field, found, least, most } => {
                write!(f, "{field} is {found}, expected {least} to {most}")
            }
            PowerOfTwo { field, found } => write!(f, "{field} is {found}, expected a power of two"),
            Chunk { level, found, expected } => {
                write!(f, "chunk of {found} sectors does not suit {level}, expected {expected}")
            }
            OutsideDevice { area, start, sectors, limit } => {
                write!(f, "{area} of {sectors} sectors at sector {start} does not end before sector {limit}")
            }
            Overlap { area, start, other, other_start } => {
                write!(f, "{area} at sector {start} overlaps {other} at sector {other_start}")
            }
            PlaceOverflow { field, from, found } => {
                write!(f, "{field} is {found}, which from sector {from} leads to no sector")
            }
            RoleNumber { dev_number, found } => {
                write!(f, "device {dev_number} has role {found:#x}, which means nothing")
            }
            DeviceNumber { found, entries } => {
                write!(f, "the superblock's own device number is {found}, but it has {entries} entries")
            }
            TooManyDevices { found, limit } => write!(f, "{found} devices, this format has room for {limit}"),
            NotInThisVersion { what } => write!(f, "this metadata version cannot express {what}"),
            Uuid { form, .. } => write!(f, "{form}: belongs to another array"),
            Full { form, capacity } => write!(f, "{form} is full ({capacity} entries)"),
        }
    }
}

impl core::error::Error for FormatError {}
