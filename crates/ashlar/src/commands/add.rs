//! `ashlar add`: gives an array another disk.

use anyhow::Result;
use control::{AddWish, Client};

use super::status::place;
use crate::cli::Add;
use crate::dirs;
use crate::members::in_this_folder;
use crate::text::print;

/// Runs the command.
pub fn run(args: &Add) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let place = place(&dir, &args.name)?;
    for member in &args.members {
        let wish = AddWish {
            member: in_this_folder(member)?,
            array: args.array.clone(),
            overwrite: args.overwrite,
            journal: args.journal,
            sole_writer: args.sole_writer,
        };
        let added = Client::new(&place.socket()).add(&wish)?;
        print(&match added.former_slot {
            Some(slot) => format!("{member} is back for slot {slot}: only what it has missed is copied\n"),
            None if args.journal => format!("{member} is the write journal\n"),
            None => format!("{member} is a spare\n"),
        })?;
    }
    Ok(())
}
