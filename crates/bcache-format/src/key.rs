//! Keys: what a bset and a journal entry are made of. `struct bkey` of bcache's bcache_ondisk.h.
//!
//! ```text
//! word 0 (high)   63     62..60    57..56    36     35..20   19..0
//!                 one   pointers  checksum  dirty   size     inode
//! word 1 (low)    where it ends: start = low - size
//! word 2          62..51   50..8    7..0                        | only if there is a pointer
//!                 device   sector   generation
//! ```
//!
//! A key of an extent says that `size` sectors of volume `inode` before `low` lie at the pointer; without a pointer, or
//! with one to a device that there is not (a trace of a miss), that they are not in the cache. A key of a node says that
//! all keys above those of the key before it and up to this one lie in the node that the pointer names, `size` sectors long.

use core::fmt;

use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U64;

use crate::error::FormatError;
use crate::limits::KEY_WORDS;
use crate::terms::BucketNo;

/// The device of a pointer that leads nowhere: what a miss leaves behind.
pub const NOWHERE: u16 = 4095;
/// Extents are no longer than this many sectors.
pub const MOST_SECTORS: u64 = (1 << 16) - 1;
/// Inodes are smaller than this.
pub const INODES: u32 = 1 << 20;

const INODE: u64 = (1 << 20) - 1;
const SIZE_AT: u32 = 20;
const SIZE: u64 = (1 << 16) - 1;
const DIRTY: u64 = 1 << 36;
const CHECKSUM_AT: u32 = 56;
const POINTERS_AT: u32 = 60;
const ONE: u64 = 1 << 63;

/// A place in the order of keys: volume by volume, each from its start to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    /// The volume: its index among the uuids.
    pub inode: u32,
    /// Sectors of it.
    pub offset: u64,
}

impl Position {
    /// What no key lies behind: that of the last node.
    pub const MAX: Position = Position { inode: INODES - 1, offset: i64::MAX as u64 };

    /// The place `offset` of volume `inode`.
    pub const fn new(inode: u32, offset: u64) -> Position {
        Position { inode, offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.inode, self.offset)
    }
}

/// Where something lies on the cache device, and of which life of its bucket it speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pointer(pub u64);

impl Pointer {
    /// A pointer to a sector of the cache device.
    pub const fn new(sector: u64, generation: u8) -> Pointer {
        Pointer(sector << 8 | generation as u64)
    }

    /// The generation that the bucket had.
    pub const fn generation(self) -> u8 {
        self.0 as u8
    }

    /// The sector.
    pub const fn sector(self) -> u64 {
        self.0 >> 8 & ((1 << 43) - 1)
    }

    /// The device: 0, or [`NOWHERE`].
    pub const fn device(self) -> u16 {
        (self.0 >> 51 & 4095) as u16
    }

    /// The bucket it points into.
    pub const fn bucket(self, bucket_sectors: u64) -> BucketNo {
        BucketNo(self.sector() / bucket_sectors)
    }
}

/// A key with at most one pointer; others nobody ever wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Key {
    high: u64,
    low: u64,
    pointer: Pointer,
}

impl Key {
    /// The extent of `sectors` sectors from `start` that lies at `pointer`.
    pub const fn extent(start: Position, sectors: u64, pointer: Pointer, is_dirty: bool) -> Key {
        let dirty = if is_dirty { DIRTY } else { 0 };
        let high = ONE | 1 << POINTERS_AT | dirty | sectors << SIZE_AT | start.inode as u64;
        Key { high, low: start.offset + sectors, pointer }
    }

    /// `sectors` sectors from `start` that are not in the cache.
    pub const fn hole(start: Position, sectors: u64) -> Key {
        Key {
            high: ONE | sectors << SIZE_AT | start.inode as u64,
            low: start.offset + sectors,
            pointer: Pointer(0),
        }
    }

    /// The node of `sectors` sectors whose keys end at `end` at the latest.
    pub const fn node(end: Position, sectors: u64, pointer: Pointer) -> Key {
        let high = ONE | 1 << POINTERS_AT | sectors << SIZE_AT | end.inode as u64;
        Key { high, low: end.offset, pointer }
    }

    /// The key at the start of these bytes.
    pub fn read(bytes: &[u8]) -> Result<Key, FormatError> {
        let short = FormatError::TooShort { form: "key", found: bytes.len(), expected: 16 };
        let ([high, low], rest) = <[U64; 2]>::read_from_prefix(bytes).map_err(|_| short)?;
        let (high, low) = (high.get(), low.get());
        let pointers = high >> POINTERS_AT & 7;
        if pointers > 1 || high >> CHECKSUM_AT & 3 != 0 {
            return Err(FormatError::KeyShape { found: high });
        }
        if pointers == 0 {
            return Ok(Key { high, low, pointer: Pointer(0) });
        }
        let short = FormatError::TooShort { form: "key", found: bytes.len(), expected: 24 };
        let (pointer, _) = U64::read_from_prefix(rest).map_err(|_| short)?;
        Ok(Key { high, low, pointer: Pointer(pointer.get()) })
    }

    /// Writes it to the start of these bytes, which are long enough.
    pub fn write(&self, bytes: &mut [u8]) {
        let words = [self.high, self.low, self.pointer.0];
        for (at, word) in words[..self.words()].iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
    }

    /// 64-bit words that it takes.
    pub const fn words(&self) -> usize {
        2 + (self.high >> POINTERS_AT & 1) as usize
    }

    /// The volume.
    pub const fn inode(&self) -> u32 {
        (self.high & INODE) as u32
    }

    /// Sectors of the extent, or of the node.
    pub const fn sectors(&self) -> u64 {
        self.high >> SIZE_AT & SIZE
    }

    /// The first sector of the extent.
    pub const fn start(&self) -> Position {
        Position { inode: self.inode(), offset: self.low.wrapping_sub(self.sectors()) }
    }

    /// The first sector behind the extent; where the keys of the node end.
    pub const fn end(&self) -> Position {
        Position { inode: self.inode(), offset: self.low }
    }

    /// Whether only the cache has this data.
    pub const fn is_dirty(&self) -> bool {
        self.high & DIRTY != 0
    }

    /// The same, dirty or clean.
    pub const fn with_dirty(self, is_dirty: bool) -> Key {
        let high = if is_dirty { self.high | DIRTY } else { self.high & !DIRTY };
        Key { high, ..self }
    }

    /// Where the data, or the node, lies; `None` of a hole.
    pub const fn pointer(&self) -> Option<Pointer> {
        if self.words() == 3 && self.pointer.device() == 0 { Some(self.pointer) } else { None }
    }

    /// Whether it is the trace of a miss.
    pub const fn is_trace(&self) -> bool {
        self.words() == 3 && self.pointer.device() != 0
    }

    /// What is left of the extent from `offset` on, which lies in it or at its end.
    pub fn cut_front(self, offset: u64) -> Key {
        let cut = offset - self.start().offset;
        debug_assert!(cut <= self.sectors());
        let pointer =
            if self.pointer().is_some() { Pointer(self.pointer.0 + (cut << 8)) } else { self.pointer };
        Key { high: self.high - (cut << SIZE_AT), low: self.low, pointer }
    }

    /// What is left of the extent before `offset`, which lies in it or at its start.
    pub fn cut_back(self, offset: u64) -> Key {
        let cut = self.low - offset;
        debug_assert!(cut <= self.sectors());
        Key { high: self.high - (cut << SIZE_AT), low: offset, pointer: self.pointer }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}+{}", self.inode(), self.start().offset, self.sectors())?;
        match self.pointer() {
            Some(at) => write!(f, " at {} generation {}", at.sector(), at.generation())?,
            None => f.write_str(" not cached")?,
        }
        f.write_str(if self.is_dirty() { " dirty" } else { "" })
    }
}

/// The keys that lie one after the other in these bytes; ends behind the first that is none.
#[derive(Clone)]
pub struct Keys<'a> {
    bytes: &'a [u8],
}

impl<'a> Keys<'a> {
    /// The keys in these bytes.
    pub fn new(bytes: &'a [u8]) -> Keys<'a> {
        Keys { bytes }
    }
}

impl Iterator for Keys<'_> {
    type Item = Result<Key, FormatError>;

    fn next(&mut self) -> Option<Result<Key, FormatError>> {
        if self.bytes.is_empty() {
            return None;
        }
        let key = Key::read(self.bytes);
        self.bytes = match &key {
            Ok(key) => &self.bytes[key.words() * 8..],
            Err(_) => &[],
        };
        Some(key)
    }
}

/// A key in a place of its own of 64 bytes, as journal entries have two.
pub fn read_slot(slot: &[u8; KEY_WORDS * 8]) -> Result<Key, FormatError> {
    Key::read(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_what_it_was_made_of() {
        let key = Key::extent(Position::new(7, 1000), 24, Pointer::new(123_456, 9), true);
        let mut bytes = [0; 24];
        key.write(&mut bytes);
        assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()), 0x9000_0010_0180_0007);
        assert_eq!(Key::read(&bytes), Ok(key));
        assert_eq!((key.start(), key.end()), (Position::new(7, 1000), Position::new(7, 1024)));
        assert_eq!(key.pointer().map(|at| (at.sector(), at.generation())), Some((123_456, 9)));
        assert!(key.is_dirty() && !key.with_dirty(false).is_dirty());
    }

    #[test]
    fn cutting_moves_the_pointer_only_in_front() {
        let key = Key::extent(Position::new(1, 100), 50, Pointer::new(4000, 3), false);
        let front = key.cut_front(110);
        assert_eq!(
            (front.start().offset, front.sectors(), front.pointer().unwrap().sector()),
            (110, 40, 4010)
        );
        let back = key.cut_back(130);
        assert_eq!((back.start().offset, back.sectors(), back.pointer().unwrap().sector()), (100, 30, 4000));
        assert_eq!(key.cut_front(150).sectors(), 0);
    }

    #[test]
    fn a_trace_of_a_miss_is_a_hole() {
        let trace = Key::extent(Position::new(1, 8), 8, Pointer(u64::from(NOWHERE) << 51), false);
        assert!(trace.is_trace() && trace.pointer().is_none() && trace.words() == 3);
    }

    #[test]
    fn a_key_that_nobody_writes_is_an_error() {
        let mut bytes = [0; 64];
        bytes[7] = 0x80 | 2 << 4; // two pointers
        assert!(matches!(Key::read(&bytes), Err(FormatError::KeyShape { .. })));
        assert!(matches!(Key::read(&bytes[..15]), Err(FormatError::TooShort { .. })));
        assert_eq!(Keys::new(&bytes).count(), 1);
    }
}
