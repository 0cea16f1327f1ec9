//! What the tests share: random bytes from a seed that is printed, and P and Q bit by bit.

#![allow(dead_code, reason = "each test program uses its part")]

use parity::Data;

/// Random bytes from a seed (xorshift64*).
pub struct Random(u64);

impl Random {
    /// From the seed in PARITY_SEED, or a new one; printed, so that a failure can be played again.
    pub fn new() -> Random {
        let drawn =
            || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("PARITY_SEED").map_or_else(|_| drawn(), |seed| seed.parse().unwrap());
        println!("to play this again: PARITY_SEED={seed}");
        Random(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 32) as usize % end
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 56) as u8).collect()
    }

    /// A stripe with `count` data blocks of `len` bytes, with the index of each.
    pub fn stripe(&mut self, indices: impl IntoIterator<Item = u8>, len: usize) -> Stripe {
        let data: Vec<(u8, Vec<u8>)> = indices.into_iter().map(|index| (index, self.bytes(len))).collect();
        let (p, q) = by_definition(&data, len);
        Stripe { data, p, q }
    }

    /// `count` ascending indices below 255.
    pub fn indices(&mut self, count: usize) -> Vec<u8> {
        let mut all: Vec<u8> = (0..255).collect();
        while all.len() > count {
            all.remove(self.below(all.len()));
        }
        all
    }
}

/// A stripe whose P and Q are right.
#[derive(Clone)]
pub struct Stripe {
    pub data: Vec<(u8, Vec<u8>)>,
    pub p: Vec<u8>,
    pub q: Vec<u8>,
}

impl Stripe {
    /// All data blocks but those at these places of the list.
    pub fn without(&self, lost: &[usize]) -> Vec<Data<'_>> {
        let kept = self.data.iter().enumerate().filter(|(place, _)| !lost.contains(place));
        kept.map(|(_, (index, bytes))| (*index, bytes.as_slice())).collect()
    }

    pub fn blocks(&self) -> Vec<Data<'_>> {
        self.without(&[])
    }
}

/// P and Q as the field defines them, sharing nothing with the crate: each power of the generator and each product is
/// worked out on polynomials, bit by bit.
pub fn by_definition(data: &[(u8, Vec<u8>)], len: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut p, mut q) = (vec![0; len], vec![0; len]);
    for (index, bytes) in data {
        let coefficient = (0..*index).fold(1, |power, _| multiply(power, 2));
        let products: Vec<u8> = (0..=255).map(|byte| multiply(coefficient, byte)).collect();
        for (place, &byte) in bytes.iter().enumerate() {
            p[place] ^= byte;
            q[place] ^= products[usize::from(byte)];
        }
    }
    (p, q)
}

/// The product of two polynomials, reduced by 0x11d.
pub fn multiply(left: u8, right: u8) -> u8 {
    let mut product = 0u16;
    for bit in 0..8 {
        if right & (1 << bit) != 0 {
            product ^= u16::from(left) << bit;
        }
    }
    for bit in (8..16).rev() {
        if product & (1 << bit) != 0 {
            product ^= 0x11d << (bit - 8);
        }
    }
    product as u8
}
