//! Serving one request that goes to a device.

use block::{Buf, Outcome, Request};
use export::{Export, Span, Zeroing, buffer_bytes};
use zerocopy::IntoBytes;

use super::House;
use super::reply::Reply;
use crate::error::errno_of;
use crate::wire::WriteOut;

/// A request that a slot is to serve, with the buffers that were taken for it.
pub(super) struct Job {
    pub(super) reply: Reply,
    /// The export's place in the tree.
    pub(super) export: usize,
    /// The number under which the device and what lies below it know the request.
    pub(super) trace: u32,
    pub(super) work: Work,
}

pub(super) enum Work {
    /// The blocks around `span` fit `first`, or it and `second`.
    Read {
        span: Span,
        first: Buf,
        second: Option<Buf>,
    },
    /// `data` is the payload, wherever it lies.
    Write {
        span: Span,
        data: Buf,
        fua: bool,
    },
    Zero {
        span: Span,
        hole: bool,
    },
    Flush,
}

/// Serves `job` and answers it.
pub(super) async fn serve(house: &House, job: Job) {
    let export = &house.tree.exports()[job.export];
    let (channel, counters, trace) = (&*house.channel, export.counters(), job.trace);
    let outcome = match &job.work {
        Work::Read { span, first, second } => {
            let read = read(export, *span, first, second.as_ref(), trace).await;
            if read.is_ok() {
                counters.read(span.len);
                let head = span.head(export.block());
                let most = (span.len as usize).min(first.len() - head);
                let rest = span.len as usize - most;
                let second = second.as_ref().filter(|_| rest > 0).map(|second| second.slice(0, rest));
                return job.reply.data(channel, &first.slice(head, most), second.as_ref());
            }
            read
        }
        Work::Write { span, data, fua } => {
            let written = write(house, export, *span, data, *fua, trace).await;
            if written.is_ok() {
                counters.wrote(span.len);
                let answer = WriteOut { size: span.len as u32, padding: 0 };
                return job.reply.done(channel, answer.as_bytes());
            }
            written
        }
        Work::Zero { span, hole } => {
            let how = Zeroing { fua: false, may_unmap: *hole, fast_only: false, trace };
            let zeroed = export.zero(*span, how, &house.scratch).await;
            zeroed.inspect(|()| counters.wrote(span.len))
        }
        Work::Flush => {
            let flushed = export.start(Request::flush(), trace).await;
            flushed.inspect(|()| counters.flushed())
        }
    };
    match outcome {
        Ok(()) => job.reply.done(channel, &[]),
        Err(failed) => {
            counters.failed();
            job.reply.failed(channel, errno_of(failed));
        }
    }
}

/// Reads the blocks around `span`.
async fn read(export: &Export, span: Span, first: &Buf, second: Option<&Buf>, trace: u32) -> Outcome {
    let start = span.cover(export.block()).start;
    let begun = export.start(Request::read(start, first.clone()), trace);
    let rest =
        second.map(|second| export.start(Request::read(start + first.sectors(), second.clone()), trace));
    let outcome = begun.await;
    match rest {
        Some(rest) => outcome.and(rest.await),
        None => outcome,
    }
}

/// Writes whole blocks from where they were received; what ends within a block by way of a buffer to work in.
async fn write(house: &House, export: &Export, span: Span, data: &Buf, fua: bool, trace: u32) -> Outcome {
    let block = export.block();
    if span.is_aligned(block) {
        return export.write(span, data.clone(), fua, trace).await;
    }
    for piece in span.pieces(block) {
        let work = house.scratch.wait_take(buffer_bytes(piece, block)).await;
        let from = (piece.start - span.start) as usize;
        work.copy_from(piece.head(block), &data.slice(from, piece.len as usize));
        export.write(piece, work, fua, trace).await?;
    }
    Ok(())
}
