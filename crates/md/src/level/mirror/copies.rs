//! Where the copies of a mirror's sectors lie. Pure.

use block::{Range, Sectors};

use crate::level::raid10;

/// How a level keeps its copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// raid1: everything in each of so many slots, at the same place.
    Whole(u16),
    /// raid10: every chunk in some of the slots.
    Chunks(raid10::Map),
}

/// Where one copy of a sector lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// In which slot.
    pub slot: u16,
    /// Which sector there, from the data offset.
    pub start: Sectors,
}

impl Layout {
    /// How many copies there are of everything.
    pub fn copies(&self) -> usize {
        match self {
            Layout::Whole(slots) => usize::from(*slots),
            Layout::Chunks(map) => map.copies(),
        }
    }

    /// The part of `range` from its start on that lies in one piece on each of its copies.
    pub fn first_piece(&self, range: Range) -> Range {
        match self {
            Layout::Whole(_) => range,
            Layout::Chunks(map) => Range::new(range.start, range.count.min(map.run(range.start))),
        }
    }

    /// Where copy number `copy` of `at` lies.
    pub fn place(&self, at: Sectors, copy: usize) -> Place {
        let (slot, start) = match self {
            Layout::Whole(_) => (copy as u16, at),
            Layout::Chunks(map) => map.copy_of(at, copy as u64),
        };
        Place { slot, start }
    }

    /// Where all copies of `at` lie, in order.
    pub fn places(&self, at: Sectors) -> impl Iterator<Item = Place> + Clone + use<> {
        let layout = *self;
        (0..layout.copies()).map(move |copy| layout.place(at, copy))
    }

    /// Whether the first copy of everything is striped over all members, so that readers of it keep all of them busy.
    pub fn first_copies_are_striped(&self) -> bool {
        matches!(self, Layout::Chunks(map) if map.has_far_copies())
    }

    /// Whether anything has two copies in those slots for which `has` holds.
    pub fn has_any_twice(&self, has: impl Fn(u16) -> bool) -> bool {
        let twice = |at: Sectors| self.places(at).filter(|place| has(place.slot)).count() > 1;
        match self {
            Layout::Whole(_) => twice(Sectors::ZERO),
            Layout::Chunks(map) => map.pattern().any(twice),
        }
    }
}
