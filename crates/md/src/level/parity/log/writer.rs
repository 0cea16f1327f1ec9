//! The writers of the logs, one for each slot: whoever waits for a record joins the next one.

use crate::waits;
use block::{Buf, Cause, Failed, Fan, Origin, Outcome, Priority, Request, Sectors, Ticket};
use md_format::ppl::{HEADER_BYTES, HEADER_SECTORS, PplEntry, PplHeader, is_ring};
use md_format::private_log::LogPlace;
use runtime::waits::doing;
use runtime::yield_now;

use super::super::slots::Slots;
use super::Log;
use super::entry::describe;
use super::record::MemberLog;
use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::member::Member;
use crate::plant::{self, Plant};

/// Bytes of an area that are zeroed at a time.
pub(super) const ZEROES: usize = 64 << 10;

/// Writes the records of a slot's member until the array is stopped.
pub(super) async fn run(array: &Array, log: &Log, slot: u16) {
    let own = &log.members[usize::from(slot)];
    let _doing = doing(waits::LOG);
    loop {
        let is_due = || own.has_entries() || log.is_doubting(array, own);
        own.changed.wait_until(|| is_due() || log.stopping.get()).await;
        if !is_due() {
            return;
        }
        // What comes in the same breath goes into the same record; nobody waits for more.
        yield_now().await;
        own.changed.wait_until(|| !own.is_held() || array.broken().is_some()).await;
        if array.broken().is_some() || settle(array, own).await.is_err() {
            log.wake_all();
            return;
        }
        own.close();
        write(array, log, own).await;
        own.set_durable();
    }
}

/// What was written under the last record is safe on the members, or on record as lost: then that one may go.
async fn settle(array: &Array, own: &MemberLog) -> Outcome {
    let touched = own.touched.replace(Slots::NONE);
    if !plant::is(Plant::LogOverUnsafeRows) {
        flush(array, touched).await?;
    }
    array.metadata.membership_settled().await
}

/// Flushes the members in some slots. One whose flush fails is failed.
async fn flush(array: &Array, slots: Slots) -> Outcome {
    let mut outcome = Ok(());
    let mut places = slots.iter().flat_map(|slot| array.written(slot));
    loop {
        let mut fan = Fan::<FAN_OUT>::default();
        let mut asked = [None; FAN_OUT];
        for (turn, at) in places.by_ref().take(FAN_OUT).enumerate() {
            fan.put(turn, array.members[at].dev.start(array.to_member(Request::flush())));
            asked[turn] = Some(at);
        }
        if asked[0].is_none() {
            return outcome;
        }
        for (turn, at) in asked.into_iter().enumerate() {
            if let (Some(Err(failed)), Some(at)) = (fan.take(turn).await, at)
                && !array.fail(&array.members[at], failed)
            {
                array.set_broken(failed);
                outcome = Err(failed);
            }
        }
    }
}

/// Writes the closed record, durably: to the slot's member, and to whoever is to replace that. One that does not take it
/// is failed.
async fn write(array: &Array, log: &Log, own: &MemberLog) {
    log.generation.set(log.generation.get() + 1);
    let buf = own.with_closed(|record| {
        let entries = record.entries.iter().map(|entry| {
            let stripe = log.map.stripe(entry.stripe);
            describe(&log.map, &stripe, entry.rows, entry.written, entry.crc, own.slot)
        });
        // Rows that are safe, and of a member that went: a record about nothing takes the place of theirs.
        let nothing = record.entries.is_empty().then(|| PplEntry::nothing(own.slot));
        put_header(log, own.slot, entries.chain(nothing), &record.buf);
        record.buf.slice(0, HEADER_BYTES + record.bytes)
    });
    for at in array.written(own.slot) {
        let member = &array.members[at];
        let is_replacement = member.recovering().is_some_and(|recovering| recovering.replaces);
        let outcome = match is_replacement {
            true => write_beside(array, log, member, &buf).await,
            false => write_next(array, log, own, member, &buf).await,
        };
        if outcome.is_err_and(|failed| failed.cause == Cause::Timeout) {
            own.forget_memory();
        }
        if let Err(failed) = outcome
            && !array.fail(member, failed)
        {
            array.set_broken(failed);
        }
    }
}

/// Writes a record behind the last one.
async fn write_next(array: &Array, log: &Log, own: &MemberLog, member: &Member, buf: &Buf) -> Outcome {
    let Some(area) = log.place(member) else { return Err(Failed::new(Cause::Refused)) };
    if own.owner.get() != Some(member.dev_number) {
        if own.admitted.get() != Some(member.dev_number) {
            refresh(array, log, own, member, true).await?;
        }
        own.owner.set(Some(member.dev_number));
        own.next.set(first_place(&area));
    }
    let sectors = buf.sectors().0;
    let at = next_place(own.next.get(), sectors, &area);
    own.next.set(if is_ring(area.sectors) { at + sectors } else { 0 });
    send(array, member, Sectors(area.sector + at), buf.clone()).await
}

/// Writes a record to a member that is to replace the one in the slot: always in the same place.
async fn write_beside(array: &Array, log: &Log, member: &Member, buf: &Buf) -> Outcome {
    let Some(area) = log.place(member) else { return Err(Failed::new(Cause::Refused)) };
    send(array, member, Sectors(area.sector + first_place(&area)), buf.clone()).await
}

/// Where the first record goes, behind the one that was there when the log was emptied.
fn first_place(area: &LogPlace) -> u64 {
    if is_ring(area.sectors) { HEADER_SECTORS } else { 0 }
}

/// Where the next record goes: behind the last one, or at the start of the area where there is no room for it.
fn next_place(next: u64, sectors: u64, area: &LogPlace) -> u64 {
    if next + sectors <= area.sectors { next } else { 0 }
}

/// Makes the header of a record in its memory: what is in doubt on this slot's member, and these entries.
fn put_header(log: &Log, slot: u16, entries: impl Iterator<Item = PplEntry>, buf: &Buf) {
    let mut bytes = [0; HEADER_BYTES];
    let header = PplHeader::edit(&mut bytes).expect("as long as a header");
    header.clear(log.signature.get(), log.generation.get());
    let doubts = log.doubts.borrow();
    let doubts = doubts.iter().filter(|doubt| doubt.logs.has(slot)).map(|doubt| doubt.entry(&log.map, slot));
    doubts.chain(entries).try_for_each(|entry| header.push(entry)).expect("room was kept for all of them");
    header.seal();
    buf.copy_from_slice(0, &bytes);
}

pub(super) async fn send(array: &Array, member: &Member, at: Sectors, buf: Buf) -> Outcome {
    start_send(array, member, at, buf).await
}

/// Starts writing something durably to a member.
pub(super) fn start_send(array: &Array, member: &Member, at: Sectors, buf: Buf) -> Ticket {
    let write = Request::write(at, buf).with_fua();
    let write = Request { origin: Origin::Metadata, priority: Priority::Urgent, ..write };
    member.dev.start(array.to_member(write))
}

/// Empties the logs of all members, and gives them an entry about nothing if they are `kept` from now on.
pub(super) async fn prepare(array: &Array, log: &Log, kept: bool) {
    for own in &log.members {
        for at in array.written(own.slot) {
            let member = &array.members[at];
            if let Err(failed) = refresh(array, log, own, member, kept).await
                && !array.fail(member, failed)
            {
                array.set_broken(failed);
            }
        }
        let occupant = array.occupant(own.slot);
        own.owner.set(occupant.map(|member| member.dev_number));
        own.next.set(occupant.and_then(|member| log.place(member)).map_or(0, |area| first_place(&area)));
    }
}

/// Empties the log of one member, and gives it an entry about nothing if it is `kept` from now on.
pub(super) async fn refresh(
    array: &Array,
    log: &Log,
    own: &MemberLog,
    member: &Member,
    kept: bool,
) -> Outcome {
    let Some(area) = log.place(member) else { return Err(Failed::new(Cause::Refused)) };
    zero(array, log, member, area).await?;
    begin(array, log, member, (area, own.slot), kept.then(|| PplEntry::nothing(own.slot))).await
}

/// Empties an area of a member that no superblock speaks of yet.
pub(super) async fn empty(array: &Array, log: &Log, member: &Member, area: LogPlace) -> Outcome {
    zero(array, log, member, area).await?;
    begin(array, log, member, (area, 0), None).await
}

/// Zeroes an area: a record of an earlier life must not be taken for the newest.
async fn zero(array: &Array, log: &Log, member: &Member, area: LogPlace) -> Outcome {
    let zeroes = &log.zeroes;
    // Its first header goes first: without one nothing in the area counts.
    send(array, member, Sectors(area.sector), zeroes.slice(0, HEADER_BYTES)).await?;
    let mut at = HEADER_SECTORS;
    while at < area.sectors {
        let sectors = (area.sectors - at).min(zeroes.sectors().0);
        let write = Request::write(Sectors(area.sector + at), zeroes.slice(0, Sectors(sectors).byte_len()));
        member.dev.start(array.to_member(write.from_origin(Origin::Metadata))).await?;
        at += sectors;
    }
    member.dev.start(array.to_member(Request::flush())).await
}

/// Writes the first header of an area, for the member in a slot.
async fn begin(
    array: &Array,
    log: &Log,
    member: &Member,
    (area, slot): (LogPlace, u16),
    entry: Option<PplEntry>,
) -> Outcome {
    log.generation.set(log.generation.get() + 1);
    let header = log.headers.take(HEADER_BYTES).expect("there is one for each slot");
    put_header(log, slot, entry.into_iter(), &header);
    send(array, member, Sectors(area.sector), header).await
}
