//! Writes that end within a block: the block is read, changed and written, and nobody else writes it meanwhile.
//!
//! Aligned writes are the rule, so they pay for this with a counter only. While an unaligned write runs or waits, all
//! writes of the export lock their range instead; an unaligned one first lets those end that came before.

use std::cell::Cell;

use block::{Buf, Outcome, Range, Request};
use runtime::rank::{Rank, Step};
use runtime::{Event, Held, RangeLocks};

use crate::{Export, Span};

/// Who writes to an export now.
pub(crate) struct WriteTurns {
    /// Aligned writes under way without a lock.
    free_running: Cell<usize>,
    /// Unaligned writes that run or wait.
    careful: Cell<usize>,
    ranges: RangeLocks,
    ended: Event,
}

/// The right to write to some blocks; given back when dropped.
pub(crate) struct Turn<'a> {
    _range: Option<Held<'a>>,
    _count: Option<Count<'a>>,
}

struct Count<'a> {
    counter: &'a Cell<usize>,
    ended: &'a Event,
}

impl WriteTurns {
    /// Turns for up to `writers` at a time, over a device of `height`.
    pub(crate) fn new(writers: usize, height: u8) -> WriteTurns {
        WriteTurns {
            free_running: Cell::new(0),
            careful: Cell::new(0),
            ranges: RangeLocks::new(writers, Rank::new(height.saturating_add(1), Step::Ranges)),
            ended: Event::with_capacity(writers),
        }
    }

    /// The right to write `range`, whole blocks, at once unless an unaligned write is about.
    pub(crate) async fn aligned(&self, range: Range) -> Turn<'_> {
        if self.careful.get() == 0 {
            return Turn { _range: None, _count: Some(self.count(&self.free_running)) };
        }
        Turn { _range: Some(self.ranges.lock(range).await), _count: None }
    }

    /// The right to read, change and write `range` with nobody else writing to it.
    pub(crate) async fn unaligned(&self, range: Range) -> Turn<'_> {
        let careful = self.count(&self.careful);
        self.ended.wait_until(|| self.free_running.get() == 0).await;
        Turn { _range: Some(self.ranges.lock(range).await), _count: Some(careful) }
    }

    fn count<'a>(&'a self, counter: &'a Cell<usize>) -> Count<'a> {
        counter.set(counter.get() + 1);
        Count { counter, ended: &self.ended }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.counter.set(self.counter.get() - 1);
        if self.counter.get() == 0 {
            self.ended.notify();
        }
    }
}

/// Bytes of buffer that a write of `piece` needs: its blocks, and one to work in if it does not fill them.
pub fn buffer_bytes(piece: Span, block: u64) -> usize {
    let work = if piece.is_aligned(block) { 0 } else { block };
    piece.cover(block).count.byte_len() + work as usize
}

impl Export {
    /// Writes `piece`, which lies in `buf` as far from its begin as from the edge of its first block.
    pub async fn write(&self, piece: Span, buf: Buf, fua: bool, trace: u32) -> Outcome {
        let block = self.block();
        assert_eq!(buf.len(), buffer_bytes(piece, block), "the buffer was taken for this piece");
        let cover = piece.cover(block);
        if piece.is_aligned(block) {
            let _turn = self.writes.aligned(cover).await;
            return self.start(Request { fua, ..Request::write(cover.start, buf) }, trace).await;
        }
        let _turn = self.writes.unaligned(cover).await;
        self.fill_edges(piece, &buf, trace).await?;
        let blocks = buf.slice(0, cover.count.byte_len());
        self.start(Request { fua, ..Request::write(cover.start, blocks) }, trace).await
    }

    /// Makes `edge`, a part of one block, read as zeroes. `work` holds a block.
    pub(crate) async fn zero_edge(&self, edge: Span, work: Buf, fua: bool, trace: u32) -> Outcome {
        let block = self.block();
        let cover = edge.cover(block);
        let _turn = self.writes.unaligned(cover).await;
        self.start(Request::read(cover.start, work.clone()), trace).await?;
        work.slice(edge.head(block), edge.len as usize).fill_zero();
        self.start(Request { fua, ..Request::write(cover.start, work) }, trace).await
    }

    /// Completes the first and the last block of `piece` with what the device holds around it.
    async fn fill_edges(&self, piece: Span, buf: &Buf, trace: u32) -> Outcome {
        let block = self.block();
        let cover = piece.cover(block);
        let work = buf.slice(cover.count.byte_len(), block as usize);
        for edge in piece.edges(block) {
            let around = edge.cover(block);
            self.start(Request::read(around.start, work.clone()), trace).await?;
            let at = (around.start - cover.start).byte_len();
            let (before, behind) = (edge.head(block), edge.head(block) + edge.len as usize);
            if before > 0 {
                buf.copy_from(at, &work.slice(0, before));
            }
            if behind < work.len() {
                buf.copy_from(at + behind, &work.slice(behind, work.len() - behind));
            }
        }
        Ok(())
    }
}
