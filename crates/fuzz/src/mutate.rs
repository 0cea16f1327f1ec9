//! Damage: small changes to bytes, drawn from a seed.

use runtime::sim::Random;

/// Numbers at which arithmetic breaks.
const ODD: [u64; 14] = [
    0,
    1,
    7,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_fff8,
    u64::MAX,
];

/// Changes some of `bytes` in place: more often near the start, where headers are. Now and then nothing at all.
pub fn damage(random: &mut Random, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..random.below(6) {
        let reach = *random.choose(&[64, 256, 512, bytes.len()]);
        let at = random.below(reach.min(bytes.len()) as u64) as usize;
        let rest = &mut bytes[at..];
        match random.below(4) {
            0 => rest[0] ^= 1 << random.below(8),
            1 => rest[0] = random.word() as u8,
            kind => {
                let width = *random.choose(&[2, 4, 8]);
                let at = at - at % width;
                let odd = odd(random);
                let word = if kind == 2 { odd.to_le_bytes() } else { odd.to_be_bytes() };
                let word = if kind == 2 { &word[..width] } else { &word[8 - width..] };
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
        }
    }
}

/// The same, and bytes come and go.
pub fn damage_text(random: &mut Random, bytes: &mut Vec<u8>) {
    damage(random, bytes);
    for _ in 0..random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(3) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.word() as u8),
            _ => {
                let copied: Vec<u8> = bytes[at..].iter().copied().take(random.below(40) as usize).collect();
                let to = random.below(bytes.len() as u64 + 1) as usize;
                bytes.splice(to..to, copied);
            }
        }
    }
}

/// A number at which arithmetic may break, or beside one.
pub fn odd(random: &mut Random) -> u64 {
    let number = *random.choose(&ODD);
    match random.below(4) {
        0 => random.word() >> random.below(64),
        1 => number.wrapping_add(random.below(9)).wrapping_sub(4),
        _ => number,
    }
}
