//! Reading all copies of some pieces at once, to compare them.

use block::{Arena, Buf, Cause, Failed, Fan, Range, Request, Sectors};

use super::copies::Layout;
use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::sync::on_behalf_of_sync;

/// The unit in which what cannot be read is looked for within a piece.
pub(super) const FINEST: Sectors = Sectors(8);

/// The memory of a window: for each copy, as much as the window is long.
pub(super) struct Copies {
    window: Range,
    bufs: [Option<Buf>; FAN_OUT],
}

/// What was read of a batch: for each copy of each piece, the member that gave it.
#[derive(Default)]
pub(super) struct Batch {
    pub given: [Option<usize>; FAN_OUT],
    /// Some copy that a member should have, at least in part, could not be read.
    pub is_partly_unreadable: bool,
}

impl Copies {
    /// Takes it, for all copies.
    pub async fn take(layout: &Layout, memory: &std::rc::Rc<Arena>, window: Range) -> Copies {
        let mut bufs = [const { None }; FAN_OUT];
        for buf in bufs.iter_mut().take(layout.copies()) {
            *buf = Some(memory.wait_take(window.count.byte_len()).await);
        }
        Copies { window, bufs }
    }

    /// The memory of a copy of a piece.
    pub fn of(&self, piece: Range, copy: usize) -> Buf {
        let buf = self.bufs[copy].as_ref().expect("taken for the window");
        buf.slice((piece.start - self.window.start).byte_len(), piece.count.byte_len())
    }
}

/// As many pieces from the start of `range` as are compared at once.
pub(super) fn first_batch(layout: &Layout, range: Range) -> Range {
    let mut batch = Range::new(range.start, Sectors::ZERO);
    for _ in 0..FAN_OUT / layout.copies() {
        let left = Range::new(batch.end(), range.count - batch.count);
        batch.count += layout.first_piece(left).count;
    }
    batch
}

/// The pieces of a batch, in order.
pub(super) fn pieces(layout: &Layout, batch: Range) -> impl Iterator<Item = Range> {
    let layout = *layout;
    let mut left = batch;
    std::iter::from_fn(move || {
        let piece = layout.first_piece(left);
        left = Range::new(piece.end(), left.count - piece.count);
        (!piece.count.is_zero()).then_some(piece)
    })
}

/// Parts of the pieces of a batch, as small as is looked at.
pub(super) fn fine_parts(layout: &Layout, batch: Range) -> impl Iterator<Item = Range> {
    pieces(layout, batch).flat_map(|piece| {
        let mut left = piece;
        std::iter::from_fn(move || {
            let part = Range::new(left.start, left.count.min(FINEST));
            left = Range::new(part.end(), left.count - part.count);
            (!part.count.is_zero()).then_some(part)
        })
    })
}

/// Reads all copies of the pieces of `batch` that members hold. A member that cannot be asked any more is failed; where it
/// is the last, that is the error.
pub(super) async fn read_batch(
    array: &Array,
    layout: &Layout,
    memory: &Copies,
    batch: Range,
) -> Result<Batch, Failed> {
    let copies = layout.copies();
    let mut fan = Fan::<FAN_OUT>::default();
    let mut read = Batch::default();
    for (turn, piece) in pieces(layout, batch).enumerate() {
        for (copy, place) in layout.places(piece.start).enumerate() {
            let rows = Range::new(place.start, piece.count);
            if array.occupant(place.slot).is_some_and(|member| member.holds_a_part_of(rows)) {
                read.is_partly_unreadable = true; // piece by piece it is compared as far as it has come
            }
            let Some(member) = array.holder(place.slot, rows) else { continue };
            if member.is_bad(rows) {
                read.is_partly_unreadable = true;
                continue;
            }
            let request = Request::read(member.place_of(place.start), memory.of(piece, copy));
            let request = array.to_member(on_behalf_of_sync(request));
            read.given[turn * copies + copy] = array.seats[usize::from(place.slot)].get();
            fan.put(turn * copies + copy, member.dev.start(request));
        }
    }
    let mut fatal = None;
    for (index, given) in read.given.iter_mut().enumerate() {
        let Some(Err(failed)) = fan.take(index).await else { continue };
        read.is_partly_unreadable = true;
        let member = given.take().expect("who was asked has a place");
        if failed.cause != Cause::Medium && !array.fail(&array.members[member], failed) {
            fatal = Some(failed);
        }
    }
    fatal.map_or(Ok(read), Err)
}
