//! The members of an open array, in places that never change: who comes later gets a place behind the others, who goes
//! keeps his. So a request under way always knows whose answer it has.

use std::cell::{Cell, OnceCell};
use std::ops::Index;
use std::rc::Rc;

use crate::limits::{FAN_OUT, MEMBERS_ADDED};
use crate::member::Member;

/// A list that only grows, up to a size that is known at the start.
pub(crate) struct Roster {
    places: Box<[OnceCell<Rc<Member>>]>,
    len: Cell<usize>,
}

impl Roster {
    /// These members, with room for [`MEMBERS_ADDED`] more.
    pub fn new(members: Vec<Rc<Member>>) -> Roster {
        let len = members.len();
        let places = members.into_iter().map(OnceCell::from);
        Roster {
            places: places.chain((0..MEMBERS_ADDED).map(|_| OnceCell::new())).collect(),
            len: Cell::new(len),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len.get()
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Member>> + Clone {
        self.places[..self.len.get()].iter().map(|place| place.get().expect("taken up to the length"))
    }

    /// The members in order, as many together as are asked at once.
    pub fn waves(&self) -> impl Iterator<Item = impl Iterator<Item = &Rc<Member>> + Clone> {
        (0..self.len()).step_by(FAN_OUT).map(|first| self.iter().skip(first).take(FAN_OUT))
    }

    /// Gives a member the next place; `None` when there is no room.
    pub fn push(&self, member: Rc<Member>) -> Option<usize> {
        let at = self.len.get();
        self.places.get(at)?.set(member).ok().expect("free behind the length");
        self.len.set(at + 1);
        Some(at)
    }
}

impl Index<usize> for Roster {
    type Output = Rc<Member>;
    fn index(&self, at: usize) -> &Rc<Member> {
        self.places[at].get().expect("a member has this place")
    }
}
