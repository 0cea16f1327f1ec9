//! Superblocks as bytes, and what [`md::assemble`] makes of them. Each combination is assembled once.

use std::cell::RefCell;
use std::collections::HashMap;

use block::{Geometry, Sectors};
use md::sync::decide::{self, Want};
use md::{Candidate, Creation, Examined, Options, Seat, Set, assemble, plan_creation};
use md_format::superblock::{ArrayUpdate, Entry, MemberUpdate, Recovery, seal, sync};
use md_format::{Level, MemberFlags, ResyncOffset, Version};

use crate::array::{DISKS, Kind, Member, Model, ROWS, Role, Superblock, position};

/// The superblocks that are found, by disk.
pub type Found = [Option<Superblock>; DISKS];

/// What the array is when it was opened.
#[derive(Clone, Copy)]
pub struct Opened {
    pub members: [Member; DISKS],
    pub resync: Option<u8>,
    pub events: u8,
    /// Somebody is missing that the array goes on without.
    pub is_short: bool,
    pub behind: Option<[Role; DISKS]>,
}

thread_local! {
    static KNOWN: RefCell<HashMap<Found, Option<Opened>>> = RefCell::default();
    static BLANK: RefCell<Vec<Examined>> = const { RefCell::new(Vec::new()) };
}

/// Another array is modelled from here on.
pub fn begin(model: &Model) {
    KNOWN.with_borrow_mut(HashMap::clear);
    BLANK.set(blank(model));
}

/// Opens what is found for writing, with members missing where it has to be; `None` if that is refused.
pub fn open(model: &Model, found: &Found) -> Option<Opened> {
    if let Some(known) = KNOWN.with_borrow(|known| known.get(found).copied()) {
        return known;
    }
    let opened = assembled(model, found);
    KNOWN.with_borrow_mut(|known| known.insert(*found, opened));
    opened
}

fn assembled(model: &Model, found: &Found) -> Option<Opened> {
    let candidates = BLANK.with_borrow(|blank| -> Vec<Candidate> {
        let some = (0..model.disks()).filter_map(|at| Some((at, found[at]?)));
        some.map(|(at, own)| Candidate { name: at.to_string(), examined: written(&blank[at], at, &own) })
            .collect()
    });
    let sets = assemble(&candidates);
    let [set] = &sets[..] else { panic!("one array makes one set") };
    // A person says that it may be opened although members are missing.
    let options = Options { write: true, degraded: true, dirty_degraded: true, ..Options::default() };
    set.forbidding(&options).is_empty().then(|| opened(set, &candidates))
}

fn opened(set: &Set, candidates: &[Candidate]) -> Opened {
    let mut members = [Member::Away; DISKS];
    let slots = set.slots.iter().enumerate().filter_map(|(slot, seat)| Some((slot as u8, (*seat)?)));
    for (slot, seat) in slots.chain(set.replacements.iter().map(|(slot, seat)| (*slot as u8, *seat))) {
        members[seat.dev_number as usize] = member(slot, &seat, &candidates[seat.candidate].examined);
    }
    for spare in &set.spares {
        members[spare.dev_number as usize] = Member::Spare { want: Want::Any };
    }
    let freshest = &candidates[set.freshest].examined;
    let unit = freshest.summary.size_sectors / u64::from(ROWS);
    let size = Sectors(freshest.summary.size_sectors);
    let resync = match decide::believed(freshest.summary.resync, size) {
        ResyncOffset::Complete => None,
        ResyncOffset::At(at) => Some((at / unit) as u8),
    };
    Opened {
        members,
        resync,
        events: freshest.summary.events as u8,
        is_short: set.short.is_some(),
        behind: behind(set, candidates, &members),
    }
}

fn member(slot: u8, seat: &Seat, examined: &Examined) -> Member {
    if seat.in_sync {
        return Member::InSync { slot, unwanted: false };
    }
    let rows = examined.summary.size_sectors;
    let recorded = seat.recovery.map_or(0, |recovery| recovery.offset_sectors);
    let done = (decide::believed_rows(Sectors(recorded), Sectors(rows)).0 / (rows / u64::from(ROWS))) as u8;
    let by_bitmap = seat.recovery.is_some_and(|recovery| recovery.by_bitmap);
    Member::Recovering { slot, done, durable: done, replaces: seat.replaces, by_bitmap }
}

/// Who is what, if somebody who is in sync is behind.
fn behind(set: &Set, candidates: &[Candidate], members: &[Member; DISKS]) -> Option<[Role; DISKS]> {
    let freshest = &candidates[set.freshest].examined;
    let events = |seat: &Seat| candidates[seat.candidate].examined.summary.events;
    let mut in_sync = set.slots.iter().flatten().filter(|seat| seat.in_sync);
    if !in_sync.any(|seat| events(seat) < freshest.summary.events) {
        return None;
    }
    let superblock = freshest.superblock();
    Some(std::array::from_fn(|at| match (members[at], superblock.role_of(at as u32)) {
        (Member::InSync { slot, .. } | Member::Recovering { slot, .. }, _) => Role::Active(slot),
        (Member::Away, md_format::Role::Active(slot)) => Role::Active(slot as u8),
        (Member::Spare { .. }, _) => Role::Spare,
        (Member::Away | Member::Faulty, _) => Role::None,
    }))
}

/// The disks of the array when it was made.
fn blank(model: &Model) -> Vec<Examined> {
    let geometry = Geometry::plain(Sectors(20_480));
    let creation = Creation {
        name: "model".to_owned(),
        host: None,
        level: match model.kind {
            Kind::Copies => Level::Raid1,
            Kind::Parity(1) => Level::Raid5,
            Kind::Parity(_) => Level::Raid6,
        },
        version: Version::V1_2,
        chunk_sectors: (model.kind != Kind::Copies).then_some(8),
        layout: None,
        size: None,
        bitmap: None,
        ppl: false,
        journal: None,
        assume_clean: true,
        slots: vec![Some(geometry); model.slots.into()],
        write_mostly: Vec::new(),
        spares: vec![geometry; model.spares.into()],
        uuid: [9; 16],
        device_uuids: (0..model.disks()).map(|number| [number as u8; 16]).collect(),
        now_s: 1_600_000_000,
    };
    let plans = plan_creation(&creation).expect("an array of few disks");
    plans.into_iter().map(|plan| read(geometry, plan.place, plan.bytes)).collect()
}

/// What examining finds in these bytes.
fn read(geometry: Geometry, place: md_format::Place, bytes: Box<[u8; 4096]>) -> Examined {
    let superblock = md_format::Superblock::view(place, &bytes[..]).expect("long enough");
    let summary = superblock.summary().expect("of a known form");
    let (leftovers, bad_blocks) = (Vec::new(), Vec::new());
    Examined {
        geometry,
        place,
        bytes,
        summary,
        flaw: None,
        leftovers,
        bad_blocks,
        bitmap: None,
        private_log: None,
    }
}

/// The disk with this superblock.
fn written(blank: &Examined, at: usize, own: &Superblock) -> Examined {
    let summary = blank.summary;
    let unit = summary.size_sectors / u64::from(ROWS);
    let entry = |(number, role): (usize, &Role)| {
        let role = match role {
            Role::Active(slot) => md_format::Role::Active((*slot).into()),
            Role::Spare => md_format::Role::Spare,
            Role::Faulty => md_format::Role::Faulty,
            Role::None => return None,
        };
        let in_sync = matches!(role, md_format::Role::Active(_));
        let flags = MemberFlags::default();
        Some(Entry { dev_number: number as u32, role, in_sync, flags, device: (0, 0) })
    };
    let entries: Vec<Entry> = own.roles.iter().enumerate().filter_map(entry).collect();
    let resync = own.resync.map_or(ResyncOffset::Complete, |row| ResyncOffset::At(position(row, unit).0));
    let update = ArrayUpdate {
        events: own.events.into(),
        resync,
        clean: resync != ResyncOffset::At(0),
        ..summary.array_update(&entries)
    };
    let recovery =
        own.recovery.map(|(row, by_bitmap)| Recovery { offset_sectors: position(row, unit).0, by_bitmap });
    let dev_number = at as u32;
    let member =
        MemberUpdate { dev_number, recovery, replacement: own.replacement, ..summary.member_update() };
    let mut bytes = blank.bytes.clone();
    sync(&mut bytes[..], &update, &member).expect("there is room for a few devices");
    seal(&mut bytes[..]).expect("it was made a moment ago");
    read(blank.geometry, blank.place, bytes)
}
