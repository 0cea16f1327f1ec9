//! The one writer of superblocks, and the array's clean and dirty marks.
//!
//! Everything that changes the metadata says so with a `require`, and waits, if it has to, until a round of writing that
//! began later is durable on every member that is left. A round whose writing fails on a member fails that member and is
//! followed by another before anybody is told. Writes and syncs go on meanwhile: the writer owns a task and buffers of
//! its own and waits for nobody but the members.

use crate::waits;
use runtime::waits::doing;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use block::{Arena, Cause, Failed, Fan, MAX_BUFFER, Origin, Outcome, Priority, Request, Sectors};
use md_format::private_log::fingerprint;
use md_format::superblock::{self, Entry, Recovery, Summary};
use md_format::{Features, FormatError, ResyncOffset, Role};
use runtime::rank::Step;
use runtime::{Event, sleep_ms, spawn};

use crate::array::Array;
use crate::level::{self, parity::log};
use crate::limits::{EVENTS_LIMIT, FAN_OUT, MEMBERS_ADDED, MEMBERSHIP_EVENTS};
use crate::member::{Condition, Flusher, Member};
use crate::plant::{self, Plant};

/// Bytes of a superblock as it is written: all that was read, so that what follows it in its block survives.
const SUPERBLOCK_BYTES: usize = md_format::limits::SUPERBLOCK_BYTES;

/// A superblock, and what else is written with it where there is a private log: a member that does not answer keeps them.
/// Beside those there is room for a list of bad blocks.
const BYTES_OF_A_MEMBER: usize = 2 * 4096;

/// Tasks that can wait for a round at once without allocating: every slot, and the few of the array itself.
const WAITERS: usize = 2 * crate::limits::SLOTS;

/// What is recorded, and what should be.
pub(crate) struct Metadata {
    events: Cell<u64>,
    /// Some member's superblock is an event behind the others, since a power cut. It has to catch up before the next event,
    /// or another cut could leave it two behind, and two behind is stale.
    behind: Cell<bool>,
    /// What catching up records.
    found: Found,
    wanted: Cell<u64>,
    written: Cell<u64>,
    membership_changed: Cell<bool>,
    /// The round that has to be written before the last membership change is on record.
    membership_wanted: Cell<u64>,
    /// No write is under way, and the array may be called clean.
    want_clean: Cell<bool>,
    /// The superblocks say dirty, durably, and nobody is changing that.
    marked_dirty: Cell<bool>,
    writers: Cell<u32>,
    /// Counts writes, so that the safe-mode timer sees whether there were any.
    activity: Cell<u64>,
    /// How far the resync says it has come.
    noted: Cell<ResyncOffset>,
    /// How far that was when the members were last flushed: what superblocks may say, and nothing more (S4).
    durable: Cell<ResyncOffset>,
    stopping: Cell<bool>,
    stopped: Cell<bool>,
    changed: Event,
    /// No write is under way any more.
    idle: Event,
    /// The table of members as the superblocks have it, kept to be filled again without allocating.
    entries: RefCell<Vec<Entry>>,
    /// Memory for what is written here. Nobody else has any of it: who repairs something waits for superblocks, and keeps the
    /// memory for repairs meanwhile.
    pub arena: Rc<Arena>,
}

/// What there was when the array was opened. Catching up records that, whatever has happened since, or a superblock would be
/// as old as others that tell a different story.
#[derive(Default)]
pub(crate) struct Found {
    /// Who is here.
    pub present: Vec<Entry>,
    /// Who is not, and is active by the freshest superblock.
    pub absent: Vec<Entry>,
}

/// While this lives, a write is under way and the array is marked dirty.
pub(crate) struct Writing<'a> {
    metadata: &'a Metadata,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let left = self.metadata.writers.get() - 1;
        self.metadata.writers.set(left);
        if left == 0 {
            self.metadata.idle.notify();
        }
    }
}

/// Starts the writer and the safe-mode timer of an array.
pub(crate) fn start(array: &Rc<Array>) {
    block::reserve(2 * FAN_OUT);
    let (writer, timer) = (array.clone(), array.clone());
    let _running = spawn(async move { write_rounds(&writer).await });
    let _running = spawn(async move { watch_for_idleness(&timer).await });
}

impl Metadata {
    /// `behind`: some member in sync is behind the events of `summary`, and this is what there is.
    pub fn new(
        summary: &Summary,
        resync: ResyncOffset,
        members: usize,
        short: bool,
        behind: Option<Found>,
    ) -> Metadata {
        Metadata {
            events: Cell::new(summary.events),
            behind: Cell::new(behind.is_some()),
            entries: RefCell::new(Vec::with_capacity(
                members + MEMBERS_ADDED + behind.as_ref().map_or(0, |found| found.absent.len()),
            )),
            found: behind.unwrap_or_default(),
            wanted: Cell::new(0),
            written: Cell::new(0),
            // Going on without a member is a change of membership: the first round records it.
            membership_changed: Cell::new(short),
            membership_wanted: Cell::new(0),
            want_clean: Cell::new(false),
            marked_dirty: Cell::new(false),
            writers: Cell::new(0),
            activity: Cell::new(0),
            noted: Cell::new(resync),
            durable: Cell::new(resync),
            stopping: Cell::new(false),
            stopped: Cell::new(false),
            changed: Event::with_capacity(WAITERS),
            idle: Event::with_capacity(4),
            arena: Arena::new(MAX_BUFFER + (members + MEMBERS_ADDED) * BYTES_OF_A_MEMBER),
        }
    }

    pub fn events(&self) -> u64 {
        self.events.get()
    }

    pub fn is_marked_dirty(&self) -> bool {
        self.marked_dirty.get()
    }

    /// Begins a write to members: returns when the dirty mark is durable on all of them (S5).
    pub async fn begin_write<'a>(&'a self, array: &Array) -> Result<Writing<'a>, Failed> {
        self.writers.set(self.writers.get() + 1);
        self.activity.set(self.activity.get() + 1);
        self.want_clean.set(false);
        let writing = Writing { metadata: self };
        if !self.marked_dirty.get() {
            self.require();
            if !plant::is(Plant::MarkAfterWrite) {
                array.rank(Step::DirtyMark).wait();
                self.changed
                    .wait_for(waits::SUPERBLOCK, || self.marked_dirty.get() || array.broken().is_some())
                    .await;
            }
        }
        match array.broken() {
            Some(failed) => Err(failed),
            None => Ok(writing),
        }
    }

    /// Asks for a round of writing.
    pub fn require(&self) {
        self.wanted.set(self.wanted.get() + 1);
        self.changed.notify();
    }

    /// Asks for a round of writing that records who is a member.
    pub fn require_membership(&self) {
        self.membership_changed.set(true);
        self.require();
        self.membership_wanted.set(self.wanted.get());
    }

    /// Waits until every membership change is on record, also one that comes while this waits.
    pub async fn membership_settled(&self) -> Outcome {
        self.changed
            .wait_for(waits::SUPERBLOCK, || self.is_membership_recorded() || self.stopped.get())
            .await;
        if self.is_membership_recorded() { Ok(()) } else { Err(Failed::new(Cause::Degraded)) }
    }

    /// Whether every membership change is on record.
    pub fn is_membership_recorded(&self) -> bool {
        self.written.get() >= self.membership_wanted.get()
    }

    /// How far the resync says it has come.
    pub fn noted(&self) -> ResyncOffset {
        self.noted.get()
    }

    /// The members were flushed after the resync had come so far.
    pub fn set_flushed(&self, noted: ResyncOffset) {
        self.durable.set(noted);
    }

    /// Asks for a round that records how far a resync has come. The caller has flushed the members.
    pub fn require_resync(&self, flushed: ResyncOffset) {
        self.noted.set(flushed);
        self.durable.set(flushed);
        self.require();
    }

    /// Remembers how far a resync has come, for the next round that flushes the members.
    pub fn note_resync(&self, resync: ResyncOffset) {
        self.noted.set(resync);
    }

    /// Waits until nothing is being recorded: no round is under way until the caller waits again.
    pub async fn at_rest(&self) -> Outcome {
        self.changed
            .wait_for(waits::SUPERBLOCK, || self.written.get() >= self.wanted.get() || self.stopped.get())
            .await;
        if self.stopped.get() { Err(Failed::new(Cause::Degraded)) } else { Ok(()) }
    }

    /// Waits until everything asked for so far is durable.
    pub async fn settled(&self) -> Outcome {
        self.wait_for_round(self.wanted.get()).await
    }

    async fn wait_for_round(&self, round: u64) -> Outcome {
        self.changed.wait_for(waits::SUPERBLOCK, || self.written.get() >= round || self.stopped.get()).await;
        if self.written.get() >= round { Ok(()) } else { Err(Failed::new(Cause::Degraded)) }
    }

    pub fn wake_all(&self) {
        self.changed.notify();
    }

    /// Waits for writes under way, and records a clean array.
    pub async fn clean(&self) -> Outcome {
        self.idle().await;
        if self.marked_dirty.get() {
            self.want_clean.set(true);
            self.require();
        }
        self.settled().await
    }

    /// Waits for writes under way.
    pub async fn idle(&self) {
        self.idle.wait_until(|| self.writers.get() == 0).await;
    }

    /// Waits for writes under way, records a clean array, and ends the writer.
    pub async fn stop(&self, array: &Array) -> Outcome {
        self.idle().await;
        let outcome = match array.broken() {
            Some(failed) => Err(failed),
            None => {
                let changed = self.marked_dirty.get() || self.noted.get() != array.shape().summary.resync;
                if changed {
                    self.want_clean.set(true);
                    self.require();
                }
                self.settled().await
            }
        };
        self.stopping.set(true);
        self.changed.notify();
        self.idle.notify();
        outcome
    }
}

/// The safe-mode timer: marks the array clean when no write has come for a while.
async fn watch_for_idleness(array: &Array) {
    let metadata = &array.metadata;
    loop {
        let idle =
            || metadata.marked_dirty.get() && metadata.writers.get() == 0 && !metadata.want_clean.get();
        metadata.idle.wait_until(|| idle() || metadata.stopping.get()).await;
        if metadata.stopping.get() {
            return;
        }
        let seen = metadata.activity.get();
        sleep_ms(array.options.safe_mode_delay_ms).await;
        if idle() && metadata.activity.get() == seen && array.broken().is_none() {
            metadata.want_clean.set(true);
            metadata.require();
        }
    }
}

async fn write_rounds(array: &Array) {
    let metadata = &array.metadata;
    let _doing = doing(waits::METADATA);
    loop {
        let is_due = || metadata.wanted.get() > metadata.written.get();
        metadata.changed.wait_until(|| is_due() || metadata.stopping.get()).await;
        if !is_due() {
            metadata.stopped.set(true);
            metadata.changed.notify();
            return;
        }
        let generation = metadata.wanted.get();
        if write_round(array).await {
            metadata.written.set(generation);
            metadata.changed.notify();
            array.sync.wake();
        } else if array.broken().is_some() {
            // Nothing can be recorded any more. Whoever waits learns it from the array.
            metadata.stopped.set(true);
            metadata.changed.notify();
            return;
        }
    }
}

/// One round; true when it is durable on every member that is left. A member that fails in it asks for another.
async fn write_round(array: &Array) -> bool {
    let metadata = &array.metadata;
    if metadata.behind.get() {
        // What the freshest superblock says, to all.
        let (dirty, resync) = match array.shape().summary.resync {
            ResyncOffset::At(0) => (true, ResyncOffset::At(0)),
            other => (false, other),
        };
        if !write_event(array, dirty, resync).await {
            return false;
        }
        metadata.behind.set(false);
    }
    let mut clean = metadata.want_clean.get();
    if clean {
        // What the sync had done before the flush is durable after it, and nothing more (S4).
        if !plant::is(Plant::CleanBeforeFlush) && array.flush_positions(Flusher::Writer).await.is_err() {
            return false;
        }
        clean = metadata.want_clean.get(); // a write may have begun meanwhile
    }
    let resync = metadata.durable.get();
    // No await from here until the writes are started: nothing can begin between the decision and the mark.
    if clean {
        metadata.marked_dirty.set(false);
    }
    let dirty = !clean && (metadata.writers.get() > 0 || metadata.marked_dirty.get());
    // One event at a time: a member that a power cut leaves out is one behind, never two, and still counts.
    let times = if metadata.membership_changed.replace(false) { MEMBERSHIP_EVENTS } else { 1 };
    let epoch = array.epoch();
    let mut good = true;
    for _ in 0..times {
        metadata.events.set(metadata.events.get().saturating_add(1));
        good &= write_event(array, dirty, resync).await;
        if !good {
            break; // the next event is another round's, when this one is on all that are left
        }
    }
    if good && dirty {
        metadata.marked_dirty.set(true);
    }
    good && array.epoch() == epoch
}

/// Writes one event to every member. A private log is bound to what the superblocks are about to say before they do.
async fn write_event(array: &Array, dirty: bool, resync: ResyncOffset) -> bool {
    if let Some(bitmap) = array.bitmap.now() {
        bitmap.record(array, array.metadata.events.get()).await;
    }
    // What a superblock says of a list of bad blocks is there before it.
    for member in array.members.iter().filter(|member| is_recorded(member)) {
        write_bad_blocks(array, member).await;
    }
    let mut good = renew(array, dirty, resync);
    if !plant::is(Plant::BoundTooLate) {
        bind(array).await;
    }
    // Who was promoted says so before others call whom it replaced failed: of these two, one always counts.
    let promoted = |member: &&Rc<Member>| member.promoted.get();
    if array.members.iter().any(|member| promoted(&member)) {
        for wave in array.members.waves() {
            good &= write_wave(array, wave.filter(promoted)).await;
        }
        if !good {
            return false;
        }
        array.members.iter().for_each(|member| member.promoted.set(false));
    }
    let alone = written_alone(array);
    if let Some(alone) = alone
        && !write_wave(array, std::iter::once(&array.members[alone])).await
    {
        return false; // in the next round another one is written alone
    }
    let is_other =
        |member: &&Rc<Member>| alone.is_none_or(|alone| !Rc::ptr_eq(member, &array.members[alone]));
    for wave in array.members.waves() {
        good &= write_wave(array, wave.filter(is_other)).await;
    }
    if plant::is(Plant::BoundTooLate) {
        bind(array).await;
    }
    good
}

/// Brings the superblocks of all members up to the array's state, in memory.
fn renew(array: &Array, dirty: bool, resync: ResyncOffset) -> bool {
    let mut good = true;
    for member in array.members.iter().filter(|member| is_recorded(member)) {
        let updated = update(array, &mut member.superblock.borrow_mut()[..], member, dirty, resync);
        // Tried at opening for what is written to; over an overlay it is a member that takes no metadata.
        if updated.is_err() {
            good = false;
            let refused = Failed::new(Cause::Refused);
            if !array.fail(member, refused) {
                array.set_broken(refused);
            }
        }
    }
    good
}

async fn bind(array: &Array) {
    if let Some(log) = level::log(array) {
        log.bind(array).await;
    }
}

/// Whether a member's superblock is written.
pub(crate) fn is_recorded(member: &Member) -> bool {
    !matches!(member.condition(), Condition::Faulty | Condition::Removed)
}

/// Who is written alone, before all others. Where a superblock is longer than a sector, a power cut can tear it: then one
/// whole superblock is always left.
fn written_alone(array: &Array) -> Option<usize> {
    let summary = array.shape().summary;
    let highest = array.members.iter().map(|member| member.dev_number + 1).max().unwrap_or(0);
    let one_sector = summary.version.is_v1() && 256 + 2 * summary.max_dev.max(highest) <= 512;
    match one_sector {
        true => None,
        false => array.members.iter().position(|member| is_recorded(member)),
    }
}

/// Writes a member's list of bad blocks, if it has changed. A member that does not take it is failed. It is flushed before:
/// what leaves the list is durable then, and never what was there before it was listed.
async fn write_bad_blocks(array: &Array, member: &Member) {
    while let Some((at, area)) = member.bad.to_write() {
        array.rank(Step::Buffers).wait();
        let buf = array.metadata.arena.wait_take(area.len()).await;
        buf.copy_from_slice(0, &area);
        let write = Request::write(at, buf).with_fua();
        let write = Request { origin: Origin::Metadata, priority: Priority::Urgent, ..write };
        let mut written = member.dev.start(array.to_member(Request::flush())).await;
        if written.is_ok() {
            written = member.dev.start(array.to_member(write)).await;
        }
        match written {
            Ok(()) => member.bad.written(&area),
            Err(failed) if array.fail(member, failed) => return,
            Err(failed) => return array.set_broken(failed),
        }
    }
}

async fn write_wave<'a>(array: &Array, wave: impl Iterator<Item = &'a Rc<Member>> + Clone) -> bool {
    let mut fan = Fan::<FAN_OUT>::default();
    for (at, member) in wave.clone().enumerate() {
        // Who came since the superblocks were brought up to date waits for the round that he asked for.
        if !is_recorded(member) || member.summary().events != array.metadata.events.get() {
            continue;
        }
        array.rank(Step::Buffers).wait();
        let buf = array.metadata.arena.wait_take(SUPERBLOCK_BYTES).await;
        buf.copy_from_slice(0, &member.superblock.borrow()[..]);
        let write = Request::write(Sectors(member.place.get().sector), buf).with_fua();
        let write = Request { origin: Origin::Metadata, priority: Priority::Urgent, ..write };
        fan.put(at, member.dev.start(array.to_member(write)));
    }
    let mut good = true;
    for (at, member) in wave.enumerate() {
        match fan.take(at).await {
            Some(Ok(())) => member.recorded.set(fingerprint(&member.superblock.borrow())),
            Some(Err(failed)) => {
                good = false;
                if !array.fail(member, failed) {
                    array.set_broken(failed);
                }
            }
            None => {}
        }
    }
    good
}

/// Whether the superblocks can take the array's state: what a disk said about numbers of devices or events may leave no
/// room for it. Changes nothing.
pub(crate) fn check_writable(array: &Array) -> Result<(), FormatError> {
    if array.metadata.events.get() > EVENTS_LIMIT {
        let (found, most) = (array.metadata.events.get(), EVENTS_LIMIT);
        return Err(FormatError::Range { field: "events", found, least: 0, most });
    }
    array.members.iter().try_for_each(|member| {
        let mut bytes = member.superblock.borrow().clone();
        update(array, &mut bytes[..], member, true, array.metadata.durable.get())
    })
}

/// Brings a member's superblock up to the array's state, in place.
fn update(
    array: &Array,
    bytes: &mut [u8],
    member: &Member,
    dirty: bool,
    resync: ResyncOffset,
) -> Result<(), FormatError> {
    let metadata = &array.metadata;
    let mut entries = metadata.entries.borrow_mut();
    entries.clear();
    let known = array.members.iter().filter(|member| member.condition() != Condition::Removed);
    let catches_up = metadata.behind.get();
    if catches_up {
        entries.extend_from_slice(&metadata.found.present);
        let is_new = |entry: &Entry| entries_lack(&metadata.found.present, entry);
        let new = known.map(|member| Entry { role: Role::Spare, in_sync: false, ..entry(member) });
        entries.extend(new.filter(is_new));
        // Where a newcomer has got the number of somebody who is not here, that number is the newcomer's.
        for absent in &metadata.found.absent {
            if entries_lack(&entries, absent) {
                entries.push(*absent);
            }
        }
    } else {
        entries.extend(known.map(|member| entry(member)));
    }
    let view = md_format::Superblock::view(member.place.get(), bytes).expect("viewed when it was opened");
    let own = view.summary().expect("had a summary when it was opened");
    // While everything is consistent a journal answers for what is being written.
    let has_journal = array.shape().summary.features.has(Features::JOURNAL);
    let journal = level::journal(array).filter(|journal| journal.failure().is_none());
    let array_update = superblock::ArrayUpdate {
        events: metadata.events.get(),
        utime_s: runtime::wall_seconds(),
        clean: !dirty,
        resync,
        journal_clean: has_journal.then_some(journal.is_some() && resync == ResyncOffset::Complete),
        ..array.shape().summary.array_update(&entries)
    };
    let member_update = superblock::MemberUpdate {
        dev_number: member.dev_number,
        corrected_reads: member.corrected_reads.get(),
        recovery: match catches_up {
            true => own.recovery,
            false => member.recovering().map(|recovering| Recovery {
                offset_sectors: member.recovered_durably.get().0,
                by_bitmap: recovering.by_bitmap,
            }),
        },
        replacement: match catches_up {
            true => own.replacement,
            false => member.recovering().is_some_and(|recovering| recovering.replaces),
        },
        has_bad_blocks: member.bad.is_any(),
        ppl: array.shape().summary.ppl.and(log::recorded(own.ppl)),
        journal_tail: journal.filter(|journal| journal.is_on(member)).map(|journal| journal.tail()),
        ..own.member_update()
    };
    superblock::sync(bytes, &array_update, &member_update)
}

fn entries_lack(entries: &[Entry], of: &Entry) -> bool {
    entries.iter().all(|entry| entry.dev_number != of.dev_number)
}

fn entry(member: &Member) -> Entry {
    let role = match (member.condition(), member.slot.get()) {
        (Condition::InSync | Condition::Recovering(_), Some(slot)) => Role::Active(slot),
        (Condition::Spare, _) => Role::Spare,
        (Condition::Journal, _) => Role::Journal,
        _ => Role::Faulty,
    };
    Entry {
        dev_number: member.dev_number,
        role,
        in_sync: member.condition() == Condition::InSync,
        flags: member.flags,
        device: (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use block::{Dev, Geometry};
    use md_format::{Level, Version};
    use runtime::Runtime;
    use runtime::sim::World;

    use super::*;
    use crate::{Candidate, Creation, Options, assemble, create, examine, plan_creation};

    /// A new mirror of two, whose resync is not started: it is open for reading.
    async fn mirror(devs: &[Dev], arena: &Rc<Arena>) -> Rc<Array> {
        let creation = Creation {
            name: "m".into(),
            host: None,
            level: Level::Raid1,
            version: Version::V1_2,
            chunk_sectors: None,
            layout: None,
            size: None,
            bitmap: None,
            ppl: false,
            journal: None,
            assume_clean: false,
            slots: vec![Some(Geometry::plain(Sectors(10_240))); 2],
            write_mostly: Vec::new(),
            spares: Vec::new(),
            uuid: runtime::random_uuid(),
            device_uuids: vec![runtime::random_uuid(), runtime::random_uuid()],
            now_s: runtime::wall_seconds(),
        };
        let present: Vec<_> = devs.iter().cloned().map(Some).collect();
        create(&plan_creation(&creation).unwrap(), &present, arena).await.unwrap();
        let mut candidates = Vec::new();
        for (at, dev) in devs.iter().enumerate() {
            let examined = examine(dev, arena).await.unwrap();
            candidates.push(Candidate { name: at.to_string(), examined });
        }
        let set = assemble(&candidates).remove(0);
        Array::open(&set, &candidates, devs, Options::default()).unwrap()
    }

    /// Once a checkpoint of one lane was recorded while another lane had moved on: its writes were not flushed.
    #[test]
    fn a_superblock_says_no_position_that_was_not_flushed() {
        let world = World::new(1);
        let disks = [world.add_disk(Sectors(10_240), 512), world.add_disk(Sectors(10_240), 512)];
        let devs: Vec<Dev> = disks.iter().map(|disk| disk.clone() as Dev).collect();
        let runtime = Runtime::new(world);
        runtime.block_on(async {
            let arena = Arena::new(1 << 20);
            let array = mirror(&devs, &arena).await;
            array.metadata.require_resync(ResyncOffset::At(1024)); // flushed
            array.metadata.note_resync(ResyncOffset::At(2048)); // not yet
            array.metadata.require_membership();
            array.metadata.settled().await.unwrap();
            for dev in &devs {
                assert_eq!(examine(dev, &arena).await.unwrap().summary.resync, ResyncOffset::At(1024));
            }
        });
    }
}
