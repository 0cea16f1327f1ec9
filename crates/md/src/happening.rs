//! What happens to an open array, for people and monitors: told as it happens, kept until somebody takes it.

use block::Failed;

use crate::array::Array;
use crate::sync::Action;

/// Something that happened to an array, for people and monitors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// A member has failed.
    MemberFailed {
        /// Which.
        name: String,
        /// Why.
        failed: Failed,
    },
    /// A read error was repaired from another copy.
    ReadRepaired {
        /// On which member.
        name: String,
        /// Array sector.
        sector: u64,
    },
    /// A sync action has started, or goes on.
    SyncStarted {
        /// Which.
        action: Action,
        /// From which sector.
        from: u64,
    },
    /// A sync action has come to its end.
    SyncComplete {
        /// Which.
        action: Action,
    },
    /// A member was added, as a spare or as a former member.
    MemberAdded {
        /// Which.
        name: String,
        /// Its slot, if it was given one at once.
        slot: Option<u16>,
    },
    /// A spare takes a slot, and is to be rebuilt.
    SpareTaken {
        /// Which.
        name: String,
        /// The slot.
        slot: u16,
        /// The member whose place it is to take.
        replaces: Option<String>,
    },
    /// A member has all of its slot's data.
    MemberInSync {
        /// Which.
        name: String,
        /// Its slot.
        slot: u16,
    },
    /// A member was let go of.
    MemberRemoved {
        /// Which.
        name: String,
    },
    /// Sectors of a member could not be rebuilt, and are on its list of bad blocks.
    BadBlocks {
        /// Which member.
        name: String,
        /// First row, from its data offset.
        row: u64,
        /// How many sectors.
        sectors: u64,
    },
    /// Nothing can be written any more: the last copy failed.
    Broken {
        /// How.
        failed: Failed,
    },
}

/// Happenings kept until somebody takes them; a monitor that never comes does not make the list grow for ever.
pub(crate) const HAPPENINGS: usize = 1024;

impl Array {
    /// Takes the happenings since the last call.
    pub fn take_happenings(&self) -> Vec<Happening> {
        let mut happenings = self.happenings.borrow_mut();
        happenings.drain(..).collect()
    }

    /// Waits until something has happened.
    pub async fn wait_for_happenings(&self) {
        self.happened.wait_until(|| !self.happenings.borrow().is_empty()).await;
    }

    pub(crate) fn happen(&self, happening: Happening) {
        let mut happenings = self.happenings.borrow_mut();
        if happenings.len() < HAPPENINGS {
            happenings.push(happening);
        }
        drop(happenings);
        self.happened.notify();
    }
}
