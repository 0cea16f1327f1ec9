//! raid0: chunks in turn, in zones where the members differ in size.

use block::Sectors;
use md_format::geometry::raid0::{Raid0Layout, Zone, layout, member_sectors, zones};

use super::Extent;
use crate::error::Hindrance;

/// The zones of an array, and who is in each.
pub(crate) struct Map {
    chunk: Sectors,
    layout: Raid0Layout,
    zones: Vec<(Zone, Vec<usize>)>,
    size: Sectors,
}

impl Map {
    /// The map of members with these data sizes, in slot order. `chosen` counts where the recorded layout says nothing.
    pub fn new(
        sizes: &[u64],
        chunk_sectors: u32,
        recorded: u32,
        chosen: Option<Raid0Layout>,
    ) -> Result<Map, Hindrance> {
        let found = layout(recorded, zones(sizes, chunk_sectors)).or(chosen).ok_or(Hindrance::NoLayout)?;
        let reaching = |zone: &Zone| {
            let reaches = |size: &u64| member_sectors(*size, chunk_sectors) > Some(zone.member_start);
            sizes.iter().enumerate().filter(|(_, size)| reaches(size)).map(|(member, _)| member).collect()
        };
        let zones: Vec<_> = zones(sizes, chunk_sectors).map(|zone| (zone, reaching(&zone))).collect();
        let size = zones.last().map(|(zone, _)| Sectors(zone.end()));
        let size = size.ok_or(Hindrance::Shape("the members are smaller than one chunk"))?;
        Ok(Map { chunk: Sectors(chunk_sectors.into()), layout: found, zones, size })
    }

    /// Sectors of the array.
    pub fn size(&self) -> Sectors {
        self.size
    }

    /// Where the sector `at`, which is inside the array, lies.
    pub fn locate(&self, at: Sectors) -> Extent {
        let number = self.zones.partition_point(|(zone, _)| zone.start <= at.0) - 1;
        let (zone, members) = &self.zones[number];
        let chunk = self.chunk.0;
        let (in_zone, in_chunk) = ((at.0 - zone.start) / chunk, (at.0 - zone.start) % chunk);
        let count = members.len() as u64;
        let turn = match (number, self.layout) {
            (0, _) | (_, Raid0Layout::Alternate) => in_zone % count,
            (_, Raid0Layout::Original) => (at.0 / chunk) % count,
        };
        Extent {
            member: members[turn as usize],
            start: Sectors(zone.member_start + in_zone / count * chunk + in_chunk),
            count: Sectors(chunk - in_chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(sizes: &[u64], layout: u32) -> Vec<(usize, u64)> {
        let sizes: Vec<u64> = sizes.iter().map(|size| size * 8).collect();
        let map = Map::new(&sizes, 8, layout, None).unwrap();
        (0..map.size().0 / 8)
            .map(|chunk| map.locate(Sectors(chunk * 8)))
            .map(|extent| (extent.member, extent.start.0 / 8))
            .collect()
    }

    /// Vectors printed from the formulas by a script of their own, checked against images of real kernels.
    #[test]
    fn chunks_lie_where_the_kernel_puts_them() {
        let original = [
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 0),
            (0, 1),
            (1, 1),
            (2, 1),
            (3, 1),
            (2, 2),
            (0, 2),
            (1, 2),
            (2, 3),
            (1, 3),
        ];
        let alternate = [
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 0),
            (0, 1),
            (1, 1),
            (2, 1),
            (3, 1),
            (0, 2),
            (1, 2),
            (2, 2),
            (1, 3),
            (2, 3),
        ];
        assert_eq!(chunks(&[3, 5, 5, 2], 1)[..13], original);
        assert_eq!(chunks(&[3, 5, 5, 2], 2)[..13], alternate);
        assert_eq!(chunks(&[2, 3, 5], 1), chunks(&[2, 3, 5], 2).as_slice()[..10]);
    }

    #[test]
    fn odd_chunks_map_every_sector_once() {
        let map = Map::new(&[1000, 777, 1000], 6, 2, None).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for at in 0..map.size().0 {
            let extent = map.locate(Sectors(at));
            assert!(seen.insert((extent.member, extent.start)), "sector {at} shares its place");
        }
    }

    #[test]
    fn without_a_recorded_layout_somebody_has_to_choose() {
        let sizes = [80, 160, 160];
        assert!(matches!(Map::new(&sizes, 8, 0, None), Err(Hindrance::NoLayout)));
        assert!(Map::new(&sizes, 8, 0, Some(Raid0Layout::Original)).is_ok());
    }
}
