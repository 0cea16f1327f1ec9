//! What the array does by itself: records, runs actions, seats spares, promotes.

use block::Sectors;
use md::Action;
use md::sync::decide::{self, Next, Want};

use crate::array::{ALL, DISKS, Disk, Kind, Member, Model, ROWS, Reached, Role, Running, State, Superblock};
use crate::array::{Violation, rows_below};

/// One event that is written to every superblock.
#[derive(Clone, Copy)]
pub struct Round {
    events: u8,
    /// What is said of all devices, where that is what they were when the array was opened.
    found: Option<[Role; DISKS]>,
    dirty: bool,
    resync: Option<u8>,
}

impl Model {
    /// What the engine can do by itself from here; nothing: it waits.
    pub fn steps(&self, state: &State) -> Vec<Result<State, Violation>> {
        let mut steps = Vec::new();
        if state.pending {
            let mut recorded = *state;
            recorded.record(state.dirty);
            steps.push(Ok(recorded));
        }
        match state.running {
            Some(running) => steps.push(Ok(self.advance(state, running))),
            None => match self.next(state) {
                Next::Wait => {}
                next => steps.push(self.carry_out(state, next)),
            },
        }
        if let Some(running) = state.running {
            if running.action == Action::Recover && self.is_too_early(state, running) {
                return vec![Err(Violation("S3: rows are rebuilt that a resync has not come by"))];
            }
            // The glue could ask at any moment: what it is told then must be to wait.
            match self.next(state) {
                Next::Wait => {}
                Next::Start(_) => steps.push(Err(Violation("S3: two actions run"))),
                Next::Seat { .. } => {
                    steps.push(Err(Violation("S2: a slot is taken while an action runs")));
                }
            }
        }
        steps
    }

    /// Whether the row that a recovery has come to could be made consistent first.
    fn is_too_early(&self, state: &State, running: Running) -> bool {
        running.at < ROWS
            && self.is_resync_possible(state)
            && state.resync.is_some_and(|at| at <= running.at)
            && running.at < self.resync_limit(state)
    }

    fn carry_out(&self, state: &State, next: Next) -> Result<State, Violation> {
        let mut state = *state;
        match next {
            Next::Wait => {}
            Next::Seat { member, slot, replaces } => {
                let Member::Spare { want } = state.disks[member].member else {
                    return Err(Violation("a slot is given to somebody who is no spare"));
                };
                let by_bitmap = decide::is_return(want, slot, replaces, self.has_bitmap);
                let slot = slot as u8;
                state.disks[member].member =
                    Member::Recovering { slot, done: 0, durable: 0, replaces, by_bitmap };
                state.pending = true;
            }
            Next::Start(action) => {
                let targets = state.recovering().fold(0, |set, at| set | 1 << at);
                let done = |at: usize| match state.disks[at].member {
                    Member::Recovering { done, by_bitmap, .. } => (done, by_bitmap),
                    _ => unreachable!("it is being rebuilt"),
                };
                let by_bitmap = action == Action::Recover
                    && decide::skips_unmarked(self.has_bitmap, state.recovering().map(|at| done(at).1));
                let from = match action {
                    Action::Resync => state.resync.expect("it is needed"),
                    Action::Recover => state.recovering().map(|at| done(at).0).min().unwrap_or(0),
                    Action::Check | Action::Repair => 0,
                };
                if action == Action::Resync {
                    state.record(state.dirty);
                }
                state.running = Some(Running { action, from, at: from, targets, by_bitmap });
            }
        }
        Ok(state)
    }

    /// One step of the action that runs: a row, or its end.
    fn advance(&self, state: &State, running: Running) -> State {
        let mut state = *state;
        let live = state.targets(running).count();
        let goes_on = match running.action {
            Action::Resync => running.at >= ROWS || running.at < self.resync_limit(&state),
            Action::Recover => self.suffices(state.in_sync()) && live > 0,
            Action::Check | Action::Repair => true,
        };
        if !goes_on || state.frozen {
            self.interrupt(&mut state);
        } else if running.at < ROWS {
            self.pass(&mut state, running, live);
            state.running = Some(Running { at: running.at + 1, ..running });
        } else {
            self.end(&mut state, running);
        }
        state
    }

    /// The row that the action has come to.
    fn pass(&self, state: &mut State, running: Running, live: usize) {
        let (row, bit) = (running.at, 1 << running.at);
        match running.action {
            Action::Check | Action::Repair => {}
            Action::Resync => {
                state.differ &= !bit;
                state.resync = Some(row + 1);
            }
            Action::Recover => {
                let targets: Vec<usize> = state.targets(running).collect();
                for at in targets {
                    if let Member::Recovering { done, .. } = &mut state.disks[at].member
                        && *done <= row
                    {
                        *done = row + 1;
                        if !running.by_bitmap || state.marked & bit != 0 {
                            state.disks[at].holds |= bit;
                        }
                    }
                }
                // Parity that is made anew belongs to the data.
                let rides = matches!(self.kind, Kind::Parity(_)) && !running.by_bitmap;
                if let Some(at) = state.resync
                    && rides
                    && running.from <= at
                    && at == row
                    && live == running.targets.count_ones() as usize
                {
                    state.differ &= !bit;
                    state.resync = Some(row + 1);
                }
            }
        }
    }

    /// An action ends where it is.
    pub fn interrupt(&self, state: &mut State) {
        if let Some(running) = state.running.take() {
            self.promote(state, running, 0);
        }
    }

    /// The end of an action, after the members were flushed.
    fn end(&self, state: &mut State, running: Running) {
        state.running = None;
        match running.action {
            Action::Resync => {
                state.resync = None;
                state.resync_durable = None;
                state.record(state.dirty);
            }
            Action::Check | Action::Repair => state.scrub = None,
            Action::Recover => {}
        }
        let complete = if running.action == Action::Recover { running.targets } else { 0 };
        let is_anybody = self.promote(state, running, complete);
        if is_anybody && matches!(self.kind, Kind::Parity(_)) && state.resync == Some(ROWS) {
            state.resync = None;
            state.resync_durable = None;
        }
    }

    /// Asks of everybody who is being rebuilt whether it is in sync now; `complete` are those with whom the action has come to
    /// its end.
    fn promote(&self, state: &mut State, running: Running, complete: u8) -> bool {
        let mut is_anybody = false;
        for at in 0..DISKS {
            let Member::Recovering { slot, replaces, .. } = state.disks[at].member else { continue };
            let reached = match complete >> at & 1 == 1 {
                true => Reached::Complete,
                false => Reached::At(Sectors(running.at.into())),
            };
            let end = Sectors(ROWS.into());
            if !decide::is_promoted(running.action, state.standing(at), Some(reached), end) {
                continue;
            }
            if replaces {
                let holder =
                    |disk: &Disk| matches!(disk.member, Member::InSync { slot: own, .. } if own == slot);
                if let Some(replaced) = state.disks.iter().position(holder) {
                    state.disks[replaced].member = Member::Faulty;
                }
            }
            state.disks[at].member = Member::InSync { slot, unwanted: false };
            state.pending = true;
            is_anybody = true;
        }
        is_anybody
    }

    /// Clients write these rows: whoever is not written to has no longer what belongs there.
    pub fn write(&self, state: &State, rows: u8) -> Option<State> {
        let mut state = *state;
        if !self.suffices(state.in_sync()) || state.pending {
            return None;
        }
        if !state.dirty {
            state.record(true);
        }
        if self.has_bitmap {
            state.marked |= rows;
        }
        for disk in state.disks.iter_mut().filter(|disk| !disk.member.is_written()) {
            disk.holds &= !rows;
        }
        Some(state)
    }

    /// Nothing was written for a while: everything is flushed, and the superblocks say so.
    pub fn rest(&self, state: &State) -> State {
        let mut state = *state;
        state.flush();
        state.record(false);
        state
    }

    /// Flushes, then records how far everybody is: also exactly at the end.
    pub fn checkpoint(&self, state: &State) -> State {
        let mut state = *state;
        state.flush();
        state.record(state.dirty);
        state
    }

    /// Bits are cleared where nothing can differ, while nobody is missing.
    pub fn clear(&self, state: &State) -> Option<State> {
        let needed = state.resync.map_or(0, |at| ALL & !rows_below(at));
        let is_due = self.has_bitmap && state.in_sync() == usize::from(self.slots);
        (is_due && state.marked & !needed != 0).then_some(State {
            marked: state.marked & needed,
            cleared: state.events,
            ..*state
        })
    }
}

impl State {
    fn recovering(&self) -> impl Iterator<Item = usize> + use<> {
        let disks = self.disks;
        (0..DISKS).filter(move |at| matches!(disks[*at].member, Member::Recovering { .. }))
    }

    fn targets(&self, running: Running) -> impl Iterator<Item = usize> + use<> {
        self.recovering().filter(move |at| running.targets >> at & 1 == 1)
    }

    fn flush(&mut self) {
        for disk in &mut self.disks {
            if let Member::Recovering { done, durable, .. } = &mut disk.member {
                *durable = *done;
            }
        }
        self.resync_durable = self.resync;
    }

    /// What is written to the superblocks, one event after the other, to record what there is to record.
    pub fn rounds(&self, dirty: bool) -> Vec<Round> {
        let mut rounds = Vec::new();
        if self.behind.is_some() {
            // What the freshest superblock says, to all.
            let dirty = self.resync == Some(0);
            rounds.push(Round { events: self.events, found: self.behind, dirty, resync: self.resync });
        }
        let times = if self.pending || self.short { md::limits::MEMBERSHIP_EVENTS } else { 1 };
        rounds.extend((1..=times).map(|nth| Round {
            events: self.events + nth as u8,
            found: None,
            dirty,
            resync: self.resync_durable,
        }));
        rounds
    }

    /// Writes one event to those of the members that are among `to`, as bits.
    pub fn write_round(&mut self, round: &Round, to: u8) {
        let role = |disk: &Disk| match disk.member {
            Member::InSync { slot, .. } | Member::Recovering { slot, .. } => Role::Active(slot),
            Member::Spare { .. } => Role::Spare,
            Member::Faulty => Role::Faulty,
            Member::Away => Role::None,
        };
        let mut roles = [Role::None; DISKS];
        for (at, disk) in self.disks.iter().enumerate() {
            roles[at] = match (round.found, disk.member) {
                // A newcomer, whose number somebody else had.
                (Some(_), member) if self.newcomers >> at & 1 == 1 && member.is_recorded() => Role::Spare,
                (Some(found), _) => found[at],
                (None, _) => role(disk),
            };
        }
        for (at, disk) in self.disks.iter_mut().enumerate() {
            if !disk.member.is_recorded() || to >> at & 1 == 0 {
                continue;
            }
            let (recovery, replacement) = match disk.member {
                _ if round.found.is_some() => (disk.own.recovery, disk.own.replacement),
                Member::Recovering { durable, by_bitmap, replaces, .. } => {
                    (Some((durable, by_bitmap)), replaces)
                }
                _ => (None, false),
            };
            let resync = if round.dirty { Some(0) } else { round.resync };
            disk.own = Superblock { events: round.events, roles, recovery, replacement, resync };
        }
    }

    /// Everything that there is to record is recorded, on every member.
    pub fn record(&mut self, dirty: bool) {
        for round in self.rounds(dirty) {
            self.write_round(&round, u8::MAX);
            self.events = round.events;
        }
        for disk in &mut self.disks {
            if let Member::Recovering { done: 0, by_bitmap: false, .. } = disk.member {
                disk.holds = 0; // from now on it may be written: whatever was there before counts for nothing
            }
        }
        self.pending = false;
        self.short = false;
        self.behind = None;
        self.newcomers = 0;
        self.dirty = dirty;
    }
}

/// What a client may have written when the power went.
pub fn under_way(model: &Model, state: &State) -> u8 {
    match (state.dirty, model.has_bitmap) {
        (false, _) => 0,
        (true, true) => state.marked,
        (true, false) => ALL,
    }
}

/// A disk is given to the array as a spare: nothing of what it was is left.
pub fn as_spare(state: &mut State, at: usize) {
    let roles = state.disks.iter().find(|disk| matches!(disk.member, Member::InSync { .. }));
    let mut roles = roles.map_or([Role::None; DISKS], |disk| disk.own.roles);
    roles[at] = Role::Spare;
    let own =
        Superblock { events: state.events, roles, recovery: None, replacement: false, resync: state.resync };
    state.disks[at] = Disk { member: Member::Spare { want: Want::Any }, holds: 0, own };
}
