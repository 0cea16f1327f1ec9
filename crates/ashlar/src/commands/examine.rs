//! `ashlar examine`: what disks say they are, and what arrays they make. Reads, never writes.

mod bcache;

use anyhow::{Result, bail};
use md::Hindrance;
use serde::Serialize;

use crate::cli::{Driver, Examine, Lenience};
use crate::facts::{BitmapFacts, MdFacts, PrivateLogFacts, ReshapeFacts};
use crate::members::How;
use crate::pile::{Pile, Volume};
use crate::stack::{Stack, is_stranger};
use crate::text::{Facts, date, print, print_json, sectors, size};
use crate::volumes::open_to_read;
use crate::world::World;

/// What the command found out.
#[derive(Serialize)]
struct Report {
    members: Vec<MemberReport>,
    arrays: Vec<ArrayReport>,
    /// Caches and backing devices: disks, or arrays.
    bcache: Vec<bcache::DiskReport>,
    cached_volumes: Vec<bcache::VolumeReport>,
}

#[derive(Serialize)]
struct MemberReport {
    member: String,
    bytes: u64,
    logical_block_bytes: u32,
    md: MdFacts,
}

#[derive(Serialize)]
struct StrangerReport {
    member: String,
    bytes: u64,
    error: String,
    holds: Vec<&'static str>,
}

/// An array, as these members make it.
#[derive(Serialize)]
struct ArrayReport {
    name: String,
    uuid: String,
    version: String,
    level: String,
    /// Bytes of the array; none if it cannot be opened.
    bytes: Option<u64>,
    clean: bool,
    slots: Vec<SlotReport>,
    spares: Vec<String>,
    left_out: Vec<LeftOutReport>,
    /// Reasons why `cat` would refuse it.
    reading_forbidden_by: Vec<String>,
    /// Reasons why `run` would refuse it beside those.
    writing_forbidden_by: Vec<String>,
}

#[derive(Serialize)]
struct SlotReport {
    slot: usize,
    member: Option<String>,
    in_sync: bool,
}

#[derive(Serialize)]
struct LeftOutReport {
    member: String,
    reason: String,
}

/// Everything as JSON has it.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    report: Report,
    not_members: Vec<StrangerReport>,
}

/// Runs the command. It fails when none of the disks is a member of anything.
pub fn run(args: &Examine, driver: Driver) -> Result<()> {
    let world = World::new(driver)?;
    let pile = Pile::open(&world, &args.members, How::read(args.reading.live))?;
    let report = world.runtime.block_on(report(&world, &pile));
    let is_nothing = pile.members.is_empty() && report.bcache.is_empty();
    match args.json.json {
        true => print_json(&Document { report, not_members: strangers(&pile) })?,
        false => print(&render(&pile, &report))?,
    }
    match is_nothing {
        true => bail!("none of these is an md member, or belongs to bcache"),
        false => Ok(()),
    }
}

async fn report(world: &World, pile: &Pile) -> Report {
    let lenience = Lenience::default();
    let stack = Stack::read(world, pile, &lenience).await;
    let members = pile.candidates.iter().map(|candidate| MemberReport {
        member: candidate.name.clone(),
        bytes: candidate.examined.geometry.size.bytes(),
        logical_block_bytes: candidate.examined.geometry.logical_block,
        md: MdFacts::of(&candidate.examined),
    });
    Report {
        members: members.collect(),
        arrays: pile.volumes.iter().map(|volume| array(pile, volume)).collect(),
        bcache: bcache::disks(&stack.disks),
        cached_volumes: bcache::volumes(&stack),
    }
}

fn strangers(pile: &Pile) -> Vec<StrangerReport> {
    let strangers = pile.strangers.iter().filter(is_stranger).map(|stranger| StrangerReport {
        member: stranger.name.clone(),
        bytes: stranger.bytes,
        error: stranger.error.to_string(),
        holds: stranger.holds.clone(),
    });
    strangers.collect()
}

fn array(pile: &Pile, volume: &Volume) -> ArrayReport {
    let set = &volume.set;
    let summary = &pile.candidates[set.freshest].examined.summary;
    let name_of = |candidate: usize| pile.candidates[candidate].name.clone();
    let opened = open_to_read(pile, volume, &Lenience::default());
    let mut writing: Vec<String> = set.unwritable.iter().map(Hindrance::to_string).collect();
    if let Some(short) = set.short {
        writing.push(Hindrance::Degraded { present: short.present, slots: short.slots }.to_string());
    }
    ArrayReport {
        name: volume.name.clone(),
        uuid: summary.array_uuid_text().to_string(),
        version: summary.version.to_string(),
        level: summary.level.to_string(),
        bytes: opened.ok().and_then(|array| array.shape().size.checked_bytes()),
        clean: summary.is_clean(),
        slots: set
            .slots
            .iter()
            .enumerate()
            .map(|(slot, seat)| SlotReport {
                slot,
                member: seat.map(|seat| name_of(seat.candidate)),
                in_sync: seat.is_some_and(|seat| seat.in_sync),
            })
            .collect(),
        spares: set.spares.iter().map(|seat| name_of(seat.candidate)).collect(),
        left_out: set
            .left_out
            .iter()
            .map(|left| LeftOutReport { member: name_of(left.candidate), reason: left.reason.to_string() })
            .collect(),
        reading_forbidden_by: set.unreadable.iter().map(Hindrance::to_string).collect(),
        writing_forbidden_by: writing,
    }
}

fn render(pile: &Pile, report: &Report) -> String {
    let members = report.members.iter().map(render_member);
    let strangers = pile.strangers.iter().filter(is_stranger).map(|stranger| format!("{stranger}\n"));
    let arrays = report.arrays.iter().map(render_array);
    let disks = report.bcache.iter().map(bcache::DiskReport::render);
    let volumes = report.cached_volumes.iter().map(bcache::VolumeReport::render);
    members.chain(strangers).chain(arrays).chain(disks).chain(volumes).collect::<Vec<_>>().join("\n")
}

fn render_member(report: &MemberReport) -> String {
    let md = &report.md;
    let named = if md.name.is_empty() { String::new() } else { format!(" {:?}", md.name) };
    let head = format!("{}: {} of {}{named}\n", report.member, md.role, md.level);
    let mut facts = Facts::default();
    facts.add_some("not valid", md.flaw.as_ref());
    facts.add("metadata", format!("{} at sector {}", md.version, md.superblock_sector));
    facts.add(
        "checksum",
        match md.checksum.correct {
            true => format!("{} (correct)", md.checksum.found),
            false => format!("{}, expected {}", md.checksum.found, md.checksum.expected),
        },
    );
    facts.add("features", &md.features);
    if !md.leftovers.is_empty() {
        facts.add("leftovers", format!("superblocks {} too, older and not used", md.leftovers.join(", ")));
    }
    facts.add("array uuid", &md.array_uuid);
    facts.add_some("device uuid", md.device_uuid.as_ref());
    facts.add("device number", md.device_number);
    facts.add("created", date(md.created_s));
    facts.add("updated", date(md.updated_s));
    facts.add("events", md.events);
    facts.add(
        "state",
        match (md.clean, md.resync_offset) {
            (true, _) => "clean".to_owned(),
            (false, Some(sector)) => format!("dirty, consistent up to sector {sector}"),
            (false, None) => "dirty".to_owned(),
        },
    );
    facts.add("array state", format!("{} (A here, . missing, R being replaced)", md.array_state));
    facts.add("slots", md.raid_disks);
    facts.add_some("layout", md.layout.as_ref());
    facts.add_some("chunk", md.chunk_sectors.map(|chunk| sectors(chunk.into())));
    facts.add_some("array size", md.array_sectors.map(sectors));
    facts.add("disk size", format!("{}, blocks of {} bytes", size(report.bytes), report.logical_block_bytes));
    facts.add_some("used of it", md.used_sectors.map(sectors));
    facts.add("data", format!("{} from sector {}", sectors(md.data_sectors), md.data_offset));
    let (before, after) = (md.unused_before_sectors, md.unused_after_sectors);
    facts.add("unused", format!("{before} sectors before the data, {after} behind it"));
    facts.add_some("rebuilt up to", md.recovery_offset.map(|sector| format!("sector {sector}")));
    facts.add_some("journal tail", md.journal_tail.map(|sector| format!("sector {sector}")));
    if !md.flags.is_empty() {
        facts.add("flags", md.flags.join(", "));
    }
    if md.corrected_reads > 0 {
        facts.add("corrected reads", md.corrected_reads);
    }
    facts.add_some("reshape", md.reshape.as_ref().map(render_reshape));
    facts.add_some("bitmap", md.bitmap.as_ref().map(render_bitmap));
    facts.add_some(
        "partial parity log",
        md.ppl.as_ref().map(|ppl| format!("{} sectors at sector {}", ppl.sectors, ppl.sector)),
    );
    facts.add_some("private log", md.private_log.as_ref().map(render_private_log));
    facts.add_some(
        "bad-block log",
        md.bad_block_log.as_ref().map(|log| {
            format!("{} sectors at sector {}, {} entries", log.sectors, log.sector, md.bad_blocks.len())
        }),
    );
    for run in &md.bad_blocks {
        facts.add("  bad", format!("{} sectors from sector {}", run.sectors, run.sector));
    }
    facts.add_some("array block", md.logical_block_bytes.map(|bytes| format!("{bytes} bytes")));
    facts.add_some("preferred minor", md.preferred_minor);
    head + &facts.render()
}

fn render_private_log(log: &PrivateLogFacts) -> String {
    let state =
        if log.bound { "bound to this superblock" } else { "void: the superblock was written by others" };
    format!("{} sectors at sector {}, generation {}, {state}", log.sectors, log.sector, log.generation)
}

fn render_reshape(reshape: &ReshapeFacts) -> String {
    let direction = if reshape.backwards { "backwards" } else { "forwards" };
    let layout = reshape.new_layout.as_deref().map(|layout| format!(" {layout}")).unwrap_or_default();
    format!(
        "{direction} at array sector {}: {:+} disks, to {}{layout}, chunk {}, data from sector {}",
        reshape.position,
        reshape.delta_disks,
        reshape.new_level,
        sectors(reshape.new_chunk_sectors.into()),
        reshape.new_data_offset
    )
}

fn render_bitmap(bitmap: &BitmapFacts) -> String {
    let mut text = format!("at sector {}", bitmap.sector);
    if let (Some(version), Some(chunk), Some(chunks)) = (bitmap.version, bitmap.chunk_bytes, bitmap.chunks) {
        text += &format!(", version {version}, {chunks} chunks of {}", size(chunk.into()));
    }
    if let Some(marked) = bitmap.marked {
        text += &format!(", {marked} marked");
    }
    if let (Some(events), Some(cleared)) = (bitmap.events, bitmap.events_cleared) {
        text += &format!(", events {events}, cleared {cleared}");
    }
    if let (Some(sleep), Some(behind)) = (bitmap.daemon_sleep_s, bitmap.write_behind) {
        text += &format!(", flushed every {sleep} s, write-behind {behind}");
    }
    if bitmap.stale == Some(true) {
        text += ", out of date";
    }
    match &bitmap.flaw {
        Some(flaw) => text + "; not valid: " + flaw,
        None => text,
    }
}

fn render_array(report: &ArrayReport) -> String {
    let bytes = report.bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
    let state = if report.clean { "clean" } else { "dirty" };
    let mut text = format!("array {}: {}{bytes}, {state}, {}\n", report.name, report.level, report.uuid);
    for slot in &report.slots {
        let who = match (&slot.member, slot.in_sync) {
            (None, _) => "missing".to_owned(),
            (Some(member), true) => member.clone(),
            (Some(member), false) => format!("{member} (being rebuilt)"),
        };
        text += &format!("  slot {:<3} {who}\n", slot.slot);
    }
    for spare in &report.spares {
        text += &format!("  spare    {spare}\n");
    }
    for left in &report.left_out {
        text += &format!("  left out {}: {}\n", left.member, left.reason);
    }
    let verdict = |what: &str, reasons: &[String]| match reasons {
        [] => format!("  {what}  possible\n"),
        reasons => reasons.iter().map(|reason| format!("  {what}  no: {reason}\n")).collect(),
    };
    text += &verdict("reading", &report.reading_forbidden_by);
    if report.reading_forbidden_by.is_empty() {
        text += &verdict("writing", &report.writing_forbidden_by);
    }
    text
}
