//! What a person may change in the superblock of an array that does not run, in place. Follows mdadm's `update_super0`
//! and `update_super1` (`--assemble --update=`): neither the update counter nor the time of the last update moves.

use super::{Edit, Form, Superblock, edit, v0, v1};
use crate::error::FormatError;
use crate::geometry::raid0::Raid0Layout;
use crate::place::Place;
use crate::terms::{MemberFlags, Name};

/// One change of a superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amendment {
    /// Another name (1.x).
    Name(Name),
    /// Another uuid of the array; the bitmap's copy is another form's to change.
    ArrayUuid([u8; 16]),
    /// Everything has to be synced.
    Resync,
    /// A bad-block log of 4 KiB, empty, at this signed distance from the superblock (1.x).
    BadBlockLog(i32),
    /// No bad-block log, and no entries in it (1.x).
    NoBadBlockLog,
    /// No bitmap.
    NoBitmap,
    /// A partial parity log, empty, of so many sectors at this signed distance from the superblock (1.x).
    Ppl {
        /// The distance.
        offset_sectors: i16,
        /// The sectors.
        sectors: u16,
    },
    /// No partial parity log (1.x).
    NoPpl,
    /// No write journal (1.x).
    NoJournal,
    /// How chunks go round the members of a raid0, or that nobody knows (1.x).
    Raid0Layout(Option<Raid0Layout>),
    /// Sectors from the data offset that may hold data (1.x).
    DataSize(u64),
    /// What a person decided about a device: on 1.x only its own superblock says so, on 0.90 every one.
    Flags {
        /// The device.
        dev_number: u32,
        /// What was decided.
        flags: MemberFlags,
    },
    /// The number of the md device that the array would like to be (0.90).
    PreferredMinor(u32),
    /// The counts of devices, made anew from the device entries (0.90).
    Summaries,
}

/// Makes the changes in the superblock in `bytes`, and seals it. What this version cannot express is an error, and then
/// `bytes` are not to be used any more.
pub fn amend(bytes: &mut [u8], amendments: &[Amendment]) -> Result<(), FormatError> {
    match edit(bytes)? {
        Edit::Zero(superblock) => {
            amendments.iter().try_for_each(|amendment| v0::amend(superblock, amendment))?;
            superblock.seal();
        }
        Edit::One(superblock) => {
            amendments.iter().try_for_each(|amendment| v1::amend(superblock, amendment))?;
            superblock.seal();
        }
    }
    Ok(())
}

/// The superblock in `bytes` lies at `place` from now on, and its device has so many sectors for data: what is recorded of
/// that when a device grows. The caller writes it with its next metadata write, which seals it.
pub fn relocate(bytes: &mut [u8], place: Place, data_sectors: u64) -> Result<(), FormatError> {
    if let Edit::One(superblock) = edit(bytes)? {
        superblock.super_offset = place.sector.into();
        superblock.data_size = data_sectors.into();
    }
    Ok(())
}

/// Turns a 0.90 superblock of the other byte order into one of ours, field by field, as mdadm's `--update=byteorder` does.
/// The checksum is a sum of words, so that one that was right stays right.
pub fn swap_byte_order(bytes: &mut [u8]) -> Result<(), FormatError> {
    v0::swap_byte_order(bytes)
}

/// Bytes of the superblock that [`to_v1_0`] makes.
pub const V1_0_BYTES: usize = 1024;

/// Fills `bytes`, which are zeroes, with the 1.0 superblock that says what the 0.90 one `old` says, and returns where on the
/// device it belongs. Its first [`V1_0_BYTES`] count.
pub fn to_v1_0(
    old: &Superblock<'_>,
    device_sectors: u64,
    device_uuid: [u8; 16],
    bytes: &mut [u8],
) -> Result<Place, FormatError> {
    match old.form {
        Form::Little(old) => v1::convert(old, device_sectors, device_uuid, bytes),
        Form::Big(_) => Err(FormatError::ByteSwapped),
        Form::One(old) => {
            let found = old.major_version.get();
            Err(FormatError::Version { field: "major_version", found, expected: "0" })
        }
    }
}
