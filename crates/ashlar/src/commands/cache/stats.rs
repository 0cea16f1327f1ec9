//! `ashlar cache stats`: what caches and cached volumes have done.

use anyhow::{Result, anyhow};
use control::{
    CacheOrder, CacheStatus, CacheTarget, CacheWish, CachedStatus, Client, CountsStatus, SpanStatus,
    StackStatus,
};
use serde::Serialize;

use crate::cli::CacheStats;
use crate::commands::status::place;
use crate::dirs;
use crate::text::{print, print_json, size};

/// What is printed as JSON.
#[derive(Serialize)]
struct Stats<'a> {
    caches: Vec<&'a CacheStatus>,
    cached: Vec<&'a CachedStatus>,
}

/// Runs the command.
pub fn run(args: &CacheStats) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let client = Client::new(&place(&dir, &args.name)?.socket());
    let status = client.status()?;
    let stats = match &args.volume {
        Some(_) => Stats { caches: Vec::new(), cached: vec![only_volume(&status, args.volume.as_deref())?] },
        None => Stats { caches: status.caches.iter().collect(), cached: status.cached.iter().collect() },
    };
    if args.clear {
        let caches = stats.caches.iter().map(|cache| CacheTarget::Cache(Some(cache.name.clone())));
        let cached = stats.cached.iter().map(|volume| CacheTarget::Volume(Some(volume.name.clone())));
        for target in caches.chain(cached) {
            client.cache(&CacheWish { target, order: CacheOrder::ClearStats })?;
        }
        return Ok(());
    }
    match args.json.json {
        true => print_json(&stats),
        false => Ok(print(&render(&stats))?),
    }
}

/// The volume of that name; without a name, the only one.
pub fn only_volume<'a>(status: &'a StackStatus, name: Option<&str>) -> Result<&'a CachedStatus> {
    only(&status.cached, name, |volume| &volume.name, "volume of bcache")
}

/// The cache of that name; without a name, the only one.
pub fn only_cache<'a>(status: &'a StackStatus, name: Option<&str>) -> Result<&'a CacheStatus> {
    only(&status.caches, name, |cache| &cache.name, "cache")
}

fn only<'a, T>(all: &'a [T], name: Option<&str>, of: impl Fn(&T) -> &str, what: &str) -> Result<&'a T> {
    let names = || all.iter().map(&of).collect::<Vec<_>>().join(", ");
    match (name, all) {
        (_, []) => Err(anyhow!("no {what} runs here")),
        (None, [one]) => Ok(one),
        (None, _) => Err(anyhow!("there is more than one {what}; say which: {}", names())),
        (Some(name), all) => all
            .iter()
            .find(|it| of(it) == name)
            .ok_or_else(|| anyhow!("no {what} {name} runs here; there are: {}", names())),
    }
}

fn render(stats: &Stats) -> String {
    let mut text = String::new();
    for cache in &stats.caches {
        text += &format!("cache {}\n{}", cache.name, table(&cache.counts));
        text += &format!(
            "  written {} of data, {} of metadata ({} of it nodes); {} reads raced; {} errors\n",
            size(cache.written_bytes),
            size(cache.metadata_written_bytes),
            size(cache.btree_written_bytes),
            cache.cache_read_races,
            cache.io_errors,
        );
    }
    for volume in &stats.cached {
        text += &format!("volume {}\n{}", volume.name, table(&volume.counts));
        if !volume.bypassed_bytes.is_empty() {
            let reasons = volume.bypassed_bytes.iter();
            let reasons: Vec<String> =
                reasons.map(|(why, bytes)| format!("{} {}", why.replace('_', " "), size(*bytes))).collect();
            text += &format!("  past the cache: {}\n", reasons.join(", "));
        }
    }
    text
}

/// A row for each count, a column for each span.
fn table(counts: &CountsStatus) -> String {
    let spans = [counts.total, counts.day, counts.hour, counts.five_minute];
    let row = |what: &str, of: &dyn Fn(&SpanStatus) -> String| {
        let columns: String = spans.iter().map(|span| format!("{:>12}", of(span))).collect();
        format!("  {what:<16}{columns}\n")
    };
    let mut text = format!("  {:<16}{:>12}{:>12}{:>12}{:>12}\n", "", "total", "day", "hour", "five minutes");
    text += &row("hits", &|span| span.cache_hits.to_string());
    text += &row("misses", &|span| span.cache_misses.to_string());
    text += &row("hit ratio", &|span| format!("{} %", span.cache_hit_ratio));
    text += &row("bypass hits", &|span| span.cache_bypass_hits.to_string());
    text += &row("bypass misses", &|span| span.cache_bypass_misses.to_string());
    text += &row("bypassed", &|span| size(span.bypassed));
    text += &row("collisions", &|span| span.cache_miss_collisions.to_string());
    text
}
