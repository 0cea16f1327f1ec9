//! Assembly: from a pile of examined disks, in any order, to the arrays they make. Pure.
//!
//! The rules are md's. The freshest superblock is the one with the most events among those that are not spares. A member
//! may be one event behind: then it takes its role from the freshest superblock, which may say that it has failed. A
//! member further behind is stale. A member that says the freshest has failed belongs to a half that went its own way.

mod hindrances;
pub(crate) use hindrances::recorded_layout;
#[cfg(test)]
mod tests;

use std::fmt;

use md_format::superblock::{Recovery, Summary};
use md_format::{Features, Role, Version};

use crate::array::Options;
use crate::error::Hindrance;
use crate::examine::Examined;
use crate::level::parity::log::{self, private};

/// A disk that takes part in assembly.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What people call it.
    pub name: String,
    /// What it says it is.
    pub examined: Examined,
}

/// What makes disks parts of one array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetKey {
    /// The array's uuid.
    pub uuid: [u8; 16],
    /// The family of the metadata; 0.90 and 1.x never mix.
    pub version: Version,
}

/// A place in an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// Which candidate, by its number in the pile.
    pub candidate: usize,
    /// Its permanent number.
    pub dev_number: u32,
    /// Whether it holds all of its slot's data. One that is still being rebuilt does not.
    pub in_sync: bool,
    /// How far it is rebuilt, by its own superblock.
    pub recovery: Option<Recovery>,
    /// It is to take the place of the member that sits in its slot.
    pub replaces: bool,
}

impl Seat {
    fn spare(candidate: usize, dev_number: u32) -> Seat {
        Seat { candidate, dev_number, in_sync: false, recovery: None, replaces: false }
    }
}

/// The disks of one array, sorted out.
#[derive(Clone, Debug)]
pub struct Set {
    /// Which array.
    pub key: SetKey,
    /// The candidate whose superblock counts.
    pub freshest: usize,
    /// Who sits in each slot.
    pub slots: Vec<Option<Seat>>,
    /// Who is to take whose place, by slot.
    pub replacements: Vec<(u16, Seat)>,
    /// The write journal.
    pub journal: Option<Seat>,
    /// Spares, by candidate.
    pub spares: Vec<Seat>,
    /// Who was left out, and why.
    pub left_out: Vec<LeftOut>,
    /// What forbids opening it at all.
    pub unreadable: Vec<Hindrance>,
    /// What forbids opening it for writing, beside the above.
    pub unwritable: Vec<Hindrance>,
    /// What a person may allow with `--degraded`.
    pub short: Option<Short>,
    /// Members are missing, and what the others say of their data may be wrong: a person may allow that with
    /// `--dirty-degraded`.
    pub dirty_degraded: bool,
}

impl Set {
    /// What the freshest superblock says, but for a log that was being added when the power failed.
    pub(crate) fn summary(&self, candidates: &[Candidate]) -> Summary {
        let freshest = candidates[self.freshest].examined.summary;
        let replacements = self.replacements.iter().map(|(_, seat)| seat);
        let seats = self.slots.iter().flatten().chain(replacements).chain(&self.spares);
        let others = seats.map(|seat| &candidates[seat.candidate].examined.summary);
        Summary { ppl: log::counted(&freshest, others), ..freshest }
    }

    /// Whether its members remember a private log that does not count any more (ADR 18).
    pub fn has_void_private_log(&self, candidates: &[Candidate]) -> bool {
        private::is_void(self, candidates)
    }

    /// What forbids opening it with these options.
    pub fn forbidding(&self, options: &Options) -> Vec<Hindrance> {
        let mut found = self.unreadable.clone();
        if options.layout.is_some() {
            found.retain(|hindrance| *hindrance != Hindrance::NoLayout);
        }
        if self.dirty_degraded && !options.dirty_degraded {
            found.push(Hindrance::DirtyDegraded);
        }
        if options.write {
            found.extend(self.unwritable.iter().cloned());
        }
        if let Some(short) = self.short.filter(|_| !options.degraded) {
            found.push(Hindrance::Degraded { present: short.present, slots: short.slots });
        }
        found
    }
}

/// Missing members that the level can do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Short {
    /// Slots whose member is here and in sync.
    pub present: u32,
    /// All slots.
    pub slots: u32,
}

/// A disk that is not used, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// Which candidate.
    pub candidate: usize,
    /// Why.
    pub reason: Reason,
}

/// Why a disk is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Its superblock does not hold together.
    Flawed(md_format::FormatError),
    /// Its superblock describes the array differently from the freshest one.
    Foreign,
    /// Its superblock is too old.
    Stale {
        /// Its events.
        events: u64,
        /// The freshest one's.
        freshest: u64,
    },
    /// The freshest superblock says that it has failed.
    Failed,
    /// It says that the freshest member has failed.
    Diverged,
    /// It is the same member as another candidate, which is fresher or came first.
    Duplicate {
        /// The other.
        of: usize,
    },
    /// It was to replace a member, and there is another one for that.
    Replacement,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Flawed(error) => write!(f, "its superblock is not valid: {error}"),
            Reason::Foreign => {
                f.write_str("its superblock describes the array differently from the freshest one")
            }
            Reason::Stale { events, freshest } => {
                write!(f, "it is stale: {events} events, the freshest member has {freshest}")
            }
            Reason::Failed => f.write_str("the freshest member says that it has failed or was removed"),
            Reason::Diverged => f.write_str("it says that the freshest member has failed"),
            Reason::Duplicate { .. } => f.write_str("it is a copy of another member that is here"),
            Reason::Replacement => {
                f.write_str("it was to replace a member, and there is another one for that")
            }
        }
    }
}

/// Sorts a pile of disks into arrays. Nothing is refused here: what forbids opening stands in each [`Set`].
pub fn assemble(candidates: &[Candidate]) -> Vec<Set> {
    let mut keys: Vec<SetKey> = Vec::new();
    for candidate in candidates {
        let key = key_of(&candidate.examined.summary);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.into_iter().map(|key| sort_out(key, candidates)).collect()
}

fn key_of(summary: &Summary) -> SetKey {
    // 1.0, 1.1 and 1.2 of one array do not mix either: the place is part of the format.
    SetKey { uuid: summary.array_uuid, version: summary.version }
}

fn sort_out(key: SetKey, candidates: &[Candidate]) -> Set {
    let mut sorting = Sorting { candidates, left_out: Vec::new(), unreadable: Vec::new() };
    let mut own: Vec<usize> =
        (0..candidates.len()).filter(|at| key_of(&candidates[*at].examined.summary) == key).collect();
    let all = own.clone();
    own.retain(|at| sorting.is_sound(*at));
    own.retain(|at| sorting.is_single(*at, &all));
    let freshest = sorting.freshest(&own).unwrap_or(all[0]);
    own.retain(|at| sorting.is_of_the_same_array(*at, freshest));
    own.retain(|at| sorting.is_not_diverged(*at, freshest));
    let mut set = Set {
        key,
        freshest,
        slots: vec![None; slots_of(&candidates[freshest].examined.summary)],
        replacements: Vec::new(),
        journal: None,
        spares: Vec::new(),
        left_out: Vec::new(),
        unreadable: Vec::new(),
        unwritable: Vec::new(),
        short: None,
        dirty_degraded: false,
    };
    for at in own {
        sorting.seat(at, freshest, &mut set);
    }
    for (slot, seat) in std::mem::take(&mut set.replacements) {
        match &mut set.slots[usize::from(slot)] {
            Some(held) if held.in_sync => set.replacements.push((slot, seat)),
            Some(_) => drop(sorting.leave_out(seat.candidate, Reason::Replacement)),
            // Whom it was to replace is gone: it goes on for the slot itself.
            free => {
                let in_sync = seat.recovery.is_none();
                *free = Some(Seat { in_sync, replaces: false, ..seat });
            }
        }
    }
    set.left_out = sorting.left_out;
    set.unreadable = sorting.unreadable;
    hindrances::find(&mut set, candidates);
    set
}

/// A hostile `raid_disks` must not make us take memory without end: no superblock has more entries than this.
fn slots_of(summary: &Summary) -> usize {
    summary.raid_disks.min(md_format::limits::V1_MAX_DEVICES) as usize
}

struct Sorting<'a> {
    candidates: &'a [Candidate],
    left_out: Vec<LeftOut>,
    unreadable: Vec<Hindrance>,
}

impl Sorting<'_> {
    fn summary(&self, at: usize) -> &Summary {
        &self.candidates[at].examined.summary
    }

    fn leave_out(&mut self, candidate: usize, reason: Reason) -> bool {
        self.left_out.push(LeftOut { candidate, reason });
        false
    }

    fn is_sound(&mut self, at: usize) -> bool {
        match self.candidates[at].examined.flaw {
            Some(flaw) => self.leave_out(at, Reason::Flawed(flaw)),
            None => true,
        }
    }

    /// A member that is there twice: the fresher copy counts; of equals nobody can tell, and nothing is opened.
    fn is_single(&mut self, at: usize, all: &[usize]) -> bool {
        let own = *self.summary(at);
        for &other in all {
            let theirs = *self.summary(other);
            let same = own.dev_number == theirs.dev_number
                && own.device_uuid == theirs.device_uuid
                && self.candidates[other].examined.flaw.is_none();
            if other == at || !same {
                continue;
            }
            if theirs.events > own.events {
                return self.leave_out(at, Reason::Duplicate { of: other });
            }
            if theirs.events == own.events && other < at {
                let (one, other_name) = (self.name(other), self.name(at));
                self.unreadable.push(Hindrance::Twice { one, other: other_name });
                return self.leave_out(at, Reason::Duplicate { of: other });
            }
        }
        true
    }

    fn name(&self, at: usize) -> String {
        self.candidates[at].name.clone()
    }

    /// Most events among those that hold a slot, and of equals one that is in sync; among all, if none holds a slot.
    fn freshest(&self, own: &[usize]) -> Option<usize> {
        let rank = |at: usize| (self.summary(at).events, self.summary(at).recovery.is_none());
        let holds_slot = |at: &usize| matches!(self.summary(*at).role, Role::Active(_));
        let most = |choice: &mut dyn Iterator<Item = usize>| {
            choice.reduce(|best, at| if rank(at) > rank(best) { at } else { best })
        };
        most(&mut own.iter().copied().filter(holds_slot)).or_else(|| most(&mut own.iter().copied()))
    }

    fn is_of_the_same_array(&mut self, at: usize, freshest: usize) -> bool {
        let candidates = self.candidates;
        let (own, best) = (candidates[at].examined.superblock(), candidates[freshest].examined.superblock());
        // On 0.90 the comparison takes in fields that every metadata write changes on all members but the stale ones.
        let same = match self.summary(at).version {
            Version::V0_90 => {
                let shape = |s: &Summary| (s.array_uuid, s.level, s.layout, s.chunk_sectors, s.ctime_s);
                shape(self.summary(at)) == shape(self.summary(freshest))
            }
            _ => own.is_same_array(&best),
        };
        if same { true } else { self.leave_out(at, Reason::Foreign) }
    }

    fn is_not_diverged(&mut self, at: usize, freshest: usize) -> bool {
        let candidates = self.candidates;
        let best = *self.summary(freshest);
        let own = *self.summary(at);
        let is_active = |role| matches!(role, Role::Active(_));
        if at == freshest || !is_active(own.role) || !is_active(best.role) {
            return true;
        }
        // A member that was absent is not called faulty by those that went on without it, only no longer active. Nor is a
        // spare, which may be the only one on which it is on record that it was given a slot: it tells nothing about halves.
        let is_being_rebuilt = best.recovery.is_some() || best.replacement;
        let knows_best =
            is_being_rebuilt || is_active(candidates[at].examined.superblock().role_of(best.dev_number));
        let is_known = is_active(candidates[freshest].examined.superblock().role_of(own.dev_number));
        let equal = own.events == best.events;
        if knows_best && (is_known || !equal) {
            return true;
        }
        if equal {
            let (one, other) = (self.name(freshest), self.name(at));
            self.unreadable.push(Hindrance::Diverged { one, other });
        }
        self.leave_out(at, Reason::Diverged)
    }

    /// Gives a member the place that the freshest superblock has for it.
    fn seat(&mut self, at: usize, freshest: usize, set: &mut Set) {
        let (own, best) = (*self.summary(at), *self.summary(freshest));
        if own.role == Role::Spare {
            set.spares.push(Seat::spare(at, own.dev_number));
            return;
        }
        if own.events.saturating_add(1) < best.events {
            self.leave_out(at, Reason::Stale { events: own.events, freshest: best.events });
            return;
        }
        let role = match own.events == best.events {
            true => own.role,
            false => self.candidates[freshest].examined.superblock().role_of(own.dev_number),
        };
        // A disk that was the journal, or was to become it when the power failed, is nothing else by itself.
        if own.role == Role::Journal && (role != Role::Journal || !best.features.has(Features::JOURNAL)) {
            self.leave_out(at, Reason::Failed);
            return;
        }
        let slot = match role {
            Role::Active(slot) if usize::from(slot) < set.slots.len() => usize::from(slot),
            Role::Active(_) => {
                self.leave_out(at, Reason::Foreign);
                return;
            }
            Role::Journal => {
                set.journal = Some(Seat::spare(at, own.dev_number));
                return;
            }
            Role::Spare => {
                set.spares.push(Seat::spare(at, own.dev_number));
                return;
            }
            Role::Faulty => {
                self.leave_out(at, Reason::Failed);
                return;
            }
        };
        let (in_sync, recovery) = (own.recovery.is_none(), own.recovery);
        let seat = Seat { candidate: at, dev_number: own.dev_number, in_sync, recovery, replaces: false };
        if own.replacement {
            // Whether somebody sits there whom it replaces is known when all have a place.
            let seat = Seat { in_sync: false, replaces: true, ..seat };
            if set.replacements.iter().any(|(of, _)| usize::from(*of) == slot) {
                self.leave_out(at, Reason::Replacement);
            } else {
                set.replacements.push((slot as u16, seat));
            }
            return;
        }
        match set.slots[slot] {
            None => set.slots[slot] = Some(seat),
            Some(held) => {
                let (one, other) = (self.name(held.candidate), self.name(at));
                self.unreadable.push(Hindrance::Twice { one, other });
                self.leave_out(at, Reason::Duplicate { of: held.candidate });
            }
        }
    }
}
