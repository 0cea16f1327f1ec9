//! What is waited for in a set, and whose work it is: `docs/internals/resources.md` as the simulator sees it.

use runtime::waits::{Awaited, Worker};

/// Writes entries of the journal.
pub const JOURNAL: Worker = Worker { name: "the journal's writer", rank: 2 };
/// Writes leaves, for the journal and for whoever wants a frame.
pub const LEAVES: Worker = Worker { name: "the writer of leaves", rank: 1 };
/// Gives up buckets.
pub const ALLOCATOR: Worker = Worker { name: "the allocator", rank: 3 };
/// Replaces nodes; one at a time.
pub const CHANGE: Worker = Worker { name: "a change of the tree", rank: 4 };

/// Decides what becomes of a volume whose cache has failed.
pub const DECIDER: Worker =
    Worker { name: "who decides whether a volume goes on without its cache", rank: 5 };

/// Writes back what is dirty, or puts together what little is left in buckets.
pub const CLEANER: Worker = Worker { name: "who makes what is dirty clean", rank: 6 };

/// It is decided.
pub const FATE: Awaited = Awaited::new("what becomes of its volume", DECIDER);
/// An entry is durable.
pub const ENTRY: Awaited = Awaited::new("an entry to be durable", JOURNAL);
/// One more key fits the entry that is gathered.
pub const ROOM: Awaited = Awaited::new("room in the next entry", JOURNAL);
/// The journal can go on: what it has of leaves is in them.
pub const OLD_ENTRIES: Awaited = Awaited::new("old entries that nobody needs", LEAVES);
/// A leaf is on disk as it is.
pub const LEAF: Awaited = Awaited::new("a leaf to be on disk", LEAVES);
/// Memory for a node.
pub const FRAME: Awaited = Awaited::new("memory for a node", LEAVES);
/// A free bucket.
pub const BUCKET: Awaited = Awaited::new("a free bucket", ALLOCATOR);
/// The same, of what holds something that is dirty now.
pub const CLEAN: Awaited = Awaited::new("something dirty to become clean", CLEANER);
/// The same for priorities, without which none becomes free: some are kept for them alone.
pub const KEPT_BUCKET: Awaited = Awaited::kept("a bucket for priorities", ALLOCATOR);
/// Nobody else changes the tree.
pub const TURN: Awaited = Awaited::new("its turn to change the tree", CHANGE);
/// A leaf takes keys again, or another one does.
pub const FROZEN: Awaited = Awaited::new("a leaf whose keys go elsewhere", CHANGE);
