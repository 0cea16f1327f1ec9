//! The zones of a raid0 whose members differ in size. Follows `create_strip_zones` (raid0.c).
//!
//! ```text
//! member 0  |---------|                      zone 0: all members, up to the smallest
//! member 1  |---------|=====|                zone 1: members 1 and 2
//! member 2  |---------|=====|+++++++|        zone 2: member 2 alone
//! ```

use super::round_down;

/// How chunks go round the members in the zones after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raid0Layout {
    /// Layout 1, kernels before 3.14: by the chunk's number in the whole array.
    Original,
    /// Layout 2, kernels from 3.14: by the chunk's number in its zone.
    Alternate,
}

/// A range of member sectors that the same members share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    /// First array sector.
    pub start: u64,
    /// First sector on each member, from its data offset.
    pub member_start: u64,
    /// First member sector behind the zone.
    pub member_end: u64,
    /// How many members reach into it: those larger than `member_start`, in slot order.
    pub members: u64,
}

impl Zone {
    /// Array sectors in the zone.
    pub fn sectors(&self) -> u64 {
        (self.member_end - self.member_start) * self.members
    }

    /// First array sector behind the zone.
    pub fn end(&self) -> u64 {
        self.start + self.sectors()
    }
}

/// Sectors that a member of a raid0 gives: whole chunks. `None` if there is no chunk size.
pub fn member_sectors(data_size: u64, chunk_sectors: u32) -> Option<u64> {
    round_down(data_size, chunk_sectors.into())
}

/// Sectors of a raid0.
pub fn array_sectors(data_sizes: impl IntoIterator<Item = u64>, chunk_sectors: u32) -> Option<u64> {
    data_sizes
        .into_iter()
        .try_fold(0u64, |sum, data_size| sum.checked_add(member_sectors(data_size, chunk_sectors)?))
}

/// The zones of a raid0 whose members (in slot order) have these data sizes. None if there is no chunk size, or the
/// array would have more sectors than can be counted.
pub fn zones(data_sizes: &[u64], chunk_sectors: u32) -> impl Iterator<Item = Zone> + Clone {
    let countable = array_sectors(data_sizes.iter().copied(), chunk_sectors).is_some();
    let sizes = if countable { data_sizes } else { &[] };
    let mut start = 0;
    let mut member_start = 0;
    core::iter::from_fn(move || {
        let rounded = || sizes.iter().filter_map(|size| member_sectors(*size, chunk_sectors));
        let reaching = || rounded().filter(|size| *size > member_start);
        let member_end = reaching().min()?;
        let zone = Zone { start, member_start, member_end, members: reaching().count() as u64 };
        start = zone.end();
        member_start = member_end;
        Some(zone)
    })
}

/// The layout that counts, from the recorded one. `None`: it is not recorded and matters, so the kernel refuses the
/// array until a person says which (`raid0.default_layout`).
///
/// With one zone, or a second zone of a single member, both layouts are the same.
pub fn layout(recorded: u32, zones: impl IntoIterator<Item = Zone>) -> Option<Raid0Layout> {
    match (zones.into_iter().nth(1), recorded) {
        (None, _) | (Some(Zone { members: 1, .. }), _) | (_, 1) => Some(Raid0Layout::Original),
        (_, 2) => Some(Raid0Layout::Alternate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_lie_between_the_distinct_sizes() {
        let sizes = [8 * 3 + 5, 8 * 7, 8 * 5, 8 * 7];
        let zones: Vec<Zone> = zones(&sizes, 8).collect();
        let zone =
            |start, member_start, member_end, members| Zone { start, member_start, member_end, members };
        assert_eq!(zones, [zone(0, 0, 24, 4), zone(96, 24, 40, 3), zone(144, 40, 56, 2)]);
        assert_eq!(zones[2].end(), array_sectors(sizes, 8).unwrap());
    }

    #[test]
    fn an_unrecorded_layout_is_refused_only_where_it_matters() {
        assert_eq!(layout(0, zones(&[80, 80], 8)), Some(Raid0Layout::Original));
        assert_eq!(layout(2, zones(&[80, 160], 8)), Some(Raid0Layout::Original));
        assert_eq!(layout(0, zones(&[80, 160, 160], 8)), None);
        assert_eq!(layout(2, zones(&[80, 160, 160], 8)), Some(Raid0Layout::Alternate));
    }

    #[test]
    fn hostile_sizes_make_no_zones() {
        assert_eq!(zones(&[u64::MAX, u64::MAX], 8).count(), 0);
        assert_eq!(zones(&[80, 80], 0).count(), 0);
    }
}
