//! The bad-block log.

use md_format::badblocks;
use runtime::sim::Random;

use crate::mutate::{damage, odd};
use crate::require;

/// A log that is accepted can be read to its end, and runs do not overflow.
pub fn play(mut random: Random) -> Result<(), String> {
    let mut area = vec![0xff; *random.choose(&[512, 4096, 8, 7, 0])];
    for entry in area.chunks_exact_mut(8).take(random.below(20) as usize) {
        entry.copy_from_slice(&(odd(&mut random) << 10 | random.below(512)).to_le_bytes());
    }
    damage(&mut random, &mut area);
    let shift = if random.one_in(2) { 0 } else { random.word() as u8 };
    if badblocks::check(&area, shift).is_ok() {
        for run in badblocks::view(&area, shift) {
            let run = run.map_err(|error| format!("accepted, and then: {error}"))?;
            require(run.sector.checked_add(run.sectors).is_some(), || format!("{run:?} overflows"))?;
        }
    }
    Ok(())
}
