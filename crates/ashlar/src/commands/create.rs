//! `ashlar create`: a new array, exactly as mdadm would make it.

use anyhow::{Result, anyhow};
use block::{Dev, Geometry, Sectors};
use md::{BitmapWish, CreateError, Creation, NewMemberPlan};
use md_format::{Level, Version};
use runtime::{random_uuid, wall_seconds};
use serde::Serialize;

use crate::Usage;
use crate::cli::{Create, Driver, MemberSize, NewBitmap, NewConsistency, NewLevel, NewVersion};
use crate::members::{self, How, Member};
use crate::text::{print, print_json};
use crate::world::World;
use crate::{holds, layouts};

/// The word for a slot whose member is not there yet.
const MISSING: &str = "missing";

/// What was made.
#[derive(Serialize)]
struct Made {
    name: String,
    uuid: String,
    level: String,
    version: String,
    members: Vec<String>,
    spares: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<String>,
    overwritten: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Create, driver: Driver) -> Result<()> {
    refuse_nonsense(args)?;
    let world = World::new(driver)?;
    let present = args.members.iter().filter(|name| *name != MISSING).chain(&args.spares);
    let present = present.chain(&args.write_journal);
    let names: Vec<String> = present.cloned().collect();
    let members = members::open(&world, &names, How::write(args.sole_writer))?;
    let (made, devices) = world.runtime.block_on(async {
        let found = holds::to_be_overwritten(&world, &members, args.overwrite).await?;
        let devices = devices(args, &members);
        let creation = creation(args, &devices);
        let plans = md::plan_creation(&creation).map_err(|error| told(args, error))?;
        md::create(&plans, &devices, &world.arena).await.map_err(|error| told(args, error))?;
        let made = made(args, &creation, &plans, found);
        anyhow::Ok((made, devices))
    })?;
    drop((devices, members)); // unlocked before the next command is told
    match args.json.json {
        true => print_json(&made),
        false => Ok(print(&render(args, &made, &names))?),
    }
}

fn refuse_nonsense(args: &Create) -> Result<()> {
    let usage = |text: String| Err(Usage(text).into());
    if args.members.iter().all(|name| name == MISSING) {
        return usage("every member is missing; at least one disk is needed".to_owned());
    }
    if let Some(stranger) = args.write_mostly.iter().find(|name| !args.members.contains(name)) {
        return usage(format!("--write-mostly {stranger}: is not among the members"));
    }
    if let Some(chunk) =
        args.chunk.filter(|chunk| !chunk.is_multiple_of(512) || chunk / 512 > u32::MAX.into())
    {
        return usage(format!(
            "--chunk {chunk}: is not a whole number of sectors of 512 bytes, or too large"
        ));
    }
    if let Some(Err(why)) = args.layout.as_ref().map(|name| layouts::number(level(args.level), name)) {
        return usage(format!("--layout: {why}"));
    }
    if let Some(MemberSize::Bytes(bytes)) = args.size {
        if !level(args.level).has_equal_members() {
            return usage("--size: the members of this level give all that they have".to_owned());
        }
        if bytes == 0 || !bytes.is_multiple_of(1024) {
            return usage(format!("--size {bytes}: is not a whole number of KiB"));
        }
    }
    if let Some(chunk) = args.bitmap_chunk {
        if args.bitmap == NewBitmap::None {
            return usage("--bitmap-chunk: there is no bitmap without --bitmap internal".to_owned());
        }
        if !chunk.is_power_of_two() || !(4096..=1 << 31).contains(&chunk) {
            return usage(format!("--bitmap-chunk {chunk}: is not a power of two from 4 KiB to 2 GiB"));
        }
    }
    if args.name.is_empty() || args.name.contains('/') {
        return usage(format!(
            "{:?} cannot be the name of an array: it is empty or has a slash in it",
            args.name
        ));
    }
    Ok(())
}

/// The devices by position: slots first, then spares, then the journal.
fn devices(args: &Create, members: &[Member]) -> Vec<Option<Dev>> {
    let mut opened = members.iter().map(Member::device);
    let slots = args.members.iter().map(|name| (name != MISSING).then(|| opened.next()).flatten());
    let mut devices: Vec<Option<Dev>> = slots.collect();
    devices.extend(opened.map(Some));
    devices
}

fn creation(args: &Create, devices: &[Option<Dev>]) -> Creation {
    let geometries: Vec<Option<Geometry>> =
        devices.iter().map(|device| device.as_ref().map(|device| device.geometry())).collect();
    let (slots, others) = geometries.split_at(args.members.len());
    let (spares, journal) = others.split_at(args.spares.len());
    Creation {
        name: args.name.clone(),
        host: host(args.homehost.as_deref()),
        level: level(args.level),
        version: match args.metadata {
            NewVersion::V0_90 => Version::V0_90,
            NewVersion::V1_0 => Version::V1_0,
            NewVersion::V1_1 => Version::V1_1,
            NewVersion::V1_2 => Version::V1_2,
        },
        chunk_sectors: args.chunk.map(|bytes| (bytes / 512) as u32),
        layout: args.layout.as_ref().and_then(|name| layouts::number(level(args.level), name).ok()),
        size: args.size.and_then(|size| match size {
            MemberSize::Max => None,
            MemberSize::Bytes(bytes) => Some(Sectors::from_bytes(bytes)),
        }),
        bitmap: (args.bitmap == NewBitmap::Internal)
            .then_some(BitmapWish { chunk_bytes: args.bitmap_chunk.map(|bytes| bytes as u32) }),
        ppl: args.consistency == NewConsistency::Ppl,
        journal: journal.iter().flatten().next().copied(),
        assume_clean: args.assume_clean,
        slots: slots.to_vec(),
        write_mostly: args.members.iter().map(|name| args.write_mostly.contains(name)).collect(),
        spares: spares.iter().flatten().copied().collect(),
        uuid: random_uuid(),
        device_uuids: devices.iter().map(|_| random_uuid()).collect(),
        now_s: wall_seconds(),
    }
}

fn level(level: NewLevel) -> Level {
    match level {
        NewLevel::Linear => Level::Linear,
        NewLevel::Raid0 => Level::Raid0,
        NewLevel::Raid1 => Level::Raid1,
        NewLevel::Raid4 => Level::Raid4,
        NewLevel::Raid5 => Level::Raid5,
        NewLevel::Raid6 => Level::Raid6,
        NewLevel::Raid10 => Level::Raid10,
    }
}

/// The host that the name is prefixed with: as asked, or this one.
fn host(asked: Option<&str>) -> Option<String> {
    match asked {
        Some("none") => None,
        Some(name) => Some(name.to_owned()),
        None => {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            (!name.is_empty()).then_some(name)
        }
    }
}

/// The engine counts members by position; people have names for them.
fn told(args: &Create, error: CreateError) -> anyhow::Error {
    match error {
        CreateError::Member { position, failed } => {
            let name = args.members.iter().chain(&args.spares).chain(&args.write_journal).nth(position);
            anyhow!("{}: {failed}", name.map_or("a member", String::as_str))
        }
        other => anyhow!("{other}"),
    }
}

fn made(args: &Create, creation: &Creation, plans: &[NewMemberPlan], overwritten: Vec<String>) -> Made {
    let summary = plans
        .first()
        .and_then(|plan| md_format::Superblock::view(plan.place, &plan.bytes[..]).ok()?.summary().ok());
    Made {
        name: args.name.clone(),
        uuid: summary.map(|summary| summary.array_uuid_text().to_string()).unwrap_or_default(),
        level: creation.level.to_string(),
        version: creation.version.to_string(),
        members: args.members.clone(),
        spares: args.spares.clone(),
        journal: args.write_journal.clone(),
        overwritten,
    }
}

fn render(args: &Create, made: &Made, names: &[String]) -> String {
    let mut text = format!("made {} {} (metadata {}, {})\n", made.level, made.name, made.version, made.uuid);
    for (slot, member) in made.members.iter().enumerate() {
        text += &format!("  slot {slot:<3} {member}\n");
    }
    for spare in &made.spares {
        text += &format!("  spare    {spare}\n");
    }
    if let Some(journal) = &made.journal {
        text += &format!("  journal  {journal}\n");
    }
    for was in &made.overwritten {
        text += &format!("  overwritten: {was}\n");
    }
    let degraded = if args.members.iter().any(|name| name == MISSING) { " --degraded" } else { "" };
    text += &format!("serve it:\n  ashlar run {} --nbd ./{}.sock{degraded}\n", names.join(" "), args.name);
    text
}
