//! The write journal of raid4, raid5 and raid6: blocks on a device of their own before they go to the members.
//! `struct r5l_meta_block` and its payloads of md_p.h, always little-endian; rules of raid5-cache.c.
//!
//! The journal device is a ring of 4 KiB blocks, its positions counted in sectors from the data offset:
//!
//! ```text
//!  0  magic  checksum   version (1 byte), 3 of padding   meta_size   | 16  seq   position
//! 32  payloads up to meta_size, one after the other:
//!       data    0  type 0   flags (2 bytes each)   size   location (array sector)          checksums, 4 bytes each
//!       parity  0  type 1   flags                  size   location (sector of a member)    checksums: P, and Q
//!       flush   0  type 2   flags                  size (bytes)   sectors of members, 8 bytes each
//! ```
//!
//! The blocks of data and parity follow their meta block in the order of the payloads, then comes the next meta block,
//! with a `seq` one higher. All checksums are CRC-32C whose register starts from that of the array's uuid and is not
//! inverted at its end; that of a meta block covers 4 KiB with its own field zero.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Crc32c;
use crate::error::FormatError;

/// The magic number of a meta block.
pub const MAGIC: u32 = 0x6433_c509;
/// Bytes of a meta block, and of everything else in a journal.
pub const BLOCK_BYTES: usize = 4096;
/// [`BLOCK_BYTES`] in sectors.
pub const BLOCK_SECTORS: u64 = 8;
/// What recovery adds to the sequence number, so that what it left behind can never follow what comes now.
pub const RECOVERY_STEP: u64 = 10_000;

const FORM: &str = "journal meta block";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 32;
const PAYLOAD_BYTES: usize = 16;

/// Blocks of data that a meta block can name, and the most members whose row fits into one: the kernel's limit too.
pub const MOST_BLOCKS: usize = (BLOCK_BYTES - HEADER_BYTES) / (PAYLOAD_BYTES + 4);

/// Bytes of a meta block that name so many blocks of data, and the `parities` of so many rows.
pub const fn payload_bytes(data: usize, rows: usize, parities: usize) -> usize {
    let of_parity = if parities == 0 { 0 } else { PAYLOAD_BYTES + 4 * parities };
    data * (PAYLOAD_BYTES + 4) + rows * of_parity
}
const FLUSH_BYTES: usize = 8;

/// A meta block over the caller's 4 KiB.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are md_p.h's, the ruler shows them")]
pub struct MetaBlock {
    pub magic: U32,
    pub checksum: U32,
    pub version: u8,
    pub padding: [u8; 3],
    pub meta_size: U32,
    pub seq: U64,
    pub position: U64,
    pub payloads: [u8; BLOCK_BYTES - HEADER_BYTES],
}

assert_layout!(MetaBlock, 4096, {
    magic: 0, checksum: 4, version: 8, padding: 9, meta_size: 12, seq: 16, position: 24, payloads: 32,
});

/// What stands before the checksums of a payload of data or parity.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct BlocksPayload {
    kind: U16,
    flags: U16,
    sectors: U32,
    location: U64,
}

assert_layout!(BlocksPayload, 16, { kind: 0, flags: 2, sectors: 4, location: 8 });

/// What stands before the sectors of a flush.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FlushPayload {
    kind: U16,
    flags: U16,
    bytes: U32,
}

assert_layout!(FlushPayload, 8, { kind: 0, flags: 2, bytes: 4 });

mod kind {
    pub const DATA: u16 = 0;
    pub const PARITY: u16 = 1;
    pub const FLUSH: u16 = 2;
}

/// What a meta block speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A block of data follows.
    Data {
        /// Its place in the array.
        array_sector: u64,
        /// Its checksum.
        checksum: u32,
    },
    /// The parity of a row of blocks follows: P, and of raid6 Q behind it.
    Parity {
        /// The row, in sectors from the members' data offsets.
        row: u64,
        /// P's checksum.
        p: u32,
        /// Q's.
        q: Option<u32>,
    },
    /// These rows are on the members already.
    Flush {
        /// The rows, in sectors from the members' data offsets.
        rows: &'a [U64],
    },
}

impl Payload<'_> {
    /// Sectors of blocks that follow the meta block for it.
    pub fn sectors(&self) -> u64 {
        match self {
            Payload::Data { .. } | Payload::Parity { q: None, .. } => BLOCK_SECTORS,
            Payload::Parity { q: Some(_), .. } => 2 * BLOCK_SECTORS,
            Payload::Flush { .. } => 0,
        }
    }
}

/// What the checksums of an array's journal start from.
pub fn seed(array_uuid: &[u8; 16]) -> u32 {
    let mut sum = Crc32c::new();
    sum.add(array_uuid);
    sum.register()
}

/// The checksum of a block of data or parity.
pub fn block_checksum(seed: u32, block: &[u8]) -> u32 {
    let mut sum = Crc32c::from_register(seed);
    sum.add(block);
    sum.register()
}

/// What is believed of a recorded tail, in a journal of so many sectors: one that is no place in it means its start.
pub fn tail(recorded: u64, journal_sectors: u64) -> u64 {
    if recorded < journal_sectors && recorded.is_multiple_of(BLOCK_SECTORS) { recorded } else { 0 }
}

/// The position `sectors` behind another one, in a ring of `ring_sectors`, both within it; `None` where that makes no
/// sense.
pub fn ring_add(position: u64, sectors: u64, ring_sectors: u64) -> Option<u64> {
    let at = position.checked_add(sectors)?;
    let at = if at >= ring_sectors { at.checked_sub(ring_sectors)? } else { at };
    (at < ring_sectors).then_some(at)
}

impl MetaBlock {
    /// Reads these bytes as a meta block: the magic and the version are right, nothing else is known.
    pub fn view(bytes: &[u8]) -> Result<&MetaBlock, FormatError> {
        let found = bytes.len();
        let (block, _) = MetaBlock::ref_from_prefix(bytes).map_err(|_| too_short(found))?;
        let (found, version) = (block.magic.get(), block.version);
        if found != MAGIC {
            return Err(FormatError::Magic { form: FORM, found, expected: MAGIC });
        }
        if version != VERSION {
            return Err(FormatError::Version {
                field: "journal version",
                found: version.into(),
                expected: "1",
            });
        }
        Ok(block)
    }

    /// Makes these bytes an empty meta block; [`MetaBlock::seal`] it when payloads were added.
    pub fn create(bytes: &mut [u8], seq: u64, position: u64) -> Result<&mut MetaBlock, FormatError> {
        let found = bytes.len();
        let (block, _) = MetaBlock::mut_from_prefix(bytes).map_err(|_| too_short(found))?;
        block.as_mut_bytes().fill(0);
        block.magic = MAGIC.into();
        block.version = VERSION;
        block.meta_size = (HEADER_BYTES as u32).into();
        block.seq = seq.into();
        block.position = position.into();
        Ok(block)
    }

    /// These bytes, which [`MetaBlock::create`] made, as a meta block that payloads are added to.
    pub fn edit(bytes: &mut [u8]) -> Result<&mut MetaBlock, FormatError> {
        MetaBlock::view(bytes)?;
        let found = bytes.len();
        MetaBlock::mut_from_prefix(bytes).map(|(block, _)| block).map_err(|_| too_short(found))
    }

    /// Gives it a place in the journal; [`MetaBlock::seal`] it then.
    pub fn set_place(&mut self, seq: u64, position: u64) {
        self.seq = seq.into();
        self.position = position.into();
    }

    /// Bytes that are left for payloads.
    pub fn room(&self) -> usize {
        BLOCK_BYTES.saturating_sub(self.meta_size.get() as usize)
    }

    /// Whether this block lies where it says, and is this array's, whole.
    pub fn check(&self, seed: u32, position: u64) -> Result<(), FormatError> {
        let (found, expected) = (self.checksum.get(), self.checksum_expected(seed));
        if found != expected {
            return Err(FormatError::LogChecksum { form: FORM, found, expected });
        }
        let found = self.position.get();
        if found != position {
            return Err(FormatError::Range {
                field: "journal position",
                found,
                least: position,
                most: position,
            });
        }
        let (found, most) = (u64::from(self.meta_size.get()), BLOCK_BYTES as u64);
        if found > most {
            return Err(FormatError::Range { field: "meta_size", found, least: 0, most });
        }
        Ok(())
    }

    /// Its payloads, each as it stands or as the error that it is, behind which nothing follows. `parities` is how many
    /// blocks of parity a row has: 1, of raid6 2.
    pub fn payloads(&self, parities: u32) -> Payloads<'_> {
        let end = (self.meta_size.get() as usize).clamp(HEADER_BYTES, BLOCK_BYTES);
        Payloads { left: &self.payloads[..end - HEADER_BYTES], parities }
    }

    /// Adds a block of data.
    pub fn push_data(&mut self, array_sector: u64, checksum: u32) -> Result<(), FormatError> {
        self.push(kind::DATA, BLOCK_SECTORS, array_sector, [checksum].as_slice())
    }

    /// Adds the parity of a row.
    pub fn push_parity(&mut self, row: u64, p: u32, q: Option<u32>) -> Result<(), FormatError> {
        match q {
            None => self.push(kind::PARITY, BLOCK_SECTORS, row, &[p]),
            Some(q) => self.push(kind::PARITY, 2 * BLOCK_SECTORS, row, &[p, q]),
        }
    }

    fn push(&mut self, kind: u16, sectors: u64, location: u64, sums: &[u32]) -> Result<(), FormatError> {
        let at = (self.meta_size.get() as usize).max(HEADER_BYTES) - HEADER_BYTES;
        let bytes = PAYLOAD_BYTES + 4 * sums.len();
        let full = FormatError::Full { form: FORM, capacity: self.payloads.len() / (PAYLOAD_BYTES + 4) };
        let place = self.payloads.get_mut(at..at + bytes).ok_or(full)?;
        let payload = BlocksPayload {
            kind: kind.into(),
            flags: 0.into(),
            sectors: (sectors as u32).into(),
            location: location.into(),
        };
        let (head, tail) = place.split_at_mut(PAYLOAD_BYTES);
        head.copy_from_slice(payload.as_bytes());
        for (place, sum) in tail.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
            *place = sum.to_le_bytes();
        }
        self.meta_size = ((HEADER_BYTES + at + bytes) as u32).into();
        Ok(())
    }

    /// The checksum that these bytes should carry; the stored one counts as zero.
    pub fn checksum_expected(&self, seed: u32) -> u32 {
        let bytes = self.as_bytes();
        let mut sum = Crc32c::from_register(seed);
        for part in [&bytes[..4], &[0; 4][..], &bytes[8..]] {
            sum.add(part);
        }
        sum.register()
    }

    /// Makes the checksum true.
    pub fn seal(&mut self, seed: u32) {
        self.checksum = self.checksum_expected(seed).into();
    }
}

/// See [`MetaBlock::payloads`].
#[derive(Debug, Clone)]
pub struct Payloads<'a> {
    left: &'a [u8],
    parities: u32,
}

impl<'a> Iterator for Payloads<'a> {
    type Item = Result<Payload<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let payload = self.take();
        if payload.is_err() {
            self.left = &[];
        }
        Some(payload)
    }
}

impl<'a> Payloads<'a> {
    fn take(&mut self) -> Result<Payload<'a>, FormatError> {
        let (flush, behind) =
            FlushPayload::ref_from_prefix(self.left).map_err(|_| self.cut_off(FLUSH_BYTES))?;
        if flush.kind.get() == kind::FLUSH {
            let bytes = flush.bytes.get() as usize;
            let rows = behind.get(..bytes).ok_or(self.cut_off(FLUSH_BYTES.saturating_add(bytes)))?;
            self.left = &behind[bytes..];
            let rows = <[U64]>::ref_from_bytes(&rows[..bytes / 8 * 8]).map_err(|_| self.cut_off(bytes))?;
            return Ok(Payload::Flush { rows });
        }
        let (payload, behind) =
            BlocksPayload::ref_from_prefix(self.left).map_err(|_| self.cut_off(PAYLOAD_BYTES))?;
        let blocks = match payload.kind.get() {
            kind::DATA => 1,
            kind::PARITY => self.parities,
            found => {
                let (found, most) = (found.into(), kind::FLUSH.into());
                return Err(FormatError::Range { field: "journal payload type", found, least: 0, most });
            }
        };
        let (found, sectors) = (u64::from(payload.sectors.get()), u64::from(blocks) * BLOCK_SECTORS);
        if found != sectors {
            return Err(FormatError::Range {
                field: "journal payload size",
                found,
                least: sectors,
                most: sectors,
            });
        }
        let bytes = 4 * blocks as usize;
        let sums = behind.get(..bytes).ok_or(self.cut_off(PAYLOAD_BYTES + bytes))?;
        self.left = &behind[bytes..];
        let sums = sums.as_chunks::<4>().0;
        let sum = |at: usize| sums.get(at).map(|sum| u32::from_le_bytes(*sum));
        let first = sum(0).ok_or(self.cut_off(bytes))?;
        let location = payload.location.get();
        Ok(match payload.kind.get() {
            kind::DATA => Payload::Data { array_sector: location, checksum: first },
            _ => Payload::Parity { row: location, p: first, q: sum(1) },
        })
    }

    fn cut_off(&self, expected: usize) -> FormatError {
        FormatError::TooShort { form: "journal payload", found: self.left.len(), expected }
    }
}

fn too_short(found: usize) -> FormatError {
    FormatError::TooShort { form: FORM, found, expected: BLOCK_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: [u8; 16] = [3; 16];

    #[test]
    fn payloads_come_back_as_they_went() {
        let mut bytes = vec![0x55; BLOCK_BYTES];
        MetaBlock::create(&mut bytes, 0, 0).unwrap();
        let block = MetaBlock::edit(&mut bytes).unwrap();
        let room = block.room();
        block.push_data(1000, 11).unwrap();
        block.push_parity(2000, 12, Some(13)).unwrap();
        assert_eq!(room - block.room(), payload_bytes(1, 1, 2));
        block.set_place(7, 64);
        block.seal(seed(&UUID));
        let block = MetaBlock::view(&bytes).unwrap();
        assert_eq!(block.check(seed(&UUID), 64), Ok(()));
        assert!(block.check(seed(&UUID), 72).is_err() && block.check(seed(&[4; 16]), 64).is_err());
        let found: Vec<_> = block.payloads(2).map(Result::unwrap).collect();
        let expected = [
            Payload::Data { array_sector: 1000, checksum: 11 },
            Payload::Parity { row: 2000, p: 12, q: Some(13) },
        ];
        assert_eq!(found, expected);
        assert_eq!(found.iter().map(Payload::sectors).sum::<u64>(), 24);
        assert!(block.payloads(1).any(|payload| payload.is_err()), "raid5 has no Q");
    }

    #[test]
    fn a_meta_block_has_room_for_so_much() {
        let mut bytes = vec![0; BLOCK_BYTES];
        let block = MetaBlock::create(&mut bytes, 1, 0).unwrap();
        let pushed = (0..1000).take_while(|at| block.push_data(*at, 0).is_ok()).count();
        assert_eq!(pushed, MOST_BLOCKS);
        assert_eq!(block.payloads(1).count(), pushed);
    }

    #[test]
    fn hostile_payloads_end_the_block() {
        let mut bytes = vec![0xff; BLOCK_BYTES];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8] = 1;
        let block = MetaBlock::view(&bytes).unwrap();
        assert_eq!(block.payloads(1).collect::<Vec<_>>().len(), 1);
        bytes[32..40].copy_from_slice(&[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        let mut payloads = MetaBlock::view(&bytes).unwrap().payloads(1);
        assert!(payloads.next().unwrap().is_err() && payloads.next().is_none());
    }

    #[test]
    fn positions_go_around() {
        assert_eq!(ring_add(56, 8, 64), Some(0));
        assert_eq!(ring_add(40, 8, 64), Some(48));
        assert_eq!((ring_add(u64::MAX, 8, 64), ring_add(8, 200, 64)), (None, None));
        assert_eq!((tail(64, 64), tail(9, 64), tail(8, 64)), (0, 0, 8));
    }
}
