//! What becomes of a disk that is added to an open array. Pure.
//!
//! Follows mdadm's `--add`, which first tries whether the disk is the member that it was: then only what the bitmap marks
//! has to be copied. The rules are the kernel's (`super_1_validate`): its events must not be older than those at which
//! bits were last cleared. Beside them, a disk that calls one of our members failed was used apart, and is a spare.

use std::fmt;

use block::{Geometry, Sectors};
use md_format::superblock::Summary;
use md_format::{FormatError, Role, Version};

use crate::examine::Examined;
use crate::member::{Condition, Member};
use crate::membership::most_devices;
use crate::roster::Roster;
use crate::sync::decide::{Plant, is};

/// What a disk becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// The member that it was: what it has missed is copied.
    Former {
        /// Its slot.
        slot: u16,
        /// Its number.
        dev_number: u32,
    },
    /// A spare: what it holds is lost.
    Spare {
        /// The number that it gets.
        dev_number: u32,
    },
}

/// Why a disk cannot be added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotAdmitted {
    /// It is smaller than what a member has to give.
    TooSmall {
        /// Its sectors for data.
        found: Sectors,
        /// What it takes.
        expected: Sectors,
    },
    /// Its blocks are larger than the array's.
    LargeBlocks {
        /// Its logical block, in bytes.
        found: u32,
        /// The array's.
        expected: u32,
    },
    /// It is made of the array itself.
    OnTop,
    /// The level keeps nothing twice.
    NoRedundancy,
    /// It has the number of a member that is still here.
    NumberInUse(u32),
    /// There is no room for one more.
    TooMany,
    /// Its superblock cannot be made.
    Format(FormatError),
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAdmitted::TooSmall { found, expected } => {
                write!(f, "it has {found} sectors for data, and a member needs {expected}")
            }
            NotAdmitted::LargeBlocks { found, expected } => write!(
                f,
                "its blocks have {found} bytes, the array's have {expected}; clients that know these would fail"
            ),
            NotAdmitted::OnTop => f.write_str("it lies on top of the array itself"),
            NotAdmitted::NoRedundancy => {
                f.write_str("a level without redundancy has no use for another member")
            }
            NotAdmitted::NumberInUse(number) => write!(
                f,
                "it is number {number} of the array, which has failed and is still known; remove that first"
            ),
            NotAdmitted::TooMany => f.write_str("the array has no room for another member"),
            NotAdmitted::Format(error) => error.fmt(f),
        }
    }
}

/// What is known of the array.
pub(crate) struct Facts<'a> {
    pub summary: Summary,
    pub events: u64,
    /// At which events bits of the bitmap were last cleared, if there is one.
    pub events_cleared: Option<u64>,
    /// What a member has to give.
    pub size: Sectors,
    pub geometry: Geometry,
    pub height: u8,
    pub members: &'a Roster,
    pub has_redundancy: bool,
}

/// Decides what becomes of a disk of this shape.
pub(crate) fn admit(
    facts: &Facts<'_>,
    geometry: &Geometry,
    height: u8,
    examined: Option<&Examined>,
) -> Result<Admission, NotAdmitted> {
    if !facts.has_redundancy {
        return Err(NotAdmitted::NoRedundancy);
    }
    if height >= facts.height {
        return Err(NotAdmitted::OnTop);
    }
    let (found, expected) = (geometry.logical_block, facts.geometry.logical_block);
    if found > expected {
        return Err(NotAdmitted::LargeBlocks { found, expected });
    }
    let (found, expected) = (geometry.size.saturating_sub(Sectors(facts.summary.data_offset)), facts.size);
    if found < expected {
        return Err(NotAdmitted::TooSmall { found, expected });
    }
    let own = examined.filter(|examined| is_of(&facts.summary, examined));
    if let Some(own) = own.filter(|own| is_failed_here(facts, own)) {
        return Err(NotAdmitted::NumberInUse(own.summary.dev_number));
    }
    let is_numbered = |own: &&Examined| !is_taken(facts, own.summary.dev_number);
    if let Some(former) = own.filter(is_numbered).and_then(|own| former(facts, own)) {
        return Ok(former);
    }
    if facts.summary.version == Version::V0_90 {
        // Its superblocks number whoever is in no slot behind the last one.
        let behind =
            facts.members.iter().filter(|member| is_here(member) && member.condition() != Condition::InSync);
        if facts.summary.raid_disks + behind.count() as u32 >= most_devices(Version::V0_90) {
            return Err(NotAdmitted::TooMany);
        }
    }
    Ok(Admission::Spare { dev_number: free_number(facts)? })
}

/// The number of a disk that was no member before.
pub(crate) fn free_number(facts: &Facts<'_>) -> Result<u32, NotAdmitted> {
    (facts.summary.raid_disks..most_devices(facts.summary.version))
        .find(|number| !is_taken(facts, *number))
        .ok_or(NotAdmitted::TooMany)
}

fn is_of(array: &Summary, examined: &Examined) -> bool {
    let own = &examined.summary;
    examined.flaw.is_none() && own.array_uuid == array.array_uuid && own.version == array.version
}

/// Whether a disk is one that has failed and is still known. A number alone tells nothing: that of a disk which was removed
/// may have gone to another one meanwhile. Metadata 0.90 has no more than the number.
fn is_failed_here(facts: &Facts<'_>, own: &Examined) -> bool {
    facts.members.iter().any(|member| {
        let theirs = member.summary();
        member.condition() == Condition::Faulty
            && member.dev_number == own.summary.dev_number
            && (own.summary.version == Version::V0_90 || theirs.device_uuid == own.summary.device_uuid)
    })
}

fn is_taken(facts: &Facts<'_>, number: u32) -> bool {
    facts.members.iter().any(|member| is_here(member) && member.dev_number == number)
}

fn is_here(member: &Member) -> bool {
    member.condition() != Condition::Removed
}

/// The member that it was, if all that it has missed is marked.
fn former(facts: &Facts<'_>, own: &Examined) -> Option<Admission> {
    let (array, summary) = (&facts.summary, &own.summary);
    let Role::Active(slot) = summary.role else { return None };
    let shape = |s: &Summary| (s.level, s.layout, s.chunk_sectors, s.raid_disks, s.size_sectors);
    let superblock = own.superblock();
    let mut in_sync = facts.members.iter().filter(|member| member.condition() == Condition::InSync);
    let claim = Claim {
        is_same: shape(array) == shape(summary) && u32::from(slot) < array.raid_disks,
        was_in_sync: summary.recovery.is_none() && !summary.replacement,
        is_free: !facts.members.iter().any(|member| member.slot.get() == Some(slot) && member.is_written()),
        agrees: in_sync.all(|member| matches!(superblock.role_of(member.dev_number), Role::Active(_))),
        own_events: summary.events,
        events: facts.events,
        events_cleared: facts.events_cleared,
    };
    is_former(&claim).then_some(Admission::Former { slot, dev_number: summary.dev_number })
}

/// What is known of a disk that says it was a member of the array, with a slot.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// It describes the array as it is, and its slot is one of it.
    pub is_same: bool,
    /// It had all of its slot's data, and was no replacement.
    pub was_in_sync: bool,
    /// Nobody else is in its slot.
    pub is_free: bool,
    /// It calls none of those that are in sync anything but active: it was not used apart from them.
    pub agrees: bool,
    /// Its events.
    pub own_events: u64,
    /// The array's.
    pub events: u64,
    /// The array's when bits of its bitmap were last cleared, if it has one.
    pub events_cleared: Option<u64>,
}

/// Whether a disk comes back as the member that it was: all that it has missed is marked. The model checker drives this.
pub fn is_former(claim: &Claim) -> bool {
    let is_marked = claim
        .events_cleared
        .is_some_and(|cleared| claim.own_events >= cleared || is(Plant::FormerWithoutEvents));
    claim.is_same
        && claim.was_in_sync
        && claim.is_free
        && claim.agrees
        && is_marked
        && claim.own_events <= claim.events
}
