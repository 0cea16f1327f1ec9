//! `ashlar status`: how what runs stands.

mod cache;

use anyhow::{Context, Result, bail};
use control::{
    ArmourPiece, ArrayState, ArrayStatus, Client, ExportStatus, JournalMode, MOST_DOUBTFUL, MemberState,
    MemberStatus, Place, PrivateLog, ScrubStatus, StackStatus, SyncStatus, mdstat, running,
};

use crate::cli::Status;
use crate::dirs;
use crate::text::{bar, date, print, print_json, size};

/// How wide a progress bar is.
const BAR_WIDTH: usize = 30;

/// Runs the command.
pub fn run(args: &Status) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let places = match &args.name {
        Some(name) => vec![place(&dir, name)?],
        None => running(&dir)?,
    };
    let mut stacks = Vec::with_capacity(places.len());
    for place in &places {
        let status = Client::new(&place.socket()).status();
        stacks.push(status.with_context(|| place.name().to_owned())?);
    }
    if args.mdstat {
        return Ok(print(&mdstat(&stacks))?);
    }
    match (args.json.json, &stacks[..]) {
        (true, [one]) if args.name.is_some() => print_json(one),
        (true, all) => print_json(&all),
        (false, []) => Ok(print(&format!("nothing runs (no control socket in {})\n", dir.display()))?),
        (false, all) => Ok(print(&all.iter().map(render).collect::<Vec<_>>().join("\n"))?),
    }
}

/// The place of something that runs.
pub fn place(dir: &std::path::Path, name: &str) -> Result<Place> {
    let place = Place::new(dir, name)?;
    if place.is_taken() {
        return Ok(place);
    }
    let names: Vec<String> = running(dir)?.iter().map(|place| place.name().to_owned()).collect();
    match names.is_empty() {
        true => bail!("{name} does not run; nothing does (no control socket in {})", dir.display()),
        false => bail!("{name} does not run; what runs: {}", names.join(", ")),
    }
}

fn render(stack: &StackStatus) -> String {
    let read_only = if stack.read_only { ", read-only" } else { "" };
    let mut text =
        format!("{}: process {}, since {}{read_only}\n", stack.name, stack.pid, date(stack.started_s));
    for array in &stack.arrays {
        text += &render_array(array);
    }
    stack.caches.iter().for_each(|it| text += &cache::render_cache(it));
    stack.cached.iter().for_each(|it| text += &cache::render_cached(it));
    for server in &stack.servers {
        let connections = if server.connections == 1 { "connection" } else { "connections" };
        text += &format!(
            "  served on {}: {} {connections}, {} so far\n",
            server.address, server.connections, server.accepted
        );
    }
    for mount in &stack.mounts {
        let state = match (mount.ended, mount.opens) {
            (true, _) => "taken away by somebody".to_owned(),
            (false, 1) => "open once".to_owned(),
            (false, opens) => format!("open {opens} times"),
        };
        text += &format!("  mounted at {}: {state}\n", mount.path);
    }
    text + &format!("  armour: {}\n  driver {}\n", armour(&stack.armour), stack.driver)
}

fn armour(pieces: &[ArmourPiece]) -> String {
    let (on, missing): (Vec<&ArmourPiece>, Vec<&ArmourPiece>) = pieces.iter().partition(|piece| piece.on);
    let on: Vec<&str> = on.iter().map(|piece| piece.piece.as_str()).collect();
    let why = |piece: &&ArmourPiece| {
        format!("no {} ({})", piece.piece, piece.why.as_deref().unwrap_or("nobody knows why"))
    };
    let on = if on.is_empty() { vec!["none".to_owned()] } else { vec![on.join(", ")] };
    on.into_iter().chain(missing.iter().map(why)).collect::<Vec<_>>().join("; ")
}

fn render_array(array: &ArrayStatus) -> String {
    let state = match array.state {
        ArrayState::Clean => "clean",
        ArrayState::Dirty => "dirty",
        ArrayState::Broken => "BROKEN",
    };
    let degraded = match array.slots.saturating_sub(array.in_sync) {
        0 => String::new(),
        missing => format!(", DEGRADED ({missing} of {} members missing)", array.slots),
    };
    let mut text = format!(
        "  array {}: {}, {}, metadata {}, {} events, {state}{degraded}\n",
        array.name,
        array.level,
        size(array.bytes),
        array.metadata,
        array.events
    );
    if let Some(why) = &array.broken_by {
        text += &format!("    nothing can be written any more: {why}\n");
    }
    text += &render_sync(array);
    text += &render_doubtful(&array.doubtful);
    if let Some(bitmap) = &array.bitmap {
        let chunk = size(bitmap.chunk_bytes);
        text += &format!("    bitmap: {} of {} chunks of {chunk} marked\n", bitmap.marked, bitmap.chunks);
    }
    if let Some(journal) = &array.journal {
        let (used, all) = (size(journal.used_bytes), size(journal.bytes));
        text += &format!("    journal: {}, {used} of {all} in use", journal_mode(journal.mode));
        if journal.mode == JournalMode::WriteBack {
            text += &format!(", {} on no member yet", size(journal.cached_bytes));
            if array.in_sync < array.slots {
                text += " (nothing stays so while members are missing)";
            }
        }
        text.push('\n');
    }
    if let Some(log) = array.private_log {
        text += &format!("    private log: {}\n", private_log_text(log));
    }
    let width = array.members.iter().map(|member| member.name.len()).max().unwrap_or(0);
    for member in &array.members {
        text += &render_member(member, width);
    }
    text + &render_export(&array.export)
}

/// What the clients of an export did, in a line.
fn render_export(export: &ExportStatus) -> String {
    format!(
        "    clients: {} reads ({}), {} writes ({}), {} flushes, {} trims, {} errors\n",
        export.reads,
        size(export.read_bytes),
        export.writes,
        size(export.written_bytes),
        export.flushes,
        export.trims,
        export.errors
    )
}

/// A mode as md has it.
pub fn journal_mode(mode: JournalMode) -> &'static str {
    match mode {
        JournalMode::WriteThrough => "write-through",
        JournalMode::WriteBack => "write-back",
    }
}

fn private_log_text(log: PrivateLog) -> &'static str {
    match log {
        PrivateLog::Replaying => "parity is being made right by it",
        PrivateLog::Idle => "on, nothing was written yet",
        PrivateLog::Waiting => "on, kept as soon as everything is in sync",
        PrivateLog::Kept => "on, every write is in it first",
        PrivateLog::Ended => "taken away",
        PrivateLog::Void => {
            "void: superblocks were written by others; it begins anew when everything is in sync"
        }
    }
}

fn render_doubtful(pieces: &[(u64, u64)]) -> String {
    let Some((first, _)) = pieces.first() else { return String::new() };
    let bytes: u64 = pieces.iter().map(|(_, length)| length).sum();
    let more = if pieces.len() == MOST_DOUBTFUL { " or more" } else { "" };
    format!(
        "    {}{more} in {} pieces from byte {first} on cannot be read: their member is gone and parity was not in sync \
         (--json lists them)\n",
        size(bytes),
        pieces.len()
    )
}

fn render_sync(array: &ArrayStatus) -> String {
    let mut text = String::new();
    if let SyncStatus::Pending { of } = &array.sync {
        let why = match (array.frozen, array.stuck) {
            (true, _) => ": it is forbidden (ashlar sync NAME resume)",
            (_, true) => {
                ": parity may be wrong there, and there is no room to list what is lost (ashlar sync NAME trust-parity \
                 takes it as it is)"
            }
            _ => " and does not run",
        };
        text += &format!("    a {of} is needed{why}\n");
    }
    if let Some((action, progress)) = array.sync.progress() {
        let part = progress.done_bytes as f64 / progress.total_bytes.max(1) as f64;
        let left =
            progress.seconds_left.map(|s| format!(", {}:{:02} left", s / 60, s % 60)).unwrap_or_default();
        let speed = size(progress.bytes_per_second);
        text += &format!("    {action} {} {:.1}%, {speed}/s{left}\n", bar(part, BAR_WIDTH), part * 100.0);
    }
    if let Some(scrub) = array.scrub.as_ref().filter(|scrub| scrub.ended_s.is_some()) {
        text += &format!("    {}\n", render_scrub(scrub));
    }
    text
}

/// One line about a scrub.
pub fn render_scrub(scrub: &ScrubStatus) -> String {
    let ended = scrub.ended_s.map(|at| format!(" at {}", date(at))).unwrap_or_default();
    let how = match (scrub.complete, scrub.ended_s) {
        (true, _) => "ended",
        (false, Some(_)) => "was ended early",
        (false, None) => "waits at its bound (`ashlar sync NAME --to`), so far",
    };
    let of = match scrub.bytes {
        Some((from, length)) if from > 0 => format!(" of {} from byte {from} on", size(length)),
        _ => String::new(),
    };
    let mut text = format!("last {}{of} {how}{ended}: ", scrub.action);
    if scrub.mismatched_bytes == 0 && scrub.unreadable_bytes == 0 {
        return text + "everything agrees";
    }
    text += &format!("{} do not agree", size(scrub.mismatched_bytes));
    if scrub.unreadable_bytes > 0 {
        text += &format!(", {} could not be read", size(scrub.unreadable_bytes));
    }
    text + &format!(", {} repaired (--json lists them)", size(scrub.repaired_bytes))
}

fn render_member(member: &MemberStatus, width: usize) -> String {
    let place = match (member.slot, member.state) {
        (Some(slot), _) => format!("slot {slot:<2}"),
        (None, MemberState::Journal) => "journal".to_owned(),
        (None, _) => "spare  ".to_owned(),
    };
    let state = match member.state {
        MemberState::InSync => "in sync",
        MemberState::Recovering => "rebuilding",
        MemberState::Replacing => "rebuilding, to replace",
        MemberState::Spare => "waiting",
        MemberState::Journal => "in use",
        MemberState::Faulty => "FAULTY",
        MemberState::Removed => "removed",
    };
    let mut text = format!("    {place} {:width$}  {state}", member.name);
    if let Some(failure) = &member.failure {
        text += &format!(" ({failure})");
    }
    if let Some(bytes) = member.recovered_bytes {
        text += &format!(", {} there", size(bytes));
    }
    if member.unwanted {
        text += ", to be replaced";
    }
    if member.bad_blocks > 0 {
        text += &format!(", {} runs of bad blocks", member.bad_blocks);
    }
    if member.write_mostly {
        text += ", write-mostly";
    }
    if member.corrected_reads > 0 {
        text += &format!(", {} read errors repaired", member.corrected_reads);
    }
    text + "\n"
}
