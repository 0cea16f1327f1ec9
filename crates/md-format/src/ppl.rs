//! The partial parity log of raid5: what makes the parity of rows that were being written right again after a crash.
//! `struct ppl_header` and `struct ppl_header_entry` of md_p.h, always little-endian; rules of raid5-ppl.c.
//!
//! Every member has an area. A record is logged on the member that holds the parity of its rows:
//!
//! ```text
//!    0  reserved (512 bytes of 0xff)
//!  512  signature      padding        generation           | 528  entries_count  checksum
//!  536  entries, 148 of 24 bytes:
//!         0  data_sector   | 8  pp_size  data_size  | 16  parity_disk  checksum
//! 4088  8 bytes, zero
//! 4096  the partial parity of the entries, one after the other
//! ```
//!
//! An entry's partial parity is the sum of the blocks of its rows that are *not* written: parity is that and what is
//! found in the written ones. `data_sector` is the first array sector written, counted in 512 bytes by native metadata
//! (by IMSM in logical blocks); `pp_size` and `data_size` count bytes. An entry without partial parity covers all data
//! of its rows.
//!
//! Where the area has room for two of the largest records it is a ring: records follow each other, and the newest is the
//! last that, from the start of the area, can be reached with signature and checksum right and generations that do not
//! fall. Only the newest one counts, because none is written before all rows of the one before are safe on the members.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{Crc32c, crc32c};
use crate::error::FormatError;

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 4096;
/// [`HEADER_BYTES`] in sectors.
pub const HEADER_SECTORS: u64 = 8;
/// Entries that a header has room for.
pub const MAX_ENTRIES: usize = 148;
/// Most partial parity of a record in a ring.
pub const RING_RECORD_BYTES: usize = 128 << 10;
/// Members of an array with partial parity logs, at most: the kernel counts them in the bits of a word.
pub const MAX_MEMBERS: u32 = 64;

const FORM: &str = "partial parity log";
const RESERVED: u8 = 0xff;

/// A record's header over the caller's bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are md_p.h's, the ruler shows them")]
pub struct PplHeader {
    pub reserved: [u8; 512],
    pub signature: U32,
    pub padding: U32,
    pub generation: U64,
    pub entries_count: U32,
    pub checksum: U32,
    pub entries: [PplEntry; MAX_ENTRIES],
    pub tail: [u8; 8],
}

assert_layout!(PplHeader, 4096, {
    reserved: 0, signature: 512, padding: 516, generation: 520, entries_count: 528, checksum: 532, entries: 536,
    tail: 4088,
});

/// An entry: rows of one stripe in which the same blocks were written.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are md_p.h's, the ruler shows them")]
pub struct PplEntry {
    pub data_sector: U64,
    pub pp_bytes: U32,
    pub data_bytes: U32,
    pub parity_disk: U32,
    pub checksum: U32,
}

assert_layout!(PplEntry, 24, { data_sector: 0, pp_bytes: 8, data_bytes: 12, parity_disk: 16, checksum: 20 });

/// What marks the records of an array with native metadata.
pub fn signature(array_uuid: &[u8; 16]) -> u32 {
    crc32c(array_uuid)
}

/// Whether an area of so many sectors is a ring.
pub fn is_ring(area_sectors: u64) -> bool {
    area_sectors * 512 >= 2 * (HEADER_BYTES + RING_RECORD_BYTES) as u64
}

/// Most bytes of partial parity in one record of an area of so many sectors, whole pages; `None` where there is no room
/// for one page.
pub fn record_bytes(area_sectors: u64) -> Option<usize> {
    if is_ring(area_sectors) {
        return Some(RING_RECORD_BYTES);
    }
    let sectors = area_sectors.checked_sub(HEADER_SECTORS)?;
    let pages = usize::try_from(sectors / 8).ok()?;
    (pages > 0).then_some(pages * 4096)
}

impl PplHeader {
    /// Reads these bytes as a header. Nothing is known of them yet.
    pub fn view(bytes: &[u8]) -> Result<&PplHeader, FormatError> {
        let found = bytes.len();
        let (header, _) = PplHeader::ref_from_prefix(bytes).map_err(|_| too_short(found))?;
        Ok(header)
    }

    /// The same, to change it in place; [`PplHeader::seal`] it afterwards.
    pub fn edit(bytes: &mut [u8]) -> Result<&mut PplHeader, FormatError> {
        let found = bytes.len();
        let (header, _) = PplHeader::mut_from_prefix(bytes).map_err(|_| too_short(found))?;
        Ok(header)
    }

    /// Whether this is a record of the array with this signature, written to its end.
    pub fn check(&self, signature: u32) -> Result<(), FormatError> {
        let (found, expected) = (self.checksum.get(), self.checksum_expected());
        if found != expected {
            return Err(FormatError::LogChecksum { form: FORM, found, expected });
        }
        let (found, expected) = (self.signature.get(), signature);
        if found != expected {
            return Err(FormatError::Magic { form: FORM, found, expected });
        }
        let (found, most) = (u64::from(self.entries_count.get()), MAX_ENTRIES as u64);
        if found > most {
            return Err(FormatError::Range { field: "entries_count", found, least: 0, most });
        }
        Ok(())
    }

    /// The entries that count: never more than there are.
    pub fn entries(&self) -> &[PplEntry] {
        let count = (self.entries_count.get() as usize).min(MAX_ENTRIES);
        &self.entries[..count]
    }

    /// Sectors of partial parity behind the header. 148 sizes of 32 bits cannot overflow.
    pub fn payload_sectors(&self) -> u64 {
        self.entries().iter().map(PplEntry::pp_sectors).sum()
    }

    /// Whether this record, found behind `previous`, is newer.
    pub fn follows(&self, previous: &PplHeader) -> bool {
        self.generation.get() >= previous.generation.get()
    }

    /// Makes it an empty record: nothing was being written.
    pub fn clear(&mut self, signature: u32, generation: u64) {
        self.as_mut_bytes().fill(0);
        self.reserved.fill(RESERVED);
        self.signature = signature.into();
        self.generation = generation.into();
    }

    /// Adds an entry; `Full` where there is no room left.
    pub fn push(&mut self, entry: PplEntry) -> Result<(), FormatError> {
        let at = self.entries_count.get() as usize;
        let full = FormatError::Full { form: FORM, capacity: MAX_ENTRIES };
        *self.entries.get_mut(at).ok_or(full)? = entry;
        self.entries_count = (at as u32 + 1).into();
        Ok(())
    }

    /// The checksum that these bytes should carry; the stored one counts as zero.
    pub fn checksum_expected(&self) -> u32 {
        let bytes = self.as_bytes();
        let at = core::mem::offset_of!(PplHeader, checksum);
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

impl PplEntry {
    /// An entry of an array with native metadata, whose partial parity has this CRC-32C.
    pub fn new(data_sector: u64, pp_bytes: u32, data_bytes: u32, parity_disk: u16, crc: u32) -> PplEntry {
        PplEntry {
            data_sector: data_sector.into(),
            pp_bytes: pp_bytes.into(),
            data_bytes: data_bytes.into(),
            parity_disk: u32::from(parity_disk).into(),
            checksum: crc.into(),
        }
    }

    /// An entry about nothing: the log is kept, and nothing was being written. Who recovers by it counts it and does
    /// nothing else, so that a dirty array whose log has one needs no resync.
    pub fn nothing(parity_disk: u16) -> PplEntry {
        PplEntry::new(0, 0, 0, parity_disk, crc32c(&[]))
    }

    /// Sectors of its partial parity.
    pub fn pp_sectors(&self) -> u64 {
        u64::from(self.pp_bytes.get()) / 512
    }
}

fn too_short(found: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected: HEADER_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: [u8; 16] = [9; 16];

    fn header(generation: u64, entries: &[PplEntry]) -> Vec<u8> {
        let mut bytes = vec![0x77; HEADER_BYTES];
        let header = PplHeader::edit(&mut bytes).unwrap();
        header.clear(signature(&UUID), generation);
        entries.iter().for_each(|entry| header.push(*entry).unwrap());
        header.seal();
        bytes
    }

    #[test]
    fn a_sealed_record_is_this_arrays_and_nobody_elses() {
        let bytes = header(1, &[PplEntry::new(8, 4096, 8192, 2, 0)]);
        let view = PplHeader::view(&bytes).unwrap();
        assert_eq!(view.check(signature(&UUID)), Ok(()));
        assert!(matches!(view.check(signature(&[8; 16])), Err(FormatError::Magic { .. })));
        assert_eq!((view.entries().len(), view.payload_sectors()), (1, 8));
        assert!(bytes[..512].iter().all(|byte| *byte == 0xff) && bytes[4088..] == [0; 8]);
    }

    #[test]
    fn a_torn_header_is_no_record() {
        let mut bytes = header(1, &[]);
        bytes[4000] ^= 1;
        let torn = PplHeader::view(&bytes).unwrap().check(signature(&UUID));
        assert!(matches!(torn, Err(FormatError::LogChecksum { .. })));
        assert!(PplHeader::view(&bytes[1..]).is_err());
    }

    #[test]
    fn more_entries_than_there_is_room_for_are_refused() {
        let mut bytes = header(1, &[]);
        let view = PplHeader::edit(&mut bytes).unwrap();
        view.entries_count = 149.into();
        view.seal();
        assert!(matches!(view.check(signature(&UUID)), Err(FormatError::Range { found: 149, .. })));
        assert_eq!(view.entries().len(), MAX_ENTRIES);
        view.entries_count = 0.into();
        let entry = PplEntry::nothing(0);
        (0..MAX_ENTRIES).for_each(|_| view.push(entry).unwrap());
        assert!(matches!(view.push(entry), Err(FormatError::Full { .. })));
    }

    #[test]
    fn an_area_for_two_of_the_largest_records_is_a_ring() {
        assert!(is_ring(528) && !is_ring(527) && is_ring(2048));
        assert_eq!(record_bytes(2048), Some(128 << 10));
        assert_eq!(record_bytes(527), Some(64 * 4096));
        assert_eq!((record_bytes(16), record_bytes(15), record_bytes(0)), (Some(4096), None, None));
    }
}
