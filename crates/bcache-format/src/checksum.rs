//! CRC-64/ECMA-182, most significant bit first, its register started from a seed and inverted at the end.

use crc_fast::{CrcAlgorithm, Digest};

/// What the register starts from everywhere but in the sets of keys of a btree node.
pub const SEED: u64 = !0;

/// The sum of these bytes.
pub fn checksum(seed: u64, bytes: &[u8]) -> u64 {
    let mut sum = Digest::new_with_init_state(CrcAlgorithm::Crc64Ecma182, seed);
    sum.update(bytes);
    !sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, as the definition says.
    fn slowly(seed: u64, bytes: &[u8]) -> u64 {
        let mut register = seed;
        for byte in bytes {
            register ^= u64::from(*byte) << 56;
            for _ in 0..8 {
                let carry = register >> 63;
                register = register << 1 ^ (0x42f0_e1eb_a9ea_3693 * carry);
            }
        }
        !register
    }

    #[test]
    fn check_value_is_that_of_crc_64_we() {
        assert_eq!(checksum(SEED, b"123456789"), 0x62ec_59e3_f1a4_f00a);
    }

    #[test]
    fn every_length_and_seed_is_as_defined() {
        let bytes: Vec<u8> = (0..700u32).map(|at| (at * 7 + at / 3) as u8).collect();
        for length in 0..bytes.len() {
            let seed = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(length as u64);
            assert_eq!(checksum(seed, &bytes[..length]), slowly(seed, &bytes[..length]), "{length} bytes");
        }
    }
}
