//! Loads an array within this process, or a bare member, and prints a rate for each job: what the engine costs by itself,
//! without a front end. For measuring: `cargo xtask bench --raid` runs it beside its peers.
//!
//! `load LEVEL CHUNK_KIB MILLISECONDS JOB,JOB,... MEMBER...` overwrites the members. LEVEL is `raw` for the first member
//! alone, `raid6-log` for a raid6 with a private log. A job is `WHAT-KIB-DEPTH` with WHAT one of `randread randwrite read write stripes` (whole stripes, written): it
//! prints requests a second, and the nanoseconds that 99 of 100 requests stay below. `beside-WHAT-KIB-DEPTH` does that while
//! the member in slot 1 is rebuilt, again and again. `check` and `rebuild` print bytes of a member a second, with nothing
//! else to do; what is checked was made to agree by a first resync, which is not measured. `fail` fails the member in slot 1 for the jobs that follow.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use block::{Arena, Dev, MAX_BUFFER, Request, Sectors};
use md::{
    Array, Candidate, Condition, Creation, Newcomer, Options, assemble, create, examine, plan_creation,
};
use md_format::{Level, Version};
use runtime::os::{Choice, OpenMode, Os};
use runtime::{Runtime, now, sleep_ms, spawn};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const MEMORY: usize = 64 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [level, chunk, ms, jobs, members @ ..] = &arguments[..] else {
        return Err("usage: load LEVEL CHUNK_KIB MILLISECONDS JOB,... MEMBER...".into());
    };
    let os = Os::new(Choice::Auto)?;
    let arena = Arena::new(MEMORY);
    os.register(&arena);
    let runtime = Runtime::new(os.clone());
    let opened: Vec<_> = members
        .iter()
        .map(|path| os.open(Path::new(path), OpenMode::Write))
        .collect::<std::result::Result<_, _>>()?;
    let devs: Vec<Dev> = opened.iter().map(|opened| opened.device.clone() as Dev).collect();
    runtime.block_on(async {
        let (array, device) = match level.as_str() {
            "raw" => (None, devs[0].clone()),
            level => {
                // Members hold whatever the arrays before have left there.
                let assume_clean = !jobs.split(',').any(|job| job == "check");
                let array = array(level, chunk.parse::<u32>()? * 2, &devs, &arena, assume_clean).await?;
                array.sync_settled().await;
                (Some(array.clone()), array.device())
            }
        };
        for job in jobs.split(',') {
            let ms = ms.parse()?;
            match (job, &array) {
                ("fail", Some(array)) => array.fail_member(1).await.map_err(|failed| failed.to_string())?,
                ("check", Some(array)) => {
                    array.scrub(md::Scrub::Check);
                    let rate = settle(array, &devs[1]).await;
                    let differ = array.scrub_report().ok_or("nothing was checked")?.mismatched.0;
                    if differ > 0 {
                        return Err(format!(
                            "{differ} sectors do not agree, which costs more than to see it"
                        )
                        .into());
                    }
                    println!("{job} {rate:.0}");
                }
                ("rebuild", Some(array)) => {
                    lose_and_add(array, &devs[1]).await?;
                    println!("{job} {:.0}", settle(array, &devs[1]).await);
                }
                (job, Some(array)) if job.starts_with("beside-") => {
                    let going = Rc::new(Cell::new(true));
                    let rebuilding = spawn(rebuild_while(going.clone(), array.clone(), devs[1].clone()));
                    let found = run(job.trim_start_matches("beside-"), ms, &device, &arena).await?;
                    println!("{job} {:.0} {}", found.rate, found.p99_ns);
                    going.set(false);
                    rebuilding.join().await;
                }
                _ => {
                    let found = run(job, ms, &device, &arena).await?;
                    println!("{job} {:.0} {}", found.rate, found.p99_ns);
                }
            }
        }
        Ok(())
    })
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

/// What a load came to.
struct Found {
    /// Requests a second.
    rate: f64,
    /// 99 of 100 requests took no longer.
    p99_ns: u64,
}

async fn run(job: &str, ms: u64, device: &Dev, arena: &Rc<Arena>) -> Result<Found> {
    let mut words = job.split('-');
    let (what, kib, depth) = (words.next(), words.next(), words.next());
    let (Some(what), Some(kib), Some(depth)) = (what, kib, depth) else {
        return Err(format!("{job}: a job is WHAT-KIB-DEPTH").into());
    };
    let (kib, depth): (u64, usize) = (kib.parse()?, depth.parse()?);
    let geometry = device.geometry();
    let count = match what {
        "stripes" => Sectors(u64::from(geometry.optimal_io) / 512),
        _ => Sectors(kib * 2),
    };
    // A stripe that no buffer can hold goes in several requests that are under way together.
    let piece = Sectors::from_bytes(MAX_BUFFER as u64).min(count);
    let places = geometry.size.0 / count.0;
    let (next, took) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::with_capacity(1 << 20))));
    let seed = Rc::new(RefCell::new(0x9e37_79b9_7f4a_7c15u64));
    let (began, until) = (now(), now().after_ms(ms));
    let is_random = what.starts_with("rand");
    let is_write = !what.ends_with("read");
    let clients: Vec<_> = (0..depth)
        .map(|_| {
            let (device, arena, next, took, seed) =
                (device.clone(), arena.clone(), next.clone(), took.clone(), seed.clone());
            spawn(async move {
                let buf = arena.wait_take(piece.byte_len()).await;
                let mut pieces = Vec::new();
                while now() < until {
                    let started = now();
                    let place = match is_random {
                        true => draw(&mut seed.borrow_mut()) % places,
                        false => next.replace(next.get() + 1) % places,
                    };
                    let (mut at, end) = (Sectors(place * count.0), Sectors((place + 1) * count.0));
                    while at < end {
                        let buf = buf.slice(0, piece.min(end - at).byte_len());
                        at += buf.sectors();
                        let start = at - buf.sectors();
                        pieces.push(device.start(match is_write {
                            true => Request::write(start, buf),
                            false => Request::read(start, buf),
                        }));
                    }
                    for ticket in pieces.drain(..) {
                        if let Err(failed) = ticket.await {
                            panic!("{failed}");
                        }
                    }
                    took.borrow_mut().push(now().since(started));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().await;
    }
    let elapsed = now().since(began) as f64;
    let mut took = took.take();
    let most = took.len().saturating_sub(1);
    let (_, p99_ns, _) = took.select_nth_unstable(most * 99 / 100);
    Ok(Found { p99_ns: *p99_ns, rate: (most + 1) as f64 * 1e9 / elapsed })
}

fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
