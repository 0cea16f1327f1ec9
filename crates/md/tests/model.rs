//! Exhaustive model checking of the sync state machine: `md::sync::decide`, driven through every order of failures, spares
//! that come, members that are let go and come back, crashes, checkpoints and steps of the engine, over a short array.
//!
//! The decisions are the engine's own, what carries them out is modelled: rows are a few, and for each member it is known
//! which of them it really holds. After every step it must hold that
//!
//! - whoever counts as in sync holds every row (S1);
//! - what superblocks say of a member's rows is there, durably (S4);
//! - nobody enters a slot while an action runs, and no two actions run (S2, S3);
//! - when nothing more comes from outside, everything that can be made whole is made whole, in a bounded number of steps.

use std::collections::{HashSet, VecDeque};

use block::Sectors;
use md::Action;
use md::sync::decide::Want;
use md::sync::decide::{self, Next, Plant, Reached, Resync, Scrub, Standing, View};

/// Rows of the array.
const ROWS: u8 = 2;

/// What a member holds of each row, as bits: the right data.
type Holds = u8;

const ALL: Holds = (1 << ROWS) - 1;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Member {
    InSync {
        slot: u8,
        unwanted: bool,
    },
    Recovering {
        slot: u8,
        done: u8,
        durable: u8,
        replaces: bool,
    },
    Spare {
        want: Want,
    },
    Faulty,
    /// Not plugged in.
    Away,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Disk {
    member: Member,
    holds: Holds,
    /// What its superblock, and those of the others, say of it: what a crash leaves.
    recorded: Member,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Running {
    action: Action,
    at: u8,
    /// Whom a recovery was begun for.
    targets: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    disks: [Disk; DISKS],
    /// Rows before this one are known to be consistent; `None`: all are.
    resync: Option<u8>,
    resync_recorded: Option<u8>,
    running: Option<Running>,
    /// A change of membership is not on record yet.
    pending: bool,
    scrub: bool,
    frozen: bool,
    /// Failures, removals and other things from outside that are still to come.
    events_left: u8,
}

/// Members that the array has at first, and spares.
const MEMBERS: usize = 4;
const SPARES: usize = 2;
const DISKS: usize = MEMBERS + SPARES;

/// The array is one with a single parity: it can do without one member.
const SLOTS: u16 = MEMBERS as u16;

/// Things from outside in one run: two failures at the worst moments, and what a person and a crash do about them.
const EVENTS: u8 = 4;

/// Something that must not be.
#[derive(Debug)]
struct Violation(&'static str);

impl State {
    fn first(resync: Option<u8>) -> State {
        let disk = |at: usize| {
            let member = match at < MEMBERS {
                true => Member::InSync { slot: at as u8, unwanted: false },
                false => Member::Spare { want: Want::Any },
            };
            Disk { member, holds: if at < MEMBERS { ALL } else { 0 }, recorded: member }
        };
        State {
            disks: std::array::from_fn(disk),
            resync,
            resync_recorded: resync,
            running: None,
            pending: false,
            scrub: false,
            frozen: false,
            events_left: EVENTS,
        }
    }

    fn standings(&self) -> [Standing; DISKS] {
        self.disks.map(|disk| match disk.member {
            Member::InSync { slot, unwanted } => Standing::InSync { slot: slot.into(), unwanted },
            Member::Recovering { slot, replaces, .. } => Standing::Recovering { slot: slot.into(), replaces },
            Member::Spare { want } => Standing::Spare { fits: true, want },
            Member::Faulty | Member::Away => Standing::Faulty,
        })
    }

    fn in_sync(&self) -> usize {
        self.disks.iter().filter(|disk| matches!(disk.member, Member::InSync { .. })).count()
    }

    fn has_enough(&self) -> bool {
        self.in_sync() + 1 >= MEMBERS
    }

    fn next(&self) -> Next {
        let resync = match self.resync {
            None => Resync::Complete,
            Some(_) if self.in_sync() == MEMBERS => Resync::Possible,
            Some(_) => Resync::Impossible,
        };
        decide::next(&View {
            writable: true,
            frozen: self.frozen,
            running: self.running.is_some(),
            pending: self.pending,
            slots: SLOTS,
            enough: self.has_enough(),
            resync,
            stuck: false,
            scrub: self.scrub.then_some(Scrub::Check),
            members: &self.standings(),
        })
    }

    /// What the engine can do by itself from here; nothing: it waits.
    fn steps(&self) -> Vec<Result<State, Violation>> {
        let mut steps = Vec::new();
        if self.pending {
            let mut state = *self;
            state.record();
            steps.push(Ok(state));
        }
        match self.running {
            Some(running) => steps.push(self.advance(running)),
            None => match self.next() {
                Next::Wait => {}
                next => steps.push(self.carry_out(next)),
            },
        }
        // The glue could ask at any moment: what it is told then must be to wait.
        if self.running.is_some() {
            match self.next() {
                Next::Wait => {}
                Next::Start(_) => steps.push(Err(Violation("S3: two actions run"))),
                next @ Next::Seat { .. } => steps.push(
                    self.carry_out(next).and(Err(Violation("S2: a slot is taken while an action runs"))),
                ),
            }
        }
        steps
    }

    fn record(&mut self) {
        for disk in &mut self.disks {
            disk.recorded = match disk.member {
                Member::Recovering { slot, durable, replaces, .. } => {
                    Member::Recovering { slot, done: durable, durable, replaces }
                }
                other => other,
            };
            // From here on clients are answered without it: what it has is out of date.
            if disk.member == Member::Faulty {
                disk.holds = 0;
            }
        }
        self.pending = false;
    }

    fn carry_out(&self, next: Next) -> Result<State, Violation> {
        let mut state = *self;
        match next {
            Next::Wait => {}
            Next::Seat { member, slot, replaces } => {
                let Member::Spare { .. } = state.disks[member].member else {
                    return Err(Violation("a slot is given to somebody who is no spare"));
                };
                state.disks[member].member =
                    Member::Recovering { slot: slot as u8, done: 0, durable: 0, replaces };
                // Whatever was there before counts for nothing.
                state.disks[member].holds = 0;
                state.pending = true;
            }
            Next::Start(action) => {
                let is_target = |disk: &Disk| matches!(disk.member, Member::Recovering { .. });
                let targets =
                    (0..DISKS).filter(|at| is_target(&state.disks[*at])).fold(0, |set, at| set | 1 << at);
                let from = match action {
                    Action::Resync => state.resync.expect("it is needed"),
                    Action::Recover => state.recovery_start(),
                    Action::Check | Action::Repair => 0,
                };
                state.running = Some(Running { action, at: from, targets });
            }
        }
        Ok(state)
    }

    fn recovery_start(&self) -> u8 {
        let done = self.disks.iter().filter_map(|disk| match disk.member {
            Member::Recovering { done, .. } => Some(done),
            _ => None,
        });
        done.min().unwrap_or(0)
    }

    /// One step of the action that runs: a row, or its end.
    fn advance(&self, running: Running) -> Result<State, Violation> {
        let mut state = *self;
        let goes_on = match running.action {
            Action::Resync => self.in_sync() == MEMBERS,
            Action::Recover => self.has_enough() && self.targets(running).count() > 0,
            Action::Check | Action::Repair => true,
        };
        if !goes_on || self.frozen {
            state.running = None;
            state.promote(running, 0);
            return Ok(state);
        }
        if running.at < ROWS {
            if running.action == Action::Recover
                && self.resync.is_some_and(|at| at <= running.at)
                && self.in_sync() == MEMBERS
            {
                return Err(Violation("S3: rows are rebuilt that a resync has not come by"));
            }
            for at in self.targets(running) {
                if running.action != Action::Recover {
                    continue;
                }
                if let Member::Recovering { done, .. } = &mut state.disks[at].member
                    && *done <= running.at
                {
                    *done = running.at + 1;
                    state.disks[at].holds |= 1 << running.at;
                }
            }
            if running.action == Action::Resync {
                state.resync = Some(running.at + 1);
            }
            if running.action == Action::Recover
                && let Some(at) = &mut state.resync
                && *at == running.at
            {
                *at += 1; // parity that is made anew belongs to the data
            }
            state.running = Some(Running { at: running.at + 1, ..running });
            return Ok(state);
        }
        state.end(running);
        Ok(state)
    }

    fn targets(&self, running: Running) -> impl Iterator<Item = usize> {
        let disks = self.disks;
        (0..DISKS).filter(move |at| {
            running.targets >> at & 1 == 1 && matches!(disks[*at].member, Member::Recovering { .. })
        })
    }

    /// The end of an action, after the members were flushed.
    fn end(&mut self, running: Running) {
        self.running = None;
        match running.action {
            Action::Resync => {
                self.resync = None;
                self.resync_recorded = None;
            }
            Action::Check | Action::Repair => self.scrub = false,
            Action::Recover => {}
        }
        let done = if running.action == Action::Recover { running.targets } else { 0 };
        self.promote(running, done);
        if running.action == Action::Recover && self.resync == Some(ROWS) && self.in_sync() == MEMBERS {
            self.resync = None;
            self.resync_recorded = None;
        }
    }

    /// Asks of everybody who is being rebuilt whether it is in sync now; `complete` are those with whom the action has come to
    /// its end.
    fn promote(&mut self, running: Running, complete: u8) {
        let standings = self.standings();
        for (at, standing) in standings.into_iter().enumerate() {
            let Member::Recovering { slot, replaces, .. } = self.disks[at].member else { continue };
            let reached = match complete >> at & 1 == 1 {
                true => Reached::Complete,
                false => Reached::At(Sectors(running.at.into())),
            };
            if !decide::is_promoted(running.action, standing, Some(reached), Sectors(ROWS.into())) {
                continue;
            }
            if replaces {
                let holder =
                    |disk: &Disk| matches!(disk.member, Member::InSync { slot: own, .. } if own == slot);
                if let Some(replaced) = self.disks.iter().position(holder) {
                    self.disks[replaced].member = Member::Faulty;
                }
            }
            self.disks[at].member = Member::InSync { slot, unwanted: false };
            self.pending = true;
        }
    }

    /// What can come from outside.
    fn events(&self) -> Vec<State> {
        let mut events = Vec::new();
        if self.events_left == 0 {
            return events;
        }
        let mut push = |change: &dyn Fn(&mut State)| {
            let mut state = *self;
            change(&mut state);
            state.events_left -= 1;
            events.push(state);
        };
        for at in 0..DISKS {
            match self.disks[at].member {
                Member::InSync { slot, .. } => {
                    if self.in_sync() == MEMBERS {
                        push(&|state| state.fail(at));
                    }
                    push(&|state| state.disks[at].member = Member::InSync { slot, unwanted: true });
                }
                Member::Recovering { .. } | Member::Spare { .. } => push(&|state| state.fail(at)),
                // Whoever is let go of is gone when that is on record.
                Member::Faulty if !self.pending => push(&|state| {
                    state.disks[at].member = Member::Away;
                    state.pending = true;
                }),
                // It comes back, as a new one: its own superblock says so first.
                Member::Away if !self.pending => push(&|state| {
                    state.disks[at].member = Member::Spare { want: Want::Any };
                    state.disks[at].recorded = state.disks[at].member;
                    state.disks[at].holds = 0;
                    state.pending = true;
                }),
                Member::Faulty | Member::Away => {}
            }
        }
        push(&|state| state.checkpoint());
        // A client writes: should the power go now, everything may differ.
        push(&|state| state.resync_recorded = Some(0));
        push(&|state| state.crash());
        if !self.scrub {
            push(&|state| state.scrub = true);
        }
        push(&|state| state.frozen = !state.frozen);
        events
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

    /// Flushes, then records how far everything is: also exactly at the end.
    fn checkpoint(&mut self) {
        for disk in &mut self.disks {
            if let Member::Recovering { done, durable, .. } = &mut disk.member {
                *durable = *done;
            }
        }
        self.resync_recorded = self.resync;
        self.record();
    }

    /// The power goes, and everything is opened again: by what is recorded.
    fn crash(&mut self) {
        self.running = None;
        self.scrub = false;
        self.frozen = false;
        self.pending = false;
        // A number that equals the end is no completion (S4).
        let believed = |at: u8| if at >= ROWS { 0 } else { at };
        self.resync = self.resync_recorded.map(believed);
        self.resync_recorded = self.resync;
        for disk in &mut self.disks {
            disk.member = match disk.recorded {
                Member::Recovering { slot, durable, replaces, .. } => {
                    let done = believed(durable);
                    Member::Recovering { slot, done, durable: done, replaces }
                }
                Member::InSync { slot, .. } => Member::InSync { slot, unwanted: false },
                other => other,
            };
            disk.recorded = disk.member;
        }
    }

    fn check(&self) -> Result<(), Violation> {
        for disk in &self.disks {
            let needed = match disk.member {
                Member::InSync { .. } => ALL,
                Member::Recovering { done, .. } => (1 << done) - 1,
                _ => 0,
            };
            if disk.holds & needed != needed {
                return Err(Violation("S1: a member counts as holding what it does not hold"));
            }
            let recorded = match disk.recorded {
                Member::InSync { .. } => ALL,
                Member::Recovering { done, .. } => (1 << done) - 1,
                _ => 0,
            };
            // A disk that has failed keeps what it has; what is recorded of it is on its way to the superblocks.
            if !self.pending && disk.holds & recorded != recorded {
                return Err(Violation("S4: a superblock says more than is there"));
            }
        }
        for slot in 0..SLOTS as u8 {
            let holders = self.disks.iter().filter(|disk| match disk.member {
                Member::InSync { slot: own, .. } | Member::Recovering { slot: own, replaces: false, .. } => {
                    own == slot
                }
                _ => false,
            });
            if holders.count() > 1 {
                return Err(Violation("two members are in one slot"));
            }
        }
        Ok(())
    }

    /// With nothing more from outside, everything that can be made whole becomes so, and then nothing moves.
    fn settles(&self) -> Result<(), Violation> {
        let mut state = State { frozen: false, events_left: 0, ..*self };
        for _ in 0..200 {
            match state.steps().into_iter().next() {
                Some(step) => state = step?,
                None => break,
            }
        }
        if !state.steps().is_empty() {
            return Err(Violation("P3: it never comes to rest"));
        }
        let has_spare = state.disks.iter().any(|disk| matches!(disk.member, Member::Spare { .. }));
        let is_rebuilding = state.disks.iter().any(|disk| matches!(disk.member, Member::Recovering { .. }));
        let is_whole = state.in_sync() == MEMBERS;
        match state.has_enough()
            && (is_rebuilding || (!is_whole && has_spare) || (is_whole && state.resync.is_some()))
        {
            true => Err(Violation("P3: what could be made whole is left as it is")),
            false => Ok(()),
        }
    }
}

/// Every state that can be reached, looked at; how many there are.
fn explore(plant: Option<Plant>) -> Result<usize, Violation> {
    decide::plant(plant);
    let outcome = explore_planted();
    decide::plant(None);
    outcome
}

fn explore_planted() -> Result<usize, Violation> {
    let first = [None, Some(0), Some(1)].map(State::first);
    let mut seen: HashSet<State> = first.into_iter().collect();
    let mut to_do: VecDeque<State> = first.into_iter().collect();
    while let Some(state) = to_do.pop_front() {
        state.check()?;
        state.settles()?;
        for next in state.steps().into_iter().chain(state.events().into_iter().map(Ok)) {
            let next = next?;
            if seen.insert(next) {
                to_do.push_back(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn nobody_counts_as_in_sync_without_the_data_in_any_order_of_things() {
    let states = explore(None).unwrap();
    assert!(states > 100_000, "only {states} states were reached");
    println!("{states} states");
}

#[cfg(debug_assertions)]
#[test]
fn a_spare_that_is_taken_while_an_action_runs_is_found() {
    let violation = explore(Some(Plant::SeatWhileRunning)).unwrap_err();
    assert!(violation.0.starts_with("S2"), "{violation:?}");
}

#[cfg(debug_assertions)]
#[test]
fn a_position_that_counts_as_the_end_because_it_equals_it_is_found() {
    explore(Some(Plant::CompleteByNumber)).unwrap_err();
}

#[cfg(debug_assertions)]
#[test]
fn everybody_becoming_in_sync_at_the_end_of_any_action_is_found() {
    let violation = explore(Some(Plant::PromoteAll)).unwrap_err();
    assert!(violation.0.starts_with("S1"), "{violation:?}");
}

#[cfg(debug_assertions)]
#[test]
fn a_rebuild_from_what_a_resync_has_not_come_by_is_found() {
    let violation = explore(Some(Plant::RecoveryFirst)).unwrap_err();
    assert!(violation.0.starts_with("S3"), "{violation:?}");
}
