//! Where data and parity of each stripe lie, and which coefficient each block has in Q. Pure.
//!
//! Source: the formulas of Linux 6.12's raid5, vectors printed by a script of their own.

use std::cell::Cell;

use block::{Range, Sectors};
use md_format::Level;

use super::slots::{MOST_SLOTS, Slots};
use crate::error::Hindrance;

/// The arrangement of an array with parity.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    layout: Layout,
    slots: u16,
    data: u16,
    chunk: Sectors,
    /// They become more when the members give more.
    rows: Cell<Sectors>,
}

/// How parity rotates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    /// raid4, raid5 and their like on `slots` members.
    Single(Rotation),
    /// raid6.
    Double(Rotation),
    /// raid6 in DDF's ways: Q counts every slot, also those of P and Q. The number is the layout's.
    Ddf(u32),
    /// raid5 on all members but the last, which has Q.
    LastQ(Rotation),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rotation {
    LeftAsymmetric,
    RightAsymmetric,
    LeftSymmetric,
    RightSymmetric,
    ParityFirst,
    ParityLast,
}

impl Rotation {
    fn from_number(number: u32) -> Option<Rotation> {
        Some(match number {
            0 => Rotation::LeftAsymmetric,
            1 => Rotation::RightAsymmetric,
            2 => Rotation::LeftSymmetric,
            3 => Rotation::RightSymmetric,
            4 => Rotation::ParityFirst,
            5 => Rotation::ParityLast,
            _ => return None,
        })
    }

    fn is_symmetric(self) -> bool {
        matches!(self, Rotation::LeftSymmetric | Rotation::RightSymmetric)
    }

    fn is_left(self) -> bool {
        matches!(self, Rotation::LeftAsymmetric | Rotation::LeftSymmetric)
    }

    /// The slot of P, of `slots`, in stripe `number`.
    fn p(self, number: u64, slots: u16) -> u16 {
        let turn = (number % u64::from(slots)) as u16;
        match self {
            Rotation::ParityFirst => 0,
            Rotation::ParityLast => slots - 1,
            _ if self.is_left() => slots - 1 - turn,
            _ => turn,
        }
    }
}

impl Layout {
    fn of(level: Level, number: u32) -> Option<Layout> {
        match (level, number) {
            (Level::Raid4, _) => Some(Layout::Single(Rotation::ParityLast)),
            (Level::Raid5, _) => Rotation::from_number(number).map(Layout::Single),
            (Level::Raid6, 0..=5) => Rotation::from_number(number).map(Layout::Double),
            (Level::Raid6, 8..=10) => Some(Layout::Ddf(number)),
            (Level::Raid6, 16..=20) => Rotation::from_number(number - 16).map(Layout::LastQ),
            _ => None,
        }
    }
}

/// One stripe: a chunk on every member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stripe {
    /// Its number, from the start of the array.
    pub number: u64,
    /// The slot of P.
    pub p: u16,
    /// The slot of Q, if there is one.
    pub q: Option<u16>,
    /// Where the data lies.
    order: Order,
    slots: u16,
    is_ddf: bool,
}

/// Which slot has which data chunk.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// From this slot on, around `among` slots.
    Around { first: u16, among: u16 },
    /// In the order of the slots, `gap` of them passed over at `at`.
    Straight { at: u16, gap: u16 },
}

impl Map {
    /// The map of `slots` members, each giving `member_sectors`, with this layout number.
    pub fn new(
        level: Level,
        layout: u32,
        slots: u32,
        chunk_sectors: u32,
        member_sectors: u64,
    ) -> Result<Map, Hindrance> {
        let layout = Layout::of(level, layout)
            .ok_or(Hindrance::Shape("the layout number is none that this level has"))?;
        let parities = if level == Level::Raid6 { 2 } else { 1 };
        // raid5 of two members is a mirror by another name; the kernel takes raid6 from four (three in DDF's ways too).
        if slots <= parities || slots as usize > MOST_SLOTS - parities as usize {
            return Err(Hindrance::Shape("the number of members is none that parity can be computed for"));
        }
        if !chunk_sectors.is_power_of_two() || chunk_sectors < LEAST_CHUNK {
            return Err(Hindrance::Shape("the chunk is a power of two of at least 4 KiB"));
        }
        let chunk = Sectors(chunk_sectors.into());
        let rows = Sectors(member_sectors).round_down(chunk);
        let (slots, data) = (slots as u16, (slots - parities) as u16);
        rows.0
            .checked_mul(data.into())
            .ok_or(Hindrance::Shape("the members' sizes add up to more than 2^64"))?;
        Ok(Map { layout, slots, data, chunk, rows: Cell::new(rows) })
    }

    /// Sectors of the array.
    pub fn size(&self) -> Sectors {
        Sectors(self.rows.get().0 * u64::from(self.data))
    }

    /// Sectors of a chunk.
    pub fn chunk(&self) -> Sectors {
        self.chunk
    }

    /// Sectors of a stripe's data.
    pub fn stripe_sectors(&self) -> Sectors {
        Sectors(self.chunk.0 * u64::from(self.data))
    }

    /// Stripes.
    pub fn stripes(&self) -> u64 {
        self.rows.get().0 / self.chunk.0
    }

    /// Members.
    pub fn slots(&self) -> u16 {
        self.slots
    }

    /// The stripe that holds the array's sector `at`.
    pub fn stripe_of(&self, at: Sectors) -> u64 {
        at.0 / self.stripe_sectors().0
    }

    /// The array's sectors in a stripe.
    pub fn range_of(&self, stripe: u64) -> Range {
        Range::new(Sectors(stripe * self.stripe_sectors().0), self.stripe_sectors())
    }

    /// The members give as much as in `other`, whose arrangement is the same.
    pub fn grow(&self, other: Map) {
        debug_assert!((self.slots, self.chunk) == (other.slots, other.chunk));
        self.rows.set(other.rows.get());
    }

    /// The members' sectors in a stripe, from the data offset: its rows.
    pub fn rows_of(&self, stripe: u64) -> Range {
        Range::new(Sectors(stripe * self.chunk.0), self.chunk)
    }

    /// The stripe with this number.
    pub fn stripe(&self, number: u64) -> Stripe {
        let n = self.slots;
        let stripe = |p, q, order| Stripe { number, p, q, order, slots: n, is_ddf: false };
        match self.layout {
            Layout::Single(rotation) => {
                let p = rotation.p(number, n);
                stripe(p, None, single(rotation, p, n))
            }
            Layout::LastQ(rotation) => {
                let p = rotation.p(number, n - 1);
                stripe(p, Some(n - 1), single(rotation, p, n - 1))
            }
            Layout::Double(Rotation::ParityLast) => {
                stripe(n - 2, Some(n - 1), Order::Straight { at: n, gap: 0 })
            }
            Layout::Double(rotation) => {
                let p = rotation.p(number, n);
                let q = (p + 1) % n;
                let order = match rotation.is_symmetric() {
                    true => Order::Around { first: (p + 2) % n, among: n },
                    false => beside(p, n),
                };
                stripe(p, Some(q), order)
            }
            Layout::Ddf(10) => {
                let p = Rotation::LeftSymmetric.p(number, n);
                let order = Order::Around { first: (p + 1) % n, among: n };
                Stripe { is_ddf: true, ..stripe(p, Some((p + n - 1) % n), order) }
            }
            Layout::Ddf(layout) => {
                let p = match layout {
                    8 => Rotation::RightAsymmetric.p(number, n),
                    _ => Rotation::LeftAsymmetric.p(number + 1, n),
                };
                Stripe { is_ddf: true, ..stripe(p, Some((p + 1) % n), beside(p, n)) }
            }
        }
    }
}

/// raid5's order with P in slot `p` of `n`.
fn single(rotation: Rotation, p: u16, n: u16) -> Order {
    match rotation.is_symmetric() {
        true => Order::Around { first: (p + 1) % n, among: n },
        false => Order::Straight { at: p, gap: 1 },
    }
}

/// raid6's asymmetric order: the data passes over P and the Q beside it. Where P is in the last slot, Q is in the first.
fn beside(p: u16, n: u16) -> Order {
    if p == n - 1 { Order::Straight { at: 0, gap: 1 } } else { Order::Straight { at: p, gap: 2 } }
}

impl Stripe {
    /// The slot of the data chunk `number` of this stripe.
    pub fn slot_of(&self, number: u16) -> u16 {
        match self.order {
            Order::Around { first, among } => (first + number) % among,
            Order::Straight { at, gap } if number >= at => number + gap,
            Order::Straight { .. } => number,
        }
    }

    /// The number of the data chunk in a slot; `None` for P and Q.
    pub fn number_of(&self, slot: u16) -> Option<u16> {
        if self.is_parity(slot) {
            return None;
        }
        Some(match self.order {
            Order::Around { first, among } => (slot + among - first) % among,
            Order::Straight { at, gap } if slot >= at => slot - gap,
            Order::Straight { .. } => slot,
        })
    }

    pub fn is_parity(&self, slot: u16) -> bool {
        slot == self.p || Some(slot) == self.q
    }

    /// The slots of P and Q.
    pub fn parities(&self) -> Slots {
        [self.p].into_iter().chain(self.q).collect()
    }

    /// The slots of data.
    pub fn data(&self) -> Slots {
        (0..self.slots).filter(|slot| !self.is_parity(*slot)).collect()
    }

    /// The slots of data with the index of their coefficient in Q, ascending.
    ///
    /// md counts from the slot behind Q; DDF counts all slots, P's and Q's too.
    pub fn by_index(&self) -> impl Iterator<Item = (u8, u16)> + Clone + use<> {
        let stripe = *self;
        let first = match stripe.q {
            Some(q) if !stripe.is_ddf => (q + 1) % stripe.slots,
            _ => 0,
        };
        let around = (0..stripe.slots).map(move |step| (first + step) % stripe.slots);
        let mut next = 0u8;
        around.filter_map(move |slot| {
            let is_data = !stripe.is_parity(slot);
            let index = next;
            next = next.wrapping_add(u8::from(is_data || stripe.is_ddf));
            is_data.then_some((index, slot))
        })
    }
}

/// The smallest chunk that the kernel takes: a page.
const LEAST_CHUNK: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(level: Level, layout: u32, slots: u32, stripes: u64) -> String {
        let map = Map::new(level, layout, slots, 8, 8000).unwrap();
        let row = |number: u64| {
            let stripe = map.stripe(number);
            let data = map.data;
            let cell = |slot: u16| match stripe.number_of(slot) {
                Some(chunk) => {
                    assert_eq!(stripe.slot_of(chunk), slot);
                    (number * u64::from(data) + u64::from(chunk)).to_string()
                }
                None if slot == stripe.p => "P".to_owned(),
                None => "Q".to_owned(),
            };
            (0..slots as u16).map(cell).collect::<Vec<_>>().join(" ")
        };
        (0..stripes).map(row).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn raid5_lies_where_the_kernel_puts_it() {
        for (layout, expected) in [
            (0, "0 1 2 P | 3 4 P 5 | 6 P 7 8 | P 9 10 11"),
            (1, "P 0 1 2 | 3 P 4 5 | 6 7 P 8 | 9 10 11 P"),
            (2, "0 1 2 P | 4 5 P 3 | 8 P 6 7 | P 9 10 11"),
            (3, "P 0 1 2 | 5 P 3 4 | 7 8 P 6 | 9 10 11 P"),
            (4, "P 0 1 2 | P 3 4 5 | P 6 7 8 | P 9 10 11"),
            (5, "0 1 2 P | 3 4 5 P | 6 7 8 P | 9 10 11 P"),
        ] {
            assert_eq!(rows(Level::Raid5, layout, 4, 4), expected, "layout {layout}");
        }
        assert_eq!(rows(Level::Raid4, 0, 4, 4), "0 1 2 P | 3 4 5 P | 6 7 8 P | 9 10 11 P");
    }

    #[test]
    fn raid6_lies_where_the_kernel_puts_it() {
        for (layout, expected) in [
            (0, "Q 0 1 2 P | 3 4 5 P Q | 6 7 P Q 8 | 9 P Q 10 11 | P Q 12 13 14"),
            (1, "P Q 0 1 2 | 3 P Q 4 5 | 6 7 P Q 8 | 9 10 11 P Q | Q 12 13 14 P"),
            (2, "Q 0 1 2 P | 3 4 5 P Q | 7 8 P Q 6 | 11 P Q 9 10 | P Q 12 13 14"),
            (3, "P Q 0 1 2 | 5 P Q 3 4 | 7 8 P Q 6 | 9 10 11 P Q | Q 12 13 14 P"),
            (4, "P Q 0 1 2 | P Q 3 4 5 | P Q 6 7 8 | P Q 9 10 11 | P Q 12 13 14"),
            (5, "0 1 2 P Q | 3 4 5 P Q | 6 7 8 P Q | 9 10 11 P Q | 12 13 14 P Q"),
            (8, "P Q 0 1 2 | 3 P Q 4 5 | 6 7 P Q 8 | 9 10 11 P Q | Q 12 13 14 P"),
            (9, "0 1 2 P Q | 3 4 P Q 5 | 6 P Q 7 8 | P Q 9 10 11 | Q 12 13 14 P"),
            (10, "0 1 2 Q P | 4 5 Q P 3 | 8 Q P 6 7 | Q P 9 10 11 | P 12 13 14 Q"),
            (16, "0 1 2 P Q | 3 4 P 5 Q | 6 P 7 8 Q | P 9 10 11 Q | 12 13 14 P Q"),
            (17, "P 0 1 2 Q | 3 P 4 5 Q | 6 7 P 8 Q | 9 10 11 P Q | P 12 13 14 Q"),
            (18, "0 1 2 P Q | 4 5 P 3 Q | 8 P 6 7 Q | P 9 10 11 Q | 12 13 14 P Q"),
            (19, "P 0 1 2 Q | 5 P 3 4 Q | 7 8 P 6 Q | 9 10 11 P Q | P 12 13 14 Q"),
            (20, "P 0 1 2 Q | P 3 4 5 Q | P 6 7 8 Q | P 9 10 11 Q | P 12 13 14 Q"),
        ] {
            assert_eq!(rows(Level::Raid6, layout, 5, 5), expected, "layout {layout}");
        }
    }

    #[test]
    fn coefficients_count_from_behind_q_and_in_ddf_from_the_first_slot() {
        let indices = |layout: u32, stripe: u64| {
            let map = Map::new(Level::Raid6, layout, 5, 8, 8000).unwrap();
            map.stripe(stripe).by_index().collect::<Vec<_>>()
        };
        assert_eq!(indices(0, 2), [(0, 4), (1, 0), (2, 1)]); // 6 7 P Q 8
        assert_eq!(indices(8, 2), [(0, 0), (1, 1), (4, 4)]);
        assert_eq!(indices(16, 2), [(0, 0), (1, 2), (2, 3)]); // 6 P 7 8 Q
    }

    #[test]
    fn hostile_shapes_are_errors() {
        let map = |level, layout, slots, chunk, size| Map::new(level, layout, slots, chunk, size);
        assert!(map(Level::Raid5, 6, 4, 8, 800).is_err());
        assert!(map(Level::Raid6, 7, 4, 8, 800).is_err());
        assert!(map(Level::Raid6, 21, 4, 8, 800).is_err());
        assert!(map(Level::Raid5, 2, 1, 8, 800).is_err());
        assert!(map(Level::Raid6, 2, 2, 8, 800).is_err());
        assert!(map(Level::Raid6, 2, 300, 8, 800).is_err());
        assert!(map(Level::Raid5, 2, 4, 24, 800).is_err());
        assert!(map(Level::Raid5, 2, 4, 8, u64::MAX).is_err());
    }
}
