//! Reading from an array with parity: from the member that has the data, or, where it cannot give it, from all others.

use block::{Cause, Extents, Failed, Fan, Op, Outcome, Range, Request, Sectors};
use runtime::{Engine, yield_now};

use super::journal::BLOCK;
use super::map::Stripe;
use super::offers::{Claims, Offer, OfferId};
use super::plan::{NoPlan, plan_recovery};
use super::slots::Slots;
use super::stripe::write_out;
use super::work::Work;
use super::{Piece, Striped, arithmetic, failure};
use crate::array::Array;
use crate::limits::FAN_OUT;
use crate::member::Member;
use crate::plant::{self, Plant};
use crate::repair;

/// Reads from memory what no member has yet, and the rest from the members.
pub(super) async fn read(array: &Array, level: &Striped, request: Request) -> Outcome {
    let mut left = request.range;
    while let Some(known) = first_kept(level, left) {
        let before = Range::new(left.start, known.start - left.start);
        if !before.count.is_zero() {
            read_members(array, level, request.piece(before, before.start)).await?;
        }
        // It may have been written out meanwhile; then it is looked for anew.
        left = Range::new(known.start, left.end() - known.start);
        while let Some(piece) = copy_kept(level, &request, left) {
            left = Range::new(piece.end(), left.end() - piece.end());
        }
    }
    match left.count.is_zero() {
        true => Ok(()),
        false => read_members(array, level, request.piece(left, left.start)).await,
    }
}

/// The first part of a range that is in memory, and in the journal, alone.
fn first_kept(level: &Striped, range: Range) -> Option<Range> {
    let cache = level.journal()?.cached().filter(|_| !plant::is(Plant::ReadBeneathCache))?;
    level.map.pieces(range).find_map(|piece| {
        let mut row = piece.row.round_down(BLOCK);
        while row < piece.rows().end() {
            if cache.block(row, piece.slot).is_some() {
                let from = row.max(piece.row);
                let count = (row + BLOCK).min(piece.rows().end()) - from;
                return Some(Range::new(piece.range.start + (from - piece.row), count));
            }
            row += BLOCK;
        }
        None
    })
}

/// Copies the block with which a range begins into the request's buffer, if it is in memory: what was copied.
fn copy_kept(level: &Striped, request: &Request, range: Range) -> Option<Range> {
    if range.count.is_zero() {
        return None;
    }
    let cache = level.journal()?.cached()?;
    let piece = level.map.first_piece(&level.map.stripe(level.map.stripe_of(range.start)), range);
    let row = piece.row.round_down(BLOCK);
    let block = cache.block(row, piece.slot)?;
    let within = piece.row - row;
    let own = Range::new(range.start, (BLOCK - within).min(piece.range.count));
    let target = request.piece(own, own.start).buf.expect("a read has a buffer");
    target.copy_from(0, &block.slice(within.byte_len(), own.count.byte_len()));
    Some(own)
}

/// Reads piece by piece, several under way at once. What a member cannot give is recovered from the others.
async fn read_members(array: &Array, level: &Striped, request: Request) -> Outcome {
    if array.is_whole() {
        return read_pieces(array, level, &request, &[]).await;
    }
    let is_there = |piece: Piece| array.holder(piece.slot, piece.rows()).is_some();
    if !level.map.pieces(request.range).all(is_there) {
        yield_now().await; // what comes in the same breath is offered
        return read_parts(array, level, &request).await;
    }
    let mut offered = [None; FAN_OUT];
    for (piece, place) in level.map.pieces(request.range).zip(&mut offered) {
        let offers = level.offers_at(array, piece.row);
        let offer = Offer { slot: piece.slot, rows: piece.rows(), buf: piece.buf_of(&request) };
        *place = offers.make(offer).map(|id| (id, piece));
    }
    yield_now().await;
    yield_now().await; // whoever recovers goes first
    let mut claimed = offered;
    for place in &mut claimed {
        *place = place.filter(|(id, piece)| !level.offers_at(array, piece.row).withdraw(*id));
    }
    let mut outcome = read_pieces(array, level, &request, &claimed).await;
    for (id, piece) in claimed.into_iter().flatten() {
        if !level.offers_at(array, piece.row).outcome(id).await {
            outcome =
                outcome.and(read_parts(array, level, &request.piece(piece.range, piece.range.start)).await);
        }
    }
    outcome
}

/// Reads all pieces but those that are `claimed`.
async fn read_pieces(
    array: &Array,
    level: &Striped,
    request: &Request,
    claimed: &[Option<(OfferId, Piece)>],
) -> Outcome {
    let mut fan = Fan::<FAN_OUT>::default();
    let mut under_way: [Option<Piece>; FAN_OUT] = [None; FAN_OUT];
    let mut outcome = Ok(());
    let is_claimed = |piece: &Piece| claimed.iter().flatten().any(|(_, other)| other.range == piece.range);
    let pieces = level.map.pieces(request.range).filter(|piece| !is_claimed(piece));
    for (turn, piece) in (0..FAN_OUT).cycle().zip(pieces) {
        outcome = outcome.and(end_piece(array, level, request, &mut fan, &mut under_way, turn).await);
        let member = array.holder(piece.slot, piece.rows());
        if let Some(member) = member.filter(|member| !member.is_bad(piece.rows())) {
            fan.put(turn, member.dev.start(array.to_member(piece.request(request, member))));
            under_way[turn] = Some(piece);
        } else {
            outcome =
                outcome.and(read_parts(array, level, &request.piece(piece.range, piece.range.start)).await);
        }
    }
    for turn in 0..FAN_OUT {
        outcome = outcome.and(end_piece(array, level, request, &mut fan, &mut under_way, turn).await);
    }
    outcome
}

async fn end_piece(
    array: &Array,
    level: &Striped,
    request: &Request,
    fan: &mut Fan<FAN_OUT>,
    under_way: &mut [Option<Piece>; FAN_OUT],
    turn: usize,
) -> Outcome {
    match (fan.take(turn).await, under_way[turn].take()) {
        (Some(Err(_)), Some(piece)) => {
            // It is tried again, under the stripe's lock, which finds out what is wrong.
            read_parts(array, level, &request.piece(piece.range, piece.range.start)).await
        }
        _ => Ok(()),
    }
}

/// Reads stripe by stripe, under a lock of the rows, and recovers what cannot be read.
async fn read_parts(array: &Array, level: &Striped, request: &Request) -> Outcome {
    for (stripe, part) in level.map.parts(request.range) {
        let piece = request.piece(part, part.start);
        let block = Sectors::from_bytes(array.geometry().logical_block.into());
        match read_part(array, level, stripe, &piece).await {
            Err(failed) if failed.cause == Cause::Medium && part.count > block => {
                // Every block may be lost on another member.
                let mut at = part.start;
                while at < part.end() {
                    let own = request.piece(Range::new(at, block), at);
                    read_part(array, level, stripe, &own).await?;
                    at += block;
                }
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

async fn read_part(array: &Array, level: &Striped, stripe: u64, request: &Request) -> Outcome {
    let rows = level.rows_of_part(request.range);
    let _rows = level.lock(array, rows).await;
    let mut work = level.works.take().await;
    // Parity belongs to what the members have.
    write_out(array, level, rows, &mut work).await?;
    let stripe = level.map.stripe(stripe);
    let trace = request.trace;
    let mut reading = Reading { array, level, stripe, trace, unreadable: Slots::NONE, medium: None };
    let outcome = loop {
        match reading.read(&mut work, request).await {
            Ok(()) => break Ok(()),
            Err(Trouble::Again) => {}
            Err(Trouble::Failed(failed)) => break Err(failed),
        }
    };
    // What is still under way reads into memory that others will get.
    let _ = reading.settle(&mut work).await;
    // A failure that was noticed on the way is recorded before anybody is told anything (S5).
    array.recorded().await?;
    outcome
}

/// What comes of trying to read.
pub(super) enum Trouble {
    /// More is known now of what cannot be read: plan again.
    Again,
    /// It cannot be had.
    Failed(Failed),
}

/// A read of one stripe, whose rows are locked.
struct Reading<'a> {
    array: &'a Array,
    level: &'a Striped,
    stripe: Stripe,
    trace: u32,
    /// Slots with a member that could not read.
    unreadable: Slots,
    medium: Option<Failed>,
}

impl Reading<'_> {
    async fn read(&mut self, work: &mut Work, request: &Request) -> Result<(), Trouble> {
        let gone = |reading: &Self, piece: &Piece| {
            reading.unreadable.has(piece.slot) || reading.array.holder(piece.slot, piece.rows()).is_none()
        };
        for piece in self.level.map.pieces(request.range) {
            if !gone(self, &piece) {
                self.start(work, piece.slot, piece.row, piece.buf_of(request)).await?;
            }
        }
        // Pieces that are lost: their data comes out of all others.
        for piece in self.level.map.pieces(request.range) {
            if gone(self, &piece) {
                self.recover(work, request, piece).await?;
            }
        }
        self.settle(work).await
    }

    /// Starts reading `count` rows of a slot into a buffer.
    async fn start(
        &mut self,
        work: &mut Work,
        slot: u16,
        row: Sectors,
        buf: block::Buf,
    ) -> Result<(), Trouble> {
        if work.is_nearly_full() {
            self.settle(work).await?;
        }
        let rows = Range::new(row, buf.sectors());
        let Some(member) = self.array.holder(slot, rows) else { return Err(Trouble::Again) };
        if member.is_bad(rows) {
            self.settle(work).await?;
            self.unreadable.add(slot);
            return Err(Trouble::Again);
        }
        let read = Request::read(member.place_of(row), buf).for_trace(self.trace);
        let at = self.array.seats[usize::from(slot)].get().expect("it has a member");
        work.push(slot, at, member.dev.start(self.array.to_member(read)));
        Ok(())
    }

    async fn settle(&mut self, work: &mut Work) -> Result<(), Trouble> {
        settle_reads(self.array, work, &mut self.unreadable, &mut self.medium).await
    }

    /// Recovers a lost piece into the request's buffer. What others want of the same rows is read for them too.
    async fn recover(&mut self, work: &mut Work, request: &Request, piece: Piece) -> Result<(), Trouble> {
        let mut claims = Claims::new(self.level.offers_at(self.array, piece.row), piece.rows());
        let recovered = self.recover_windows(work, request, piece, &mut claims).await;
        match recovered {
            Ok(()) => claims.were_read(),
            // Nothing lands in a buffer that is its owner's again.
            Err(_) => drop(self.settle(work).await),
        }
        recovered
    }

    /// Window by window.
    async fn recover_windows(
        &mut self,
        work: &mut Work,
        request: &Request,
        piece: Piece,
        claims: &mut Claims<'_>,
    ) -> Result<(), Trouble> {
        let window = self.level.works.window();
        let mut done = Sectors::ZERO;
        while done < piece.range.count {
            let count = window.min(piece.range.count - done);
            let rows = Range::new(piece.row + done, count);
            let at = piece.range.start + done;
            let target = request.piece(Range::new(at, count), at).buf.expect("a read has a buffer");
            self.recover_rows(work, request, piece.slot, rows, &target, claims).await?;
            if self.unreadable.has(piece.slot) {
                let member = self.array.seat(piece.slot).cloned();
                let scratch = work.blocks[usize::from(piece.slot)].slice(0, count.byte_len());
                if let Some(member) = member {
                    repair::write_back(self.array, &member, rows, rows.start, &target, &scratch, self.trace)
                        .await;
                }
            }
            done += count;
        }
        Ok(())
    }

    async fn recover_rows(
        &mut self,
        work: &mut Work,
        request: &Request,
        slot: u16,
        rows: Range,
        target: &block::Buf,
        claims: &mut Claims<'_>,
    ) -> Result<(), Trouble> {
        let known = self.level.known(self.array, rows, self.unreadable);
        let (reads, lost) = match plan_recovery(&self.stripe, known) {
            Ok(planned) => planned,
            Err(why) => {
                self.settle(work).await?;
                let own = self.medium.filter(|_| why == NoPlan::TooMuchLost || self.unreadable.has(slot));
                return Err(Trouble::Failed(own.unwrap_or(failure(why))));
            }
        };
        // The piece goes on behind what its member has of it, these rows do not.
        if !lost.has(slot) {
            return self.start(work, slot, rows.start, target.clone()).await;
        }
        let bytes = rows.count.byte_len();
        for slot in reads.iter() {
            // What the client wants too is read into its buffer already.
            if self.own_place(request, slot, rows).is_none() {
                let wanted = claims.ask(slot, rows);
                let buf = wanted.unwrap_or_else(|| work.blocks[usize::from(slot)].slice(0, bytes));
                self.start(work, slot, rows.start, buf).await?;
            }
        }
        self.settle(work).await?;
        let order = self.stripe.by_index();
        let (mut indices, mut sources) =
            (std::mem::take(&mut work.indices), std::mem::take(&mut work.sources));
        indices.clear();
        sources.clear();
        let source = |work: &Work, slot: u16| {
            let wanted = self.own_place(request, slot, rows).or_else(|| claims.find(slot, rows));
            wanted.unwrap_or_else(|| work.blocks[usize::from(slot)].slice(0, bytes))
        };
        for (index, slot) in order.clone().filter(|(_, slot)| !lost.has(*slot)) {
            indices.push(index);
            sources.push(source(work, slot));
        }
        let good = [Some(self.stripe.p), self.stripe.q].map(|parity| parity.filter(|slot| reads.has(*slot)));
        good.iter().flatten().for_each(|slot| sources.push(source(work, *slot)));
        let place = |lost: u16| match lost == slot {
            true => target.clone(),
            false => work.blocks[usize::from(lost)].slice(0, bytes),
        };
        let mut gone = order.filter(|(_, slot)| lost.has(*slot)).map(|(index, slot)| (index, place(slot)));
        let (has_p, has_q) = (good[0].is_some(), good[1].is_some());
        match (gone.next(), gone.next()) {
            (Some(one), Some(two)) => arithmetic::recover(&[one, two], &indices, &sources, has_p, has_q),
            (Some(one), None) => arithmetic::recover(&[one], &indices, &sources, has_p, has_q),
            _ => {}
        }
        drop(gone);
        sources.clear();
        (work.indices, work.sources) = (indices, sources);
        Ok(())
    }

    /// Where in the request's buffer the rows of a slot are read to, if the client wants all of them.
    fn own_place(&self, request: &Request, slot: u16, rows: Range) -> Option<block::Buf> {
        let map = &self.level.map;
        let number = u64::from(self.stripe.number_of(slot)?);
        let in_chunk = rows.start - map.rows_of(self.stripe.number).start;
        let at = map.range_of(self.stripe.number).start + Sectors(number * map.chunk().0) + in_chunk;
        let wanted = Range::new(at, rows.count);
        request.range.contains(wanted).then(|| request.piece(wanted, at).buf).flatten()
    }
}

/// Waits for reads under way, and says what is known then: members that failed are failed, those that could not read
/// these sectors are `unreadable`.
pub(super) async fn settle_reads(
    array: &Array,
    work: &mut Work,
    unreadable: &mut Slots,
    medium: &mut Option<Failed>,
) -> Result<(), Trouble> {
    let mut fatal = None;
    let mut again = false;
    work.settle(|slot, at, failed| {
        again = true;
        if failed.cause == Cause::Medium {
            unreadable.add(slot);
            *medium = Some(failed);
        } else if !array.fail(&array.members[at], failed) {
            fatal = Some(failed);
        }
    })
    .await;
    match fatal {
        Some(failed) => Err(Trouble::Failed(failed)),
        None if again => Err(Trouble::Again),
        None => Ok(()),
    }
}

impl Piece {
    /// Its rows, from the member's data offset.
    pub(super) fn rows(&self) -> Range {
        Range::new(self.row, self.range.count)
    }

    /// The part of a request that this piece is, as its member gets it.
    fn request(&self, request: &Request, member: &Member) -> Request {
        request.piece(self.range, member.place_of(self.row))
    }

    /// The part of a read's buffer that this piece is.
    fn buf_of(&self, request: &Request) -> block::Buf {
        request.piece(self.range, self.row).buf.expect("a read has a buffer")
    }
}

/// What is allocated at the start of the range: as far as it lies in one piece on one member.
pub(super) async fn status(array: &Array, level: &Striped, request: Request) -> Outcome {
    debug_assert_eq!(request.op, Op::Status);
    let words = request.buf.clone().ok_or(Failed::new(Cause::Refused))?;
    let stripe = level.map.stripe(level.map.stripe_of(request.range.start));
    let piece = level.map.first_piece(&stripe, request.range);
    if let Some(kept) = first_kept(level, piece.range) {
        let before = kept.start - piece.range.start;
        let count = if before.is_zero() { kept.count } else { before };
        // What is beside it is looked at when somebody asks for that.
        Extents::new(&words).set(0, count, false);
        return Ok(());
    }
    let answered = match array.holder(piece.slot, piece.rows()) {
        Some(member) => {
            let range = Range::new(member.place_of(piece.row), piece.range.count);
            member.dev.start(array.to_member(Request { range, ..request })).await
        }
        None => Err(Failed::new(Cause::Unsupported)),
    };
    if answered.is_err() {
        Extents::new(&words).set(0, piece.range.count, false);
    }
    Ok(())
}
