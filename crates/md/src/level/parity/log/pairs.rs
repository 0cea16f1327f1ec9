//! Making the parities of raid6 right: by the data where all of it is there, elsewhere by what the logs of P and Q say.
//!
//! An entry counts for its own parity alone, as raid5's does. Where a block that was being written is on a member that is
//! missing, the two are looked at together: both are durable before rows are touched, so rows that only one of them names
//! were not touched yet, or are safe. If both name them, P says what the missing block is and Q whether that is so. Where
//! it is not, or nobody can tell, that block is in doubt (S6); but a block that was written alone exists in parity alone,
//! is there as a whole, old or new, and Q is made to say what P says.

use block::{Buf, Failed, Range, Sectors};

use super::super::arithmetic;
use super::super::map::Stripe;
use super::super::slots::Slots;
use super::entry::Piece;
use super::replay::{Found, Replay, add};

/// What a missing block was found to be.
enum Said {
    /// Q says the same as P, or was made to.
    Agreed,
    /// P and Q say different things.
    Doubtful,
}

impl Replay<'_> {
    /// Makes the parity of rows that an entry names right, or says what is in doubt.
    pub(super) async fn paired(&mut self, all: &[Found], found: &Found, piece: &Piece) {
        let map = &self.level.map;
        let stripe = map.stripe(piece.rows.start.0 / map.chunk().0);
        let absent = self.unusable(piece.rows);
        let lost = piece.written & absent;
        let made = if (stripe.data() & absent).is_empty() {
            self.make_from_data(&stripe, piece.rows, stripe.parities() - absent).await
        } else if lost.is_empty() {
            if found.is_torn || absent.has(found.slot) {
                return;
            }
            self.make_own(&stripe, found, piece).await
        } else if (stripe.parities() & absent).is_empty() {
            let is_same = |other: &&Found| other.slot != found.slot && is_about_the_same(other, found);
            let Some(other) = all.iter().find(is_same).filter(|other| !other.is_torn && !found.is_torn)
            else {
                return;
            };
            if found.slot != stripe.p {
                return; // looked at with P's
            }
            if lost.count() > 1 {
                return self.doubt(piece.rows); // P and Q say what they are, and nothing says whether that is so
            }
            match self.make_agree(&stripe, [found, other], piece, lost).await {
                Ok(Said::Agreed) => return,
                Ok(Said::Doubtful) => return self.doubt(piece.rows),
                Err(failed) => Err(failed),
            }
        } else if found.is_torn || lost.count() == 1 && lost == piece.written {
            return;
        } else {
            return self.doubt(piece.rows);
        };
        if made.is_err() {
            self.not_made(piece.rows, absent);
        }
    }

    /// Slots of which nothing counts in these rows: nobody has them, or they are listed as bad.
    fn unusable(&self, rows: Range) -> Slots {
        let is_bad = |slot: &u16| self.array.holder(*slot, rows).is_some_and(|member| member.is_bad(rows));
        self.level.gone(self.array, rows) | (0..self.level.map.slots()).filter(is_bad).collect()
    }

    /// Some parities of rows whose data is all there.
    async fn make_from_data(&mut self, stripe: &Stripe, rows: Range, parities: Slots) -> Result<(), Failed> {
        let whole = Piece { rows, written: stripe.data(), partial: None };
        for (rows, _) in Replay::parts_of(&whole, Sectors::ZERO) {
            let [p, q, block] = self.three(rows);
            p.fill_zero();
            q.fill_zero();
            for (index, slot) in stripe.by_index() {
                self.read_slot(slot, rows, &block).await?;
                self.add_with(index, &block, Some(&p), Some(&q));
            }
            for slot in parities.iter() {
                self.put(slot, rows, if slot == stripe.p { &p } else { &q }).await?;
            }
        }
        Ok(())
    }

    /// The parity that an entry is about, by its partial parity and the blocks found in what was written.
    async fn make_own(&mut self, stripe: &Stripe, found: &Found, piece: &Piece) -> Result<(), Failed> {
        for (rows, partial) in Replay::parts_of(piece, found.payload) {
            let [sum, _, block] = self.three(rows);
            self.read_partial(found, partial, &sum).await?;
            for (index, slot) in stripe.by_index().filter(|(_, slot)| piece.written.has(*slot)) {
                self.read_slot(slot, rows, &block).await?;
                match found.slot == stripe.p {
                    true => self.add_with(index, &block, Some(&sum), None),
                    false => self.add_with(index, &block, None, Some(&sum)),
                }
            }
            self.put(found.slot, rows, &sum).await?;
        }
        Ok(())
    }

    /// Compares what P and Q say of the one block that is `lost` of those that were written. `logs` are P's entry and Q's.
    /// Where it was written alone, Q is made to say what P does.
    async fn make_agree(
        &mut self,
        stripe: &Stripe,
        logs: [&Found; 2],
        piece: &Piece,
        lost: Slots,
    ) -> Result<Said, Failed> {
        let mut order = stripe.by_index();
        let missing = order.find(|(_, slot)| lost.has(*slot)).expect("one that was written is missing").0;
        let q_slot = stripe.q.expect("the level has one");
        let parts = Replay::parts_of(piece, logs[0].payload).zip(Replay::parts_of(piece, logs[1].payload));
        for ((rows, p_partial), (_, q_partial)) in parts {
            let [p, q, block] = self.three(rows);
            self.read_partial(logs[0], p_partial, &p).await?;
            self.read_partial(logs[1], q_partial, &q).await?;
            for (index, slot) in stripe.by_index().filter(|(_, slot)| (piece.written - lost).has(*slot)) {
                self.read_slot(slot, rows, &block).await?;
                self.add_with(index, &block, Some(&p), Some(&q));
            }
            // P as it is, less everything else, is the missing block.
            self.read_slot(stripe.p, rows, &block).await?;
            add(&block, &p);
            self.add_with(missing, &block, None, Some(&q));
            if lost == piece.written {
                self.put(q_slot, rows, &q).await?;
                continue;
            }
            self.read_slot(q_slot, rows, &block).await?;
            if !block.same_bytes(&q) {
                return Ok(Said::Doubtful);
            }
        }
        Ok(Said::Agreed)
    }

    fn three(&self, rows: Range) -> [Buf; 3] {
        let [one, two, three, _] = self.parts.each_ref().map(|part| part.slice(0, rows.count.byte_len()));
        [one, two, three]
    }

    /// The partial parity of an entry: nothing where all data was written.
    async fn read_partial(&self, found: &Found, at: Option<Sectors>, into: &Buf) -> Result<(), Failed> {
        into.fill_zero();
        match at {
            Some(at) => self.read(&found.member, at, into).await,
            None => Ok(()),
        }
    }

    /// Adds a block to P, to Q, or to both.
    fn add_with(&self, index: u8, block: &Buf, p: Option<&Buf>, q: Option<&Buf>) {
        let contents = [self.zeroes.slice(0, block.len()), block.clone()];
        arithmetic::modify(&[index], &contents, p, q);
    }
}

/// Whether two entries name the same blocks of the same rows.
fn is_about_the_same(one: &Found, other: &Found) -> bool {
    let named = |found: &Found| {
        let entry = &found.entry;
        (entry.data_sector.get(), entry.pp_bytes.get(), entry.data_bytes.get())
    };
    named(one) == named(other)
}
