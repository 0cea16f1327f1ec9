//! The private log of raid6: records as of a partial parity log, in the headroom, that count only as long as the
//! superblocks are as this program left them (ADR 18).
//!
//! Whether they are is decided here, from what was examined, and is pure ([`is_bound`], [`decide`]). Before a round of
//! superblocks each member's binding is written ([`Log::bind`]): it names the superblock that is there and the one that
//! comes. So at any instant of the round every superblock is one that its binding names, and whatever anybody else
//! writes is not.

use std::cell::Cell;

use block::{Arena, Cause, Failed, Fan, Outcome, Sectors};
use md_format::private_log::{BINDING_BYTES, BINDING_SECTORS, BINDINGS, Binding, LogPlace, fingerprint};
use md_format::superblock::Summary;
use md_format::{Level, private_log};
use runtime::rank::Step;

use super::Log;
use super::writer::send;
use crate::array::{Array, Options};
use crate::assembly::{Candidate, Seat, Set};
use crate::error::Hindrance;
use crate::examine::PrivateLogFacts;
use crate::limits::FAN_OUT;
use crate::member::Member;
use crate::plant::{self, Plant};

/// Bytes of the place of a binding: written whole, so that it is a block of any disk.
const PLACE_BYTES: usize = BINDING_SECTORS as usize * 512;

/// What is known of the private log of an array that is being opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The session whose records count; `None` where they are void, or there were none.
    session: Option<[u8; 16]>,
    /// The newest binding's generation.
    generation: u64,
    /// Sectors of a member's bitmap.
    bitmap_sectors: u64,
    /// There were records, and they are void.
    is_void: bool,
    /// It is not to be kept any longer.
    is_ending: bool,
}

/// What a private log has beside its records.
pub(super) struct Private {
    array_uuid: [u8; 16],
    /// The session of the records; `None` while they are void.
    session: Cell<Option<[u8; 16]>>,
    generation: Cell<u64>,
    bitmap_sectors: u64,
    /// What it was opened with counts no more.
    pub was_void: bool,
    /// It is not to be kept any longer than what it knows is needed.
    pub is_ending: bool,
}

/// The seats of an array whose members are written to.
fn seats(set: &Set) -> impl Iterator<Item = Seat> {
    set.slots.iter().flatten().copied().chain(set.replacements.iter().map(|(_, seat)| *seat))
}

/// The session of the records, where every member's superblock is one that its binding names. Pure.
fn session(set: &Set, candidates: &[Candidate]) -> Option<[u8; 16]> {
    let mut common = None;
    for seat in seats(set) {
        let found = candidates[seat.candidate].examined.private_log.as_ref()?;
        let binding = found.binding.filter(|_| found.place.is_ok())?;
        if !binding.names_superblock && !plant::is(Plant::ReplayUnbound) {
            return None;
        }
        if *common.get_or_insert(binding.session) != binding.session {
            return None;
        }
    }
    common
}

/// Whether the superblocks are as this program left them, so that the private log knows what may be wrong. Pure.
pub(crate) fn is_bound(set: &Set, candidates: &[Candidate]) -> bool {
    session(set, candidates).is_some()
}

/// Whether members remember a private log that does not count any more: others have written superblocks since. Pure.
pub(crate) fn is_void(set: &Set, candidates: &[Candidate]) -> bool {
    let logs = seats(set).filter_map(|seat| candidates[seat.candidate].examined.private_log.as_ref());
    logs.filter_map(|log| log.binding).next().is_some() && !is_bound(set, candidates)
}

/// What becomes of the private log of an array that is opened like this; `None`: nothing. Pure.
pub(crate) fn decide(
    set: &Set,
    candidates: &[Candidate],
    options: &Options,
) -> Result<Option<Start>, Hindrance> {
    let examined = |seat: Seat| &candidates[seat.candidate].examined;
    let is_asked = options.private_log == Some(true);
    if candidates[set.freshest].examined.summary.level != Level::Raid6 {
        return if is_asked { Err(Hindrance::PrivateLog("only raid6 has one")) } else { Ok(None) };
    }
    let logs = || seats(set).filter_map(|seat| examined(seat).private_log.as_ref());
    let bindings = || logs().filter_map(|log| log.binding);
    let session = session(set, candidates);
    let is_wanted = match options.write {
        true => is_asked || bindings().next().is_some(),
        false => session.is_some(), // what is open for reading reads it
    };
    if !is_wanted {
        return Ok(None);
    }
    let unavailable = logs().find_map(|log| log.place.err());
    let is_coarse = seats(set).any(|seat| examined(seat).geometry.logical_block as usize > PLACE_BYTES);
    match unavailable.or(is_coarse.then_some("the blocks of a member are larger than 4 KiB")) {
        Some(why) if is_asked => return Err(Hindrance::PrivateLog(why)),
        Some(_) => return Ok(None),
        None => {}
    }
    Ok(Some(Start {
        session,
        generation: bindings().map(|binding| binding.generation).max().unwrap_or(0),
        bitmap_sectors: logs().map(|log| log.bitmap_sectors).max().unwrap_or(0),
        is_void: is_void(set, candidates),
        is_ending: options.private_log == Some(false),
    }))
}

/// What the two places for bindings hold: the newer one that is whole. Pure.
pub(crate) fn facts(
    summary: &Summary,
    superblock: u64,
    place: Result<LogPlace, &'static str>,
    bitmap_sectors: u64,
    bytes: &[u8],
) -> PrivateLogFacts {
    let whole = bytes.chunks(PLACE_BYTES).filter_map(|bytes| Binding::view(bytes).ok());
    let whole = whole.filter(|binding| binding.check(&summary.array_uuid, summary.dev_number).is_ok());
    let newest = whole.max_by_key(|binding| binding.generation.get());
    let binding = newest.map(|binding| crate::examine::BindingFacts {
        session: binding.session,
        generation: binding.generation.get(),
        names_superblock: binding.names(superblock),
    });
    PrivateLogFacts { place, bitmap_sectors, binding }
}

impl Private {
    pub fn new(summary: &Summary, start: &Start) -> Private {
        Private {
            array_uuid: summary.array_uuid,
            session: Cell::new(start.session),
            generation: Cell::new(start.generation),
            bitmap_sectors: start.bitmap_sectors,
            was_void: start.is_void,
            is_ending: start.is_ending,
        }
    }

    /// Whether records may be believed.
    pub fn is_valid(&self) -> bool {
        self.session.get().is_some()
    }

    /// What marks the records of the session.
    pub fn signature(&self) -> u32 {
        self.session.get().map_or(0, |session| private_log::signature(&self.array_uuid, &session))
    }

    /// The records begin anew.
    pub fn begin_session(&self) {
        self.session.set(Some(runtime::random_uuid()));
    }

    /// Where a member keeps bindings and records.
    fn place(&self, member: &Member) -> Option<LogPlace> {
        private_log::place(&member.summary(), self.bitmap_sectors).ok()
    }

    /// Where a member keeps its records.
    pub fn records(&self, member: &Member) -> Option<LogPlace> {
        self.place(member).map(|place| place.records())
    }

    /// Takes the bindings away, and with them what remembers that there is a log.
    pub async fn erase(&self, array: &Array) -> Outcome {
        self.session.set(None);
        for member in array.members.iter().filter(|member| member.is_written()) {
            let Some(place) = self.place(member) else { continue };
            let bytes = BINDINGS as usize * PLACE_BYTES;
            let zeroes = Arena::new(bytes).take_zeroed(bytes).expect("the arena was made for it");
            if let Err(failed) = send(array, member, Sectors(place.sector), zeroes).await
                && !array.fail(member, failed)
            {
                array.set_broken(failed);
                return Err(failed);
            }
        }
        Ok(())
    }
}

impl Log {
    /// Before a round of superblocks: names on each member the one it has and the one it is to get. Until the records have
    /// begun there is nothing to bind. A member that does not take it is failed.
    pub async fn bind(&self, array: &Array) {
        let Some((private, session)) =
            self.private.as_ref().and_then(|private| Some((private, private.session.get()?)))
        else {
            return;
        };
        private.generation.set(private.generation.get() + 1);
        for wave in array.members.waves() {
            let mut fan = Fan::<FAN_OUT>::default();
            for (at, member) in wave.clone().enumerate().filter(|(_, member)| member.is_written()) {
                let Some(place) = private.place(member) else {
                    fan.put(at, block::Ticket::ready(Err(Failed::new(Cause::Refused))));
                    continue;
                };
                array.rank(Step::Buffers).wait();
                let buf = array.metadata.arena.wait_take(PLACE_BYTES).await;
                let mut bytes = [0; BINDING_BYTES];
                let binding = Binding::edit(&mut bytes).expect("as long as a binding");
                binding.clear(&private.array_uuid, member.dev_number);
                binding.session = session;
                binding.generation = private.generation.get().into();
                binding.before = member.recorded.get().into();
                binding.after = fingerprint(&member.superblock.borrow()).into();
                binding.seal();
                buf.fill_zero();
                buf.copy_from_slice(0, &bytes);
                let at_sector = Sectors(place.binding(private.generation.get()));
                fan.put(at, super::writer::start_send(array, member, at_sector, buf));
            }
            for (at, member) in wave.enumerate() {
                if let Some(Err(failed)) = fan.take(at).await
                    && !array.fail(member, failed)
                {
                    array.set_broken(failed);
                }
            }
        }
    }
}
