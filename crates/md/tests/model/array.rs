//! The array that is modelled: who its members are, what they really hold, what their superblocks say, and what must hold
//! of all that.

use block::Sectors;
use md::sync::decide::{self, Next, Resync, Scrub, Standing, View, Want};
use md::{Action, sync};

/// Rows of the array.
pub const ROWS: u8 = 2;

/// What a member holds of each row, as bits: the right data.
pub type Rows = u8;

pub const ALL: Rows = (1 << ROWS) - 1;

/// Disks, at most.
pub const DISKS: usize = 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// So many parities.
    Parity(u8),
    Copies,
}

/// What one exploration is about.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub kind: Kind,
    /// Members that the array has at first.
    pub slots: u8,
    /// Spares that it has beside them.
    pub spares: u8,
    pub has_bitmap: bool,
    pub has_power_cuts: bool,
    /// A person asks for scrubs and replacements, and interrupts.
    pub has_requests: bool,
    /// Things from outside in one run: failures at the worst moments, and what a person and power cuts do about them.
    pub events: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Member {
    InSync {
        slot: u8,
        unwanted: bool,
    },
    Recovering {
        slot: u8,
        done: u8,
        /// What of that was flushed.
        durable: u8,
        replaces: bool,
        by_bitmap: bool,
    },
    Spare {
        want: Want,
    },
    Faulty,
    /// The array knows nothing of it.
    Away,
}

impl Member {
    /// Whether writes go to it.
    pub fn is_written(self) -> bool {
        matches!(self, Member::InSync { .. } | Member::Recovering { .. })
    }

    /// Whether superblocks are written to it.
    pub fn is_recorded(self) -> bool {
        !matches!(self, Member::Faulty | Member::Away)
    }
}

/// A device's role in a superblock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    Active(u8),
    Spare,
    Faulty,
    /// There is no such device.
    None,
}

/// What a superblock says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Superblock {
    pub events: u8,
    pub roles: [Role; DISKS],
    /// How far its own member is rebuilt, and whether only what is marked is missing.
    pub recovery: Option<(u8, bool)>,
    pub replacement: bool,
    /// Rows before this one are consistent; `None`: all are.
    pub resync: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Disk {
    pub member: Member,
    pub holds: Rows,
    pub own: Superblock,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Running {
    pub action: Action,
    pub from: u8,
    pub at: u8,
    /// Whom a recovery was begun for, as bits.
    pub targets: u8,
    /// It passes over what is not marked.
    pub by_bitmap: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub disks: [Disk; DISKS],
    /// Rows before this one are known to be consistent; `None`: all are.
    pub resync: Option<u8>,
    /// How far that was when the members were last flushed.
    pub resync_durable: Option<u8>,
    /// Rows that really may differ between the members.
    pub differ: Rows,
    pub running: Option<Running>,
    /// A change of membership is not on record yet.
    pub pending: bool,
    /// The next round of superblocks records one, though nobody waits for it: the array goes on without a member.
    pub short: bool,
    /// Some superblock is an event behind, and these are the active devices that are not here.
    pub behind: Option<[Role; DISKS]>,
    /// Who has come since it was opened, while some superblock is behind, as bits.
    pub newcomers: u8,
    /// The superblocks say that writes may be under way.
    pub dirty: bool,
    pub scrub: Option<Scrub>,
    pub frozen: bool,
    pub events: u8,
    /// Rows that the bitmap marks, and the events when bits were last cleared.
    pub marked: Rows,
    pub cleared: u8,
    /// Failures, removals and other things from outside that are still to come.
    pub events_left: u8,
}

/// Something that must not be.
#[derive(Debug)]
pub struct Violation(pub &'static str);

/// The highest events there are: [`State::normalized`] takes the others closer to it.
const NEWEST: u8 = 100;

impl Model {
    pub fn disks(&self) -> usize {
        usize::from(self.slots + self.spares)
    }

    pub fn first(&self, resync: Option<u8>) -> State {
        let role = |at: usize| match at {
            at if at < usize::from(self.slots) => Role::Active(at as u8),
            at if at < self.disks() => Role::Spare,
            _ => Role::None,
        };
        let roles = std::array::from_fn(role);
        let own = Superblock { events: NEWEST, roles, recovery: None, replacement: false, resync };
        let disk = |at: usize| {
            let (member, holds) = match roles[at] {
                Role::Active(slot) => (Member::InSync { slot, unwanted: false }, ALL),
                Role::Spare => (Member::Spare { want: Want::Any }, 0),
                Role::Faulty | Role::None => (Member::Away, 0),
            };
            Disk { member, holds, own }
        };
        State {
            disks: std::array::from_fn(disk),
            resync,
            resync_durable: resync,
            differ: resync.map_or(0, |at| ALL & !rows_below(at)),
            running: None,
            pending: false,
            short: false,
            behind: None,
            newcomers: 0,
            dirty: false,
            scrub: None,
            frozen: false,
            events: NEWEST,
            marked: if self.has_bitmap && resync.is_some() { ALL } else { 0 },
            cleared: NEWEST,
            events_left: self.events,
        }
    }

    pub fn suffices(&self, in_sync: usize) -> bool {
        match self.kind {
            Kind::Parity(parities) => in_sync + usize::from(parities) >= usize::from(self.slots),
            Kind::Copies => in_sync > 0,
        }
    }

    /// Where a resync ends for now: parity needs everybody's rows.
    pub fn resync_limit(&self, state: &State) -> u8 {
        let held = |slot: u8| {
            let of_slot = state.disks.iter().filter_map(|disk| match disk.member {
                Member::InSync { slot: own, .. } if own == slot => Some(ROWS),
                Member::Recovering { slot: own, done, replaces: false, .. } if own == slot => Some(done),
                _ => None,
            });
            of_slot.max().unwrap_or(0)
        };
        match self.kind {
            Kind::Copies => ROWS,
            Kind::Parity(_) => (0..self.slots).map(held).min().unwrap_or(0),
        }
    }

    pub fn is_resync_possible(&self, state: &State) -> bool {
        state.resync.is_some_and(|at| at < self.resync_limit(state))
    }

    pub fn next(&self, state: &State) -> Next {
        let resync = match state.resync {
            None => Resync::Complete,
            Some(_) if self.is_resync_possible(state) => Resync::Possible,
            Some(_) => Resync::Impossible,
        };
        decide::next(&View {
            writable: true,
            frozen: state.frozen,
            running: state.running.is_some(),
            pending: state.pending,
            slots: self.slots.into(),
            enough: self.suffices(state.in_sync()),
            resync,
            stuck: false,
            scrub: state.scrub,
            members: &state.standings(),
        })
    }

    /// What must hold of every state.
    pub fn check(&self, state: &State) -> Result<(), Violation> {
        for disk in &state.disks {
            let needed = match disk.member {
                Member::InSync { .. } => ALL,
                Member::Recovering { done, .. } => rows_below(done),
                _ => 0,
            };
            if disk.holds & needed != needed {
                return Err(Violation("S1: a member counts as holding what it does not hold"));
            }
            if let (Member::Recovering { .. }, Some((recorded, _))) = (disk.member, disk.own.recovery)
                && !state.pending
                && disk.holds & rows_below(recorded) != rows_below(recorded)
            {
                return Err(Violation("S4: a superblock says more than is there"));
            }
        }
        for slot in 0..self.slots {
            let holds = |disk: &&Disk| match disk.member {
                Member::InSync { slot: own, .. } | Member::Recovering { slot: own, replaces: false, .. } => {
                    own == slot
                }
                _ => false,
            };
            if state.disks.iter().filter(holds).count() > 1 {
                return Err(Violation("two members are in one slot"));
            }
        }
        let known = state.resync.map_or(0, |at| ALL & !rows_below(at));
        match state.differ & !known == 0 {
            true => Ok(()),
            false => Err(Violation("S6: rows that may differ count as consistent")),
        }
    }

    /// Whether something that could be made whole is not.
    pub fn is_left_as_it_is(&self, state: &State) -> bool {
        let any = |is_it: &dyn Fn(&Member) -> bool| state.disks.iter().any(|disk| is_it(&disk.member));
        let has_spare = any(&|member| matches!(member, Member::Spare { .. }));
        let is_rebuilding = any(&|member| matches!(member, Member::Recovering { .. }));
        let is_whole = state.in_sync() == usize::from(self.slots);
        let for_any = any(&|member| matches!(member, Member::Spare { want: Want::Any }));
        let is_unwanted = any(&|member| matches!(member, Member::InSync { unwanted: true, .. }));
        let could_be_better = is_rebuilding || (!is_whole && has_spare) || (is_unwanted && for_any);
        (self.suffices(state.in_sync()) && could_be_better)
            || self.is_resync_possible(state)
            || state.scrub.is_some()
    }
}

impl State {
    fn standings(&self) -> [Standing; DISKS] {
        self.disks.map(|disk| match disk.member {
            Member::InSync { slot, unwanted } => Standing::InSync { slot: slot.into(), unwanted },
            Member::Recovering { slot, replaces, .. } => Standing::Recovering { slot: slot.into(), replaces },
            Member::Spare { want } => Standing::Spare { fits: true, want },
            Member::Faulty | Member::Away => Standing::Faulty,
        })
    }

    pub fn standing(&self, at: usize) -> Standing {
        self.standings()[at]
    }

    pub fn in_sync(&self) -> usize {
        self.disks.iter().filter(|disk| matches!(disk.member, Member::InSync { .. })).count()
    }

    /// The same, with events that are as far apart as it matters: older or not, and one behind or further.
    pub fn normalized(mut self) -> State {
        let mut all = [0; DISKS + 2];
        all[0] = self.events;
        all[1] = self.cleared;
        for (at, disk) in self.disks.iter().enumerate() {
            all[at + 2] = disk.own.events;
        }
        all.sort_unstable();
        let closer = |events: u8| {
            let above = all.windows(2).filter(|pair| pair[0] >= events);
            NEWEST - above.map(|pair| (pair[1] - pair[0]).min(2)).sum::<u8>()
        };
        self.events = closer(self.events);
        self.cleared = closer(self.cleared);
        for disk in &mut self.disks {
            disk.own.events = closer(disk.own.events);
        }
        self
    }
}

/// The rows before this one.
pub fn rows_below(row: u8) -> Rows {
    (1 << row) - 1
}

/// A row's position in sectors, where each has so many.
pub fn position(row: u8, sectors: u64) -> Sectors {
    Sectors(u64::from(row) * sectors)
}

pub use sync::decide::Reached;
