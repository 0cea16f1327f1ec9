//! Writing: to the cache, to the backing device, or to both.
//!
//! A range is written by one request at a time, from the first device's write until the tree tells of it: so the cache and
//! the backing device never differ in which of two writes was the last. Where the tree has something dirty that the request
//! makes clean or removes, the backing device is flushed before the tree says so (C1).

use std::cell::{Cell, RefCell};

use bcache_format::key::MOST_SECTORS;
use bcache_format::{CacheMode, Key, Position};
use block::{Cause, Failed, Fan, Op, Outcome, Range, Request, Sectors};
use runtime::{Event, RangeLocks, now, random};

use super::failure::Fate;
use super::state::BackingState;
use super::{Below, FAN_OUT, Volume, failed};
use crate::buckets::Purpose;
use crate::counters::{Counters, count};
use crate::limits::WAITERS;
use crate::open::{Room, Stream};
use crate::plant::{self, Plant};
use crate::policy::bypass::{Asked, Bypass, Situation, why_bypass};
use crate::policy::sequential::Sequential;
use crate::policy::writeback::{Place, Way, way};
use crate::tunables::VolumeTunables;
use crate::writeback::rate::Rate;
use crate::writeback::stripes::Stripes;

/// What a volume has that is written.
pub(crate) struct Writer {
    pub(super) locks: RangeLocks,
    /// Of the backing device, if there is one.
    pub(super) state: Option<BackingState>,
    pub(crate) tunables: VolumeTunables,
    pub(super) counters: Counters,
    runs: RefCell<Box<Sequential>>,
    pub(crate) rate: RefCell<Rate>,
    /// Those who wait until nothing is dirty.
    pub(super) drains: Cell<u32>,
    /// How often in a row writing back has failed.
    pub(crate) stumbles: Cell<u32>,
    pub(super) stage: Cell<Stage>,
    /// What was decided when the set failed.
    pub(super) fate: Cell<Option<Fate>>,
    pub(super) decided: Event,
}

/// Whether a volume is cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It is.
    Attached,
    /// It is, and will not be when nothing is dirty any more.
    Detaching,
    /// It is not any more.
    Detached,
    /// It lay in the cache alone, and is not there any more.
    Deleted,
}

impl Writer {
    pub(super) fn new(locks: RangeLocks, mode: CacheMode, state: Option<BackingState>) -> Writer {
        let tunables = VolumeTunables::default();
        tunables.cache_mode.set(mode as u64);
        Writer {
            locks,
            state,
            tunables,
            counters: Counters::new(now()),
            runs: RefCell::default(),
            rate: RefCell::new(Rate::new(now())),
            drains: Cell::new(0),
            stumbles: Cell::new(0),
            stage: Cell::new(Stage::Attached),
            fate: Cell::new(None),
            decided: Event::with_capacity(WAITERS),
        }
    }
}

/// Data that was written into the cache, and no key tells of yet.
struct Piece {
    room: Room,
    key: Key,
}

impl Volume {
    /// Makes durable whatever was answered before.
    pub(super) async fn flush(&self) -> Outcome {
        if self.writer.as_ref().is_some_and(|writer| writer.stage.get() != Stage::Detached) {
            match self.commit().await {
                Err(failed) if !self.outlives().await => return Err(failed),
                _ => {}
            }
        }
        match self.disk() {
            Some(disk) => disk.flush().await,
            None => Ok(()),
        }
    }

    /// Makes durable all that the tree says. What it says of a range may have been said for another request.
    pub(super) async fn commit(&self) -> Outcome {
        let journal = self.set().journal();
        journal.commit(self.set(), journal.newest()).await.map_err(failed)
    }

    /// Writes, discards, or zeroes; once more without the cache, if that has failed meanwhile.
    pub(super) async fn change(&self, writer: &Writer, request: &Request) -> Outcome {
        match self.change_now(writer, request).await {
            Err(_) if self.outlives().await => self.change_now(writer, request).await,
            changed => changed,
        }
    }

    async fn change_now(&self, writer: &Writer, request: &Request) -> Outcome {
        self.set().engine().idleness.borrow_mut().end();
        let _held = writer.locks.lock(request.range).await;
        self.disk().map_or(Ok(()), |disk| disk.well())?;
        match writer.stage.get() {
            Stage::Detached => return self.write_below(request).await,
            Stage::Deleted => return Err(Failed::new(Cause::Gone)),
            Stage::Attached | Stage::Detaching => {}
        }
        if let Some(error) = self.set().failure() {
            return match plant::is(Plant::PastALostCache) {
                true => self.start_below(request, request.range).await,
                false => Err(failed(error)),
            };
        }
        let before = self.set().journal().newest();
        match (request.op, self.way(writer, request)) {
            (Op::Write, Way::Back) => self.write_back(writer, request).await?,
            (Op::Write, Way::Through) => self.write_through(request).await?,
            (Op::Discard, _) => self.discard(request).await?,
            _ => self.write_around(request).await?,
        }
        match request.fua {
            true if plant::is(Plant::FuaOfOwnKeys) && self.set().journal().newest() == before => Ok(()),
            true => self.commit().await,
            false => Ok(()),
        }
    }

    fn way(&self, writer: &Writer, request: &Request) -> Way {
        if !self.is_backed() {
            return Way::Back;
        }
        let engine = self.set().engine();
        let (asked, situation, why) = self.ask(writer, request);
        if let Some(why) = why {
            writer.counters.bypass(why, asked.sectors);
            engine.totals.bypass(why, asked.sectors);
        }
        let attracts = |stripes: &Stripes| stripes.attracts(asked.start, asked.sectors);
        // What is being written back holds the range: it is not under way now.
        let place = Place {
            is_being_written_back: false,
            has_dirty_stripe: engine.dirty.ask_stripes(self.inode, attracts).unwrap_or(false),
        };
        way(&asked, &situation, engine.tunables.cutoffs(), place, why)
    }

    /// What a request asks for, how things stand, and why it goes past the cache, if it does.
    fn ask(&self, writer: &Writer, request: &Request) -> (Asked, Situation, Option<Bypass>) {
        let (set, engine) = (self.set(), self.set().engine());
        let asked = Asked::of(request, self.sector_below(Sectors::ZERO));
        let (now, thresholds) = (now(), engine.tunables.thresholds());
        let situation = Situation {
            mode: writer.tunables.mode(),
            is_detaching: writer.stage.get() != Stage::Attached,
            in_use_percent: set.buckets.borrow().in_use_percent(),
            block_sectors: set.geometry.block_sectors,
            background_is_metadata_only: writer.tunables.readahead_cache_policy.get() == 1,
            sequential_cutoff: writer.tunables.sequential_cutoff.get() / 512,
            congested: engine.congestion.borrow().longest_run(now, random() as u32, thresholds),
        };
        let run = || writer.runs.borrow_mut().run(now, None, asked.start, asked.sectors);
        let why = why_bypass(&asked, &situation, run);
        (asked, situation, why)
    }

    /// Why a read adds nothing to the cache, if it does not.
    pub(super) fn why_not_kept(&self, writer: &Writer, request: &Request) -> Option<Bypass> {
        let (asked, _, why) = self.ask(writer, request);
        if let Some(why) = why {
            writer.counters.bypass(why, asked.sectors);
            self.set().engine().totals.bypass(why, asked.sectors);
        }
        why
    }

    /// To the cache alone. What that does not take goes to the backing device.
    async fn write_back(&self, writer: &Writer, request: &Request) -> Outcome {
        if let Some(state) = &writer.state {
            let admitted = state.admit().await;
            let written = match admitted {
                Ok(()) => self.write_to_cache(request, true).await,
                Err(failed) => Err(failed),
            };
            state.end();
            return written;
        }
        self.write_to_cache(request, true).await
    }

    /// To both; the cache has it when the backing device has.
    async fn write_through(&self, request: &Request) -> Outcome {
        self.write_to_cache(request, false).await
    }

    /// Writes all of a request to the cache, and, if it is not to be dirty, to the backing device meanwhile.
    async fn write_to_cache(&self, request: &Request, is_dirty: bool) -> Outcome {
        let mut below = match is_dirty {
            true => None,
            false => Some(self.start_below(request, request.range)),
        };
        let mut done = Sectors::ZERO;
        while done < request.range.count {
            let mut pieces = [const { None }; FAN_OUT];
            let taken = self.write_pieces(request, done, is_dirty, &mut pieces).await;
            if let Some(below) = below.take() {
                let written = self.ended_below(below.await);
                if written.is_err() {
                    self.drop_pieces(&pieces);
                    return written;
                }
                self.wrote_below(request).await.inspect_err(|_| self.drop_pieces(&pieces))?;
            }
            let laid = self.lay_pieces(&pieces).await;
            self.drop_pieces(&pieces);
            laid?;
            let Ok(taken) = taken else { break };
            done += taken;
        }
        if done == request.range.count {
            return Ok(());
        }
        let part = Range::new(request.range.start + done, request.range.count - done);
        let rest = request.piece(part, part.start);
        match is_dirty {
            false => self.forget(rest.range).await, // the backing device has it
            true if self.is_backed() => self.write_around(&rest).await,
            true => Err(Failed::new(Cause::NoSpace)),
        }
    }

    /// Writes up to [`FAN_OUT`] pieces of a request, from `done` on, into the cache: how many sectors. They are in `pieces` also
    /// if that failed.
    async fn write_pieces(
        &self,
        request: &Request,
        done: Sectors,
        is_dirty: bool,
        pieces: &mut [Option<Piece>; FAN_OUT],
    ) -> Result<Sectors, Failed> {
        let set = self.set();
        let stream = if is_dirty { Stream::Dirty(self.inode) } else { Stream::Clean(self.inode) };
        let mut fan = Fan::<FAN_OUT>::default();
        let mut at = done;
        for (number, piece) in pieces.iter_mut().enumerate() {
            let left = (request.range.count - at).0.min(MOST_SECTORS / 8 * 8);
            let room = match is_dirty {
                _ if left == 0 => None,
                true if number == 0 && !self.is_backed() => {
                    set.wait_clean_room(stream, Purpose::Data, left).await
                }
                true => set.wait_room(stream, Purpose::Data, left).await,
                false => set.try_room(stream, Purpose::Data, left),
            };
            let Some(room) = room else { break };
            let part = Range::new(request.range.start + at, Sectors(room.sectors));
            let write = Request { fua: false, ..request.piece(part, Sectors(room.sector)) };
            fan.put(number, set.dev.start(write));
            count(&set.engine().counters.data_sectors, room.sectors);
            let key = set.key_of(&room, self.position(part.start), is_dirty);
            *piece = Some(Piece { room, key });
            at += part.count;
        }
        let written = set.ended("data", fan.all().await);
        if written.is_err() {
            self.drop_pieces(pieces);
            *pieces = [const { None }; FAN_OUT];
        }
        match at > done {
            true => written.map(|()| at - done),
            false => Err(Failed::new(Cause::NoSpace)),
        }
    }

    /// The backing device has all of a request: whatever the cache has of it that is dirty will not be any more, so it has to be
    /// durable there.
    async fn wrote_below(&self, request: &Request) -> Outcome {
        let Below::Backing(disk, _) = &self.below else { return Ok(()) };
        disk.written();
        match self.has_dirty(request.range).await? && !plant::is(Plant::ForgottenBeforeFlush) {
            true => disk.flush().await,
            false => Ok(()),
        }
    }

    /// Has the tree tell of pieces.
    async fn lay_pieces(&self, pieces: &[Option<Piece>]) -> Outcome {
        for piece in pieces.iter().flatten() {
            self.set().insert(piece.key).await.map_err(failed)?;
        }
        Ok(())
    }

    fn drop_pieces(&self, pieces: &[Option<Piece>]) {
        for piece in pieces.iter().flatten() {
            self.set().end_write(&piece.room);
        }
    }

    /// To the backing device; the cache forgets what it has.
    async fn write_around(&self, request: &Request) -> Outcome {
        match &self.below {
            Below::Backing(..) => {
                self.ended_below(self.start_below(request, request.range).await)?;
                self.wrote_below(request).await?;
            }
            Below::Nothing if request.op == Op::Write => return Err(Failed::new(Cause::NoSpace)),
            Below::Nothing => {} // what is not in the cache is zero
        }
        self.forget(request.range).await
    }

    /// The content does not count any more.
    async fn discard(&self, request: &Request) -> Outcome {
        self.forget(request.range).await?;
        match self.write_below(request).await {
            Err(Failed { cause: Cause::Unsupported, .. }) => Ok(()),
            _ if !self.is_backed() => Ok(()),
            discarded => discarded,
        }
    }

    /// To the backing device, and nothing else.
    async fn write_below(&self, request: &Request) -> Outcome {
        let written = self.ended_below(self.start_below(request, request.range).await);
        self.disk().into_iter().for_each(|disk| disk.written());
        written
    }

    /// The cache forgets what it has of a range, and what is on its way into it.
    async fn forget(&self, range: Range) -> Outcome {
        let (set, mut done) = (self.set(), Sectors::ZERO);
        while done < range.count {
            let start = self.position(range.start + done);
            let found =
                set.find(start, (range.count - done).0.min(MOST_SECTORS / 8 * 8)).await.map_err(failed)?;
            let hole = Key::hole(start, found.sectors);
            match found.is_named && (found.at.is_some() || !plant::is(Plant::StaleKept)) {
                true => set.insert(hole).await.map_err(failed)?,
                false => set.engine().fills.overwritten(&hole),
            }
            done += Sectors(found.sectors);
        }
        Ok(())
    }

    /// Whether anything of a range is only in the cache.
    async fn has_dirty(&self, range: Range) -> Result<bool, Failed> {
        let (set, mut done) = (self.set(), Sectors::ZERO);
        if self.dirty_sectors() == 0 {
            return Ok(false);
        }
        while done < range.count {
            let start = self.position(range.start + done);
            let found = set.find(start, (range.count - done).0).await.map_err(failed)?;
            if found.at.is_some_and(|(_, is_dirty)| is_dirty) {
                return Ok(true);
            }
            done += Sectors(found.sectors);
        }
        Ok(false)
    }

    /// Locks the range of a dirty extent, if nobody writes to it.
    pub(crate) fn try_lock(&self, start: Position, sectors: u64) -> Option<runtime::Held<'_>> {
        let writer = self.writer.as_ref()?;
        writer.locks.try_lock(self.range_at(start, sectors))
    }

    /// Says on the backing device that nothing is dirty, if so. Everything was flushed, and the journal says so.
    pub(crate) async fn settle(&self) -> Outcome {
        match self.writer.as_ref().and_then(|writer| writer.state.as_ref()) {
            // What was dirty since, and is not any more, may be dirty again after a power cut.
            Some(state) => {
                let is_settled = || self.set().journal().is_settled() || plant::is(Plant::CleanBeforeJournal);
                let is_clean = || self.dirty_sectors() == 0 && is_settled();
                state.settle(is_clean).await
            }
            None => Ok(()),
        }
    }
}
