//! What `run` would do: found out before anything is done, and shown by `--plan`.

use std::path::Path;

use anyhow::{Result, bail};
use bcache_format::superblock::Kind;
use control::Place;
use md::Reason;
use md_format::{Level, ResyncOffset};
use serde::Serialize;

use super::backing::Way;
use super::caches::{Backed, backed};
use super::wish::Wish;
use crate::pile::{Pile, Stranger, Volume};
use crate::stack::{Disk, Set, Stack, Top, TopKind, is_stranger};
use crate::text::{print, print_json, uuid};

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
    caches: Vec<CachePlan>,
    cached: Vec<CachedPlan>,
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

#[derive(Serialize)]
struct CachePlan {
    name: String,
    set_uuid: String,
    /// What would be written, and when.
    writes: Vec<String>,
}

#[derive(Serialize)]
struct CachedPlan {
    name: String,
    backing: Option<String>,
    cache: Option<String>,
    /// What would be written, and when.
    writes: Vec<String>,
}

impl Plan {
    /// Decides. Takes and changes nothing.
    pub fn new(
        wish: &Wish,
        found: &Stack<'_>,
        accepted: &[String],
        run_dir: &Path,
        state_dir: &Path,
    ) -> Plan {
        let pile = found.pile;
        let stack = wish.name.clone().unwrap_or_else(|| own_name(found));
        let place = Place::new(run_dir, &stack);
        let strangers = pile.strangers.iter().filter(|stranger| wish.arrays || is_stranger(stranger));
        let mut refused: Vec<String> = strangers.map(Stranger::to_string).collect();
        refused.extend(cache_hindrances(wish, found));
        if found.tops.is_empty() && refused.is_empty() && !is_run_empty(wish, found) {
            refused.push(nothing(found));
        }
        for volume in &pile.volumes {
            refused.extend(hindrances(wish, pile, volume));
            refused.extend(stale_beside_newer(wish, pile, volume, accepted));
        }
        refused.extend(same_file(wish, found));
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
            caches: caches(wish, found),
            cached: cached(wish, found),
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
        for cache in &self.caches {
            text += &format!("cache {}: set {}\n", cache.name, cache.set_uuid);
            cache.writes.iter().for_each(|write| text += &format!("  {write}\n"));
        }
        for volume in &self.cached {
            let on = volume.backing.as_deref().map(|backing| format!(" on {backing}")).unwrap_or_default();
            let by = volume.cache.as_deref().map(|cache| format!(", cached by {cache}")).unwrap_or_default();
            text += &format!("volume {}{on}{by}\n", volume.name);
            volume.writes.iter().for_each(|write| text += &format!("  {write}\n"));
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
fn same_file(wish: &Wish, found: &Stack<'_>) -> Option<String> {
    let names: Vec<String> = found.tops.iter().map(|top| fuse::file_name(&top.name)).collect();
    let mut names = names.iter().enumerate().filter(|_| !wish.mounts.is_empty());
    let (_, same) =
        names.clone().find(|(at, name)| names.any(|(other, known)| other < *at && known == *name))?;
    Some(fuse::Error::SameName(same.clone()).to_string())
}

/// The names of the volumes; a name in the run directory has no slash in it and begins with no dot.
fn own_name(found: &Stack<'_>) -> String {
    let names: Vec<&str> = found.tops.iter().map(|top| top.name.as_str()).collect();
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

/// A cache is run without a volume when it was given a name: volumes come later.
fn is_run_empty(wish: &Wish, found: &Stack<'_>) -> bool {
    wish.name.is_some() && !wish.read_only && found.disks.iter().any(|disk| disk.examined.is_cache())
}

/// Why there is nothing to run.
fn nothing(found: &Stack<'_>) -> String {
    match found.disks.iter().find(|disk| disk.array.is_some()).or(found.disks.first()) {
        None => "there is nothing to run".to_owned(),
        Some(Disk { name, array: None, .. }) => format!("{name}: is a cache, and no volume of it is here"),
        Some(Disk { name, .. }) => {
            format!("{name}: is a cache, and no volume of it is here; --arrays serves the array itself")
        }
    }
}

/// Why caches and cached volumes cannot be run as wished.
fn cache_hindrances(wish: &Wish, found: &Stack<'_>) -> Vec<String> {
    let is_new = |set: &Set| matches!(set.examined.summary.kind, Kind::Cache(cache) if !cache.is_used);
    let sets = found.sets.iter().filter(|set| wish.read_only || !is_new(set));
    let sets = sets.filter_map(|set| set.set.as_ref().err().map(|why| format!("{}: {why}", set.name)));
    let volumes = found.tops.iter().filter_map(|top| match &top.kind {
        TopKind::Cached(cached) => cached.device.as_ref().err().filter(|_| wish.read_only).cloned(),
        TopKind::Array(_) => None,
    });
    let backed = backed(found, wish.without_cache);
    let backed = backed.iter().filter(|_| !wish.read_only).filter_map(Backed::refusal);
    sets.chain(volumes).chain(backed).collect()
}

fn caches(wish: &Wish, found: &Stack<'_>) -> Vec<CachePlan> {
    let plan = |set: &Set| CachePlan {
        name: set.name.clone(),
        set_uuid: uuid(&set.examined.summary.set_uuid),
        writes: match (wish.read_only, &set.set) {
            (true, _) => vec!["nothing is written".to_owned()],
            (false, Err(_)) => vec!["at once: an empty set is put on it".to_owned()],
            (false, Ok(_)) => vec!["at once: what its journal has is laid into its tree".to_owned()],
        },
    };
    found.sets.iter().map(plan).collect()
}

fn cached(wish: &Wish, found: &Stack<'_>) -> Vec<CachedPlan> {
    let backed = backed(found, wish.without_cache);
    let plan = |top: &Top<'_>| {
        let TopKind::Cached(cached) = &top.kind else { return None };
        let backed = backed.iter().find(|backed| backed.disk.examined.summary.uuid == cached.uuid);
        let cache = backed.and_then(|backed| backed.cache).map(|cache| cache.name.clone());
        let writes = match backed.filter(|_| !wish.read_only).map(|backed| backed.way) {
            Some(Ok(Way::Attached)) => Some("at once: it is attached, and its superblock says so"),
            Some(Ok(Way::Without)) => Some(
                "at once: its superblock says that it is used without its cache, which forgets what it has",
            ),
            _ => None,
        };
        let (name, backing) = (top.name.clone(), cached.backing.clone());
        Some(CachedPlan { name, backing, cache, writes: writes.into_iter().map(str::to_owned).collect() })
    };
    found.tops.iter().filter_map(plan).collect()
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
