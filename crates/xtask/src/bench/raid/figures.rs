//! The figures that were asked for, by name.

use anyhow::Context;

use super::super::job::Job;
use super::super::report::{Asked, Figure};
use super::super::summary::{Sample, Spread, ratios};
use super::{LEVELS, Level, RAW};
use crate::shell;

/// Rounds of the arithmetic's own measurement.
const PARITY_ROUNDS: &str = "101";

/// Those that come from arrays.
pub fn of_arrays(samples: &[Sample]) -> Vec<Figure> {
    vec![whole_stripes(samples), random_writes(samples), degraded_reads(samples)]
}

/// n-1 of n bytes that are written are data: parity is free, and a member's worth of memory is the limit.
fn whole_stripes(samples: &[Sample]) -> Figure {
    let striped = arrays().filter(|(level, _)| level.parities > 0);
    let cases = striped.filter_map(|(level, name)| {
        let model = level.data as f64 / level.members as f64;
        let found = ratios(samples, (&name, Job::Stripes), (RAW, Job::Stripes));
        Some((name, Spread::of(found.into_iter().map(|ratio| ratio / model).collect())?))
    });
    let name =
        "whole-stripe writes, as a fraction of (n-1)/n of the raw member's 1 MiB writes ((n-2)/n for raid6)";
    Figure { name, asked: Asked::AtLeast(0.6), cases: cases.collect() }
}

fn random_writes(samples: &[Sample]) -> Figure {
    let mut cases = Vec::new();
    for (level, name) in arrays() {
        for peer in [level.btrfs(false), level.btrfs(true)] {
            let found = ratios(samples, (&name, Job::Write4kQd32), (&peer, Job::Write4kQd32));
            cases.extend(Spread::of(found).map(|found| (format!("{name} over {peer}"), found)));
        }
    }
    Figure { name: "4 KiB random writes QD32, over btrfs", asked: Asked::AtLeast(4.0), cases }
}

fn degraded_reads(samples: &[Sample]) -> Figure {
    let mut cases = Vec::new();
    for (_, name) in arrays() {
        for healthy in [Job::Read128k, Job::Read1m] {
            let degraded = healthy.degraded().expect("both are measured degraded");
            let found = ratios(samples, (&name, degraded), (&name, healthy));
            cases.extend(Spread::of(found).map(|found| (format!("{name} {}", healthy.name()), found)));
        }
    }
    Figure { name: "degraded over healthy sequential reads", asked: Asked::AtLeast(0.7), cases }
}

/// Our arithmetic beside ISA-L's, as the example `throughput` of the crate `parity` prints it; or why there is nothing.
pub fn parity() -> anyhow::Result<(Figure, Option<String>)> {
    let printed = shell::output(shell::command(shell::built("examples/throughput")).arg(PARITY_ROUNDS))?;
    let lines = printed.lines().filter(|line| line.ends_with(')') && !line.starts_with(' '));
    let cases: Vec<_> = lines.map(case).collect::<anyhow::Result<_>>()?;
    let missing = cases.is_empty().then(|| "ISA-L: libisal.so.2 is not installed".to_owned());
    let name = "parity beside ISA-L, hot in the cache (quartiles)";
    Ok((Figure { name, asked: Asked::AtLeast(1.0), cases }, missing))
}

/// `Pq 8 x 4K   gfni   123.4   1.05   (1.01-1.10)`
fn case(line: &str) -> anyhow::Result<(String, Spread)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let parsed = || {
        let [shape @ .., _kernels, _rate, median, quartiles] = &words[..] else { return None };
        let (least, most) = quartiles.trim_matches(['(', ')']).split_once('-')?;
        let [median, least, most] = [median, least, most].map(|word| word.parse().ok());
        Some((shape.join(" "), Spread { median: median?, least: least?, most: most? }))
    };
    parsed().with_context(|| format!("not a line of throughput's: {line}"))
}

/// All arrays that are measured, by name.
fn arrays() -> impl Iterator<Item = (Level, String)> {
    LEVELS.into_iter().flat_map(|level| level.chunks_kib.iter().map(move |chunk| (level, level.ours(*chunk))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_throughput_is_read() {
        let (shape, found) =
            case("Pq 8 x 4K   gfni-avx512   123.4    1.05   (1.01-1.10)").expect("it is one");
        assert_eq!((shape.as_str(), found.least, found.median, found.most), ("Pq 8 x 4K", 1.01, 1.05, 1.10));
    }
}
