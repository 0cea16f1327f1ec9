//! CRC-32C as md's logs use it: the finished sum for partial parity logs, the bare register for the write journal.

use crc_fast::{CrcAlgorithm, Digest};

/// A CRC-32C that is added to piece by piece.
#[derive(Clone, Copy)]
pub struct Crc32c(Digest);

impl Crc32c {
    /// The sum of nothing.
    pub fn new() -> Crc32c {
        Crc32c(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Goes on from a register's bare value.
    pub fn from_register(register: u32) -> Crc32c {
        Crc32c(Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, register.into()))
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum, inverted at its end as everybody but the journal has it.
    pub fn finish(self) -> u32 {
        self.0.finalize() as u32
    }

    /// The register itself, without the inversion.
    pub fn register(self) -> u32 {
        !self.finish()
    }
}

impl Default for Crc32c {
    fn default() -> Crc32c {
        Crc32c::new()
    }
}

/// The CRC-32C of bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = Crc32c::new();
    sum.add(bytes);
    sum.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, as the definition says.
    fn slowly(mut register: u32, bytes: &[u8]) -> u32 {
        for byte in bytes {
            register ^= u32::from(*byte);
            for _ in 0..8 {
                register = register >> 1 ^ if register & 1 == 1 { 0x82f6_3b78 } else { 0 };
            }
        }
        register
    }

    #[test]
    fn the_sum_is_that_of_the_definition() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let bytes: Vec<u8> = (0..1000u32).map(|at| (at * 7) as u8).collect();
        for len in [0, 1, 7, 64, 255, 1000] {
            assert_eq!(crc32c(&bytes[..len]), !slowly(!0, &bytes[..len]), "{len} bytes");
        }
    }

    #[test]
    fn a_register_is_gone_on_from_without_inversion() {
        let (one, two) = (b"an array's uuid!", [0x5a; 4096]);
        let seed = slowly(!0, one);
        let mut sum = Crc32c::new();
        sum.add(one);
        assert_eq!(sum.register(), seed);
        let mut sum = Crc32c::from_register(seed);
        sum.add(&two);
        assert_eq!(sum.register(), slowly(seed, &two));
    }

    #[test]
    fn pieces_add_up() {
        let bytes = [0xa7; 777];
        let mut sum = Crc32c::new();
        bytes.chunks(100).for_each(|piece| sum.add(piece));
        assert_eq!(sum.finish(), crc32c(&bytes));
    }
}
