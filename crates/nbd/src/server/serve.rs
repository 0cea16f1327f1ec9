//! Serving one request: what each command does to the device, and how it is answered.

use block::{Buf, Cause, Extents, Failed, Outcome, Range, Request};
use export::{Counters, Span, Zeroing};
use zerocopy::IntoBytes;

use super::plan::Command;
use super::reply::Reply;
use super::style::Style;
use super::transmission::{ALLOCATION, Job, Session};
use crate::error::errno_of;
use crate::limits::STATUS_BYTES;
use crate::wire::{ExtendedExtent, Extent, allocation};

/// What is left to say when a request has been served.
enum Answer {
    Done,
    Extents(Buf),
    /// Nothing: the data is on its way.
    Given,
    /// Nothing: it could not be served to its end.
    Abandoned,
}

/// Serves `job` in slot `slot` and answers it.
pub(super) async fn serve(session: &Session, slot: u16, job: Job) {
    let export = &session.export;
    let reply = Reply { cookie: job.cookie, offset: job.offset, style: session.style };
    let done = |outcome: Outcome| outcome.map(|()| Answer::Done);
    let (command, trace) = (job.command, job.trace);
    let answer = match command {
        Command::Read { span } => read(session, slot, reply, span, job).await,
        Command::Write { span, fua } => write(session, slot, span, fua, trace).await,
        Command::Zero { span, fua, may_unmap, fast_only } => {
            done(export.zero(span, Zeroing { fua, may_unmap, fast_only, trace }, &session.arena).await)
        }
        Command::Trim { span, fua } => done(export.trim(span, fua, trace).await),
        Command::Cache { span } => done(cache(session, span, trace).await),
        Command::Status { span, one } => status(session, span, one, trace).await.map(Answer::Extents),
        Command::Flush => done(export.start(Request::flush(), trace).await),
        Command::Disconnect => unreachable!("the receiver ends the connection"),
    };
    match answer {
        Ok(Answer::Abandoned) => return,
        Ok(_) => served(export.counters(), command),
        Err(_) => export.counters().failed(),
    }
    let message = match answer {
        Ok(Answer::Done) => reply.done(),
        Ok(Answer::Extents(extents)) => reply.status(ALLOCATION, extents),
        Ok(Answer::Given | Answer::Abandoned) => return,
        Err(failed) => {
            let (errno, text) = errno_of(failed);
            reply.error(errno, text)
        }
    };
    session.outgoing.put(message, None).await;
}

/// Counts a command that was carried out.
fn served(counters: &Counters, command: Command) {
    match command {
        Command::Read { span } => counters.read(span.len),
        Command::Write { span, .. } | Command::Zero { span, .. } => counters.wrote(span.len),
        Command::Trim { .. } => counters.trimmed(),
        Command::Flush => counters.flushed(),
        Command::Cache { .. } | Command::Status { .. } | Command::Disconnect => {}
    }
}

/// Reads `span` piece after piece through `buf`. A simple reply of several pieces keeps the floor from the first to the
/// last, since nothing may come in between; a failure in the middle of it can only end the connection.
async fn read(session: &Session, slot: u16, reply: Reply, span: Span, job: Job) -> Result<Answer, Failed> {
    let (Some(buf), trace) = (job.buf, job.trace) else { return Ok(Answer::Done) };
    let (export, outgoing) = (&session.export, &session.outgoing);
    let (block, mut floor) = (export.block(), None);
    for piece in span.pieces(block) {
        let (first, last) = (piece.start == span.start, piece.end() == span.end());
        let cover = piece.cover(block);
        let blocks = buf.slice(0, cover.count.byte_len());
        match export.start(Request::read(cover.start, blocks), trace).await {
            Ok(()) => {}
            Err(failed) if first => return Err(failed),
            Err(failed) => {
                fail_midway(session, reply, piece, failed).await;
                return Ok(Answer::Abandoned);
            }
        }
        if first && !last && !session.style.has_chunks() {
            floor = Some(outgoing.take_floor(slot).await);
        }
        let data = buf.slice(piece.head(block), piece.len as usize);
        let number = outgoing.put(reply.data(piece.start, data, first, last), floor.as_ref()).await;
        if !last {
            outgoing.sent(number).await;
        }
    }
    Ok(Answer::Given)
}

async fn fail_midway(session: &Session, reply: Reply, piece: Span, failed: Failed) {
    session.export.counters().failed();
    if !session.style.has_chunks() {
        return session.give_up();
    }
    let (errno, text) = errno_of(failed);
    session.outgoing.put(reply.error_at(piece.start, errno, text), None).await;
}

/// Writes the pieces of `span` as they arrive. After a failure the rest is received all the same, and dropped.
async fn write(session: &Session, slot: u16, span: Span, fua: bool, trace: u32) -> Result<Answer, Failed> {
    let mut outcome = Ok(Answer::Done);
    for piece in span.pieces(session.export.block()) {
        let Some(buf) = session.payload(slot).await else { return Ok(Answer::Abandoned) };
        if outcome.is_ok() {
            outcome = session.export.write(piece, buf, fua, trace).await.map(|()| Answer::Done);
        }
    }
    outcome
}

/// Reads `span` and forgets it: whatever caches below has it then.
async fn cache(session: &Session, span: Span, trace: u32) -> Outcome {
    let block = session.export.block();
    for piece in span.pieces(block) {
        let cover = piece.cover(block);
        let buf = session.arena.wait_take(cover.count.byte_len()).await;
        session.export.start(Request::read(cover.start, buf), trace).await?;
    }
    Ok(())
}

/// The extents from the start of `span` on, as they travel. A device that does not know says that all is data.
async fn status(session: &Session, span: Span, one: bool, trace: u32) -> Result<Buf, Failed> {
    let export = &session.export;
    let cover = span.cover(export.block());
    let buf = session.arena.wait_take(STATUS_BYTES).await;
    let (width, words) = match session.style {
        // The long ones do not fit where the device's were: those come behind.
        Style::Extended => (size_of::<ExtendedExtent>(), buf.slice(STATUS_BYTES - THIRD, THIRD)),
        _ => (size_of::<Extent>(), buf.clone()),
    };
    match export.start(Request::status(cover, words.clone()), trace).await {
        Err(Failed { cause: Cause::Unsupported, .. }) => Extents::new(&words).set(0, cover.count, false),
        outcome => outcome?,
    }
    let known = if one { 1 } else { usize::MAX };
    let count = translate(&words, &buf, width, cover, span, known);
    match count {
        0 => Err(Failed::new(Cause::Medium)), // the device has answered with nothing
        count => Ok(buf.slice(0, count * width)),
    }
}

/// What the device's extents get of the buffer where the protocol's are twice as long.
const THIRD: usize = STATUS_BYTES / 3 / 8 * 8;

/// Turns the device's extents of `cover`, in `words`, into the protocol's of `span`, in `buf`: neighbours of a kind are
/// joined, so there are never more of them. How many there are, at most `most`.
fn translate(words: &Buf, buf: &Buf, width: usize, cover: Range, span: Span, most: usize) -> usize {
    let device = Extents::new(words);
    let (mut at, mut reached, mut count, mut open) = (cover.start, span.start, 0, None);
    for place in 0..device.capacity() {
        let Some((sectors, hole)) = device.get(place).filter(|_| reached < span.end()) else { break };
        at = at.checked_add(sectors).unwrap_or(cover.end());
        let end = at.min(cover.end()).bytes().min(span.end());
        let more = end.saturating_sub(reached);
        reached += more;
        open = match open {
            Some((length, kind)) if kind == hole || more == 0 => Some((length + more, kind)),
            Some((length, kind)) => {
                put(buf, width, count, length, kind);
                count += 1;
                Some((more, hole))
            }
            None => (more > 0).then_some((more, hole)),
        };
        if count == most {
            return count;
        }
    }
    if let Some((length, hole)) = open {
        put(buf, width, count, length, hole);
        count += 1;
    }
    count
}

fn put(buf: &Buf, width: usize, place: usize, length: u64, hole: bool) {
    let flags = if hole { allocation::HOLE | allocation::ZERO } else { 0 };
    if width == size_of::<ExtendedExtent>() {
        let extent = ExtendedExtent { length: length.into(), flags: u64::from(flags).into() };
        return buf.copy_from_slice(place * width, extent.as_bytes());
    }
    let length = u32::try_from(length).expect("no longer than the request");
    let extent = Extent { length: length.into(), flags: flags.into() };
    buf.copy_from_slice(place * width, extent.as_bytes());
}
