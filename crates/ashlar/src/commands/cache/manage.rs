//! What is done about caches that run: attach, detach, mode, flush, set.

use anyhow::{Context, Result};
use bcache::tunables::{Refused, SetTunables, Tunable, VolumeTunables};
use control::{CacheOrder, CacheStatus, CacheTarget, CacheWish, CachedStatus, Client, StackStatus};
use serde::Serialize;

use super::stats::{only_cache, only_volume};
use crate::Usage;
use crate::cli::{
    CacheAttach, CacheDelete, CacheDetach, CacheFlush, CacheGrow, CacheMode, CacheSet, CacheVolume, NewMode,
    RunDir,
};
use crate::commands::status::place;
use crate::dirs;
use crate::members::in_this_folder;
use crate::text::{print, print_json, size};

/// `cache attach`.
pub fn attach(args: &CacheAttach) -> Result<()> {
    let client = client(&args.name, &args.of.run_dir)?;
    if let Some(disk) = &args.backing {
        return adopt(&client, args, disk);
    }
    let volume = args.of.volume.as_deref();
    tell(&client, volume, CacheOrder::Attach { cache: args.cache.clone() })?;
    let status = client.status()?;
    let volume = only_volume(&status, volume)?;
    let cache = volume.cache.as_deref().unwrap_or("no cache");
    Ok(print(&format!("{}: attached to {cache}, {}\n", volume.name, volume.mode))?)
}

/// `cache attach --backing`.
fn adopt(client: &Client, args: &CacheAttach, disk: &str) -> Result<()> {
    let disk = in_this_folder(disk)?;
    let order = CacheOrder::Adopt { disk: disk.clone(), sole_writer: args.sole_writer };
    client.cache(&CacheWish { target: CacheTarget::Cache(args.cache.clone()), order })?;
    let status = client.status()?;
    let volume = status.cached.iter().find(|volume| volume.backing.as_ref() == Some(&disk));
    let volume = volume.with_context(|| format!("{disk} was attached, and is gone again"))?;
    let cache = volume.cache.as_deref().unwrap_or("no cache");
    Ok(print(&format!("{}: attached to {cache}, {}\n", volume.name, volume.mode))?)
}

/// `cache volume`.
pub fn volume(args: &CacheVolume) -> Result<()> {
    let client = client(&args.name, &args.run_dir)?;
    let known: Vec<String> = client.status()?.cached.into_iter().map(|volume| volume.name).collect();
    let order = CacheOrder::CreateVolume { bytes: args.size, label: args.label.clone() };
    client.cache(&CacheWish { target: CacheTarget::Cache(args.cache.clone()), order })?;
    let status = client.status()?;
    let new = status.cached.iter().find(|volume| volume.backing.is_none() && !known.contains(&volume.name));
    let new = new.context("the volume was made, and is gone again")?;
    Ok(print(&format!(
        "{}: {} in {}\n",
        new.name,
        size(new.bytes),
        new.cache.as_deref().unwrap_or("no cache")
    ))?)
}

/// `cache grow`.
pub fn grow(args: &CacheGrow) -> Result<()> {
    let client = client(&args.name, &args.of.run_dir)?;
    let volume = args.of.volume.as_deref();
    tell(&client, volume, CacheOrder::GrowVolume { bytes: args.size })?;
    let status = client.status()?;
    let volume = only_volume(&status, volume)?;
    Ok(print(&format!("{}: {}\n", volume.name, size(volume.bytes)))?)
}

/// `cache delete`.
pub fn delete(args: &CacheDelete) -> Result<()> {
    let client = client(&args.name, &args.run_dir)?;
    tell(&client, Some(&args.volume), CacheOrder::DeleteVolume)?;
    Ok(print(&format!("{}: deleted\n", args.volume))?)
}

/// `cache detach`.
pub fn detach(args: &CacheDetach) -> Result<()> {
    let client = client(&args.name, &args.of.run_dir)?;
    let before = client.status()?;
    let volume = only_volume(&before, args.of.volume.as_deref())?;
    tell(&client, Some(&volume.name), CacheOrder::Detach)?;
    let backing = volume.backing.as_deref().unwrap_or_default();
    Ok(print(&format!("{}: detached; {backing} has everything\n", volume.name))?)
}

/// `cache mode`.
pub fn mode(args: &CacheMode) -> Result<()> {
    let client = client(&args.name, &args.of.run_dir)?;
    let mode = mode_name(args.mode).to_owned();
    let order = CacheOrder::Set { name: "cache_mode".to_owned(), value: mode };
    tell(&client, args.of.volume.as_deref(), order)?;
    let status = client.status()?;
    let volume = only_volume(&status, args.of.volume.as_deref())?;
    Ok(print(&format!("{}: {}\n", volume.name, volume.mode))?)
}

/// `cache flush`.
pub fn flush(args: &CacheFlush) -> Result<()> {
    let client = client(&args.name, &args.of.run_dir)?;
    let before = client.status()?;
    let volume = only_volume(&before, args.of.volume.as_deref())?;
    tell(&client, Some(&volume.name), CacheOrder::Flush)?;
    Ok(print(&format!("{}: {} written back\n", volume.name, size(volume.dirty_bytes)))?)
}

/// `cache set`.
pub fn set(args: &CacheSet) -> Result<()> {
    let client = client(&args.name, &args.of.run_dir)?;
    let status = client.status()?;
    let whose = Whose::of(args, &status)?;
    if args.settings.is_empty() {
        let rows = whose.rows();
        return match args.json.json {
            true => print_json(&rows),
            false => Ok(print(&render(&rows))?),
        };
    }
    for (name, value) in &args.settings {
        let order = CacheOrder::Set { name: name.clone(), value: value.clone() };
        client.cache(&CacheWish { target: whose.target(), order })?;
    }
    let status = client.status()?;
    let rows = Whose::of(args, &status)?.rows();
    let is_named = |row: &&Row| args.settings.iter().any(|(name, _)| *name == row.name);
    let named: Vec<Row> = rows.iter().filter(is_named).cloned().collect();
    match args.json.json {
        true => print_json(&named),
        false => {
            let lines = named.iter().map(|row| format!("{}={}\n", row.name, row.value));
            Ok(print(&lines.collect::<String>())?)
        }
    }
}

/// Whose settings are meant.
enum Whose<'a> {
    Volume(&'a CachedStatus),
    Cache(&'a CacheStatus),
}

impl<'a> Whose<'a> {
    /// What the command line says. Without a word, a name that only caches have means the cache.
    fn of(args: &CacheSet, status: &'a StackStatus) -> Result<Whose<'a>> {
        let is_in = |names: &[Tunable], refused: &[Refused], name: &str| {
            names.iter().any(|it| it.name == name) || refused.iter().any(|it| it.name == name)
        };
        let of_volumes = |name: &str| is_in(VolumeTunables::ALL, VolumeTunables::REFUSED, name);
        let of_caches = |name: &str| is_in(SetTunables::ALL, SetTunables::REFUSED, name);
        let names: Vec<&str> = args.settings.iter().map(|(name, _)| name.as_str()).collect();
        let only_caches = names.iter().any(|name| of_caches(name) && !of_volumes(name));
        if let Some(cache) = &args.cache {
            let cache = Some(cache.as_str()).filter(|cache| !cache.is_empty());
            return Ok(Whose::Cache(only_cache(status, cache)?));
        }
        if args.of.volume.is_some() || !only_caches {
            return Ok(Whose::Volume(only_volume(status, args.of.volume.as_deref())?));
        }
        if names.iter().any(|name| of_volumes(name) && !of_caches(name)) {
            let text = "some of these are a volume's and some are a cache's: set them one by one";
            return Err(Usage(text.to_owned()).into());
        }
        Ok(Whose::Cache(only_cache(status, None)?))
    }

    fn target(&self) -> CacheTarget {
        match self {
            Whose::Volume(volume) => CacheTarget::Volume(Some(volume.name.clone())),
            Whose::Cache(cache) => CacheTarget::Cache(Some(cache.name.clone())),
        }
    }

    /// Everything that can be set, with what it is.
    fn rows(&self) -> Vec<Row> {
        let (all, values) = match self {
            Whose::Volume(volume) => (VolumeTunables::ALL, &volume.tunables),
            Whose::Cache(cache) => (SetTunables::ALL, &cache.tunables),
        };
        let rows = all.iter().filter_map(|tunable| {
            let value = values.get(tunable.name)?.clone();
            let default = tunable.kind.show(tunable.default);
            let (name, kind) = (tunable.name, tunable.kind.name());
            Some(Row { name, value, default, kind, expected: tunable.expected(), about: tunable.about })
        });
        rows.collect()
    }
}

/// Something that can be set.
#[derive(Serialize, Clone)]
struct Row {
    name: &'static str,
    value: String,
    default: String,
    kind: &'static str,
    expected: String,
    about: &'static str,
}

fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let default = match row.value == row.default {
            true => String::new(),
            false => format!(" (at the start {})", row.default),
        };
        text += &format!("{}={}{default}\n    {}\n    {}\n", row.name, row.value, row.about, row.expected);
    }
    text
}

fn client(name: &str, run_dir: &RunDir) -> Result<Client> {
    let dir = dirs::run_dir(run_dir.run_dir.as_deref())?;
    Ok(Client::new(&place(&dir, name)?.socket()))
}

fn tell(client: &Client, volume: Option<&str>, order: CacheOrder) -> Result<()> {
    let target = CacheTarget::Volume(volume.map(str::to_owned));
    Ok(client.cache(&CacheWish { target, order })?)
}

fn mode_name(mode: NewMode) -> &'static str {
    match mode {
        NewMode::Writethrough => "writethrough",
        NewMode::Writeback => "writeback",
        NewMode::Writearound => "writearound",
        NewMode::None => "none",
    }
}
