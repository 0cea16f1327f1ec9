//! Comparing the copies of a mirror, and letting most of them decide.

use std::rc::Rc;

use block::{Arena, Failed, Fan, Outcome, Range, Request, Sectors};

use super::compare::{Copies, FINEST, fine_parts, first_batch, pieces, read_batch};
use super::copies::Layout;
use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::narrow::{PAGE, not_taken};
use crate::sync::{Mismatch, Scrub, Verdict, count_written, on_behalf_of_sync};

/// Compares all copies of a window, under a lock of its range.
pub(in crate::level) async fn scrub_window(
    array: &Array,
    layout: &Layout,
    memory: &Rc<Arena>,
    window: Range,
    scrub: Scrub,
) -> Outcome {
    let _range = array.lanes.of(window.start).ranges.lock(window).await;
    let memory = Copies::take(layout, memory, window).await;
    let mut left = window;
    while !left.count.is_zero() {
        let batch = first_batch(layout, left);
        if !is_the_same(array, layout, &memory, batch).await? {
            for part in fine_parts(layout, batch) {
                judge(array, layout, &memory, part, scrub).await?;
            }
        }
        left = Range::new(batch.end(), left.count - batch.count);
    }
    array.recorded().await
}

/// Whether all copies of a batch could be read and are equal.
async fn is_the_same(array: &Array, layout: &Layout, memory: &Copies, batch: Range) -> Result<bool, Failed> {
    let copies = layout.copies();
    let read = read_batch(array, layout, memory, batch).await?;
    let is_equal = |(turn, piece): (usize, Range)| {
        let mut given = (0..copies).filter(|copy| read.given[turn * copies + copy].is_some());
        let Some(first) = given.next() else { return true };
        given.all(|copy| memory.of(piece, copy).same_bytes(&memory.of(piece, first)))
    };
    Ok(!read.is_partly_unreadable && pieces(layout, batch).enumerate().all(is_equal))
}

/// Looks at one part that is not the same everywhere: says who is wrong, and writes what the others have over it.
async fn judge(array: &Array, layout: &Layout, memory: &Copies, part: Range, scrub: Scrub) -> Outcome {
    debug_assert!(part.count <= FINEST);
    let read = read_batch(array, layout, memory, part).await?;
    let given: Vec<usize> = (0..layout.copies()).filter(|copy| read.given[*copy].is_some()).collect();
    let votes = |copy: &usize| {
        given.iter().filter(|other| memory.of(part, **other).same_bytes(&memory.of(part, *copy))).count()
    };
    // The first of those that most agree with.
    let Some(source) =
        given.iter().copied().reduce(|best, copy| if votes(&copy) > votes(&best) { copy } else { best })
    else {
        return Ok(()); // nobody can read it: reads say so
    };
    let has_most = 2 * votes(&source) > given.len();
    // Where nobody has most, copies follow the first, as md does it.
    let source = if has_most { source } else { given[0] };
    for (copy, place) in layout.places(part.start).enumerate() {
        let rows = Range::new(place.start, part.count);
        let Some(member) = array.holder(place.slot, rows) else { continue };
        let is_read = given.contains(&copy);
        if is_read && memory.of(part, copy).same_bytes(&memory.of(part, source)) {
            continue;
        }
        let verdict = match (is_read, has_most) {
            (false, _) => Verdict::Unreadable(member.name.clone()),
            (true, true) => Verdict::Member(member.name.clone()),
            (true, false) => Verdict::Nobody,
        };
        let repaired = scrub == Scrub::Repair && write(array, layout, memory, part, copy, source).await?;
        array.found(Mismatch { array: part, rows, verdict, repaired });
    }
    Ok(())
}

/// Writes one copy over another. False when the member did not take it.
async fn write(
    array: &Array,
    layout: &Layout,
    memory: &Copies,
    part: Range,
    copy: usize,
    source: usize,
) -> Result<bool, Failed> {
    let place = layout.place(part.start, copy);
    let _writing = array.begin_write(part).await?;
    let mut fan = Fan::<FAN_OUT>::default();
    let mut to = [0; 2];
    for (index, at) in array.written(place.slot).enumerate() {
        let member = &array.members[at];
        let write = Request::write(member.place_of(place.start), memory.of(part, source));
        to[index] = at;
        fan.put(index, member.dev.start(array.to_member(on_behalf_of_sync(write))));
    }
    count_written(array, part.count);
    let mut good = true;
    for (index, at) in to.into_iter().enumerate() {
        let member = &array.members[at];
        match fan.take(index).await {
            Some(Ok(())) => array.was_written(member, Range::new(member.place_of(place.start), part.count)),
            Some(Err(failed)) => {
                let write = Request::write(member.place_of(place.start), memory.of(part, source));
                not_taken(array, member, &on_behalf_of_sync(write), PAGE, failed).await?;
                good = false;
            }
            None => {}
        }
    }
    Ok(good && part.count > Sectors::ZERO)
}
