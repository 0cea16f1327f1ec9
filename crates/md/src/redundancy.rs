//! What a level can do without: which slots are enough to reach all data. Pure.

use md_format::Level;
use md_format::superblock::Summary;

use crate::error::Hindrance;
use crate::level::raid10;
use crate::limits::FAN_OUT;

/// How the data of an array is kept more than once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Redundancy {
    /// Not at all: linear and raid0.
    Nothing,
    /// Everything on every member: raid1.
    Copies,
    /// Every chunk on some members: raid10.
    ChunkCopies(raid10::Map),
    /// So many parities for each stripe: raid4, raid5, raid6.
    Parity(u32),
}

impl Redundancy {
    /// What the superblock's level and layout mean.
    pub fn of(summary: &Summary) -> Result<Redundancy, Hindrance> {
        Ok(match summary.level {
            Level::Linear | Level::Raid0 => Redundancy::Nothing,
            Level::Raid1 => Redundancy::Copies,
            Level::Raid4 | Level::Raid5 => Redundancy::Parity(1),
            Level::Raid6 => Redundancy::Parity(2),
            Level::Raid10 => Redundancy::ChunkCopies(raid10::Map::of(summary)?),
            other => return Err(Hindrance::Level(other)),
        })
    }

    /// How many copies there are of everything, where there are copies.
    pub fn copies(self, slots: u32) -> Option<usize> {
        match self {
            Redundancy::Copies => Some(slots as usize),
            Redundancy::ChunkCopies(map) => Some(map.copies()),
            Redundancy::Nothing | Redundancy::Parity(_) => None,
        }
    }

    /// How many slots an array of `slots` may ever have while it is open: only copies are added to one that is.
    pub fn most_slots(self, slots: usize) -> usize {
        match self {
            Redundancy::Copies => slots.max(FAN_OUT),
            Redundancy::Nothing | Redundancy::ChunkCopies(_) | Redundancy::Parity(_) => slots,
        }
    }

    /// Whether anything can be lost without losing data.
    pub fn is_any(self) -> bool {
        self != Redundancy::Nothing
    }

    /// How many members are needed at least, where `present` of them are not enough.
    pub fn needed(self, slots: u32, present: u32) -> u32 {
        match self {
            Redundancy::Nothing => slots,
            Redundancy::Copies => 1,
            Redundancy::Parity(parities) => slots.saturating_sub(parities),
            // It depends on which; one more than there are, in any case.
            Redundancy::ChunkCopies(_) => present + 1,
        }
    }

    /// Whether all data is within reach when, of `slots` slots, those for which `has` holds have a member in sync.
    pub fn suffices(self, slots: u32, has: impl Fn(u32) -> bool) -> bool {
        let present = (0..slots).filter(|slot| has(*slot)).count() as u32;
        match self {
            Redundancy::Nothing => present == slots,
            Redundancy::Copies => present > 0,
            Redundancy::Parity(parities) => slots > parities && present >= slots - parities,
            Redundancy::ChunkCopies(map) => map.suffices(has),
        }
    }
}
