//! `ashlar cache create`: new caches and backing devices, exactly as make-bcache would make them.

use anyhow::{Result, anyhow};
use bcache::Plan;
use bcache_format::superblock::{BackingPlan, CachePlan};
use bcache_format::{CacheMode, Label, Replacement};
use block::Dev;
use runtime::random_uuid;
use serde::Serialize;

use crate::cli::{CacheCreate, Driver, NewMode, NewReplacement};
use crate::members::{self, How, Member};
use crate::text::{print, print_json, uuid};
use crate::world::World;
use crate::{Usage, holds};

/// What was made.
#[derive(Serialize)]
struct Made {
    set_uuid: Option<String>,
    cache: Option<MadeDisk>,
    backing: Vec<MadeDisk>,
    overwritten: Vec<String>,
}

#[derive(Serialize)]
struct MadeDisk {
    disk: String,
    uuid: String,
}

/// Runs the command.
pub fn run(args: &CacheCreate, driver: Driver) -> Result<()> {
    let (label, sizes) = (label(args)?, Sizes::of(args)?);
    let world = World::new(driver)?;
    let names: Vec<String> = args.cache.iter().chain(&args.backing).cloned().collect();
    let members = members::open(&world, &names, How::write(false))?;
    let made = world.runtime.block_on(async {
        let overwritten = holds::to_be_overwritten(&world, &members, args.overwrite).await?;
        let devices: Vec<Dev> = members.iter().map(Member::device).collect();
        let plans = plans(args, label, sizes, &devices);
        let of = |position: usize, error: String| anyhow!("{}: {error}", names[position]);
        let superblocks: Vec<_> = plans
            .iter()
            .enumerate()
            .map(|(position, plan)| plan.superblock().map_err(|error| of(position, error.to_string())))
            .collect::<Result<_>>()?;
        for (position, device) in devices.iter().enumerate() {
            md::wipe_all(device, &world.arena).await.map_err(|failed| of(position, failed.to_string()))?;
        }
        let created = bcache::create(&superblocks, &devices, &world.arena).await;
        created.map_err(|error| of(error.position, error.to_string()))?;
        anyhow::Ok(made(&names, &plans, overwritten))
    })?;
    drop(members); // unlocked before the next command is told
    match args.json.json {
        true => print_json(&made),
        false => Ok(print(&render(&made))?),
    }
}

/// Sizes as the format has them, in sectors.
#[derive(Clone, Copy)]
struct Sizes {
    block: Option<u16>,
    bucket: u64,
    data_offset: u64,
}

impl Sizes {
    fn of(args: &CacheCreate) -> Result<Sizes> {
        let sectors = |word: &str, bytes: u64| match bytes.is_multiple_of(512) && bytes > 0 {
            true => Ok(bytes / 512),
            false => Err(Usage(format!("--{word} {bytes}: is not a whole number of sectors of 512 bytes"))),
        };
        let too_large = |bytes: u64| Usage(format!("--block {bytes}: is too large, expected at most 4096"));
        let block = args.block.map(|bytes| sectors("block", bytes).map(|sectors| (bytes, sectors)));
        let block =
            block.transpose()?.map(|(bytes, sectors)| u16::try_from(sectors).map_err(|_| too_large(bytes)));
        Ok(Sizes {
            block: block.transpose()?,
            bucket: sectors("bucket", args.bucket)?,
            data_offset: sectors("data-offset", args.data_offset)?,
        })
    }
}

fn label(args: &CacheCreate) -> Result<Label> {
    let text = args.label.as_deref().unwrap_or_default();
    let label = Label::new(text.as_bytes());
    label.ok_or_else(|| Usage(format!("--label {text:?}: is longer than 32 bytes")).into())
}

/// The cache first, if there is one; then the backing devices.
fn plans(args: &CacheCreate, label: Label, sizes: Sizes, devices: &[Dev]) -> Vec<Plan> {
    let largest = devices.iter().map(|device| device.geometry().logical_block).max().unwrap_or(512);
    let block_sectors = sizes.block.unwrap_or((largest / 512) as u16);
    let set_uuid = random_uuid();
    let cache = args.cache.as_ref().and(devices.first()).map(|device| {
        Plan::Cache(CachePlan {
            uuid: random_uuid(),
            set_uuid,
            device_sectors: device.geometry().size.0,
            block_sectors,
            bucket_sectors: sizes.bucket,
            replacement: replacement(args.replacement),
        })
    });
    let backing = args.backing.iter().map(|_| {
        Plan::Backing(BackingPlan {
            uuid: random_uuid(),
            block_sectors,
            set_uuid,
            bucket_sectors: u16::try_from(sizes.bucket).unwrap_or(0),
            data_offset: sizes.data_offset,
            mode: mode(args.mode),
            label,
        })
    });
    cache.into_iter().chain(backing).collect()
}

fn replacement(replacement: NewReplacement) -> Replacement {
    match replacement {
        NewReplacement::Lru => Replacement::Lru,
        NewReplacement::Fifo => Replacement::Fifo,
        NewReplacement::Random => Replacement::Random,
    }
}

fn mode(mode: NewMode) -> CacheMode {
    match mode {
        NewMode::Writethrough => CacheMode::Writethrough,
        NewMode::Writeback => CacheMode::Writeback,
        NewMode::Writearound => CacheMode::Writearound,
        NewMode::None => CacheMode::None,
    }
}

fn made(names: &[String], plans: &[Plan], overwritten: Vec<String>) -> Made {
    let mut made = Made { set_uuid: None, cache: None, backing: Vec::new(), overwritten };
    for (name, plan) in names.iter().zip(plans) {
        match plan {
            Plan::Cache(plan) => {
                made.set_uuid = Some(uuid(&plan.set_uuid));
                made.cache = Some(MadeDisk { disk: name.clone(), uuid: uuid(&plan.uuid) });
            }
            Plan::Backing(plan) => made.backing.push(MadeDisk { disk: name.clone(), uuid: uuid(&plan.uuid) }),
        }
    }
    made
}

fn render(made: &Made) -> String {
    let mut text = String::new();
    if let (Some(cache), Some(set_uuid)) = (&made.cache, &made.set_uuid) {
        text += &format!("made a cache of {} (set {set_uuid})\n", cache.disk);
    }
    for backing in &made.backing {
        text += &format!("made a backing device of {} ({})\n", backing.disk, backing.uuid);
    }
    for was in &made.overwritten {
        text += &format!("  overwritten: {was}\n");
    }
    text + "to use them: ashlar run DISK..., or with a kernel: echo DISK > /sys/fs/bcache/register\n"
}
