//! Which bytes of a member are metadata: what is kept before the first write, so that it can be put back.

use md_format::Place;
use md_format::limits::SUPERBLOCK_SECTORS;

use crate::examine::Examined;

/// A run of sectors on a member that holds metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Area {
    /// What it is, for people.
    pub what: &'static str,
    /// First sector.
    pub sector: u64,
    /// How many.
    pub sectors: u64,
}

/// The metadata areas of an examined member.
pub fn metadata_areas(examined: &Examined) -> Vec<Area> {
    let mut areas: Vec<Area> = Place::all(examined.geometry.size.0)
        .filter(|place| place.version == examined.place.version)
        .map(|place| Area { what: "superblock", sector: place.sector, sectors: SUPERBLOCK_SECTORS })
        .collect();
    if let Some(log) = examined.summary.bad_block_log {
        areas.push(Area { what: "bad-block log", sector: log.sector, sectors: log.sectors.into() });
    }
    if let Some(bitmap) = examined.summary.bitmap {
        let bytes = examined.bitmap.as_ref().map_or(0, |facts| facts.bytes.len() as u64);
        let sectors = bytes.div_ceil(512).max(SUPERBLOCK_SECTORS);
        areas.push(Area { what: "bitmap", sector: bitmap.sector, sectors });
    }
    if let Some(ppl) = examined.summary.ppl {
        areas.push(Area { what: "partial parity log", sector: ppl.sector, sectors: ppl.sectors.into() });
    }
    areas.retain(|area| area.sector.saturating_add(area.sectors) <= examined.geometry.size.0);
    areas
}
