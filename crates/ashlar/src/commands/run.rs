//! `ashlar run`: assembles arrays and caches and serves them until it is told to stop.

mod armour;
mod backing;
mod caches;
mod confine;
mod contents;
mod doors;
mod plan;
mod trace;
mod wish;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, anyhow};
use block::{Dev, Sectors};
use control::api::{Api, COMMANDS};
use control::{
    Client, Delivery, Event, Facts, Keeper, MemberAreas, Monitor, Place, Receivers, Snapshot, Stack, Taken,
};
use export::Exports;
use fuse::Holder;
use md::{Array, examine};
use runtime::Overlay;
use runtime::mailbox::mailbox;
use runtime::os::OpenError;
use rustix::io::Errno;
use sd_notify::NotifyState;

use crate::cli::{Driver, Piece, Run};
use crate::commands::monitor::complain;
use crate::commands::servant::{courier, holder};
use crate::dirs;
use crate::members::{self, How};
use crate::pile::Pile;
use crate::stack::{Disk, Stack as Found};
use crate::volumes::refused;
use crate::world::World;
use armour::Armour;
use confine::Reach;
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
        true => Armour::before_threads(crate::cli::Armour::Off, &[]),
        false => Armour::before_threads(wish.armour, &wish.armour_without),
    };
    let servants = Servants::start(&wish, args.plan)?;
    let world = World::new(driver)?;
    if wish.armour_without.contains(&Piece::DirectIo) {
        world.os.use_page_cache();
    }
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
    let doors = Doors::open(&world, &wish, servants.holders, found.tops.len())?;
    let reach = Reach::of(&wish, &run_dir, &state_dir, args.trace.as_deref());
    let _trace = args.trace.as_deref().map(Trace::start).transpose()?;
    let problems = world.runtime.block_on(async {
        let (running, armour) = open(&world, &wish, &plan, &found, doors, armour, &state_dir).await?;
        serve_until_told(running, &wish, armour, &reach, servants.courier, taken, control)
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
    let kept: Vec<&Disk> = found.disks.iter().filter(|disk| disk.array.is_none()).collect();
    let snapshot = match wish.read_only || pile.candidates.is_empty() && kept.is_empty() {
        true => None,
        false => {
            let devices = pile.devices();
            let mut snapshot = Snapshot::take(&plan.stack, &pile.candidates, &devices, &world.arena).await?;
            kept.iter().for_each(|disk| snapshot.add(MemberAreas::of_bcache(&disk.name, &disk.examined)));
            Some(snapshot)
        }
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
    let exports = Exports::new();
    let contents = contents(world, wish, found, arrays, keeper.as_ref(), &exports).await?;
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
        armour: RefCell::new(armour.close(pile.disks())),
    };
    let arena = world.arena.clone();
    let records = control::Records::new(state_dir.join("scrubs"));
    let outside = control::Outside { open: opener(world), tell, records, exports };
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
            let member = members::open_now(&os, &wish.member, how).await;
            let member = member.map_err(|error| failed(explained(error)))?;
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

/// A disk that may not be opened may lie outside of what this stack has kept for itself.
fn explained(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::System { errno: Errno::ACCESS, .. }) => error.context(
            "a running stack opens disks in /dev, and in the folders of the members that it began with; it reaches others when \
             it is run with --armour-without landlock",
        ),
        _ => error,
    }
}

fn tell(event: &Event) {
    eprintln!("ashlar: {event}");
}

/// Serves until a signal or a person says stop. What could not be done at the end comes back.
async fn serve_until_told(
    stack: Rc<Stack>,
    wish: &Wish,
    mut armour: Armour,
    reach: &Reach,
    courier: Option<Delivery>,
    taken: Taken,
    control: std::os::unix::net::UnixListener,
) -> std::io::Result<Vec<String>> {
    let (sender, commands) = mailbox(COMMANDS);
    let api = Api::start(control, sender, &stack.events())?;
    let monitor = courier.and_then(|courier| monitor(wish, taken.place(), courier));
    stack.armour_is(armour.confine(reach)); // no thread is made from here on but for a disk that is added
    announce(&stack);
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

/// The thread that looks what happens. Data is served also where there is none.
fn monitor(wish: &Wish, place: &Place, courier: Delivery) -> Option<Monitor> {
    let started = Monitor::start(Client::new(&place.socket()), wish.rules, courier, complain);
    started.map_err(|error| complain(&format!("nobody will be told what happens: {error}"))).ok()
}

/// The processes that do what this one will not be allowed to.
struct Servants {
    holders: Vec<Holder>,
    courier: Option<Delivery>,
}

impl Servants {
    /// Starts those that are needed.
    fn start(wish: &Wish, only_plan: bool) -> Result<Servants> {
        if only_plan {
            return Ok(Servants { holders: Vec::new(), courier: None });
        }
        let holders = wish.mounts.iter().map(|path| holder(path)).collect::<Result<_>>()?;
        let told = |receivers: &Receivers| courier(receivers).context("alerts cannot be delivered");
        let courier = wish.receivers.is_any().then(|| told(&wish.receivers)).transpose()?;
        Ok(Servants { holders, courier })
    }
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
