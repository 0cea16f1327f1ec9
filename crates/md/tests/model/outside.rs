//! What comes from outside: failures, a person, clients, power cuts.

use md::admission::{Claim, is_former};
use md::sync::decide::{Scrub, Want};

use crate::array::{ALL, DISKS, Disk, Member, Model, Role, State, Violation};
use crate::disks;
use crate::engine::{as_spare, under_way};

impl Model {
    /// What can come at any time and as often as it likes, because after a few times nothing is new: clients, flushes, the
    /// clearing of bits.
    pub fn ordinary(&self, state: &State) -> Vec<State> {
        // With a bitmap one row is written, and the other never.
        let rows = if self.has_bitmap { 1 } else { ALL };
        let mut all: Vec<State> = self.write(state, rows).into_iter().collect();
        all.extend(self.clear(state));
        all.push(self.rest(state));
        if state.running.is_some() {
            all.push(self.checkpoint(state));
        }
        all
    }

    /// What can come a few times in all.
    pub fn events(&self, state: &State) -> Result<Vec<State>, Violation> {
        let mut events = Vec::new();
        if state.events_left == 0 {
            return Ok(events);
        }
        let left = State { events_left: state.events_left - 1, ..*state };
        for at in 0..self.disks() {
            self.events_of(&left, at, &mut events);
        }
        if self.has_requests {
            self.requests(&left, &mut events);
        }
        if self.has_power_cuts {
            self.power_cuts(&left, &mut events)?;
        }
        Ok(events)
    }

    /// What a person asks of the engine.
    fn requests(&self, left: &State, events: &mut Vec<State>) {
        let mut push = |change: &dyn Fn(&mut State)| {
            let mut state = *left;
            change(&mut state);
            events.push(state);
        };
        if left.scrub.is_none() {
            push(&|state| state.scrub = Some(if self.has_bitmap { Scrub::Repair } else { Scrub::Check }));
        }
        if left.running.is_some() {
            push(&|state| {
                state.scrub = None;
                self.interrupt(state);
            });
        }
        push(&|state| state.frozen = !state.frozen);
    }

    fn events_of(&self, left: &State, at: usize, events: &mut Vec<State>) {
        let mut push = |change: &dyn Fn(&mut State)| {
            let mut state = *left;
            change(&mut state);
            events.push(state);
        };
        match left.disks[at].member {
            Member::InSync { slot, .. } => {
                if self.suffices(left.in_sync() - 1) {
                    push(&|state| state.fail(at));
                }
                if !self.has_requests {
                    return;
                }
                push(&|state| state.disks[at].member = Member::InSync { slot, unwanted: true });
                // By a certain one.
                let spare = |at: &usize| matches!(left.disks[*at].member, Member::Spare { .. });
                if let Some(with) = (0..self.disks()).rfind(spare) {
                    push(&|state| {
                        state.disks[at].member = Member::InSync { slot, unwanted: true };
                        state.disks[with].member = Member::Spare { want: Want::Replace(slot.into()) };
                    });
                }
            }
            Member::Recovering { .. } | Member::Spare { .. } => push(&|state| state.fail(at)),
            // Whoever is let go of is gone when that is on record.
            Member::Faulty if !left.pending => push(&|state| {
                state.disks[at].member = Member::Away;
                state.pending = true;
            }),
            Member::Away if !left.pending => push(&|state| self.add(state, at)),
            Member::Faulty | Member::Away => {}
        }
    }

    /// A disk comes back: as the member that it was, or as a new one.
    fn add(&self, state: &mut State, at: usize) {
        let own = state.disks[at].own;
        let former = match own.roles[at] {
            Role::Active(slot) => Some(slot).filter(|slot| is_former(&self.claim(state, at, *slot))),
            _ => None,
        };
        match former {
            Some(slot) => state.disks[at].member = Member::Spare { want: Want::Former(slot.into()) },
            None => as_spare(state, at),
        }
        if state.behind.is_some() {
            state.newcomers |= 1 << at;
        }
        state.pending = true;
    }

    fn claim(&self, state: &State, at: usize, slot: u8) -> Claim {
        let own = state.disks[at].own;
        let sits = |member: &Member| match member {
            Member::InSync { slot: other, .. } | Member::Recovering { slot: other, .. } => *other == slot,
            _ => false,
        };
        let in_sync =
            (0..self.disks()).filter(|other| matches!(state.disks[*other].member, Member::InSync { .. }));
        Claim {
            is_same: true,
            was_in_sync: own.recovery.is_none() && !own.replacement,
            is_free: !state.disks.iter().any(|disk| sits(&disk.member)),
            agrees: { in_sync }.all(|other| matches!(own.roles[other], Role::Active(_))),
            own_events: own.events.into(),
            events: state.events.into(),
            events_cleared: self.has_bitmap.then_some(state.cleared.into()),
        }
    }

    /// The power goes, at this moment or while superblocks are written, and everything that is found is opened again: all
    /// that was ever plugged in, or only those that were members, or all but one.
    fn power_cuts(&self, state: &State, events: &mut Vec<State>) -> Result<(), Violation> {
        let everybody = rows_of(self.disks());
        let known = |at: &usize| state.disks[*at].member.is_recorded();
        // Who comes back belongs to it only when that is on record.
        let comes_back = |at: &usize| {
            let Disk { member, own, .. } = state.disks[*at];
            matches!(member, Member::Spare { .. }) && matches!(own.roles[*at], Role::Active(_))
        };
        // Who has failed is found like the others until that is on record.
        let fails = |at: &usize| {
            let calls_it_active = |disk: &Disk| {
                matches!(disk.member, Member::InSync { .. }) && matches!(disk.own.roles[*at], Role::Active(_))
            };
            state.disks[*at].member == Member::Faulty && state.disks.iter().any(calls_it_active)
        };
        let members = (0..self.disks()).filter(|at| fails(at) || known(at) && !comes_back(at));
        let members = members.fold(0, |set, at| set | 1 << at);
        self.found_again(state, members, events)?;
        for at in (0..self.disks()).filter(known) {
            let is_in_sync = matches!(state.disks[at].member, Member::InSync { .. });
            if is_in_sync && !state.pending && self.suffices(state.in_sync() - 1) {
                events.push(self.reopen(state, members & !(1 << at))?);
            }
        }
        if !state.pending && !state.short && state.behind.is_none() && state.dirty {
            return Ok(()); // nothing is being recorded
        }
        let rounds = state.rounds(state.dirty || !state.pending);
        let mut begun = *state;
        for round in &rounds {
            for at in (0..self.disks()).filter(known) {
                let bit = 1 << at;
                // Who was promoted is written before the others.
                let first = begun.promoted();
                let torn = match first & bit != 0 {
                    true => [bit, first & !bit],
                    false => [first | bit, everybody & !bit],
                };
                for to in torn {
                    let mut torn = begun;
                    torn.write_round(round, to);
                    self.found_again(&torn, members, events)?;
                }
            }
            begun.write_round(round, everybody);
        }
        Ok(())
    }

    /// The members are found again, or everything that was ever plugged in. Whoever was away meanwhile may tell a different
    /// story, with as many events: then a person has to decide, and nothing is opened.
    fn found_again(&self, state: &State, members: u8, events: &mut Vec<State>) -> Result<(), Violation> {
        let everybody = rows_of(self.disks());
        events.push(self.reopen(state, members)?);
        if members != everybody {
            events.extend(self.reopen(state, everybody).ok());
        }
        Ok(())
    }

    /// What is found is opened, by what the superblocks say.
    fn reopen(&self, state: &State, found: u8) -> Result<State, Violation> {
        let superblocks = std::array::from_fn(|at| (found >> at & 1 == 1).then_some(state.disks[at].own));
        let Some(opened) = disks::open(self, &superblocks) else {
            return Err(Violation("P3: what a power cut has left cannot be opened"));
        };
        let mut state = State { differ: state.differ | under_way(self, state), ..*state };
        for (disk, member) in state.disks.iter_mut().zip(opened.members) {
            disk.member = member;
        }
        Ok(State {
            running: None,
            scrub: None,
            frozen: false,
            pending: false,
            short: opened.is_short,
            behind: opened.behind,
            newcomers: 0,
            dirty: false,
            resync: opened.resync,
            resync_durable: opened.resync,
            events: opened.events,
            ..state
        })
    }
}

/// So many bits.
fn rows_of(count: usize) -> u8 {
    ((1_u16 << count) - 1) as u8
}

impl State {
    /// Who is in sync and has not said so in its superblock, as bits.
    fn promoted(&self) -> u8 {
        let is_promoted = |disk: &Disk| {
            matches!(disk.member, Member::InSync { .. })
                && (disk.own.recovery.is_some() || disk.own.replacement)
        };
        (0..DISKS).filter(|at| is_promoted(&self.disks[*at])).fold(0, |set, at| set | 1 << at)
    }

    fn fail(&mut self, at: usize) {
        let before = std::mem::replace(&mut self.disks[at].member, Member::Faulty);
        if let Member::InSync { slot, .. } = before {
            for disk in &mut self.disks {
                if let Member::Recovering { slot: own, replaces, .. } = &mut disk.member
                    && *own == slot
                {
                    *replaces = false;
                }
            }
        }
        self.pending = true;
    }
}
