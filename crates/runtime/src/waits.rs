//! Who waits for whom, while it happens: who waits for somebody else's work says for what, and whose work it is. Work has a
//! rank, and whoever does it only ever waits for work of lower ranks: that is asserted. When nothing moves any more all the
//! same, the circle can be told ([`tell`]).
//!
//! [`rank`](crate::rank) is about what requests hold, this about those who work for all of them.
//!
//! Debug builds alone keep it, hence every test and simulation; in release builds it costs nothing.

use std::cell::Cell;
use std::fmt::Write;
use std::rc::Rc;

use crate::executor::core;

/// Somebody who works for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Worker {
    /// For people.
    pub name: &'static str,
    /// Only what those of lower ranks do is waited for.
    pub rank: u8,
}

/// Whoever has not said what it does: it may wait for everybody who has.
pub const ANYBODY: Worker = Worker { name: "a request", rank: u8::MAX };

/// Something that only somebody else's work brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Awaited {
    /// What.
    pub what: &'static str,
    /// Who does it.
    pub giver: Worker,
    /// Whether it always is there before anybody comes to wait for it, whatever ranks say.
    is_kept: bool,
}

/// Somebody who waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Who.
    pub who: Worker,
    /// For what.
    pub awaited: Awaited,
}

/// What one task does, and waits for.
pub(crate) struct Waits {
    does: Cell<Worker>,
    awaited: Cell<Option<Awaited>>,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { does: Cell::new(ANYBODY), awaited: Cell::new(None) }
    }
}

impl Waits {
    pub(crate) fn get(&self) -> Option<Waiting> {
        self.awaited.get().map(|awaited| Waiting { who: self.does.get(), awaited })
    }

    /// The task ends, and its place is another's.
    pub(crate) fn clear(&self) {
        self.does.set(ANYBODY);
        self.awaited.set(None);
    }
}

/// Says what the running task does until the guard is dropped.
pub fn doing(what: Worker) -> Doing {
    let waits = own();
    let before = waits.as_ref().map_or(ANYBODY, |waits| waits.does.replace(what));
    Doing { waits, before }
}

/// While this lives, its task does what it was made for.
pub struct Doing {
    waits: Option<Rc<Waits>>,
    before: Worker,
}

impl Drop for Doing {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            waits.does.set(self.before);
        }
    }
}

impl Awaited {
    /// Something that only `giver` brings.
    pub const fn new(what: &'static str, giver: Worker) -> Awaited {
        Awaited { what, giver, is_kept: false }
    }

    /// The same of something that is kept for whoever needs it, and so is there; nobody else's work brings it if not.
    pub const fn kept(what: &'static str, giver: Worker) -> Awaited {
        Awaited { what, giver, is_kept: true }
    }

    /// Says that the running task waits for this until the guard is dropped. Panics, in debug builds, when the task does work
    /// of the same rank or below.
    #[track_caller]
    pub fn begin(self) -> Begun {
        let waits = own();
        if let Some(does) = waits.as_ref().map(|waits| waits.does.get()) {
            let (who, giver) = (does.name, self.giver.name);
            assert!(
                self.is_kept || self.giver.rank < does.rank,
                "{who} waits for {}, of {giver}: out of order",
                self.what
            );
        }
        let before = waits.as_ref().and_then(|waits| waits.awaited.replace(Some(self)));
        Begun { waits, before }
    }
}

/// While this lives, its task waits.
pub struct Begun {
    waits: Option<Rc<Waits>>,
    before: Option<Awaited>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            waits.awaited.set(self.before);
        }
    }
}

fn own() -> Option<Rc<Waits>> {
    if cfg!(debug_assertions) { core().waits() } else { None }
}

/// Tells of a circle among those who wait, or else of all of them, and of whom they wait for in the end.
pub fn tell(waiting: &[Waiting]) -> String {
    let mut told = String::new();
    let mut line = |waiting: &Waiting| {
        let Waiting { who, awaited } = waiting;
        writeln!(told, "  {} waits for {}, which {} brings", who.name, awaited.what, awaited.giver.name)
            .expect("a string takes all");
    };
    if let Some(circle) = waiting.iter().find_map(|first| circle(waiting, first)) {
        circle.iter().for_each(&mut line);
        return format!("they wait in a circle:\n{told}");
    }
    let mut once: Vec<Waiting> = Vec::new();
    for one in waiting {
        if !once.contains(one) {
            once.push(*one);
            line(one);
        }
    }
    let idle = |giver: &Worker| !waiting.iter().any(|other| other.who == *giver);
    let idle = once.iter().map(|one| one.awaited.giver).find(|giver| idle(giver));
    match idle {
        Some(giver) => format!("they wait for {}, which does not know of it:\n{told}", giver.name),
        None => format!("nobody says for whom he waits:\n{told}"),
    }
}

/// The shortest way from somebody who waits back to him.
fn circle(waiting: &[Waiting], first: &Waiting) -> Option<Vec<Waiting>> {
    let mut ways = vec![vec![*first]];
    for _ in 0..waiting.len() {
        let ended = ways.iter().find(|way| way.last().is_some_and(|last| last.awaited.giver == first.who));
        if let Some(way) = ended {
            return Some(way.clone());
        }
        let longer = |way: &Vec<Waiting>| {
            let giver = way.last().map(|last| last.awaited.giver);
            let next = waiting.iter().filter(move |next| giver == Some(next.who));
            let fresh: Vec<Waiting> =
                next.filter(|next| way.iter().all(|seen| seen.who != next.who)).copied().collect();
            fresh
                .into_iter()
                .map(|next| way.iter().copied().chain([next]).collect())
                .collect::<Vec<Vec<Waiting>>>()
        };
        ways = ways.iter().flat_map(longer).take(waiting.len()).collect();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(who: &'static str, what: &'static str, giver: &'static str) -> Waiting {
        let worker = |name| Worker { name, rank: 1 };
        Waiting { who: worker(who), awaited: Awaited::new(what, worker(giver)) }
    }

    #[test]
    fn work_is_waited_for_by_higher_ranks_alone() {
        let [low, high] = [1, 2].map(|rank| Worker { name: "somebody", rank });
        let world = crate::sim::World::new(1);
        crate::Runtime::new(world).block_on(async {
            let _doing = doing(high);
            drop(Awaited::new("something", low).begin());
            drop(Awaited::kept("something", high).begin());
            let out_of_order = std::panic::AssertUnwindSafe(|| drop(Awaited::new("something", high).begin()));
            assert_eq!(std::panic::catch_unwind(out_of_order).is_err(), cfg!(debug_assertions));
        });
    }

    #[test]
    fn a_circle_is_told_without_those_who_only_wait_for_it() {
        let told = tell(&[
            waits("a request", "room in the journal", "the journal"),
            waits("the allocator", "an entry", "the journal"),
            waits("the journal", "a leaf", "the tree"),
            waits("the tree", "a bucket", "the allocator"),
        ]);
        let circle = "they wait in a circle:\n  the allocator waits for an entry, which the journal brings\n  \
                      the journal waits for a leaf, which the tree brings\n  the tree waits for a bucket, which the \
                      allocator brings\n";
        assert_eq!(told, circle);
    }

    #[test]
    fn who_waits_for_himself_is_a_circle() {
        assert!(
            tell(&[waits("the allocator", "a bucket", "the allocator")]).starts_with("they wait in a circle")
        );
    }

    #[test]
    fn without_a_circle_the_one_who_does_nothing_is_named() {
        let request = waits("a request", "room", "the journal");
        let told = tell(&[request, request, waits("the journal", "a leaf", "who writes leaves")]);
        assert!(told.starts_with("they wait for who writes leaves, which does not know of it"), "{told}");
        assert_eq!(told.lines().count(), 3, "each once: {told}");
        assert!(tell(&[]).starts_with("nobody"));
    }
}
