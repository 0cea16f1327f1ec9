//! raid10: every chunk on several members: beside each other (near), a stride further on (far), or in the next row
//! (offset). Where the copies of a chunk lie. Pure.
//!
//! Source: the formulas of Linux 6.12's raid10, reference vectors printed by a script of their own.

use block::Sectors;
use md_format::limits::V1_MAX_DEVICES;
use md_format::superblock::Summary;

use crate::error::Hindrance;

/// A raid10's layout, as its number in the superblock says, and its members' use of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Map {
    slots: u64,
    chunk: u64,
    near: u64,
    far: u64,
    /// The copies that are far lie in the next row instead of a stride further on.
    offset: bool,
    /// Members among which the far copies of a chunk move; all of them in the ordinary layouts.
    set: u64,
    stride: u64,
    size: u64,
}

impl Map {
    /// The map of the array that a superblock describes.
    pub fn of(summary: &Summary) -> Result<Map, Hindrance> {
        Map::new(summary.raid_disks, summary.layout, summary.chunk_sectors, summary.size_sectors)
    }

    /// The map of `slots` members that each give `member_sectors`.
    pub fn new(slots: u32, layout: u32, chunk_sectors: u32, member_sectors: u64) -> Result<Map, Hindrance> {
        if slots > V1_MAX_DEVICES {
            return Err(Hindrance::Shape("the raid10 has more members than a superblock has room for"));
        }
        let (near, far) = (u64::from(layout & 0xff), u64::from(layout >> 8 & 0xff));
        let (slots, chunk) = (u64::from(slots), u64::from(chunk_sectors));
        let set = match layout >> 17 {
            _ if near == 0 || far == 0 => return Err(Hindrance::Shape("the raid10 layout has no copies")),
            0 => slots,
            1 => slots / far,
            2 => near * far,
            _ => return Err(Hindrance::Shape("the raid10 layout is none that is known")),
        };
        if near * far > slots || set == 0 || set > slots {
            return Err(Hindrance::Shape("the raid10 layout wants more copies than there are members"));
        }
        let moved = layout & OFFSET != 0 || set != slots;
        let wraps = !slots.is_multiple_of(near) || !set.is_multiple_of(near);
        if near > 1 && far > 1 && moved && wraps {
            return Err(Hindrance::Shape("the raid10 layout puts two chunks in one place"));
        }
        if !chunk.is_power_of_two() || chunk < LEAST_CHUNK {
            return Err(Hindrance::Shape("a raid10's chunk is a power of two of at least 4 KiB"));
        }
        let too_large = Hindrance::Shape("the members' sizes add up to more than 2^64");
        let rows = member_sectors / chunk / far;
        let chunks = rows.checked_mul(slots).ok_or(too_large.clone())? / near;
        let size = chunks.checked_mul(chunk).ok_or(too_large.clone())?;
        let used = chunks.checked_mul(near * far).ok_or(too_large)?.div_ceil(slots);
        let offset = layout & OFFSET != 0;
        let stride = if offset { chunk } else { used / far * chunk };
        Ok(Map { slots, chunk, near, far, offset, set, stride, size })
    }

    /// Sectors of the array.
    pub fn size(&self) -> Sectors {
        Sectors(self.size)
    }

    /// How many copies there are of everything.
    pub fn copies(&self) -> usize {
        (self.near * self.far) as usize
    }

    /// How many sectors from `at` on lie in one piece on each of their copies.
    pub fn run(&self, at: Sectors) -> Sectors {
        Sectors(self.chunk - at.0 % self.chunk)
    }

    /// The slot and the sector (from the data offset) of copy number `copy` of `at`.
    pub fn copy_of(&self, at: Sectors, copy: u64) -> (u16, Sectors) {
        let first = at.0 / self.chunk * self.near;
        let in_chunk = at.0 % self.chunk;
        let (near, far) = (copy / self.far, copy % self.far);
        let (slot, row) = ((first + near) % self.slots, (first + near) / self.slots);
        // A near copy that wraps to the first member is in the next row, which with offsets is not one further on
        // but `far` rows: the kernel adds one chunk all the same.
        let start = first / self.slots;
        let row = if self.offset { start * self.far + (row - start) } else { row };
        let slot = (0..far).fold(slot, |slot, _| self.next_far(slot));
        (slot as u16, Sectors(row * self.chunk + in_chunk + far * self.stride))
    }

    /// The same for each copy.
    pub fn copies_of(&self, at: Sectors) -> impl Iterator<Item = (u16, Sectors)> + Clone + use<> {
        let map = *self;
        (0..map.near * map.far).map(move |copy| map.copy_of(at, copy))
    }

    /// Rows of a member that are used.
    pub fn rows(&self) -> Sectors {
        let used = self.used().0;
        // Far copies that lie a stride further on end where the last stride does.
        Sectors(if self.offset {
            used.next_multiple_of(self.far * self.chunk)
        } else {
            self.stride * self.far
        })
    }

    /// Whether copies lie as far apart as the members' size makes them.
    pub fn has_strides(&self) -> bool {
        self.far > 1 && !self.offset
    }

    /// Rows of a member that have a chunk: what the kernel records as its size.
    pub fn used(&self) -> Sectors {
        Sectors((self.size / self.chunk * self.near * self.far).div_ceil(self.slots) * self.chunk)
    }

    /// The array sector whose copy lies in `slot` at `row` (from the data offset), if there is one.
    pub fn sector_at(&self, slot: u16, row: Sectors) -> Option<Sectors> {
        let (chunk, within) = (row.0 / self.chunk, row.0 % self.chunk);
        let (first, far) = match self.offset {
            true => (chunk / self.far, chunk % self.far),
            false => (chunk % (self.stride / self.chunk).max(1), chunk / (self.stride / self.chunk).max(1)),
        };
        let moved = |from: u64| (0..far).fold(from, |slot, _| self.next_far(slot)) == u64::from(slot);
        let candidates = (0..self.slots).filter(|from| far < self.far && moved(*from));
        let sectors =
            candidates.map(|from| Sectors((first * self.slots + from) / self.near * self.chunk + within));
        sectors.filter(|at| at.0 < self.size).find(|at| self.copies_of(*at).any(|copy| copy == (slot, row)))
    }

    /// Whether chunks have copies that lie apart from the first, which are striped over all members.
    pub fn has_far_copies(&self) -> bool {
        self.far > 1
    }

    /// The starts of the first chunks: which slots those use repeats for ever.
    pub fn pattern(&self) -> impl Iterator<Item = Sectors> + use<> {
        let chunk = self.chunk;
        (0..self.slots).map(move |number| Sectors(number * chunk))
    }

    /// Whether every chunk has a copy in one of the slots for which `has` holds.
    pub fn suffices(&self, has: impl Fn(u32) -> bool) -> bool {
        self.pattern().all(|at| self.copies_of(at).any(|(slot, _)| has(slot.into())))
    }

    /// The slot of the next far copy.
    fn next_far(&self, slot: u64) -> u64 {
        let sets = self.slots / self.set;
        let (last_start, last_size) = ((sets - 1) * self.set, self.set + self.slots % self.set);
        let moved = slot + self.near;
        // The kernel compares the slot after the move, and with `>`.
        if !self.slots.is_multiple_of(self.set) && moved > last_start {
            (moved - last_start) % last_size + last_start
        } else {
            moved % self.set + slot / self.set * self.set
        }
    }
}

/// The bit of the layout that puts far copies into the next row.
const OFFSET: u32 = 1 << 16;

/// The smallest chunk that the kernel takes: a page.
const LEAST_CHUNK: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// The members' chunks, row by row, with the array chunk that each holds.
    fn rows(slots: u32, layout: u32, member_chunks: u64) -> Vec<Vec<u64>> {
        let map = Map::new(slots, layout, 8, member_chunks * 8).unwrap();
        let mut rows = vec![vec![u64::MAX; slots as usize]; member_chunks as usize];
        for chunk in 0..map.size().0 / 8 {
            for (slot, at) in map.copies_of(Sectors(chunk * 8)) {
                let cell = &mut rows[(at.0 / 8) as usize][usize::from(slot)];
                assert_eq!(*cell, u64::MAX, "two chunks in one place");
                *cell = chunk;
            }
        }
        rows
    }

    #[test]
    fn near_copies_lie_beside_each_other() {
        assert_eq!(rows(4, 0x102, 2), [[0, 0, 1, 1], [2, 2, 3, 3]]);
        assert_eq!(rows(5, 0x102, 4), [[0, 0, 1, 1, 2], [2, 3, 3, 4, 4], [5, 5, 6, 6, 7], [7, 8, 8, 9, 9]]);
        assert_eq!(rows(4, 0x103, 3), [[0, 0, 0, 1], [1, 1, 2, 2], [2, 3, 3, 3]]);
    }

    #[test]
    fn offset_copies_lie_in_the_next_row() {
        assert_eq!(rows(4, 0x1_0201, 4), [[0, 1, 2, 3], [3, 0, 1, 2], [4, 5, 6, 7], [7, 4, 5, 6]]);
        assert_eq!(rows(5, 0x1_0201, 2), [[0, 1, 2, 3, 4], [4, 0, 1, 2, 3]]);
    }

    #[test]
    fn far_copies_lie_a_stride_further_on() {
        assert_eq!(rows(4, 0x201, 4), [[0, 1, 2, 3], [4, 5, 6, 7], [3, 0, 1, 2], [7, 4, 5, 6]]);
        assert_eq!(
            rows(4, 0x301, 6),
            [[0, 1, 2, 3], [4, 5, 6, 7], [3, 0, 1, 2], [7, 4, 5, 6], [2, 3, 0, 1], [6, 7, 4, 5]]
        );
        assert_eq!(rows(4, 0x201 | 2 << 17, 4), [[0, 1, 2, 3], [4, 5, 6, 7], [1, 0, 3, 2], [5, 4, 7, 6]]);
    }

    #[test]
    fn hostile_layouts_are_errors() {
        for layout in [0, 1, 0x100, 0x505, 0x302, 3 << 17 | 0x102, u32::MAX] {
            assert!(Map::new(4, layout, 8, 800).is_err(), "{layout:#x}");
        }
        for chunk in [0, 1, 4, 24] {
            assert!(Map::new(4, 0x102, chunk, 800).is_err(), "chunk of {chunk}");
        }
        assert!(Map::new(4, 0x102, 8, u64::MAX).is_err());
    }

    #[test]
    fn two_neighbours_of_a_near_pair_are_too_many_to_lose() {
        let map = Map::new(4, 0x102, 8, 800).unwrap();
        assert!(map.suffices(|slot| slot % 2 == 0));
        assert!(!map.suffices(|slot| slot > 1));
        let far = Map::new(4, 0x201, 8, 800).unwrap();
        assert!(!far.suffices(|slot| slot != 1 && slot != 2));
    }

    #[test]
    fn no_two_chunks_share_a_place_in_any_layout() {
        for slots in 2..=9u32 {
            for near in 1..=3 {
                for far in 1..=3 {
                    for (offset, sets) in [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)] {
                        let layout = near | far << 8 | offset << 16 | sets << 17;
                        for member_chunks in [1, 2, 6, 7, 12, 13] {
                            let Ok(map) = Map::new(slots, layout, 8, member_chunks * 8) else { continue };
                            every_copy_is_found_by_its_place(&map, layout, slots);
                            let mut places = std::collections::BTreeSet::new();
                            for (slot, at) in
                                (0..map.size().0 / 8).flat_map(|at| map.copies_of(Sectors(at * 8)))
                            {
                                let is_free = places.insert((slot, at));
                                assert!(is_free && at.0 / 8 < member_chunks, "{layout:#x} on {slots}: {at}");
                                assert!(at < map.rows(), "{layout:#x} on {slots}: {at} of {}", map.rows());
                            }
                        }
                    }
                }
            }
        }
    }

    fn every_copy_is_found_by_its_place(map: &Map, layout: u32, slots: u32) {
        let mut found = 0;
        for (slot, row) in
            (0..slots as u16).flat_map(|slot| (0..map.rows().0 / 8).map(move |row| (slot, row * 8)))
        {
            let Some(at) = map.sector_at(slot, Sectors(row)) else { continue };
            assert!(map.copies_of(at).any(|copy| copy == (slot, Sectors(row))), "{layout:#x} on {slots}");
            found += 1;
        }
        assert_eq!(found, map.size().0 / 8 * map.copies() as u64, "{layout:#x} on {slots}");
    }
}
