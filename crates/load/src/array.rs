//! Arrays: made, loaded, checked, rebuilt.

use std::cell::Cell;
use std::rc::Rc;

use block::{Arena, Dev};
use md::{
    Array, Candidate, Condition, Creation, Newcomer, Options, assemble, create, examine, plan_creation,
};
use md_format::{Level, Version};
use runtime::{now, sleep_ms, spawn};

use crate::{Result, clients};

/// Does jobs with an array of this level over all devices.
pub async fn run(
    level: &str,
    chunk_kib: u32,
    ms: u64,
    jobs: &str,
    devs: &[Dev],
    arena: &Rc<Arena>,
) -> Result<()> {
    // Members hold whatever the arrays before have left there.
    let assume_clean = !jobs.split(',').any(|job| job == "check");
    let array = array(level, chunk_kib * 2, devs, arena, assume_clean).await?;
    array.sync_settled().await;
    let device = array.device();
    for job in jobs.split(',') {
        match job {
            "fail" => array.fail_member(1).await.map_err(|failed| failed.to_string())?,
            "check" => {
                array.scrub(md::Scrub::Check);
                let rate = settle(&array, &devs[1]).await;
                let differ = array.scrub_report().ok_or("nothing was checked")?.mismatched.0;
                if differ > 0 {
                    let costs = "sectors do not agree, which costs more than to see it";
                    return Err(format!("{differ} {costs}").into());
                }
                println!("{job} {rate:.0}");
            }
            "rebuild" => {
                lose_and_add(&array, &devs[1]).await?;
                println!("{job} {:.0}", settle(&array, &devs[1]).await);
            }
            job => match job.strip_prefix("beside-") {
                Some(beside) => {
                    let going = Rc::new(Cell::new(true));
                    let rebuilding = spawn(rebuild_while(going.clone(), array.clone(), devs[1].clone()));
                    let found = clients::run(beside, ms, &device, arena).await?;
                    println!("{job} {:.0} {}", found.rate, found.p99_ns);
                    going.set(false);
                    rebuilding.join().await;
                }
                None => {
                    let found = clients::run(job, ms, &device, arena).await?;
                    println!("{job} {:.0} {}", found.rate, found.p99_ns);
                }
            },
        }
    }
    Ok(())
}

async fn array(
    level: &str,
    chunk_sectors: u32,
    devs: &[Dev],
    arena: &Rc<Arena>,
    assume_clean: bool,
) -> Result<Rc<Array>> {
    let private_log = level.ends_with("-log").then_some(true);
    let level = match level.trim_end_matches("-log") {
        "raid0" => Level::Raid0,
        "raid1" => Level::Raid1,
        "raid4" => Level::Raid4,
        "raid5" => Level::Raid5,
        "raid6" => Level::Raid6,
        "raid10" => Level::Raid10,
        other => return Err(format!("{other}: no level that is known here").into()),
    };
    let creation = Creation {
        name: "load".to_owned(),
        host: None,
        level,
        version: Version::V1_2,
        chunk_sectors: (level != Level::Raid1).then_some(chunk_sectors),
        layout: None,
        size: None,
        bitmap: None,
        ppl: false,
        journal: None,
        assume_clean,
        slots: devs.iter().map(|dev| Some(dev.geometry())).collect(),
        write_mostly: Vec::new(),
        spares: Vec::new(),
        uuid: runtime::random_uuid(),
        device_uuids: devs.iter().map(|_| runtime::random_uuid()).collect(),
        now_s: runtime::wall_seconds(),
    };
    let present: Vec<_> = devs.iter().cloned().map(Some).collect();
    create(&plan_creation(&creation)?, &present, arena).await?;
    let mut candidates = Vec::new();
    for (at, dev) in devs.iter().enumerate() {
        candidates.push(Candidate { name: at.to_string(), examined: examine(dev, arena).await? });
    }
    let options = Options { write: true, private_log, ..Options::default() };
    Ok(Array::open(&assemble(&candidates).remove(0), &candidates, devs, options)?)
}

/// Waits until the array has nothing to do; bytes of a member a second.
async fn settle(array: &Array, dev: &Dev) -> f64 {
    let began = now();
    array.sync_settled().await;
    let member = dev.geometry().size - array.members()[0].data_offset;
    member.bytes() as f64 * 1e9 / now().since(began) as f64
}

/// Takes the newest member of slot 1 away and gives its disk back as a new one.
async fn lose_and_add(array: &Array, dev: &Dev) -> Result<()> {
    let members = array.members();
    let at =
        members.iter().rposition(|member| member.slot == Some(1) && member.condition != Condition::Removed);
    let at = at.ok_or("slot 1 is empty")?;
    array.fail_member(at).await.map_err(|failed| failed.to_string())?;
    array.remove_member(at).await.map_err(|failed| failed.to_string())?;
    let newcomer = Newcomer { name: "1".to_owned(), dev: dev.clone(), examined: None };
    array.add_member(newcomer).await.map_err(|failed| failed.to_string())?;
    Ok(())
}

async fn rebuild_while(going: Rc<Cell<bool>>, array: Rc<Array>, dev: Dev) {
    while going.get() {
        lose_and_add(&array, &dev).await.expect("it was a member a moment ago");
        while going.get() && !array.is_sync_settled() {
            sleep_ms(1).await;
        }
    }
}
