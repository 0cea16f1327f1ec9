//! What `run` would do: found out before anything is done, and shown by `--plan`.

use std::path::Path;

use anyhow::{Result, bail};
use control::Place;
use md::Reason;
use md_format::{Level, ResyncOffset};
use serde::Serialize;

use super::wish::Wish;
use crate::pile::{Pile, Stranger, Volume};
use crate::text::{print, print_json};

/// The plan.
#[derive(Serialize)]
pub struct Plan {
    /// The name under which it would run.
    pub stack: String,
    /// Why it will not.
    pub refused_because: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    arrays: Vec<ArrayPlan>,
    serve: Vec<String>,
    control_socket: String,
    snapshots: Option<String>,
}

#[derive(Serialize)]
struct ArrayPlan {
    name: String,
    level: String,
    uuid: String,
    slots: Vec<Option<String>>,
    spares: Vec<String>,
    /// What would be written, and when.
    writes: Vec<String>,
}

impl Plan {
    /// Decides. Takes and changes nothing.
    pub fn new(wish: &Wish, pile: &Pile, accepted: &[String], run_dir: &Path, state_dir: &Path) -> Plan {
        let stack = wish.name.clone().unwrap_or_else(|| own_name(pile));
        let place = Place::new(run_dir, &stack);
        let mut refused: Vec<String> = pile.strangers.iter().map(Stranger::to_string).collect();
        if pile.volumes.is_empty() && refused.is_empty() {
            refused.push("there is nothing to run".to_owned());
        }
        for volume in &pile.volumes {
            refused.extend(hindrances(wish, pile, volume));
            refused.extend(stale_beside_newer(wish, pile, volume, accepted));
        }
        refused.extend(same_file(wish, pile));
        match &place {
            Err(error) => refused.push(error.to_string()),
            Ok(place) if place.is_taken() => {
                refused.push(format!(
                    "{stack} runs already; stop it first (ashlar stop {stack}), or say --name"
                ));
            }
            Ok(_) => {}
        }
        let of = |volume: &Volume, warning: String| format!("{}: {warning}", volume.name);
        let mut warnings: Vec<String> = pile
            .volumes
            .iter()
            .flat_map(|volume| pile.warnings(volume).into_iter().map(move |warning| of(volume, warning)))
            .collect();
        warnings.extend(accepted.iter().map(|name| format!("{name} is out of date and used all the same")));
        let snapshots = state_dir.join("snapshots").display().to_string();
        Plan {
            refused_because: refused,
            warnings,
            arrays: pile.volumes.iter().map(|volume| array(wish, pile, volume)).collect(),
            serve: serve(wish),
            control_socket: place.map(|place| place.socket().display().to_string()).unwrap_or_default(),
            snapshots: (!wish.read_only).then_some(snapshots),
            stack,
        }
    }

    /// The reasons against it, as an error.
    pub fn refuse(&self) -> Result<()> {
        match &self.refused_because[..] {
            [] => Ok(()),
            [one] => bail!("nothing was started: {one}"),
            several => bail!("nothing was started:\n  {}", several.join("\n  ")),
        }
    }

    /// Prints it; fails where `run` would.
    pub fn show(&self, json: bool) -> Result<()> {
        match json {
            true => print_json(self)?,
            false => print(&self.render())?,
        }
        self.refuse()
    }

    fn render(&self) -> String {
        let mut text = format!("would run as {}; nothing was changed\n", self.stack);
        for array in &self.arrays {
            text += &format!("array {}: {}, {}\n", array.name, array.level, array.uuid);
            for (slot, member) in array.slots.iter().enumerate() {
                text += &format!("  slot {slot:<3} {}\n", member.as_deref().unwrap_or("missing"));
            }
            for spare in &array.spares {
                text += &format!("  spare    {spare}\n");
            }
            for write in &array.writes {
                text += &format!("  {write}\n");
            }
        }
        for warning in &self.warnings {
            text += &format!("warning: {warning}\n");
        }
        for address in &self.serve {
            text += &format!("serve on {address}\n");
        }
        text += &format!("control socket {}\n", self.control_socket);
        if let Some(snapshots) = &self.snapshots {
            text += &format!("metadata kept aside in {snapshots}\n");
        }
        text
    }
}

/// Where it would be served.
fn serve(wish: &Wish) -> Vec<String> {
    let mounts = wish.mounts.iter().map(|path| format!("FUSE at {}", path.display()));
    wish.addresses.iter().map(ToString::to_string).chain(mounts).collect()
}

/// A name that two volumes would have as files.
fn same_file(wish: &Wish, pile: &Pile) -> Option<String> {
    let names: Vec<String> = pile.volumes.iter().map(|volume| fuse::file_name(&volume.name)).collect();
    let mut names = names.iter().enumerate().filter(|_| !wish.mounts.is_empty());
    let (_, same) =
        names.clone().find(|(at, name)| names.any(|(other, known)| other < *at && known == *name))?;
    Some(fuse::Error::SameName(same.clone()).to_string())
}

/// The names of the arrays; a name in the run directory has no slash in it and begins with no dot.
fn own_name(pile: &Pile) -> String {
    let names: Vec<&str> = pile.volumes.iter().map(|volume| volume.name.as_str()).collect();
    names.join("+").replace('/', "-").trim_start_matches('.').to_owned()
}

/// A member that is being rebuilt has something newer than members that are out of date: together they are no copies of the
/// same, and nothing may be written to them.
fn stale_beside_newer(wish: &Wish, pile: &Pile, volume: &Volume, accepted: &[String]) -> Option<String> {
    let name = |candidate: usize| &pile.candidates[candidate].name;
    let mut seats = volume.set.slots.iter().flatten();
    let stale = seats.clone().map(|seat| name(seat.candidate)).find(|name| accepted.contains(name))?;
    let newer = name(seats.find(|seat| !seat.in_sync)?.candidate);
    (!wish.read_only).then(|| {
        format!(
            "{}: {newer} is still being rebuilt, from something newer than {stale} has; read what is there with \
             `ashlar cat --accept-stale`",
            volume.name
        )
    })
}

/// Why an array cannot be run as wished.
fn hindrances(wish: &Wish, pile: &Pile, volume: &Volume) -> Vec<String> {
    let set = &volume.set;
    let mut found: Vec<String> = set.forbidding(&wish.options()).iter().map(ToString::to_string).collect();
    if !found.is_empty() {
        for left in &set.left_out {
            let mut line = format!("{} is left out: {}", pile.candidates[left.candidate].name, left.reason);
            if matches!(left.reason, Reason::Stale { .. }) && !set.unreadable.is_empty() {
                line += " (--accept-stale uses it all the same)";
            }
            found.push(line);
        }
    }
    found.into_iter().map(|reason| format!("{}: {reason}", volume.name)).collect()
}

fn array(wish: &Wish, pile: &Pile, volume: &Volume) -> ArrayPlan {
    let set = &volume.set;
    let summary = &pile.candidates[set.freshest].examined.summary;
    let name_of = |candidate: usize| pile.candidates[candidate].name.clone();
    let mut writes = Vec::new();
    if wish.read_only {
        writes.push("nothing is written".to_owned());
    } else {
        if let ResyncOffset::At(sector) = summary.resync {
            let how = match summary.level {
                Level::Raid4 | Level::Raid5 | Level::Raid6 => {
                    "parity that does not belong to the data is made anew"
                }
                _ => "copies that differ become like the first",
            };
            let marked = if summary.bitmap.is_some() { " of what the bitmap marks" } else { "" };
            writes.push(format!("at once: resync{marked} from sector {sector}; {how}"));
        }
        writes
            .push("before the first write, when a member fails, and at the end: every superblock".to_owned());
    }
    ArrayPlan {
        name: volume.name.clone(),
        level: summary.level.to_string(),
        uuid: summary.array_uuid_text().to_string(),
        slots: set.slots.iter().map(|seat| seat.map(|seat| name_of(seat.candidate))).collect(),
        spares: set.spares.iter().map(|seat| name_of(seat.candidate)).collect(),
        writes,
    }
}
