//! `ashlar update`: other words in the superblocks of an array that does not run.

mod difference;
mod words;

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use block::Dev;
use control::{Keeper, Snapshot};
use md::{Examined, MemberChange, Update, plan_update};
use md_format::limits::SUPERBLOCK_BYTES;
use md_format::{Place, Superblock, Version};
use runtime::random_uuid;
use serde::Serialize;

use crate::cli::{self, Driver};
use crate::dirs;
use crate::members::How;
use crate::pile::{Pile, Stranger, Volume};
use crate::text::{print, print_json, sectors};
use crate::world::World;
use difference::{Difference, differences};
use words::{Context, Words};

/// What is, or would be, changed.
#[derive(Serialize)]
struct Report {
    array: String,
    /// The uuid before the change.
    uuid: String,
    written: bool,
    /// The file for `ashlar undo`.
    snapshot: Option<String>,
    members: Vec<MemberReport>,
}

#[derive(Serialize)]
struct MemberReport {
    member: String,
    writes: Vec<WriteReport>,
}

#[derive(Serialize)]
struct WriteReport {
    what: &'static str,
    sector: u64,
    bytes: usize,
    changes: Vec<Difference>,
}

/// Runs the command.
pub fn run(args: &cli::Update, driver: Driver) -> Result<()> {
    let words = Words::parse(&args.sets)?;
    let state_dir = dirs::state_dir(args.state_dir.as_deref())?;
    let world = World::new(driver)?;
    let how = if args.plan { How::read(false) } else { How::write(args.sole_writer) };
    let pile = Pile::open(&world, &args.members, how)?;
    let volume = only_volume(&pile)?;
    let context = Context {
        version: volume.set.key.version,
        members: pile.candidates.iter().map(|candidate| candidate.name.as_str()).collect(),
        host: host(),
        random: random_uuid(),
    };
    let update = Update {
        changes: words.changes(&context)?,
        degraded: args.degraded,
        device_uuids: pile.candidates.iter().map(|_| random_uuid()).collect(),
    };
    let changes = plan_update(&volume.set, &pile.candidates, &update)
        .map_err(|error| anyhow!("nothing was changed: {}: {error}", volume.name))?;
    let mut report = report(&pile, volume, &changes);
    if !args.plan && changes.iter().any(|change| !change.writes.is_empty()) {
        let devices = pile.devices();
        report.snapshot =
            Some(world.runtime.block_on(write(&world, &pile, volume, &changes, &devices, &state_dir))?);
        report.written = true;
    }
    drop(pile); // unlocked before the next command is told
    match args.json.json {
        true => print_json(&report),
        false => Ok(print(&render(&report, args.plan))?),
    }
}

fn host() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

/// The array that all the members make.
fn only_volume(pile: &Pile) -> Result<&Volume> {
    if !pile.strangers.is_empty() {
        let lines: Vec<String> = pile.strangers.iter().map(Stranger::to_string).collect();
        bail!("nothing was changed: {}", lines.join("\n  "));
    }
    match &pile.volumes[..] {
        [one] => Ok(one),
        several => {
            let names: Vec<&str> = several.iter().map(|volume| volume.name.as_str()).collect();
            bail!(
                "nothing was changed: the members make several arrays ({}); update one at a time",
                names.join(", ")
            )
        }
    }
}

/// Keeps aside what is there, then writes. The file says beforehand what will be left, so that it helps also after a power
/// cut in between.
async fn write(
    world: &World,
    pile: &Pile,
    volume: &Volume,
    changes: &[MemberChange],
    devices: &[Dev],
    state_dir: &Path,
) -> Result<String> {
    let mut snapshot = Snapshot::take(&volume.name, &pile.candidates, devices, &world.arena).await?;
    for change in changes {
        let device = &devices[change.candidate];
        snapshot.foretell(change.candidate, &change.writes, device, &world.arena).await?;
    }
    let keeper = Keeper::keep(&state_dir.join("snapshots"), snapshot)?;
    let path = keeper.path().display().to_string();
    md::update(changes, devices, &world.arena).await.map_err(|(at, failed)| {
        let name = &pile.candidates[at].name;
        anyhow!("{name}: writing its metadata: {failed}; to put back what was written: ashlar undo {path}")
    })?;
    Ok(path)
}

fn report(pile: &Pile, volume: &Volume, changes: &[MemberChange]) -> Report {
    let freshest = &pile.candidates[volume.set.freshest].examined.summary;
    let members = changes.iter().map(|change| {
        let candidate = &pile.candidates[change.candidate];
        let writes = change.writes.iter().map(|write| WriteReport {
            what: write.what,
            sector: write.sector,
            bytes: write.bytes.len(),
            changes: match write.what {
                "superblock" => superblock_changes(&candidate.examined, write.sector, &write.bytes),
                _ => Vec::new(),
            },
        });
        MemberReport { member: candidate.name.clone(), writes: writes.collect() }
    });
    Report {
        array: volume.name.clone(),
        uuid: freshest.array_uuid_text().to_string(),
        written: false,
        snapshot: None,
        members: members.collect(),
    }
}

/// What the superblock that is to be written says differently. One that goes elsewhere than the old one is a 1.0 one.
fn superblock_changes(examined: &Examined, sector: u64, written: &[u8]) -> Vec<Difference> {
    let (place, mut bytes) = match sector == examined.place.sector {
        true => (examined.place, examined.bytes.to_vec()),
        false => (Place { version: Version::V1_0, sector }, vec![0; SUPERBLOCK_BYTES]),
    };
    bytes[..written.len()].copy_from_slice(written);
    let after = Superblock::view(place, &bytes).and_then(|superblock| superblock.summary());
    after.map(|after| differences(&examined.summary, &after)).unwrap_or_default()
}

fn render(report: &Report, plan: bool) -> String {
    let nothing = report.members.iter().all(|member| member.writes.is_empty());
    let head = match (nothing, plan) {
        (true, _) => "nothing to change: everything is as wanted",
        (false, true) => "would be changed; nothing was written",
        (false, false) => "changed",
    };
    let mut text = format!("array {}, {}: {head}\n", report.array, report.uuid);
    for member in &report.members {
        for write in &member.writes {
            let size = sectors(write.bytes as u64 / 512);
            text += &format!("  {}: {} at sector {}, {size}\n", member.member, write.what, write.sector);
            for change in &write.changes {
                text += &format!("    {}: {} -> {}\n", change.fact, change.before, change.after);
            }
        }
    }
    if let Some(path) = &report.snapshot {
        text += &format!("to put the metadata back as it was: ashlar undo {path}\n");
    }
    text
}
