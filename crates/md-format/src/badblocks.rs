//! The bad-block log of a 1.x member: sectors of it that cannot be read. Follows `super_1_load` and `super_1_sync`.
//!
//! ```text
//! a list of little-endian u64:   bit 63 ...... start ...... 10 | 9 ... length ... 0
//! all ones                       ends the list (a full area ends by itself)
//! ```
//!
//! Start and length count in units of 2^shift sectors, the start from the beginning of the *device*, data offset
//! included. The kernel writes lengths of 1 to 512, readers take all that ten bits can say. Feature bit
//! [`crate::Features::BAD_BLOCKS`] is set only while the list is not empty; without it the area's content means nothing.
//! There is no checksum, hence no `seal`.

use crate::error::FormatError;
use crate::limits::BAD_BLOCK_MAX_SHIFT;

/// The longest run that one written entry covers, in units.
const LONGEST: u64 = 512;
const LENGTH_BITS: u32 = 10;
const END: u64 = u64::MAX;

/// A run of bad sectors, counted from the start of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBlock {
    /// First sector.
    pub sector: u64,
    /// How many.
    pub sectors: u64,
}

/// The entries of a log area, in the order of the disk, each as written or as the error that it is.
pub fn view(area: &[u8], shift: u8) -> impl Iterator<Item = Result<BadBlock, FormatError>> + '_ {
    let (entries, _) = area.as_chunks::<8>();
    let entries = entries.iter().map(|entry| u64::from_le_bytes(*entry));
    entries.take_while(|entry| *entry != END).map(move |entry| decode(entry, shift))
}

/// Whether the kernel would accept the log: every entry has a length, and a place that can be counted.
pub fn check(area: &[u8], shift: u8) -> Result<(), FormatError> {
    view(area, shift).try_for_each(|entry| entry.map(drop))
}

/// Writes a log of these runs (in ascending order, as the kernel keeps them); the rest of the area becomes all ones.
/// A run is widened to whole units and split where it is longer than an entry can say. On error the area is not valid.
pub fn edit(area: &mut [u8], shift: u8, runs: impl IntoIterator<Item = BadBlock>) -> Result<(), FormatError> {
    check_shift(shift)?;
    area.fill(0xff);
    let (entries, _) = area.as_chunks_mut::<8>();
    let full = FormatError::Full { form: "bad-block log", capacity: entries.len() };
    let mut free = entries.iter_mut();
    for run in runs {
        let end = run.sector.checked_add(run.sectors).ok_or(too_far(run.sector))?;
        let mut unit = run.sector >> shift;
        let end = end.div_ceil(1 << shift);
        while unit < end {
            let length = (end - unit).min(LONGEST);
            let entry = unit.checked_mul(1 << LENGTH_BITS).ok_or(too_far(run.sector))? | length;
            *free.next().ok_or(full)? = entry.to_le_bytes();
            unit += length;
        }
    }
    Ok(())
}

fn decode(entry: u64, shift: u8) -> Result<BadBlock, FormatError> {
    check_shift(shift)?;
    let scale = |units: u64| units.checked_mul(1 << shift).ok_or(too_far(units));
    let (sector, sectors) = (scale(entry >> LENGTH_BITS)?, scale(entry & ((1 << LENGTH_BITS) - 1))?);
    if sectors == 0 {
        return Err(FormatError::Range { field: "bad-block length", found: 0, least: 1, most: 1023 });
    }
    sector.checked_add(sectors).ok_or(too_far(sector))?;
    Ok(BadBlock { sector, sectors })
}

fn check_shift(shift: u8) -> Result<(), FormatError> {
    let most = u64::from(BAD_BLOCK_MAX_SHIFT) - 1;
    if u64::from(shift) > most {
        return Err(FormatError::Range { field: "bblog_shift", found: shift.into(), least: 0, most });
    }
    Ok(())
}

fn too_far(found: u64) -> FormatError {
    FormatError::Range { field: "bad-block sector", found, least: 0, most: u64::MAX >> LENGTH_BITS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(area: &[u8], shift: u8) -> Vec<BadBlock> {
        view(area, shift).map(|entry| entry.unwrap()).collect()
    }

    #[test]
    fn an_entry_is_start_shifted_by_ten_and_length() {
        let mut area = [0; 4096];
        edit(&mut area, 0, [BadBlock { sector: 5000, sectors: 8 }]).unwrap();
        assert_eq!(area[..8], (5000u64 << 10 | 8).to_le_bytes());
        assert!(area[8..].iter().all(|byte| *byte == 0xff));
    }

    #[test]
    fn long_runs_are_split_and_units_widen() {
        let mut area = [0; 4096];
        edit(&mut area, 3, [BadBlock { sector: 15, sectors: 8 * 600 }]).unwrap();
        assert_eq!(
            runs(&area, 3),
            [BadBlock { sector: 8, sectors: 4096 }, BadBlock { sector: 4104, sectors: 8 * 89 }]
        );
    }

    #[test]
    fn a_full_area_needs_no_end() {
        let mut area = [0; 64];
        let run = |index: u64| BadBlock { sector: index * 16, sectors: 8 };
        edit(&mut area, 0, (0..8).map(run)).unwrap();
        assert_eq!(runs(&area, 0).len(), 8);
        assert!(matches!(edit(&mut area, 0, (0..9).map(run)), Err(FormatError::Full { .. })));
    }

    #[test]
    fn an_entry_without_length_is_refused() {
        assert!(check(&[0; 8], 0).is_err());
        assert!(check(&[0xff; 8], 64).is_ok(), "an empty list has no entry to shift");
        assert!(check(&[1; 8], 64).is_err());
        assert!(check(&[1; 8], 63).is_err());
    }
}
