//! How requests and replies look on a connection: what server and client have agreed on in the handshake.

use crate::Error;
use crate::error::expect;
use crate::incoming::Incoming;
use crate::limits::REQUEST_BYTES;
use crate::wire::{
    EXTENDED_REQUEST_MAGIC, ExtendedRequest, REQUEST_MAGIC, Request, command, command_flag as flag,
};

/// The style of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// A reply is one message, with the data of a read in it.
    Simple,
    /// Replies come in chunks.
    Structured,
    /// Replies come in chunks, and all headers are of 32 bytes with lengths of 64 bits.
    Extended,
}

/// A request as it came, in whichever style.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) flags: u16,
    pub(super) command: u16,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Bytes that follow.
    pub(super) payload: u64,
}

impl Style {
    pub(super) fn has_chunks(self) -> bool {
        self != Style::Simple
    }

    /// Takes the next request; `None` when the client has left.
    pub(super) async fn take_request(self, incoming: &mut Incoming) -> Result<Option<Asked>, Error> {
        if self == Style::Extended {
            return incoming.header_or_end().await?.map(from_extended).transpose();
        }
        incoming.header_or_end().await?.map(from_compact).transpose()
    }
}

fn from_compact(request: Request) -> Result<Asked, Error> {
    expect("a request's magic", request.magic, REQUEST_MAGIC)?;
    let (command, length) = (request.command.get(), request.length.get().into());
    let payload = if command == command::WRITE { length } else { 0 };
    let (flags, cookie, offset) = (request.flags.get(), request.cookie.get(), request.offset.get());
    Ok(Asked { flags, command, cookie, offset, length, payload })
}

/// Only a payload that is longer than what a client was told to send ends the connection: it may be without end.
fn from_extended(request: ExtendedRequest) -> Result<Asked, Error> {
    expect("a request's magic", request.magic, EXTENDED_REQUEST_MAGIC)?;
    let (flags, command, length) = (request.flags.get(), request.command.get(), request.length.get());
    // A write without the flag breaks the protocol; qemu's client does that, and its data follows all the same.
    let has_payload = command == command::WRITE || flags & flag::PAYLOAD_LEN != 0;
    let payload = if has_payload { length } else { 0 };
    if payload > REQUEST_BYTES.into() {
        let (found, expected) = (payload, REQUEST_BYTES.into());
        return Err(Error::Unexpected { what: "the length of a payload", found, expected });
    }
    let (cookie, offset) = (request.cookie.get(), request.offset.get());
    Ok(Asked { flags, command, cookie, offset, length, payload })
}
