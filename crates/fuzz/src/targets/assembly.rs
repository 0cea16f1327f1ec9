//! Hostile disks: whole small arrays, damaged, examined, assembled, opened over overlays, read from end to end. Not one
//! write reaches a disk.

use std::rc::Rc;

use block::{Arena, Dev, MAX_BUFFER, Range, Request, SECTOR, Sectors};
use md::{Array, BitmapWish, Candidate, Creation, Options, Set, assemble, create, examine, plan_creation};
use md_format::geometry::raid0::Raid0Layout;
use md_format::superblock::seal;
use md_format::{Level, Place, Version};
use runtime::sim::{Random, World};
use runtime::{Driver, Overlay, Runtime, sleep_ms};

use crate::mutate::{damage, odd};
use crate::{require, seeds};

/// Events after which a case has surely gone wrong (P3).
const FAR_TOO_MANY_EVENTS: u64 = 400_000;

/// Sectors that an overlay holds.
const ROOM: Sectors = Sectors(256);

/// Reads of each array.
const READS: u64 = 12;

/// Builds, damages, opens and reads.
pub fn play(mut random: Random) -> Result<(), String> {
    let world = World::new(random.word());
    match random.below(4) {
        0 => put_kept_superblocks(&mut random, &world),
        _ => make_array(&mut random, &world),
    }
    let writes = || world.disks().iter().map(|disk| disk.writes()).sum::<u64>();
    let (before, start) = (writes(), world.events_done());
    let runtime = Runtime::new(world.clone());
    let ended = runtime.run_until(open_and_read(&mut random, &world), |_| {
        !world.is_stuck() && world.events_done() - start < FAR_TOO_MANY_EVENTS
    });
    drop(runtime);
    require(ended.is_some(), || "requests are pending and nothing completes".into())?;
    require(writes() == before, || format!("{} writes have reached a disk", writes() - before))
}

/// Disks with damaged superblocks of kernels, of whatever level and feature.
pub(super) fn put_kept_superblocks(random: &mut Random, world: &Rc<World>) {
    let kept = seeds::kept(random);
    for _ in 0..1 + random.below(3) {
        let mut bytes = kept.bytes.clone();
        damage_superblock(random, &mut bytes);
        let disk = world.add_disk(Sectors(kept.sectors), *random.choose(&[512, 512, 4096]));
        disk.poke(Sectors(kept.place.sector), &bytes);
    }
}

fn damage_superblock(random: &mut Random, bytes: &mut [u8]) {
    damage(random, bytes);
    if !random.one_in(4) {
        let _ = seal(bytes); // what is no superblock any more cannot be sealed
    }
}

/// An array as `create` makes it, with damage to the superblocks and to what they point at.
pub(super) fn make_array(random: &mut Random, world: &Rc<World>) {
    let level = *random.choose(&[Level::Raid1, Level::Raid10, Level::Raid0, Level::Linear]);
    let count = 1 + random.below(4) as usize;
    let block = *random.choose(&[512, 512, 4096]);
    for _ in 0..count {
        world.add_disk(Sectors(5000 + 8 * random.below(400)), block);
    }
    let devs: Vec<Dev> = world.disks().into_iter().map(|disk| disk as Dev).collect();
    let creation = Creation {
        name: "hostile".to_owned(),
        host: None,
        level,
        version: *random.choose(&Version::ALL),
        chunk_sectors: matches!(level, Level::Raid0 | Level::Raid10).then(|| *random.choose(&[8, 16, 24])),
        layout: (level == Level::Raid10).then(|| *random.choose(&[0x102, 0x201, 0x1_0201, 0x202])),
        size: None,
        bitmap: random.one_in(2).then(|| BitmapWish { chunk_bytes: Some(*random.choose(&[4096, 65_536])) }),
        ppl: false,
        journal: None,
        assume_clean: random.one_in(2),
        slots: devs.iter().map(|dev| Some(dev.geometry())).collect(),
        write_mostly: Vec::new(),
        spares: Vec::new(),
        uuid: [1; 16],
        device_uuids: (0..count).map(|number| [number as u8; 16]).collect(),
        now_s: 1_577_836_800,
    };
    let Ok(plans) = plan_creation(&creation) else { return };
    let runtime = Runtime::new(world.clone());
    let devs: Vec<Option<Dev>> = devs.into_iter().map(Some).collect();
    runtime
        .block_on(create(&plans, &devs, &Arena::new(MAX_BUFFER)))
        .expect("disks without faults take an array");
    drop(runtime);
    for (disk, plan) in world.disks().iter().zip(&plans) {
        let mut bytes = disk.peek(Range::new(Sectors(plan.place.sector), Sectors(8)));
        damage_superblock(random, &mut bytes);
        disk.poke(Sectors(plan.place.sector), &bytes);
        if let Some((sector, _)) = plan.bad_block_log.filter(|_| random.one_in(3)) {
            let mut log = vec![0xff; 4096];
            log[..8].copy_from_slice(&(random.below(6000) << 10 | random.below(512)).to_le_bytes());
            damage(random, &mut log);
            disk.poke(Sectors(sector), &log);
        }
        if let Some((sector, area)) = &plan.bitmap {
            let mut page = area[..512].to_vec();
            if random.one_in(2) {
                damage(random, &mut page);
            }
            disk.poke(Sectors(*sector), &page);
        }
        if random.one_in(8) {
            // A copy in another place: a leftover, or a trap.
            let places: Vec<Place> = Place::all(creation_size(disk)).collect();
            disk.poke(Sectors(random.choose(&places).sector), &bytes);
        }
    }
}

fn creation_size(disk: &runtime::sim::Disk) -> u64 {
    block::Device::geometry(disk).size.0
}

async fn open_and_read(random: &mut Random, world: &Rc<World>) {
    let arena = Arena::new(4 * MAX_BUFFER);
    let (mut candidates, mut overlays) = (Vec::new(), Vec::new());
    for (number, disk) in world.disks().into_iter().enumerate() {
        let dev = disk as Dev;
        match examine(&dev, &arena).await {
            Ok(examined) => {
                candidates.push(Candidate { name: number.to_string(), examined });
                overlays.push(Overlay::device(dev, ROOM));
            }
            Err(error) => assert!(!error.to_string().is_empty(), "an error without words"),
        }
    }
    for set in assemble(&candidates) {
        // A person may insist on each of these.
        let layout = random.one_in(2).then_some(Raid0Layout::Alternate);
        let write = random.one_in(3);
        let options = Options { write, degraded: true, layout, ..Options::default() };
        match Array::open(&set, &candidates, &overlays, options) {
            Ok(array) => read(random, &array, &arena).await,
            Err(error) => assert!(!error.to_string().is_empty(), "an error without words"),
        }
        words(&set);
    }
}

/// What people are told can be told.
fn words(set: &Set) {
    let left = set.left_out.iter().map(|left| left.reason.to_string());
    let hindrances = set.unreadable.iter().chain(&set.unwritable).map(ToString::to_string);
    assert!(left.chain(hindrances).all(|words| !words.is_empty()), "a reason without words");
}

/// Reads the start, the end and places between; asks for the map of holes; writes into the overlay; stops.
async fn read(random: &mut Random, array: &Rc<Array>, arena: &Rc<Arena>) {
    let device = array.device();
    let geometry = device.geometry();
    let block = Sectors(u64::from(geometry.logical_block) / SECTOR);
    let blocks = geometry.size.0 / block.0;
    for turn in 0..READS {
        let count = 1 + random.below(MAX_BUFFER as u64 / SECTOR / block.0);
        let first = match turn {
            0 => 0,
            1 => blocks.saturating_sub(count),
            2 => odd(random) / block.0 / 2, // most likely beyond the end, which is refused
            _ => random.below(blocks.max(1)),
        };
        let start = Sectors(first.saturating_mul(block.0).min(u64::MAX / 2) / block.0 * block.0);
        let buf = arena.wait_take(Sectors(count * block.0).byte_len()).await;
        let inside = start.checked_add(buf.sectors()).is_some_and(|end| end <= geometry.size);
        let request = match random.below(8) {
            0 => Request::write(start, buf.clone()),
            1 => Request::status(Range::new(start, buf.sectors()), buf.clone()),
            2 => Request::flush(),
            _ => Request::read(start, buf.clone()),
        };
        let is_read = request.op == block::Op::Read;
        let done = device.start(request).await;
        assert!(inside || !is_read || done.is_err(), "a read beyond the end has succeeded");
    }
    sleep_ms(1000).await;
    let _ = array.stop().await; // a full overlay cannot be stopped well
    let _ = (array.members(), array.take_happenings());
}
