//! `ashlar scrub`: compares everything that is kept more than once, and says what does not agree.

use anyhow::{Context, Result};
use control::{Client, ScrubStatus, SyncOrder};

use super::status::{place, render_scrub};
use super::wait::until_settled;
use crate::cli::Scrub;
use crate::dirs;
use crate::text::{print, print_json};

/// Places that are printed; `--json` has all that are kept.
const SHOWN: usize = 20;

/// Runs the command.
pub fn run(args: &Scrub) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let place = place(&dir, &args.name)?;
    let order = if args.repair { SyncOrder::Repair } else { SyncOrder::Check };
    Client::new(&place.socket()).sync(args.array.as_deref(), order)?;
    if args.background {
        return Ok(());
    }
    let status = until_settled(&place.socket())?;
    let mut arrays = status.arrays.iter();
    let array = arrays.find(|array| args.array.as_ref().is_none_or(|name| *name == array.name));
    let scrub = array.and_then(|array| array.scrub.as_ref()).context("there is no result")?;
    match args.json.json {
        true => print_json(scrub)?,
        false => print(&render(scrub))?,
    }
    Ok(())
}

fn render(scrub: &ScrubStatus) -> String {
    let mut text = render_scrub(scrub) + "\n";
    for place in scrub.places.iter().take(SHOWN) {
        let (at, count) = place.array_bytes;
        let (member_at, member_count) = place.member_bytes;
        let who = match (&place.member, place.verdict.as_str()) {
            (Some(member), "unreadable") => format!("{member} cannot read it"),
            (Some(member), _) => format!("{member} is wrong"),
            (None, "several") => "more than one member must be wrong".to_owned(),
            (None, _) => "nothing tells who is wrong".to_owned(),
        };
        let repaired = if place.repaired { ", repaired" } else { "" };
        text += &format!(
            "  array bytes {at} to {}, member bytes {member_at} to {}: {who}{repaired}\n",
            at + count,
            member_at + member_count
        );
    }
    let more = scrub.places.len().saturating_sub(SHOWN);
    if more > 0 {
        text += &format!("  and {more} places more (--json lists them)\n");
    }
    text
}
