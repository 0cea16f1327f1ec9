//! Reading: from the cache what is there, from the backing device everything else, which is put into the cache then.

use bcache_format::Pointer;
use block::{Cause, Failed, Fan, Moment, Outcome, Range, Request, Sectors, Ticket};
use runtime::now;
use std::rc::Rc;

use super::write::Stage;
use super::{Below, FAN_OUT, Volume};
use crate::error::SetError;
use crate::fills::FillNo;
use crate::plant::{self, Plant};

/// Where some sectors are to be read.
enum Place {
    /// In the cache.
    Cache {
        /// Where.
        pointer: Pointer,
        /// Whether they are nowhere else.
        is_dirty: bool,
    },
    /// On the backing device; to be put into the cache then, or not.
    Below(Option<FillNo>),
    /// They are zeroes.
    Nowhere,
}

impl Volume {
    /// Reads what the cache has of `range` from it, and everything else from below.
    pub(super) async fn read(self: &Rc<Volume>, request: &Request) -> Outcome {
        let kept = self.is_kept(request);
        let (mut done, mut is_hit) = (Sectors::ZERO, true);
        while done < request.range.count {
            let (to, was_hit) = self.read_some(request, done, kept == Some(true)).await?;
            (done, is_hit) = (to, is_hit && was_hit);
        }
        if let (Some(kept), Some(writer)) = (kept, &self.writer) {
            writer.counters.request(is_hit, !kept);
            self.set().engine().totals.request(is_hit, !kept);
        }
        Ok(())
    }

    /// Whether what is missed of a request is put into the cache; `None` where nothing is and nobody counts.
    fn is_kept(&self, request: &Request) -> Option<bool> {
        let writer = self.writer.as_ref().filter(|writer| writer.stage.get() != Stage::Detached)?;
        self.set().engine().idleness.borrow_mut().end();
        Some(self.is_backed() && self.why_not_kept(writer, request).is_none())
    }

    /// Reads up to [`FAN_OUT`] pieces from `from` on; up to where, and whether all were in the cache.
    async fn read_some(
        self: &Rc<Volume>,
        request: &Request,
        from: Sectors,
        is_kept: bool,
    ) -> Result<(Sectors, bool), Failed> {
        let started = now();
        let mut fan = Fan::<FAN_OUT>::default();
        let mut pieces = [const { None }; FAN_OUT];
        let (mut at, mut is_hit, mut outcome) = (from, true, Ok(()));
        for (number, piece) in pieces.iter_mut().enumerate() {
            let left = request.range.count - at;
            if left.is_zero() {
                break;
            }
            let found = self.place(request.range.start + at, left, is_kept).await;
            let Ok((sectors, place)) = found else {
                outcome = found.map(drop);
                break;
            };
            let part = Range::new(request.range.start + at, sectors);
            match &place {
                Place::Cache { pointer, .. } => fan.put(number, self.start_in_cache(request, part, *pointer)),
                Place::Below(_) => fan.put(number, self.start_below(request, part)),
                Place::Nowhere => zero(request, part),
            }
            is_hit &= matches!(place, Place::Cache { .. });
            *piece = Some((part, place));
            at += sectors;
        }
        for (number, piece) in pieces.into_iter().enumerate() {
            let read = fan.take(number).await.unwrap_or(Ok(()));
            let Some((part, place)) = piece else { continue };
            if matches!(place, Place::Cache { .. }) {
                self.answered_in(started);
            }
            outcome = outcome.and(self.end_piece(request, part, place, read).await);
        }
        outcome.map(|()| (at, is_hit))
    }

    /// The cache has answered what was asked at that time.
    fn answered_in(&self, started: Moment) {
        if self.writer.is_some() {
            let engine = self.set().engine();
            engine.congestion.borrow_mut().ended(started, now(), false, engine.tunables.thresholds());
        }
    }

    /// Looks at what came of a piece.
    async fn end_piece(
        self: &Rc<Volume>,
        request: &Request,
        part: Range,
        place: Place,
        read: Outcome,
    ) -> Outcome {
        let believes = || plant::is(Plant::StaleRead) || plant::is(Plant::StaleKeyRead);
        let read = match place {
            Place::Cache { .. } => self.set().ended("data", read),
            Place::Below(_) => self.ended_below(read),
            Place::Nowhere => read,
        };
        match place {
            Place::Nowhere => Ok(()),
            Place::Below(fill) => {
                if let Some(fill) = fill {
                    self.end_miss(request, part, fill, read);
                }
                read
            }
            // The bucket was given up meanwhile, and may have been used again: what was read may be anything.
            Place::Cache { pointer, .. } if !believes() && !self.set().is_there(pointer) => {
                self.set().raced();
                self.read_again(request, part).await
            }
            Place::Cache { pointer, .. } if read.is_ok() => {
                self.set().touched(pointer, part.count);
                Ok(())
            }
            // What the cache cannot give any more, and the backing device has too, is read there, as the kernel does.
            Place::Cache { is_dirty: false, .. } if self.is_backed() => {
                self.ended_below(self.start_below(request, part).await)
            }
            Place::Cache { .. } => read,
        }
    }

    /// Reads a piece that was not where it was found any more.
    async fn read_again(&self, request: &Request, part: Range) -> Outcome {
        let mut done = Sectors::ZERO;
        while done < part.count {
            let start = part.start + done;
            let (sectors, place) = self.place_only(start, part.count - done).await?;
            let piece = Range::new(start, sectors);
            match place {
                Place::Cache { pointer, .. } => {
                    let read = self.set().ended("data", self.start_in_cache(request, piece, pointer).await);
                    if !self.set().is_there(pointer) {
                        continue;
                    }
                    read?;
                }
                Place::Below(_) => self.ended_below(self.start_below(request, piece).await)?,
                Place::Nowhere => zero(request, piece),
            }
            done += sectors;
        }
        Ok(())
    }

    /// How many of the sectors from `start` on lie together, and where; a miss is known from here on.
    async fn place(&self, start: Sectors, most: Sectors, is_kept: bool) -> Result<(Sectors, Place), Failed> {
        let (sectors, place) = self.place_only(start, most).await?;
        Ok(match place {
            Place::Below(_) if is_kept => self.begin_miss(start, sectors),
            place => (sectors, place),
        })
    }

    async fn place_only(&self, start: Sectors, most: Sectors) -> Result<(Sectors, Place), Failed> {
        let below = if self.is_backed() { Place::Below(None) } else { Place::Nowhere };
        let is_detached = self.writer.as_ref().is_some_and(|writer| writer.stage.get() == Stage::Detached);
        let Some(set) = self.set.as_ref().filter(|_| !is_detached) else { return Ok((most, below)) };
        let found = match set.find(self.position(start), most.0).await {
            Ok(found) => found,
            // Where nothing is dirty the backing device has everything, whatever the cache could not say.
            Err(SetError::Device { failed, .. })
                if set.ended("node", Err(failed)).is_err() && self.is_all_below() =>
            {
                return Ok((most, below));
            }
            Err(error) => return Err(super::failed(error)),
        };
        let place = found.at.map_or(below, |(pointer, is_dirty)| Place::Cache { pointer, is_dirty });
        Ok((Sectors(found.sectors), place))
    }

    /// Whether the cache alone has nothing of it, as far as is known.
    fn is_all_below(&self) -> bool {
        self.is_backed() && self.writer.is_some() && self.dirty_sectors() == 0
    }

    /// A miss: of so many sectors as are put into the cache, if any are.
    fn begin_miss(&self, start: Sectors, sectors: Sectors) -> (Sectors, Place) {
        match self.fill_of(start, sectors) {
            Some((fill, filled)) => (filled, Place::Below(Some(fill))),
            None => (sectors, Place::Below(None)),
        }
    }

    fn start_in_cache(&self, request: &Request, part: Range, pointer: Pointer) -> Ticket {
        self.set().dev.start(request.piece(part, Sectors(pointer.sector())))
    }

    pub(super) fn start_below(&self, request: &Request, part: Range) -> Ticket {
        match &self.below {
            Below::Backing(disk, _) => disk.dev.start(request.piece(part, self.sector_below(part.start))),
            Below::Nothing => Ticket::ready(Err(Failed::new(Cause::Gone))),
        }
    }
}

fn zero(request: &Request, part: Range) {
    let buf = request.buf.as_ref().expect("a read has memory");
    buf.slice((part.start - request.range.start).byte_len(), part.count.byte_len()).fill_zero();
}
