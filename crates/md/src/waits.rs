//! What is waited for in an array, and whose work it is: `docs/internals/resources.md` as the simulator sees it.

use runtime::waits::{Awaited, Worker};

/// Writes superblocks.
pub const METADATA: Worker = Worker { name: "the writer of superblocks", rank: 2 };
/// Writes the bitmap.
pub const BITMAP: Worker = Worker { name: "the writer of the bitmap", rank: 1 };
/// Writes a member's partial parity log, or private log.
pub const LOG: Worker = Worker { name: "the writer of the log", rank: 3 };
/// Writes units of the journal.
pub const JOURNAL: Worker = Worker { name: "the writer of the journal", rank: 4 };
/// Moves the tail of the journal.
pub const TAIL: Worker = Worker { name: "who moves the journal's tail", rank: 5 };
/// Writes out what the journal alone has.
pub const OUT: Worker = Worker { name: "who writes out of the journal", rank: 6 };

/// What superblocks are to say is durable.
pub const SUPERBLOCK: Awaited = Awaited::new("a superblock to be durable", METADATA);
/// Bits are durable.
pub const BITS: Awaited = Awaited::new("bits to be durable", BITMAP);
/// A record is durable.
pub const RECORD: Awaited = Awaited::new("a record of the log to be durable", LOG);
/// A record takes one more entry.
pub const RECORD_ROOM: Awaited = Awaited::new("room in a record of the log", LOG);
/// A unit is durable.
pub const UNIT: Awaited = Awaited::new("a unit of the journal to be durable", JOURNAL);
/// The journal has room.
pub const SPACE: Awaited = Awaited::new("space in the journal", TAIL);
/// Nothing is in the journal alone.
pub const DRAINED: Awaited = Awaited::new("all to be written out of the journal", OUT);
