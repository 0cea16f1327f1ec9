//! Replies as they come in: matched with their requests, checked, and put where they belong.
//!
//! What a server may not say ends the connection, with an error that tells what was found and what was expected.

use block::{Cause, Extents, Op, Sectors};
use zerocopy::big_endian::{U32, U64};

use super::transmission::Link;
use crate::Error;
use crate::error::{expect, failed_of};
use crate::incoming::Incoming;
use crate::limits::TEXT_BYTES;
use crate::wire::{CHUNK_MAGIC, Chunk, Extent, SIMPLE_REPLY_MAGIC, SimpleReply, allocation, chunk};

impl Link {
    /// Takes one simple reply, or one chunk.
    pub(super) async fn take_reply(&self, incoming: &mut Incoming) -> Result<(), Error> {
        let magic = incoming.peek::<U32>().await?.ok_or(Error::Ended { awaited: "a reply" })?;
        match magic.get() {
            CHUNK_MAGIC if self.structured => self.take_chunk(incoming).await,
            found => {
                expect("a reply's magic", found, SIMPLE_REPLY_MAGIC)?;
                self.take_simple(incoming).await
            }
        }
    }

    async fn take_simple(&self, incoming: &mut Incoming) -> Result<(), Error> {
        let reply = incoming.header::<SimpleReply>("a reply").await?;
        let number = self.find(reply.cookie.get())?;
        self.at_hand.set(Some(number));
        let (op, bytes) = self.with(number, |flight| (flight.op, flight.range.count.bytes()));
        if reply.error != 0 {
            return self.take_error(number, reply.error.get(), true);
        }
        if op == Op::Read && !self.structured {
            self.with(number, |flight| flight.arrived.add(0, bytes))?;
            self.fill(number, incoming, 0, bytes).await?;
        }
        self.conclude(number)
    }

    async fn take_chunk(&self, incoming: &mut Incoming) -> Result<(), Error> {
        let header = incoming.header::<Chunk>("a chunk").await?;
        let (number, length) = (self.find(header.cookie.get())?, header.length.get());
        self.at_hand.set(Some(number));
        let (op, last) = (self.with(number, |flight| flight.op), header.flags.get() & chunk::DONE != 0);
        match (header.kind.get(), op) {
            (chunk::NONE, _) => expect("the length of an empty chunk", length, 0u32)?,
            (chunk::OFFSET_DATA, Op::Read) => {
                let bytes = above("the length of a chunk of data", length, 8)?;
                let offset = incoming.header::<U64>("a chunk's offset").await?.get();
                let at = self.place(number, offset, bytes)?;
                self.fill(number, incoming, at, bytes).await?;
            }
            (chunk::OFFSET_HOLE, Op::Read) => {
                expect("the length of a chunk of zeroes", length, 12u32)?;
                let offset = incoming.header::<U64>("a chunk's offset").await?.get();
                let bytes = incoming.header::<U32>("a hole's length").await?.get();
                let bytes = above("a hole's length", bytes, 0)?;
                let at = self.place(number, offset, bytes)?;
                self.fill_zero(number, at, bytes);
            }
            (chunk::BLOCK_STATUS, Op::Status) => self.take_extents(number, incoming, length).await?,
            (kind, _) if kind & chunk::ERROR_BIT != 0 => {
                let rest = above("the length of an error", length, 5)? + 1;
                let error = incoming.header::<U32>("an error's number").await?.get();
                if rest > TEXT_BYTES as u64 {
                    return Err(unexpected("the length of an error", length, TEXT_BYTES as u64));
                }
                incoming.skip(rest).await?;
                return self.take_error(number, error, last);
            }
            (kind, _) => return Err(unexpected("the kind of a chunk", kind, chunk::NONE.into())),
        }
        if last { self.conclude(number) } else { Ok(()) }
    }

    fn take_error(&self, number: u16, error: u32, last: bool) -> Result<(), Error> {
        let failed = failed_of(error);
        self.with(number, |flight| flight.outcome = flight.outcome.and(Err(failed)));
        if last {
            self.land(number);
        }
        if failed.cause == Cause::Gone { Err(Error::ShutDown) } else { Ok(()) }
    }

    /// A reply has come to its end; what it had to bring has to be there.
    fn conclude(&self, number: u16) -> Result<(), Error> {
        let (op, outcome, arrived, told, bytes) = self.with(number, |flight| {
            (flight.op, flight.outcome, flight.arrived.bytes(), flight.told, flight.range.count.bytes())
        });
        match op {
            Op::Read if outcome.is_ok() => expect("the bytes of a reply to a read", arrived, bytes)?,
            Op::Status if outcome.is_ok() && !told => {
                return Err(unexpected("the extents of a reply", 0u32, 1));
            }
            _ => {}
        }
        self.land(number);
        Ok(())
    }

    /// Where in a read's buffer the `bytes` at `offset` of the export belong, which have not come before.
    fn place(&self, number: u16, offset: u64, bytes: u64) -> Result<u64, Error> {
        self.with(number, |flight| {
            let (start, length) = (flight.range.start.bytes(), flight.range.count.bytes());
            let at =
                offset.checked_sub(start).filter(|at| at.checked_add(bytes).is_some_and(|end| end <= length));
            let at = at.ok_or(unexpected("the offset of a chunk", offset, start))?;
            flight.arrived.add(at, bytes)?;
            Ok(at)
        })
    }

    async fn fill(&self, number: u16, incoming: &mut Incoming, at: u64, bytes: u64) -> Result<(), Error> {
        let buf = self.with(number, |flight| flight.buf.clone()).expect("a read has a buffer");
        incoming.fill(&buf, at as usize, bytes as usize).await
    }

    fn fill_zero(&self, number: u16, at: u64, bytes: u64) {
        let buf = self.with(number, |flight| flight.buf.clone()).expect("a read has a buffer");
        buf.slice(at as usize, bytes as usize).fill_zero();
    }

    /// Translates extents into the device's words, up to the first that is not whole sectors: behind it nothing is
    /// known yet. If that is the very first, all counts as data.
    async fn take_extents(&self, number: u16, incoming: &mut Incoming, length: u32) -> Result<(), Error> {
        let bytes = above("the length of a chunk of extents", length, 4)?;
        let context = incoming.header::<U32>("a context's number").await?;
        expect("a context's number", context, self.context.unwrap_or(0))?;
        expect("the odd bytes of a chunk of extents", bytes % size_of::<Extent>() as u64, 0u32)?;
        let (buf, mut left) = self.with(number, |flight| (flight.buf.clone(), flight.range.count));
        let buf = buf.expect("a status request has a buffer");
        let words = Extents::new(&buf);
        let (mut place, mut known) = (0, true);
        for _ in 0..bytes / size_of::<Extent>() as u64 {
            let extent = translate(incoming.header("an extent").await?, left);
            let Some((sectors, hole)) = extent.filter(|_| known && place < words.capacity()) else {
                known = false;
                continue;
            };
            words.set(place, sectors, hole);
            left -= sectors;
            place += 1;
        }
        if place == 0 {
            words.set(0, left, false);
        }
        self.with(number, |flight| flight.told = true);
        Ok(())
    }
}

/// What `extent` says of the `left` sectors from its begin on; `None` when it is not whole sectors of them.
fn translate(extent: Extent, left: Sectors) -> Option<(Sectors, bool)> {
    let bytes = u64::from(extent.length.get());
    let sectors = Sectors::from_bytes(bytes).min(left);
    let whole = !sectors.is_zero() && (sectors == left || sectors.bytes() == bytes);
    let both = allocation::HOLE | allocation::ZERO; // what a device calls a hole reads as zeroes
    whole.then_some((sectors, extent.flags.get() & both == both))
}

/// `length` without the `least` bytes that it has to exceed.
fn above(what: &'static str, length: u32, least: u32) -> Result<u64, Error> {
    match length.checked_sub(least) {
        None | Some(0) => Err(unexpected(what, length, u64::from(least) + 1)),
        Some(more) => Ok(more.into()),
    }
}

fn unexpected(what: &'static str, found: impl Into<u64>, expected: u64) -> Error {
    Error::Unexpected { what, found: found.into(), expected }
}
