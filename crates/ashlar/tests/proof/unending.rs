//! Writes that a kernel loses the power over: patterns, of which every sector has one.

use oracle::pattern;

/// Shell that fills an array once, and 64 KiB of it with another pattern.
pub const FILLED: &str =
    "pattern fill /dev/$MD 0 0 1 && wait_idle && pattern fill /dev/$MD 3m 64k 4 || exit 2";

/// Shell that begins to write two more patterns in turn over the first 1700 KiB, and never ends.
pub const UNENDING: &str = "(seed=2; while :; do
for at in 0 700 1400 350 1050; do pattern fill /dev/$MD ${at}k 300k $seed; done; seed=$((5 - seed)); done) &
sleep 0.4";

/// Each sector has one of the patterns that were written there.
pub fn check_patterns(content: &[u8], what: &str) {
    for (sector, bytes) in content.chunks(512).enumerate() {
        let of = |seeds: &[u64]| seeds.iter().any(|seed| pattern::check(bytes, sector as u64, *seed).is_ok());
        let allowed = match sector * 512 {
            at if at < 1700 << 10 => of(&[1, 2, 3]),
            at if (3 << 20..(3 << 20) + (64 << 10)).contains(&at) => of(&[4]),
            _ => of(&[1]),
        };
        assert!(allowed, "{what}: sector {sector} holds what nobody wrote");
    }
}
