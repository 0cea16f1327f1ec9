//! Who is a member, and of what: failing, adding, seating, replacing, promoting, letting go.
//!
//! Failing is always allowed, but for the last copy. Everything else that touches a slot is done by the sync engine's one
//! task between two actions (S2): what a person asks for here is noted, and taken up when its turn has come. What changes
//! is on record before anybody is told.

use std::fmt;
use std::rc::Rc;

use block::{Buf, Cause, Dev, Failed, Origin, Outcome, Request, Sectors};
use md_format::superblock::{self, NewMember};
use md_format::{FormatError, Place, ResyncOffset, Version};

use crate::admission::{self, Admission, Facts, NotAdmitted};
use crate::array::{Array, Happening};
use crate::assembly::Candidate;
use crate::create::new_journal;
use crate::examine::Examined;
use crate::grow::GrowError;
use crate::level::{self, parity::journal};
use crate::member::{Condition, Member, Recovering, Want};
use crate::sync::{Rebuilt, decide};
use crate::wipe::wipe;

/// A disk that is to become a member.
pub struct Newcomer {
    /// What people call it.
    pub name: String,
    /// The disk.
    pub dev: Dev,
    /// What it says it is, where it says anything.
    pub examined: Option<Examined>,
}

/// Makes the superblock of a newcomer from that of a member.
type Adopt = fn(Place, &mut [u8], &NewMember) -> Result<Place, FormatError>;

/// Why something about a member was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipError {
    /// It cannot be a member.
    NotAdmitted(NotAdmitted),
    /// It is in use, and has to be failed first.
    InUse,
    /// It holds the only copy of its data.
    LastCopy,
    /// It is not in sync, so there is nothing to replace.
    NotInSync,
    /// No spare is left that could take its place.
    NoSpare,
    /// The disk did not take what it was to have, or nothing could be recorded.
    Failed(Failed),
}

impl fmt::Display for MembershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MembershipError::NotAdmitted(why) => why.fmt(f),
            MembershipError::InUse => f.write_str("it is in use; fail it first"),
            MembershipError::LastCopy => f.write_str("it holds the only copy of its data"),
            MembershipError::NotInSync => f.write_str("it is not in sync; there is nothing to replace"),
            MembershipError::NoSpare => {
                f.write_str("there is no spare that could take its place; add one first")
            }
            MembershipError::Failed(failed) => failed.fmt(f),
        }
    }
}

impl std::error::Error for MembershipError {}

impl From<Failed> for MembershipError {
    fn from(failed: Failed) -> MembershipError {
        MembershipError::Failed(failed)
    }
}

impl Array {
    /// Fails a member by request of a person. The last copy is never failed. Recorded when this returns.
    pub async fn fail_member(&self, at: usize) -> Result<(), MembershipError> {
        if !self.fail(&self.members[at], Failed::new(Cause::Gone)) {
            return Err(MembershipError::LastCopy);
        }
        Ok(self.metadata.settled().await?)
    }

    /// Lets go of a member that has failed, or of a spare: no superblock speaks of it when this returns.
    pub async fn remove_member(&self, at: usize) -> Result<(), MembershipError> {
        let member = &self.members[at];
        match member.condition() {
            Condition::InSync | Condition::Recovering(_) | Condition::Journal => {
                return Err(MembershipError::InUse);
            }
            Condition::Spare | Condition::Faulty => {}
            Condition::Removed => return Ok(()),
        }
        self.leave_slot(at);
        member.condition.set(Condition::Removed);
        self.membership_changed();
        self.happen(Happening::MemberRemoved { name: member.name.clone() });
        Ok(self.metadata.settled().await?)
    }

    /// Wants a member replaced, by this spare or by any: it stays in use until another one has all of its data.
    pub fn replace_member(&self, at: usize, with: Option<usize>) -> Result<(), MembershipError> {
        let member = &self.members[at];
        let (Condition::InSync, Some(slot)) = (member.condition(), member.slot.get()) else {
            return Err(MembershipError::NotInSync);
        };
        let could =
            |spare: &Member| spare.condition() == Condition::Spare && spare.room.get() >= self.member_size();
        match with {
            Some(with) if could(&self.members[with]) => self.members[with].want.set(Want::Replace(slot)),
            None if self.members.iter().any(|spare| could(spare)) => {}
            _ => return Err(MembershipError::NoSpare),
        }
        member.unwanted.set(true);
        self.sync.wake();
        Ok(())
    }

    /// A member that begins to fail is replaced by any spare there is, or that comes.
    pub(crate) fn replace_when_possible(&self, member: &Member) {
        if member.condition() == Condition::InSync && !member.unwanted.replace(true) {
            self.sync.wake();
        }
    }

    /// Adds a disk: as the member that it was, where the bitmap tells what it has missed; as a spare otherwise. Its place
    /// comes back, and what it was taken for. It is on record when this returns.
    pub async fn add_member(&self, newcomer: Newcomer) -> Result<(usize, Admission), MembershipError> {
        let facts = self.facts();
        let admission = admission::admit(
            &facts,
            &newcomer.dev.geometry(),
            newcomer.dev.height(),
            newcomer.examined.as_ref(),
        );
        let admission = admission.map_err(MembershipError::NotAdmitted)?;
        let name = newcomer.name.clone();
        let member = match admission {
            Admission::Former { slot, dev_number } => former(newcomer, slot, dev_number),
            Admission::Spare { dev_number } => self.prepare(newcomer, dev_number).await?,
        };
        let full = MembershipError::NotAdmitted(NotAdmitted::TooMany);
        let at = self.members.push(Rc::new(member)).ok_or(full)?;
        self.membership_changed();
        self.metadata.settled().await?;
        if let Some(failed) = self.members[at].failure.get() {
            return Err(failed.into());
        }
        let slot = self.members[at].slot.get();
        self.happen(Happening::MemberAdded { name, slot });
        self.sync.wake();
        Ok((at, admission))
    }

    /// What would become of a disk that is added.
    pub fn admission(&self, newcomer: &Newcomer) -> Result<Admission, NotAdmitted> {
        let (geometry, height) = (newcomer.dev.geometry(), newcomer.dev.height());
        admission::admit(&self.facts(), &geometry, height, newcomer.examined.as_ref())
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            summary: self.shape().summary,
            events: self.events(),
            events_cleared: self.bitmap.now().map(|bitmap| bitmap.events_cleared()),
            size: self.member_size(),
            geometry: runtime::Engine::geometry(self),
            height: runtime::Engine::height(self),
            members: &self.members,
            has_redundancy: self.redundancy().is_any(),
        }
    }

    /// Makes a spare of a disk: nothing of what it was is left, and its logs are empty.
    async fn prepare(&self, newcomer: Newcomer, dev_number: u32) -> Result<Member, MembershipError> {
        let Newcomer { name, dev, .. } = newcomer;
        let examined = self.adopted(&dev, dev_number, superblock::adopt)?;
        self.clear(&dev, &examined).await?;
        dev.start(self.to_member(Request::flush())).await?;
        Ok(Member::new(&Candidate { name, examined }, dev, dev_number, None, Condition::Spare))
    }

    /// Makes an empty journal of a disk. Its superblock says so; nobody else's does yet.
    pub(crate) async fn prepare_journal(&self, newcomer: Newcomer) -> Result<Member, GrowError> {
        let Newcomer { name, dev, .. } = newcomer;
        let dev_number = admission::free_number(&self.facts()).map_err(MembershipError::NotAdmitted)?;
        let examined = self.adopted(&dev, dev_number, superblock::adopt_journal)?;
        if let Some(why) = journal::hindrance(&self.shape().summary, &examined) {
            return Err(GrowError::Hindered(why));
        }
        self.clear(&dev, &examined).await?;
        let (sector, block) = new_journal(&examined.summary);
        let first = self.arena.wait_take(block.len()).await;
        first.copy_from_slice(0, &block);
        self.write_metadata(&dev, Sectors(sector), first).await?;
        dev.start(self.to_member(Request::flush())).await?;
        let bytes = self.arena.wait_take(examined.bytes.len()).await;
        bytes.copy_from_slice(0, &examined.bytes[..]);
        let place = Sectors(examined.place.sector);
        dev.start(self.to_member(Request::write(place, bytes).with_fua())).await?;
        Ok(Member::new(&Candidate { name, examined }, dev, dev_number, None, Condition::Journal))
    }

    /// What a disk is to be, made from a member in sync.
    fn adopted(&self, dev: &Dev, dev_number: u32, adopt: Adopt) -> Result<Examined, MembershipError> {
        let template = self.members.iter().find(|member| member.condition() == Condition::InSync);
        let template = template.ok_or(Failed::new(Cause::Degraded))?;
        let mut bytes = template.superblock.borrow().clone();
        let member = NewMember {
            dev_number,
            device_uuid: runtime::random_uuid(),
            device_sectors: dev.geometry().size.0,
            data_offset: template.data_offset.0,
        };
        let place = adopt(template.place.get(), &mut bytes[..], &member);
        let place = place.map_err(|error| MembershipError::NotAdmitted(NotAdmitted::Format(error)))?;
        let view = superblock::Superblock::view(place, &bytes[..]).expect("made a moment ago");
        let summary = view.summary().expect("made a moment ago");
        let (flaw, leftovers, bad_blocks) = (None, Vec::new(), Vec::new());
        let (geometry, bitmap, private_log) = (dev.geometry(), None, None);
        Ok(Examined { geometry, place, bytes, summary, flaw, leftovers, bad_blocks, bitmap, private_log })
    }

    /// Takes away what a disk was, and what its logs hold.
    async fn clear(&self, dev: &Dev, examined: &Examined) -> Outcome {
        let sectors = dev.geometry().size.0;
        for other in Place::all(sectors).filter(|other| other.sector != examined.place.sector) {
            wipe(dev, &self.arena, other, |request| self.to_member(request)).await?;
        }
        if let Some(log) = examined.summary.bad_block_log {
            let empty = self.arena.wait_take(usize::from(log.sectors) * 512).await;
            empty.copy_from_slice(0, &vec![0xff; empty.len()]);
            self.write_metadata(dev, Sectors(log.sector), empty).await?;
        }
        Ok(())
    }

    async fn write_metadata(&self, dev: &Dev, at: Sectors, buf: Buf) -> Outcome {
        let write = Request { origin: Origin::Metadata, ..Request::write(at, buf) };
        dev.start(self.to_member(write)).await
    }

    /// A spare takes a slot, from which on every write reaches it. Only the sync engine's task does this, between two
    /// actions (S2).
    pub(crate) async fn seat_member(&self, at: usize, slot: u16, replaces: bool) -> Outcome {
        let member = &self.members[at];
        let want = member.want.replace(Want::Any);
        let by_bitmap = decide::is_return(want, slot, replaces, self.bitmap.now().is_some());
        if let Some(log) = level::log(self)
            && let Err(failed) = log.admit(self, member, slot).await
        {
            self.fail(member, failed);
            return Err(failed);
        }
        if member.condition() != Condition::Spare {
            return Ok(()); // while its log was prepared it was removed, or has failed
        }
        let holders = if replaces { &self.replacements } else { &self.seats };
        let before = holders[usize::from(slot)].replace(Some(at));
        if let Some(before) = before {
            self.members[before].slot.set(None);
        }
        member.slot.set(Some(slot));
        member.condition.set(Condition::Recovering(Recovering {
            by_bitmap,
            replaces,
            ..Recovering::NOTHING
        }));
        let replaced = self.occupant(slot).filter(|_| replaces).map(|replaced| replaced.name.clone());
        if let Some(bitmap) = self.bitmap.now() {
            bitmap.write_all(self).await; // whoever is promoted one day has to have every bit
        }
        self.membership_changed();
        self.metadata.settled().await?;
        if member.is_written() {
            self.happen(Happening::SpareTaken { name: member.name.clone(), slot, replaces: replaced });
        }
        Ok(())
    }

    /// A member that has all of its slot's data is in sync (S1). Whoever it replaces is out.
    pub(crate) fn promote(&self, rebuilt: Rebuilt) {
        let at = rebuilt.member();
        let member = &self.members[at];
        let recovering = member.recovering().expect("only who is being rebuilt is promoted");
        let slot = member.slot.get().expect("it was rebuilt for a slot");
        if recovering.replaces {
            let replaced = self.seats[usize::from(slot)].replace(Some(at)).expect("somebody was replaced");
            self.replacements[usize::from(slot)].set(None);
            let replaced = &self.members[replaced];
            replaced.condition.set(Condition::Faulty);
            let _ = replaced.replaced_by.set(member.name.clone()); // it is replaced once
            replaced.slot.set(None);
        }
        member.condition.set(Condition::InSync);
        member.promoted.set(true);
        if level::log(self).is_some_and(|log| log.is_whole_again(slot))
            && self.sync.first_uncovered().is_none()
        {
            self.metadata.require_resync(ResyncOffset::Complete); // the members were flushed for this
        }
        self.membership_changed();
        self.happen(Happening::MemberInSync { name: member.name.clone(), slot });
    }

    /// A member fails: from now on no request reaches it, and the change is on its way to the superblocks. False when
    /// it cannot be failed, because it holds the last copy or the level has no other.
    pub(crate) fn fail(&self, member: &Member, failed: Failed) -> bool {
        match member.condition() {
            Condition::Faulty | Condition::Removed => return true,
            Condition::InSync if !self.can_do_without(member) => return false,
            Condition::InSync | Condition::Recovering(_) | Condition::Spare | Condition::Journal => {}
        }
        let replaces = member.recovering().is_some_and(|recovering| recovering.replaces);
        member.condition.set(Condition::Faulty);
        member.failure.set(Some(failed));
        if let Some(slot) = member.slot.get() {
            let slot = usize::from(slot);
            let replacement = self.replacements[slot].take().filter(|_| !replaces);
            if let Some(at) = replacement {
                // It goes on as the one that is rebuilt for the slot.
                let heir = &self.members[at];
                let recovering = heir.recovering().expect("who replaces somebody is being rebuilt");
                heir.condition.set(Condition::Recovering(Recovering { replaces: false, ..recovering }));
                self.seats[slot].set(Some(at));
            }
        }
        self.epoch.set(self.epoch.get() + 1);
        if self.options.write {
            self.metadata.require_membership();
        }
        if let Some(log) = level::log(self) {
            log.wake_all();
        }
        if let Some(journal) = level::journal(self) {
            journal.wake_all();
        }
        self.sync.wake();
        self.happen(Happening::MemberFailed { name: member.name.clone(), failed });
        true
    }

    /// Who is a member of what has changed: views are taken anew, and the superblocks are to say so.
    fn membership_changed(&self) {
        self.epoch.set(self.epoch.get() + 1);
        self.metadata.require_membership();
        self.sync.wake();
    }

    /// Whoever has failed is in no slot any more.
    fn leave_slot(&self, at: usize) {
        if let Some(slot) = self.members[at].slot.take() {
            let seat = &self.seats[usize::from(slot)];
            if seat.get() == Some(at) {
                seat.set(None);
            }
        }
    }

    /// Whether the member in place `at` can be failed without any data being lost.
    pub fn is_dispensable(&self, at: usize) -> bool {
        self.can_do_without(&self.members[at])
    }

    fn can_do_without(&self, member: &Member) -> bool {
        let stays = |slot| self.seat(slot).is_some_and(|other| !std::ptr::eq(&**other, member));
        self.redundancy().suffices(self.slots(), |slot| stays(slot as u16))
    }

    /// Whether all data is within reach.
    pub(crate) fn has_enough(&self) -> bool {
        self.is_enough(|at| self.members[at].condition() == Condition::InSync)
    }

    /// Sectors of its own that a member has to have for data.
    pub(crate) fn member_size(&self) -> Sectors {
        Sectors(self.shape().summary.size_sectors)
    }
}

/// A disk that was a member before, under the number that it had.
fn former(newcomer: Newcomer, slot: u16, dev_number: u32) -> Member {
    let Newcomer { name, dev, examined } = newcomer;
    let examined = examined.expect("who was a member says so");
    let (flags, corrected) = (examined.summary.flags, examined.summary.corrected_reads);
    let found = examined.bad_blocks.clone();
    let log = examined.summary.bad_block_log;
    let member = Member::new(&Candidate { name, examined }, dev, dev_number, None, Condition::Spare);
    member.want.set(Want::Former(slot));
    member.corrected_reads.set(corrected);
    Member { flags, bad: crate::badblocks::BadBlocks::new(found.into_iter(), log), ..member }
}

/// How many devices a superblock has room for.
pub(crate) fn most_devices(version: Version) -> u32 {
    match version {
        Version::V0_90 => md_format::limits::V0_MAX_DEVICES,
        _ => md_format::limits::V1_MAX_DEVICES,
    }
}
