//! A place in memory for a node, and what is done with it. Pure.

use crate::btree::node::Node;
use crate::plant::{self, Plant};

/// A place for a node.
pub struct Frame {
    pub state: State,
    /// Whether it was looked at since the hand came by.
    pub is_used: bool,
    /// Whether somebody who changes the tree holds it.
    pub is_held: bool,
    /// Whether no key is laid into it: its keys are going to other nodes.
    pub is_frozen: bool,
    /// A set of its keys is being written: the oldest entry that has something of it.
    pub writing: Option<Writing>,
    pub node: Node,
}

/// What is being written of a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Writing {
    /// The oldest entry of the journal that has something of it.
    pub pin: u64,
}

/// What is in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing.
    Empty,
    /// A node that is read or made.
    Reading,
    /// A node.
    Ready,
}

impl Frame {
    /// An empty one around this memory.
    pub fn new(node: Node) -> Frame {
        Frame { state: State::Empty, is_used: false, is_held: false, is_frozen: false, writing: None, node }
    }

    /// Somebody is going to put a node into it.
    pub fn begin_reading(&mut self) {
        (self.state, self.is_frozen, self.is_held, self.is_used) = (State::Reading, false, false, true);
    }

    /// Nothing is in it any more.
    pub fn clear(&mut self) {
        self.state = State::Empty;
        self.node.open.clear();
        self.node.pin = None;
    }

    /// Whether its node is on disk as it is, and nobody holds it.
    pub fn can_be_given_up(&self) -> bool {
        !self.is_held && self.writing.is_none() && self.node.open.keys().is_empty()
    }

    /// Whether another node can be put into it.
    pub fn can_be_had(&self) -> bool {
        match self.state {
            State::Empty => true,
            State::Reading => false,
            State::Ready => self.can_be_given_up(),
        }
    }

    /// The oldest entry of the journal that is needed for it.
    pub fn oldest_pin(&self) -> Option<u64> {
        [self.node.pin, self.writing.map(|writing| writing.pin)].into_iter().flatten().min()
    }

    /// The oldest entry that would not be needed any more if it were written now; `None` if there is nothing to write, or
    /// something is being written.
    pub fn pin_to_write(&self) -> Option<u64> {
        let is_kept = self.is_held && plant::is(Plant::LeafHeldForBuckets);
        match self.state == State::Ready && self.writing.is_none() && self.node.level == 0 && !is_kept {
            true => self.node.pin,
            false => None,
        }
    }
}
