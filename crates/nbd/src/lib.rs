//! NBD: a server that exports devices over the network, and a client that makes a remote export a device.
//!
//! The protocol is on one side, [`block::Request`]s are on the other; nothing here knows what the devices are made of.
//! Fixed newstyle handshake, simple and structured replies; no encryption. Everything runs on one core and on the
//! executor of [`runtime`], so the simulator plays server and client over streams that break, stall and deliver in
//! pieces. After the handshake nothing is allocated: buffers come from arenas, requests live in slots.
//!
//! Source: the protocol document of the reference implementation (NetworkBlockDevice/nbd, `doc/proto.md`).

mod client;
mod error;
mod incoming;
pub mod limits;
mod outgoing;
mod server;
mod url;
pub mod wire;

pub use client::{Client, Offers};
pub use error::Error;
// what a server is given
pub use export::{Export, Exports};
pub use server::{Room, Server, ServerCounters};
pub use url::Url;
