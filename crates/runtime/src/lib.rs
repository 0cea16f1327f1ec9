//! One thread, one deterministic executor, and the world below it.
//!
//! Engines are plain `async fn`s that run on a [`Runtime`]. They reach the world only through this crate: disks are
//! [`block::Device`]s, time is [`now`] and [`sleep_ms`], randomness is [`random`], other threads are a [`mailbox`].
//! Three drivers stand behind that door: [`os`] on io_uring or on threads, and [`sim`], a world made from one seed in
//! which every interleaving, fault and power cut can be played again.
//!
//! Nothing here allocates after a stack has been built: tasks live in slots, requests in tickets, buffers in arenas.

mod channel;
mod event;
mod executor;
mod layer;
pub mod mailbox;
mod meter;
pub mod os;
mod overlay;
mod probe;
mod ranges;
pub mod rank;
pub mod sim;
mod stream;
mod strict;
mod timer;
pub mod waits;

pub use channel::{Channel, recv_message};
pub use event::Event;
pub use executor::{
    Driver, Runtime, Task, Wait, next_trace, now, random, random_uuid, spawn, spawn_freely, wall_seconds,
    yield_now,
};
pub use layer::{Engine, Layer};
pub use meter::{Answer, Meter};
pub use overlay::Overlay;
pub use probe::{Phase, Probe, Seen, set_probe};
pub use ranges::{Held, RangeLocks};
pub use stream::{Address, Listener, Part, Stream, accept, recv, recv_exact, send_all};
pub use strict::strictly;
pub use timer::{sleep_ms, sleep_until};
