//! The volumes of a set: one entry for each, in a bucket of their own. `struct uuid_entry` of bcache's bcache_ondisk.h.
//!
//! ```text
//!  0  uuid (16)     label (32)    | 48  first_reg (4)   last_reg (4)   invalidated (4)   flags (4)   | 64  sectors
//! 72  padding
//! ```
//!
//! The index of an entry is the inode of the volume's keys. There is no checksum.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FormatError;
use crate::terms::Label;

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 128;
/// The uuid of an entry whose device was detached: it is not used again.
pub const INVALID: [u8; 16] =
    [0xa0, 0x3e, 0xf8, 0xed, 0x3e, 0xe1, 0xb8, 0x78, 0xc8, 0x50, 0xfc, 0x5e, 0xcb, 0x16, 0xcd, 0x99];

const FLASH_ONLY: u32 = 1;

/// One volume.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the ruler shows them")]
pub struct UuidEntry {
    pub uuid: [u8; 16],
    pub label: [u8; 32],
    pub first_reg: U32,
    pub last_reg: U32,
    pub invalidated: U32,
    pub flags: U32,
    pub sectors: U64,
    pub pad: [u8; 56],
}

assert_layout!(UuidEntry, 128, {
    uuid: 0, label: 16, first_reg: 48, last_reg: 52, invalidated: 56, flags: 60, sectors: 64, pad: 72,
});

impl Default for UuidEntry {
    /// A free one.
    fn default() -> UuidEntry {
        UuidEntry::new_zeroed()
    }
}

/// What an entry is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Nobody had it yet.
    Free,
    /// A backing device that was detached had it, or a volume that was deleted.
    Detached,
    /// The backing device of this uuid.
    Backing([u8; 16]),
    /// A volume of so many sectors that lies in the cache alone.
    FlashOnly(u64),
}

impl UuidEntry {
    /// The entries in these bytes.
    pub fn view(bytes: &[u8]) -> Result<&[UuidEntry], FormatError> {
        let found = bytes.len();
        let entries = <[UuidEntry]>::ref_from_prefix_with_elems(bytes, found / ENTRY_BYTES);
        entries.map(|(entries, _)| entries).map_err(|_| too_short(found))
    }

    /// The same, to change them.
    pub fn edit(bytes: &mut [u8]) -> Result<&mut [UuidEntry], FormatError> {
        let found = bytes.len();
        let entries = <[UuidEntry]>::mut_from_prefix_with_elems(bytes, found / ENTRY_BYTES);
        entries.map(|(entries, _)| entries).map_err(|_| too_short(found))
    }

    /// Its label.
    pub fn label(&self) -> Label {
        Label(self.label)
    }

    /// What it is for.
    pub fn usage(&self) -> Use {
        match self.uuid {
            uuid if uuid == [0; 16] => Use::Free,
            INVALID => Use::Detached,
            _ if self.flags.get() & FLASH_ONLY != 0 => Use::FlashOnly(self.sectors.get()),
            uuid => Use::Backing(uuid),
        }
    }

    /// Makes it the entry of a volume of so many sectors that lies in the cache alone.
    pub fn set_flash_only(&mut self, sectors: u64) {
        self.flags = (self.flags.get() | FLASH_ONLY).into();
        self.sectors = sectors.into();
    }

    /// Makes it the entry of a device that was detached, or of a volume in the cache alone that was deleted.
    pub fn invalidate(&mut self, seconds: u32) {
        self.uuid = INVALID;
        self.flags = (self.flags.get() & !FLASH_ONLY).into();
        self.invalidated = seconds.into();
    }
}

fn too_short(found: usize) -> FormatError {
    FormatError::TooShort { form: "uuids", found, expected: ENTRY_BYTES }
}
