//! `ashlar cache check`: whether everything that a cache says of itself is so.

use anyhow::{Result, bail};
use bcache::{Counts, Report, check};
use serde::Serialize;

use super::{only_cache, open, reader};
use crate::cli::{CacheCheck, Driver};
use crate::text::{Facts, print, print_json, sectors};
use crate::world::World;

/// Everything as JSON has it.
#[derive(Serialize)]
struct Document {
    cache: String,
    journal_entries: u64,
    journal_keys: u64,
    nodes: u64,
    levels: u64,
    sets_of_keys: u64,
    extents: u64,
    cached_sectors: u64,
    dirty_sectors: u64,
    stale_extents: u64,
    buckets: u64,
    free_buckets: u64,
    volumes: u64,
    findings: Vec<String>,
}

/// Runs the command.
pub fn run(args: &CacheCheck, driver: Driver) -> Result<()> {
    let world = World::new(driver)?;
    let pile = open(&args.members, &args.reading, &world)?;
    let (name, report) = world.runtime.block_on(async {
        let cache = only_cache(&world, &pile).await?;
        let report = check(&reader(&world, &cache)?).await;
        anyhow::Ok((cache.name, report))
    })?;
    match args.json.json {
        true => print_json(&document(&name, &report))?,
        false => print(&render(&name, &report))?,
    }
    match report.findings.len() {
        0 => Ok(()),
        1 => bail!("{name}: one thing is wrong"),
        count => bail!("{name}: {count} things are wrong"),
    }
}

fn document(name: &str, report: &Report) -> Document {
    let counts = &report.counts;
    Document {
        cache: name.to_owned(),
        journal_entries: counts.journal_entries,
        journal_keys: counts.journal_keys,
        nodes: counts.nodes,
        levels: counts.levels,
        sets_of_keys: counts.sets,
        extents: counts.extents,
        cached_sectors: counts.sectors,
        dirty_sectors: counts.dirty_sectors,
        stale_extents: counts.stale_extents,
        buckets: counts.buckets,
        free_buckets: counts.free_buckets,
        volumes: counts.volumes,
        findings: report.findings.iter().map(ToString::to_string).collect(),
    }
}

fn render(name: &str, report: &Report) -> String {
    let verdict = if report.findings.is_empty() { "nothing is wrong" } else { "not as it should be" };
    let found = report.findings.iter().map(|finding| format!("  wrong  {finding}\n"));
    format!("{name}: {verdict}\n{}{}", facts(&report.counts).render(), found.collect::<String>())
}

fn facts(counts: &Counts) -> Facts {
    let mut facts = Facts::default();
    facts.add("journal", format!("{} entries, {} keys", counts.journal_entries, counts.journal_keys));
    facts.add(
        "tree",
        format!("{} levels, {} nodes, {} sets of keys", counts.levels, counts.nodes, counts.sets),
    );
    facts.add("extents", format!("{}, {}", counts.extents, sectors(counts.sectors)));
    facts.add("only here", sectors(counts.dirty_sectors));
    facts.add("stale", format!("{} extents", counts.stale_extents));
    facts.add("buckets", format!("{}, nothing refers to {}", counts.buckets, counts.free_buckets));
    facts.add("volumes", counts.volumes);
    facts
}
