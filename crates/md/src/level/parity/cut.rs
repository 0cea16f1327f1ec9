//! Cutting a group of writes into runs: rows of a stripe in which the same blocks are new. Pure.

use block::{Buf, Range, Sectors};

use super::group::{Part, PartId};
use super::map::{Map, Stripe};
use super::slots::Slots;

/// Rows of a stripe in which the new content of each block comes from one part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    /// The first row, in sectors from the start of the chunk.
    pub start: u64,
    /// Behind the last.
    pub end: u64,
    /// Slots with new data.
    pub covered: Slots,
    /// Those of them of which only a part is new, or whose new content comes from several parts.
    pub ragged: Slots,
    /// Some member lists a block here as bad.
    pub bad: bool,
}

/// Segments that follow each other and have the same blocks covered: they are read and written in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// Its first segment.
    pub first: usize,
    /// Behind its last.
    pub last: usize,
}

/// Cuts the parts of a group at every row where what is covered changes, where what is listed as `bad` begins and ends (in
/// rows from the start of the chunk), and at multiples of `window` rows: but only at multiples of `unit` rows.
///
/// `cuts` and `segments` are emptied first and keep their memory.
pub(crate) fn cut(
    map: &Map,
    stripe: &Stripe,
    parts: &[(PartId, Part)],
    (window, unit): (Sectors, Sectors),
    bad: impl Iterator<Item = Range> + Clone,
    cuts: &mut Vec<u64>,
    segments: &mut Vec<Segment>,
) {
    let (chunk, base) = (map.chunk().0, map.range_of(stripe.number).start.0);
    cuts.clear();
    segments.clear();
    cuts.extend((0..=chunk / window.0).map(|turn| turn * window.0));
    let mut add = |row: u64| {
        cuts.push(row / unit.0 * unit.0);
        if !row.is_multiple_of(unit.0) {
            cuts.push(row.next_multiple_of(unit.0));
        }
    };
    for (_, part) in parts {
        add((part.range.start.0 - base) % chunk);
        add((part.range.end().0 - base) % chunk);
    }
    bad.clone().for_each(|run| [run.start.0, run.end().0].into_iter().for_each(&mut add));
    cuts.sort_unstable();
    cuts.dedup();
    let ends = cuts.iter().skip(1).copied();
    for (start, end) in cuts.iter().copied().zip(ends) {
        let rows = Range::new(Sectors(start), Sectors(end - start));
        let (mut covered, mut ragged) = (Slots::NONE, Slots::NONE);
        for (_, part) in parts {
            let (touched, whole) = (touched_by(map, stripe, part, rows), covered_by(map, stripe, part, rows));
            covered = covered | touched;
            ragged = (ragged - whole) | (touched - whole); // the last part has its way
        }
        if !covered.is_empty() {
            let bad = bad.clone().any(|run| run.overlaps(rows));
            segments.push(Segment { start, end, covered, ragged, bad });
        }
    }
}

/// The run that begins with segment `first`: as long as nothing changes, and within one window.
pub(crate) fn run_from(segments: &[Segment], first: usize, window: Sectors) -> Run {
    let own = segments[first];
    let follows = segments[first..].windows(2).take_while(|pair| {
        pair[0].end == pair[1].start
            && pair[1].covered == own.covered
            && !pair[1].bad
            && !own.bad
            && (pair[1].ragged | own.ragged).is_empty()
            && pair[1].start / window.0 == own.start / window.0
    });
    Run { first, last: first + 1 + follows.count() }
}

/// The slots whose `rows` a part covers.
fn covered_by(map: &Map, stripe: &Stripe, part: &Part, rows: Range) -> Slots {
    let (chunk, base) = (map.chunk().0, map.range_of(stripe.number).start.0);
    let (from, to) = (part.range.start.0 - base, part.range.end().0 - base);
    let last = (to - 1) / chunk;
    let covers = |number: &u64| {
        let at = number * chunk + rows.start.0;
        from <= at && at + rows.count.0 <= to
    };
    (from / chunk..=last).filter(covers).map(|number| stripe.slot_of(number as u16)).collect()
}

/// The slots of whose `rows` a part covers any.
fn touched_by(map: &Map, stripe: &Stripe, part: &Part, rows: Range) -> Slots {
    let (chunk, base) = (map.chunk().0, map.range_of(stripe.number).start.0);
    let (from, to) = (part.range.start.0 - base, part.range.end().0 - base);
    let last = (to - 1) / chunk;
    let touches = |number: &u64| {
        let at = number * chunk + rows.start.0;
        from < at + rows.count.0 && at < to
    };
    (from / chunk..=last).filter(touches).map(|number| stripe.slot_of(number as u16)).collect()
}

/// Where the new content of `rows` in `slot` comes from: the last part that covers them. `None` inside for zeroes.
pub(crate) fn source(
    map: &Map,
    stripe: &Stripe,
    parts: &[(PartId, Part)],
    rows: Range,
    slot: u16,
) -> Option<Option<Buf>> {
    let number = u64::from(stripe.number_of(slot)?);
    let at = map.range_of(stripe.number).start + Sectors(number * map.chunk().0) + rows.start;
    let wanted = Range::new(at, rows.count);
    let (_, part) = parts.iter().rev().find(|(_, part)| part.range.contains(wanted))?;
    let slice = |buf: &Buf| buf.slice((at - part.range.start).byte_len(), rows.count.byte_len());
    Some(part.buf.as_ref().map(slice))
}

#[cfg(test)]
mod tests {
    use md_format::Level;

    use super::super::group::Groups;
    use super::*;

    fn map() -> Map {
        Map::new(Level::Raid5, 2, 4, 16, 800).unwrap() // 0 1 2 P, chunks of 16 sectors
    }

    fn cut_up(ranges: &[(u64, u64)], window: u64) -> Vec<Segment> {
        cut_in_units(ranges, window, 1)
    }

    fn cut_in_units(ranges: &[(u64, u64)], window: u64, unit: u64) -> Vec<Segment> {
        let groups = Groups::new(16);
        let mut parts = Vec::new();
        for (start, end) in ranges {
            let range = Range::new(Sectors(*start), Sectors(end - start));
            groups.join(0, Part { range, buf: None, fua: false, trace: 0 });
        }
        groups.take(0, &mut parts);
        let (mut cuts, mut segments) = (Vec::new(), Vec::new());
        let map = map();
        let sizes = (Sectors(window), Sectors(unit));
        cut(&map, &map.stripe(0), &parts, sizes, std::iter::empty(), &mut cuts, &mut segments);
        segments
    }

    fn segment<const N: usize>(start: u64, end: u64, covered: [u16; N]) -> Segment {
        Segment { start, end, covered: covered.into_iter().collect(), ragged: Slots::NONE, bad: false }
    }

    #[test]
    fn a_whole_stripe_is_one_segment() {
        assert_eq!(cut_up(&[(0, 48)], 16), [segment(0, 16, [0, 1, 2])]);
    }

    #[test]
    fn rows_differ_where_a_write_begins_or_ends() {
        assert_eq!(cut_up(&[(4, 20)], 16), [segment(0, 4, [1]), segment(4, 16, [0])]);
        assert_eq!(cut_up(&[(0, 8), (20, 24)], 16), [segment(0, 4, [0]), segment(4, 8, [0, 1])]);
    }

    #[test]
    fn neighbours_make_one_run_and_windows_end_it() {
        let segments = cut_up(&[(0, 2), (2, 4), (4, 16)], 8);
        assert_eq!(segments.len(), 4);
        assert_eq!(run_from(&segments, 0, Sectors(8)), Run { first: 0, last: 3 });
        assert_eq!(run_from(&segments, 3, Sectors(8)), Run { first: 3, last: 4 });
    }

    #[test]
    fn whole_blocks_are_cut_and_those_that_are_new_in_part_go_alone() {
        let ragged =
            |segment: Segment, slots: &[u16]| Segment { ragged: slots.iter().copied().collect(), ..segment };
        let segments = cut_in_units(&[(3, 16), (20, 40)], 16, 8);
        assert_eq!(segments, [ragged(segment(0, 8, [0, 1, 2]), &[0, 1]), segment(8, 16, [0, 1])]);
        assert_eq!(run_from(&segments, 0, Sectors(16)).last, 1);
        // The last part has its way: what it covers wholly is not ragged, whatever came before.
        assert_eq!(cut_in_units(&[(3, 5), (0, 8)], 16, 8), [segment(0, 8, [0])]);
        assert_eq!(cut_in_units(&[(0, 8), (3, 5)], 16, 8), [ragged(segment(0, 8, [0]), &[0])]);
    }

    #[test]
    fn gaps_are_not_covered() {
        assert_eq!(cut_up(&[(0, 2), (6, 8)], 16), [segment(0, 2, [0]), segment(6, 8, [0])]);
    }
}
