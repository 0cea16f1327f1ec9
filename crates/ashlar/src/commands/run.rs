//! `ashlar run`: assembles arrays and caches and serves them until it is told to stop.

mod armour;
mod backing;
mod caches;
mod contents;
mod doors;
mod plan;
mod trace;
mod wish;

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, anyhow};
use block::{Dev, Sectors};
use control::api::{Api, COMMANDS};
use control::{Client, Event, Facts, Keeper, Monitor, Place, Snapshot, Stack, Taken};
use export::Exports;
use md::{Array, examine};
use runtime::Overlay;
use runtime::mailbox::mailbox;
use sd_notify::NotifyState;

use crate::cli::{Driver, Run};
use crate::commands::monitor::complain;
use crate::dirs;
use crate::members::{self, How};
use crate::pile::Pile;
use crate::stack::Stack as Found;
use crate::volumes::refused;
use crate::world::World;
use armour::Armour;
use contents::contents;
use doors::Doors;
use plan::Plan;
use trace::Trace;
use wish::Wish;

/// What an overlay of a read-only stack holds at most.
const OVERLAY_SECTORS: Sectors = Sectors(64 << 11);

/// Runs the command.
pub fn run(args: Run, driver: Driver) -> Result<()> {
    let wish = Wish::of(&args)?;
    let run_dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let state_dir = dirs::state_dir(args.state_dir.as_deref())?;
    let armour = match args.plan {
        true => Armour::before_threads(crate::cli::Armour::Off),
        false => Armour::before_threads(wish.armour),
    };
    let world = World::new(driver)?;
    let how = match args.plan || wish.read_only {
        true => How::read(false),
        false => How::write(wish.sole_writer),
    };
    let mut pile = Pile::open(&world, &wish.members, how)?;
    let accepted = if wish.accept_stale { pile.accept_stale() } else { Vec::new() };
    let lenience = wish.lenience();
    let found = match wish.arrays {
        true => Found::of_arrays(&pile),
        false => world.runtime.block_on(Found::read(&world, &pile, &lenience)),
    };
    let plan = world.runtime.block_on(async { Plan::new(&wish, &found, &accepted, &run_dir, &state_dir) });
    if args.plan {
        return plan.show(args.json);
    }
    plan.refuse()?;
    plan.warnings.iter().for_each(|warning| eprintln!("ashlar: warning: {warning}"));
    let (taken, control) = Place::new(&run_dir, &plan.stack)?.take()?;
    let doors = Doors::open(&world, &wish, found.tops.len())?;
    let _trace = args.trace.as_deref().map(Trace::start).transpose()?;
    let problems = world.runtime.block_on(async {
        let (running, armour) = open(&world, &wish, &plan, &found, doors, armour, &state_dir).await?;
        serve_until_told(running, &wish, armour, taken, control)
            .await
            .context("the control interface cannot be started")
    })?;
    match problems.len() {
        0 => Ok(()),
        _ => Err(anyhow!("stopped, but not everything is as it should be:\n  {}", problems.join("\n  "))),
    }
}

/// Opens everything. The metadata is read first; between the opening of the arrays and the writing of the snapshot
/// nothing is awaited, so no array has written anything when the snapshot is on disk.
async fn open(
    world: &World,
    wish: &Wish,
    plan: &Plan,
    found: &Found<'_>,
    doors: Doors,
    mut armour: Armour,
    state_dir: &std::path::Path,
) -> Result<(Rc<Stack>, Armour)> {
    let pile = found.pile;
    let snapshot = match wish.read_only || pile.candidates.is_empty() {
        true => None,
        false => Some(Snapshot::take(&plan.stack, &pile.candidates, &pile.devices(), &world.arena).await?),
    };
    let devices: Vec<Dev> = match wish.read_only {
        true => pile.devices().into_iter().map(|device| Overlay::device(device, OVERLAY_SECTORS)).collect(),
        false => pile.devices(),
    };
    let mut arrays = Vec::with_capacity(pile.volumes.len());
    for volume in &pile.volumes {
        let array = Array::open(&volume.set, &pile.candidates, &devices, wish.options());
        arrays.push(array.map_err(|error| refused(pile, volume, &error))?);
    }
    let keeper = snapshot.map(|snapshot| Keeper::keep(&state_dir.join("snapshots"), snapshot)).transpose()?;
    let mut exports = Exports::new();
    let contents = contents(world, wish, found, arrays, keeper.as_ref(), &mut exports).await?;
    let exports = Rc::new(exports);
    let fronts = doors.serve(world, &exports)?;
    let members = pile.members.iter().map(|member| (member.name.clone(), member.hold.clone()));
    let strangers = pile.strangers.iter().map(|stranger| (stranger.name.clone(), stranger.hold.clone()));
    let holds = members.chain(strangers).collect();
    let facts = Facts {
        name: plan.stack.clone(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        driver: world.os.why().to_owned(),
        read_only: wish.read_only,
        armour: armour.close(pile.disks()),
    };
    let arena = world.arena.clone();
    let records = control::Records::new(state_dir.join("scrubs"));
    let outside = control::Outside { open: opener(world), tell, records };
    Ok((Stack::new(facts, contents, holds, fronts, keeper, arena, outside), armour))
}

/// Opens disks that are added while the stack runs.
fn opener(world: &World) -> control::Open {
    let (os, arena) = (world.os.clone(), world.arena.clone());
    Box::new(move |wish| {
        let (os, arena) = (os.clone(), arena.clone());
        Box::pin(async move {
            let failed = |error: anyhow::Error| control::Refusal::Failed(format!("{error:#}"));
            let how = How::write(wish.sole_writer);
            let member = members::open_now(&os, &wish.member, how).await.map_err(failed)?;
            let device = member.device();
            // What cannot be read is no member; whether it can be written shows when it is.
            let examined = examine(&device, &arena).await.ok();
            let holds = match examined {
                Some(_) => Vec::new(),
                None => crate::holds::recognise(&device, &arena).await,
            };
            Ok(control::Opened { hold: member.hold, examined, holds })
        })
    })
}

fn tell(event: &Event) {
    eprintln!("ashlar: {event}");
}

/// Serves until a signal or a person says stop. What could not be done at the end comes back.
async fn serve_until_told(
    stack: Rc<Stack>,
    wish: &Wish,
    armour: Armour,
    taken: Taken,
    control: std::os::unix::net::UnixListener,
) -> std::io::Result<Vec<String>> {
    let (sender, commands) = mailbox(COMMANDS);
    let api = Api::start(control, sender, &stack.events())?;
    announce(&stack);
    let monitor = monitor(wish, taken.place());
    armour.set_trap();
    let reply = stack.attend(&commands).await;
    let _ = sd_notify::notify(&[NotifyState::Stopping]); // nobody listens where there is no systemd
    eprintln!("ashlar: stopping");
    let last = stack.status();
    let problems = stack.stop().await;
    if let Some(reply) = reply {
        let answer = match problems.is_empty() {
            true => Ok(()),
            false => Err(control::Refusal::Failed(problems.join("; "))),
        };
        let _ = reply.send(answer); // whoever asked may have gone
    }
    api.stop();
    if let Some(monitor) = monitor {
        monitor.stop(last); // the clients are gone, and everything is written
    }
    drop(taken);
    Ok(problems)
}

/// The thread that tells what happens, if anybody is to be told. Data is served also where there is none.
fn monitor(wish: &Wish, place: &Place) -> Option<Monitor> {
    if !wish.receivers.is_any() {
        return None;
    }
    let client = Client::new(&place.socket());
    let started = Monitor::start(client, wish.rules, wish.receivers.clone(), complain);
    started.map_err(|error| complain(&format!("nobody will be told what happens: {error}"))).ok()
}

fn announce(stack: &Stack) {
    let status = stack.status();
    eprintln!("ashlar: {} runs as process {}, driver {}", status.name, status.pid, status.driver);
    for array in &status.arrays {
        let size = crate::text::size(array.bytes);
        eprintln!(
            "ashlar: {}: {}, {size}, {} of {} members",
            array.name, array.level, array.in_sync, array.slots
        );
    }
    for volume in &status.cached {
        let cache = volume.cache.as_deref().map(|cache| format!(", cached by {cache}")).unwrap_or_default();
        let size = crate::text::size(volume.bytes);
        eprintln!("ashlar: {}: {size}, {}, {}{cache}", volume.name, volume.mode, volume.state);
    }
    for server in &status.servers {
        eprintln!("ashlar: serving on {}", server.address);
    }
    for mount in &status.mounts {
        eprintln!("ashlar: mounted at {}", mount.path);
    }
    let snapshot: Option<PathBuf> = stack.snapshot();
    if let Some(path) = snapshot {
        eprintln!("ashlar: to put the metadata back as it was: ashlar undo {}", path.display());
    }
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}
