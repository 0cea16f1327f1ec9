//! A cache before an array: what the demo shows of bcache.

use anyhow::{Result, ensure};

use super::content::Content;
use super::stage::Stage;
use super::{proved, say};
use crate::text::size;

/// Size of each half of the mirror that is cached.
const SLOW_BYTES: u64 = 16 << 20;

/// Size of the cache: a little more than the smallest that a kernel takes, 513 buckets.
const FAST_BYTES: u64 = 40 << 20;

/// What is written while the process is killed.
const INTERRUPTED: std::ops::Range<u64> = 4 << 20..8 << 20;

/// Puts a cache before a mirror, kills the process while a client writes, and takes the cache away again.
pub fn cached(stage: &mut Stage) -> Result<()> {
    say(
        "\nThree more disks: i and j are slow and become a mirror, s is fast and becomes a cache for it, on the forms of\n\
         Linux bcache. Writes count as done when s has them, and go to the mirror later.\n",
    )?;
    for (name, bytes) in [("i", SLOW_BYTES), ("j", SLOW_BYTES), ("s", FAST_BYTES)] {
        stage.make_disk(name, bytes)?;
    }
    stage.ashlar("create slow --level mirror --assume-clean i j")?;
    stage.start(&["i", "j"], &[])?;
    stage.ashlar("cache create --cache s --bucket 64K --backing slow@demo --label home --mode writeback")?;
    stage.stop()?;
    stage.start(&["s", "j", "i"], &[])?;
    let status = stage.status()?;
    let bytes = status.cached.first().map_or(0, |volume| volume.bytes);
    let mut content = Content::new(bytes, 77);
    content.fill(0..bytes);
    stage.client("home")?.write(&content, 0..bytes)?;
    stage.ashlar_shows("status demo", "cached by")?;
    stage.client("home")?.verify(&content)?;
    proved(&format!("home: {} are what was written, some of it only on s yet", size(bytes)))?;
    crash(stage, &mut content)?;
    take_away(stage, &content)
}

fn crash(stage: &mut Stage, content: &mut Content) -> Result<()> {
    say("\nAgain the process is killed while a client writes.\n")?;
    let before = content.clone();
    content.fill(INTERRUPTED);
    stage.kill_while_writing("home", content, INTERRUPTED)?;
    stage.start(&["s", "i", "j"], &[])?;
    let found = stage.client("home")?.read()?;
    let (old, new) = found.sectors_like(&before, content, INTERRUPTED)?;
    content.take(&found, INTERRUPTED);
    ensure!(found == *content, "a sector outside of what was being written has changed");
    proved(&format!("every sector that was being written holds old data ({old}) or new data ({new})"))
}

fn take_away(stage: &mut Stage, content: &Content) -> Result<()> {
    say("\nThe cache is taken away: what only s has goes to the mirror first, while clients go on.\n")?;
    stage.ashlar("cache detach demo")?;
    stage.client("home")?.verify(content)?;
    stage.stop()?;
    ensure!(stage.cat("home", &["j"])? == *content, "the mirror does not hold what the cache had");
    proved("one disk of the mirror alone gives everything")
}
