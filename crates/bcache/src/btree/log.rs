//! A node on disk: a log of sets of keys. Pure: reads the bytes of a node, makes those of a set.

use bcache_format::bset::{Bset, HEADER_BYTES, Owner};
use bcache_format::key::Keys;
use bcache_format::{FormatError, Geometry, Key};

/// What was found of a log, beside its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// What all its sets have in common.
    pub seq: u64,
    /// Blocks up to the end of the last set.
    pub blocks: u64,
    /// How many sets there are.
    pub sets: u32,
}

/// Why the bytes of a node are no log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogError {
    /// A set of keys is not accepted.
    Set {
        /// Where it begins, in sectors of the node.
        sector: u64,
        /// What is wrong.
        error: FormatError,
    },
    /// Behind the last set there is another one of the same life.
    Leftover {
        /// Where it begins, in sectors of the node.
        sector: u64,
    },
}

/// Reads the log of the node that `key` names, from all of its bytes. `take` is given the sets, the oldest first.
pub fn read(
    bytes: &[u8],
    geometry: &Geometry,
    key: &Key,
    mut take: impl FnMut(Keys<'_>) -> Result<(), FormatError>,
) -> Result<Log, LogError> {
    let owner = Owner { set_magic: geometry.set_magic, pointer: key.pointer().unwrap_or_default() };
    let block = geometry.block_sectors as usize * 512;
    let at = |offset: usize| (offset / 512) as u64;
    let first = Bset::view(bytes).map_err(|error| LogError::Set { sector: 0, error })?;
    let seq = first.seq.get();
    let (mut offset, mut sets) = (0, 0);
    while let Ok(bset) = Bset::view(&bytes[offset..]) {
        if bset.seq.get() != seq {
            break;
        }
        let wrong = |error| LogError::Set { sector: at(offset), error };
        take(Bset::check(&bytes[offset..], owner).map_err(wrong)?).map_err(wrong)?;
        sets += 1;
        offset += bset.bytes().next_multiple_of(block);
        if offset >= bytes.len() {
            break;
        }
    }
    for later in (offset..bytes.len()).step_by(block) {
        if Bset::view(&bytes[later..]).is_ok_and(|bset| bset.seq.get() == seq) {
            return Err(LogError::Leftover { sector: at(later) });
        }
    }
    Ok(Log { seq, blocks: at(offset) / geometry.block_sectors, sets })
}

/// Bytes that a set of so many words takes in a log, whole blocks.
pub fn set_bytes(geometry: &Geometry, words: usize) -> usize {
    geometry.whole_blocks(HEADER_BYTES + 8 * words)
}

/// Makes `bytes` a set of these keys in the log of the node that `key` names.
pub fn write(bytes: &mut [u8], geometry: &Geometry, key: &Key, seq: u64, keys: &[Key]) {
    bytes.fill(0);
    Bset::create(bytes, geometry.set_magic, seq).expect("room for the keys");
    let mut at = HEADER_BYTES;
    for key in keys {
        key.write(&mut bytes[at..]);
        at += 8 * key.words();
    }
    let pointer = key.pointer().expect("a node has a place");
    Bset::seal(bytes, (at - HEADER_BYTES) / 8, pointer).expect("room for the keys");
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcache_format::{Pointer, Position};

    const GEOMETRY: Geometry = Geometry {
        bucket_sectors: 16,
        block_sectors: 1,
        first_bucket: 2,
        buckets: 600,
        journal_buckets: 4,
        set_magic: 77,
    };

    fn extents(from: u64, count: u64) -> Vec<Key> {
        (from..from + count)
            .map(|at| Key::extent(Position::new(0, at * 8), 8, Pointer::new(160, 1), true))
            .collect()
    }

    /// A node with sets of 30 and 1 keys: two blocks, and one.
    fn node() -> (Key, Vec<u8>) {
        let key = Key::node(Position::MAX, 16, Pointer::new(320, 5));
        let mut bytes = vec![0; 8192];
        write(&mut bytes[..1024], &GEOMETRY, &key, 9, &extents(0, 30));
        write(&mut bytes[1024..1536], &GEOMETRY, &key, 9, &extents(4, 1));
        (key, bytes)
    }

    fn keys(bytes: &[u8], key: &Key) -> Result<(Log, usize), LogError> {
        let mut count = 0;
        let log = read(bytes, &GEOMETRY, key, |keys| {
            count += keys.map(|key| key.map(drop)).collect::<Result<Vec<()>, _>>()?.len();
            Ok(())
        })?;
        Ok((log, count))
    }

    #[test]
    fn sets_follow_each_other_at_whole_blocks() {
        let (key, bytes) = node();
        assert_eq!(set_bytes(&GEOMETRY, 90), 1024);
        assert_eq!(keys(&bytes, &key), Ok((Log { seq: 9, blocks: 3, sets: 2 }, 31)));
    }

    #[test]
    fn a_set_behind_the_end_of_the_log_is_noticed() {
        let (key, mut bytes) = node();
        bytes[1024 + 16] = 0; // another seq: the log ends before it
        let set = bytes[..512].to_vec();
        bytes[4096..4608].copy_from_slice(&set);
        assert_eq!(keys(&bytes, &key), Err(LogError::Leftover { sector: 8 }));
    }

    #[test]
    fn a_set_that_was_damaged_is_an_error() {
        let (key, mut bytes) = node();
        bytes[1070] ^= 1;
        let is_checksum =
            |error| matches!(error, LogError::Set { sector: 2, error: FormatError::Checksum { .. } });
        assert!(keys(&bytes, &key).is_err_and(is_checksum));
    }
}
