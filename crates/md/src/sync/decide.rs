//! What the sync engine does next, and what an action that has ended means. Pure: the one place where this is decided.
//!
//! One task asks [`next`] and does what it says, so two actions never run at once and nobody takes a slot while one runs
//! (S2, S3). What comes first: a resync that is possible, then spares for empty slots and for members that are to be
//! replaced, then the rebuilding of whoever is in a slot without its data, then what a person has asked for. A resync
//! comes before a recovery because the latter trusts the copies it reads.
//!
//! Old ways of being wrong can be planted here, for the model checker to find: see [`Plant`].

use std::cell::Cell;

use block::Sectors;
use md_format::ResyncOffset;

use super::Action;
pub use crate::member::Want;

/// How a member stands, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// In sync, in this slot.
    InSync {
        /// Which.
        slot: u16,
        /// A replacement for it is wanted.
        unwanted: bool,
    },
    /// In this slot, not all of its data there.
    Recovering {
        /// Which.
        slot: u16,
        /// Beside a member that has it.
        replaces: bool,
    },
    /// Waits for a slot.
    Spare {
        /// It is large enough.
        fits: bool,
        /// What it waits for.
        want: Want,
    },
    /// Out.
    Faulty,
}

/// What a person has asked for that runs when nothing more urgent does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scrub {
    /// Compare, and write nothing.
    Check,
    /// Compare, and make what differs agree.
    Repair,
}

impl Scrub {
    /// The action that it is.
    pub const fn action(self) -> Action {
        match self {
            Scrub::Check => Action::Check,
            Scrub::Repair => Action::Repair,
        }
    }
}

/// Whether a resync is needed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Resync {
    /// Everything is consistent.
    Complete,
    /// Something may not be, and what is there is enough to make it so.
    Possible,
    /// Something may not be, and what would be needed to make it so is missing.
    Impossible,
}

/// All that the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The array may be written, and nothing has broken it.
    pub writable: bool,
    /// A person has forbidden every action.
    pub frozen: bool,
    /// An action runs.
    pub running: bool,
    /// A change of membership is not on record yet.
    pub pending: bool,
    /// Slots of the array.
    pub slots: u16,
    /// All data is within reach.
    pub enough: bool,
    /// What a resync would do.
    pub resync: Resync,
    /// A recovery has found that it cannot go on, and nothing has changed since.
    pub stuck: bool,
    /// What is asked for.
    pub scrub: Option<Scrub>,
    /// The members, by their places.
    pub members: &'a [Standing],
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Next {
    /// Nothing now.
    Wait,
    /// A spare takes a slot.
    Seat {
        /// Its place.
        member: usize,
        /// The slot.
        slot: u16,
        /// Beside the member that is in it.
        replaces: bool,
    },
    /// An action starts.
    Start(Action),
}

/// What to do next.
pub fn next(view: &View<'_>) -> Next {
    if !view.writable || view.frozen || (view.running && !is(Plant::SeatWhileRunning)) || view.pending {
        return Next::Wait;
    }
    let resync = match view.resync {
        Resync::Possible => Some(Next::Start(Action::Resync)),
        Resync::Complete | Resync::Impossible => None,
    };
    let scrub = view.scrub.map(|scrub| Next::Start(scrub.action()));
    let chosen = match is(Plant::RecoveryFirst) {
        false => resync.or_else(|| seat(view)).or_else(|| recovery(view)).or(scrub),
        true => seat(view).or_else(|| recovery(view)).or(resync).or(scrub),
    };
    match chosen {
        Some(Next::Start(_)) if view.running => Next::Wait,
        Some(next) => next,
        None => Next::Wait,
    }
}

/// A spare for an empty slot, or else for one whose member is to be replaced. Who comes back to its own slot goes first.
fn seat(view: &View<'_>) -> Option<Next> {
    if !view.enough {
        return None;
    }
    let spare = |wanted: Want| {
        let is_it =
            |member: &Standing| matches!(member, Standing::Spare { fits: true, want } if *want == wanted);
        view.members.iter().position(is_it)
    };
    let holds = |member: &Standing, of: u16| match member {
        Standing::InSync { slot, .. } | Standing::Recovering { slot, replaces: false } => *slot == of,
        _ => false,
    };
    let empty = (0..view.slots).filter(|slot| !view.members.iter().any(|member| holds(member, *slot)));
    for slot in empty {
        let own = || spare(Want::Former(slot)).or_else(|| spare(Want::Replace(slot)));
        // A former member whose own slot is taken is as good as any other. One that is to replace a member that works is
        // taken last, but it is: somebody who is missing comes before somebody who is unwanted.
        let other = |want: fn(u16) -> Want| (0..view.slots).find_map(|slot| spare(want(slot)));
        let any = || spare(Want::Any).or_else(|| other(Want::Former)).or_else(|| other(Want::Replace));
        if let Some(member) = own().or_else(any) {
            return Some(Next::Seat { member, slot, replaces: false });
        }
    }
    let is_unwanted = |of: &u16| {
        view.members.contains(&Standing::InSync { slot: *of, unwanted: true })
            && !view.members.contains(&Standing::Recovering { slot: *of, replaces: true })
    };
    (0..view.slots).filter(is_unwanted).find_map(|slot| {
        let member = spare(Want::Replace(slot)).or_else(|| spare(Want::Any))?;
        Some(Next::Seat { member, slot, replaces: true })
    })
}

fn recovery(view: &View<'_>) -> Option<Next> {
    let any = view.members.iter().any(|member| matches!(member, Standing::Recovering { .. }));
    (any && view.enough && !view.stuck).then_some(Next::Start(Action::Recover))
}

/// How far an action came with one member, or with the array.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reached {
    /// Up to here.
    At(Sectors),
    /// To the end: everything that there was to do was done by this very run, or by those before it that it went on from.
    Complete,
}

/// Whether a member becomes in sync when an action has ended: only if it was that action's to rebuild, and has all of
/// its data (S1). `reached` is how far the action came with this member, or where it ended; `end` is where its rows end.
pub fn is_promoted(action: Action, standing: Standing, reached: Option<Reached>, end: Sectors) -> bool {
    let is_in_slot = matches!(standing, Standing::Recovering { .. });
    if is(Plant::PromoteAll) {
        return is_in_slot;
    }
    if is(Plant::ReplacementEarly) && matches!(standing, Standing::Recovering { replaces: true, .. }) {
        return action == Action::Recover;
    }
    if is(Plant::CompleteByNumber) && matches!(reached, Some(Reached::At(at)) if at >= end) {
        return is_in_slot;
    }
    action == Action::Recover && is_in_slot && reached == Some(Reached::Complete)
}

/// Whether who takes a slot needs only what the bitmap marks: it comes back to the slot that was its own.
pub fn is_return(want: Want, slot: u16, replaces: bool, has_bitmap: bool) -> bool {
    want == Want::Former(slot) && !replaces && has_bitmap
}

/// Whether a recovery passes over what the bitmap does not mark: only if none of those whom it is for lacks more.
pub fn skips_unmarked(has_bitmap: bool, mut lacks_marked_only: impl Iterator<Item = bool>) -> bool {
    has_bitmap
        && match is(Plant::SkipForOne) {
            false => lacks_marked_only.all(|it| it),
            true => lacks_marked_only.any(|it| it),
        }
}

/// What is believed of a recorded position. A number that lies at the end of the array, or behind it, is no completion:
/// nothing is known then, and everything is synced again (S4).
pub fn believed(recorded: ResyncOffset, size: Sectors) -> ResyncOffset {
    match recorded {
        ResyncOffset::At(position) if position >= size.0 => ResyncOffset::At(0),
        other => other,
    }
}

/// The same of a member's rows, which end at `end`.
pub fn believed_rows(recorded: Sectors, end: Sectors) -> Sectors {
    if recorded < end { recorded } else { Sectors::ZERO }
}

/// A defect that the model checker must find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// A spare is taken into a slot while an action runs.
    SeatWhileRunning,
    /// A position that equals the end counts as the end.
    CompleteByNumber,
    /// Whoever is in a slot is in sync when an action ends.
    PromoteAll,
    /// Members are rebuilt from copies that a resync has not come by.
    RecoveryFirst,
    /// A replacement takes over wherever its recovery ends.
    ReplacementEarly,
    /// A member comes back by the bitmap although bits were cleared that it has missed.
    FormerWithoutEvents,
    /// A recovery passes over what is not marked if one of its members lacks no more than that.
    SkipForOne,
}

thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// Plants a defect in this thread's decisions, or takes it out again. Release builds take no notice.
pub fn plant(plant: Option<Plant>) {
    PLANTED.set(plant);
}

pub(crate) fn is(plant: Plant) -> bool {
    cfg!(debug_assertions) && PLANTED.get() == Some(plant)
}
