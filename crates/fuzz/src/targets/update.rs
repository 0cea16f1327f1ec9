//! Hostile disks whose metadata somebody wants changed: an update is refused in words, or it leaves superblocks that are
//! accepted, on members that still make one array. What it writes goes to overlays; not one write reaches a disk.

use std::rc::Rc;

use block::{Arena, Dev, MAX_BUFFER, Sectors};
use md::{Candidate, Change, Flag, Update, assemble, examine, plan_update, update};
use md_format::geometry::raid0::Raid0Layout;
use runtime::sim::{Random, World};
use runtime::{Overlay, Runtime};

use super::assembly::{make_array, put_kept_superblocks};
use crate::require;

/// Sectors that an overlay holds: what an update writes, and no more.
const ROOM: Sectors = Sectors(256);

/// Builds, damages, and updates.
pub fn play(mut random: Random) -> Result<(), String> {
    let world = World::new(random.word());
    match random.below(2) {
        0 => put_kept_superblocks(&mut random, &world),
        _ => make_array(&mut random, &world),
    }
    let writes = || world.disks().iter().map(|disk| disk.writes()).sum::<u64>();
    let before = writes();
    let runtime = Runtime::new(world.clone());
    let done = runtime.block_on(change(&mut random, &world));
    drop(runtime);
    done?;
    require(writes() == before, || format!("{} writes have reached a disk", writes() - before))
}

async fn change(random: &mut Random, world: &Rc<World>) -> Result<(), String> {
    let arena = Arena::new(4 * MAX_BUFFER);
    let overlays: Vec<Dev> =
        world.disks().into_iter().map(|disk| Overlay::device(disk as Dev, ROOM)).collect();
    let (mut candidates, mut devices) = (Vec::new(), Vec::new());
    for device in overlays {
        if let Ok(examined) = examine(&device, &arena).await {
            candidates.push(Candidate { name: candidates.len().to_string(), examined });
            devices.push(device);
        }
    }
    for set in assemble(&candidates) {
        let wish = Update {
            changes: (0..1 + random.below(3)).map(|_| any(random, candidates.len())).collect(),
            degraded: true,
            device_uuids: candidates.iter().map(|_| [random.below(256) as u8; 16]).collect(),
        };
        let plans = match plan_update(&set, &candidates, &wish) {
            Ok(plans) => plans,
            Err(error) => {
                require(!error.to_string().is_empty(), || "an error without words".into())?;
                continue;
            }
        };
        update(&plans, &devices, &arena)
            .await
            .map_err(|(_, failed)| format!("an overlay has failed: {failed}"))?;
        let mut uuids = Vec::new();
        for plan in &plans {
            let what = || format!("member {} after {:?}", plan.candidate, wish.changes);
            let examined = examine(&devices[plan.candidate], &arena).await;
            let examined = examined.map_err(|error| format!("{error}: {}", what()))?;
            require(examined.flaw.is_none(), || format!("{:?}: {}", examined.flaw, what()))?;
            uuids.push(examined.summary.array_uuid);
        }
        uuids.dedup();
        require(uuids.len() <= 1, || {
            format!("members of one array are of several after {:?}", wish.changes)
        })?;
    }
    Ok(())
}

fn any(random: &mut Random, candidates: usize) -> Change {
    let candidate = random.below(candidates.max(1) as u64) as usize;
    match random.below(16) {
        0 => Change::Name { host: Some("h".to_owned()), name: "n".to_owned() },
        1 => Change::HomeHost { host: Some("h".to_owned()), digest: [7; 8] },
        2 => Change::Uuid([9; 16]),
        3 => Change::Resync,
        4 => Change::BadBlockLog,
        5 => Change::NoBadBlockLog { forget: random.one_in(2) },
        6 => Change::NoBitmap,
        7 => {
            if random.one_in(2) {
                Change::Ppl
            } else {
                Change::NoPpl
            }
        }
        8 => Change::Raid0Layout(*random.choose(&[None, Some(Raid0Layout::Original)])),
        9 => Change::DeviceSize,
        10 => Change::PreferredMinor(random.below(100) as u32),
        11 => Change::Summaries,
        12 => Change::ByteOrder,
        13 => Change::ToV1_0,
        14 => Change::Flag { candidate, flag: Flag::WriteMostly(random.one_in(2)) },
        _ => Change::Flag { candidate, flag: Flag::Failfast(random.one_in(2)) },
    }
}
