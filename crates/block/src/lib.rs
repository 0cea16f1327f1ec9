//! The shared vocabulary of the house: sectors and ranges, buffers, requests, tickets, devices, failures.
//!
//! Every floor above speaks in these words and in no others: an engine receives a [`Request`], starts further
//! requests on the [`Device`]s below it, and awaits the [`Ticket`]s they hand back. Nothing in here knows about
//! files, sockets, clocks or RAID, and nothing here allocates once a stack has been built.

mod buffer;
mod counters;
pub mod counting;
mod device;
mod failure;
mod lend;
mod request;
mod ticket;
pub mod trap;
mod units;

pub use buffer::{Arena, Buf, MAX_BUFFER};
pub use counters::{BUCKETS, Count, Counters};
pub use device::{Dev, Device, Geometry, LARGEST_BLOCK, State};
pub use failure::{Cause, Failed, Outcome};
pub use lend::{MOST_LENT, lend};
pub use request::{Extents, Op, Origin, Priority, Request};
pub use ticket::{Fan, Promise, Ticket, reserve, tickets_in_flight, tickets_short};
pub use units::{Moment, Range, SECTOR, Sectors};
