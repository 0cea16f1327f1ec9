//! The stack as its core sees it: arrays, caches, their exports and servers, and what is answered to whoever asks.

mod cache;
mod cache_flash;
mod cache_new;
mod cache_orders;
mod cache_watch;
mod fronts;
mod manage;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use block::{Arena, BUCKETS, Count, Counters, Dev, Device, Op, Range};
use export::{Export, Exports};
use md::array::Happening;
use md::{Action, Array, Condition, Mismatch, PrivateLogState, Progress, ScrubReport, SyncState, Verdict};
use md_format::UuidText;
use runtime::mailbox::Receiver;
use runtime::{spawn_freely, wall_seconds};
use tokio::sync::broadcast;
use tokio::sync::oneshot;

use crate::api::EVENTS;
use crate::command::{Command, Refusal};
use crate::document::{
    API_VERSION, ArmourPiece, ArrayState, ArrayStatus, BitmapStatus, Event, ExportStatus, Happened, IoStatus,
    JournalMode, JournalStatus, LatencyBucket, MOST_DOUBTFUL, MemberState, MemberStatus, MismatchStatus,
    PrivateLog, ScrubStatus, StackStatus, SyncProgress, SyncStatus,
};
use crate::hold::Hold;
use crate::record::Records;
use crate::snapshot::Keeper;
pub use cache::{Backing, Cache, Cached, Now};
pub use cache_new::uuid as bcache_uuid;
pub use fronts::Fronts;
use fronts::Serving;
pub use manage::{Open, Opened};

/// What does not change while a stack runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// The version of the program.
    pub program_version: String,
    /// How members are read and written.
    pub driver: String,
    /// Nothing is written to the members.
    pub read_only: bool,
    /// What is done against a lack of memory.
    pub armour: RefCell<Vec<ArmourPiece>>,
}

/// An array of a stack.
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The array.
    pub array: Rc<Array>,
    /// The device that whatever lies on it uses.
    pub device: Dev,
    /// What serves it; none where a cache or a cached volume lies on it.
    pub export: Option<Rc<Export>>,
}

/// What runs in a stack.
#[derive(Default)]
pub struct Contents {
    /// Its arrays.
    pub arrays: Vec<Volume>,
    /// Its caches.
    pub caches: Vec<Cache>,
    /// Its volumes of bcache.
    pub cached: Vec<Cached>,
}

/// What a stack needs of the program around it.
pub struct Outside {
    /// Opens a disk that is to be added.
    pub open: Open,
    /// Hears what happens.
    pub tell: fn(&Event),
    /// Where the results of scrubs are kept.
    pub records: Records,
    /// What is served.
    pub exports: Rc<Exports>,
}

/// A running stack.
pub struct Stack {
    facts: Facts,
    started_s: u64,
    volumes: Vec<Volume>,
    caches: Vec<Cache>,
    cached: RefCell<Vec<Rc<Cached>>>,
    /// Every member that was named, by its name.
    holds: RefCell<Vec<(String, Rc<Hold>)>>,
    open: Open,
    serving: Serving,
    keeper: Option<Rc<Keeper>>,
    arena: Rc<Arena>,
    events: RefCell<Option<broadcast::Sender<Event>>>,
    tell: fn(&Event),
    records: Records,
    exports: Rc<Exports>,
    /// The last scrub of each array that has ended, in the order of the volumes.
    last_scrubs: RefCell<Vec<Option<ScrubStatus>>>,
}

impl Stack {
    /// A stack over what is open and what serves it.
    pub fn new(
        facts: Facts,
        contents: Contents,
        holds: Vec<(String, Rc<Hold>)>,
        fronts: Fronts,
        keeper: Option<Rc<Keeper>>,
        arena: Rc<Arena>,
        outside: Outside,
    ) -> Rc<Stack> {
        let Outside { open, tell, records, exports } = outside;
        let Contents { arrays: volumes, caches, cached } = contents;
        let known = |volume: &Volume| records.last_scrub(&uuid(&volume.array));
        let last_scrubs = RefCell::new(volumes.iter().map(known).collect());
        let events = broadcast::Sender::new(EVENTS);
        let stack = Rc::new(Stack {
            facts,
            started_s: wall_seconds(),
            volumes,
            caches,
            cached: RefCell::new(cached.into_iter().map(Rc::new).collect()),
            holds: RefCell::new(holds),
            open,
            serving: Serving::new(fronts),
            keeper,
            arena,
            events: RefCell::new(Some(events)),
            tell,
            records,
            exports,
            last_scrubs,
        });
        for at in 0..stack.volumes.len() {
            let own = stack.clone();
            let _running = spawn_freely(async move { own.watch(at).await });
        }
        if !stack.caches.is_empty() || !stack.cached.borrow().is_empty() {
            let own = stack.clone();
            let _running = spawn_freely(async move { own.watch_caches().await });
        }
        stack
    }

    /// Another look at the armour: what is put on last is put on when everything else is there.
    pub fn armour_is(&self, pieces: Vec<ArmourPiece>) {
        self.facts.armour.replace(pieces);
    }

    /// Where events are handed out, until the stack stops.
    pub fn events(&self) -> broadcast::Sender<Event> {
        self.events.borrow().clone().expect("asked for before the stack stops")
    }

    /// Does what it is told until it is told to stop; whoever told so waits for the reply. Every command is a task of its
    /// own: a disk that does not answer keeps nobody from asking how things stand.
    pub async fn attend(
        self: &Rc<Stack>,
        commands: &Receiver<Command>,
    ) -> Option<oneshot::Sender<Result<(), Refusal>>> {
        loop {
            let stack = self.clone();
            match commands.recv().await {
                Command::Status(reply) => drop(reply.send(stack.status())),
                Command::Manage { order, reply } => {
                    spawn_freely(async move { reply.send(stack.manage(order).await) });
                }
                Command::Add { wish, reply } => {
                    spawn_freely(async move { reply.send(stack.add(wish).await) });
                }
                Command::Stop(reply) => return reply,
            }
        }
    }

    /// Stops serving, records everything, and lets go of the members. What could not be done is said by name.
    pub async fn stop(&self) -> Vec<String> {
        let mut problems = self.serving.stop().await;
        problems.extend(self.stop_caches().await);
        self.look_at_caches();
        for (at, volume) in self.volumes.iter().enumerate() {
            // Whatever still asks is held: nothing is written behind the last superblock and the snapshot's last look.
            if let Err(failed) = volume.device.quiesce().await {
                problems.push(format!("{}: could not be quiesced: {failed}", volume.name));
            }
            if let Err(failed) = volume.array.stop().await {
                problems.push(format!("{}: could not be marked clean: {failed}", volume.name));
            }
            if let Err(error) = self.keep_scrub(at) {
                problems
                    .push(format!("{}: what its scrub has found could not be kept: {error}", volume.name));
            }
        }
        if let Some(keeper) = &self.keeper {
            let holds = self.holds.borrow().clone();
            for (name, hold) in holds.iter().filter(|(_, hold)| !hold.is_released()) {
                keeper.note_left(name, &(hold.clone() as Dev), &self.arena).await;
            }
            if let Err(error) = keeper.close() {
                problems.push(error.to_string());
            }
        }
        self.holds.borrow().iter().for_each(|(_, hold)| hold.release());
        self.events.take();
        problems
    }

    /// How everything stands.
    pub fn status(&self) -> StackStatus {
        StackStatus {
            api_version: API_VERSION,
            name: self.facts.name.clone(),
            program_version: self.facts.program_version.clone(),
            pid: std::process::id(),
            started_s: self.started_s,
            driver: self.facts.driver.clone(),
            read_only: self.facts.read_only,
            armour: self.facts.armour.borrow().clone(),
            snapshot: self.keeper.as_ref().map(|keeper| keeper.path().display().to_string()),
            arrays: (0..self.volumes.len()).map(|at| self.array_status(at)).collect(),
            caches: self.caches.iter().map(|cache| cache.status()).collect(),
            cached: self.cached.borrow().iter().map(|cached| cached.status(&self.caches)).collect(),
            servers: self.serving.servers(),
            mounts: self.serving.mounts(),
        }
    }

    fn array_status(&self, at: usize) -> ArrayStatus {
        let volume = &self.volumes[at];
        let array = &volume.array;
        let members = array.members().into_iter().map(|member| self.member_status(member)).collect();
        let shape = array.shape();
        let broken = array.broken();
        ArrayStatus {
            name: volume.name.clone(),
            uuid: uuid(array),
            level: shape.summary.level.to_string(),
            metadata: shape.version().to_string(),
            chunk_bytes: u64::from(shape.summary.chunk_sectors) * block::SECTOR,
            layout: shape.summary.layout,
            bytes: shape.size.checked_bytes().unwrap_or(u64::MAX),
            events: array.events(),
            state: match (broken, array.is_dirty()) {
                (Some(_), _) => ArrayState::Broken,
                (None, true) => ArrayState::Dirty,
                (None, false) => ArrayState::Clean,
            },
            broken_by: broken.map(|failed| failed.to_string()),
            slots: shape.slots,
            in_sync: array.in_sync(),
            sync: sync_status(array.sync_state()),
            settling: !array.is_sync_settled(),
            frozen: array.is_frozen(),
            stuck: array.is_recovery_stuck(),
            speed_bounds: (array.speed().min, array.speed().max),
            scrub_bounds: scrub_bounds(array),
            max_read_errors: array.max_read_errors(),
            scrub: array.scrub_report().map(scrub_status).or_else(|| self.last_scrubs.borrow()[at].clone()),
            doubtful: doubtful(array),
            journal: array.journal().map(|journal| JournalStatus {
                mode: match journal.mode {
                    md::JournalMode::WriteThrough => JournalMode::WriteThrough,
                    md::JournalMode::WriteBack => JournalMode::WriteBack,
                },
                bytes: journal.size.bytes(),
                used_bytes: journal.used.bytes(),
                replayed_rows: journal.replayed,
                cached_bytes: journal.cached_bytes,
            }),
            bitmap: array.bitmap().map(|bitmap| BitmapStatus {
                chunk_bytes: bitmap.chunk.bytes(),
                chunks: bitmap.chunks,
                marked: bitmap.marked,
                pages: bitmap.chunks.div_ceil(md::CHUNKS_OF_A_PAGE),
                marked_pages: bitmap.marked_pages,
            }),
            private_log: array.private_log().map(|state| match state {
                PrivateLogState::Replaying => PrivateLog::Replaying,
                PrivateLogState::Idle => PrivateLog::Idle,
                PrivateLogState::Waiting => PrivateLog::Waiting,
                PrivateLogState::Kept => PrivateLog::Kept,
                PrivateLogState::Ended => PrivateLog::Ended,
                PrivateLogState::Void => PrivateLog::Void,
            }),
            members: in_order(members),
            export: volume.export.as_deref().map(export_status).unwrap_or_default(),
            io: io_status(volume.device.counters()),
        }
    }

    fn member_status(&self, member: md::MemberStatus) -> MemberStatus {
        let hold = self.hold(&member.name);
        let state = match member.condition {
            Condition::InSync => MemberState::InSync,
            Condition::Recovering(recovering) if recovering.replaces => MemberState::Replacing,
            Condition::Recovering(_) => MemberState::Recovering,
            Condition::Spare => MemberState::Spare,
            Condition::Journal => MemberState::Journal,
            Condition::Faulty => MemberState::Faulty,
            Condition::Removed => MemberState::Removed,
        };
        let recovered_bytes = match member.condition {
            Condition::Recovering(recovering) => Some(recovering.done.bytes()),
            _ => None,
        };
        MemberStatus {
            io: io_status(hold.and_then(|hold| hold.counters())),
            name: member.name,
            slot: member.slot,
            number: member.dev_number,
            state,
            failure: match (member.failure, member.replaced_by) {
                (Some(failed), _) => Some(failed.to_string()),
                (None, Some(by)) => Some(format!("replaced by {by}")),
                (None, None) => None,
            },
            corrected_reads: member.corrected_reads,
            write_mostly: member.write_mostly,
            recovered_bytes,
            unwanted: member.unwanted,
            bad_blocks: member.bad_blocks as u64,
        }
    }

    /// The last of that name: a disk may come back under the name that it had.
    fn hold(&self, name: &str) -> Option<Rc<Hold>> {
        self.holds.borrow().iter().rfind(|(known, _)| known == name).map(|(_, hold)| hold.clone())
    }

    /// The member of that name, or whose path ends in it; with its array and its number there.
    fn find(&self, name: &str) -> Result<(&Volume, usize, md::MemberStatus), Refusal> {
        let all = || {
            self.volumes.iter().flat_map(|volume| {
                let members = volume.array.members().into_iter().enumerate();
                members.map(move |(at, member)| (volume, at, member))
            })
        };
        // One that was removed and came back is meant as what it is now.
        let is_here = |member: &md::MemberStatus| member.condition != md::Condition::Removed;
        let named = all().filter(|(_, _, member)| member.name == name);
        if let Some(found) = named.max_by_key(|(_, _, member)| is_here(member)) {
            return Ok(found);
        }
        let last_part = |path: &str| path.rsplit('/').next() == Some(name);
        let mut alike = all().filter(|(_, _, member)| last_part(&member.name) && is_here(member));
        match (alike.next(), alike.next()) {
            (Some(found), None) => Ok(found),
            (Some((_, _, one)), Some((_, _, other))) => {
                Err(Refusal::NotFound(format!("{name} can be {} or {}; say which", one.name, other.name)))
            }
            (None, _) => Err(not_here(name)),
        }
    }

    /// Passes on what happens to an array.
    async fn watch(&self, at: usize) {
        let volume = &self.volumes[at];
        loop {
            volume.array.wait_for_happenings().await;
            for happening in volume.array.take_happenings() {
                self.emit(&volume.name, happened(happening));
            }
            let _ = self.keep_scrub(at); // it is tried again, and told of when the stack stops
        }
    }

    /// Keeps what the last scrub of an array has found, once it has ended.
    fn keep_scrub(&self, at: usize) -> std::io::Result<()> {
        let array = &self.volumes[at].array;
        let ended = array.scrub_report().filter(|report| report.ended_s.is_some()).map(scrub_status);
        let is_kept = |scrub: &ScrubStatus| self.last_scrubs.borrow()[at].as_ref() == Some(scrub);
        let Some(scrub) = ended.filter(|scrub| !is_kept(scrub)) else { return Ok(()) };
        self.records.keep(&uuid(array), &scrub)?;
        self.last_scrubs.borrow_mut()[at] = Some(scrub);
        Ok(())
    }

    fn emit(&self, array: &str, what: Happened) {
        let event = Event { api_version: API_VERSION, time_s: wall_seconds(), array: array.to_owned(), what };
        (self.tell)(&event);
        if let Some(events) = &*self.events.borrow() {
            let _ = events.send(event); // nobody may be listening
        }
    }

    /// Where the metadata was kept aside.
    pub fn snapshot(&self) -> Option<PathBuf> {
        self.keeper.as_ref().map(|keeper| keeper.path().to_owned())
    }
}

/// As people look for them: slot by slot, whoever counts there first, and those in none behind. One that was let go of and
/// is back under its name is shown as what it is now.
fn in_order(members: Vec<MemberStatus>) -> Vec<MemberStatus> {
    let is_here = |name: &str| members.iter().any(|it| it.name == name && it.state != MemberState::Removed);
    let is_shown = |it: &&MemberStatus| it.state != MemberState::Removed || !is_here(&it.name);
    let mut shown: Vec<MemberStatus> = members.iter().filter(is_shown).cloned().collect();
    shown.sort_by_key(|it| (it.slot.is_none(), it.slot, it.state as u8, it.number));
    shown
}

fn uuid(array: &Array) -> String {
    let shape = array.shape();
    UuidText { uuid: shape.summary.array_uuid, version: shape.version() }.to_string()
}

fn not_here(name: &str) -> Refusal {
    Refusal::NotFound(format!("{name}: is no member here; see ashlar status"))
}

fn scrub_bounds(array: &Array) -> (u64, Option<u64>) {
    let bounds = array.scrub_bounds();
    (bounds.from.bytes(), bounds.to.map(|to| to.bytes()))
}

fn doubtful(array: &Array) -> Vec<(u64, u64)> {
    let pieces = array.doubtful(MOST_DOUBTFUL).into_iter();
    pieces.map(|range| (range.start.bytes(), range.count.bytes())).collect()
}

fn sync_status(state: SyncState) -> SyncStatus {
    match state {
        SyncState::Idle => SyncStatus::Idle,
        SyncState::Pending(action) => SyncStatus::Pending { of: action.name().to_owned() },
        SyncState::Running(Action::Resync, progress) => SyncStatus::Resync(sync_progress(progress)),
        SyncState::Running(Action::Recover, progress) => SyncStatus::Recover(sync_progress(progress)),
        SyncState::Running(Action::Check, progress) => SyncStatus::Check(sync_progress(progress)),
        SyncState::Running(Action::Repair, progress) => SyncStatus::Repair(sync_progress(progress)),
    }
}

fn sync_progress(progress: Progress) -> SyncProgress {
    let ns = u128::from(runtime::now().0.saturating_sub(progress.started_ns)).max(1);
    let moved = u128::from(progress.done.saturating_sub(progress.from).bytes());
    let speed = u64::try_from(moved * 1_000_000_000 / ns).unwrap_or(u64::MAX);
    let left = progress.total.saturating_sub(progress.done).bytes();
    SyncProgress {
        done_bytes: progress.done.bytes(),
        total_bytes: progress.total.bytes(),
        written_bytes: progress.written.bytes(),
        bytes_per_second: speed,
        seconds_left: left.checked_div(speed),
    }
}

fn scrub_status(report: ScrubReport) -> ScrubStatus {
    let place = |mismatch: Mismatch| {
        let bytes = |range: Range| (range.start.bytes(), range.count.bytes());
        let (verdict, member) = match mismatch.verdict {
            Verdict::Member(member) => ("wrong", Some(member)),
            Verdict::Unreadable(member) => ("unreadable", Some(member)),
            Verdict::Nobody => ("unknown", None),
            Verdict::Several => ("several", None),
        };
        MismatchStatus {
            array_bytes: bytes(mismatch.array),
            member_bytes: bytes(mismatch.rows),
            member,
            verdict: verdict.to_owned(),
            repaired: mismatch.repaired,
        }
    };
    ScrubStatus {
        action: report.scrub.action().name().to_owned(),
        started_s: report.started_s,
        ended_s: report.ended_s,
        complete: report.complete,
        bytes: Some((report.rows.start.bytes(), report.rows.count.bytes())),
        mismatched_bytes: report.mismatched.bytes(),
        repaired_bytes: report.repaired.bytes(),
        unreadable_bytes: report.unreadable.bytes(),
        places: report.places.into_iter().map(place).collect(),
    }
}

/// What was counted, the kinds that never came left out.
fn io_status(counters: Option<Rc<Counters>>) -> Vec<IoStatus> {
    let counts = counters.iter().flat_map(|counters| Op::ALL.map(|op| (op, counters.of(op))));
    let counts = counts.filter(|(_, count)| count.begun > 0);
    let io = counts.map(|(op, count)| IoStatus {
        op: op.name().to_owned(),
        begun: count.begun,
        done: count.done,
        failed: count.failed,
        in_flight: count.in_flight(),
        bytes: count.bytes,
        total_ns: count.total_ns,
        latency: latency(&count),
    });
    io.collect()
}

fn latency(count: &Count) -> Vec<LatencyBucket> {
    let below = |bucket: usize| (bucket + 1 < BUCKETS).then(|| 2 << bucket);
    let buckets = count.latency.iter().enumerate().filter(|(_, count)| **count > 0);
    buckets.map(|(at, count)| LatencyBucket { below_ns: below(at), count: *count }).collect()
}

fn export_status(export: &Export) -> ExportStatus {
    let counters = export.counters();
    ExportStatus {
        reads: counters.reads.get(),
        read_bytes: counters.read_bytes.get(),
        writes: counters.writes.get(),
        written_bytes: counters.written_bytes.get(),
        flushes: counters.flushes.get(),
        trims: counters.trims.get(),
        errors: counters.errors.get(),
    }
}

fn happened(happening: Happening) -> Happened {
    match happening {
        Happening::MemberFailed { name, failed } => {
            Happened::MemberFailed { member: name, error: failed.to_string() }
        }
        Happening::ReadRepaired { name, sector } => Happened::ReadRepaired { member: name, sector },
        Happening::SyncStarted { action, from } => {
            Happened::SyncStarted { action: action.name().to_owned(), sector: from }
        }
        Happening::SyncComplete { action } => Happened::SyncComplete { action: action.name().to_owned() },
        Happening::MemberAdded { name, .. } => Happened::MemberAdded { member: name },
        Happening::SpareTaken { name, slot, replaces } => {
            Happened::SpareTaken { member: name, slot, replaces }
        }
        Happening::MemberInSync { name, slot } => Happened::MemberInSync { member: name, slot },
        Happening::MemberRemoved { name } => Happened::MemberRemoved { member: name },
        Happening::BadBlocks { name, row, sectors } => {
            Happened::BadBlocks { member: name, sector: row, sectors }
        }
        Happening::Broken { failed } => Happened::Broken { error: failed.to_string() },
    }
}
