//! What forbids using a set: missing members, and what its metadata asks for that is not built yet.

use md_format::geometry::raid0;
use md_format::superblock::Summary;
use md_format::{ByteOrder, Features, Level, ResyncOffset, Role};

use super::{Candidate, Set, Short};
use crate::bitmap;
use crate::error::Hindrance;
use crate::level::parity::{journal, log};
use crate::limits::FAN_OUT;
use crate::redundancy::Redundancy;

/// Fills in `unreadable`, `unwritable` and `short`.
pub(super) fn find(set: &mut Set, candidates: &[Candidate]) {
    let summary = set.summary(candidates);
    if let Some(flaw) = candidates[set.freshest].examined.flaw {
        set.unreadable.push(Hindrance::Format(flaw));
        return;
    }
    level(set, &summary, candidates);
    members(set, &summary, candidates);
    features(set, &summary, candidates);
    log_in_use(set, &summary, candidates);
}

fn level(set: &mut Set, summary: &Summary, candidates: &[Candidate]) {
    match summary.level {
        Level::Linear | Level::Raid1 | Level::Raid10 => {}
        Level::Raid0 => {
            let sizes: Option<Vec<u64>> = set
                .slots
                .iter()
                .map(|seat| seat.map(|seat| candidates[seat.candidate].examined.summary.data_size))
                .collect();
            // With members missing nobody can say; that they are missing is said anyway.
            let Some(sizes) = sizes else { return };
            let zones = raid0::zones(&sizes, summary.chunk_sectors);
            if raid0::layout(recorded_layout(summary), zones).is_none() {
                set.unreadable.push(Hindrance::NoLayout);
            }
        }
        Level::Raid4 | Level::Raid5 | Level::Raid6 => {
            if let Err(hindrance) = crate::level::parity_map(summary) {
                set.unreadable.push(hindrance);
            }
        }
        Level::Other(_) => {} // said where its redundancy is asked for
    }
    let copies = Redundancy::of(summary).ok().and_then(|redundancy| redundancy.copies(summary.raid_disks));
    if let Some(found) = copies.filter(|copies| *copies > FAN_OUT) {
        set.unreadable.push(Hindrance::TooManyCopies { found: found as u32, limit: FAN_OUT });
    }
}

/// raid0's layout counts only when a feature bit says that it was recorded.
pub(crate) fn recorded_layout(summary: &Summary) -> u32 {
    if summary.features.has(Features::RAID0_LAYOUT) { summary.layout } else { 0 }
}

fn members(set: &mut Set, summary: &Summary, candidates: &[Candidate]) {
    let slots = set.slots.len() as u32;
    let has = |slot: u32| set.slots[slot as usize].is_some_and(|seat| seat.in_sync);
    let present = (0..slots).filter(|slot| has(*slot)).count() as u32;
    let redundancy = match Redundancy::of(summary) {
        Ok(redundancy) => redundancy,
        Err(hindrance) => return set.unreadable.push(hindrance),
    };
    if slots == 0 {
        set.unreadable.push(Hindrance::Shape("the superblock says that the array has no members"));
    } else if !redundancy.suffices(slots, has) {
        let needed = redundancy.needed(slots, present);
        set.unreadable.push(Hindrance::TooFew { present, needed, slots });
    } else if present < slots {
        let seated = set.slots.iter().flatten().count() as u32;
        set.short = (seated < slots).then_some(Short { present, slots });
        let is_clean = summary.resync == ResyncOffset::Complete;
        // A log knows what may be wrong.
        let is_logged = summary.ppl.is_some() || log::private::is_bound(set, candidates);
        set.dirty_degraded = matches!(redundancy, Redundancy::Parity(_)) && !is_clean && !is_logged;
    }
}

fn features(set: &mut Set, summary: &Summary, candidates: &[Candidate]) {
    let features = summary.features;
    if features.unknown() != 0 {
        set.unreadable.push(Hindrance::UnknownFeatures(features.unknown()));
    }
    if summary.reshape.is_some() {
        set.unreadable.push(Hindrance::Feature("finishing a reshape"));
    }
    if features.has(Features::CLUSTERED) {
        set.unwritable.push(Hindrance::Feature("a clustered bitmap"));
    } else if summary.bitmap.is_some() && !Redundancy::of(summary).is_ok_and(Redundancy::is_any) {
        set.unwritable.push(Hindrance::Feature("a write-intent bitmap on a level without redundancy"));
    } else {
        let in_sync = set.slots.iter().flatten().filter(|seat| seat.in_sync);
        let members: Vec<_> = in_sync.map(|seat| &candidates[seat.candidate].examined).collect();
        set.unwritable.extend(bitmap::hindrance(&candidates[set.freshest].examined, &members));
    }
    if summary.role == Role::Journal {
        set.unreadable.push(Hindrance::Shape("only its write journal is here"));
    } else if features.has(Features::JOURNAL) {
        // The kernel opens it for reading alone, too, when the journal is missing.
        let missing = Hindrance::Shape(
            "its write journal is missing, and with it what was last written: name the journal's disk too; without it the \
             array can only be read",
        );
        let found = set.journal.map(|seat| &candidates[seat.candidate].examined);
        set.unwritable.extend(found.map_or(Some(missing), |found| journal::hindrance(summary, found)));
        set.dirty_degraded |= set.journal.is_none() && set.short.is_some();
    }
    let in_sync = set.slots.iter().flatten().filter(|seat| seat.in_sync);
    let members: Vec<_> = in_sync.map(|seat| &candidates[seat.candidate].examined).collect();
    set.unwritable.extend(log::hindrance(summary, &members));
    if summary.byte_order == ByteOrder::Big {
        set.unwritable.push(Hindrance::BigEndian);
    }
}

/// Members whose own superblock asks for something that a level without redundancy cannot give.
fn log_in_use(set: &mut Set, summary: &Summary, candidates: &[Candidate]) {
    let mut seats = set.slots.iter().flatten().chain(&set.spares);
    let bad_blocks = seats.any(|seat| !candidates[seat.candidate].examined.bad_blocks.is_empty());
    if bad_blocks && !Redundancy::of(summary).is_ok_and(Redundancy::is_any) {
        set.unwritable.push(Hindrance::Feature("known bad blocks on a level without redundancy"));
    }
}
