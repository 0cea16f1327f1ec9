//! The levels: where a sector of the array lies, and what a request does at each.
//!
//! `linear` and `raid0` say where; `spread` serves both, because neither has a second copy. `mirror` serves raid1 and
//! raid10, with one file for each thing it decides or does; where raid10 keeps its copies says `raid10`.

mod linear;
mod mirror;
pub(crate) mod parity;
mod raid0;
pub(crate) mod raid10;
mod spread;

use std::cell::Cell;
use std::rc::Rc;

use block::{Arena, Cause, Failed, Op, Outcome, Range, Request, Sectors};
use md_format::Level;
use md_format::superblock::Summary;

use crate::array::{Array, Options};
use crate::assembly::recorded_layout;
use crate::error::Hindrance;
use crate::member::{Condition, Member};
use crate::plant;
use crate::sync::{Scrub, Target};

/// Where the sectors of an array lie.
pub(crate) enum Mapping {
    /// One member after the other.
    Linear(linear::Map),
    /// Chunks in turn.
    Raid0(raid0::Map),
    /// Everything more than once: raid1 and raid10.
    Mirror(Cell<mirror::Layout>),
    /// In stripes with parity.
    Parity(Box<parity::Striped>),
}

/// A run of array sectors that lies in one piece on one member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// Which member, by its place among the array's.
    pub member: usize,
    /// Where on the member, from its data offset.
    pub start: Sectors,
    /// How many sectors follow in one piece.
    pub count: Sectors,
}

/// Builds the map of an array, and its size.
pub(crate) fn map(
    summary: &Summary,
    members: &[Rc<Member>],
    options: &Options,
    height: u8,
) -> Result<(Mapping, Sectors), Hindrance> {
    let sizes: Vec<u64> = slots(members).map(|member| member.data_size.0).collect();
    match summary.level {
        Level::Linear => {
            let map = linear::Map::new(&sizes, summary.chunk_sectors)?;
            let size = map.size();
            Ok((Mapping::Linear(map), size))
        }
        Level::Raid0 => {
            let map =
                raid0::Map::new(&sizes, summary.chunk_sectors, recorded_layout(summary), options.layout)?;
            let size = map.size();
            Ok((Mapping::Raid0(map), size))
        }
        Level::Raid1 | Level::Raid10 => {
            let (layout, size) = mirror_layout(summary)?;
            Ok((Mapping::Mirror(Cell::new(layout)), size))
        }
        Level::Raid4 | Level::Raid5 | Level::Raid6 => {
            let map = parity_map(summary)?;
            let places = members.iter().filter_map(|member| member.summary().ppl);
            let (size, log) = (map.size(), parity::log::Log::open(summary, &map, places, height));
            Ok((Mapping::Parity(Box::new(parity::Striped::new(map, options, height, log))), size))
        }
        other => Err(Hindrance::Level(other)),
    }
}

/// The members of an array are as many, and give as much, as `summary` says from now on. Nothing is under way.
pub(crate) fn grow(array: &Array, summary: &Summary) -> Result<(), Hindrance> {
    match &array.mapping {
        Mapping::Mirror(layout) => layout.set(mirror_layout(summary)?.0),
        Mapping::Parity(level) => level.map.grow(parity_map(summary)?),
        Mapping::Linear(_) | Mapping::Raid0(_) => return Err(Hindrance::Level(summary.level)),
    }
    Ok(())
}

/// Sectors of an array whose level keeps anything twice.
pub(crate) fn size_of(summary: &Summary) -> Result<Sectors, Hindrance> {
    match summary.level {
        Level::Raid4 | Level::Raid5 | Level::Raid6 => Ok(parity_map(summary)?.size()),
        _ => Ok(mirror_layout(summary)?.1),
    }
}

/// How a mirror keeps its copies, and its size.
fn mirror_layout(summary: &Summary) -> Result<(mirror::Layout, Sectors), Hindrance> {
    match summary.level {
        Level::Raid1 => Ok((mirror::Layout::Whole(summary.raid_disks as u16), Sectors(summary.size_sectors))),
        _ => {
            let map = raid10::Map::of(summary)?;
            Ok((mirror::Layout::Chunks(map), map.size()))
        }
    }
}

/// The map of an array with parity.
pub(crate) fn parity_map(summary: &Summary) -> Result<parity::map::Map, Hindrance> {
    let (slots, chunk) = (summary.raid_disks, summary.chunk_sectors);
    parity::map::Map::new(summary.level, summary.layout, slots, chunk, summary.size_sectors)
}

fn slots(members: &[Rc<Member>]) -> impl Iterator<Item = &Rc<Member>> {
    members.iter().filter(|member| member.slot.get().is_some())
}

/// Sectors of the space in which the array is synced.
pub(crate) fn sync_size(summary: &Summary, array_size: Sectors) -> Sectors {
    match summary.level {
        Level::Raid4 | Level::Raid5 | Level::Raid6 => {
            Sectors(summary.size_sectors).round_down(Sectors(summary.chunk_sectors.max(1).into()))
        }
        _ => array_size,
    }
}

/// Sectors of a request that suits the level best: a chunk, or a whole stripe, whose parity needs no reading.
pub(crate) fn optimal_sectors(summary: &Summary) -> u32 {
    let data = match summary.level {
        Level::Raid4 | Level::Raid5 => summary.raid_disks.saturating_sub(1),
        Level::Raid6 => summary.raid_disks.saturating_sub(2),
        _ => 1,
    };
    summary.chunk_sectors.saturating_mul(data)
}

/// The log that closes an array's write hole, if it has one.
pub(crate) fn log(array: &Array) -> Option<&parity::log::Log> {
    match &array.mapping {
        Mapping::Parity(level) => level.log(),
        _ => None,
    }
}

/// The write journal of an array, if it has one.
pub(crate) fn journal(array: &Array) -> Option<&parity::journal::Journal> {
    match &array.mapping {
        Mapping::Parity(level) => level.journal(),
        _ => None,
    }
}

/// How far what is there is enough to make it consistent by, in the space in which the array is synced.
pub(crate) fn resync_limit(array: &Array) -> Sectors {
    match &array.mapping {
        Mapping::Linear(_) | Mapping::Raid0(_) => Sectors::ZERO,
        Mapping::Mirror(_) => array.sync_size(),
        // Without one of them, what parity says of it is all there is: nothing tells whether it is right.
        Mapping::Parity(_) => (0..array.slots() as u16)
            .map(|slot| match array.occupant(slot).map(|member| member.condition()) {
                Some(Condition::InSync) => array.sync_size(),
                Some(Condition::Recovering(recovering)) => recovering.done,
                _ => Sectors::ZERO,
            })
            .min()
            .unwrap_or(Sectors::ZERO),
    }
}

/// Rows of the members, from their data offsets: the space that a recovery goes through.
pub(crate) fn rows(array: &Array) -> Sectors {
    match &array.mapping {
        Mapping::Mirror(layout) => mirror::rows(array, &layout.get()),
        Mapping::Linear(_) | Mapping::Raid0(_) | Mapping::Parity(_) => array.sync_size(),
    }
}

/// Whether rows are consistent after a recovery has come by, whatever they were before.
pub(crate) fn recovery_makes_consistent(array: &Array) -> bool {
    matches!(array.mapping, Mapping::Parity(_))
}

/// The first part of `rows` that the bitmap marks, or may mark; the end of the rows if there is none.
pub(crate) fn next_marked_rows(array: &Array, rows: Range) -> Range {
    match (&array.mapping, array.bitmap.now()) {
        (Mapping::Mirror(layout), _) => mirror::next_marked_rows(array, &layout.get(), rows),
        (_, Some(bitmap)) => bitmap.next_marked(rows),
        (_, None) => rows,
    }
}

/// Gives the targets of a recovery a window of their rows.
pub(crate) async fn recover_window(
    array: &Array,
    memory: &Rc<Arena>,
    window: Range,
    targets: &[Target],
) -> Outcome {
    match &array.mapping {
        Mapping::Mirror(layout) => {
            mirror::recover_window(array, &layout.get(), memory, window, targets).await
        }
        Mapping::Parity(level) => parity::recover_window(array, level, memory, window, targets).await,
        Mapping::Linear(_) | Mapping::Raid0(_) => Ok(()),
    }
}

/// Compares a window of the space in which the array is synced.
pub(crate) async fn scrub_window(array: &Array, memory: &Rc<Arena>, window: Range, scrub: Scrub) -> Outcome {
    match &array.mapping {
        Mapping::Mirror(layout) => mirror::scrub_window(array, &layout.get(), memory, window, scrub).await,
        Mapping::Parity(level) => parity::scrub_window(array, level, memory, window, scrub).await,
        Mapping::Linear(_) | Mapping::Raid0(_) => Ok(()),
    }
}

/// Whether nothing is there twice, so that nothing can differ.
pub(crate) fn has_nothing_to_compare(array: &Array) -> bool {
    match &array.mapping {
        Mapping::Mirror(layout) => !layout
            .get()
            .has_any_twice(|slot| array.occupant(slot).is_some_and(|member| member.has_any_rows())),
        _ => false,
    }
}

/// Makes a window of the space in which the array is synced consistent.
pub(crate) async fn sync_window(array: &Array, memory: &Rc<Arena>, window: Range) -> Outcome {
    match &array.mapping {
        Mapping::Mirror(layout) => mirror::sync_window(array, &layout.get(), memory, window).await,
        Mapping::Parity(level) => parity::sync_window(array, level, memory, window).await,
        Mapping::Linear(_) | Mapping::Raid0(_) => Ok(()),
    }
}

/// Where the copies of an array sector lie, by slot and sector from the data offset; nothing where there are no copies.
pub(crate) fn copies_of(array: &Array, at: Sectors) -> impl Iterator<Item = (u16, Sectors)> {
    let layout = match &array.mapping {
        Mapping::Mirror(layout) => Some(layout.get()),
        _ => None,
    };
    layout.into_iter().flat_map(move |layout| layout.places(at)).map(|place| (place.slot, place.start))
}

/// Serves one request: what every slot of the array's layer runs.
pub(crate) async fn serve(array: Rc<Array>, request: Request) -> Outcome {
    let _shared = plant::shared_slot().await;
    array.still.passed().await;
    check(&array, &request)?;
    array.clients.set(array.clients.get() + 1);
    let outcome = match &array.mapping {
        Mapping::Linear(map) => spread::serve(&array, request, |at| map.locate(at)).await,
        Mapping::Raid0(map) => spread::serve(&array, request, |at| map.locate(at)).await,
        Mapping::Mirror(layout) => mirror::serve(&array, &layout.get(), request).await,
        Mapping::Parity(level) => parity::serve(&array, level, request).await,
    };
    array.clients.set(array.clients.get() - 1);
    array.still.left();
    array.served.set(array.served.get().wrapping_add(1));
    outcome
}

fn check(array: &Array, request: &Request) -> Outcome {
    let range = request.range;
    let inside = range.start.checked_add(range.count).is_some_and(|end| end <= array.size());
    let allowed = array.options.write || !request.is_write();
    let whole =
        request.buf.as_ref().is_none_or(|buf| request.op == Op::Status || buf.sectors() == range.count);
    if inside && allowed && whole { Ok(()) } else { Err(Failed::new(Cause::Refused)) }
}

/// The part of `range` that one extent at its start covers.
fn first_piece(range: Range, extent: Extent) -> Range {
    Range::new(range.start, range.count.min(extent.count))
}
