//! One superblock, whatever its version: what the engine asks and what it writes, without matching on versions.

mod adopt;
mod amend;
mod check;
mod new;
mod summary;
mod update;
pub mod v0;
pub mod v1;

pub use adopt::{adopt, adopt_journal};
pub use amend::{Amendment, V1_0_BYTES, amend, relocate, swap_byte_order, to_v1_0};
pub use new::{NewArray, NewMember, create};
pub use summary::{BadBlockLog, BitmapPlace, PplPlace, Recovery, Reshape, Summary};
pub use update::{ArrayUpdate, Entry, MemberUpdate, ReshapeUpdate};

use core::fmt;

use v0::SuperblockV0;
use v1::SuperblockV1;
use zerocopy::IntoBytes;
use zerocopy::byteorder::{BigEndian, LittleEndian};

use crate::error::FormatError;
use crate::limits::{SUPERBLOCK_BYTES, V0_MAX_DEVICES, V1_MAX_DEVICES};
use crate::place::{DeviceShape, Place};
use crate::terms::{ByteOrder, Role, Version};

/// A superblock over the caller's 4 KiB, as read at a place.
#[derive(Clone, Copy)]
pub struct Superblock<'a> {
    place: Place,
    form: Form<'a>,
}

#[derive(Clone, Copy)]
enum Form<'a> {
    Little(&'a SuperblockV0<LittleEndian>),
    Big(&'a SuperblockV0<BigEndian>),
    One(&'a SuperblockV1),
}

impl<'a> Superblock<'a> {
    /// Reads 4 KiB that were read at `place` as a superblock of that place's version. Magic and major version are
    /// right, nothing else is known: [`Superblock::check`] it.
    pub fn view(place: Place, bytes: &'a [u8]) -> Result<Superblock<'a>, FormatError> {
        let form = match place.version {
            Version::V0_90 if is_big_endian(bytes) => Form::Big(SuperblockV0::view(bytes)?),
            Version::V0_90 => Form::Little(SuperblockV0::view(bytes)?),
            _ => Form::One(SuperblockV1::view(bytes)?),
        };
        Ok(Superblock { place, form })
    }

    /// Where it was read.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Its byte order; a big-endian one can be read, not written.
    pub fn byte_order(&self) -> ByteOrder {
        match self.form {
            Form::Big(_) => ByteOrder::Big,
            _ => ByteOrder::Little,
        }
    }

    /// The checksum found and the one expected. On 0.90 they may differ and still match: see [`Superblock::is_sealed`].
    pub fn checksums(&self) -> (u32, u32) {
        match self.form {
            Form::Little(superblock) => (superblock.checksum.get(), superblock.checksum_expected()),
            Form::Big(superblock) => (superblock.checksum.get(), superblock.checksum_expected()),
            Form::One(superblock) => (superblock.checksum.get(), superblock.checksum_expected()),
        }
    }

    /// Whether the checksum is right by the family's rule.
    pub fn is_sealed(&self) -> bool {
        match self.form {
            Form::Little(superblock) => superblock.checksum_matches(),
            Form::Big(superblock) => superblock.checksum_matches(),
            Form::One(superblock) => superblock.checksum.get() == superblock.checksum_expected(),
        }
    }

    /// Whether the kernel would accept it on this device, and whether its areas stay apart; the first thing wrong.
    pub fn check(&self, device: DeviceShape) -> Result<(), FormatError> {
        match self.form {
            Form::Little(superblock) => superblock.check(self.place, device),
            Form::Big(superblock) => superblock.check(self.place, device),
            Form::One(superblock) => superblock.check(self.place, device),
        }
    }

    /// Its facts. Needs no [`Superblock::check`] before it; fails only where it names a place that cannot exist.
    pub fn summary(&self) -> Result<Summary, FormatError> {
        match self.form {
            Form::Little(superblock) => superblock.summary(self.place, ByteOrder::Little),
            Form::Big(superblock) => superblock.summary(self.place, ByteOrder::Big),
            Form::One(superblock) => superblock.summary(self.place),
        }
    }

    /// Number of device entries; device numbers run from 0 to below it.
    pub fn entries(&self) -> u32 {
        match self.form {
            Form::One(superblock) => superblock.max_dev.get().min(V1_MAX_DEVICES),
            _ => V0_MAX_DEVICES,
        }
    }

    /// The role that this superblock gives to the device of this number; a spare if it has no entry.
    pub fn role_of(&self, dev_number: u32) -> Role {
        match self.form {
            Form::Little(superblock) => superblock.role_of(dev_number),
            Form::Big(superblock) => superblock.role_of(dev_number),
            Form::One(superblock) => superblock.role_of(dev_number),
        }
    }

    /// Whether both describe the same array, by the kernel's rule: on 1.x the same uuid, level, layout and chunk; on
    /// 0.90 the same first 128 bytes but `nr_disks`. The event count decides who of them is believed.
    pub fn is_same_array(&self, other: &Superblock) -> bool {
        match (self.form, other.form) {
            (Form::One(a), Form::One(b)) => {
                let constants = |s: &SuperblockV1| (s.set_uuid, s.level, s.layout, s.chunk_sectors);
                constants(a) == constants(b)
            }
            (Form::Little(a), Form::Little(b)) => a.common_bytes() == b.common_bytes(),
            (Form::Big(a), Form::Big(b)) => a.common_bytes() == b.common_bytes(),
            _ => false,
        }
    }

    /// Sectors from the place on that a metadata write writes on this device.
    pub fn written_sectors(&self, device: DeviceShape) -> u64 {
        match self.form {
            Form::One(superblock) => superblock.written_sectors(device),
            _ => crate::limits::SUPERBLOCK_SECTORS,
        }
    }

    /// Creation time as it is compared when several superblocks are found: 1.x with its microseconds above.
    pub(crate) fn raw_ctime(&self) -> u64 {
        match self.form {
            Form::Little(superblock) => superblock.ctime.get().into(),
            Form::Big(superblock) => superblock.ctime.get().into(),
            Form::One(superblock) => superblock.ctime.get(),
        }
    }

    /// Where a 1.x superblock says that it lies.
    pub(crate) fn raw_super_offset(&self) -> Option<u64> {
        match self.form {
            Form::One(superblock) => Some(superblock.super_offset.get()),
            _ => None,
        }
    }

    /// The bytes it was read from.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self.form {
            Form::Little(superblock) => superblock.as_bytes(),
            Form::Big(superblock) => superblock.as_bytes(),
            Form::One(superblock) => superblock.as_bytes(),
        }
    }
}

impl fmt::Debug for Superblock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Superblock").field("place", &self.place).field("summary", &self.summary()).finish()
    }
}

/// A superblock that may be changed, of either family.
enum Edit<'a> {
    Zero(&'a mut SuperblockV0<LittleEndian>),
    One(&'a mut SuperblockV1),
}

/// Changes the superblock in `bytes` as one metadata write of the kernel does (`super_1_sync`, `super_90_sync`), and
/// seals it. Nothing is changed on error. A superblock that nobody checked must not be written.
pub fn sync(bytes: &mut [u8], array: &ArrayUpdate, member: &MemberUpdate) -> Result<(), FormatError> {
    match edit(bytes)? {
        Edit::Zero(superblock) => {
            v0::sync(superblock, array, member)?;
            superblock.seal();
        }
        Edit::One(superblock) => {
            v1::sync(superblock, array, member)?;
            superblock.seal();
        }
    }
    Ok(())
}

/// Makes the checksum true after an edit through [`v0`] or [`v1`].
pub fn seal(bytes: &mut [u8]) -> Result<(), FormatError> {
    match edit(bytes)? {
        Edit::Zero(superblock) => superblock.seal(),
        Edit::One(superblock) => superblock.seal(),
    }
    Ok(())
}

fn edit(bytes: &mut [u8]) -> Result<Edit<'_>, FormatError> {
    if bytes.len() < SUPERBLOCK_BYTES {
        let (found, expected) = (bytes.len(), SUPERBLOCK_BYTES);
        return Err(FormatError::TooShort { form: "superblock", found, expected });
    }
    if is_big_endian(bytes) {
        return Err(FormatError::ByteSwapped);
    }
    match bytes[4..8] {
        [0, 0, 0, 0] => Ok(Edit::Zero(SuperblockV0::edit(bytes)?)),
        _ => Ok(Edit::One(SuperblockV1::edit(bytes)?)),
    }
}

fn is_big_endian(bytes: &[u8]) -> bool {
    bytes.starts_with(&v1::MAGIC.to_be_bytes())
}
