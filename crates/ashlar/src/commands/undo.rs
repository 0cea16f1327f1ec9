//! `ashlar undo`: the metadata as `run` found it.

use anyhow::Result;
use block::Dev;
use control::{Change, Snapshot, plan_undo, put_back};
use serde::Serialize;

use crate::cli::{Driver, Undo};
use crate::members::{self, How, Member};
use crate::text::{date, print, print_json, sectors};
use crate::world::World;

/// What is, or would be, put back.
#[derive(Serialize)]
struct Report {
    stack: String,
    made_s: u64,
    written: bool,
    changes: Vec<ChangeReport>,
}

#[derive(Serialize)]
struct ChangeReport {
    member: String,
    what: String,
    sector: u64,
    bytes: usize,
}

/// Runs the command.
pub fn run(args: &Undo, driver: Driver) -> Result<()> {
    let snapshot = Snapshot::load(&args.snapshot)?;
    let world = World::new(driver)?;
    let names: Vec<String> = snapshot.members.iter().map(|member| member.name.clone()).collect();
    let how = if args.plan { How::read(false) } else { How::write(args.sole_writer) };
    let members = members::open(&world, &names, how)?;
    let devices: Vec<Dev> = members.iter().map(Member::device).collect();
    let changes = world.runtime.block_on(async {
        let changes = plan_undo(&snapshot, &devices, &world.arena, args.data_was_written).await?;
        if !args.plan {
            put_back(&changes, &devices, &world.arena).await?;
        }
        anyhow::Ok(changes)
    })?;
    let report = report(&snapshot, &changes, !args.plan);
    match args.json.json {
        true => print_json(&report),
        false => Ok(print(&render(&report))?),
    }
}

fn report(snapshot: &Snapshot, changes: &[Change], written: bool) -> Report {
    let changes = changes.iter().map(|change| ChangeReport {
        member: change.member.clone(),
        what: change.what.clone(),
        sector: change.sector,
        bytes: change.bytes.len(),
    });
    Report { stack: snapshot.stack.clone(), made_s: snapshot.made_s, written, changes: changes.collect() }
}

fn render(report: &Report) -> String {
    let head = match (report.changes.is_empty(), report.written) {
        (true, _) => "nothing to put back: the metadata is as it was",
        (false, true) => "put back",
        (false, false) => "would be put back",
    };
    let mut text = format!("{}, {}: {head}\n", report.stack, date(report.made_s));
    for change in &report.changes {
        let size = sectors(change.bytes as u64 / 512);
        text += &format!("  {}: {} at sector {}, {size}\n", change.member, change.what, change.sector);
    }
    text
}
