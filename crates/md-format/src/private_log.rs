//! The private log of raid6: where it lies in the headroom of a 1.x superblock, and what binds it to the superblocks.
//!
//! The format is ours alone. No feature bit speaks of it, so to the kernel and mdadm the array is an ordinary one, and the
//! log lies where nothing is recorded to lie: at the end of the free space before the data of a 1.1 or 1.2 member.
//!
//! ```text
//!  superblock | bitmap | bad-block log |  free  | binding | binding | records (as of a partial parity log) | data
//!                                               0         8         16 sectors from the start of the log
//! ```
//!
//! A binding names the superblock of its own member, as it is and as it will be after the metadata write that follows:
//!
//! ```text
//!    0  magic "ashlarQ1"             version      checksum     | of the 512 bytes, CRC-32C, itself taken as zero
//!   16  array_uuid (16 bytes)
//!   32  session (16 bytes)                                     | drawn anew whenever the records begin anew
//!   48  generation                   before                    | fingerprints of the superblock's 4 KiB
//!   64  after                        dev_number   zero to 512
//! ```
//!
//! Bindings are written in turn to the two places, so that one is always whole. The newer one counts. Whoever else writes
//! a superblock writes one that it does not name, and the log is void. The records are [`crate::ppl`]'s under a signature
//! that comes from the session; the entry for P is on the member that has P, the one for Q on the member that has Q.

use crc_fast::{CrcAlgorithm, checksum};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{Crc32c, crc32c};
use crate::error::FormatError;
use crate::features::Features;
use crate::limits::{PRIVATE_LOG_SECTORS, SUPERBLOCK_BYTES, SUPERBLOCK_SECTORS};
use crate::ppl;
use crate::superblock::Summary;
use crate::terms::{Level, Version};

/// Bytes of a binding.
pub const BINDING_BYTES: usize = 512;
/// Sectors of the place of a binding: a block of any disk, so that writing one does not touch the other.
pub const BINDING_SECTORS: u64 = 8;
/// Places for bindings.
pub const BINDINGS: u64 = 2;

const FORM: &str = "private log";
const MAGIC: [u8; 8] = *b"ashlarQ1";
const VERSION: u32 = 1;
/// Bindings, and a ring of records: with less room than that the newest record could not be told from a torn one.
const LEAST_SECTORS: u64 =
    BINDINGS * BINDING_SECTORS + 2 * (ppl::HEADER_BYTES + ppl::RING_RECORD_BYTES) as u64 / 512;
/// The log begins and ends at multiples of this many sectors: whole blocks of any disk.
const ALIGNMENT: u64 = 8;

/// Where a member keeps its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogPlace {
    /// Its first sector.
    pub sector: u64,
    /// How many there are.
    pub sectors: u64,
}

impl LogPlace {
    /// The sector of the binding of this generation.
    pub fn binding(&self, generation: u64) -> u64 {
        self.sector + generation % BINDINGS * BINDING_SECTORS
    }

    /// Where the records lie.
    pub fn records(&self) -> LogPlace {
        let bindings = BINDINGS * BINDING_SECTORS;
        LogPlace { sector: self.sector + bindings, sectors: self.sectors - bindings }
    }
}

/// Where the private log of a member lies whose superblock says this and whose bitmap is so many sectors long, or why
/// there is none.
pub fn place(summary: &Summary, bitmap_sectors: u64) -> Result<LogPlace, &'static str> {
    if summary.level != Level::Raid6 {
        return Err("only raid6 has one");
    }
    if !matches!(summary.version, Version::V1_1 | Version::V1_2) {
        return Err("there is no free space before the data of members with metadata 0.90 or 1.0");
    }
    if summary.reshape.is_some() {
        return Err("the array is being reshaped");
    }
    if summary.ppl.is_some() || summary.features.has(Features::JOURNAL) {
        return Err("the array has another log");
    }
    let claims = [
        Some((summary.super_offset, SUPERBLOCK_SECTORS)),
        summary.bitmap.map(|bitmap| (bitmap.sector, bitmap_sectors)),
        summary.bad_block_log.map(|log| (log.sector, log.sectors.into())),
    ];
    // What lies behind the data's start is not in the way; what reaches into it is not ours to judge.
    let before_data = claims.into_iter().flatten().filter(|(start, _)| *start < summary.data_offset);
    let claimed = before_data.map(|(start, sectors)| start.saturating_add(sectors)).max().unwrap_or(0);
    let end = summary.data_offset / ALIGNMENT * ALIGNMENT;
    let start = claimed.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX);
    match end.checked_sub(start) {
        Some(free) if free >= LEAST_SECTORS => {
            let sectors = free.min(PRIVATE_LOG_SECTORS);
            Ok(LogPlace { sector: end - sectors, sectors })
        }
        _ => Err("there is too little free space before the data of a member"),
    }
}

/// What stands for the 4 KiB of a superblock.
pub fn fingerprint(superblock: &[u8; SUPERBLOCK_BYTES]) -> u64 {
    checksum(CrcAlgorithm::Crc64Nvme, superblock)
}

/// What marks the records of a session.
pub fn signature(array_uuid: &[u8; 16], session: &[u8; 16]) -> u32 {
    let mut both = [0; 32];
    both[..16].copy_from_slice(array_uuid);
    both[16..].copy_from_slice(session);
    crc32c(&both)
}

/// A binding over the caller's bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
#[expect(missing_docs, reason = "the ruler shows them")]
pub struct Binding {
    pub magic: [u8; 8],
    pub version: U32,
    pub checksum: U32,
    pub array_uuid: [u8; 16],
    pub session: [u8; 16],
    pub generation: U64,
    pub before: U64,
    pub after: U64,
    pub dev_number: U32,
    pub pad: [u8; 436],
}

assert_layout!(Binding, 512, {
    magic: 0, version: 8, checksum: 12, array_uuid: 16, session: 32, generation: 48, before: 56, after: 64,
    dev_number: 72, pad: 76,
});

impl Binding {
    /// Reads these bytes as a binding. Nothing is known of them yet.
    pub fn view(bytes: &[u8]) -> Result<&Binding, FormatError> {
        let found = bytes.len();
        let (binding, _) = Binding::ref_from_prefix(bytes).map_err(|_| too_short(found))?;
        Ok(binding)
    }

    /// The same, to change it in place; [`Binding::seal`] it afterwards.
    pub fn edit(bytes: &mut [u8]) -> Result<&mut Binding, FormatError> {
        let found = bytes.len();
        let (binding, _) = Binding::mut_from_prefix(bytes).map_err(|_| too_short(found))?;
        Ok(binding)
    }

    /// Makes it a binding of this member of this array that names nothing yet.
    pub fn clear(&mut self, array_uuid: &[u8; 16], dev_number: u32) {
        self.as_mut_bytes().fill(0);
        self.magic = MAGIC;
        self.version = VERSION.into();
        self.array_uuid = *array_uuid;
        self.dev_number = dev_number.into();
    }

    /// Whether this is a binding of this member of this array, written to its end.
    pub fn check(&self, array_uuid: &[u8; 16], dev_number: u32) -> Result<(), FormatError> {
        if self.magic != MAGIC {
            let low = |magic: [u8; 8]| u32::from_le_bytes([magic[0], magic[1], magic[2], magic[3]]);
            return Err(FormatError::Magic { form: FORM, found: low(self.magic), expected: low(MAGIC) });
        }
        let (found, expected) = (self.checksum.get(), self.checksum_expected());
        if found != expected {
            return Err(FormatError::LogChecksum { form: FORM, found, expected });
        }
        if self.version.get() != VERSION {
            let found = self.version.get();
            return Err(FormatError::Version { field: "private log version", found, expected: "1" });
        }
        if self.array_uuid != *array_uuid {
            return Err(FormatError::Uuid { form: FORM, found: self.array_uuid, expected: *array_uuid });
        }
        let (found, own) = (u64::from(self.dev_number.get()), u64::from(dev_number));
        if found != own {
            return Err(FormatError::Range { field: "dev_number", found, least: own, most: own });
        }
        Ok(())
    }

    /// Whether it names this superblock.
    pub fn names(&self, superblock: u64) -> bool {
        self.before.get() == superblock || self.after.get() == superblock
    }

    /// The checksum that these bytes should carry; the stored one counts as zero.
    pub fn checksum_expected(&self) -> u32 {
        let bytes = self.as_bytes();
        let at = core::mem::offset_of!(Binding, checksum);
        let mut sum = Crc32c::new();
        for part in [&bytes[..at], &[0; 4][..], &bytes[at + 4..]] {
            sum.add(part);
        }
        sum.finish()
    }

    /// Makes the checksum true.
    pub fn seal(&mut self) {
        self.checksum = self.checksum_expected().into();
    }
}

fn too_short(found: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected: BINDING_BYTES }
}

#[cfg(test)]
mod tests;
