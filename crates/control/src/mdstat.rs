//! A stack as `/proc/mdstat` would show it, for the many programs that read that. Follows Linux 6.1's `md_seq_show` and
//! the `status` of each level. Pure.
//!
//! An array of this program has no number: `NAME` is shown as `md_NAME`, as the kernel does with arrays that have names
//! only, and a name that is a number as `mdN`. Members go by the last part of their names. What could break a line or
//! a word is written as `\ooo`, as the kernel does with paths.

use std::fmt::Write;

use block::SECTOR;

use crate::document::{ArrayState, ArrayStatus, MemberState, MemberStatus, StackStatus, SyncStatus};
use crate::progress::{Progress, progress};

/// Levels that can be served, as the kernel's modules bring them.
const PERSONALITIES: &str = "[linear] [raid0] [raid1] [raid6] [raid5] [raid4] [raid10]";

/// Cells of a progress bar.
const CELLS: u64 = 20;

/// All of it: what any number of stacks serve.
pub fn mdstat(stacks: &[StackStatus]) -> String {
    let mut text = format!("Personalities : {PERSONALITIES} \n");
    for stack in stacks {
        stack.arrays.iter().for_each(|array| show(&mut text, array, stack.read_only));
    }
    text + "unused devices: <none>\n"
}

fn show(text: &mut String, array: &ArrayStatus, read_only: bool) {
    let state = if array.state == ArrayState::Broken { "broken" } else { "active" };
    let read_only = if read_only { " (read-only)" } else { "" };
    let _ = write!(text, "{} : {state}{read_only} {}", device_name(&array.name), array.level); // a String takes everything
    let mut members: Vec<&MemberStatus> =
        array.members.iter().filter(|member| member.state != MemberState::Removed).collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.number)); // who came last comes first
    members.iter().for_each(|member| show_member(text, member));
    let _ = write!(text, "\n      {} blocks", array.bytes / 1024);
    if array.metadata != "0.90" {
        let _ = write!(text, " super {}", array.metadata);
    }
    show_level(text, array);
    text.push_str("\n      ");
    match (progress(&array.sync), &array.sync) {
        (Some(progress), _) => {
            show_progress(text, &progress);
            text.push_str("\n      ");
        }
        (None, SyncStatus::Pending { of }) => {
            // The kernel has no other words for what waits.
            let how = if of.is_empty() || of == "resync" { "PENDING" } else { "DELAYED" };
            let _ = write!(text, "\tresync={how}\n      ");
        }
        (None, _) => {}
    }
    if let Some(bitmap) = &array.bitmap {
        let (used, all) = (bitmap.marked_pages, bitmap.pages);
        let chunk = match bitmap.chunk_bytes >> 10 {
            0 => format!("{}B", bitmap.chunk_bytes),
            kib => format!("{kib}KB"),
        };
        let _ = writeln!(text, "bitmap: {used}/{all} pages [{}KB], {chunk} chunk", used * 4);
    }
    text.push('\n');
}

fn device_name(array: &str) -> String {
    let is_number = !array.is_empty() && array.bytes().all(|byte| byte.is_ascii_digit());
    format!("md{}{}", if is_number { "" } else { "_" }, word(array))
}

fn show_member(text: &mut String, member: &MemberStatus) {
    let name = member.name.rsplit('/').next().unwrap_or_default();
    let _ = write!(text, " {}[{}]", word(name), member.number);
    if member.write_mostly {
        text.push_str("(W)");
    }
    match member.state {
        MemberState::Journal => text.push_str("(J)"),
        MemberState::Faulty => text.push_str("(F)"),
        MemberState::Replacing => text.push_str("(R)"),
        _ if member.slot.is_none() => text.push_str("(S)"),
        _ => {}
    }
}

/// One word, whatever the name has in it.
fn word(name: &str) -> String {
    let mut word = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            ' ' | '\\' | '[' | ']' | '(' | ')' => drop(write!(word, "\\{:03o}", u32::from(letter))),
            letter if letter.is_control() || letter.is_whitespace() => {
                let mut bytes = [0; 4];
                for byte in letter.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(word, "\\{byte:03o}");
                }
            }
            letter => word.push(letter),
        }
    }
    word
}

/// What each level says of itself.
fn show_level(text: &mut String, array: &ArrayStatus) {
    let (chunk_kib, layout) = (array.chunk_bytes / 1024, array.layout);
    let own = match array.level.as_str() {
        "linear" => format!(" {chunk_kib}k rounding"),
        "raid0" => format!(" {chunk_kib}k chunks"),
        "raid1" => String::new(),
        "raid10" => copies(layout, array.slots, chunk_kib),
        level => {
            let number = level.trim_start_matches("raid");
            format!(" level {number}, {chunk_kib}k chunk, algorithm {layout}")
        }
    };
    text.push_str(&own);
    if matches!(array.level.as_str(), "linear" | "raid0") {
        return; // nothing to be degraded
    }
    let _ = write!(text, " [{}/{}] [", array.slots, array.in_sync);
    for slot in 0..array.slots {
        let is_up = |member: &&MemberStatus| {
            member.slot.map(u32::from) == Some(slot) && member.state == MemberState::InSync
        };
        text.push(if array.members.iter().any(|member| is_up(&member)) { 'U' } else { '_' });
    }
    text.push(']');
}

fn copies(layout: u32, slots: u32, chunk_kib: u64) -> String {
    let (near, far) = (layout & 0xff, layout >> 8 & 0xff);
    let mut text = String::new();
    if near < slots {
        text += &format!(" {chunk_kib}K chunks");
    }
    if near > 1 {
        text += &format!(" {near} near-copies");
    }
    if far > 1 {
        let kind = if layout & 1 << 16 != 0 { "offset" } else { "far" };
        text += &format!(" {far} {kind}-copies");
        let set = match layout >> 17 {
            0 => slots,
            1 => slots / far,
            _ => near * far,
        };
        if set != slots {
            text += &format!(" {set} devices per set");
        }
    }
    text
}

fn show_progress(text: &mut String, progress: &Progress) {
    let sectors = |bytes: u64| bytes / SECTOR;
    let (done, total) =
        (sectors(progress.done_bytes).min(sectors(progress.total_bytes)), sectors(progress.total_bytes));
    let per_mille = (done >> 10) * 1000 / ((total >> 10) + 1);
    let filled = per_mille / (1000 / CELLS);
    let bar = format!("{}>{}", "=".repeat(filled as usize), ".".repeat((CELLS - filled) as usize));
    // As the kernel reckons, with what one second brings.
    let speed = sectors(progress.bytes_per_second);
    let seconds = (total - done) / (speed / 32 + 1) / 32;
    let _ = write!(
        text,
        "[{bar}]  {} ={:3}.{}% ({}/{}) finish={}.{}min speed={}K/sec",
        progress.action,
        per_mille / 10,
        per_mille % 10,
        done / 2,
        total / 2,
        seconds / 60,
        seconds % 60 / 6,
        speed / 2
    );
}

#[cfg(test)]
mod tests;
