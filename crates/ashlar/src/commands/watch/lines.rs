//! A look as lines, where there is no terminal to draw on. Pure.

use control::{ArrayState, ArrayStatus, progress};

use super::Watched;
use super::history::{History, Rates};
use crate::text::{date, size};

/// A line for each array, or for what does not say how it stands.
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
