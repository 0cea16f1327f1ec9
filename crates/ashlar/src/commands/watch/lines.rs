//! A look as lines, where there is no terminal to draw on. Pure.

use control::{ArrayState, ArrayStatus, CachedStatus, progress};

use super::Watched;
use super::history::{History, Rates};
use crate::text::{date, size};

/// A line for each array and each cached volume, or for what does not say how it stands.
pub fn lines(watched: &Watched, now_s: u64) -> String {
    let now = date(now_s);
    if watched.stacks.is_empty() {
        return format!("{now} nothing runs (no control socket in {})\n", watched.dir().display());
    }
    let mut text = String::new();
    for stack in &watched.stacks {
        match &stack.status {
            Err(why) => text += &format!("{now} {}: {why}\n", stack.name),
            Ok(status) => {
                for array in &status.arrays {
                    let history = watched.histories.get(&(stack.name.clone(), array.name.clone()));
                    text += &format!("{now} {}\n", line(array, history));
                }
                for volume in &status.cached {
                    let (standing, counts) = (cached_standing(volume), cached_counts(volume));
                    text += &format!("{now} {}: {standing}, {counts}\n", volume.name);
                }
            }
        }
    }
    text
}

fn line(array: &ArrayStatus, history: Option<&History>) -> String {
    let mut text = format!("{}: {}", array.name, standing(array));
    if let Some(progress) = progress(&array.sync) {
        let speed = size(progress.bytes_per_second);
        text += &format!(", {} {:.1}% at {speed}/s", progress.action, progress.part() * 100.0);
    }
    let Rates { read, write } = history.map(|history| history.array).unwrap_or_default();
    text + &format!(", reads {}/s, writes {}/s", size(read.bytes), size(write.bytes))
}

/// Mode, state, and where it lies.
pub fn cached_standing(volume: &CachedStatus) -> String {
    let cache = volume.cache.as_deref().map(|cache| format!(", cached by {cache}")).unwrap_or_default();
    format!("{} {}{cache}", volume.mode, volume.state)
}

/// What only the cache has, and how often that has what is asked for.
pub fn cached_counts(volume: &CachedStatus) -> String {
    let ratio = volume.counts.five_minute.cache_hit_ratio;
    format!("{} dirty, {ratio}% hits in five minutes", size(volume.dirty_bytes))
}

/// Level, state, and how many members it has.
pub fn standing(array: &ArrayStatus) -> String {
    let state = match array.state {
        ArrayState::Clean => "clean",
        ArrayState::Dirty => "dirty",
        ArrayState::Broken => "BROKEN",
    };
    let degraded = if array.in_sync < array.slots { ", DEGRADED" } else { "" };
    format!("{} {state}, {}/{} members in sync{degraded}", array.level, array.in_sync, array.slots)
}
