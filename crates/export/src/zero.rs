//! Zeroes and discards of runs of bytes: whole blocks by the device, the parts of blocks at their ends by writing.

use std::rc::Rc;

use block::{Arena, Cause, Failed, MAX_BUFFER, Outcome, Range, Request, Sectors};

use crate::limits::PORTION_BYTES;
use crate::{Export, Span};

/// How zeroes are to be made.
#[derive(Clone, Copy, Debug)]
pub struct Zeroing {
    /// They are answered when they would survive a power cut.
    pub fua: bool,
    /// The space behind them may be freed.
    pub may_unmap: bool,
    /// Fail rather than write them.
    pub fast_only: bool,
    /// The number of the client's request.
    pub trace: u32,
}

impl Export {
    /// Makes `span` read as zeroes: whole blocks by the device if it can, else by writing; parts of blocks by writing.
    /// The caller holds no buffer of `arena`.
    pub async fn zero(&self, span: Span, how: Zeroing, arena: &Rc<Arena>) -> Outcome {
        let Zeroing { fua, may_unmap, fast_only, trace } = how;
        let block = self.block();
        if fast_only && !(span.is_aligned(block) && self.device().geometry().discards) {
            return Err(Failed::new(Cause::Unsupported));
        }
        for range in span.whole_blocks(block).into_iter().flat_map(portions) {
            let turn = self.writes.aligned(range).await;
            let request = Request { fua, may_unmap, ..Request::write_zeroes(range) };
            let outcome = self.start(request, trace).await;
            drop(turn);
            match outcome {
                Err(Failed { cause: Cause::Unsupported, .. }) if !fast_only => {
                    self.write_zeroes(range, fua, trace, arena).await?;
                }
                other => other?,
            }
        }
        for edge in span.edges(block) {
            let work = arena.wait_take(block as usize).await;
            self.zero_edge(edge, work, fua, trace).await?;
        }
        Ok(())
    }

    async fn write_zeroes(&self, range: Range, fua: bool, trace: u32, arena: &Rc<Arena>) -> Outcome {
        let span = Span { start: range.start.bytes(), len: range.count.bytes() };
        let zeroes = arena.wait_take(MAX_BUFFER.min(range.count.byte_len())).await;
        zeroes.fill_zero();
        for piece in span.pieces(self.block()) {
            self.write(piece, zeroes.slice(0, piece.len as usize), fua, trace).await?;
        }
        Ok(())
    }

    /// Discards the whole blocks of `span`. It is a hint, so a device that cannot do it has done it.
    pub async fn trim(&self, span: Span, fua: bool, trace: u32) -> Outcome {
        for range in span.whole_blocks(self.block()).into_iter().flat_map(portions) {
            match self.start(Request { fua, ..Request::discard(range) }, trace).await {
                Err(Failed { cause: Cause::Unsupported, .. }) => return Ok(()),
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

/// The parts of `range` that reach the device one after the other.
fn portions(range: Range) -> impl Iterator<Item = Range> {
    let (portion, mut at) = (Sectors::from_bytes(PORTION_BYTES), range.start);
    std::iter::from_fn(move || {
        let count = portion.min(range.end() - at);
        let part = (!count.is_zero()).then(|| Range::new(at, count));
        at += count;
        part
    })
}
