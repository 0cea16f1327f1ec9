//! The 1.x superblock (1.0, 1.1, 1.2): `struct mdp_superblock_1` of md_p.h, always little-endian.
//!
//! ```text
//!   0  magic        major        features     pad0         | 128  data_offset           data_size
//!  16  set_uuid                                            | 144  super_offset          recovery_offset / journal_tail
//!  32  set_name (32 bytes)                                 | 160  dev_number  corrected device_uuid ...
//!  64  ctime                     level        layout       | 176  ... device_uuid       devflags, bblog shift/size/offset
//!  80  size                      chunk        raid_disks   | 192  utime                 events
//!  96  bitmap/ppl   new_level    reshape_position          | 208  resync_offset         csum         max_dev
//! 112  delta_disks  new_layout   new_chunk    new_offset   | 224  logical_block_size    pad3 (28 bytes)
//!                                                          | 256  dev_roles[max_dev], 2 bytes each
//! ```
//!
//! The checksum covers 256 + 2 * max_dev bytes. `logical_block_size` was padding before Linux 6.19; it is kept as found.

mod amend;
mod check;
mod convert;
mod create;
mod summary;
mod sync;

pub(super) use amend::amend;
pub(super) use convert::convert;
pub(super) use create::create;
pub(super) use sync::sync;

use zerocopy::byteorder::little_endian::{I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FormatError;
use crate::features::Features;
use crate::limits::{SUPERBLOCK_BYTES, V1_MAX_DEVICES};

/// Magic number of both superblock families.
pub const MAGIC: u32 = 0xa92b_4efc;

const FORM: &str = "superblock 1.x";

/// Role numbers in `dev_roles`; everything below [`role::SLOT_END`] is a slot.
pub mod role {
    /// A spare.
    pub const SPARE: u16 = 0xffff;
    /// A failed device.
    pub const FAULTY: u16 = 0xfffe;
    /// The write journal.
    pub const JOURNAL: u16 = 0xfffd;
    /// The first number that is no slot any more.
    pub const SLOT_END: u16 = 0xff00;
}

/// Bit of `devflags`: read from this member only in need.
pub const WRITE_MOSTLY: u8 = 1;
/// Bit of `devflags`: give up at the first error.
pub const FAILFAST: u8 = 2;

/// A 1.x superblock over the 4 KiB that hold it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are md_p.h's, the ruler shows them")]
pub struct SuperblockV1 {
    // The array, constant.
    pub magic: U32,
    pub major_version: U32,
    pub feature_map: U32,
    pub pad0: U32,
    pub set_uuid: [u8; 16],
    pub set_name: [u8; 32],
    pub ctime: U64,
    pub level: I32,
    pub layout: U32,
    pub size: U64,
    pub chunk_sectors: U32,
    pub raid_disks: U32,
    /// Signed sectors from the superblock to the bitmap, or with PPL {i16 offset, u16 sectors}.
    pub bitmap_offset: I32,
    // The reshape, while one is active.
    pub new_level: I32,
    pub reshape_position: U64,
    pub delta_disks: I32,
    pub new_layout: U32,
    pub new_chunk_sectors: U32,
    pub new_offset: I32,
    // This member.
    pub data_offset: U64,
    pub data_size: U64,
    pub super_offset: U64,
    /// Sectors from the data offset that are rebuilt, or the journal's tail on a journal.
    pub recovery_offset: U64,
    pub dev_number: U32,
    pub corrected_reads: U32,
    pub device_uuid: [u8; 16],
    pub devflags: u8,
    pub bblog_shift: u8,
    pub bblog_sectors: U16,
    pub bblog_offset: I32,
    // The array's state.
    pub utime: U64,
    pub events: U64,
    pub resync_offset: U64,
    pub checksum: U32,
    pub max_dev: U32,
    pub logical_block_size: U32,
    pub pad3: [u8; 28],
    pub dev_roles: [U16; 1920],
}

assert_layout!(SuperblockV1, 4096, {
    magic: 0, major_version: 4, feature_map: 8, pad0: 12, set_uuid: 16, set_name: 32, ctime: 64, level: 72,
    layout: 76, size: 80, chunk_sectors: 88, raid_disks: 92, bitmap_offset: 96, new_level: 100,
    reshape_position: 104, delta_disks: 112, new_layout: 116, new_chunk_sectors: 120, new_offset: 124,
    data_offset: 128, data_size: 136, super_offset: 144, recovery_offset: 152, dev_number: 160,
    corrected_reads: 164, device_uuid: 168, devflags: 184, bblog_shift: 185, bblog_sectors: 186,
    bblog_offset: 188, utime: 192, events: 200, resync_offset: 208, checksum: 216, max_dev: 220,
    logical_block_size: 224, pad3: 228, dev_roles: 256,
});

/// The other reading of the four bytes at `bitmap_offset`, under [`Features::PPL`] or [`Features::MULTIPLE_PPLS`].
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PplField {
    /// Signed sectors from the superblock to the partial parity log.
    pub offset: zerocopy::byteorder::little_endian::I16,
    /// Length of its area.
    pub sectors: U16,
}

assert_layout!(PplField, 4, { offset: 0, sectors: 2 });

impl SuperblockV1 {
    /// Reads these bytes as a 1.x superblock: magic and major version are right, nothing else is known.
    pub fn view(bytes: &[u8]) -> Result<&SuperblockV1, FormatError> {
        let found = bytes.len();
        let (superblock, _) = SuperblockV1::ref_from_prefix(bytes).map_err(|_| too_short(found))?;
        superblock.is_one()?;
        Ok(superblock)
    }

    /// The same, to change fields in place; [`SuperblockV1::seal`] it afterwards.
    pub fn edit(bytes: &mut [u8]) -> Result<&mut SuperblockV1, FormatError> {
        let superblock = SuperblockV1::overlay(bytes)?;
        superblock.is_one()?;
        Ok(superblock)
    }

    /// The overlay over any bytes, for a superblock that is to be made.
    fn overlay(bytes: &mut [u8]) -> Result<&mut SuperblockV1, FormatError> {
        let found = bytes.len();
        let (superblock, _) = SuperblockV1::mut_from_prefix(bytes).map_err(|_| too_short(found))?;
        Ok(superblock)
    }

    fn is_one(&self) -> Result<(), FormatError> {
        let (magic, major) = (self.magic.get(), self.major_version.get());
        if magic != MAGIC {
            return Err(FormatError::Magic { form: FORM, found: magic, expected: MAGIC });
        }
        if major != 1 {
            return Err(FormatError::Version { field: "major_version", found: major, expected: "1" });
        }
        Ok(())
    }

    /// The feature map.
    pub fn features(&self) -> Features {
        Features::from_bits(self.feature_map.get())
    }

    /// The roles that count: `max_dev` of them, never more than there are.
    pub fn roles(&self) -> &[U16] {
        &self.dev_roles[..self.max_dev.get().min(V1_MAX_DEVICES) as usize]
    }

    /// Offset and length of the partial parity log, if a feature bit says that there is one.
    pub fn ppl(&self) -> Option<&PplField> {
        if !self.features().has_any(Features::PPL | Features::MULTIPLE_PPLS) {
            return None;
        }
        PplField::ref_from_bytes(self.bitmap_offset.as_bytes()).ok()
    }

    /// Bytes that the superblock occupies, and that its checksum covers.
    pub fn used_bytes(&self) -> usize {
        256 + 2 * self.roles().len()
    }

    /// The checksum that these bytes should carry: little-endian 32-bit words summed up in 64 bits (the stored
    /// checksum counts as zero), an odd 16-bit role at the end as a number of its own, then both halves added.
    pub fn checksum_expected(&self) -> u32 {
        let (words, odd) = self.as_bytes()[..self.used_bytes()].as_chunks::<4>();
        let words: u64 = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum();
        let odd = match odd {
            [low, high] => u64::from(u16::from_le_bytes([*low, *high])),
            _ => 0,
        };
        let sum = words + odd - u64::from(self.checksum.get());
        (sum as u32).wrapping_add((sum >> 32) as u32)
    }

    /// Makes the checksum true.
    pub fn seal(&mut self) {
        self.checksum = self.checksum_expected().into();
    }
}

fn too_short(found: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected: SUPERBLOCK_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn superblock(max_dev: u32) -> Box<SuperblockV1> {
        let mut superblock: Box<SuperblockV1> = Box::new(SuperblockV1::new_zeroed());
        superblock.magic = MAGIC.into();
        superblock.major_version = 1.into();
        superblock.max_dev = max_dev.into();
        superblock
    }

    #[test]
    fn checksum_takes_an_odd_role_as_a_number_of_its_own() {
        let mut odd = superblock(1);
        odd.dev_roles[0] = 0x1234.into();
        odd.dev_roles[1] = 0xffff.into(); // not covered
        assert_eq!(odd.checksum_expected(), MAGIC + 1 + 1 + 0x1234);
    }

    #[test]
    fn checksum_ignores_its_own_field_and_survives_a_huge_max_dev() {
        let mut superblock = superblock(u32::MAX);
        superblock.seal();
        let sealed = superblock.checksum.get();
        superblock.seal();
        assert_eq!(superblock.checksum.get(), sealed);
    }
}
