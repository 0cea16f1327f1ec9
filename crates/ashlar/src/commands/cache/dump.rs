//! `ashlar cache dump`: what lies on a cache, in the words of its format.

use std::fmt::Write;
use std::rc::Rc;

use anyhow::Result;
use bcache::{CacheSet, Dump, Options, SetError};
use bcache_format::Position;
use bcache_format::superblock::Kind;

use super::{only_cache, open, reader};
use crate::cli::{CacheDump, Driver};
use crate::stack::Disk;
use crate::text::{Facts, date, print, sectors, size, uuid};
use crate::world::World;

/// Runs the command.
pub fn run(args: &CacheDump, driver: Driver) -> Result<()> {
    let world = World::new(driver)?;
    let pile = open(&args.members, &args.reading, &world)?;
    let text = world.runtime.block_on(async {
        let cache = only_cache(&world, &pile).await?;
        let mut text = superblock(&cache);
        if args.journal || args.tree || args.buckets {
            let mut dump = Dump::open(reader(&world, &cache)?).await?;
            text += &volumes(&dump);
            if args.journal {
                text += &journal(&mut dump).await?;
            }
            if args.tree {
                text += &tree(&mut dump).await?;
            }
            if args.buckets {
                text += &buckets(&dump);
            }
        }
        if let Some((inode, sector)) = args.at {
            text += &at(&world, &cache, Position::new(inode, sector)).await?;
        }
        anyhow::Ok(text)
    })?;
    Ok(print(&text)?)
}

fn superblock(cache: &Disk) -> String {
    let summary = &cache.examined.summary;
    let Kind::Cache(facts) = &summary.kind else { return String::new() };
    let mut lines = Facts::default();
    lines.add("superblock", format!("version {}, written {} times", summary.version, summary.seq));
    lines.add("uuid", uuid(&summary.uuid));
    lines.add("set uuid", uuid(&summary.set_uuid));
    lines.add("set", if facts.is_used { "there is one" } else { "none yet" });
    lines.add("last used", date(summary.last_mount.into()));
    lines.add("replacement", facts.replacement.name());
    let shape = &facts.geometry;
    lines.add("block", size(shape.block_sectors * 512));
    lines.add(
        "buckets",
        format!("{} of {}, from {} on", shape.buckets, size(shape.bucket_sectors * 512), shape.first_bucket),
    );
    lines.add("journal", format!("{} buckets", shape.journal_buckets));
    format!("{}: cache\n{}", cache.name, lines.render())
}

fn volumes(dump: &Dump) -> String {
    let mut text = String::from("volumes\n");
    for (inode, entry) in dump.volumes() {
        let _ = writeln!(text, "  {inode}  {}  {}", uuid(&entry.uuid), describe(entry));
    }
    text
}

fn describe(entry: &bcache_format::uuids::UuidEntry) -> String {
    use bcache_format::uuids::Use;
    let label = crate::text::escape(entry.label().bytes());
    let what = match entry.usage() {
        Use::FlashOnly(length) => format!("in the cache alone, {}", sectors(length)),
        Use::Detached => "detached".to_owned(),
        _ => "backing device".to_owned(),
    };
    format!("{what} {label}").trim_end().to_owned()
}

async fn journal(dump: &mut Dump) -> Result<String, SetError> {
    let mut text = String::from("journal\n");
    dump.journal(|entry, keys| {
        let (bucket, offset) = (entry.index, entry.offset);
        let _ = writeln!(
            text,
            "  entry {} in journal bucket {bucket} at sector {offset}: needed from {} on",
            entry.seq, entry.last_seq
        );
        keys.iter().for_each(|key| text += &format!("    {key}\n"));
    })
    .await?;
    Ok(text)
}

async fn tree(dump: &mut Dump) -> Result<String, SetError> {
    let mut text = String::from("tree\n");
    dump.tree(|level, key, log, keys| {
        let place = key.pointer().map_or(0, |pointer| pointer.sector());
        let _ = writeln!(
            text,
            "  level {level}, sector {place}: keys up to {}, {} sets, {} of {} sectors",
            key.end(),
            log.sets,
            log.sectors,
            key.sectors()
        );
        keys.iter().for_each(|key| text += &format!("    {key}\n"));
    })
    .await?;
    Ok(text)
}

fn buckets(dump: &Dump) -> String {
    let mut text = String::from("buckets: number, generation, priority\n");
    for (number, prio) in dump.buckets() {
        let _ = writeln!(text, "  {number:<10} {:<4} {}", prio.generation, prio.priority.get());
    }
    text
}

async fn at(world: &World, cache: &Disk, place: Position) -> Result<String> {
    let set = CacheSet::open(cache.device.clone(), &cache.examined, &world.arena, Options::default()).await?;
    let set = Rc::new(set);
    let found = set.find(place, u32::MAX.into()).await?;
    let length = sectors(found.sectors);
    Ok(match found.at {
        None => format!("{place}: not in the cache, like what follows, {length}\n"),
        Some((pointer, is_dirty)) => {
            let state = if is_dirty { "only here" } else { "clean" };
            format!(
                "{place}: sector {} of the cache, generation {}, {state}, {length}\n",
                pointer.sector(),
                pointer.generation()
            )
        }
    })
}
