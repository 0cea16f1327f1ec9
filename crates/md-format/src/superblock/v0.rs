//! The 0.90 superblock (minor 90, and 91 while reshaping): `mdp_super_t` of md_p.h, in the byte order of the machine
//! that wrote it.
//!
//! ```text
//!   0  magic       major       minor       patch      | 128  utime       state       active      working
//!  16  gvalid      uuid[0]     ctime       level      | 144  failed      spare       csum        events ->
//!  32  size (KiB)  nr_disks    raid_disks  md_minor   | 160  ->          cp_events               recovery_cp
//!  48  not_persist uuid[1]     uuid[2]     uuid[3]    | 176  reshape_position        new_level   delta_disks
//!  64  zero (64 bytes)                                | 192  new_layout  new_chunk   zero (56 bytes)
//!                                                     | 256  layout      chunk       zero (248 bytes)
//! 512  disks[27] {number, major, minor, raid_disk, state, zero up to 128}   3968  this_disk, the same
//! ```
//!
//! 64-bit fields are in the order of the machine as a whole (`events_hi/lo` in md_p.h swap places with it). Checksums are
//! compared after folding to 16 bits, since machines differed in how they fold. Bytes 0 to 127 but `nr_disks` are the
//! same on all members.

mod amend;
mod check;
mod create;
mod summary;
mod sync;

pub(super) use amend::{amend, swap_byte_order};
pub(super) use create::create;
pub(super) use sync::sync;

use zerocopy::byteorder::{I32, LittleEndian, U32, U64};
use zerocopy::{ByteOrder, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FormatError;
use crate::limits::SUPERBLOCK_BYTES;

use super::v1::MAGIC;

const FORM: &str = "superblock 0.90";

/// Bits of `state`.
pub mod state {
    /// Everything is consistent and no write is under way.
    pub const CLEAN: u32 = 1 << 0;
    /// Errors were seen (not used).
    pub const ERRORS: u32 = 1 << 1;
    /// A bitmap may lie behind the superblock.
    pub const BITMAP_PRESENT: u32 = 1 << 8;
}

/// Bits of a descriptor's `state`.
pub mod disk {
    /// Failed, or missing.
    pub const FAULTY: u32 = 1 << 0;
    /// Holds a slot.
    pub const ACTIVE: u32 = 1 << 1;
    /// In sync.
    pub const SYNC: u32 = 1 << 2;
    /// Taken out of the array.
    pub const REMOVED: u32 = 1 << 3;
    /// Read from it only in need.
    pub const WRITE_MOSTLY: u32 = 1 << 9;
    /// Give up at the first error.
    pub const FAILFAST: u32 = 1 << 10;
}

/// One device's descriptor.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are md_p.h's, the ruler shows them")]
pub struct Descriptor<O: ByteOrder> {
    pub number: U32<O>,
    pub major: U32<O>,
    pub minor: U32<O>,
    pub raid_disk: U32<O>,
    pub state: U32<O>,
    pub reserved: [u8; 108],
}

assert_layout!(Descriptor<LittleEndian>, 128, {
    number: 0, major: 4, minor: 8, raid_disk: 12, state: 16, reserved: 20,
});

/// A 0.90 superblock over the 4 KiB that hold it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are md_p.h's, the ruler shows them")]
pub struct SuperblockV0<O: ByteOrder> {
    // The array, constant.
    pub magic: U32<O>,
    pub major_version: U32<O>,
    pub minor_version: U32<O>,
    pub patch_version: U32<O>,
    pub gvalid_words: U32<O>,
    pub set_uuid0: [u8; 4],
    pub ctime: U32<O>,
    pub level: I32<O>,
    /// KiB that each member gives.
    pub size_kib: U32<O>,
    pub nr_disks: U32<O>,
    pub raid_disks: U32<O>,
    pub md_minor: U32<O>,
    pub not_persistent: U32<O>,
    pub set_uuid1: [u8; 12],
    pub constant_reserved: [u8; 64],
    // The array's state.
    pub utime: U32<O>,
    pub state: U32<O>,
    pub active_disks: U32<O>,
    pub working_disks: U32<O>,
    pub failed_disks: U32<O>,
    pub spare_disks: U32<O>,
    pub checksum: U32<O>,
    pub events: U64<O>,
    /// `events` at the time when `resync_offset` was written; it counts only if both are equal.
    pub resync_events: U64<O>,
    pub resync_offset: U32<O>,
    // The reshape, in minor 91.
    pub reshape_position: U64<O>,
    pub new_level: I32<O>,
    pub delta_disks: I32<O>,
    pub new_layout: U32<O>,
    pub new_chunk_bytes: U32<O>,
    pub state_reserved: [u8; 56],
    // The level's own.
    pub layout: U32<O>,
    pub chunk_bytes: U32<O>,
    pub root_pv: U32<O>,
    pub root_block: U32<O>,
    pub level_reserved: [u8; 240],
    // The devices.
    pub disks: [Descriptor<O>; 27],
    pub this_disk: Descriptor<O>,
}

assert_layout!(SuperblockV0<LittleEndian>, 4096, {
    magic: 0, major_version: 4, minor_version: 8, patch_version: 12, gvalid_words: 16, set_uuid0: 20, ctime: 24,
    level: 28, size_kib: 32, nr_disks: 36, raid_disks: 40, md_minor: 44, not_persistent: 48, set_uuid1: 52,
    constant_reserved: 64, utime: 128, state: 132, active_disks: 136, working_disks: 140, failed_disks: 144,
    spare_disks: 148, checksum: 152, events: 156, resync_events: 164, resync_offset: 172, reshape_position: 176,
    new_level: 184, delta_disks: 188, new_layout: 192, new_chunk_bytes: 196, state_reserved: 200, layout: 256,
    chunk_bytes: 260, root_pv: 264, root_block: 268, level_reserved: 272, disks: 512, this_disk: 3968,
});

impl<O: ByteOrder> SuperblockV0<O> {
    /// Reads these bytes as a 0.90 superblock of this byte order: magic and major version are right, no more is known.
    pub fn view(bytes: &[u8]) -> Result<&SuperblockV0<O>, FormatError> {
        let found = bytes.len();
        let (superblock, _) = SuperblockV0::ref_from_prefix(bytes).map_err(|_| too_short(found))?;
        superblock.is_zero_ninety()?;
        Ok(superblock)
    }

    fn is_zero_ninety(&self) -> Result<(), FormatError> {
        let (magic, major) = (self.magic.get(), self.major_version.get());
        if magic != MAGIC {
            return Err(FormatError::Magic { form: FORM, found: magic, expected: MAGIC });
        }
        if major != 0 {
            return Err(FormatError::Version { field: "major_version", found: major, expected: "0" });
        }
        Ok(())
    }

    /// The array's uuid, its four words in order, bytes as on the disk.
    pub fn uuid(&self) -> [u8; 16] {
        let mut uuid = [0; 16];
        uuid[..4].copy_from_slice(&self.set_uuid0);
        uuid[4..].copy_from_slice(&self.set_uuid1);
        uuid
    }

    /// The checksum that these bytes should carry: all 32-bit words summed up in 64 bits (the stored checksum counts
    /// as zero), then both halves added.
    pub fn checksum_expected(&self) -> u32 {
        let (words, _) = self.as_bytes().as_chunks::<4>();
        let words: u64 = words.iter().map(|word| u64::from(U32::<O>::from_bytes(*word).get())).sum();
        let sum = words - u64::from(self.checksum.get());
        (sum as u32).wrapping_add((sum >> 32) as u32)
    }

    /// Whether the stored checksum is right, compared after folding both to 16 bits.
    pub fn checksum_matches(&self) -> bool {
        fold(self.checksum.get()) == fold(self.checksum_expected())
    }

    /// The first 128 bytes without `nr_disks`: what all members have in common.
    pub fn common_bytes(&self) -> (&[u8], &[u8]) {
        let bytes = self.as_bytes();
        (&bytes[..36], &bytes[40..128])
    }
}

impl SuperblockV0<LittleEndian> {
    /// Little-endian bytes, to change fields in place; [`SuperblockV0::seal`] it afterwards.
    pub fn edit(bytes: &mut [u8]) -> Result<&mut SuperblockV0<LittleEndian>, FormatError> {
        let superblock = SuperblockV0::overlay(bytes)?;
        superblock.is_zero_ninety()?;
        Ok(superblock)
    }

    /// The overlay over any bytes, for a superblock that is to be made.
    fn overlay(bytes: &mut [u8]) -> Result<&mut SuperblockV0<LittleEndian>, FormatError> {
        let found = bytes.len();
        let (superblock, _) = SuperblockV0::mut_from_prefix(bytes).map_err(|_| too_short(found))?;
        Ok(superblock)
    }

    /// Makes the checksum true.
    pub fn seal(&mut self) {
        self.checksum = self.checksum_expected().into();
    }
}

fn fold(sum: u32) -> u32 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

fn too_short(found: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected: SUPERBLOCK_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn checksums_are_compared_after_folding() {
        let mut superblock: Box<SuperblockV0<LittleEndian>> = Box::new(SuperblockV0::new_zeroed());
        superblock.magic = MAGIC.into();
        superblock.seal();
        assert_eq!(superblock.checksum.get(), MAGIC);
        superblock.checksum = fold(MAGIC).into();
        assert!(superblock.checksum_matches());
        superblock.checksum = (fold(MAGIC) + 1).into();
        assert!(!superblock.checksum_matches());
    }
}
