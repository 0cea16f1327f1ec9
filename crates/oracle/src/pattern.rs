//! Deterministic content: every byte follows from a seed and the number of its sector.
//!
//! ```text
//! sector n, seed S:  64 times the little-endian word  mix(S + (n + 1) * 0x9E3779B97F4A7C15)
//! ```
//!
//! with the finishing step of splitmix64 as `mix`. A sector holds one word only, so images and their parity
//! compress well; two sectors with the same content do not occur in practice, so a block in the wrong place is
//! always noticed; and any range can be checked without the rest. The guest's `pattern` command is built from this
//! very file, so host and guest cannot disagree.

/// Bytes of a sector.
pub const SECTOR_BYTES: usize = 512;

/// The word that fills sector `sector` of the stream with seed `seed`.
pub fn word(seed: u64, sector: u64) -> u64 {
    mix(seed.wrapping_add(sector.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// Fills `bytes`, which begins at sector `first_sector` of the stream.
pub fn fill(bytes: &mut [u8], first_sector: u64, seed: u64) {
    for (sector, chunk) in (first_sector..).zip(bytes.chunks_mut(SECTOR_BYTES)) {
        let word = word(seed, sector).to_le_bytes();
        for eight in chunk.chunks_mut(word.len()) {
            eight.copy_from_slice(&word[..eight.len()]);
        }
    }
}

/// Where `bytes`, read from sector `first_sector` on, differs from the stream: the first such byte of the stream.
pub fn check(bytes: &[u8], first_sector: u64, seed: u64) -> Result<(), u64> {
    for (sector, chunk) in (first_sector..).zip(bytes.chunks(SECTOR_BYTES)) {
        let word = word(seed, sector).to_le_bytes();
        if let Some(at) = (0..chunk.len()).find(|&at| chunk[at] != word[at % word.len()]) {
            return Err(sector * SECTOR_BYTES as u64 + at as u64);
        }
    }
    Ok(())
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_splitmix64() {
        // The first outputs of the published generator with seed 1234567.
        let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423];
        assert_eq!([word(1234567, 0), word(1234567, 1), word(1234567, 2)], expected);
    }

    #[test]
    fn a_flipped_bit_is_found_at_its_place() {
        let mut bytes = vec![0; 3 * SECTOR_BYTES];
        fill(&mut bytes, 7, 99);
        assert_eq!(check(&bytes, 7, 99), Ok(()));
        bytes[700] ^= 1;
        assert_eq!(check(&bytes, 7, 99), Err(7 * 512 + 700));
    }

    #[test]
    fn a_stream_does_not_depend_on_how_it_is_cut() {
        let (mut whole, mut parts) = (vec![0; 4096], vec![0; 4096]);
        fill(&mut whole, 10, 3);
        fill(&mut parts[..1024], 10, 3);
        fill(&mut parts[1024..], 12, 3);
        assert_eq!(whole, parts);
    }
}
