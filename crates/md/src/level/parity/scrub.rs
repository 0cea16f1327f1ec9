//! Looking whether parity belongs to the data, and where it does not, who is to blame.

use std::rc::Rc;

use block::{Arena, Outcome, Range, Request, Sectors};
use parity::Verdict as Blame;

use super::map::Stripe;
use super::settle::settle_copies;
use super::stripe::write_out;
use super::whole::{Rows, Wanted, make_whole, read_rows};
use super::work::Work;
use super::{Striped, arithmetic};
use crate::array::Array;
use crate::sync::{Mismatch, Scrub, Verdict, count_written, on_behalf_of_sync};

/// The unit in which mismatches are counted and looked into: md's, a page of each member.
const FINEST: Sectors = Sectors(8);

/// Compares a window, under a lock of its stripes.
pub(in crate::level) async fn scrub_window(
    array: &Array,
    level: &Striped,
    memory: &Rc<Arena>,
    window: Range,
    scrub: Scrub,
) -> Outcome {
    let stripes = level.stripes_of_rows(window);
    let _rows = level.lock(array, stripes).await;
    let mut work = level.works.take().await;
    // What is read here is what the members have.
    write_out(array, level, stripes, &mut work).await?;
    let all =
        (0..level.map.slots()).filter(|slot| array.occupant(*slot).is_some_and(|member| member.is_written()));
    let all = all.count() as u32;
    let rows = read_rows(array, level, memory, &mut work, window).await?;
    if rows.good.count() == all {
        for part in level.parts_of_rows(window) {
            judge(array, level, &mut work, &rows, part, scrub).await?;
        }
        rows.give_back(&mut work);
        return array.recorded().await;
    }
    rows.give_back(&mut work);
    let block = Sectors::from_bytes(runtime::Engine::geometry(array).logical_block.into());
    let mut at = window.start;
    while at < window.end() {
        let part = Range::new(at, block);
        let rows = read_rows(array, level, memory, &mut work, part).await?;
        match rows.unreadable.is_empty() {
            true => judge(array, level, &mut work, &rows, part, scrub).await?,
            false => mend(array, level, &mut work, &rows, scrub).await?,
        }
        rows.give_back(&mut work);
        at += block;
    }
    array.recorded().await
}

/// What of the array some rows of a stripe hold: from its first to its last sector there.
fn array_range(level: &Striped, stripe: &Stripe, rows: Range) -> Range {
    let base = level.map.range_of(stripe.number);
    let within = rows.start - level.map.rows_of(stripe.number).start;
    let last = base.end() - level.map.chunk() + within + rows.count;
    Range::new(base.start + within, last - (base.start + within))
}

/// Somebody could not read: that is told, and what he lacks is given to him anew where it is sure.
async fn mend(array: &Array, level: &Striped, work: &mut Work, rows: &Rows, scrub: Scrub) -> Outcome {
    let stripe = level.map.stripe(rows.range.start.0 / level.map.chunk().0);
    let lost = stripe.data() - rows.good;
    let is_sure = lost.count() <= (stripe.parities() & rows.good).count() && array.is_consistent(rows.range);
    let repaired = scrub == Scrub::Repair && is_sure;
    if repaired {
        let _writing = array.begin_write(rows.range).await?;
        make_whole(array, level, work, rows, Wanted { targets: &[], agree: false }).await?;
    }
    for slot in rows.unreadable.iter() {
        let name = array.occupant(slot).map(|member| member.name.clone()).unwrap_or_default();
        let verdict = Verdict::Unreadable(name);
        array.found(Mismatch {
            array: array_range(level, &stripe, rows.range),
            rows: rows.range,
            verdict,
            repaired,
        });
    }
    Ok(())
}

/// Compares rows of one stripe that all could be read; a member that is missing leaves nothing to compare with.
async fn judge(
    array: &Array,
    level: &Striped,
    work: &mut Work,
    rows: &Rows,
    part: Range,
    scrub: Scrub,
) -> Outcome {
    let stripe = level.map.stripe(part.start.0 / level.map.chunk().0);
    let is_whole = (0..level.map.slots()).all(|slot| rows.good.has(slot));
    if !is_whole || belongs(work, rows, &stripe, part) {
        return Ok(());
    }
    let mut left = part;
    while !left.count.is_zero() {
        let page = Range::new(left.start, left.count.min(FINEST - Sectors(left.start.0 % FINEST.0)));
        left = Range::new(page.end(), left.count - page.count);
        if belongs(work, rows, &stripe, page) {
            continue;
        }
        let blamed = blame(array, work, rows, &stripe, page);
        let repaired =
            scrub == Scrub::Repair && repair(array, level, work, rows, &stripe, page, blamed).await?;
        let verdict = match blamed {
            Blamed::Slot(slot) => {
                Verdict::Member(array.occupant(slot).map(|member| member.name.clone()).unwrap_or_default())
            }
            Blamed::Nobody => Verdict::Nobody,
            Blamed::Several => Verdict::Several,
        };
        array.found(Mismatch { array: array_range(level, &stripe, page), rows: page, verdict, repaired });
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blamed {
    Slot(u16),
    Nobody,
    Several,
}

/// Who is wrong: with one parity nobody can say, with two they agree on one block, or more than one is wrong.
fn blame(array: &Array, work: &mut Work, rows: &Rows, stripe: &Stripe, page: Range) -> Blamed {
    let Some(q) = stripe.q else { return Blamed::Nobody };
    if !array.is_consistent(page) {
        return Blamed::Nobody; // a write that a crash has torn has wrong parity, and right data
    }
    list_data(work, rows, stripe, page);
    let blame =
        arithmetic::locate(&work.indices, &work.sources, &rows.block(stripe.p, page), &rows.block(q, page));
    work.sources.clear();
    match blame {
        Blame::P => Blamed::Slot(stripe.p),
        Blame::Q => Blamed::Slot(q),
        Blame::Data(index) => match stripe.by_index().find(|(own, _)| *own == index) {
            Some((_, slot)) => Blamed::Slot(slot),
            None => Blamed::Several,
        },
        Blame::Consistent | Blame::Unknown => Blamed::Several,
    }
}

/// Gives the blamed block what the others say; where nobody can be blamed because there is one parity, parity follows the
/// data. Where several are wrong nothing is written: it would hide that.
async fn repair(
    array: &Array,
    level: &Striped,
    work: &mut Work,
    rows: &Rows,
    stripe: &Stripe,
    page: Range,
    blamed: Blamed,
) -> Result<bool, block::Failed> {
    let data = match blamed {
        Blamed::Several => return Ok(false),
        Blamed::Slot(slot) if !stripe.is_parity(slot) => Some(slot),
        Blamed::Slot(_) | Blamed::Nobody => None,
    };
    let _writing = array.begin_write(page).await?;
    if let Some(slot) = data {
        list_data(work, rows, stripe, page);
        let at = stripe.by_index().position(|(_, own)| own == slot).expect("it is data");
        let lost = [(work.indices.remove(at), work.sources.remove(at))];
        work.sources.push(rows.block(stripe.p, page));
        arithmetic::recover(&lost, &work.indices, &work.sources, true, false);
        work.sources.clear();
    } else {
        list_data(work, rows, stripe, page);
        let (p, q) = (rows.block(stripe.p, page), stripe.q.map(|slot| rows.block(slot, page)));
        arithmetic::generate(&work.indices, &work.sources, Some(&p), q.as_ref());
        work.sources.clear();
    }
    let slots = data.map_or(stripe.parities(), |slot| [slot].into_iter().collect());
    for slot in slots.iter() {
        for at in array.written(slot) {
            let member = &array.members[at];
            let write = Request::write(member.place_of(page.start), rows.block(slot, page));
            work.write(array, slot, at, on_behalf_of_sync(write));
        }
    }
    count_written(array, page.count);
    settle_copies(array, level, work).await?;
    Ok(true)
}

fn belongs(work: &mut Work, rows: &Rows, stripe: &Stripe, part: Range) -> bool {
    list_data(work, rows, stripe, part);
    work.sources.extend([Some(stripe.p), stripe.q].into_iter().flatten().map(|slot| rows.block(slot, part)));
    let belongs = arithmetic::belongs(&work.indices, &work.sources);
    work.sources.clear();
    belongs
}

fn list_data(work: &mut Work, rows: &Rows, stripe: &Stripe, part: Range) {
    work.indices.clear();
    work.sources.clear();
    for (index, slot) in stripe.by_index() {
        work.indices.push(index);
        work.sources.push(rows.block(slot, part));
    }
}
