//! linear: one member after the other.

use block::Sectors;
use md_format::geometry::linear_member_sectors;

use super::Extent;
use crate::error::Hindrance;

/// Where each member's sectors begin in the array.
pub(crate) struct Map {
    starts: Vec<Sectors>,
    size: Sectors,
}

impl Map {
    /// The map of members with these data sizes, in slot order. `rounding` of 0 means that nothing is rounded.
    pub fn new(sizes: &[u64], rounding: u32) -> Result<Map, Hindrance> {
        let mut starts = Vec::with_capacity(sizes.len());
        let mut size = Sectors::ZERO;
        for data_size in sizes {
            starts.push(size);
            let own = Sectors(linear_member_sectors(*data_size, rounding));
            size = size
                .checked_add(own)
                .ok_or(Hindrance::Shape("the members' sizes add up to more than 2^64"))?;
        }
        Ok(Map { starts, size })
    }

    /// Sectors of the array.
    pub fn size(&self) -> Sectors {
        self.size
    }

    /// Where the sector `at`, which is inside the array, lies.
    pub fn locate(&self, at: Sectors) -> Extent {
        let member = self.starts.partition_point(|start| *start <= at) - 1;
        let end = self.starts.get(member + 1).copied().unwrap_or(self.size);
        Extent { member, start: at - self.starts[member], count: end - at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_follow_each_other_and_empty_ones_are_passed_over() {
        let map = Map::new(&[100, 0, 50], 0).unwrap();
        assert_eq!(map.size(), Sectors(150));
        assert_eq!(map.locate(Sectors(99)), Extent { member: 0, start: Sectors(99), count: Sectors(1) });
        assert_eq!(map.locate(Sectors(100)), Extent { member: 2, start: Sectors(0), count: Sectors(50) });
        assert_eq!(map.locate(Sectors(149)), Extent { member: 2, start: Sectors(49), count: Sectors(1) });
    }

    #[test]
    fn each_member_is_rounded_down() {
        let map = Map::new(&[130, 130], 128).unwrap();
        assert_eq!(map.size(), Sectors(256));
        assert_eq!(map.locate(Sectors(128)), Extent { member: 1, start: Sectors(0), count: Sectors(128) });
    }

    #[test]
    fn hostile_sizes_are_an_error() {
        assert!(Map::new(&[u64::MAX, u64::MAX], 0).is_err());
    }
}
