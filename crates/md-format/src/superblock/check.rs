//! Rules that both families check the same way.

use crate::error::FormatError;
use crate::limits::STRIPED_MIN_CHUNK_SECTORS;
use crate::terms::Level;

/// A named run of sectors on a member. Never adds without checking.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub name: &'static str,
    pub start: u64,
    pub sectors: u64,
}

impl Area {
    fn outside(&self, limit: u64) -> FormatError {
        FormatError::OutsideDevice { area: self.name, start: self.start, sectors: self.sectors, limit }
    }

    pub fn check_ends_before(&self, limit: u64) -> Result<(), FormatError> {
        match self.start.checked_add(self.sectors) {
            Some(end) if end <= limit => Ok(()),
            _ => Err(self.outside(limit)),
        }
    }

    pub fn check_apart(&self, other: &Area) -> Result<(), FormatError> {
        let before = |a: &Area, b: &Area| a.start.checked_add(a.sectors).is_some_and(|end| end <= b.start);
        if before(self, other) || before(other, self) {
            return Ok(());
        }
        Err(FormatError::Overlap {
            area: self.name,
            start: self.start,
            other: other.name,
            other_start: other.start,
        })
    }
}

pub(super) fn check_range(field: &'static str, found: u64, least: u64, most: u64) -> Result<(), FormatError> {
    if found < least || found > most {
        return Err(FormatError::Range { field, found, least, most });
    }
    Ok(())
}

/// The chunk rules that the kernel's levels apply when the array is started.
pub(super) fn check_chunk(level: Level, found: u32) -> Result<(), FormatError> {
    let bad = |expected| Err(FormatError::Chunk { level, found, expected });
    match level {
        Level::Raid0 if found == 0 => bad("at least one sector"),
        Level::Raid4 | Level::Raid5 | Level::Raid6 | Level::Raid10
            if !found.is_power_of_two() || found < STRIPED_MIN_CHUNK_SECTORS =>
        {
            bad("a power of two of at least 4 KiB")
        }
        _ => Ok(()),
    }
}
