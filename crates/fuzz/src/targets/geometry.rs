//! Sizes and zones: arithmetic on what disks say.

use md_format::geometry::{self, Reserve, raid0};
use md_format::{Level, Place, Version};
use runtime::sim::Random;

use crate::mutate::odd;
use crate::require;

/// Zones follow each other without gaps, and nothing overflows.
pub fn play(mut random: Random) -> Result<(), String> {
    let mut number = || if random.one_in(2) { random.below(100_000) } else { odd(&mut random) };
    let sizes: Vec<u64> = (0..1 + number() % 6).map(|_| number()).collect();
    let chunk = number() as u32;
    let mut at = 0;
    for zone in raid0::zones(&sizes, chunk) {
        require(zone.start == at, || {
            format!("a zone begins at {} and the one before ended at {at}", zone.start)
        })?;
        at = zone.end();
    }
    let zones = raid0::zones(&sizes, chunk);
    let _ = (raid0::layout(number() as u32, zones), raid0::array_sectors(sizes.iter().copied(), chunk));
    let _ = geometry::linear_sectors(sizes.iter().copied(), chunk);
    let levels = [Level::Linear, Level::Raid0, Level::Raid1, Level::Raid5, Level::Raid6, Level::Raid10];
    let level = levels[number() as usize % levels.len()];
    let version = Version::ALL[number() as usize % 4];
    let _ = geometry::array_sectors(level, number() as u32, chunk, number() as u32, number());
    let _ = geometry::component_size(version, level, chunk, sizes.iter().copied());
    let device = number();
    require(Place::all(device).all(|place| place.end() <= device), || {
        format!("a superblock beyond the end of a device of {device} sectors")
    })?;
    let offset = geometry::default_data_offset(version, device, chunk, Reserve::Nothing);
    let _ = geometry::available_sectors(version, device, offset, Reserve::Nothing);
    let _ = geometry::member_layout(version, device, number(), number(), Reserve::Ppl);
    Ok(())
}
