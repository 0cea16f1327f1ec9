//! `ashlar demo`: the whole program at work, in plain sentences, on files in a temporary folder.
//!
//! Every step is a command that a person could type: the demo starts the same binary, shows the command line, and
//! checks what comes of it with a copy of the content in its own memory.

mod cached;
mod client;
mod content;
mod defect;
mod drawing;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use block::Sectors;
use control::{StackStatus, SyncStatus};

use crate::cli::{Demo, Driver};
use crate::text::{print, size};
use content::Content;
use stage::Stage;

/// Size of each half of the mirror.
const MIRROR_BYTES: u64 = 32 << 20;

/// Size of each half of the stripe.
const STRIPE_BYTES: u64 = 16 << 20;

/// Size of each third of the array with parity.
const PARITY_BYTES: u64 = 16 << 20;

/// All disks.
const DISKS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// A sector of a disk, well within its data, that cannot be read any more.
const LOST: Sectors = Sectors(40_000);

/// What the client writes while the process is killed.
const INTERRUPTED: std::ops::Range<u64> = 8 << 20..24 << 20;

/// What it writes while a member is missing.
const WRITTEN_DEGRADED: std::ops::Range<u64> = 4 << 20..6 << 20;

/// What it writes while one is rebuilt.
const WRITTEN_MEANWHILE: std::ops::Range<u64> = 5 << 20..9 << 20;

/// The disk that comes in place of one that died.
const NEW_DISK: &str = "h";

/// How long a resync of so little may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the command.
pub fn run(args: &Demo, driver: Driver) -> Result<()> {
    let start = Instant::now();
    let mut stage = Stage::new(args.keep.as_deref(), driver)?;
    let played = play(&mut stage);
    if let Err(error) = played {
        return Err(error.context(format!("the demo went wrong; what ran said:\n{}", stage.log())));
    }
    let contents = played?;
    say(&format!("\nAll of this took {:.1} seconds.", start.elapsed().as_secs_f64()))?;
    match &args.keep {
        None => say("Nothing is left behind; --keep DIR would leave the disks."),
        Some(dir) => keep(dir, &contents),
    }
}

fn play(stage: &mut Stage) -> Result<Vec<(&'static str, Content)>> {
    make(stage)?;
    let [mut mirror, stripe, mut parity] = serve(stage)?;
    crash(stage, &mut mirror)?;
    lose_a_sector(stage, &mirror)?;
    lose_disks(stage, &mut mirror, &mut parity)?;
    rebuild(stage, &mut parity)?;
    cached::cached(stage)?;
    let contents = vec![("mirror", mirror), ("stripe", stripe), ("parity", parity)];
    take_home(stage, &contents)?;
    Ok(contents)
}

fn make(stage: &mut Stage) -> Result<()> {
    say(
        "Seven disks, here only files. Two become a mirror (each holds everything), two a stripe (each holds half), three\n\
         keep parity (any one of them can be lost).\n",
    )?;
    let sizes = [MIRROR_BYTES, MIRROR_BYTES, STRIPE_BYTES, STRIPE_BYTES].into_iter();
    for (name, bytes) in DISKS.into_iter().zip(sizes.chain([PARITY_BYTES; 3])) {
        stage.make_disk(name, bytes)?;
    }
    stage.ashlar("create mirror --level mirror a b")?;
    stage.ashlar("create stripe --level stripe --chunk 64K c d")?;
    stage.ashlar("create parity --level raid5 --chunk 64K e f g")?;
    Ok(())
}

fn serve(stage: &mut Stage) -> Result<[Content; 3]> {
    say(
        "\nOne process opens them and serves them over NBD, which virtual machines and Linux itself can use.\n",
    )?;
    stage.start(&DISKS, &[])?;
    let status = settle(stage)?;
    print(&drawing::draw(&status))?;
    let mut contents = Vec::new();
    for (seed, array) in status.arrays.iter().enumerate() {
        let mut content = Content::new(array.bytes, seed as u64 + 1);
        content.fill(0..array.bytes);
        stage.client(&array.name)?.write(&content, 0..array.bytes)?;
        contents.push(content);
    }
    say("A client fills them with data, flushes, and reads everything back.")?;
    for (array, content) in status.arrays.iter().zip(&contents) {
        stage.client(&array.name)?.verify(content)?;
        proved(&format!("{}: {} are what was written", array.name, size(array.bytes)))?;
    }
    contents.try_into().map_err(|found: Vec<_>| anyhow!("three arrays were made, {} are served", found.len()))
}

fn crash(stage: &mut Stage, mirror: &mut Content) -> Result<()> {
    say("\nNow the worst moment: while a client is writing, the process is killed (SIGKILL).\n")?;
    let before = mirror.clone();
    mirror.fill(INTERRUPTED);
    stage.kill_while_writing("mirror", mirror, INTERRUPTED)?;
    say(
        "The two copies of the mirror may differ now where the client was writing. The superblocks say so, because they\n\
         were marked dirty before the first write. At the next start the copies are made equal again.\n",
    )?;
    stage.start(&["d", "g", "c", "f", "b", "e", "a"], &[])?;
    settle(stage)?;
    let found = stage.client("mirror")?.read()?;
    let (old, new) = found.sectors_like(&before, mirror, INTERRUPTED)?;
    proved(&format!(
        "every sector that was being written holds old data ({old}) or new data ({new}), never a third"
    ))?;
    mirror.take(&found, INTERRUPTED);
    ensure!(found == *mirror, "a sector outside of what was being written has changed");
    proved("everything else is untouched")?;
    stage.stop()?;
    let (a, b) = (stage.cat("mirror", &["a"])?, stage.cat("mirror", &["b"])?);
    ensure!(a == *mirror && b == *mirror, "the copies of the mirror differ after the resync");
    proved("each disk alone gives the same content")
}

fn lose_a_sector(stage: &mut Stage, mirror: &Content) -> Result<()> {
    say(
        "\nA sector of disk a goes bad: what it held is gone, and the disk answers reads of it with an error. (A file\n\
         cannot do that, so the disk is now one behind NBD, which this demo serves.)\n",
    )?;
    stage.damage("a", LOST)?;
    ensure!(stage.cat("mirror", &["a"])? != *mirror, "the sector held nothing that could be missed");
    let defect = stage.serve_damaged("a", LOST)?;
    stage.start(&["a@nbd", "b", "c", "d", "e", "f", "g"], &[])?;
    stage.client("mirror")?.verify(mirror)?;
    proved("a client reads everything: the other copy has it")?;
    let status = stage.status()?;
    let members = status.arrays.iter().flat_map(|array| &array.members);
    let repaired: u32 = members.map(|member| member.corrected_reads).sum();
    ensure!(repaired > 0, "no read error was repaired");
    stage.ashlar_shows("status demo", "repaired")?;
    stage.stop()?;
    drop(defect);
    ensure!(stage.cat("mirror", &["a"])? == *mirror, "the sector was not written back");
    proved("what was lost is written back: disk a alone gives the same content again")
}

fn lose_disks(stage: &mut Stage, mirror: &mut Content, parity: &mut Content) -> Result<()> {
    say(
        "\nTwo disks die. The mirror goes on with its other one, and what disk f held is computed from e and g. It is\n\
         recorded at once whom not to believe any more.\n",
    )?;
    stage.start(&DISKS, &[])?;
    stage.ashlar("fail demo b")?;
    stage.ashlar("fail demo f")?;
    for (name, content) in [("mirror", &mut *mirror), ("parity", &mut *parity)] {
        content.fill(WRITTEN_DEGRADED);
        stage.client(name)?.write(content, WRITTEN_DEGRADED)?;
    }
    print(&drawing::draw(&stage.status()?))?;
    stage.client("mirror")?.verify(mirror)?;
    stage.client("parity")?.verify(parity)?;
    proved("clients noticed nothing: they wrote on, and read what they wrote")?;
    stage.stop()
}

fn rebuild(stage: &mut Stage, parity: &mut Content) -> Result<()> {
    say(
        "\nA new disk, h, comes in place of f. It is given its share by itself, from what e and g hold, while the client goes\n\
         on writing. (Not as fast as it could, so that there is something to see.)\n",
    )?;
    stage.make_disk(NEW_DISK, PARITY_BYTES)?;
    stage.start(&["a", "c", "d", "e", "g"], &["--degraded"])?;
    stage.ashlar("sync demo --array parity --speed-min 8M --speed-max 8M")?;
    stage.ashlar("add demo --array parity h")?;
    parity.fill(WRITTEN_MEANWHILE);
    stage.client("parity")?.write(parity, WRITTEN_MEANWHILE)?;
    let status = settle(stage)?;
    print(&drawing::draw(&StackStatus {
        arrays: status.arrays.into_iter().filter(|array| array.name == "parity").collect(),
        ..status
    }))?;
    stage.client("parity")?.verify(parity)?;
    stage.ashlar_shows("scrub demo --array parity", "check")?;
    stage.stop()?;
    ensure!(stage.cat("parity", &["g", "h"])? == *parity, "the new disk does not hold what it should");
    proved("h is as good as f was: with g alone beside it, it gives everything")
}

fn take_home(stage: &mut Stage, contents: &[(&'static str, Content)]) -> Result<()> {
    say(
        "\nWithout its second disk the mirror does not start again unless told to: that is for a person to decide.\n",
    )?;
    let refusal = stage.refused("run a b --nbd ./demo.sock")?;
    print(&format!("{refusal}\n"))?;
    say("Reading is always possible, with the disks in any order, and changes not one byte on them.\n")?;
    let before = stage.hashes(&DISKS)?;
    for (name, content) in contents {
        let found = stage.cat(name, &["d", "g", "b", "h", "e", "a", "f", "c"])?;
        ensure!(found == *content, "{name}: the content is wrong");
    }
    ensure!(stage.hashes(&DISKS)? == before, "reading has changed a disk");
    contents.iter().try_for_each(|(name, content)| proved(&format!("{name}: sha256 {}", content.sha256())))
}

/// Waits until nothing is being synced, and shows how it goes.
fn settle(stage: &Stage) -> Result<StackStatus> {
    let start = Instant::now();
    let mut shown = String::new();
    loop {
        let status = stage.status()?;
        let syncing = status.arrays.iter().find(|array| array.sync != SyncStatus::Idle);
        let Some(array) = syncing else { return Ok(status) };
        if let Some((action, progress)) =
            array.sync.progress().filter(|(_, progress)| progress.done_bytes > 0)
        {
            let part = progress.done_bytes as f64 / progress.total_bytes.max(1) as f64;
            let speed = size(progress.bytes_per_second >> 20 << 20);
            let bar = crate::text::bar(part, 30);
            if bar != shown {
                print(&format!("  {action} of {} {bar} {speed}/s\n", array.name))?;
                shown = bar;
            }
        }
        if start.elapsed() > PATIENCE {
            bail!("{} is still not in sync", array.name);
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Says what was left behind, there and here.
fn keep(dir: &Path, contents: &[(&'static str, Content)]) -> Result<()> {
    let lines: String = contents
        .iter()
        .map(|(name, content)| format!("{}  {name}  {} bytes\n", content.sha256(), content.len()))
        .collect();
    let text = format!(
        "Left behind by `ashlar demo`. The disks a and b make the raid1 `mirror`, c and d the raid0 `stripe`,\n\
         e, h and g the raid5 `parity`. b and f, whose place h has taken, failed during the demo and are out of date: what\n\
         the arrays hold is on the others. i and j make the raid1 `slow`, which holds the volume `home` of bcache; it was\n\
         detached from its cache s.\n\
         SHA-256, name and size of what the arrays hold:\n\n{lines}\n\
         To read it:            ashlar cat a b c d e f g h --volume mirror | sha256sum\n\
         With a kernel instead: losetup -f --show FILE for each, then mdadm --assemble --scan --run\n"
    );
    let path: PathBuf = dir.join("CONTENT.txt");
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    say(&format!("The disks are left in {}, and {} says what they hold.", dir.display(), path.display()))
}

fn say(text: &str) -> Result<()> {
    Ok(print(&format!("{text}\n"))?)
}

fn proved(text: &str) -> Result<()> {
    Ok(print(&format!("  \u{2713} {text}\n"))?)
}
