//! What entries of a partial parity log speak of, and how a group of writes is cut so that an entry can say it. Pure.
//!
//! An entry knows a first array sector and two sizes (`md_format::ppl`); so the blocks it calls written are neighbours in
//! the order of the data. The rules of reading are those of Linux 6.12's raid5-ppl.c, but that an entry which would lead
//! out of its stripe, or to another member's parity, is refused instead of ending the kernel.

use block::{Range, Sectors};
use md_format::ppl::PplEntry;

use super::super::cut::Segment;
use super::super::map::{Map, Stripe};
use super::super::slots::Slots;

/// Rows of a stripe whose parity an entry can make right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// The rows, from the members' data offsets.
    pub rows: Range,
    /// The slots of data that were being written there.
    pub written: Slots,
    /// Where their partial parity begins among that of the entry; `None` where all data was written.
    pub partial: Option<Sectors>,
}

impl Piece {
    /// The same in parts that end at these rows.
    pub fn cut_at(&self, ends: &[Sectors]) -> Vec<Piece> {
        let mut parts = vec![*self];
        for end in ends {
            let Some(last) = parts.iter_mut().find(|part| part.rows.start < *end && *end < part.rows.end())
            else {
                continue;
            };
            let (before, whole) = (*end - last.rows.start, last.rows);
            last.rows.count = before;
            let (rows, partial) =
                (Range::new(*end, whole.count - before), last.partial.map(|at| at + before));
            let behind = Piece { rows, partial, ..*last };
            parts.push(behind);
        }
        parts
    }
}

/// The stripe of an entry that lies on the member in slot `log`, and its pieces.
pub(super) fn pieces(map: &Map, entry: &PplEntry, log: u16) -> Result<Vec<Piece>, &'static str> {
    let (chunk, data) = (map.chunk().0, u64::from(map.stripe(0).data().count()));
    let first = entry.data_sector.get();
    let (partial, bytes) = (u64::from(entry.pp_bytes.get()), u64::from(entry.data_bytes.get()));
    if !partial.is_multiple_of(512) || !bytes.is_multiple_of(512) {
        return Err("its sizes are no whole sectors");
    }
    if bytes == 0 && partial == 0 {
        return Ok(Vec::new());
    }
    if first >= map.size().0 {
        return Err("it begins behind the end of the array");
    }
    // How many rows, and how far the written sectors reach.
    let (strip, disks, span) = match partial / 512 {
        0 => (bytes / 512 / data, data, (data - 1) * chunk + bytes / 512 / data),
        strip if strip < chunk => {
            let disks = bytes / partial;
            if !(1..=data).contains(&disks) {
                return Err("it calls more blocks written than there are");
            }
            (strip, disks, (disks - 1) * chunk + strip)
        }
        strip if strip == chunk => (chunk, data, bytes / 512),
        _ => return Err("it has more partial parity than a stripe"),
    };
    let stripe = map.stripe(map.stripe_of(Sectors(first)));
    let range = map.range_of(stripe.number);
    if strip == 0 || span == 0 || strip > chunk || first + span > range.end().0 {
        return Err("its rows do not lie in one stripe");
    }
    if !stripe.parities().has(log) || entry.parity_disk.get() != u32::from(log) {
        return Err("the parity of its stripe belongs to another member");
    }
    let mut cuts: Vec<u64> = (0..disks).map(|disk| span.saturating_sub(disk * chunk)).collect();
    cuts.extend([0, chunk - first % chunk]);
    cuts.retain(|cut| *cut < strip);
    cuts.push(strip);
    cuts.sort_unstable();
    cuts.dedup();
    let mut found = Vec::new();
    for pair in cuts.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let at = |disk: u64| from + disk * chunk;
        let written: Slots = (0..disks)
            .filter(|disk| at(*disk) < span)
            .map(|disk| stripe.slot_of(((first + at(disk) - range.start.0) / chunk) as u16))
            .collect();
        if !written.is_empty() {
            let row = map.rows_of(stripe.number).start.0 + (first + from) % chunk;
            let partial = (partial > 0).then_some(Sectors(from));
            found.push(Piece { rows: Range::new(Sectors(row), Sectors(to - from)), written, partial });
        }
    }
    Ok(found)
}

/// The entry for rows of a stripe (from the start of its chunk) in which the blocks of `written` are new: neighbours, as
/// [`split`] makes them. `crc` is that of its partial parity, `log` the slot whose parity it is about.
pub(super) fn describe(
    map: &Map,
    stripe: &Stripe,
    rows: Range,
    written: Slots,
    crc: u32,
    log: u16,
) -> PplEntry {
    let numbers = written.iter().filter_map(|slot| stripe.number_of(slot));
    let first = u64::from(numbers.min().expect("something is written"));
    let bytes = rows.count.bytes() as u32; // at most a chunk's, and a chunk counts in 32 bits of sectors
    let partial = if written == stripe.data() { 0 } else { bytes };
    let sector = map.range_of(stripe.number).start.0 + first * map.chunk().0 + rows.start.0;
    PplEntry::new(sector, partial, bytes.saturating_mul(written.count()), log, crc)
}

/// Cuts segments further, so that each has written blocks that an entry can name: neighbours in the order of the data.
/// Where a member is absent, a block of its own goes by itself: it exists in parity alone, and parity that is half of one
/// write and half of another would make it a third thing. Pieces of one segment follow each other.
pub(in super::super) fn split(stripe: &Stripe, absent: Slots, segments: &[Segment], into: &mut Vec<Segment>) {
    into.clear();
    for segment in segments {
        let mut own = Slots::NONE;
        let mut end = |own: &mut Slots| {
            if !own.is_empty() {
                into.push(Segment { covered: *own, ..*segment });
                *own = Slots::NONE;
            }
        };
        let present = segment.covered - absent;
        for number in 0..stripe.data().count() as u16 {
            let slot = stripe.slot_of(number);
            if present.has(slot) { own.add(slot) } else { end(&mut own) }
        }
        end(&mut own);
        (segment.covered & absent).iter().for_each(|slot| end(&mut Slots::one(slot)));
    }
}

#[cfg(test)]
mod tests {
    use md_format::Level;
    use proptest::prelude::*;

    use super::*;

    /// Stripes of 0 1 2 P, chunks of 16 sectors.
    fn map() -> Map {
        Map::new(Level::Raid5, 5, 4, 16, 800).unwrap()
    }

    fn slots<const N: usize>(slots: [u16; N]) -> Slots {
        slots.into_iter().collect()
    }

    fn rows(start: u64, count: u64) -> Range {
        Range::new(Sectors(start), Sectors(count))
    }

    fn entry(sector: u64, partial_sectors: u32, data_sectors: u32) -> PplEntry {
        PplEntry::new(sector, partial_sectors * 512, data_sectors * 512, 3, 0)
    }

    #[test]
    fn an_entry_names_rows_and_written_blocks() {
        let found = pieces(&map(), &entry(48 + 16 + 8, 8, 16), 3).unwrap();
        let partial = Some(Sectors(0));
        assert_eq!(found, [Piece { rows: rows(24, 8), written: slots([1, 2]), partial }]);
    }

    #[test]
    fn an_entry_without_partial_parity_covers_all_data() {
        let found = pieces(&map(), &entry(4, 0, 3 * 12), 3).unwrap();
        assert_eq!(found, [Piece { rows: rows(4, 12), written: slots([0, 1, 2]), partial: None }]);
        assert_eq!(pieces(&map(), &PplEntry::nothing(3), 3), Ok(Vec::new()));
    }

    #[test]
    fn a_write_that_goes_around_the_end_of_a_chunk_is_understood() {
        // From row 8 of the first block to row 12 of the second, with partial parity for a whole chunk.
        let found = pieces(&map(), &entry(8, 16, 20), 3).unwrap();
        let expected = [
            Piece { rows: rows(8, 4), written: slots([0, 1]), partial: Some(Sectors(0)) },
            Piece { rows: rows(12, 4), written: slots([0]), partial: Some(Sectors(4)) },
            Piece { rows: rows(0, 8), written: slots([1]), partial: Some(Sectors(8)) },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let map = map();
        assert!(pieces(&map, &entry(4, 8, 8), 2).is_err(), "another member's");
        assert!(pieces(&map, &entry(40, 8, 16), 3).is_err(), "out of the stripe");
        assert!(pieces(&map, &entry(4, 17, 17), 3).is_err());
        assert!(pieces(&map, &entry(4, 8, 32), 3).is_err(), "four blocks of three");
        assert!(pieces(&map, &entry(2400, 8, 8), 3).is_err(), "behind the end");
        assert!(pieces(&map, &PplEntry::new(0, 100, 100, 3, 0), 3).is_err());
        assert!(pieces(&map, &PplEntry::new(u64::MAX, u32::MAX, u32::MAX, 3, 0), 3).is_err());
    }

    #[test]
    fn written_blocks_that_are_no_neighbours_go_one_after_the_other() {
        let stripe = Map::new(Level::Raid5, 2, 6, 16, 800).unwrap().stripe(1); // 5 6 7 8 P 4: data 4 is in slot 5
        let segment = |covered| Segment { start: 2, end: 6, covered, ragged: Slots::NONE, bad: false };
        let mut into = Vec::new();
        split(&stripe, Slots::NONE, &[segment(slots([5, 0, 2]))], &mut into);
        assert_eq!(into, [segment(slots([5, 0])), segment(slots([2]))]);
        split(&stripe, slots([0]), &[segment(slots([5, 0, 1])), segment(slots([0]))], &mut into);
        assert_eq!(
            into,
            [segment(slots([5])), segment(slots([1])), segment(slots([0])), segment(slots([0]))]
        );
    }

    #[test]
    fn a_piece_is_cut_where_a_recovery_has_come_to() {
        let piece = Piece { rows: rows(8, 8), written: slots([1]), partial: Some(Sectors(2)) };
        assert_eq!(piece.cut_at(&[Sectors(8), Sectors(16), Sectors(100)]), [piece]);
        let parts = piece.cut_at(&[Sectors(12), Sectors(10)]);
        let of = |part: &Piece| (part.rows.start.0, part.rows.count.0, part.partial.unwrap().0);
        assert_eq!(parts.iter().map(of).collect::<Vec<_>>(), [(8, 2, 2), (12, 4, 6), (10, 2, 4)]);
    }

    proptest! {
        /// What is described is understood again, in every layout, by the log of each parity.
        #[test]
        fn an_entry_comes_back_as_it_went(
            layout in 0u32..6, members in 4u32..9, number in 0u64..20, start in 0u64..16, count in 1u64..=16,
            bits in 1u16..255, is_raid6: bool,
        ) {
            let level = if is_raid6 { Level::Raid6 } else { Level::Raid5 };
            let map = Map::new(level, layout, members, 16, 800).unwrap();
            let stripe = map.stripe(number);
            let log = stripe.q.filter(|_| bits & 1 == 0).unwrap_or(stripe.p);
            let count = count.min(16 - start);
            let covered: Slots = stripe.data().iter().filter(|slot| bits >> slot & 1 == 1).collect();
            let mut cut = Vec::new();
            let segment = Segment { start, end: start + count, covered, ragged: Slots::NONE, bad: false };
            split(&stripe, Slots::NONE, &[segment], &mut cut);
            for segment in cut {
                let entry = describe(&map, &stripe, rows(start, count), segment.covered, 0, log);
                let found = pieces(&map, &entry, log).unwrap();
                prop_assert_eq!(found.len(), 1);
                prop_assert_eq!(found[0].written, segment.covered);
                prop_assert_eq!(found[0].rows, rows(map.rows_of(number).start.0 + start, count));
                prop_assert_eq!(found[0].partial.is_none(), segment.covered == stripe.data());
            }
        }

        /// Any bytes are understood or refused, and never lead out of the array.
        #[test]
        fn hostile_entries_stay_within_their_stripe(
            sector in 0u64..3000, partial in 0u32..40_000, data in 0u32..60_000, log in 0u16..4,
        ) {
            let map = map();
            let entry = PplEntry::new(sector, partial / 512 * 512, data / 512 * 512, log, 0);
            if let Ok(found) = pieces(&map, &entry, log) {
                for piece in found {
                    prop_assert!(map.rows_of(map.stripe_of(Sectors(sector))).contains(piece.rows));
                    prop_assert!((piece.written - map.stripe(map.stripe_of(Sectors(sector))).data()).is_empty());
                    if let Some(at) = piece.partial {
                        prop_assert!((at + piece.rows.count).bytes() <= u64::from(partial));
                    }
                }
            }
        }
    }
}
