//! An open array: a device, its members, and the rules of who is asked and who is told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Cause, Dev, Failed, Fan, Geometry, Outcome, Range, Request, Sectors};
use md_format::geometry::linear_member_sectors;
use md_format::geometry::raid0::Raid0Layout;
use md_format::superblock::{Entry, Summary};
use md_format::{Level, MemberFlags, ResyncOffset, Role, Version};
use runtime::rank::{Rank, Step};
use runtime::{Engine, Event, Layer};

use crate::assembly::{Candidate, Seat, Set};
use crate::badblocks::BadBlocks;
use crate::bitmap::{self, Bitmap, BitmapState, Kept, Marked};
use crate::error::{Hindrance, OpenError};
use crate::happening::HAPPENINGS;
pub use crate::happening::Happening;
use crate::lane::Lanes;
use crate::level::parity;
use crate::level::parity::journal::{JournalMode, JournalState};
use crate::level::parity::log::PrivateLogState;
use crate::level::parity::log::private;
use crate::level::{self, Mapping};
use crate::limits::{
    CHECKPOINT_MS, FAN_OUT, JOURNAL_CACHE_BYTES, MAX_READ_ERRORS, MEMBER_TIMEOUT_MS, SAFE_MODE_DELAY_MS,
};
use crate::member::{Condition, Flusher, Member, MemberStatus, Recovering};
use crate::metadata::{self, Found, Metadata};
use crate::plant::{self, Plant};
use crate::pools::Pools;
use crate::redundancy::Redundancy;
use crate::roster::Roster;
use crate::still::Still;
use crate::sync::{self, Mismatch, Rewritten, Sync, decide};

/// How an array is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// For reading and writing. Otherwise the members are overlays, and no sync starts.
    pub write: bool,
    /// Members may be missing.
    pub degraded: bool,
    /// What parity gives back is believed, also where it may not belong to the data.
    pub dirty_degraded: bool,
    /// The layout of a raid0 that has none recorded.
    pub layout: Option<Raid0Layout>,
    /// When a member counts as not answering; `None` waits for ever.
    pub member_timeout_ms: Option<u64>,
    /// How long the array stays dirty after the last write.
    pub safe_mode_delay_ms: u64,
    /// A resync's position is recorded at least this often.
    pub checkpoint_ms: u64,
    /// Parts that the array is served in, each on its own.
    pub lanes: usize,
    /// How often bits of the bitmap are cleared; `None` as often as the bitmap says.
    pub bitmap_round_ms: Option<u64>,
    /// Whether a raid6 keeps a private log in the headroom (ADR 18); `None`: if it has one.
    pub private_log: Option<bool>,
    /// When a write to an array with a write journal is answered.
    pub journal_mode: JournalMode,
    /// Bytes of memory for what such a journal has and no member yet.
    pub journal_cache_bytes: usize,
    /// How much there is of what requests wait for.
    pub pools: Pools,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            write: false,
            degraded: false,
            dirty_degraded: false,
            layout: None,
            member_timeout_ms: Some(MEMBER_TIMEOUT_MS),
            safe_mode_delay_ms: SAFE_MODE_DELAY_MS,
            checkpoint_ms: CHECKPOINT_MS,
            lanes: 1,
            bitmap_round_ms: None,
            private_log: None,
            journal_mode: JournalMode::WriteThrough,
            journal_cache_bytes: JOURNAL_CACHE_BYTES,
            pools: Pools::default(),
        }
    }
}

/// What an open array looks like. It changes only when the array grows: see [`crate::Growth`].
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The superblock that the array was assembled by.
    pub summary: Summary,
    /// Sectors of the array.
    pub size: Sectors,
    /// Slots.
    pub slots: u32,
}

/// Which members have what of a stripe, by their places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StripePlaces {
    /// Rows from the one asked for to the end of the stripe.
    pub rows: Sectors,
    /// Who has P.
    pub p: usize,
    /// Who has Q, if there is one.
    pub q: Option<usize>,
    /// Who has data, and the index of its coefficient in Q, ascending.
    pub data: Vec<(u8, usize)>,
}

/// An open array.
pub struct Array {
    pub(crate) shape: Cell<Shape>,
    pub(crate) mapping: Mapping,
    pub(crate) members: Roster,
    /// Which member sits in each slot, by its place.
    pub(crate) seats: Vec<Cell<Option<usize>>>,
    /// Which member is to take its place.
    pub(crate) replacements: Vec<Cell<Option<usize>>>,
    pub(crate) redundancy: Cell<Redundancy>,
    pub(crate) options: Options,
    pub(crate) metadata: Metadata,
    pub(crate) bitmap: Rc<Kept>,
    pub(crate) sync: Sync,
    pub(crate) lanes: Lanes,
    pub(crate) arena: Rc<Arena>,
    /// Requests of clients under way, and all there were.
    pub(crate) clients: Cell<u32>,
    pub(crate) served: Cell<u64>,
    pub(crate) epoch: Cell<u64>,
    pub(crate) still: Still,
    pub(crate) max_read_errors: Cell<u32>,
    broken: Cell<Option<Failed>>,
    pub(crate) height: u8,
    pub(crate) geometry: Cell<Geometry>,
    pub(crate) sync_size: Cell<Sectors>,
    pub(crate) happenings: RefCell<Vec<Happening>>,
    pub(crate) happened: Event,
}

/// While this lives, a write is under way: the array is marked dirty, and what it writes in the bitmap.
pub(crate) struct Writing<'a> {
    _writing: metadata::Writing<'a>,
    _marked: Option<Marked>,
}

impl Array {
    /// Opens `set`, whose candidates' devices are `devs` (the same numbers). For writing, the devices are the members
    /// themselves; otherwise overlays over them. No byte is written before the first request asks for it.
    pub fn open(
        set: &Set,
        candidates: &[Candidate],
        devs: &[Dev],
        options: Options,
    ) -> Result<Rc<Array>, OpenError> {
        let summary = set.summary(candidates);
        let hindrances = set.forbidding(&options);
        if !hindrances.is_empty() {
            return Err(OpenError::Hindered(hindrances));
        }
        let seats = set.slots.iter().enumerate().map(|(slot, seat)| (Some(slot as u16), *seat));
        let seats = seats.filter_map(|(slot, seat)| Some((slot, seat?)));
        let replacements = set.replacements.iter().map(|(slot, seat)| (Some(*slot), *seat));
        let spares = set.spares.iter().map(|seat| (None, *seat));
        let mut members: Vec<Rc<Member>> = seats
            .chain(replacements)
            .chain(spares)
            .map(|(slot, seat)| Rc::new(member(slot, seat, candidates, devs)))
            .collect();
        let journal = set.journal.map(|seat| {
            let journal = member(None, seat, candidates, devs);
            journal.condition.set(Condition::Journal);
            Rc::new(journal)
        });
        let all = members.iter().chain(&journal);
        let height = 1 + all.map(|member| member.dev.height()).max().unwrap_or(0);
        let (mapping, size) = level::map(&summary, &members, &options, height)
            .map_err(|hindrance| OpenError::Hindered(vec![hindrance]))?;
        if let (Mapping::Parity(level), Some(journal)) = (&mapping, &journal) {
            level.set_journal(journal.clone(), height, &options);
        }
        let private_log =
            private::decide(set, candidates, &options).map_err(|found| OpenError::Hindered(vec![found]))?;
        if let (Mapping::Parity(level), Some(start)) = (&mapping, private_log) {
            level.set_private_log(&start, &summary, height);
        }
        let geometry = joined(&members, size, &summary, options.write);
        check_alignment(&members, &summary, geometry).map_err(|found| OpenError::Hindered(vec![found]))?;
        let sync_size = level::sync_size(&summary, geometry.size);
        let believed = decide::believed(summary.resync, sync_size);
        let bitmap = bitmap_of(set, candidates, sync_size, believed, geometry, &options)
            .map_err(|found| OpenError::Hindered(vec![found]))?;
        members.extend(journal);
        let is_tracked = options.write && matches!(mapping, Mapping::Parity(_));
        let rewritten = Rewritten::new(Sectors::from_bytes(geometry.logical_block.into()));
        if is_tracked && believed != ResyncOffset::Complete {
            rewritten.cover(sync_size);
        }
        let redundancy = Redundancy::of(&summary).map_err(|found| OpenError::Hindered(vec![found]))?;
        let seats = vec![Cell::new(None); redundancy.most_slots(set.slots.len())];
        let replacements = seats.clone();
        for (at, member) in members.iter().enumerate() {
            let Some(slot) = member.slot.get() else { continue };
            let replaces = member.recovering().is_some_and(|recovering| recovering.replaces);
            let holders = if replaces { &replacements } else { &seats };
            holders[usize::from(slot)].set(Some(at));
        }
        let array = Rc::new(Array {
            shape: Cell::new(Shape { summary, size, slots: set.slots.len() as u32 }),
            mapping,
            metadata: Metadata::new(
                &summary,
                believed,
                members.len(),
                set.short.is_some(),
                behind(set, candidates),
            ),
            sync: Sync::new(believed, bitmap.clone(), rewritten, members.len(), options.dirty_degraded),
            bitmap,
            lanes: Lanes::new(options.lanes, Sectors(summary.chunk_sectors.into()), height),
            arena: Arena::new(options.pools.repair_bytes),
            clients: Cell::new(0),
            served: Cell::new(0),
            epoch: Cell::new(0),
            broken: Cell::new(None),
            redundancy: Cell::new(redundancy),
            seats,
            replacements,
            sync_size: Cell::new(sync_size),
            members: Roster::new(members),
            options,
            height,
            geometry: Cell::new(geometry),
            still: Still::default(),
            max_read_errors: Cell::new(MAX_READ_ERRORS),
            happenings: RefCell::new(Vec::with_capacity(HAPPENINGS)),
            happened: Event::with_capacity(4),
        });
        if array.options.write {
            metadata::check_writable(&array)
                .map_err(|error| OpenError::Hindered(vec![Hindrance::Format(error)]))?;
        }
        if let Mapping::Parity(level) = &array.mapping
            && array.options.write
            && !array.options.dirty_degraded
            && level.would_give_up(&array)
        {
            return Err(OpenError::Hindered(vec![Hindrance::DirtyBadBlocks]));
        }
        metadata::start(&array);
        bitmap::start(&array);
        parity::start(&array, |array| sync::start(array, array.clone()));
        Ok(array)
    }

    /// The array as a device.
    pub fn device(self: &Rc<Array>) -> Dev {
        Layer::new(self.clone(), self.options.pools.slots, FAN_OUT, level::serve)
    }

    /// What it looks like now.
    pub fn shape(&self) -> Shape {
        self.shape.get()
    }

    /// Slots, now.
    pub(crate) fn slots(&self) -> u32 {
        self.shape.get().slots
    }

    /// Everything about the members that `status` shows, missing slots left out.
    pub fn members(&self) -> Vec<MemberStatus> {
        self.members.iter().map(|member| member.status()).collect()
    }

    /// What the write-intent bitmap looks like; `None` where there is none, or the array is open for reading.
    pub fn bitmap(&self) -> Option<BitmapState> {
        self.bitmap.now().map(|bitmap| bitmap.state())
    }

    /// What the write journal looks like; `None` where there is none.
    pub fn journal(&self) -> Option<JournalState> {
        level::journal(self).map(|journal| journal.state())
    }

    /// What is done with the private log of a raid6; `None` where there is none.
    pub fn private_log(&self) -> Option<PrivateLogState> {
        level::log(self)?.private_state()
    }

    /// Waits until parity was made right by what a log says. Requests wait for it by themselves.
    pub async fn replayed(&self) {
        if let Mapping::Parity(level) = &self.mapping {
            let _ = level.replayed().await; // a journal that cannot be read fails the requests
        }
    }

    /// Whether everything in a range of the space in which the array is synced is known to be consistent.
    pub fn is_consistent(&self, range: Range) -> bool {
        self.sync.covers(range)
    }

    /// The event counter as last recorded.
    pub fn events(&self) -> u64 {
        self.metadata.events()
    }

    /// Whether the superblocks say that writes may be under way.
    pub fn is_dirty(&self) -> bool {
        self.metadata.is_marked_dirty()
    }

    /// Why nothing can be written any more, if so.
    pub fn broken(&self) -> Option<Failed> {
        self.broken.get()
    }

    /// Members that are in sync.
    pub fn in_sync(&self) -> u32 {
        self.members.iter().filter(|member| member.condition() == Condition::InSync).count() as u32
    }

    /// What cannot be read, because only parity could give it back and may not belong to the data (S6), in order: at most
    /// `most` ranges, neighbours joined.
    pub fn doubtful(&self, most: usize) -> Vec<Range> {
        let Mapping::Parity(level) = &self.mapping else { return Vec::new() };
        let mut found: Vec<Range> = Vec::new();
        for range in level.doubtful(self) {
            if let Some(last) = found.last_mut().filter(|last| last.end() == range.start) {
                last.count += range.count;
            } else if found.len() == most {
                break;
            } else {
                found.push(range);
            }
        }
        found
    }

    /// Stops: waits for writes under way, ends a resync at its checkpoint, flushes the members, records a clean array.
    /// The array's device is quiesced before. What was written is then safe, whether anybody flushed it or not.
    pub async fn stop(&self) -> Outcome {
        self.replayed().await;
        sync::stop(self).await;
        self.metadata.idle().await;
        if let Some(journal) = level::journal(self) {
            journal.stop(self).await;
        }
        let settled = bitmap::settle(self).await;
        let stopped = settled.and(self.metadata.stop(self).await);
        bitmap::stop(self);
        if let Some(log) = level::log(self) {
            log.stop();
        }
        if self.options.write { stopped.and(self.flush_members(0).await) } else { stopped }
    }

    /// The last copy let a write or a flush down: what it holds is not known any more, so nothing that depends on it is
    /// ever called done again.
    pub(crate) fn set_broken(&self, failed: Failed) {
        if self.broken.get().is_none() {
            self.broken.set(Some(failed));
            self.metadata.wake_all();
            if let Some(bitmap) = self.bitmap.now() {
                bitmap.wake_all();
            }
            if let Some(log) = level::log(self) {
                log.wake_all();
            }
            if let Some(journal) = level::journal(self) {
                journal.wake_all();
            }
            self.sync.wake();
            self.happen(Happening::Broken { failed });
        }
    }

    /// A write failed on a member that cannot be failed. When it may still land later, or when it was to be durable and
    /// took with it what the system knew of earlier failures, nothing that follows can be believed.
    pub(crate) fn write_failed_for_good(&self, request: &Request, failed: Failed) {
        if failed.cause == Cause::Timeout || request.fua {
            self.set_broken(failed);
        }
    }

    /// Begins a write to the members that hold `range` (of the space in which the array is synced): returns when the dirty
    /// mark and the range's bits in the bitmap are durable on all of them (S5).
    pub(crate) async fn begin_write(&self, range: Range) -> Result<Writing<'_>, Failed> {
        if let Some(log) = level::log(self) {
            log.prepare(self).await?;
        }
        // Marked first, so that a metadata round that has to come anyway takes the bits with it.
        let marked = self.bitmap.now().map(|bitmap| bitmap.mark(range));
        let writing = self.metadata.begin_write(self).await?;
        if let Some(marked) = &marked {
            marked.durable(self).await?;
        }
        Ok(Writing { _writing: writing, _marked: marked })
    }

    /// Waits until every failure noticed so far is recorded (S5): also one that another request noticed. What this one
    /// wrote is not on that member, so this one depends on the record too.
    pub(crate) async fn recorded(&self) -> Outcome {
        // What is open for reading records nothing.
        if !self.options.write || plant::is(Plant::FailureUnrecorded) {
            return Ok(());
        }
        loop {
            self.metadata.membership_settled().await?;
            if let Some(log) = level::log(self) {
                log.undoubted(self).await;
            }
            // While this waited for the log, another one may have failed.
            if self.metadata.is_membership_recorded() {
                return Ok(());
            }
        }
    }

    /// How the data is kept more than once.
    pub(crate) fn redundancy(&self) -> Redundancy {
        self.redundancy.get()
    }

    /// Whether all data is within reach on those members alone, by their places, for which `stays` holds.
    pub fn is_enough(&self, stays: impl Fn(usize) -> bool) -> bool {
        let has = |slot: u32| self.seats[slot as usize].get().is_some_and(&stays);
        self.redundancy().suffices(self.slots(), has)
    }

    /// Where the copies of an array sector lie on the members that are in sync: their places, and sectors of the disk.
    /// Nothing for levels without copies.
    pub fn copies_of(&self, at: Sectors) -> impl Iterator<Item = (usize, Sectors)> {
        level::copies_of(self, at).filter_map(|(slot, start)| {
            let member = self.seat(slot)?;
            self.seats[usize::from(slot)].get().map(|place| (place, member.place_of(start)))
        })
    }

    /// The same for everybody who holds these sectors, also where it is still being rebuilt elsewhere; but where they are
    /// listed as bad.
    pub fn held_copies_of(&self, at: Sectors, count: Sectors) -> impl Iterator<Item = (usize, Sectors)> {
        level::copies_of(self, at).filter_map(move |(slot, start)| {
            let rows = Range::new(start, count);
            let member = self.holder(slot, rows).filter(|member| !member.is_bad(rows))?;
            self.seats[usize::from(slot)].get().map(|place| (place, member.place_of(start)))
        })
    }

    /// The stripe that has the row `at` (from the data offsets), of a level with parity, where every slot has a member that
    /// holds it.
    pub fn stripe_at(&self, at: Sectors) -> Option<StripePlaces> {
        let Mapping::Parity(level) = &self.mapping else { return None };
        let row = Range::new(at, Sectors(1));
        if (0..self.slots() as u16).any(|slot| self.holder(slot, row).is_none()) {
            return None;
        }
        let map = &level.map;
        let stripe = map.stripe(at.0 / map.chunk().0);
        let place = |slot: u16| self.seats[usize::from(slot)].get().expect("every slot has a member");
        Some(StripePlaces {
            rows: map.rows_of(stripe.number).end() - at,
            p: place(stripe.p),
            q: stripe.q.map(place),
            data: stripe.by_index().map(|(index, slot)| (index, place(slot))).collect(),
        })
    }

    /// Whether every slot has a member in sync, and no more than that.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_degraded()
    }

    /// Whether every slot has a member in sync, none of which lists any block as bad.
    pub(crate) fn is_intact(&self) -> bool {
        self.is_whole() && !self.has_bad_blocks()
    }

    /// Whether some member lists bad blocks.
    pub(crate) fn has_bad_blocks(&self) -> bool {
        self.members.iter().any(|member| member.bad.is_any())
    }

    /// Whether some member that is used lists a part of these rows (from the data offset) as bad.
    pub fn lists_bad_rows(&self, rows: Range) -> bool {
        self.members.iter().any(|member| member.is_written() && member.is_bad(rows))
    }

    /// What the member in place `at` lists as bad, in sectors of its disk.
    pub fn bad_blocks_of(&self, at: usize) -> Vec<Range> {
        let member = &self.members[at];
        member.bad.within(Range::new(Sectors::ZERO, member.dev.geometry().size))
    }

    /// `range` of a member's disk was written: what is listed as bad there is none any more. Whoever is told of the write
    /// waits for that to be on record.
    pub(crate) fn was_written(&self, member: &Member, range: Range) {
        if member.bad.is_any() && member.bad.remove(range) {
            self.metadata.require_membership();
        }
    }

    /// A member does not take these rows, or nothing is left to rebuild them from: they go on its list of bad blocks. The
    /// error where that has no room.
    pub(crate) fn list_bad_rows(&self, member: &Member, rows: Range) -> Outcome {
        let on_disk = Range::new(member.place_of(rows.start), rows.count);
        if member.bad.has(on_disk) {
            return Ok(());
        }
        if !member.bad.add(on_disk) {
            return Err(Failed::new(Cause::NoSpace));
        }
        match plant::is(Plant::ListedAfterAnswer) {
            _ if !self.options.write => {}
            false => self.metadata.require_membership(),
            true => self.metadata.require(),
        }
        if let Some(log) = level::log(self) {
            log.wake_all(); // what it says of these blocks counts as said of a missing member
        }
        let (name, row, sectors) = (member.name.clone(), rows.start.0, rows.count.0);
        self.happen(Happening::BadBlocks { name, row, sectors });
        Ok(())
    }

    /// A scrub has found something.
    pub(crate) fn found(&self, mismatch: Mismatch) {
        self.sync.findings().borrow_mut().note(mismatch);
    }

    /// Whether some slot has no member in sync.
    pub(crate) fn is_degraded(&self) -> bool {
        self.in_sync() < self.slots()
    }

    /// The member in a slot, if it is in sync.
    pub(crate) fn seat(&self, slot: u16) -> Option<&Rc<Member>> {
        self.occupant(slot).filter(|member| member.condition() == Condition::InSync)
    }

    /// The member that holds these rows (from the data offset) of a slot: one in sync, or as far as it is rebuilt.
    pub(crate) fn holder(&self, slot: u16, rows: Range) -> Option<&Rc<Member>> {
        self.occupant(slot).filter(|member| member.holds(rows))
    }

    /// Who is written to in a slot: the member in it, and whoever is to take its place.
    pub(crate) fn written(&self, slot: u16) -> impl Iterator<Item = usize> {
        let holders = [&self.seats, &self.replacements].map(|holders| holders[usize::from(slot)].get());
        holders.into_iter().flatten().filter(|at| self.members[*at].is_written())
    }

    /// The member in a slot, however it stands.
    pub(crate) fn occupant(&self, slot: u16) -> Option<&Rc<Member>> {
        let member = self.seats.get(usize::from(slot))?.get();
        member.map(|at| &self.members[at])
    }

    /// Sectors of the space in which the array is synced, and in which positions of a resync and chunks of a bitmap
    /// count: the array's own where it is copied, a member's where it has parity.
    pub(crate) fn sync_size(&self) -> Sectors {
        self.sync_size.get()
    }

    /// Sectors that are served: whole blocks of the largest kind among the members.
    pub(crate) fn size(&self) -> Sectors {
        self.geometry.get().size
    }

    pub(crate) fn rank(&self, step: Step) -> Rank {
        Rank::new(self.height, step)
    }

    /// The members that superblocks are written to: all that have not failed, and were not let go of.
    pub(crate) fn known_members(&self) -> impl Iterator<Item = &Rc<Member>> {
        self.members.iter().filter(|member| metadata::is_recorded(member))
    }

    /// Changes whenever a member comes or goes: what was read before an await is asked again after it.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// A request as a member gets it: with the deadline after which the member counts as not answering.
    pub(crate) fn to_member(&self, request: Request) -> Request {
        match self.options.member_timeout_ms {
            None => request,
            Some(ms) => {
                let latest = runtime::now().after_ms(ms);
                Request { deadline: Some(request.deadline.map_or(latest, |own| own.min(latest))), ..request }
            }
        }
    }

    /// Flushes every member that is written to. A member whose flush fails is failed, and recorded before this returns;
    /// the last copy cannot be, and then the array is broken.
    /// On behalf of the client's request numbered `trace`, or of none (0).
    pub(crate) async fn flush_members(&self, trace: u32) -> Outcome {
        if plant::is(Plant::FlushSwallowed) {
            return Ok(());
        }
        let mut outcome = Ok(());
        for wave in self.members.waves() {
            let mut fan = Fan::<FAN_OUT>::default();
            for (at, member) in wave.clone().enumerate() {
                if member.is_written() {
                    fan.put(at, member.dev.start(self.to_member(Request::flush().for_trace(trace))));
                }
            }
            for (at, member) in wave.enumerate() {
                if let Some(Err(failed)) = fan.take(at).await
                    && !self.fail(member, failed)
                {
                    self.set_broken(failed);
                    outcome = Err(failed);
                }
            }
        }
        outcome
    }

    /// Flushes the members, and notes how far their recoveries had come before: that far superblocks may say (S4).
    pub(crate) async fn flush_positions(&self, by: Flusher) -> Outcome {
        let noted = self.metadata.noted();
        self.members.iter().for_each(|member| member.note_position(by));
        self.flush_members(0).await?;
        self.members.iter().for_each(|member| member.keep_position(by));
        self.metadata.set_flushed(noted);
        Ok(())
    }
}

impl Engine for Array {
    fn geometry(&self) -> Geometry {
        self.geometry.get()
    }

    fn height(&self) -> u8 {
        self.height
    }

    fn name(&self) -> String {
        format!("{} {}", self.shape().summary.level, self.shape().summary.name).trim_end().to_owned()
    }
}

/// Where a member in sync is behind the freshest: the active members, by the freshest superblock, that are not here.
fn behind(set: &Set, candidates: &[Candidate]) -> Option<Found> {
    let freshest = &candidates[set.freshest].examined;
    let events = |seat: &Seat| candidates[seat.candidate].examined.summary.events;
    let in_sync = set.slots.iter().flatten().filter(|seat| seat.in_sync);
    if !in_sync.chain(&set.journal).any(|seat| events(seat) < freshest.summary.events) {
        return None;
    }
    let entry = |role: Role, seat: &Seat| {
        let flags = candidates[seat.candidate].examined.summary.flags;
        Entry { dev_number: seat.dev_number, role, in_sync: seat.in_sync, flags, device: (0, 0) }
    };
    let slots = set.slots.iter().zip(0..).filter_map(|(seat, slot)| Some((slot, seat.as_ref()?)));
    let replacements = set.replacements.iter().map(|(slot, seat)| (*slot, seat));
    let mut present: Vec<Entry> =
        slots.chain(replacements).map(|(slot, seat)| entry(Role::Active(slot), seat)).collect();
    present.extend(set.spares.iter().map(|seat| entry(Role::Spare, seat)));
    present.extend(set.journal.iter().map(|seat| entry(Role::Journal, seat)));
    let absent = |dev_number: u32| {
        let role = freshest.superblock().role_of(dev_number);
        let is_here = present.iter().any(|entry| entry.dev_number == dev_number);
        let flags = MemberFlags::default();
        let is_absent = matches!(role, Role::Active(_)) && !is_here;
        is_absent.then_some(Entry { dev_number, role, in_sync: true, flags, device: (0, 0) })
    };
    let absent = (0..freshest.summary.max_dev).filter_map(absent).collect();
    Some(Found { present, absent })
}

/// The bitmap of an array that is opened for writing.
fn bitmap_of(
    set: &Set,
    candidates: &[Candidate],
    sync_size: Sectors,
    resync: ResyncOffset,
    geometry: Geometry,
    options: &Options,
) -> Result<Rc<Kept>, Hindrance> {
    if !options.write {
        return Ok(Rc::default());
    }
    let in_sync = set.slots.iter().flatten().filter(|seat| seat.in_sync);
    let members: Vec<_> = in_sync.map(|seat| &candidates[seat.candidate].examined).collect();
    let freshest = &candidates[set.freshest].examined;
    let block = geometry.logical_block as usize;
    let bitmap = Bitmap::open(freshest, &members, sync_size, resync, block, options.bitmap_round_ms)?;
    Ok(Rc::new(Kept::new(bitmap)))
}

fn member(slot: Option<u16>, seat: Seat, candidates: &[Candidate], devs: &[Dev]) -> Member {
    let candidate = &candidates[seat.candidate];
    let summary = &candidate.examined.summary;
    let recorded = seat.recovery.map_or(0, |recovery| recovery.offset_sectors);
    let done = decide::believed_rows(Sectors(recorded), Sectors(summary.used_sectors()));
    let by_bitmap = seat.recovery.is_some_and(|recovery| recovery.by_bitmap);
    let condition = match slot {
        None => Condition::Spare,
        Some(_) if seat.in_sync => Condition::InSync,
        Some(_) => Condition::Recovering(Recovering { done, by_bitmap, replaces: seat.replaces }),
    };
    Member {
        flags: summary.flags,
        bad: BadBlocks::new(candidate.examined.bad_blocks.iter().copied(), summary.bad_block_log),
        corrected_reads: Cell::new(summary.corrected_reads),
        ..Member::new(candidate, devs[seat.candidate].clone(), seat.dev_number, slot, condition)
    }
}

/// Every request that a level makes out of an aligned one must be aligned to its member's blocks too: a member that had
/// to refuse it would be taken for failed.
fn check_alignment(members: &[Rc<Member>], summary: &Summary, geometry: Geometry) -> Result<(), Hindrance> {
    let block = Sectors(u64::from(geometry.logical_block) / block::SECTOR);
    let fits = |sectors: Sectors| sectors.is_multiple_of(block);
    if !members.iter().all(|member| fits(member.data_offset)) {
        return Err(Hindrance::Shape(
            "a member's data does not begin at a multiple of the members' block size",
        ));
    }
    match summary.level {
        Level::Raid0 if !fits(Sectors(summary.chunk_sectors.into())) => {
            Err(Hindrance::Shape("the chunk is not a multiple of the members' block size"))
        }
        Level::Linear if !members.iter().all(|member| fits(linear_sectors(member, summary))) => {
            Err(Hindrance::Shape("a member's size is not a multiple of the members' block size"))
        }
        _ => Ok(()),
    }
}

fn linear_sectors(member: &Member, summary: &Summary) -> Sectors {
    Sectors(linear_member_sectors(member.data_size.0, summary.chunk_sectors))
}

/// The array's shape: the largest blocks of its members, and its own size rounded down to them.
fn joined(members: &[Rc<Member>], size: Sectors, summary: &Summary, write: bool) -> Geometry {
    let all = members.iter().map(|member| member.dev.geometry()).reduce(Geometry::joined);
    let all = all.unwrap_or(Geometry::plain(size));
    let recorded = summary.logical_block_bytes.clamp(512, block::LARGEST_BLOCK);
    let logical_block = all.logical_block.max(recorded.next_power_of_two());
    let block = Sectors(u64::from(logical_block) / block::SECTOR);
    Geometry {
        size: size.round_down(block),
        logical_block,
        optimal_io: level::optimal_sectors(summary).saturating_mul(512),
        read_only: !write,
        ..all
    }
}

impl Shape {
    /// The array's metadata version.
    pub fn version(&self) -> Version {
        self.summary.version
    }

    /// Whether the superblock said at opening that everything is consistent.
    pub fn was_clean(&self) -> bool {
        self.summary.resync == ResyncOffset::Complete
    }
}
