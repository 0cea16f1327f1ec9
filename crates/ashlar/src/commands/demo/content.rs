//! What an array should hold: a copy in memory.

use std::ops::Range;

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};

const SECTOR: usize = 512;

/// The content of an array.
#[derive(Clone)]
pub struct Content {
    bytes: Vec<u8>,
    seed: u64,
}

impl Content {
    /// So many zeroes. Contents of different seeds are filled differently.
    pub fn new(len: u64, seed: u64) -> Content {
        Content { bytes: vec![0; len as usize], seed }
    }

    /// Content that was read.
    pub fn of(bytes: Vec<u8>) -> Content {
        Content { bytes, seed: 0 }
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes of `range`.
    pub fn bytes(&self, range: Range<u64>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    /// Fills `range` with something new (xorshift64*, Vigna 2016: quick, and no two sectors are alike).
    pub fn fill(&mut self, range: Range<u64>) {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut state = self.seed | 1;
        let (words, _) = self.bytes[range.start as usize..range.end as usize].as_chunks_mut::<8>();
        for word in words {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            *word = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        }
    }

    /// Takes `range` over from another content.
    pub fn take(&mut self, other: &Content, range: Range<u64>) {
        let range = range.start as usize..range.end as usize;
        self.bytes[range.clone()].copy_from_slice(&other.bytes[range]);
    }

    /// How many sectors of `range` are like `old` and how many like `new`; an error if one is like neither.
    pub fn sectors_like(&self, old: &Content, new: &Content, range: Range<u64>) -> Result<(u64, u64)> {
        let (mut olds, mut news) = (0, 0);
        for at in (range.start as usize..range.end as usize).step_by(SECTOR) {
            let sector = |content: &Content| content.bytes[at..at + SECTOR].to_vec();
            match sector(self) {
                found if found == sector(old) => olds += 1,
                found if found == sector(new) => news += 1,
                _ => bail!("the sector at byte {at} holds neither old nor new data"),
            }
        }
        Ok((olds, news))
    }

    /// The hash of all of it.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        self.bytes == other.bytes
    }
}

/// SHA-256 in hexadecimal, as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
