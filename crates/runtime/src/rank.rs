//! Ranks: the one order in which things are waited for, checked while it happens.
//!
//! A task that holds something and waits for something else can be part of a circle. There is none if everybody
//! only ever waits for what ranks *below* all they hold. A [`Rank`] is the height of the layer and the step within
//! it; [`Rank::wait`] asserts the rule in debug builds, hence in every test and simulation, and costs nothing in
//! release builds.

use std::cell::RefCell;
use std::rc::Rc;

use crate::executor::core;

/// The step of a wait within its layer; later variants are waited for later, so they rank lower.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// A request slot of the layer.
    Slot,
    /// What a piece of work needs that may have to wait for space in a log while it holds ranges.
    Work,
    /// Locks on ranges, in ascending order of their start.
    Ranges,
    /// Buffers of the layer's own.
    Buffers,
    /// A durable dirty mark: superblock or bitmap.
    DirtyMark,
    /// Space in a log.
    Log,
    /// The requests to the devices below.
    Io,
}

/// Where in the order a wait stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rank {
    /// Height of the layer.
    pub height: u8,
    /// Step within the layer.
    pub step: Step,
}

/// Things that one task holds at a time, at most, without allocating.
const HELD: usize = 8;

/// What one task holds now.
pub(crate) struct Ranks {
    held: RefCell<Vec<Rank>>,
}

impl Default for Ranks {
    fn default() -> Ranks {
        let room = if cfg!(debug_assertions) { HELD } else { 0 };
        Ranks { held: RefCell::new(Vec::with_capacity(room)) }
    }
}

impl Rank {
    /// The rank of `step` in a layer of `height`.
    pub const fn new(height: u8, step: Step) -> Rank {
        Rank { height, step }
    }

    /// Says that the running task is about to wait for something of this rank. Panics, in debug builds, when the task
    /// holds something of the same rank or below.
    #[track_caller]
    pub fn wait(self) {
        if cfg!(debug_assertions)
            && let Some(ranks) = core().ranks()
        {
            for held in ranks.held.borrow().iter() {
                assert!(self.is_below(*held), "waiting for {self:?} while holding {held:?}: out of order");
            }
        }
    }

    /// Says that the running task holds something of this rank until the guard is dropped.
    pub fn hold(self) -> Holding {
        let mut ranks = None;
        if cfg!(debug_assertions) {
            ranks = core().ranks();
            if let Some(ranks) = &ranks {
                let _freely = block::trap::freely(); // only these builds keep a list
                ranks.held.borrow_mut().push(self);
            }
        }
        Holding { rank: self, ranks }
    }

    fn is_below(self, other: Rank) -> bool {
        match self.height.cmp(&other.height) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => self.step > other.step,
        }
    }
}

/// While this lives, its task holds something of a rank.
pub struct Holding {
    rank: Rank,
    ranks: Option<Rc<Ranks>>,
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(ranks) = &self.ranks {
            let mut held = ranks.held.borrow_mut();
            let at = held.iter().rposition(|held| *held == self.rank).expect("held until dropped");
            held.swap_remove(at);
        }
    }
}
